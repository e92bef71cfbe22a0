"""Lays out the panels of a chart, and whole charts with their legend, as marks."""

import math
from collections.abc import Callable, Sequence

from workbench.drawing.charts import Bars, Chart, Heat, Line, Lines, Named, Panel
from workbench.drawing.looks import COLOURS, GRID, INK, MUTED, Points, look
from workbench.drawing.marks import Area, Drawing, Mark, Stroke, Text, fitted, moved, text_width
from workbench.drawing.numbers import UNKNOWN

At = Callable[[float, float], tuple[float, float]]
"""Where a value lies on the sheet."""

FONT, SMALL = 8.5, 8.0  # points
WIDTH, NARROW = 250.0, 190.0  # points a panel is wide
LINES_HEIGHT, NARROW_HEIGHT = 165.0, 135.0
LEFT, RIGHT, TOP, BELOW = 36.0, 6.0, 6.0, 28.0  # around the axes of lines
BAR_STEP, BAR_LEFT, BARS_BELOW = 25.0, 6.0, 29.0  # a bar with its name above it
NUMBER_LINE = 10.0  # for the numbers, where a name leaves its own line no room for them
TITLE, LEGEND_LINE, GAP = 20.0, 13.0, 14.0
HEAT_WIDTH, HEAT_HEIGHT = 30.0, 17.0
COLUMNS, NARROW_COLUMNS = 2, 3
LINE_WIDTH, MARKER = 1.4, 2.3  # points; the marker's radius
CROWDED = 5  # lines from which bands only hide each other: whiskers then
FEW = 12  # points up to which each has a marker
STRONGEST = 0.65  # opacity of a heat map's darkest cell, so that its number can be read


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers from ``low`` to ``high``, at most so many and one.

    >>> ticks(0, 47)
    [0.0, 10.0, 20.0, 30.0, 40.0]
    """
    span = high - low
    power = 10 ** math.floor(math.log10(span / most))
    step = next(m * power for m in (1, 2, 5, 10) if m * power * most >= span * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{number * step:.10g}") for number in range(first, last + 1)]


def panel_drawing(panel: Panel, rows: Sequence[Named], *, narrow: bool = False) -> Drawing:
    """A panel without its title."""
    if isinstance(panel, Bars):
        return _bars(panel, rows)
    return _lines(panel, NARROW if narrow else WIDTH, NARROW_HEIGHT if narrow else LINES_HEIGHT)


def swatch(place: int) -> Drawing:
    """The look of a row for a legend: a piece of its line with its marker."""
    colour, marker, dashes = look(place)
    line = Stroke(((1, 6), (31, 6)), colour, LINE_WIDTH * 1.2, dashes)
    return Drawing(32, 12, (line, _marker(16, 6, marker, colour, 3.6)))


def chart_drawing(chart: Chart, rows: Sequence[Named]) -> Drawing:
    """A whole chart: panels in columns below their titles, the legend below them."""
    if chart.heat is not None:
        return _heat(chart.heat, rows)
    usual = NARROW_COLUMNS if chart.narrow else COLUMNS
    columns = min(len(chart.panels), chart.columns or usual)
    drawn = [panel_drawing(panel, rows, narrow=chart.narrow) for panel in chart.panels]
    width = columns * drawn[0].width + (columns - 1) * GAP
    marks: list[Mark] = []
    y = 4.0
    for start in range(0, len(drawn), columns):
        line = drawn[start : start + columns]
        for place, (panel, drawing) in enumerate(
            zip(chart.panels[start : start + columns], line, strict=True)
        ):
            x = place * (drawing.width + GAP)
            title = fitted(panel.title, drawing.width - 8, FONT)
            marks.append(Text(x + drawing.width / 2, y + TITLE / 2, title, FONT, INK))
            marks += moved(drawing.marks, x, y + TITLE)
        y += TITLE + max(drawing.height for drawing in line) + 6
    if chart.has_legend:
        legend = _legend(rows, width)
        marks += moved(legend.marks, 0, y)
        y += legend.height
    return Drawing(width, y + 4, tuple(marks))


def _legend(rows: Sequence[Named], width: float) -> Drawing:
    step = min(width, max(text_width(row.label, SMALL) for row in rows) + 52)
    columns = max(1, min(len(rows), int(width // step)))
    left = (width - columns * step) / 2
    marks: list[Mark] = []
    for number, row in enumerate(rows):
        x, y = left + number % columns * step, number // columns * LEGEND_LINE
        marks += moved(swatch(row.place).marks, x, y)
        label = fitted(row.label, step - 40, SMALL)
        marks.append(Text(x + 36, y + 6, label, SMALL, INK, "start"))
    return Drawing(width, math.ceil(len(rows) / columns) * LEGEND_LINE, tuple(marks))


def _lines(panel: Lines, width: float, height: float) -> Drawing:
    values = [
        value
        for line in panel.lines
        for value in (*line.y, *line.low, *line.high)
        if math.isfinite(value)
    ]
    low = min(values) if panel.floor is None else panel.floor
    high = max(*values, low) if panel.ceiling is None else panel.ceiling
    if panel.even is not None:
        low, high = min(low, panel.even), max(high, panel.even)
    high = high if high > low else low + 1
    xs = [x for line in panel.lines for x in line.x] + list(panel.ticks)
    start, end = min(xs), max(xs)
    air = 0.03 * (end - start) if panel.ticks else 0.0
    if end == start:
        air = 1.0
    start, end = start - air, end + air
    right, bottom = width - RIGHT, height - BELOW

    def at(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + (x - start) / (end - start) * (right - LEFT),
            bottom - (min(max(y, low), high) - low) / (high - low) * (bottom - TOP),
        )

    marks: list[Mark] = []
    for tick in ticks(low, high):
        y = at(start, tick)[1]
        marks.append(Stroke(((LEFT, y), (right, y)), GRID, 0.7))
        marks.append(Text(LEFT - 4, y, f"{tick:g}", SMALL, INK, "end"))
    for tick in panel.ticks or ticks(start, end, 5):
        x = at(tick, low)[0]
        marks.append(Stroke(((x, bottom), (x, bottom + 3)), MUTED, 0.7))
        marks.append(Text(x, bottom + 9, f"{tick:g}", SMALL, INK))
    marks.append(Stroke(((LEFT, TOP), (LEFT, bottom), (right, bottom)), MUTED, 0.7))
    marks.append(Text((LEFT + right) / 2, height - 6, panel.x_label, FONT, INK))
    marks.append(Text(7, (TOP + bottom) / 2, panel.y_label, FONT, INK, upward=True))
    if panel.even is not None:
        marks.append(Stroke((at(start, panel.even), at(end, panel.even)), MUTED, 1.0))
    if panel.diagonal:
        marks.append(Stroke((at(low, low), at(high, high)), MUTED, 1.0))
    banded = len(panel.lines) <= CROWDED
    for line in panel.lines:
        marks += _uncertainty(line, at, banded=banded)
    for line in panel.lines:
        marks += _line(line, at, panel)
    return Drawing(width, height, tuple(marks))


def _uncertainty(line: Line, at: At, *, banded: bool) -> list[Mark]:
    colour = look(line.row).colour
    known = [
        (x, low, high)
        for x, low, high in zip(line.x, line.low, line.high, strict=False)
        if math.isfinite(low) and math.isfinite(high)
    ]
    if not banded:
        return [Stroke((at(x, low), at(x, high)), colour, 0.8, (), 0.5) for x, low, high in known]
    if len(known) < 2:
        return []
    upper = [at(x, high) for x, _, high in known]
    lower = [at(x, low) for x, low, _ in reversed(known)]
    return [Area((*upper, *lower), colour, 0.15)]


def _line(line: Line, at: At, panel: Lines) -> list[Mark]:
    colour, marker, dashes = look(line.row)
    marks: list[Mark] = []
    part: list[tuple[float, float]] = []
    parts = [part]
    for x, y in zip(line.x, line.y, strict=True):
        if not math.isfinite(y):
            part = []
            parts.append(part)
            continue
        place = at(x, y)
        if panel.steps and part:
            part.append((place[0], part[-1][1]))
        part.append(place)
    marks += [Stroke(tuple(each), colour, LINE_WIDTH, dashes) for each in parts if len(each) > 1]
    known = [at(x, y) for x, y in zip(line.x, line.y, strict=True) if math.isfinite(y)]
    if panel.steps:
        peak = min(known, key=lambda point: point[1])  # down the sheet is up in numbers
        ends_high = known[-1][1] == peak[1]  # a distribution, else a histogram
        known = (known[-2:-1] or known) if ends_high else [peak]
    elif len(known) > FEW:
        known = known[:: len(known) // 8]
    return marks + [_marker(x, y, marker, colour, MARKER) for x, y in known]


def _marker(x: float, y: float, shape: Points, colour: str, radius: float) -> Area:
    return Area(tuple((x + radius * u, y + radius * v) for u, v in shape), colour)


def _bars(panel: Bars, rows: Sequence[Named]) -> Drawing:
    """Each bar has its row's name and number above it, so that no name is turned or cut off.

    The number has a line of its own, below the name, where some name of the panel needs it.
    """
    ends = [bar.interval[1] if bar.interval else bar.value for bar in panel.bars]
    longest = max(bar.value for bar in panel.bars)
    # Two seeds have intervals that would leave no room for the bars: those run out of the panel.
    top = panel.ceiling or min(1.02 * max(ends), 1.6 * longest) or 1.0
    right = WIDTH - 12
    room = right - BAR_LEFT - 6
    names = [rows[bar.row].label for bar in panel.bars]
    needed = (
        text_width(name, SMALL) + text_width(bar.text, SMALL)
        for name, bar in zip(names, panel.bars, strict=True)
    )
    extra = NUMBER_LINE if max(needed) > room else 0.0
    step = BAR_STEP + extra
    height = step * len(panel.bars) + BARS_BELOW
    bottom = step * len(panel.bars) + 3

    def across(value: float) -> float:
        return BAR_LEFT + min(value, top) / top * (right - BAR_LEFT)

    marks: list[Mark] = []
    for tick in ticks(0, top):
        x = across(tick)
        marks.append(Stroke(((x, 0), (x, bottom)), GRID, 0.7))
        marks.append(Text(x, bottom + 7, f"{tick:g}", SMALL, INK))
    marks.append(Text((BAR_LEFT + right) / 2, height - 6, panel.label, FONT, INK))
    for place, bar in enumerate(panel.bars):
        y = step * place
        name = fitted(names[place], room, SMALL)
        marks.append(Text(BAR_LEFT + 3, y + 7, name, SMALL, INK, "start"))
        y += extra
        marks.append(Text(right, y + 7, bar.text, SMALL, INK, "end"))
        box = _box(BAR_LEFT, y + 13, across(bar.value), y + 22)
        marks.append(Area(box, look(bar.row).colour))
        if bar.interval:
            low, high = map(across, bar.interval)
            marks.append(Stroke(((low, y + 17.5), (high, y + 17.5)), INK, 1.1))
            seen = [each for each in bar.interval if each <= top]
            marks += [Stroke(((across(x), y + 15), (across(x), y + 20)), INK, 1.1) for x in seen]
    marks.append(Stroke(((BAR_LEFT, 0), (BAR_LEFT, bottom), (right, bottom)), MUTED, 0.7))
    return Drawing(WIDTH, height, tuple(marks))


def _heat(heat: Heat, rows: Sequence[Named]) -> Drawing:
    names = [rows[place].label for place in heat.rows]
    left = max(text_width(name, SMALL) for name in names) + 10
    top = max(text_width(name, SMALL) for name in heat.columns) + 10
    marks: list[Mark] = []
    for number, name in enumerate(heat.columns):
        x = left + HEAT_WIDTH * (number + 0.5)
        marks.append(Text(x, top - 5, name, SMALL, INK, "start", upward=True))
    for place, (name, values) in enumerate(zip(names, heat.values, strict=True)):
        y = top + HEAT_HEIGHT * place
        marks.append(Text(left - 5, y + HEAT_HEIGHT / 2, name, SMALL, INK, "end"))
        for number, value in enumerate(values):
            x = left + HEAT_WIDTH * number
            worse, strength = heat_strength(heat, value)
            box = _box(x + 0.7, y + 0.7, x + HEAT_WIDTH - 0.7, y + HEAT_HEIGHT - 0.7)
            marks.append(Area(box, COLOURS[1 if worse else 0], STRONGEST * strength))
            text = f"{value:.0f}" if math.isfinite(value) else UNKNOWN
            marks.append(Text(x + HEAT_WIDTH / 2, y + HEAT_HEIGHT / 2, text, SMALL, INK))
    size = left + HEAT_WIDTH * len(heat.columns) + 6, top + HEAT_HEIGHT * len(names) + 6
    return Drawing(*size, tuple(marks))


def heat_strength(heat: Heat, value: float) -> tuple[bool, float]:
    """Whether a cell is worse than the baseline, and how far it is from it, 0 to 1 of the most."""
    if not math.isfinite(value):
        return True, 0.0
    known = [each for line in heat.values for each in line if math.isfinite(each)]
    even = heat.even or 0.0
    largest = max(abs(each - even) for each in known) or 1.0
    return value >= even, abs(value - even) / largest


def _box(left: float, top: float, right: float, bottom: float) -> Points:
    return ((left, top), (right, top), (right, bottom), (left, bottom))
