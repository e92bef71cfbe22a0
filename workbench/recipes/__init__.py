"""Settings of published studies, in files that `--config NAME` takes by their names.

A recipe is a TOML file as a person would write one. Its first comment says in a line what it is;
further ones say where a value is not the study's. It leaves open what depends on the network or the
data.
"""

from importlib.resources import files
from pathlib import Path
from typing import NamedTuple


class Recipe(NamedTuple):
    """A recipe's text, and what its first line says of it."""

    summary: str
    text: str


def recipes() -> dict[str, Recipe]:
    """Every recipe by its name."""
    found = sorted(each.name for each in files(__package__).iterdir())
    texts = {
        Path(name).stem: files(__package__).joinpath(name).read_text(encoding="utf-8")
        for name in found
        if name.endswith(".toml")
    }
    return {
        name: Recipe(text.partition("\n")[0].lstrip("# "), text) for name, text in texts.items()
    }
