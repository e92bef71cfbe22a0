"""A report in a real browser, from a file, without a network."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_case import entry, measured, reported

from workbench.drawing.looks import INK
from workbench.drawing.marks import Drawing, Picture, Text, png_bytes
from workbench.exhibits import Exhibit, Table, keep_exhibits
from workbench.report.exhibitions import exhibitions
from workbench.report.page import render
from workbench.report.provenance import provenance

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
NARROW, PHONE, DESK = 360, 390, 1280  # pixels

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
found = next(filter(None, map(shutil.which, BROWSERS)), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(found is None, reason=f"no browser on PATH: {', '.join(BROWSERS)}"),
]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of eight models with long names."""
    folder = tmp_path_factory.mktemp("report")
    models = [
        entry(f"a-rather-long-name-of-a-checkpoint-that-people-do-give-{n}", 2.0 + 2 * n)
        for n in range(8)
    ]
    record = measured(folder, models, images=60)
    origin = provenance(record, [record.path], "workbench report record.h5")
    page = folder / "report.html"
    shown = exhibitions([_exhibits(folder / "run")])
    text = render(reported(record), origin, "A report", None, shown)
    page.write_text(text, encoding="utf-8")
    return page


def _exhibits(folder: Path) -> Path:
    """A run with a figure that is wider than any page, and holds a picture."""
    folder.mkdir()
    pixels = np.full((2, 2, 3), 90, dtype=np.uint8)
    marks = (Picture(0, 0, 1500, 300, png_bytes(pixels)), Text(40, 20, "words", 8, INK))
    table = Table(("model", "a number"), (("one", "1"), ("another", "2")))
    drawing = Drawing(1500, 300, marks)
    keep_exhibits([Exhibit("wide", "A wide figure", "", drawing, "words", table)], folder)
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser: Any, file: Path) -> Iterator[Any]:
    """Opens the page offline; afterwards nothing was complained of or asked for."""
    told: list[str] = []
    contexts = []

    def open_page(width: int = DESK, **settings: Any) -> Any:
        context = browser.new_context(
            viewport={"width": width, "height": 800}, offline=True, **settings
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: told.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: told.append(f"error: {error}"))
        page.on("requestfailed", lambda request: told.append(f"failed: {request.url[:80]}"))
        page.on(
            "request",
            lambda request: (
                request.url.startswith(("file:", "data:")) or told.append(f"asked: {request.url}")
            ),
        )
        page.goto(file.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert told == []


def test_it_opens_with_all_figures(opened: Any) -> None:
    page = opened()
    assert page.title() == "A report"
    assert page.locator("figure[role=img] svg").count() > 10
    empty = page.evaluate(
        "[...document.images].filter((image) => !image.naturalWidth && image.checkVisibility())"
        ".length"
    )
    assert empty == 0


def test_a_click_or_a_key_sorts_a_table(opened: Any) -> None:
    page = opened()
    table = page.locator("#comparison table")
    head = table.locator("thead th", has_text="worst-case").first
    column = head.evaluate("head => head.cellIndex")

    def values() -> list[float]:
        cells = "(rows, at) => rows.map(row => Number(row.cells[at].dataset.sort))"
        return list(table.locator("tbody tr").evaluate_all(cells, column))

    assert head.get_attribute("aria-sort") == "none"
    start = values()
    head.locator("button").click()
    best = head.get_attribute("aria-sort")
    assert best == "descending"  # the best first
    assert values() == sorted(start, reverse=True)
    head.locator("button").press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert values() == sorted(start)
    first = table.locator("thead th").first
    first.locator("button").press("Space")
    assert first.get_attribute("aria-sort") == "ascending"
    assert head.get_attribute("aria-sort") == "none"
    names = table.locator("tbody th").all_inner_texts()
    assert names == sorted(names)


@pytest.mark.parametrize("width", [NARROW, PHONE, DESK])
def test_the_page_never_scrolls_sideways(opened: Any, width: int) -> None:
    page = opened(width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wide = page.locator("#comparison .scroll").evaluate("it => it.scrollWidth > it.clientWidth")
    assert wide or width == DESK  # wide tables scroll in themselves


def test_no_text_of_a_figure_leaves_it_or_lies_on_another(opened: Any) -> None:
    page = opened()
    overlaps = page.evaluate(
        """() => [...document.querySelectorAll("figure[role=img]")].flatMap((figure) => {
          const frame = figure.getBoundingClientRect();
          const boxes = [...figure.querySelectorAll("svg text")].map(
            (text) => [text.textContent, text.getBoundingClientRect()]);
          const out = boxes.filter(([, box]) =>
            box.left < frame.left - 3 || box.right > frame.right + 3).map(([text]) => text);
          const on = boxes.flatMap(([text, a], i) => boxes.slice(i + 1).filter(([, b]) =>
            a.left < b.right - 1 && b.left < a.right - 1 &&
            a.top < b.bottom - 3 && b.top < a.bottom - 3).map(([other]) => `${text} / ${other}`));
          return [...out, ...on];
        })"""
    )
    assert overlaps == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_figures_of_other_runs_stand_on_white_in_a_frame_of_their_own(
    opened: Any, scheme: str
) -> None:
    page = opened(PHONE, color_scheme=scheme)
    card = page.locator(".card")
    shown, held, paper, loaded = card.evaluate(
        """it => [it.clientWidth, it.scrollWidth, getComputedStyle(it).backgroundColor,
          it.querySelector("img").naturalWidth]"""
    )
    assert shown < PHONE < held  # it is scrolled in itself, so that its letters can be read
    assert _luminance(paper) > 0.9
    assert loaded > 0


def test_the_dark_mode_is_dark_and_can_be_read(opened: Any) -> None:
    shades = {}
    for scheme in ("light", "dark"):
        page = opened(color_scheme=scheme)
        paper, ink, mark = page.evaluate(
            """() => [getComputedStyle(document.body).backgroundColor,
              getComputedStyle(document.body).color,
              getComputedStyle(document.querySelector("figure svg text")).fill]"""
        )
        assert mark == ink
        shades[scheme] = (_luminance(paper), _luminance(ink))
    assert shades["light"][0] > 0.9
    assert shades["dark"][0] < 0.05
    for paper, ink in shades.values():
        low, high = sorted((paper, ink))
        assert (high + 0.05) / (low + 0.05) > 7  # WCAG 2 contrast, level AAA


def _luminance(colour: str) -> float:
    """Relative luminance of ``rgb(r, g, b)``, by WCAG 2."""
    values = [int(part) / 255 for part in colour[4:-1].split(",")[:3]]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_it_prints_with_everything_open(opened: Any, tmp_path: Path) -> None:
    page = opened()
    closed = page.locator("details:not([open])").count()
    assert closed > 0
    page.evaluate(
        "addEventListener('beforeprint', () => { "
        "window.closed = document.querySelectorAll('details:not([open])').length; })"
    )
    page.pdf(path=str(tmp_path / "report.pdf"), format="A4")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    assert page.evaluate("window.closed") == 0
    assert page.locator("details:not([open])").count() == closed  # as it was


def test_the_script_that_is_not_ours_does_not_run(opened: Any, file: Path) -> None:
    """Even if a name slipped through the escaping, the page's policy would not let it run."""
    text = file.read_text(encoding="utf-8")
    evil = file.with_name("evil.html")
    evil.write_text(text.replace("<main", "<script>document.title = 'evil'</script><main"))
    page = opened()
    complaints: list[str] = []
    other = page.context.new_page()
    other.on("console", lambda message: complaints.append(message.text))
    other.goto(evil.as_uri())
    assert other.title() == "A report"
    assert any("Content Security Policy" in each for each in complaints)
