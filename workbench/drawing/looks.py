"""How a row looks in every figure: colour, marker and dashes that all eyes can tell apart."""

import math
from typing import NamedTuple

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#6b6b6b", "#999933")
"""Okabe & Ito 2008; its yellow, which is lost on white, is the olive of Tol 2021, and its black is
grey, so that it shows on a dark page too."""
DASHES: tuple[tuple[float, ...], ...] = ((), (5, 2), (1.6, 1.6), (7, 1.8, 1.6, 1.8))

INK, MUTED, GRID = "#1b1c1e", "#75777b", "#e2e3e6"
VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    **{colour: f"var(--row{number})" for number, colour in enumerate(COLOURS)},
}
"""What the page puts in place of each colour, so that figures follow its light and dark modes."""

Points = tuple[tuple[float, float], ...]


def _corners(count: int, turn: float = 0.0) -> Points:
    """A regular polygon around the origin, its first corner at the top, turned by a fraction."""
    angles = [2 * math.pi * ((k + turn) / count) - math.pi / 2 for k in range(count)]
    return tuple((math.cos(angle), math.sin(angle)) for angle in angles)


_PLUS: Points = ((-.35, -1), (.35, -1), (.35, -.35), (1, -.35), (1, .35), (.35, .35), (.35, 1),
                 (-.35, 1), (-.35, .35), (-1, .35), (-1, -.35), (-.35, -.35))  # fmt: skip
_CROSS: Points = tuple(((x - y) * math.sqrt(0.5), (x + y) * math.sqrt(0.5)) for x, y in _PLUS)
MARKERS: tuple[Points, ...] = (
    _corners(24),  # a disc
    _corners(4, 0.5),
    _corners(3),
    _corners(4),
    _corners(3, 0.5),
    _PLUS,
    _CROSS,
    _corners(5),
    _corners(3, 0.25),
)
"""Shapes around the origin that fit a circle of radius 1, about."""


class Look(NamedTuple):
    """Of a row: ``dashes`` are lengths on and off in points, none for a solid line."""

    colour: str
    marker: Points
    dashes: tuple[float, ...]


def look(place: int) -> Look:
    """The look of a row; no two of the first 72 are the same.

    >>> len({look(place) for place in range(72)})
    72
    """
    return Look(
        COLOURS[place % len(COLOURS)],
        MARKERS[place % len(MARKERS)],
        DASHES[place % len(DASHES)],
    )
