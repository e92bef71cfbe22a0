"""What the figures of a report show, and that what draws them draws that."""

import math
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from measuring_case import conditions
from PIL import Image
from report_case import CORRUPTIONS, HOSTILE, broken, entry, measured, reported

from attacks.corruptions import CORRUPTIONS as KNOWN
from benchmarks import Condition, Record, compare
from workbench.drawing.charts import Bar, Bars, Chart, Lines, words
from workbench.drawing.looks import COLOURS, GRID, INK, MUTED, VARIABLES, look
from workbench.drawing.marks import Text, fitted, save, svg, text_width
from workbench.drawing.panels import chart_drawing, panel_drawing, swatch, ticks
from workbench.report.attack_charts import change_chart, robust_chart, steps_chart, threshold_chart
from workbench.report.confidence_views import reliability_chart
from workbench.report.corruption_charts import heat_chart, ratio_chart, severity_chart
from workbench.report.rows import Row, rows_of
from workbench.report.summary import findings
from workbench.report.tables import overview

NEARLY = {"allow_nan": False, "allow_infinity": False}


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    return measured(tmp_path_factory.mktemp("record"), baseline="one")


@pytest.fixture(scope="module")
def rows(record: Record) -> tuple[Row, ...]:
    return rows_of(record, compare(record))


@pytest.fixture(scope="module")
def replicates(tmp_path_factory: pytest.TempPathFactory) -> Record:
    models = [entry(f"m{seed}", 3.0 + 3 * seed, training={"seed": seed}) for seed in range(3)]
    return measured(tmp_path_factory.mktemp("replicates"), [*models, entry("other")])


def lines_of(chart: Chart | None, panel: int = 0) -> Lines:
    assert chart is not None
    found = chart.panels[panel]
    assert isinstance(found, Lines)
    return found


def test_severity_curves_are_errors_in_percent_clean_first(
    record: Record, rows: tuple[Row, ...]
) -> None:
    chart = severity_chart(record, rows)
    assert chart is not None
    assert [panel.title for panel in chart.panels] == ["Gaussian noise", "Fog", "Contrast"]
    for k in range(len(CORRUPTIONS)):
        for m, line in enumerate(lines_of(chart, k).lines):
            assert line.x == (0, 1, 3, 5)
            clean = 100 * (record.clean["right"][m] == 0).mean()
            cells = 100 * (record.corrupted["right"][m, k] == 0).mean(axis=-1)
            assert line.y == pytest.approx((clean, *cells))
            bounds = zip(line.low, line.y, line.high, strict=True)
            assert all(low <= y <= high for low, y, high in bounds)


def test_replicates_are_one_line_their_mean_with_their_range(replicates: Record) -> None:
    rows = rows_of(replicates, compare(replicates))
    assert [len(row.models) for row in rows] == [3, 1]
    line = lines_of(severity_chart(replicates, rows), 1).lines[0]
    cells = 100 * (replicates.corrupted["right"][:3, 1] == 0).mean(axis=-1)
    assert line.y[1:] == pytest.approx(cells.mean(axis=0))
    assert line.low[1:] == pytest.approx(cells.min(axis=0))
    assert line.high[1:] == pytest.approx(cells.max(axis=0))


def test_the_heat_map_is_ce_whose_mean_is_mce(record: Record, rows: tuple[Row, ...]) -> None:
    chart = heat_chart(record, rows)
    assert chart is not None
    assert chart.heat is not None
    errors = (record.corrupted["right"] == 0).mean(axis=(-1, -2))
    assert chart.heat.values[1] == pytest.approx(100 * errors[1] / errors[0])
    assert chart.heat.values[0] == pytest.approx([100] * 3)
    mce = 100 * record.aggregates["mce"][1]
    assert np.mean(chart.heat.values[1]) == pytest.approx(mce)
    assert "one, the baseline" in chart.note


def test_the_heat_map_of_one_model_is_its_error(tmp_path: Path) -> None:
    record = measured(tmp_path, [entry("only")], attacks=())
    chart = heat_chart(record, rows_of(record, compare(record)))
    assert chart is not None
    assert chart.heat is not None
    assert chart.heat.even is None
    errors = (record.corrupted["right"][0] == 0).mean(axis=(-1, -2))
    assert chart.heat.values[0] == pytest.approx(100 * errors)
    assert ratio_chart(record, rows_of(record, compare(record))) is None


def test_family_ratios_leave_the_baseline_out(record: Record, rows: tuple[Row, ...]) -> None:
    chart = ratio_chart(record, rows)
    assert chart is not None
    families = dict.fromkeys(KNOWN[name].family for name in CORRUPTIONS)
    assert [panel.title for panel in chart.panels] == [f"{f.capitalize()} (1)" for f in families]
    (line,) = lines_of(chart, 1).lines
    wrong = (record.corrupted["right"] == 0)[:, 1].mean(axis=-1)
    assert line.row == 1
    assert line.y == pytest.approx(wrong[1] / wrong[0])


