"""The classes that are hardest, side by side for all models, and what they are taken for."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks import Record
from benchmarks.class_tables import class_tables
from workbench.drawing.numbers import PERCENT, UNKNOWN, interval_text, number_text
from workbench.report.rows import Row
from workbench.report.tables import Cell, Heading, Table

WORST = 10
MISTAKES = 2  # wrong answers that are named

Classes = Mapping[int, Mapping[str, Any]]


def worst_classes(record: Record, rows: Sequence[Row]) -> Table | None:
    """The ten classes with the highest top-1 error on clean images, on average over the rows."""
    if not (record.clean["right"] != 255).any():
        return None
    found: Any = class_tables(record)
    by_model: list[Classes] = [{each["class"]: each for each in one["classes"]} for one in found]
    by_row = [[by_model[m] for m in row.models] for row in rows]
    everywhere = [number for number in by_model[0] if all(number in one for one in by_model)]
    means = {number: np.mean([_error(mine, number) for mine in by_row]) for number in everywhere}
    worst = sorted(everywhere, key=lambda number: -means[number])[:WORST]
    worst = [number for number in worst if means[number] > 0]
    if not worst or len(everywhere) < 2:
        return None
    lines = []
    for number in worst:
        each = by_model[0][number]
        name = str(each["name"])
        cells = [Cell(name, sort=name.lower()), Cell(str(each["images"]), sort=each["images"])]
        cells += [_cell(mine, number) for mine in by_row]
        cells.append(Cell(_mistakes(by_model, number)))
        lines.append(tuple(cells))
    headings = [Heading("class"), Heading("images")]
    headings += [Heading(row.label, better="lower") for row in rows]
    headings.append(Heading("mistaken for", sorts=False))
    caption = "Top-1 error by class, clean images"
    return Table(caption, tuple(headings), tuple(lines), tight=True)


def _error(mine: Sequence[Classes], number: int) -> float:
    return float(np.mean([classes[number]["top1_error"] for classes in mine]))


def _cell(mine: Sequence[Classes], number: int) -> Cell:
    """A row's error with its interval; of replicates the mean."""
    error = _error(mine, number)
    interval = mine[0][number]["top1_error_interval"] if len(mine) == 1 else None
    detail = interval_text(interval, "percent")
    return Cell(number_text(error, "percent"), detail, sort=error, heat=(True, error))


def _mistakes(by_model: Sequence[Classes], number: int) -> str:
    """The most frequent wrong answers of all models, in % of their answers."""
    wrong: Counter[str] = Counter()
    for classes in by_model:
        for each in classes[number]["mistaken_for"]:
            wrong[str(each["name"])] += int(each["count"])
    answers = sum(int(classes[number]["answers"]) for classes in by_model)
    told = [
        f"{name} {100 * count / answers:.0f}{PERCENT}"
        for name, count in wrong.most_common(MISTAKES)
    ]
    return ", ".join(told) or UNKNOWN
