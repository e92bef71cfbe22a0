"""Numbers as colours: heat maps, signed grids, heat laid over an image, and their scales."""

import functools
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from workbench.drawing.looks import COLOURS, INK, MUTED
from workbench.drawing.marks import Mark, Picture, Stroke, Text, png_bytes

Pixels = NDArray[np.uint8]
Values = NDArray[np.float64]
Map = Callable[[Values], Pixels]

FAINTEST, STRONGEST = 0.30, 0.78  # opacity of no heat and of the most, over an image
SMALLEST_TILE = 24  # pixels: smaller tiles are enlarged by a whole number, so that gaps are thin
LINES = 200  # grey level of the lines between tiles: white is a value of signed ones
BAR_HEIGHT, BAR_FONT = 6.0, 7.0  # points


def sequential(values: Values) -> Pixels:
    """Colours of numbers in [0, 1], (H, W) to (H, W, 3): matplotlib's inferno.

    It is perceptually uniform and keeps its order without colour and to the colour-blind.
    """
    return _inferno()[np.rint(np.clip(values, 0, 1) * 255).astype(np.int64)]


def diverging(values: Values) -> Pixels:
    """Colours of numbers in [-1, 1], (H, W) to (H, W, 3): blue below 0, white, orange above."""
    ends = [np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) for colour in COLOURS[:2]]
    strength = np.clip(np.abs(values), 0, 1)[..., None]
    colour = np.where((values < 0)[..., None], *ends)
    mixed: Pixels = np.rint(255 + strength * (colour - 255.0)).astype(np.uint8)
    return mixed


def overlaid(image: Values, heat: Values) -> Pixels:
    """Heat in [0, 1], (H, W), over the grey of an image in [0, 1], (C, H, W): uint8 (H, W, 3)."""
    grey = 255 * (0.15 + 0.85 * np.clip(image, 0, 1).mean(axis=0))[..., None]
    opacity = (FAINTEST + (STRONGEST - FAINTEST) * np.clip(heat, 0, 1))[..., None]
    mixed: Pixels = np.rint(grey + opacity * (sequential(heat) - grey)).astype(np.uint8)
    return mixed


def over_grey(values: Values) -> Pixels:
    """The colours of `overlaid` where the image is mid-grey: what its scale shows."""
    return overlaid(np.full((1, *values.shape), 0.5), values)


def mosaic(tiles: Sequence[Pixels], columns: int) -> Pixels:
    """Tiles (h, w, 3) of one size in rows, with thin grey lines between: uint8 (H, W, 3)."""
    height, width = tiles[0].shape[:2]
    times = max(1, -(-SMALLEST_TILE // max(height, width)))
    height, width = height * times, width * times
    gap = max(1, round(max(height, width) / 12))
    rows = -(-len(tiles) // columns)
    sheet = np.full(
        (rows * (height + gap) + gap, columns * (width + gap) + gap, 3), 255, dtype=np.uint8
    )
    for number, tile in enumerate(tiles):
        top = number // columns * (height + gap)
        left = number % columns * (width + gap)
        sheet[top : top + height + 2 * gap, left : left + width + 2 * gap] = LINES
        large = tile.repeat(times, axis=0).repeat(times, axis=1)
        sheet[top + gap : top + gap + height, left + gap : left + gap + width] = large
    return sheet


def scale_bar(
    x: float, y: float, width: float, colours: Map, ends: tuple[float, float], texts: Sequence[str]
) -> list[Mark]:
    """A strip of colours from ``ends[0]`` to ``ends[1]`` with texts below it, evenly spread.

    It takes `BAR_HEIGHT` and a line of text.
    """
    strip = colours(np.linspace(*ends, 256)[None])
    bottom = y + BAR_HEIGHT
    marks: list[Mark] = [Picture(x, y, width, BAR_HEIGHT, png_bytes(strip), smooth=True)]
    for number, text in enumerate(texts):
        share = number / (len(texts) - 1)
        anchor = "start" if share == 0 else "end" if share == 1 else "middle"
        at = x + share * width
        marks.append(Stroke(((at, bottom), (at, bottom + 2)), MUTED, 0.6))
        marks.append(Text(at, bottom + 7.5, text, BAR_FONT, INK, anchor))
    return marks


@functools.cache
def _inferno() -> Pixels:
    from matplotlib import colormaps

    colours = colormaps["inferno"](np.arange(256), bytes=True)
    return np.asarray(colours)[:, :3].astype(np.uint8)
