"""The figures of `workbench probe`: a strip of pictures, and curves along the dial."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.sweep_numbers import UNKNOWN, Sweep
from workbench.drawing.charts import Chart, Line, Lines, words
from workbench.drawing.looks import GRID, INK, MUTED
from workbench.drawing.marks import (
    Drawing,
    Mark,
    Stroke,
    Text,
    fitted,
    moved,
    picture,
    text_width,
)
from workbench.drawing.numbers import PERCENT, share_text
from workbench.drawing.panels import chart_drawing, swatch
from workbench.drawing.signs import cross, tick, triangle

CELL, GAP, EDGE = 66.0, 5.0, 6.0  # points a picture is wide, between pictures, around
MOST = 10  # pictures side by side
SIZE, LARGE, LINE = 7.0, 9.0, 9.5  # points: text, headings, a line of text
PIXELS = 128  # larger pictures are reduced to about so many
NAME_LINES = 2


@dataclass(frozen=True)
class Named:
    """A model in a figure."""

    place: int
    label: str


def strip_drawing(found: Sweep, image: int) -> Drawing:
    """An image along the dial: what each model was given, and its answer, below each other.

    Args:
        found: the sweep.
        image: which of the shown images.
    """
    count = len(found.values)
    blocks = -(-count // MOST)
    columns = -(-count // blocks)
    width = 2 * EDGE + columns * CELL + (columns - 1) * GAP
    marks: list[Mark] = []
    y = EDGE
    for line in _heading(found, image, width - 2 * EDGE):
        marks.append(Text(EDGE, y + LINE / 2, line, LARGE, INK, "start"))
        y += LINE + 3
    for start in range(0, count, columns):
        block = _block(found, image, range(start, min(start + columns, count)), width)
        marks += moved(block.marks, 0, y)
        y += block.height
    legend = _legend(found, image, width)
    marks += moved(legend.marks, 0, y)
    return Drawing(width, y + legend.height + EDGE, tuple(marks))


def curve_drawing(found: Sweep, numbers: dict[str, NDArray[np.float64]]) -> tuple[Drawing, str]:
    """The confidence in the true class along the dial, a line a model, and words for the blind.

    Where the class is not known, what is followed is the answer to the untouched image.

    Where there are several images, beside it the share of right answers and, where superclasses are
    known, of answers inside the superclass.
    """
    known = bool((found.labels >= 0).all())
    followed = "true class" if known else "first answer"
    wanted = [("confidence", f"Confidence in the {followed}")]
    of = found.resampled
    if of:
        wanted.append(("right", "Right" if known else "Answer as without any change"))
        if found.superclasses is not None:
            wanted.append(("inside", "Inside the superclass"))
    rows = [Named(place, label) for place, label in enumerate(found.models)]
    few = found.values if len(found.values) <= 7 and _even(found.values) else ()
    panels = tuple(
        Lines(
            title,
            found.axis,
            f"share of {of}, %" if name != "confidence" else "mean, %" if of else "probability, %",
            tuple(_line(found, numbers, name, row.place) for row in rows),
            unit=PERCENT,
            ticks=tuple(map(float, few)),
            ceiling=100.0,
        )
        for name, title in wanted
    )
    chart = Chart("curve", found.dial, "", panels, narrow=len(panels) > 2)
    return chart_drawing(chart, rows), " ".join(words(panel, rows) for panel in panels)


def _even(values: NDArray[np.float64]) -> bool:
    return bool(np.allclose(np.diff(values), values[1] - values[0]))


def _line(found: Sweep, numbers: dict[str, NDArray[np.float64]], name: str, model: int) -> Line:
    interval = 100 * numbers[f"{name}_interval"][model]
    known = bool(np.isfinite(interval).all())
    return Line(
        model,
        tuple(map(float, found.values)),
        tuple(map(float, 100 * numbers[name][model])),
        tuple(map(float, interval[:, 0])) if known else (),
        tuple(map(float, interval[:, 1])) if known else (),
    )


def _heading(found: Sweep, image: int, room: float) -> list[str]:
    label = int(found.labels[image])
    if label < 0:
        about = "Image of an unknown class"
    else:
        about = f"Image of class “{found.class_names[label]}”"
        if found.superclasses is not None:
            about += f" (superclass “{found.superclasses[label]}”)"
    lines = [about, f"{found.dial}: {found.axis}"]
    return [fitted(line, room, LARGE) for line in lines]


def _block(found: Sweep, image: int, positions: range, width: float) -> Drawing:
    """Some positions side by side: their values, and each model's pictures and answers."""
    marks: list[Mark] = []
    height = CELL * found.shown.shape[3] / found.shown.shape[4]
    y = 2.0
    for column, position in enumerate(positions):
        x = EDGE + column * (CELL + GAP) + CELL / 2
        marks.append(Text(x, y + LINE / 2, found.position_labels[position], SIZE + 1, INK))
    y += LINE + 2
    before: NDArray[np.uint8] | None = None
    for model, name in enumerate(found.models):
        pictures = found.shown[model, image]
        own = before is None or not np.array_equal(before, pictures)
        if own:
            for column, position in enumerate(positions):
                x = EDGE + column * (CELL + GAP)
                marks += _picture(pictures[position], x, y, height)
            y += height + 2
            before = pictures
        marks += moved(swatch(model).marks, EDGE - 1, y - 1)
        room = width - 2 * EDGE - 36
        marks.append(Text(EDGE + 34, y + LINE / 2, fitted(name, room, SIZE), SIZE, MUTED, "start"))
        y += LINE + 1
        lines = max(len(_name_lines(found, model, image, position)) for position in positions)
        for column, position in enumerate(positions):
            x = EDGE + column * (CELL + GAP)
            marks += moved(tuple(_answer(found, model, image, position, lines)), x, y)
        y += (lines + 2) * LINE + 5
    return Drawing(width, y + 2, tuple(marks))


