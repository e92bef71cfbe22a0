"""Settings of published studies, in files that `--config NAME` takes by their names.

A recipe is a TOML file as a person would write one. Its first comment says in a line what it is;
further ones say where a value is not the study's. It leaves open what depends on the network or the
data.
"""

from workbench.described_files import Described, described_files


def recipes() -> dict[str, Described]:
    """Every recipe by its name."""
    return described_files(__package__)