def test_bars_are_the_numbers_of_the_record(record: Record, rows: tuple[Row, ...]) -> None:
    comparison, numbers = compare(record), record.aggregates
    robust = robust_chart(comparison, rows)
    assert robust is not None
    assert [panel.title for panel in robust.panels] == [
        *record.attacks,
        "Worst case, per image",
    ]
    for a, panel in enumerate(robust.panels[:3]):
        assert isinstance(panel, Bars)
        values = [bar.value for bar in panel.bars]
        assert values == pytest.approx(100 * numbers["robust_accuracy"][:, a])
    worst = robust.panels[-1]
    assert isinstance(worst, Bars)
    expected = 100 * numbers["worst_case_robust_accuracy"]
    assert [bar.value for bar in worst.bars] == pytest.approx(expected)
    change = change_chart(comparison, rows)
    assert change is not None
    (bars,) = [panel for panel in change.panels if panel.title == "swap"]
    assert isinstance(bars, Bars)
    assert [bar.value for bar in bars.bars] == pytest.approx(numbers["mean_pixel_change"][:, 0])
    assert bars.bars[0].interval == pytest.approx(numbers["mean_pixel_change_interval"][0, 0])


def test_thresholds_that_no_pixel_passed_are_told_not_drawn(
    record: Record, rows: tuple[Row, ...]
) -> None:
    comparison = compare(record)
    for row in comparison["rows"]:
        row["numbers"]["pixels_over_threshold@0.1:swap"]["value"] = 0.0
    chart = threshold_chart(comparison, rows_of(record, comparison))
    assert chart is not None
    assert "swap, over 10 %" not in [panel.title for panel in chart.panels]
    assert "swap, over 1 %" in [panel.title for panel in chart.panels]
    assert "No pixel at all changed by more: swap, over 10 %" in chart.note


def test_steps_end_at_the_success_rate(record: Record, rows: tuple[Row, ...]) -> None:
    steps = record.attacked["steps"].copy()
    steps[:, 0] = np.arange(steps.shape[-1]) % 9 + 1
    changed = replace(record, attacked={**record.attacked, "steps": steps})
    chart = steps_chart(changed, rows)
    assert chart is not None
    assert [panel.title for panel in chart.panels] == ["swap"]  # the others take two steps each
    given = record.attacked["attacked"][0, 0] == 1
    success = given & (record.attacked["success"][0, 0] == 1)
    line = lines_of(chart).lines[0]
    for x, y in zip(line.x, line.y, strict=True):
        assert y == pytest.approx(100 * (success & (steps[0, 0] <= x)).sum() / given.sum())


def test_reliability_is_the_share_right_of_each_bin(record: Record, rows: tuple[Row, ...]) -> None:
    chart = reliability_chart(record, rows)
    assert [panel.title for panel in chart.panels] == ["Clean", "Corrupted, severity 5"]
    confidence = record.corrupted["confidence"][0, :, -1].reshape(-1).astype(np.float64)
    right = record.corrupted["right"][0, :, -1].reshape(-1)
    bins = np.ceil(15 * confidence).astype(int)
    expected = [
        (confidence[bins == b].mean(), right[bins == b].mean())
        for b in range(1, 16)
        if (bins == b).sum() >= 10
    ]
    assert expected
    line = lines_of(chart, 1).lines[0]
    assert list(zip(line.x, line.y, strict=True)) == [pytest.approx(each) for each in expected]


def test_failed_cells_leave_gaps_and_no_bars(tmp_path: Path) -> None:
    attacks = [Condition("broken", broken)]
    record = measured(tmp_path, attacks=attacks)
    rows = rows_of(record, compare(record))
    assert len(record.failures) == 4  # two models, two shards
    assert robust_chart(compare(record), rows) is None
    assert steps_chart(record, rows) is None
    assert severity_chart(record, rows) is not None


@given(st.floats(-1e3, 1e3, **NEARLY), st.floats(1e-3, 1e4, **NEARLY))
def test_ticks_are_round_even_and_inside(low: float, span: float) -> None:
    high = low + span
    found = ticks(low, high)
    assert 1 <= len(found) <= 6
    slack = 1e-6 * max(abs(low), abs(high), 1)
    assert all(low - slack <= tick <= high + slack for tick in found)
    steps = np.diff(found)
    assert np.allclose(steps, steps[0] if len(steps) else 0, rtol=1e-6, atol=slack)


@pytest.mark.parametrize("name", ["short", "study-resnet123(width=8), noisy(std=0.7)"])
def test_names_of_bars_are_whole_and_clear_of_the_numbers(rows: tuple[Row, ...], name: str) -> None:
    number = "0.0975 [0.0588, 0.136]"
    panel = Bars("sign-ascent", "mean", (Bar(0, 0.1, (0.06, 0.14), number),))
    drawn = panel_drawing(panel, [replace(row, name=name) for row in rows])
    texts = {mark.text: mark for mark in drawn.marks if isinstance(mark, Text)}
    assert {name, number} <= set(texts)
    beside = texts[number].x - text_width(number, 8) > texts[name].x + text_width(name, 8)
    assert beside or abs(texts[number].y - texts[name].y) > 8
    assert max(mark.y for mark in texts.values()) < drawn.height


