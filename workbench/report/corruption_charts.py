"""Figures of errors on corrupted images: severity curves, a heat map, ratios to the baseline."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import Record
from benchmarks.corruption_axes import family
from benchmarks.severity_curves import FEWEST, severity_curves
from benchmarks.severity_ratios import severity_ratios
from workbench.drawing.charts import Chart, Heat, Line, Lines, has_values
from workbench.drawing.numbers import MINUS
from workbench.report.rows import Row, baseline_row
from workbench.report.tables import Cell, Heading, Table, name_cell

PROPER = {"gaussian": "Gaussian", "jpeg": "JPEG"}
SPREAD = "for replicates, the range over training seeds"

Floats = NDArray[np.float64]


def title_of(corruption: str) -> str:
    """A corruption as it is written in a text.

    >>> title_of("jpeg_compression"), title_of("fog")
    ('JPEG compression', 'Fog')
    """
    first, *others = corruption.split("_")
    return " ".join((PROPER.get(first, first.capitalize()), *others))


def severity_chart(record: Record, rows: Sequence[Row]) -> Chart | None:
    """Error over severity, a panel for each corruption; severity 0 is the clean images."""
    if not record.corrupted:
        return None
    numbers, severities = record.aggregates, record.axes.severities
    has_clean = bool(np.isfinite(numbers["clean_error"]).any())
    x = (*((0.0,) if has_clean else ()), *map(float, severities))
    panels = []
    for k, corruption in enumerate(record.axes.corruptions):
        lines = []
        for row in rows:
            points, bounds = [], []
            for m in row.models:
                cells, intervals = numbers["cell_error"][m, k], numbers["cell_error_interval"][m, k]
                if has_clean:
                    cells = np.concatenate([[numbers["clean_error"][m]], cells])
                    intervals = np.vstack([numbers["clean_error_interval"][m][None], intervals])
                points.append(cells)
                bounds.append(intervals)
            lines.append(line_of(row.place, x, np.array(points), np.array(bounds)))
        panel = Lines(
            title_of(corruption),
            "severity (0: clean)" if has_clean else "severity",
            "error (%)",
            tuple(lines),
            unit=" %",
            ticks=x,
        )
        panels += [panel] if has_values(panel) else []
    if not panels:
        return None
    note = f"Bands are 95 % intervals over images; {SPREAD}. All panels share one scale."
    top = max(y for panel in panels for line in panel.lines for y in line.y if math.isfinite(y))
    return Chart(
        "severity-curves",
        "Error over severity",
        note,
        tuple(replace(panel, ceiling=min(100.0, 1.05 * top)) for panel in panels),
        narrow=True,
    )


def shape_table(record: Record, rows: Sequence[Row]) -> Table | None:
    """The name of every curve's shape (study S3), by row and corruption."""
    found: Any = severity_curves(record)
    if not found or len(record.axes.severities) < FEWEST:
        return None
    lines = []
    for row in rows:
        cells = [name_cell(row)]
        for corruption in record.axes.corruptions:
            curves = [found[m]["corruptions"][corruption] for m in row.models]
            shapes = dict.fromkeys(str(curve["shape"]) for curve in curves)
            drops = [curve["drop"] for curve in curves if curve["drop"] is not None]
            drop = f"{round(100 * float(np.mean(drops))):+d} points" if drops else ""
            cells.append(Cell(" / ".join(shapes), drop.replace("-", MINUS)))
        lines.append(tuple(cells))
    headings = (Heading("model"), *(Heading(title_of(name)) for name in record.axes.corruptions))
    return Table("Shapes of the curves", headings, tuple(lines), sortable=False, tight=True)


def ratio_chart(record: Record, rows: Sequence[Row]) -> Chart | None:
    """Error relative to the baseline's over severity, a panel for each family (study S4)."""
    base = baseline_row(rows)
    if not record.corrupted or base is None or len(rows) < 2:
        return None
    x = tuple(map(float, record.axes.severities))
    found = {
        row.place: severity_ratios(record, row.models, base.models)
        for row in rows
        if not row.is_baseline
    }
    panels = []
    for f, name in enumerate(record.axes.families):
        members = [each for each in record.axes.corruptions if family(each) == name]
        lines = [
            Line(place, x, tuple(each.ratio[f]), *map(tuple, each.interval[f].T))
            for place, each in found.items()
        ]
        panel = Lines(
            f"{name.capitalize()} ({len(members)})",
            "severity",
            "error / baseline's",
            tuple(lines),
            even=1.0,
            ticks=x,
        )
        panels += [panel] if has_values(panel) else []
    if not panels:
        return None
    note = (
        f"Mean error over the corruptions of a family (their number in brackets) divided by that "
        f"of {base.name}: below 1 is better. Bands are 95 % intervals of a bootstrap over the "
        "images, of both models together; they do not count the noise of training."
    )
    return Chart(
        "family-ratios", "Families relative to the baseline", note, tuple(panels), narrow=True
    )


def heat_chart(record: Record, rows: Sequence[Row]) -> Chart | None:
    """CE of each row under each corruption; where there is no baseline, the mean error."""
    if not record.corrupted:
        return None
    numbers, corruptions = record.aggregates, record.axes.corruptions
    errors = _folded(rows, numbers["mean_error"])
    base, own = baseline_row(rows), record.config.get("baseline")
    if isinstance(own, dict) and np.isfinite(numbers["ce"]).any():  # what mCE is the mean of
        values, against = _folded(rows, numbers["ce"]), str(own["name"])
    elif base is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            values, against = errors / errors[base.place], base.name
        values[~np.isfinite(values)] = np.nan
    else:
        values, against = errors, ""
    if not np.isfinite(values).any():
        return None
    title, even = ("Corruption error (CE)", 100.0) if against else ("Mean error", None)
    note = (
        f"In % of the mean error of {against}, the baseline: below 100 is better."
        if against
        else "Error in %, the mean over the severities, not normalised."
    )
    heat = Heat(
        title,
        tuple(row.place for row in rows),
        tuple(map(title_of, corruptions)),
        tuple(map(tuple, (100 * values).tolist())),
        even,
    )
    return Chart("corruption-heat", title, note, (), heat)


def line_of(row: int, x: tuple[float, ...], points: Floats, bounds: Floats) -> Line:
    """In percent: the mean over replicates, with their range; of one model with its interval."""
    alone = len(points) == 1
    low, high = (bounds[0, :, 0], bounds[0, :, 1]) if alone else (points.min(0), points.max(0))
    y, low, high = (tuple((100 * each).tolist()) for each in (points.mean(axis=0), low, high))
    return Line(row, x, y, low, high)


def _folded(rows: Sequence[Row], values: Floats) -> Floats:
    """The mean over the models of each row."""
    return np.array([values[list(row.models)].mean(axis=0) for row in rows])
