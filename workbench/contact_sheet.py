"""A contact sheet: one image under every corruption, a row each, a column for each severity."""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from attacks.corruptions import CORRUPTIONS
from benchmarks import durable
from workbench.errors import UsageError
from workbench.figures import as_picture, ruler, wrapped
from workbench.pixel_page import PixelPage

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = (".png", ".pdf", ".svg")
CELL = 0.5  # inches an image is wide or high: a sheet of all corruptions has the width of a page
PIXELS = 128  # an image is enlarged to about so many, by a whole number
MOST = 256  # and a larger one is reduced to so many
TALLEST = 8  # rows; more go into two blocks, side by side
GAP, CLEAN_GAP, FAMILY_GAP, BLOCK_GAP, MARGIN = 0.025, 0.05, 0.09, 0.16, 0.06  # inches
HEADER, HEADING, LINE = 0.26, 0.17, 0.12  # inches: two lines of text, a large line, a small one
SIZE, LARGE = 7.0, 9.0  # points
INK, FAINT = "#1a1a1a", "#808080"
RULE: Any = {"linewidth": 0.5, "color": FAINT}
PROPER = {"gaussian": "Gaussian", "jpeg": "JPEG"}


class _Row(NamedTuple):
    family: str
    label: str
    images: Sequence[Tensor]


def save_sheet(
    path: Path,
    original: Tensor,
    corrupted: Mapping[str, Sequence[Tensor]],
    severities: Sequence[int],
    title: str | None = None,
) -> None:
    """Write a contact sheet, as PNG, PDF or SVG by the suffix of ``path``.

    The file appears whole or not at all, and the same images give the same bytes. In a PNG each
    pixel of a small image is a square of whole pixels.

    Args:
        path: ends in ``.png``, ``.pdf`` or ``.svg``.
        original: (C, H, W), C 1 or 3; uint8, or float in [0, 1].
        corrupted: by the name of the corruption, in the order of the rows, one image like
            ``original`` for each of ``severities``. Those of a family should stand together.
        severities: what stands above the columns.
        title: a heading; long ones are wrapped.

    Raises:
        UsageError: another suffix, no corruptions, or images of other shapes or number.
        OSError: the file cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise UsageError(f"{path}: a sheet is written as {', '.join(FORMATS)}.")
    figure = draw_sheet(original, corrupted, severities, title)
    from matplotlib import rc_context

    # Letters of a PDF stay letters, identifiers of an SVG and dates do not change from run to run.
    settings: Any = {"pdf.fonttype": 42, "svg.hashsalt": "workbench"}
    dated = {".png": {}, ".pdf": {"CreationDate": None}, ".svg": {"Date": None}}[suffix]
    with (
        durable.atomically(path) as temporary,
        rc_context(settings),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(temporary, format=suffix[1:], dpi=figure.dpi, metadata=dated)


def draw_sheet(
    original: Tensor,
    corrupted: Mapping[str, Sequence[Tensor]],
    severities: Sequence[int],
    title: str | None = None,
) -> "Figure":
    """Lay out the figure of `save_sheet` without writing it; no global state of matplotlib's."""
    from matplotlib.figure import Figure

    blocks = _blocks(_rows(original, corrupted, severities))
    cell = _cell(original)
    dpi = round(max(cell) / CELL)

    def dots(inches: float) -> int:
        return round(inches * dpi)

    figure = Figure(figsize=(1, 1), dpi=dpi, facecolor="white")
    measure = ruler(figure)
    # A narrow image has air on both sides, so that what stands above it has room.
    widest = measure(SIZE)("clean" if len(severities) > 1 else "severity")
    air = max(0, math.ceil((widest - cell[0]) / 2))
    step = cell[0] + 2 * air + dots(GAP)
    columns = [
        _columns(_beside(block, dots, measure(SIZE)) + air, len(severities), step, dots)
        for block in blocks
    ]
    widths = [each[-1] + cell[0] + air for each in columns]
    margin = dots(MARGIN)
    width = 2 * margin + sum(widths) + (len(blocks) - 1) * dots(BLOCK_GAP)
    heading = wrapped(title, width - 2 * margin, 3, measure(LARGE)) if title else []
    top = margin + len(heading) * dots(HEADING) + dots(HEADER)
    tops = [_tops(block, top, cell[1] + dots(GAP), dots(FAMILY_GAP)) for block in blocks]
    height = max(block[-1] for block in tops) + cell[1] + margin
    page = PixelPage(figure, width, height)
    for number, text in enumerate(heading):
        y = margin + (number + 0.4) * dots(HEADING)
        _write(page, width / 2, y, text, fontsize=LARGE, fontweight="bold")
    left = margin
    for block, offsets, ys, block_width in zip(blocks, columns, tops, widths, strict=True):
        xs = [left + offset for offset in offsets]
        _head(page, xs, top, cell[0], severities, dots)
        _draw_families(page, block, left, ys, cell[1], dots)
        for row, y in zip(block, ys, strict=True):
            _write(page, xs[0] - dots(0.05), y + cell[1] / 2, row.label, ha="right")
            for image, x in zip((original, *row.images), xs, strict=True):
                picture = as_picture(_unit(image))
                page.show((x, y), cell, picture, smooth=max(picture.shape[:2]) > MOST)
        left += block_width + dots(BLOCK_GAP)
    return figure


