"""Figures and tables of `probe` and `explain` as parts of a report."""

import base64
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.errors import UsageError
from workbench.exhibits import Kept, read_exhibits
from workbench.report.tables import Cell, Heading, Table
from workbench.run_directory import read_description

TITLES = {"probe": "One image at a time", "explain": "Inside the models"}
BOX = re.compile(rb'<svg[^>]* viewBox="0 0 ([0-9.]+) [0-9.]+"')
WIDTH = 500.0  # points, of a figure that does not say how wide it is


@dataclass(frozen=True)
class Shown:
    """An exhibit as the page takes it.

    Attributes:
        source: the figure as a data URI, or empty. In an `img` no script of a file is run, and
            nothing is fetched.
        width: of the figure, in points.
        words: what it shows.
    """

    id: str
    title: str
    note: str
    source: str
    width: float
    words: str
    table: Table | None


@dataclass(frozen=True)
class Exhibition:
    """What one run made.

    Attributes:
        models: their names, in the order that gives them their colours.
        command: that made it.
    """

    id: str
    title: str
    directory: Path
    models: tuple[str, ...]
    command: str
    shown: tuple[Shown, ...]


def exhibitions(directories: Sequence[Path]) -> tuple[Exhibition, ...]:
    """The exhibits of run directories, a part of the report for each.

    Raises:
        UsageError: a directory is given twice or holds none, or a figure is missing.
    """
    places = Counter(directory.absolute() for directory in directories)
    twice = next((directory for directory, count in places.items() if count > 1), None)
    if twice is not None:
        raise UsageError(f"--with {twice} is given twice.")
    runs = [_run(directory) for directory in directories]
    verbs = Counter(run.get("verb") for run in runs)
    found = []
    for number, (directory, run) in enumerate(zip(directories, runs, strict=True), start=1):
        id_ = f"exhibits-{number}"
        title = TITLES.get(str(run.get("verb")), "Exhibits")
        if verbs[run.get("verb")] > 1:
            title += f": {directory.absolute().name}"
        shown = tuple(_shown(kept, id_) for kept in read_exhibits(directory))
        models = tuple(str(each["name"]) for each in _models(run))
        found.append(
            Exhibition(id_, title, directory, models, str(run.get("command") or ""), shown)
        )
    return tuple(found)


def other_colours(exhibition: Exhibition, places: Mapping[str, int]) -> list[str]:
    """Models that have other colours here than in the report's own figures.

    ``places`` are those of the report's models by their names.
    """
    return [
        name for place, name in enumerate(exhibition.models) if places.get(name, place) != place
    ]


def _run(directory: Path) -> Mapping[str, Any]:
    """What the run directory says of itself, where it still does."""
    try:
        return read_description(directory)
    except (UsageError, OSError):
        return {}


def _models(run: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    config = run.get("config")
    models = config.get("models") if isinstance(config, Mapping) else None
    known = models if isinstance(models, list) else []
    return [each for each in known if isinstance(each, Mapping) and "name" in each]


def _shown(kept: Kept, id_: str) -> Shown:
    source, width = "", WIDTH
    if kept.svg is not None:
        try:
            picture = kept.svg.read_bytes()
        except FileNotFoundError:
            raise UsageError(f"The figure {kept.svg} is missing: run its command again.") from None
        source = f"data:image/svg+xml;base64,{base64.b64encode(picture).decode()}"
        box = BOX.match(picture)
        width = float(box[1]) if box else WIDTH
    return Shown(
        f"{id_}-{kept.name}",
        kept.title,
        kept.note,
        source,
        width,
        kept.words or kept.title,
        _table(kept),
    )


def _table(kept: Kept) -> Table | None:
    table = kept.table
    if table is None or not table.lines:
        return None
    return Table(
        f"{kept.title}: numbers" if kept.svg is not None else kept.title,
        tuple(Heading(text) for text in table.headings),
        tuple(tuple(Cell(text) for text in line) for line in table.lines),
        sortable=False,
    )
