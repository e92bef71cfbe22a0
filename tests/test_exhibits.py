"""Exhibits come back from a run directory as they were kept; files of others are refused."""

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from cli_case import workbench
from PIL import Image

from workbench.drawing.marks import DPI, Drawing, Picture, png_bytes, save, svg
from workbench.errors import UsageError
from workbench.exhibits import FILE, Exhibit, Table, keep_exhibits, read_exhibits
from workbench.explain import VIEWS

PIXELS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 0]]], dtype=np.uint8)
DRAWING = Drawing(36, 36, (Picture(9, 9, 18, 18, png_bytes(PIXELS)),))
TABLE = Table(("layer", "CKA"), (("fc <1>", "0.50"), ("größe", "—")))


def exhibits() -> list[Exhibit]:
    numbers = {"cka": [[0.1 + 0.2, None]], "images": 3}
    return [
        Exhibit("one", "First & <b>", "a note", DRAWING, "a picture", TABLE, numbers),
        Exhibit("two-2", "Second"),
    ]


def test_exhibits_come_back_as_they_were_kept(tmp_path: Path) -> None:
    files = keep_exhibits(exhibits(), tmp_path)
    assert [file.name for file in files] == ["one.png", "one.svg"]
    one, two = read_exhibits(tmp_path)
    assert (one.name, one.title, one.note, one.words) == (
        "one", "First & <b>", "a note", "a picture",
    )  # fmt: skip
    assert one.table == TABLE
    assert one.svg is not None
    assert one.svg.read_text(encoding="utf-8") == svg(DRAWING, page=False)
    assert (two.name, two.table, two.svg) == ("two-2", None, None)
    kept = json.loads((tmp_path / FILE).read_text(encoding="utf-8"))
    assert kept["exhibits"][0]["numbers"] == exhibits()[0].numbers  # unrounded


def test_numbers_that_are_none_are_kept_as_json_has_them(tmp_path: Path) -> None:
    numbers = {"share": float("nan"), "shares": np.array([[0.5, np.nan], [np.inf, 1]])}
    keep_exhibits([Exhibit("one", "First", numbers=numbers)], tmp_path)
    text = (tmp_path / FILE).read_text(encoding="utf-8")
    kept = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert kept["exhibits"][0]["numbers"] == {"share": None, "shares": [[0.5, None], [None, 1]]}


@pytest.mark.parametrize("name", ["", "../up", "A", "a b", "a.svg", "-a", "ä"])
def test_names_that_are_no_names_of_files_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not a name"):
        keep_exhibits([Exhibit(name, "title")], tmp_path)
    with pytest.raises(ValueError, match="not the only one"):
        keep_exhibits([Exhibit("a", "title"), Exhibit("a", "title")], tmp_path)
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize(
    "change",
    [
        {"name": "../../secret"},
        {"name": 3},
        {"name": None},
        {"table": {"headings": ["a"]}},
        {"table": "a table"},
        {"table": {"headings": ["a"], "lines": [3]}},
    ],
)
def test_files_that_hold_something_else_are_called_damaged(
    tmp_path: Path, change: dict[str, object]
) -> None:
    keep_exhibits(exhibits(), tmp_path)
    kept = json.loads((tmp_path / FILE).read_text(encoding="utf-8"))
    kept["exhibits"][0] |= change
    (tmp_path / FILE).write_text(json.dumps(kept), encoding="utf-8")
    with pytest.raises(UsageError, match="damaged"):
        read_exhibits(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"format_version": 1}', "\0", "[" * 100_000])
def test_files_that_are_cut_off_or_empty_are_called_damaged(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match="damaged"):
        read_exhibits(tmp_path)


def test_bytes_that_are_no_text_are_damaged_and_other_releases_and_no_file_are_named(
    tmp_path: Path,
) -> None:
    with pytest.raises(UsageError, match="holds nothing"):
        read_exhibits(tmp_path)
    (tmp_path / FILE).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="damaged"):
        read_exhibits(tmp_path)
    (tmp_path / FILE).write_text('{"format_version": 99}', encoding="utf-8")
    with pytest.raises(UsageError, match="another release"):
        read_exhibits(tmp_path)


def test_pictures_show_their_pixels_where_they_are_put(tmp_path: Path) -> None:
    png, vectors = save(DRAWING, tmp_path / "p")
    page = np.asarray(Image.open(png).convert("RGB"))
    points = [(13.5, 13.5), (22.5, 13.5), (13.5, 22.5), (22.5, 22.5)]  # middles of four squares
    for (x, y), colour in zip(points, PIXELS.reshape(-1, 3), strict=True):
        assert page[round(y * DPI / 72), round(x * DPI / 72)].tolist() == colour.tolist()
    for x, y in ((4, 4), (31, 18), (18, 31)):
        assert page[round(y * DPI / 72), round(x * DPI / 72)].tolist() == [255, 255, 255]
    text = vectors.read_text(encoding="utf-8")
    assert 'x="9.00" y="9.00" width="18.00" height="18.00"' in text
    assert "image-rendering:pixelated" in text


def test_an_svg_holds_its_picture_as_a_png() -> None:
    coded = re.search(r"data:image/png;base64,([^\"]+)", svg(DRAWING, page=True))
    assert coded is not None
    found = np.asarray(Image.open(io.BytesIO(base64.b64decode(coded[1]))))
    np.testing.assert_array_equal(found, PIXELS)


def test_views_are_listed_with_what_they_show() -> None:
    listed = workbench("list", "views", "--json").document["names"]
    assert list(listed) == list(VIEWS)
    assert all(text.endswith(".") or ":" in text for text in listed.values()), listed
    assert workbench("list", "views", "cka", "--json").document["names"]["cka"]
