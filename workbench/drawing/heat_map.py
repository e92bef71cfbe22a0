"""A grid of shares as colours, names along both axes and the scale beside it."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from workbench.drawing.looks import GRID, INK, MUTED
from workbench.drawing.maps import sequential
from workbench.drawing.marks import Area, Drawing, Mark, Stroke, Text, fitted, text_width
from workbench.drawing.numbers import MINUS, UNKNOWN

WHITE, BLACK = "#ffffff", "#000000"  # on colours that are the same on a dark page
FONT, NAMES = 8.5, 7.5  # points
LONGEST = 110.0  # points a name may take; its middle is left out beyond
PAD, GAP, BAR, STRIPS = 6.0, 14.0, 11.0, 64
SHORTEST = 90.0  # points the scale takes, where there are few rows


@dataclass(frozen=True)
class HeatMap:
    """Numbers for each row and each column.

    Attributes:
        row_title, column_title: what the rows and the columns are.
        rows: names, from the bottom to the top.
        columns: names, from left to right.
        values: one tuple a row; colours go from 0 to 1, and NaN is drawn as unknown.
        scale: what the numbers are.
    """

    row_title: str
    column_title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]
    scale: str


class _Cell(NamedTuple):
    width: float
    height: float
    font: float  # of the number in it; 0 for none


SIZES = ((12, _Cell(27, 18, 7.5)), (25, _Cell(20, 14.5, 6.3)))
"""Cells by the most rows or columns they are for; two digits after the point fit."""
_MANY = _Cell(9.5, 9.5, 0)  # as high as a line of names


def heat_map_drawing(heat: HeatMap) -> Drawing:
    """The figure: the first row at the bottom, so that what is alike in order rises."""
    most = max(len(heat.rows), len(heat.columns))
    cell = next((size for count, size in SIZES if most <= count), _MANY)
    rows = [fitted(name, LONGEST, NAMES) for name in heat.rows]
    columns = [fitted(name, LONGEST, NAMES) for name in heat.columns]
    title = FONT + 6
    left = PAD + title + max(text_width(name, NAMES) for name in rows) + 5
    width, height = cell.width * len(columns), cell.height * len(rows)
    right, bottom = left + width, PAD + height
    below = max(text_width(name, NAMES) for name in columns) + 5
    marks: list[Mark] = []
    for place, (name, values) in enumerate(zip(rows, heat.values, strict=True)):
        y = bottom - cell.height * (place + 1)
        marks.append(Text(left - 4, y + cell.height / 2, name, NAMES, INK, "end"))
        for number, value in enumerate(values):
            marks += _cell(left + cell.width * number, y, cell, value)
    for number, name in enumerate(columns):
        x = left + cell.width * (number + 0.5)
        marks.append(Text(x, bottom + 4, name, NAMES, INK, "end", upward=True))
    scale = max(height, SHORTEST)
    foot, end = max(bottom + below, PAD + scale + 4), right + GAP + BAR + 22 + FONT + PAD
    x, text = _within(heat.column_title, left + width / 2, end)
    marks.append(Text(x, foot + title / 2, text, FONT, INK))
    y, text = _within(heat.row_title, PAD + height / 2, foot)
    marks.append(Text(PAD + FONT / 2, y, text, FONT, INK, upward=True))
    marks += _scale(right + GAP, PAD, scale, heat.scale)
    return Drawing(end, foot + title + PAD, tuple(marks))


def _within(text: str, middle: float, room: float) -> tuple[float, str]:
    """Where the middle of a text lies, as near as it fits between `PAD` and ``room``."""
    text = fitted(text, room - 2 * PAD, FONT)
    half = text_width(text, FONT) / 2
    return min(max(middle, PAD + half), room - PAD - half), text


def _cell(x: float, y: float, cell: _Cell, value: float) -> list[Mark]:
    known = math.isfinite(value)
    colour = _colour(value) if known else GRID
    box = ((x, y), (x + cell.width, y), (x + cell.width, y + cell.height), (x, y + cell.height))
    # Its edge is drawn too: cells that only touch show the paper between them.
    found: list[Mark] = [Area(box, colour), Stroke((*box, box[0]), colour, 0.3)]
    if cell.font:
        ink = INK if not known else BLACK if _is_light(colour) else WHITE
        text = f"{value:z.2f}".replace("-", MINUS) if known else UNKNOWN
        found.append(Text(x + cell.width / 2, y + cell.height / 2, text, cell.font, ink))
    return found


def _scale(x: float, top: float, height: float, title: str) -> list[Mark]:
    marks: list[Mark] = []
    step = height / STRIPS
    for strip in range(STRIPS):
        low = top + height - step * strip
        high = low - step - (0.5 if strip < STRIPS - 1 else 0)  # under the next one: no seams
        box = ((x, low), (x + BAR, low), (x + BAR, high), (x, high))
        marks.append(Area(box, _colour((strip + 0.5) / STRIPS)))
    for tick in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        y = top + height * (1 - tick)
        marks.append(Stroke(((x + BAR, y), (x + BAR + 3, y)), MUTED, 0.7))
        inside = min(max(y, top + NAMES / 2), top + height - NAMES / 2)
        marks.append(Text(x + BAR + 5, inside, f"{tick:g}", NAMES, INK, "start"))
    middle = top + height / 2
    shown = fitted(title, height, FONT)
    return [*marks, Text(x + BAR + 22 + FONT / 2, middle, shown, FONT, INK, upward=True)]


def _colour(value: float) -> str:
    return "#" + bytes(sequential(np.array([[value]]))[0, 0]).hex()


def _is_light(colour: str) -> bool:
    """Whether black is read better on it than white (WCAG 2.1, relative luminance)."""
    channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] > 0.179
