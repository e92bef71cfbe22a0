"""Pictures of what an attack did: original, result and amplified difference, side by side."""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import durable
from workbench.errors import UsageError
from workbench.pixel_page import PixelPage

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 200
CELL = 224  # pixels an image is wide, about; small images get a whole multiple of their own size
COLUMNS = 8  # at most so many images side by side; more continue in blocks of equal width
GAP, MARGIN, LINE = 26, 30, 25  # pixels; a line of text is 7.5 points, 21 pixels at 200 dpi
FONT, SMALL, LARGE = 7.5, 7.0, 9.0  # points
TIMES = "\u00d7"
ROWS = ("original", "result", "difference")
NARROWEST = 760  # pixels; room for the caption below a single image


@dataclass(frozen=True)
class Case:
    """One attacked image, and what the model said of it before and after.

    Attributes:
        original: (C, H, W) in [0, 1], an array or a CPU tensor; C is 1 or 3.
        result: the same shape.
        before: predicted class and its probability on the original.
        after: the same on the result.
        truth: the true class, shown where ``before`` is another; None: not shown.
        steps: gradient steps taken, or None.
        success: whether the goal was reached in float32, or None.
        judged: what a judge that was not attacked reads in the result, or None.
    """

    original: Any
    result: Any
    before: tuple[str, float]
    after: tuple[str, float]
    truth: str | None = None
    steps: int | None = None
    success: bool | None = None
    judged: tuple[str, float] | None = None


def save_panel(path: Path, cases: Sequence[Case], *, title: str = "") -> None:
    """Write a PNG with three rows: original, result, and their difference around mid-grey.

    Each difference is amplified on its own, so that its largest change is full black or white; the
    factor stands below it. More than eight images continue in further blocks of rows.

    Args:
        path: the PNG file; it appears whole or not at all.
        cases: at least one; images may differ in size.
        title: a heading; long ones are wrapped.

    Raises:
        UsageError: no cases, or images of other shapes.
        OSError: the file cannot be written.
    """
    figure = draw_panel(cases, title=title)

    with durable.atomically(path) as temporary, warnings.catch_warnings():
        # A class name in a script the font lacks shows as boxes; it is no reason to warn.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(temporary, format="png", dpi=DPI)


def save_png(path: Path, image: Any) -> None:
    """Write one image (C, H, W) in [0, 1] as a lossless PNG of its own size, rounded to 8 bits."""
    from PIL import Image

    picture = Image.fromarray(as_picture(image))
    with durable.atomically(path) as temporary:
        picture.save(temporary, format="PNG")


def amplified(original: Any, result: Any) -> tuple[NDArray[np.float64], float]:
    """Return 0.5 + factor · (result - original), (C, H, W) in [0, 1], and the factor.

    The factor makes the largest change 0.5; it is infinite, and the picture all mid-grey, where
    nothing changed.
    """
    change = np.asarray(result, dtype=np.float64) - np.asarray(original, dtype=np.float64)
    largest = float(np.abs(change).max())
    if largest == 0:
        return np.full(change.shape, 0.5), math.inf
    return 0.5 + 0.5 * (change / largest), 0.5 / largest


