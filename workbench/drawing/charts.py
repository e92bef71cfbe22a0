"""What figures show, apart from how they are drawn: numbers, titles, and the words for the blind.

A chart is one figure of the report: panels side by side that share a legend. In a page each panel
is a picture of its own, so that they flow on a narrow screen; in a file they are one picture.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

MOST_TOLD = 8  # rows that the words for a figure go through one by one


class Named(Protocol):
    """A model in a figure."""

    @property
    def place(self) -> int:
        """Its number, which decides its colour, marker and dashes in all figures."""
        ...

    @property
    def label(self) -> str:
        """What legends call it."""
        ...


@dataclass(frozen=True)
class Line:
    """One row's line.

    Attributes:
        row: place of the row.
        x, y: points; NaN in y leaves a gap.
        low, high: the band around it, as long as y, or empty.
    """

    row: int
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


@dataclass(frozen=True)
class Lines:
    """A panel of lines.

    Attributes:
        unit: behind each number in the words for it, such as `` %``.
        steps: drawn as stairs that go up at each point, such as a distribution.
        even: a value that means "no difference", drawn as a thin line.
        diagonal: whether the line y = x is drawn.
        whole: ticks of the x axis, else they are chosen.
        floor, ceiling: the ends of the y axis where they are fixed.
    """

    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    unit: str = ""
    steps: bool = False
    even: float | None = None
    diagonal: bool = False
    ticks: tuple[float, ...] = ()
    floor: float | None = 0.0
    ceiling: float | None = None


@dataclass(frozen=True)
class Bar:
    """One row's bar: a value, its interval or None, and both as text."""

    row: int
    value: float
    interval: tuple[float, float] | None
    text: str


@dataclass(frozen=True)
class Bars:
    """A panel of horizontal bars from zero, a row each."""

    title: str
    label: str
    bars: tuple[Bar, ...]
    ceiling: float | None = None


@dataclass(frozen=True)
class Heat:
    """Numbers on a grid: rows down, columns across.

    Attributes:
        values: one tuple a row, NaN where nothing was measured.
        even: the value that means "like the baseline"; None where colours go up from zero.
    """

    title: str
    rows: tuple[int, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]
    even: float | None = None


Panel = Lines | Bars


@dataclass(frozen=True)
class Chart:
    """A figure.

    Attributes:
        name: of its files, and its anchor.
        note: what a reader must know to read it, in a sentence or two.
        narrow: whether its panels may be half as wide as others.
        columns: how many panels stand side by side in a file; None for as many as is usual.
    """

    name: str
    title: str
    note: str
    panels: tuple[Panel, ...]
    heat: Heat | None = None
    narrow: bool = field(default=False)
    columns: int | None = None

    @property
    def has_legend(self) -> bool:
        """Whether lines must be told apart; bars have their names beside them."""
        return any(isinstance(panel, Lines) for panel in self.panels)


def words(panel: Panel, rows: Sequence[Named]) -> str:
    """What a panel shows, for those who do not see it: each row's numbers, or their range."""
    if isinstance(panel, Bars):
        told = [f"{rows[bar.row].label} {bar.text}" for bar in panel.bars]
        return f"Bar chart. {panel.title}: {panel.label}. {'; '.join(told)}."
    told = []
    for line in panel.lines:
        seen = [(x, y) for x, y in zip(line.x, line.y, strict=True) if math.isfinite(y)]
        if seen:
            (first, start), (last, end) = seen[0], seen[-1]
            told.append(
                f"{rows[line.row].label}: {start:.3g}{panel.unit} at {first:.3g}, "
                f"{end:.3g}{panel.unit} at {last:.3g}"
            )
    values = [y for line in panel.lines for y in line.y if math.isfinite(y)]
    across = f"{len(told)} lines between {min(values):.3g} and {max(values):.3g}{panel.unit}"
    spoken = "; ".join(told) if len(told) <= MOST_TOLD else across
    return f"Line chart. {panel.title}: {panel.y_label} over {panel.x_label}. {spoken}."


def has_values(panel: Panel) -> bool:
    """Whether there is anything to draw."""
    if isinstance(panel, Bars):
        return bool(panel.bars)
    return any(math.isfinite(y) for line in panel.lines for y in line.y)
