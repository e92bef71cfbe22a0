"""How far confidences can be trusted: reliability diagrams, and calibration in numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks import Record
from benchmarks.calibration import calibration, reliability
from benchmarks.corruption_axes import CorruptionAxes
from workbench.drawing.charts import Chart, Line, Lines, has_values
from workbench.drawing.numbers import finite, interval_text, number_text
from workbench.report.rows import Row
from workbench.report.tables import Cell, Heading, Table, name_cell

NUMBERS = (
    ("error", "error", "percent"),
    ("ece", "ECE", "percent"),
    ("brier", "Brier score", "number"),
    ("mean_loss", "cross-entropy", "number"),
    ("aurc", "AURC", "percent"),
)

LEAST = 10  # images of a bin that is drawn

Numbers = Mapping[str, Any]


def reliability_chart(record: Record, rows: Sequence[Row]) -> Chart | None:
    """Accuracy over confidence on clean images and, pooled, on corrupted ones."""
    clean = record.clean
    panels = [_panel("Clean", clean["confidence"], clean["right"], rows)]
    if record.corrupted:
        hardest = record.axes.severities[-1]
        columns = (record.corrupted[name][:, :, -1] for name in ("confidence", "right"))
        confidence, right = (each.reshape(len(each), -1) for each in columns)
        panels.append(_panel(f"Corrupted, severity {hardest}", confidence, right, rows))
    panels = [panel for panel in panels if has_values(panel)]
    if not panels:
        return None
    note = (
        "How often answers of each confidence are right, in 15 bins of equal width; replicates and "
        "corruptions pooled. Below the diagonal a model is surer than it should be. Bands are "
        f"95 % intervals; bins of fewer than {LEAST} images are left out."
    )
    return Chart("reliability", "Reliability of confidences", note, tuple(panels))


def calibration_tables(record: Record, rows: Sequence[Row]) -> tuple[Table, ...]:
    """Calibration and failure prediction: clean, and the mean over corruptions where hardest.

    The highest severity stands for all: the bootstrap of every cell would take most of the time of
    a report.
    """
    axes = record.axes
    last = CorruptionAxes(axes.corruptions, axes.severities[-1:], axes.with_extra)
    narrowed = {name: values[:, :, -1:] for name, values in record.corrupted.items()}
    nothing: dict[str, Any] = {name: values[:, :0] for name, values in record.attacked.items()}
    found: Any = calibration(
        replace(record, axes=last, corrupted=narrowed, attacks=(), attacked=nothing)
    )
    parts = [("On clean images", [_clean(each) for each in found])]
    if record.corrupted:
        title = f"Mean over corruptions at severity {axes.severities[-1]}"
        parts.append((title, [each["mean_over_corruptions"] or {} for each in found]))
    tables = (_table(title, numbers, rows) for title, numbers in parts)
    return tuple(table for table in tables if len(table.headings) > 1)


def _panel(title: str, confidence: Any, right: Any, rows: Sequence[Row]) -> Lines:
    lines = []
    for row in rows:
        models = list(row.models)
        known = right[models] != 255
        bins = reliability(confidence[models][known], right[models][known] == 1)
        some = [each for each in bins if int(str(each["images"])) >= LEAST]
        if some:
            intervals = np.array([each["accuracy_interval"] for each in some], np.float64)
            lines.append(
                Line(
                    row.place,
                    tuple(float(str(each["confidence"])) for each in some),
                    tuple(float(str(each["accuracy"])) for each in some),
                    *map(tuple, intervals.T),
                )
            )
    return Lines(
        title,
        "confidence",
        "share right",
        tuple(lines),
        diagonal=True,
        ticks=(0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
        ceiling=1.0,
    )


def _clean(found: Numbers) -> Numbers:
    conditions: Any = found["conditions"]
    return next((each for each in conditions if each["kind"] == "clean"), {})


def _table(title: str, found: Sequence[Numbers], rows: Sequence[Row]) -> Table:
    shown = [
        each
        for each in NUMBERS
        if any(finite(numbers.get(each[0])) is not None for numbers in found)
    ]
    lines = []
    for row in rows:
        mine = [found[m] for m in row.models]
        cells = [_cell(mine, name, form) for name, _, form in shown]
        lines.append((name_cell(row), *cells))
    headings = (Heading("model"), *(Heading(text, better="lower") for _, text, _ in shown))
    return Table(title, headings, tuple(lines))


def _cell(mine: Sequence[Numbers], name: str, form: str) -> Cell:
    """One model's number, or the mean over replicates with the range over them."""
    values = [value for each in mine if (value := finite(each.get(name))) is not None]
    if len(values) < len(mine):
        return Cell(number_text(None, form))
    interval: Any = mine[0].get(f"{name}_interval")
    detail = interval_text(interval, form)
    if len(mine) > 1:
        low, high = (number_text(each, form) for each in (min(values), max(values)))
        detail = f"seeds: {low} to {high}"
    mean = float(np.mean(values))
    return Cell(number_text(mean, form), detail, sort=mean)
