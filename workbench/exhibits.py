"""Exhibits: figures and tables of `probe` and `explain`, kept so that a report can show them.

A run directory holds ``exhibits.json`` and, in ``figures/``, each figure as SVG and PNG.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import durable
from workbench.console import Console, jsonable
from workbench.drawing.marks import Drawing, save
from workbench.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table as RichTable

FORMAT_VERSION = 1
FILE, FIGURES = "exhibits.json", "figures"
NAME = re.compile(r"[a-z0-9][a-z0-9-]*")


@dataclass(frozen=True)
class Table:
    """Texts under headings; the first of each line says what the line is."""

    headings: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Exhibit:
    """A figure, a table, or both.

    Attributes:
        name: of its files: small letters, digits and ``-``; no two of a run are the same.
        title: a heading.
        note: what a reader must know to read it, in a sentence or two.
        drawing: the figure.
        words: what the figure shows, for those who do not see it.
        table: what is printed; texts as people read them.
        numbers: what is behind both, unrounded: JSON values or arrays; NaN is kept as null.
    """

    name: str
    title: str
    note: str = ""
    drawing: Drawing | None = None
    words: str = ""
    table: Table | None = None
    numbers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Kept:
    """An exhibit as it was kept: ``svg`` is the file of its figure, None where it has none."""

    name: str
    title: str
    note: str
    words: str
    table: Table | None
    svg: Path | None


def keep_exhibits(exhibits: Sequence[Exhibit], directory: Path) -> list[Path]:
    """Write exhibits to a run directory; the files of their figures. Those of before are replaced.

    Raises:
        ValueError: two have one name, or a name is none.
        OSError: a file cannot be written.
    """
    names = [exhibit.name for exhibit in exhibits]
    for name in names:
        if NAME.fullmatch(name) is None or names.count(name) > 1:
            raise ValueError(f"An exhibit is called {name!r}: not a name, or not the only one")
    files: list[Path] = []
    for old in (directory / FIGURES).glob("*"):
        if old.suffix in (".svg", ".png") and old.stem not in names:
            old.unlink()  # of an earlier run here, which showed more
    for exhibit in exhibits:
        if exhibit.drawing is not None:
            (directory / FIGURES).mkdir(exist_ok=True)
            files += save(exhibit.drawing, directory / FIGURES / exhibit.name)
    kept = {"format_version": FORMAT_VERSION, "exhibits": [_described(each) for each in exhibits]}
    with durable.atomically(directory / FILE) as temporary:
        temporary.write_text(
            json.dumps(jsonable(kept), ensure_ascii=False, indent=1), encoding="utf-8"
        )
    return files


def read_exhibits(directory: Path) -> list[Kept]:
    """The exhibits of a run directory.

    Raises:
        UsageError: it holds none, or they cannot be read.
    """
    try:
        found = json.loads((directory / FILE).read_text(encoding="utf-8"))
        if found["format_version"] != FORMAT_VERSION:
            raise UsageError(f"{directory / FILE} was written by another release.")
        return [_kept(each, directory) for each in found["exhibits"]]
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(
            f"{directory} holds nothing that `workbench probe` or `workbench explain` made."
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{directory / FILE} is damaged: run its command again.") from error


def show_exhibits(exhibits: Sequence[Exhibit], console: Console) -> None:
    """Print the tables of exhibits, with each note below the last of those that it is of."""
    tables = [exhibit for exhibit in exhibits if exhibit.table is not None]
    for number, exhibit in enumerate(tables):
        if exhibit.table is not None:
            console.show(_rich(exhibit.title, exhibit.table))
        if exhibit.note and exhibit.note not in (each.note for each in tables[number + 1 :]):
            console.note(exhibit.note)


def exhibit_documents(exhibits: Sequence[Exhibit], directory: Path) -> list[dict[str, Any]]:
    """Exhibits for a JSON document: names, titles, numbers, and the files of the figures."""
    return [
        {
            "name": each.name,
            "title": each.title,
            "note": each.note,
            "numbers": dict(each.numbers),
            "figures": [str(directory / FIGURES / f"{each.name}.{kind}") for kind in ("svg", "png")]
            if each.drawing is not None
            else [],
        }
        for each in exhibits
    ]


def _described(exhibit: Exhibit) -> dict[str, Any]:
    table = exhibit.table
    return {
        "name": exhibit.name,
        "title": exhibit.title,
        "note": exhibit.note,
        "words": exhibit.words,
        "figure": exhibit.drawing is not None,
        "table": None if table is None else {"headings": table.headings, "lines": table.lines},
        "numbers": dict(exhibit.numbers),
    }


def _kept(found: Mapping[str, Any], directory: Path) -> Kept:
    name, table = found["name"], found["table"]
    if NAME.fullmatch(name) is None:
        raise ValueError(name)
    return Kept(
        name=name,
        title=str(found["title"]),
        note=str(found["note"]),
        words=str(found["words"]),
        table=None
        if table is None
        else Table(
            tuple(map(str, table["headings"])),
            tuple(tuple(map(str, line)) for line in table["lines"]),
        ),
        svg=directory / FIGURES / f"{name}.svg" if found["figure"] else None,
    )


def _rich(title: str, table: Table) -> "RichTable":
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(title=Text(title), title_justify="left", header_style="bold")
    for number, heading in enumerate(table.headings):
        drawn.add_column(Text(heading), justify="right" if number else "left")
    for line in table.lines:
        drawn.add_row(*map(Text, line))
    return drawn