@given(st.text(max_size=60), st.floats(5, 200))
def test_a_fitted_name_has_the_room_or_is_an_ellipsis(name: str, room: float) -> None:
    short = fitted(name, room, 8)
    assert text_width(short, 8) <= room or short == "…"
    assert short == name or "…" in short


def test_every_look_has_a_colour_that_the_page_knows() -> None:
    assert len({look(place) for place in range(40)}) == 40
    assert {INK, MUTED, GRID, *COLOURS} == set(VARIABLES)
    assert svg(swatch(3), page=True).startswith("<svg ")


def test_pictures_are_well_formed_and_inside_their_sheet(record: Record) -> None:
    named = [entry(HOSTILE), *(entry(f"model-with-a-very-long-name-{n}") for n in range(7))]
    comparison = compare(record)
    base = comparison["rows"][0]
    entries = [
        {**base, "name": each.name, "is_baseline": place == 0} for place, each in enumerate(named)
    ]
    rows = rows_of(record, {**comparison, "rows": entries})
    charts = [
        severity_chart(record, rows),
        heat_chart(record, rows),
        ratio_chart(record, rows),
        robust_chart(comparison, rows),
        reliability_chart(record, rows),
    ]
    for chart in charts:
        assert chart is not None
        whole = chart_drawing(chart, rows)
        for drawing in (whole, *(panel_drawing(panel, rows) for panel in chart.panels)):
            tree = ElementTree.fromstring(svg(drawing, page=False))
            texts = [each.text for each in tree.iter() if each.text]
            assert not any(each.tag.endswith("script") for each in tree.iter())
            assert texts
            for mark in drawing.marks:
                if isinstance(mark, Text) or chart.heat is not None:
                    continue
                for x, y in mark.points:
                    assert -4 <= x <= drawing.width + 4
                    assert -4 <= y <= drawing.height + 4
        # The legend stands below the panels: no name over another.
        if chart.has_legend:
            places = {
                (m.x, m.y) for m in whole.marks if isinstance(m, Text) and m.anchor == "start"
            }
            assert len(places) >= len(rows)


def test_files_are_png_of_200_dpi_and_svg_the_same_every_time(
    record: Record, rows: tuple[Row, ...], tmp_path: Path
) -> None:
    chart = heat_chart(record, rows)
    assert chart is not None
    drawing = chart_drawing(chart, rows)
    first = [file.read_bytes() for file in save(drawing, tmp_path / "a")]
    again = [file.read_bytes() for file in save(drawing, tmp_path / "b")]
    assert first == again
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width == pytest.approx(drawing.width / 72 * 200, abs=1)
        assert picture.height == pytest.approx(drawing.height / 72 * 200, abs=1)
    assert b"var(--" not in first[1]
    assert b"<svg" in first[1]


def test_words_tell_every_row_or_the_range(record: Record, rows: tuple[Row, ...]) -> None:
    panel = lines_of(severity_chart(record, rows))
    told = words(panel, rows)
    for row, line in zip(rows, panel.lines, strict=True):
        assert f"{row.name}: {line.y[0]:.3g} % at 0, {line.y[-1]:.3g} % at 5" in told
    many = replace(panel, lines=panel.lines * 5)
    values = [y for line in panel.lines for y in line.y]
    assert f"10 lines between {min(values):.3g} and {max(values):.3g} %" in words(many, rows)


def test_every_chart_of_a_report_has_a_name_of_its_own(record: Record) -> None:
    charts = reported(record).charts
    assert len({chart.name for chart in charts}) == len(charts) >= 6
    assert all(math.isfinite(len(chart.note)) and chart.note for chart in charts)


def test_robust_accuracy_is_that_of_attacks_with_a_budget(tmp_path: Path) -> None:
    names = ["fgsm(eps=0.1)", "pgd(eps=0.1)", "sign-ascent"]
    attacks = [replace(each, spec=name) for each, name in zip(conditions(), names, strict=True)]
    record = measured(tmp_path, attacks=attacks, corruptions=())
    comparison = compare(record)
    rows = rows_of(record, comparison)
    chart = robust_chart(comparison, rows)
    assert chart is not None
    titles = [panel.title for panel in chart.panels]
    assert titles == ["fgsm(eps=0.1)", "pgd(eps=0.1)", "Worst case, per image"]
    headings = [heading.under for heading in overview(comparison, rows).headings]
    assert "pgd(eps=0.1)" in headings
    assert "sign-ascent" not in headings
    assert not any("sign-ascent" in each for each in findings(record, comparison, rows))
