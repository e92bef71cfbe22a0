"""Lays out attributions: images on top, below them for each model its maps and what it says."""

from collections.abc import Sequence
from dataclasses import dataclass

from workbench.drawing.looks import COLOURS, INK, MUTED
from workbench.drawing.maps import BAR_HEIGHT, Pixels, over_grey, scale_bar
from workbench.drawing.marks import (
    Drawing,
    Mark,
    Text,
    fitted,
    moved,
    picture,
    text_width,
)
from workbench.drawing.panels import swatch

FONT, SMALL = 8.5, 7.5  # points
LINE = 10.0  # from one small line of text to the next
WIDE = 500.0  # points: the text of a page, about
SMALLEST, LARGEST = 56.0, 104.0  # points that an image is wide
GAP, MARGIN, BAR = 4.0, 8.0, 120.0


@dataclass(frozen=True)
class Said:
    """What stands below a column: the class that a model says, and whether that is right."""

    name: str
    confidence: str
    right: bool


@dataclass(frozen=True)
class Block:
    """One model: a row of pictures for each method, and what it says of each column."""

    place: int
    label: str
    rows: tuple[tuple[str, tuple[Pixels, ...]], ...]
    said: tuple[Said, ...]


@dataclass(frozen=True)
class Figure:
    """Columns of one image under conditions, or of several images.

    Attributes:
        headings: two lines above each column.
        images: one a column.
    """

    headings: tuple[tuple[str, str], ...]
    images: tuple[Pixels, ...]
    blocks: tuple[Block, ...]


def attribution_drawing(figure: Figure) -> Drawing:
    """The figure with its colour scale."""
    labels = [name.split(" ") for block in figure.blocks for name, _ in block.rows]
    left = max((text_width(word, SMALL) for words in labels for word in words), default=0) + MARGIN
    columns = len(figure.images)
    width = min(LARGEST, max(SMALLEST, (WIDE - left) / columns - GAP))
    height = width * figure.images[0].shape[0] / figure.images[0].shape[1]
    xs = [left + GAP + number * (width + GAP) for number in range(columns)]
    whole = max(xs[-1] + width, left + GAP + BAR) + MARGIN
    marks: list[Mark] = []
    y = MARGIN
    for x, (first, second) in zip(xs, figure.headings, strict=True):
        marks.append(_centred(x, y, width, first, INK))
        marks.append(_centred(x, y + LINE, width, second, MUTED))
    y += 2 * LINE + 2
    marks += _pictures(figure.images, xs, y, width, height)
    y += height + 10
    for block in figure.blocks:
        marks += moved(swatch(block.place).marks, MARGIN, y)
        title = fitted(block.label, whole - 58, FONT)
        marks.append(Text(MARGIN + 37, y + 6, title, FONT, INK, "start"))
        y += 16
        for name, pictures in block.rows:
            words = name.split(" ")
            top = y + height / 2 - (len(words) - 1) * LINE / 2
            for number, word in enumerate(words):
                marks.append(Text(left, top + number * LINE, word, SMALL, INK, "end"))
            marks += _pictures(pictures, xs, y, width, height)
            y += height + GAP
        for x, said in zip(xs, block.said, strict=True):
            colour = INK if said.right else COLOURS[1]
            marks.append(_centred(x, y, width, said.name, colour))
            marks.append(_centred(x, y + LINE, width, said.confidence, colour))
        y += 2 * LINE + 8
    marks += scale_bar(xs[0], y, BAR, over_grey, (0, 1), ("0", "99th percentile"))
    return Drawing(whole, y + BAR_HEIGHT + 12 + MARGIN, tuple(marks))


def _centred(x: float, y: float, width: float, text: str, colour: str) -> Text:
    return Text(x + width / 2, y + LINE / 2, fitted(text, width + GAP - 1, SMALL), SMALL, colour)


def _pictures(
    pictures: Sequence[Pixels], xs: Sequence[float], y: float, width: float, height: float
) -> list[Mark]:
    return [picture(x, y, width, height, each) for x, each in zip(xs, pictures, strict=True)]
