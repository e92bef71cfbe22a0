"""Lays out small pictures with lines below them, in sections that may be a model's."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from workbench.drawing.looks import INK, look
from workbench.drawing.maps import Pixels
from workbench.drawing.marks import (
    Area,
    Drawing,
    Mark,
    Text,
    fitted,
    moved,
    picture,
    text_width,
)
from workbench.drawing.panels import swatch
from workbench.drawing.signs import cross, tick
from workbench.explain.viewed import ViewedModel

FONT, SMALL = 8.5, 7.5  # points
PAGE, MARGIN, GAP, LINE = 500.0, 8.0, 8.0, 10.5
SIGN = 9.0  # points that a tick, a cross or a marker takes
MOST_PIXELS = 160  # a tile is some 250 dots wide; larger images only make files large


@dataclass(frozen=True)
class Caption:
    """A line below a picture.

    Attributes:
        text: cut in its middle where it is too long.
        end: follows it and is never cut, such as a number.
        right: a tick or a cross stands before it; None for neither.
        place: of the model whose marker stands before it, or None.
    """

    text: str
    end: str = ""
    right: bool | None = None
    place: int | None = None
    colour: str = INK


@dataclass(frozen=True)
class Tile:
    """Pictures of one shape, side by side, and the lines below them."""

    pictures: tuple[Pixels, ...]
    captions: tuple[Caption, ...]


@dataclass(frozen=True)
class Section:
    """Tiles below a title.

    Attributes:
        place: of the model that the section is of, or None.
    """

    title: str
    tiles: tuple[Tile, ...]
    place: int | None = None


def tiles_drawing(
    sections: Sequence[Section], columns: int, legend: Sequence[ViewedModel] = ()
) -> Drawing:
    """Sections one below the other; ``legend`` says whose the markers are.

    Every tile has a column's width, of which there are as many as asked for.
    """
    width = (PAGE - 2 * MARGIN - (columns - 1) * GAP) / columns
    marks: list[Mark] = []
    y = MARGIN
    for section in sections:
        if section.title:
            x = MARGIN
            if section.place is not None:
                marks += moved(swatch(section.place).marks, x, y)
                x += 37
            title = fitted(section.title, PAGE - MARGIN - x, FONT)
            marks.append(Text(x, y + 6, title, FONT, INK, "start"))
            y += 18
        for start in range(0, len(section.tiles), columns):
            row = section.tiles[start : start + columns]
            for number, tile in enumerate(row):
                marks += _tile(tile, MARGIN + number * (width + GAP), y, width)
            y += max(_height(tile, width) for tile in row) + GAP
    x = MARGIN
    for model in legend:
        label = fitted(model.label, PAGE - 2 * MARGIN - 40, SMALL)
        wide = 40 + text_width(label, SMALL) + GAP
        if x > MARGIN and x + wide > PAGE - MARGIN:
            x, y = MARGIN, y + 13
        marks += moved(swatch(model.place).marks, x, y)
        marks.append(Text(x + 36, y + 6, label, SMALL, INK, "start"))
        x += wide
    return Drawing(PAGE, y + (13 if legend else 0) + 4, tuple(marks))


def tile_pixels(image: Tensor) -> Pixels:
    """An image (C, H, W) in [0, 1] as uint8 (H, W) or (H, W, 3), made smaller where it is large."""
    longest = max(image.shape[-2:])
    if longest > MOST_PIXELS:
        size = [max(1, round(side * MOST_PIXELS / longest)) for side in image.shape[-2:]]
        image = interpolate(image[None], size, mode="bilinear", antialias=True)[0]
    pixels = image.clamp(0, 1).mul(255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    found: Pixels = pixels[..., 0] if pixels.shape[2] == 1 else pixels
    return found


def _picture_size(tile: Tile, width: float) -> tuple[float, float]:
    across = (width - 2 * (len(tile.pictures) - 1)) / len(tile.pictures)
    return across, across * tile.pictures[0].shape[0] / tile.pictures[0].shape[1]


def _height(tile: Tile, width: float) -> float:
    return _picture_size(tile, width)[1] + 2 + LINE * len(tile.captions)


def _tile(tile: Tile, x: float, y: float, width: float) -> list[Mark]:
    across, height = _picture_size(tile, width)
    marks: list[Mark] = []
    for number, pixels in enumerate(tile.pictures):
        marks.append(picture(x + number * (across + 2), y, across, height, pixels))
    for number, caption in enumerate(tile.captions):
        marks += _caption(caption, x, y + height + 2 + LINE * (number + 0.5), width)
    return marks


def _caption(caption: Caption, x: float, y: float, width: float) -> list[Mark]:
    marks: list[Mark] = []
    end = x + width
    if caption.place is not None:
        colour, marker, _ = look(caption.place)
        marks.append(Area(tuple((x + 3.5 + 2.8 * a, y + 2.8 * b) for a, b in marker), colour))
        x += SIGN
    if caption.right is not None:
        marks += moved(tick() if caption.right else cross(), x + 3.5, y)
        x += SIGN
    room = end - x - (text_width(f" {caption.end}", SMALL) + SIGN / 2 if caption.end else 0)
    text = f"{fitted(caption.text, room, SMALL)} {caption.end}".rstrip()
    return [*marks, Text(x, y, text, SMALL, caption.colour, "start")]
