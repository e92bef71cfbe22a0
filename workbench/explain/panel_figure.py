"""Lays out pictures of layers: a row for each layer, models side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

from workbench.drawing.looks import INK, MUTED
from workbench.drawing.maps import BAR_HEIGHT, Map, Pixels, scale_bar
from workbench.drawing.marks import Drawing, Mark, Picture, Text, fitted, moved, picture, png_bytes
from workbench.drawing.panels import swatch
from workbench.explain.viewed import ViewedModel

FONT, SMALL = 8.5, 7.5  # points
PAGE, WIDEST, NARROWEST = 500.0, 230.0, 130.0  # points: all columns, and one
GAP, MARGIN, LINE = 14.0, 8.0, 10.5
LEAD, BAR = 84.0, 120.0


@dataclass(frozen=True)
class Scale:
    """What the colours of a panel mean: texts evenly spread over a strip of them."""

    colours: Map
    ends: tuple[float, float]
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Panel:
    """A picture with two lines above it."""

    title: str
    detail: str
    pixels: Pixels
    scale: Scale | None = None


@dataclass(frozen=True)
class Lead:
    """An image that stands before the panels, with lines beside it."""

    pixels: Pixels
    lines: tuple[str, ...]


def panels_drawing(
    models: Sequence[ViewedModel],
    rows: Sequence[Sequence[Panel | None]],
    lead: Lead | None = None,
    scale: Scale | None = None,
) -> Drawing:
    """Panels in a column for each model; None where a model has no such layer.

    ``scale`` is of all panels. The panels of a single model stand in two columns.
    """
    columns = len(models)
    if columns == 1 and len(rows) > 1:
        columns, alone = 2, [row[0] for row in rows]
        rows = [alone[place : place + 2] for place in range(0, len(alone), 2)]
    width = min(WIDEST, max(NARROWEST, (PAGE - GAP * (columns - 1)) / columns))
    xs = [MARGIN + number * (width + GAP) for number in range(columns)]
    marks: list[Mark] = []
    y = MARGIN
    if lead is not None:
        height = LEAD * lead.pixels.shape[0] / lead.pixels.shape[1]
        marks.append(picture(MARGIN, y, LEAD, height, lead.pixels))
        for number, text in enumerate(lead.lines):
            at = y + height / 2 + (number - (len(lead.lines) - 1) / 2) * LINE
            room = xs[-1] + width - MARGIN - LEAD - 8
            colour = MUTED if number else INK
            marks.append(
                Text(MARGIN + LEAD + 8, at, fitted(text, room, SMALL), SMALL, colour, "start")
            )
        y += height + 10
    for x, model in zip(xs, models, strict=False):
        marks += moved(swatch(model.place).marks, x, y)
        marks.append(Text(x + 37, y + 6, fitted(model.label, width - 37, FONT), FONT, INK, "start"))
    y += 18
    for row in rows:
        heights = [y]
        for x, panel in zip(xs, row, strict=False):
            if panel is not None:
                drawn, bottom = _panel(panel, x, y, width)
                marks += drawn
                heights.append(bottom)
        y = max(heights) + 8
    if scale is not None:
        marks += _bar(scale, MARGIN, y, width)
        y += BAR_HEIGHT + 20
    return Drawing(xs[-1] + width + MARGIN, y + MARGIN - 8, tuple(marks))


def _panel(panel: Panel, x: float, y: float, width: float) -> tuple[list[Mark], float]:
    marks: list[Mark] = [
        Text(x, y + LINE / 2, fitted(panel.title, width, SMALL), SMALL, INK, "start"),
        Text(x, y + LINE * 1.5, fitted(panel.detail, width, SMALL), SMALL, MUTED, "start"),
    ]
    y += 2 * LINE + 2
    height, across = panel.pixels.shape[:2]
    shown = width * min(1.0, across / height)
    tall = shown * height / across
    marks.append(Picture(x, y, shown, tall, png_bytes(panel.pixels)))
    y += tall + 4
    if panel.scale is not None:
        marks += _bar(panel.scale, x, y, width)
        y += BAR_HEIGHT + 12
    return marks, y


def _bar(scale: Scale, x: float, y: float, room: float) -> list[Mark]:
    return scale_bar(x, y, min(BAR, room), scale.colours, scale.ends, scale.texts)
