"""The few marks that figures are drawn with, and how they become SVG or PNG.

Coordinates are points (1/72 inch) from the upper left corner. A figure is laid out once; the page
takes it as SVG in its own colours, files are SVG and PNG on white.
"""

import base64
import io
import warnings
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING
from unicodedata import east_asian_width

import numpy as np
from numpy.typing import NDArray

from benchmarks import durable
from workbench.drawing.looks import VARIABLES, Points

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 200
SMALL = 64  # pixels a side
WIDE_LETTER, LETTER = 1.0, 0.58  # of the font's size; DejaVu Sans, which is wider than most
FONTS = "system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif"


@dataclass(frozen=True)
class Stroke:
    """A line through points."""

    points: Points
    colour: str
    width: float
    dashes: tuple[float, ...] = ()
    opacity: float = 1.0


@dataclass(frozen=True)
class Area:
    """A filled polygon."""

    points: Points
    colour: str
    opacity: float = 1.0


@dataclass(frozen=True)
class Text:
    """A line of text whose middle is at ``y``; ``upward`` turns it by 90 degrees.

    Attributes:
        anchor: which part of it is at ``x``: ``start``, ``middle`` or ``end``.
    """

    x: float
    y: float
    text: str
    size: float
    colour: str
    anchor: str = "middle"
    upward: bool = False


@dataclass(frozen=True)
class Picture:
    """An image from its upper left corner.

    Attributes:
        png: the file, see `png_bytes`.
        smooth: whether it may be blurred when it is enlarged; else its pixels stay squares.
    """

    x: float
    y: float
    width: float
    height: float
    png: bytes
    smooth: bool = False


Mark = Stroke | Area | Text | Picture


@dataclass(frozen=True)
class Drawing:
    """Marks on a sheet, the first at the back."""

    width: float
    height: float
    marks: tuple[Mark, ...]


def moved(marks: tuple[Mark, ...], across: float, down: float) -> list[Mark]:
    """The marks at another place."""
    found: list[Mark] = []
    for mark in marks:
        if isinstance(mark, Text | Picture):
            found.append(replace(mark, x=mark.x + across, y=mark.y + down))
        else:
            points = tuple((x + across, y + down) for x, y in mark.points)
            found.append(replace(mark, points=points))
    return found


def png_bytes(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG file of an image, uint8 (H, W) or (H, W, 3)."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def picture(x: float, y: float, width: float, height: float, pixels: NDArray[np.uint8]) -> Picture:
    """An image, uint8 (H, W) or (H, W, 3); the pixels of a small one stay squares."""
    return Picture(x, y, width, height, png_bytes(pixels), smooth=max(pixels.shape[:2]) > SMALL)


def text_width(text: str, size: float) -> float:
    """About how many points a text takes, rather too many than too few."""
    wide = sum(east_asian_width(letter) in "WF" for letter in text)
    return size * (WIDE_LETTER * wide + LETTER * (len(text) - wide))


def fitted(text: str, room: float, size: float) -> str:
    """The text, its middle left out where it is too wide: names differ at both ends.

    >>> fitted("resnet20-noisy-0", 60, 8)
    'resne…oisy-0'
    """
    if text_width(text, size) <= room:
        return text
    for kept in range(len(text) - 1, 1, -1):
        short = f"{text[: kept // 2]}…{text[len(text) - (kept + 1) // 2 :]}"
        if text_width(short, size) <= room:
            return short
    return "…"


def svg(drawing: Drawing, *, page: bool) -> str:
    """An SVG element: for a page with its colour variables and without a size, else a file."""
    parts = [_svg_mark(mark, page) for mark in drawing.marks]
    box = f'viewBox="0 0 {drawing.width:g} {drawing.height:g}"'
    if page:
        return f'<svg {box} aria-hidden="true" focusable="false">{"".join(parts)}</svg>'
    size = f'width="{drawing.width:g}pt" height="{drawing.height:g}pt"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {box} {size} font-family="{FONTS}">'
        f'<rect width="100%" height="100%" fill="#ffffff"/>{"".join(parts)}</svg>\n'
    )