def _write(page: PixelPage, x: float, y: float, text: str, **settings: Any) -> None:
    settings = {"fontsize": SIZE, "color": INK, "va": "center", "ha": "center", **settings}
    page.write(x, y, text, **settings)


def _head(
    page: PixelPage,
    columns: Sequence[int],
    top: int,
    width: int,
    severities: Sequence[int],
    dots: Callable[[float], int],
) -> None:
    for text, x in zip(("clean", *severities), columns, strict=True):
        _write(page, x + width / 2, top - dots(0.065), str(text))
    ends = columns[1], columns[-1] + width
    if len(severities) > 1:
        page.rule((ends[0], top - dots(0.13)), (ends[1], top - dots(0.13)), **RULE)
    _write(page, sum(ends) / 2, top - dots(0.2), "severity")


def _draw_families(
    page: PixelPage,
    rows: Sequence[_Row],
    left: int,
    tops: Sequence[int],
    height: int,
    dots: Callable[[float], int],
) -> None:
    """The name of each family beside its rows, on its side."""
    for family, members in groupby(zip(rows, tops, strict=True), key=lambda pair: pair[0].family):
        if family:
            extent = [y for _, y in members]
            low, high = extent[0], extent[-1] + height
            _write(page, left + dots(LINE) / 2, (low + high) / 2, family, rotation=90, color=FAINT)
            page.rule((left + dots(LINE + 0.02), low), (left + dots(LINE + 0.02), high), **RULE)


def _beside(
    rows: Sequence[_Row], dots: Callable[[float], int], measure: Callable[[str], float]
) -> int:
    """Pixels that the names of families and corruptions take."""
    family = dots(LINE + 0.08) if any(row.family for row in rows) else 0
    return family + math.ceil(max(measure(row.label) for row in rows)) + dots(0.06)


def _columns(beside: int, severities: int, step: int, dots: Callable[[float], int]) -> list[int]:
    """Where the images of a block begin."""
    return [beside, *(beside + dots(CLEAN_GAP) + n * step for n in range(1, severities + 1))]


def _rows(
    original: Tensor, corrupted: Mapping[str, Sequence[Tensor]], severities: Sequence[int]
) -> list[_Row]:
    if not corrupted or not severities:
        raise UsageError("There are no corruptions to draw.")
    if original.dim() != 3 or original.shape[0] not in (1, 3):
        raise UsageError(
            f"Pictures are of shape (C, H, W), C being 1 or 3, not {tuple(original.shape)}."
        )
    rows = []
    for name, images in corrupted.items():
        if len(images) != len(severities) or any(each.shape != original.shape for each in images):
            raise UsageError(f"{name}: one image like the original is drawn for each severity.")
        family = CORRUPTIONS[name].family if name in CORRUPTIONS else ""
        rows.append(_Row(family.capitalize(), _label(name), images))
    return rows


def _label(name: str) -> str:
    """A corruption as it is written in a text.

    >>> _label("jpeg_compression"), _label("gaussian_noise"), _label("fog")
    ('JPEG compression', 'Gaussian noise', 'Fog')
    """
    first, *others = name.split("_")
    return " ".join((PROPER.get(first, first.capitalize()), *others))


def _blocks(rows: Sequence[_Row]) -> list[list[_Row]]:
    """One block, or two that are about as tall, cut between families."""
    groups = [list(members) for _, members in groupby(rows, key=lambda row: row.family)]
    if len(rows) <= TALLEST or len(groups) == 1:
        return [list(rows)]
    cut = min(range(1, len(groups)), key=lambda at: max(map(_length, (groups[:at], groups[at:]))))
    return [[row for group in part for row in group] for part in (groups[:cut], groups[cut:])]


def _length(groups: Sequence[Sequence[_Row]]) -> int:
    return sum(map(len, groups))


def _tops(rows: Sequence[_Row], top: int, step: int, family_gap: int) -> list[int]:
    """Where each row begins; families stand apart."""
    tops = [top]
    for above, row in pairwise(rows):
        tops.append(tops[-1] + step + (family_gap if row.family != above.family else 0))
    return tops


def _cell(original: Tensor) -> tuple[int, int]:
    """Width and height of an image in the picture, in pixels."""
    height, width = original.shape[1:]
    side = max(height, width)
    scale = max(1, round(PIXELS / side)) if side <= MOST else MOST / side
    return max(1, round(width * scale)), max(1, round(height * scale))


def _unit(image: Tensor) -> Tensor:
    return image.to(torch.float64) / 255 if image.dtype == torch.uint8 else image