def draw_panel(cases: Sequence[Case], *, title: str = "") -> "Figure":
    """Lay out the figure of `save_panel` without writing it; no global state of matplotlib's."""
    from matplotlib.figure import Figure

    if not cases:
        raise UsageError("There are no images to draw.")
    columns = math.ceil(len(cases) / math.ceil(len(cases) / COLUMNS))
    blocks = [cases[start : start + columns] for start in range(0, len(cases), columns)]
    width_of, height_of = _cell(cases)
    content = columns * width_of + (columns - 1) * GAP
    width = max(NARROWEST, content + 3 * MARGIN + LINE)
    figure = Figure(figsize=(1, 1), dpi=DPI, facecolor="white")
    measure = ruler(figure)
    heading = wrapped(title, width - 2 * MARGIN, 3, measure(LARGE)) if title else []
    caption = wrapped(_caption(cases), width - 2 * MARGIN, 9, measure(SMALL))
    heading_height = round(len(heading) * LINE * 1.3) + (LINE // 2 if heading else 0)
    below = 8 + LINE * (2 if any(case.success is False for case in cases) else 1)
    above = tuple(lines * LINE for lines in _lines_above(cases))
    block_height = 3 * height_of + sum(above) + 2 * (GAP // 2) + below
    height = (
        2 * MARGIN
        + heading_height
        + len(blocks) * block_height
        + len(blocks) * LINE
        + len(caption) * LINE
    )
    page = PixelPage(figure, width, height)

    def write(x: float, y: float, text: str, size: float, **settings: Any) -> None:
        settings = {"ha": "center", "va": "top", "color": "#1a1a1a", **settings}
        page.write(x, y, text, fontsize=size, **settings)

    y = MARGIN
    for number, line in enumerate(heading):
        write(width / 2, y + number * LINE * 1.3, line, LARGE, fontweight="bold")
    y += heading_height
    left = (width - content) / 2 + (LINE / 2 if width > NARROWEST else 0)
    for block in blocks:
        tops = []
        top = y
        for lines in above:
            top += lines
            tops.append(top)
            top += height_of + GAP // 2
        for name, row_top in zip(ROWS, tops, strict=True):
            write(left - LINE / 2, row_top + height_of / 2, name, FONT,
                  rotation=90, ha="right", va="center")  # fmt: skip
        for column, case in enumerate(block):
            x = left + column * (width_of + GAP)
            difference, factor = amplified(case.original, case.result)
            texts = (_before(case), _after(case), _below(case, factor))
            pictures = (case.original, case.result, difference)
            for row in range(3):
                _show(page, (x, tops[row]), (width_of, height_of), as_picture(pictures[row]))
                start = tops[row] - len(texts[row]) * LINE if row < 2 else tops[2] + height_of + 8
                for number, line in enumerate(texts[row]):
                    fitted = _shortened(line, width_of + GAP - 8, measure(FONT))
                    write(x + width_of / 2, start + number * LINE, fitted, FONT)
        y += block_height + LINE
    for number, line in enumerate(caption):
        write(MARGIN, y + number * LINE, line, SMALL, ha="left", color="#404040")
    return figure


def _show(
    page: PixelPage,
    corner: tuple[float, float],
    room: tuple[int, int],
    picture: NDArray[np.uint8],
) -> None:
    """Show an image as large as there is room for, in the middle of it, with square pixels."""
    high, wide = picture.shape[:2]
    scale = min(room[0] / wide, room[1] / high)
    size = round(wide * scale), round(high * scale)
    place = corner[0] + (room[0] - size[0]) // 2, corner[1] + (room[1] - size[1]) // 2
    page.show(place, size, picture, smooth=max(high, wide) > CELL)
    page.frame(place, size, linewidth=0.4, edgecolor="#808080")


def _cell(cases: Sequence[Case]) -> tuple[int, int]:
    """Pixels an image is given: a whole multiple of its own size where it is small."""
    height, width = 0, 0
    for case in cases:
        shape, after = np.shape(case.original), np.shape(case.result)
        if len(shape) != 3 or shape[0] not in (1, 3) or shape != after:
            raise UsageError(f"Pictures are of shape (C, H, W), C being 1 or 3: {shape}, {after}.")
        height, width = max(height, shape[1]), max(width, shape[2])
    scale = CELL / max(height, width)
    scale = max(1, round(scale)) if scale >= 1 else scale
    return max(CELL // 2, round(width * scale)), max(8, round(height * scale))


def as_picture(image: Any) -> NDArray[np.uint8]:
    """Round to 8 bits: (H, W) for grey or (H, W, 3)."""
    array = np.rint(np.clip(np.asarray(image, dtype=np.float64), 0, 1) * 255).astype(np.uint8)
    return array[0] if array.shape[0] == 1 else array.transpose(1, 2, 0)


def _lines_above(cases: Sequence[Case]) -> tuple[int, int, int]:
    """Lines of text above each of the three rows."""
    return max(len(_before(case)) for case in cases), max(len(_after(case)) for case in cases), 0


def _before(case: Case) -> list[str]:
    if case.truth is None or case.truth == case.before[0]:
        return _said(case.before)
    return [*_said(case.before), f"(is {_name(case.truth)})"]


def _after(case: Case) -> list[str]:
    if case.judged is None:
        return _said(case.after)
    name, sure = _said(case.judged)
    return [*_said(case.after), f"judge: {name}", sure]


def _said(said: tuple[str, float]) -> list[str]:
    return [_name(said[0]), percent(said[1])]


def _below(case: Case, factor: float) -> list[str]:
    lines = ["unchanged" if math.isinf(factor) else f"{TIMES} {_factor(factor)}"]
    if case.steps is not None:
        lines[0] += f", {case.steps} step{'' if case.steps == 1 else 's'}"
    if case.success is False:
        lines.append("not reached")
    return lines


def percent(probability: float) -> str:
    """Write a probability as a whole percentage that never claims certainty it has not."""
    if not math.isfinite(probability):
        return "? %"
    if 0.995 <= probability < 1:
        return ">99 %"
    if 0 < probability < 0.005:
        return "<1 %"
    return f"{100 * probability:.0f} %"


def _factor(factor: float) -> str:
    return f"{factor:.0f}" if factor >= 9.95 else f"{factor:.1f}"


def _name(name: str) -> str:
    """The first of several names that a class goes by ("tench, Tinca tinca")."""
    return name.split(",", 1)[0].strip() or name


def _caption(cases: Sequence[Case]) -> str:
    text = (
        "Above each image: the predicted class and its probability. Difference: result minus "
        "original times the factor below it, around mid-grey; the factor makes the largest change "
        "of each image black or white"
    )
    text += " in its channel." if np.shape(cases[0].original)[0] == 3 else "."
    if any(case.judged is not None for case in cases):
        text += " Judge: what a model that was not attacked reads in the result."
    return text


def ruler(figure: "Figure") -> Callable[[float], Callable[[str], float]]:
    """A function of a font size that returns a function of a text: its width in pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.font_manager import FontProperties

    canvas: Any = FigureCanvasAgg(figure)  # its methods have no types
    renderer = canvas.get_renderer()

    def at(size: float) -> Callable[[str], float]:
        font = FontProperties(size=size)
        bold = FontProperties(size=size, weight="bold") if size == LARGE else font

        def width(text: str) -> float:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Glyph .* missing from font")
                return float(renderer.get_text_width_height_descent(text, bold, ismath=False)[0])

        return width

    return at


def _shortened(text: str, room: float, width: Callable[[str], float]) -> str:
    if width(text) <= room:
        return text
    while text and width(text + "…") > room:
        text = text[:-1].rstrip()
    return text + "…"


def wrapped(text: str, room: float, most: int, width: Callable[[str], float]) -> list[str]:
    """Break a text between words into at most so many lines; the last one is cut short."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if width(longer) <= room or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    if len(lines) > most:
        lines[most - 1 :] = [" ".join(lines[most - 1 :])]
    return [_shortened(line, room, width) for line in lines]
