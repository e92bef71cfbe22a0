"""How far corruptions move what models look at: kept mass beside accuracy, and more measures."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks import Record
from workbench.drawing.charts import Chart, Line, Lines, has_values
from workbench.drawing.numbers import interval_text, number_text
from workbench.report.corruption_charts import line_of, title_of
from workbench.report.rows import Row
from workbench.report.tables import Cell, Heading, Table, name_cell

NOTE = (
    "Kept mass: the share of the Grad-CAM map of the true class that stays where it was on the "
    "clean image (100 %: nothing moved), mean over the images whose two maps have mass; beside it "
    "the accuracy under the same corruption. Severity 0 is the clean images. Bands are 95 % "
    "intervals over images; for replicates, the range over training seeds."
)
MEASURES = (
    ("centre_shift", "Shift of the centre of mass, in sides of the image", "lower"),
    ("rank_correlation", "Rank correlation of the cells of the maps", "higher"),
)

Floats = NDArray[np.float64]


class Drawn(Protocol):
    """A row of a figure: a model, or replicates of one."""

    @property
    def place(self) -> int:
        """Its number, which decides its look."""
        ...

    @property
    def models(self) -> tuple[int, ...]:
        """Places of its models on the record's axis."""
        ...


def attention_chart(record: Record, rows: Sequence[Drawn]) -> Chart | None:
    """Kept mass and accuracy over severity, two panels for each corruption."""
    if not record.attention:
        return None
    numbers, axes = record.aggregates, record.axes
    x = (0.0, *map(float, axes.severities))
    panels: list[Lines] = []
    for k, corruption in enumerate(axes.corruptions):
        kept, right = [], []
        for row in rows:
            mine = list(row.models)
            shares, ends = (numbers[name][mine, k] for name in ("kept_mass", "kept_mass_interval"))
            one = np.where(np.isfinite(shares).any(axis=1, keepdims=True), 1.0, np.nan)
            kept.append(
                line_of(
                    row.place,
                    x,
                    np.hstack([one, shares]),
                    np.concatenate([np.stack([one, one], axis=-1), ends], axis=1),
                )
            )
            right.append(_accuracy(record, row, k, x))
        title = title_of(corruption)
        panels += [
            Lines(
                f"{title}: {what}",
                "severity",
                label,
                tuple(lines),
                unit=" %",
                ticks=x,
                ceiling=100.0,
            )
            for what, label, lines in (
                ("kept mass", "kept mass (%)", kept),
                ("accuracy", "accuracy (%)", right),
            )
        ]
    if not any(has_values(panel) for panel in panels[::2]):
        return None
    return Chart(
        "attention-drift",
        "Attention and accuracy over severity",
        NOTE,
        tuple(panel for panel in panels if has_values(panel)),
        narrow=True,
        columns=4,
    )


def attention_tables(record: Record, rows: Sequence[Row]) -> tuple[Table, ...]:
    """Centre shift and rank correlation at the highest severity, by row and corruption."""
    if not record.attention:
        return ()
    return tuple(_table(record, rows, *each) for each in MEASURES)


def undefined_note(record: Record) -> str:
    """How many pairs of maps could not be compared."""
    measured = int((record.attention["defined"] != 255).sum())
    undefined = int((record.attention["defined"] == 0).sum())
    note = "Means over images at the highest severity, and over all corruptions and severities."
    if undefined:
        note += (
            f" {undefined:,} of {measured:,} pairs of maps left out, because one of the two has no "
            "mass."
        )
    return note


def _table(record: Record, rows: Sequence[Row], measure: str, title: str, better: str) -> Table:
    axes, numbers = record.axes, record.aggregates
    lines = []
    for row in rows:
        cells = [name_cell(row)]
        for k in range(len(axes.corruptions)):
            place: tuple[Any, ...] = (list(row.models), k, -1)
            cells.append(_cell(numbers[measure][place], numbers[f"{measure}_interval"][place]))
        mean = f"mean_{measure}"
        place = (list(row.models),)
        cells.append(_cell(numbers[mean][place], numbers[f"{mean}_interval"][place]))
        lines.append(tuple(cells))
    headings = (
        Heading("model"),
        *(Heading(title_of(name), better=better) for name in axes.corruptions),
        Heading("mean", better=better),
    )
    return Table(f"{title}, severity {axes.severities[-1]}", headings, tuple(lines), tight=True)


def _cell(values: Floats, intervals: Floats) -> Cell:
    """One model's number, or the mean over replicates with the range over them."""
    mean = float(values.mean())
    if not np.isfinite(mean):
        return Cell(number_text(None, "number"))
    if len(values) > 1:
        low, high = (number_text(float(each), "number") for each in (values.min(), values.max()))
        return Cell(number_text(mean, "number"), f"seeds: {low} to {high}", sort=mean)
    detail = interval_text(intervals[0].tolist(), "number")
    return Cell(number_text(mean, "number"), detail, sort=mean)


def _accuracy(record: Record, row: Drawn, k: int, x: tuple[float, ...]) -> Line:
    numbers, mine = record.aggregates, list(row.models)
    errors = np.hstack([numbers["clean_error"][mine][:, None], numbers["cell_error"][mine, k]])
    ends = np.concatenate(
        [numbers["clean_error_interval"][mine][:, None], numbers["cell_error_interval"][mine, k]],
        axis=1,
    )
    return line_of(row.place, x, 1 - errors, 1 - ends[..., ::-1])
