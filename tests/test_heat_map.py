"""A heat map shows its numbers where they belong, and its texts keep apart."""

import itertools
import math
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from workbench.drawing.heat_map import HeatMap, heat_map_drawing
from workbench.drawing.maps import sequential
from workbench.drawing.marks import DPI, Area, Drawing, Text, save, svg, text_width
from workbench.drawing.numbers import MINUS

LONG = "features.{}.stage.blocks.attention.projection"


def heat(rows: int, columns: int, form: str = "layer{}", title: str = "resnet20") -> HeatMap:
    values = np.random.default_rng(rows).random((rows, columns)) * 1.05 - 0.05
    return HeatMap(
        row_title=title,
        column_title=title,
        rows=tuple(form.format(row) for row in range(rows)),
        columns=tuple(form.format(column) for column in range(columns)),
        values=tuple(map(tuple, values.tolist())),
        scale="CKA",
    )


def boxes(drawing: Drawing) -> list[tuple[str, float, float, float, float]]:
    """Left, right, top and bottom of every text; letters are about 0.7 of their size high."""
    found = []
    for mark in drawing.marks:
        if isinstance(mark, Text):
            # text_width says rather too much; numbers of two digits are known to fit
            long, high = 0.97 * text_width(mark.text, mark.size), 0.7 * mark.size / 2
            start = {"start": 0.0, "middle": long / 2, "end": long}[mark.anchor]
            if mark.upward:  # runs up the sheet
                ends = (mark.x - high, mark.x + high, mark.y + start - long, mark.y + start)
            else:
                ends = (mark.x - start, mark.x - start + long, mark.y - high, mark.y + high)
            found.append((mark.text, *ends))
    return found


@pytest.mark.parametrize("title", ["r", "a model whose name goes on and on " * 3])
@pytest.mark.parametrize("form", ["{}", "layer{}.0", LONG])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 5), (12, 12), (25, 25), (3, 40)])
def test_no_text_overlaps_another_or_leaves_the_sheet(
    rows: int, columns: int, form: str, title: str
) -> None:
    drawing = heat_map_drawing(heat(rows, columns, form, title))
    found = boxes(drawing)
    for text, left, right, top, bottom in found:
        assert left >= 0, text
        assert top >= 0, text
        assert right <= drawing.width, text
        assert bottom <= drawing.height, text
    for one, other in itertools.combinations(found, 2):
        wide = min(one[2], other[2]) - max(one[1], other[1])
        high = min(one[4], other[4]) - max(one[3], other[3])
        assert wide <= 0.1 or high <= 0.1, (one[0], other[0])


def test_the_first_row_is_at_the_bottom_and_colours_are_those_of_the_scale(tmp_path: Path) -> None:
    shown = HeatMap("rows", "columns", ("a", "b"), ("c", "d", "e"),
                    ((0.0, 0.25, 0.5), (0.75, 1.0, math.nan)), "share")  # fmt: skip
    drawing = heat_map_drawing(shown)
    png, _ = save(drawing, tmp_path / "map")
    pixels = np.asarray(Image.open(png).convert("RGB"))
    cells = [mark for mark in drawing.marks if isinstance(mark, Area)][:6]
    values = [value for row in shown.values for value in row]
    for cell, value in zip(cells, values, strict=True):
        x, y = cell.points[0]  # its upper left corner, which holds no number
        found = pixels[round((y + 1.5) * DPI / 72), round((x + 1.5) * DPI / 72)]
        expected = (226, 227, 230) if math.isnan(value) else sequential(np.array([[value]]))[0, 0]
        np.testing.assert_allclose(found, expected, atol=1)
    assert cells[0].points[0][1] > cells[3].points[0][1]  # row a is below row b
    assert cells[0].points[0][0] < cells[1].points[0][0] < cells[2].points[0][0]
    scale = [mark for mark in drawing.marks if isinstance(mark, Area)][6:]
    assert scale[0].points[0][1] > scale[-1].points[0][1]  # from 0 at the bottom
    assert scale[0].colour < "#050510"  # inferno goes from black
    assert scale[-1].colour > "#f00000"  # to yellow


def test_numbers_are_written_where_there_is_room_and_can_be_read() -> None:
    few = heat_map_drawing(heat(25, 25))
    texts = [mark for mark in few.marks if isinstance(mark, Text)]
    values = [f"{value:z.2f}".replace("-", MINUS) for row in heat(25, 25).values for value in row]
    assert [text.text for text in texts if text.colour in ("#ffffff", "#000000")] == values
    many = heat_map_drawing(heat(26, 26))
    assert not any(mark.colour == "#ffffff" for mark in many.marks if isinstance(mark, Text))


def test_a_page_keeps_the_colours_of_numbers_and_changes_those_of_names() -> None:
    drawing = heat_map_drawing(heat(2, 2))
    page = svg(drawing, page=True)
    ElementTree.fromstring(page)
    cell = next(mark for mark in drawing.marks if isinstance(mark, Area))
    assert f"fill:{cell.colour}" in page
    assert "fill:#ffffff" in page or "fill:#000000" in page
    assert "fill:var(--ink)" in page