def _picture(pixels: NDArray[np.uint8], x: float, y: float, height: float) -> list[Mark]:
    from PIL import Image

    shown = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
    factor = max(1, round(max(shown.shape[:2]) / PIXELS))
    if factor > 1:
        shown = np.asarray(Image.fromarray(shown).reduce(factor))
    right, low = x + CELL, y + height
    frame = ((x, y), (right, y), (right, low), (x, low), (x, y))
    return [
        picture(x, y, CELL, height, np.ascontiguousarray(shown)),
        Stroke(frame, GRID, 0.6),
    ]


def _name_lines(found: Sweep, model: int, image: int, position: int) -> list[str]:
    name = found.class_names[int(found.top[model, image, 0, position, 0])]
    return _wrapped(name, CELL)


def _wrapped(name: str, room: float) -> list[str]:
    """A name on one or two lines, broken between words, its middle left out where it must be."""
    if text_width(name, SIZE) <= room:
        return [name]
    words = name.replace("-", "- ").split()
    first = ""
    while words and text_width((first + " " + words[0]).strip(), SIZE) <= room:
        first = (first + " " + words.pop(0)).strip()
    if not first:
        return [fitted(name, room, SIZE)]
    rest = " ".join(words).replace("- ", "-")
    return [first.replace("- ", "-"), fitted(rest, room, SIZE)][:NAME_LINES]


def _answer(found: Sweep, model: int, image: int, position: int, lines: int) -> list[Mark]:
    """The guess, whether it is right, and the confidence in it and in the true class."""
    at = (model, image, 0, position)
    names = _name_lines(found, model, image, position)
    marks: list[Mark] = [
        Text(CELL / 2, (lines - len(names) + number + 0.5) * LINE, line, SIZE, INK)
        for number, line in enumerate(names)
    ]
    y = (lines + 0.5) * LINE
    text = share_text(float(found.probability[at][0]))
    left = (CELL - text_width(text, SIZE)) / 2
    marks.append(Text(CELL / 2 + 4, y, text, SIZE, INK))
    marks += moved(_verdict(found, at), left - 4, y)
    if not found.right[at]:
        true = f"true: {share_text(float(found.true_confidence[at]))}"
        if found.labels[image] < 0:
            true = f"was: {share_text(float(found.true_confidence[at]))}"
        marks.append(Text(CELL / 2, y + LINE, true, SIZE, MUTED))
    return marks


def _verdict(found: Sweep, at: tuple[int, int, int, int]) -> tuple[Mark, ...]:
    if found.right[at]:
        return tick()
    return triangle() if found.inside[at] == 1 else cross()


def _legend(found: Sweep, image: int, width: float) -> Drawing:
    known = found.labels[image] >= 0
    entries: list[tuple[tuple[Mark, ...], str]] = [
        (tick(), "the true class" if known else "as without any change")
    ]
    if not (found.inside == UNKNOWN).any():
        entries.append((triangle(), "another class of the same superclass"))
        entries.append((cross(), "outside of the superclass"))
    else:
        entries.append((cross(), "another class"))
    word, of = ("true", "the true class") if known else ("was", "the first answer")
    entries.append(((), f"{word}: confidence in {of}, where the guess is another"))
    marks: list[Mark] = []
    x, y = EDGE, LINE / 2
    for sign, text in entries:
        wide = text_width(text, SIZE) + 22
        if x + wide > width - EDGE and x > EDGE:
            x, y = EDGE, y + LINE
        marks += moved(sign, x + 4, y)
        marks.append(Text(x + (11 if sign else 0), y, text, SIZE, INK, "start"))
        x += wide
    return Drawing(width, y + LINE / 2, tuple(marks))
