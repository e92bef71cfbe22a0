"""TOML files that come with a package, told apart by their first comments."""

from importlib.resources import files
from pathlib import Path
from typing import NamedTuple


class Described(NamedTuple):
    """A file's text, and what its first line says of it."""

    summary: str
    text: str


def described_files(package: str) -> dict[str, Described]:
    """Every TOML file of a package by its name without the ending, in the order of the names."""
    found = sorted(each.name for each in files(package).iterdir())
    texts = {
        Path(name).stem: files(package).joinpath(name).read_text(encoding="utf-8")
        for name in found
        if name.endswith(".toml")
    }
    return {
        name: Described(text.partition("\n")[0].lstrip("# "), text) for name, text in texts.items()
    }