def _svg_mark(mark: Mark, page: bool) -> str:
    if isinstance(mark, Picture):
        shown = "" if mark.smooth else ' style="image-rendering:pixelated"'
        return (
            f'<image x="{mark.x:.2f}" y="{mark.y:.2f}" width="{mark.width:.2f}" '
            f'height="{mark.height:.2f}" preserveAspectRatio="none"{shown} '
            f'href="data:image/png;base64,{base64.b64encode(mark.png).decode()}"/>'
        )
    # A colour that stands for a number is the same on a dark page.
    colour = VARIABLES.get(mark.colour, mark.colour) if page else mark.colour
    if isinstance(mark, Text):
        turn = f' transform="rotate(-90 {mark.x:.2f} {mark.y:.2f})"' if mark.upward else ""
        return (
            f'<text x="{mark.x:.2f}" y="{mark.y:.2f}" dy=".35em"{turn} '
            f'style="font-size:{mark.size:g}px;text-anchor:{mark.anchor};fill:{colour}">'
            f"{escape(mark.text)}</text>"
        )
    path = "M" + "L".join(f"{x:.2f} {y:.2f}" for x, y in mark.points)
    faint = f";opacity:{mark.opacity:.2f}" if mark.opacity < 1 else ""
    if isinstance(mark, Area):
        return f'<path d="{path}Z" style="fill:{colour}{faint}"/>'
    dashes = f";stroke-dasharray:{' '.join(f'{each:g}' for each in mark.dashes)}"
    return (
        f'<path d="{path}" style="fill:none;stroke:{colour};stroke-width:{mark.width:g}'
        f'{dashes if mark.dashes else ""}{faint}"/>'
    )


def save(drawing: Drawing, path: Path) -> list[Path]:
    """Write ``PATH.png`` (`DPI` dots an inch) and ``PATH.svg``, each whole or not at all.

    The same drawing gives the same bytes.

    Raises:
        OSError: one cannot be written.
    """
    picture, vectors = path.with_name(f"{path.name}.png"), path.with_name(f"{path.name}.svg")
    figure = _figure(drawing)
    with durable.atomically(picture) as temporary, warnings.catch_warnings():
        # A name in a script the font lacks shows as boxes; it is no reason to warn.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(temporary, format="png", dpi=DPI)
    with durable.atomically(vectors) as temporary:
        temporary.write_text(svg(drawing, page=False), encoding="utf-8")
    return [picture, vectors]


def _figure(drawing: Drawing) -> "Figure":
    """The drawing by matplotlib; no global state of its."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Polygon

    size = drawing.width / 72, drawing.height / 72
    figure = Figure(figsize=size, dpi=DPI, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    for order, mark in enumerate(drawing.marks):
        if isinstance(mark, Text):
            axes.text(
                mark.x, mark.y, mark.text, fontsize=mark.size, color=mark.colour, parse_math=False,
                ha={"start": "left", "middle": "center", "end": "right"}[mark.anchor],
                va="center_baseline", rotation=90 if mark.upward else 0, rotation_mode="anchor",
                zorder=order,
            )  # fmt: skip
        elif isinstance(mark, Picture):
            _imshow(axes, mark, order)
        elif isinstance(mark, Area):
            polygon = Polygon(mark.points, closed=True, facecolor=mark.colour, linewidth=0,
                              alpha=mark.opacity, zorder=order)  # fmt: skip
            axes.add_patch(polygon)
        else:
            xs, ys = zip(*mark.points, strict=True)
            # matplotlib takes lengths of dashes in line widths
            dashes = tuple(each / mark.width for each in mark.dashes)
            axes.add_line(
                Line2D(xs, ys, color=mark.colour, linewidth=mark.width, alpha=mark.opacity,
                       linestyle=(0, dashes) if dashes else "-", zorder=order)
            )  # fmt: skip
    axes.set(xlim=(0, drawing.width), ylim=(drawing.height, 0))  # pictures have changed them
    return figure


def _imshow(axes: "Axes", picture: Picture, order: int) -> None:
    from PIL import Image

    right, bottom = picture.x + picture.width, picture.y + picture.height
    axes.imshow(
        # As RGB, because matplotlib's colour maps are one level off for some greys.
        np.asarray(Image.open(io.BytesIO(picture.png)).convert("RGB")),
        extent=(picture.x, right, bottom, picture.y), aspect="auto", zorder=order,
        interpolation="antialiased" if picture.smooth else "nearest",
    )  # fmt: skip
