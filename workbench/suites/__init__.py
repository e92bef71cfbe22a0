"""Suites that `--suite NAME` takes by their names: what models are put through.

A suite is a TOML file as a person would write one, see `workbench.suite_file`. Its first comment
says in a line what it is.
"""

from workbench.described_files import Described, described_files


def suites() -> dict[str, Described]:
    """Every built-in suite by its name."""
    return described_files(__package__)
