"""Curves over severity and the names of their shapes."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from views_case import made_record

from benchmarks.severity_curves import SHAPES, UNCLEAR, name_shapes, severity_curves

FIVE = (0, 1, 2, 3, 4, 5)


def named(points: list[float], severities: tuple[int, ...] = FIVE) -> str:
    """The name of a curve of errors in points."""
    return str(name_shapes(np.array(points) / 100, severities))


@pytest.mark.parametrize(
    ("points", "name"),
    [
        ([10, 20, 30, 40, 50, 60], "near-linear"),
        ([10, 18, 27, 42, 48, 61], "near-linear"),  # one that wobbles
        ([5, 5.4, 6.6, 8.6, 11.4, 15], "near-linear"),  # a parabola to 15
        ([10, 10, 10, 10, 50, 60], "threshold collapse"),
        ([10, 11, 12, 14, 15, 45], "threshold collapse"),
        ([10, 10, 10, 60, 60, 60], "threshold collapse"),  # the threshold is in the middle
        ([10, 40, 55, 58, 60, 60], "early drop then flat"),
        ([10, 60, 60, 60, 60, 60], "early drop then flat"),
        ([10, 10, 10, 10, 10, 10], "flat"),
        ([10, 11, 12, 12, 13, 14.9], "flat"),
        ([10, 9, 8, 7, 6, 5.1], "flat"),  # small gains are flat too
        ([10, 15, 20, 25, 20, 10], "irregular"),  # it returns
        ([20, 18, 16, 14, 12, 10], "irregular"),  # it gains
        ([10, 50, 60, 30, 60, 60], "irregular"),  # gained back on the way: 60 %
        ([10, 30, 30.5, 31, 31.5, 52], "irregular"),  # two steps far from each other
    ],
)
def test_curves_of_each_shape_get_its_name(points: list[float], name: str) -> None:
    assert named(points) == name


@pytest.mark.parametrize(
    ("severities", "points", "name"),
    [
        ((0, 1, 3, 5), [10, 20, 40, 60], "near-linear"),
        ((0, 1, 2, 3), [10, 11, 13, 60], "threshold collapse"),
        ((0, 1, 3, 5), [10, 50, 58, 60], "early drop then flat"),
        ((0, 2, 3, 4), [10, 11, 12, 11], "flat"),
        ((0, 1, 5), [10, 20, 60], UNCLEAR),  # two severities fit any bend
        ((0, 3), [10, 60], UNCLEAR),
    ],
)
def test_some_severities_are_named_if_they_are_three(
    severities: tuple[int, ...], points: list[float], name: str
) -> None:
    assert named(points, severities) == name


def test_five_points_are_no_longer_flat() -> None:
    assert named([0.2 * 100, 21, 22, 23, 24, 24.99]) == "flat"
    assert named([0.2 * 100, 21, 22, 23, 24, 25]) == "near-linear"


@pytest.mark.parametrize("power", np.geomspace(0.05, 20, 60))
def test_a_curve_bent_once_is_never_irregular(power: float) -> None:
    # What the thresholds were chosen for: no gap between a line and a concentrated drop.
    places = np.arange(6) / 5
    name = named(list(10 + 60 * places**power))
    late, early = 1 - 0.6**power, 0.4**power
    expected = "near-linear"
    if max(late, early) >= 0.7:
        expected = "threshold collapse" if late > early else "early drop then flat"
    assert name == expected


curves = st.lists(st.integers(0, 400), min_size=6, max_size=6).map(
    lambda values: np.array(values) / 1000
)


@given(curves, st.integers(0, 400))
def test_what_an_untouched_model_errs_does_not_matter(errors: np.ndarray, constant: int) -> None:
    assert name_shapes(errors, FIVE) == name_shapes(errors + constant / 1000, FIVE)


@given(curves, st.integers(2, 3))
def test_a_larger_drop_has_the_same_shape_once_it_is_one(errors: np.ndarray, factor: int) -> None:
    name = name_shapes(errors, FIVE)
    if name != "flat" and errors[-1] - errors[0] >= 0.05:
        assert name_shapes(errors * factor, FIVE) == name


@given(curves, st.sampled_from([0.5, 2.0, 10.0]))
def test_the_unit_of_severity_does_not_matter(errors: np.ndarray, unit: float) -> None:
    assert name_shapes(errors, FIVE) == name_shapes(errors, [unit * s for s in FIVE])


@given(st.lists(curves, min_size=1, max_size=5))
def test_many_curves_are_named_as_one_by_one(errors: list[np.ndarray]) -> None:
    together = name_shapes(np.stack(errors), FIVE)
    assert together.tolist() == [str(name_shapes(each, FIVE)) for each in errors]


@given(curves)
def test_a_curve_turned_round_swaps_early_and_late(errors: np.ndarray) -> None:
    rising = np.sort(errors)
    turned = rising[0] + rising[-1] - rising[::-1]  # flat where it fell, from the other end
    names = {str(name_shapes(rising, FIVE)), str(name_shapes(turned, FIVE))}
    if "early drop then flat" in names:
        # A window in the middle, of which the mirror is in the middle too, may hold as much.
        assert names <= {"early drop then flat", "threshold collapse"}
        assert len(names) == 2
    elif "threshold collapse" not in names:
        assert len(names) == 1


def with_errors(errors: list[list[int]], images: int, corruptions: tuple[str, ...] = ("fog",)):
    """A record of one model with so many images wrong, by corruption, untouched first."""
    record = made_record(["m"], images, corruptions=corruptions, attacks=())
    place = np.arange(images)
    right = np.stack([[place >= wrong for wrong in curve] for curve in errors]).astype(np.uint8)
    clean = {**record.clean, "right": right[:1, 0]}
    corrupted = {**record.corrupted, "right": right[None, :, 1:]}
    return dataclasses.replace(record, clean=clean, corrupted=corrupted)


def test_the_numbers_of_a_curve_are_those_of_a_pencil() -> None:
    record = with_errors([[20, 24, 30, 60, 100, 120]], 200)
    curve = severity_curves(record)[0]["corruptions"]["fog"]
    assert curve["images"] == 200
    assert curve["severities"] == [0, 1, 2, 3, 4, 5]
    assert curve["errors"] == pytest.approx([0.1, 0.12, 0.15, 0.3, 0.5, 0.6])
    assert curve["drop"] == pytest.approx(0.5)
    assert curve["largest_drop"] == pytest.approx(0.5)
    assert curve["first_share"] == pytest.approx(0.05 / 0.5)
    assert curve["last_share"] == pytest.approx(0.3 / 0.5)
    assert curve["steepest"] == {"from": 2.0, "to": 4.0, "share": pytest.approx(0.35 / 0.5)}
    assert curve["largest_step"] == {"from": 3, "to": 4, "drop": pytest.approx(0.2)}
    assert curve["gained_back"] == 0
    slope, _ = np.polyfit(range(6), curve["errors"], 1)
    assert curve["line"]["per_severity"] == pytest.approx(slope)
    r = np.corrcoef(range(6), curve["errors"])[0, 1]
    assert curve["line"]["r2"] == pytest.approx(r**2)
    low, high = curve["drop_interval"]
    # The same images stay wrong: 100 of 200 fell, whose normal interval is 0.5 ± 0.069.
    assert (low, high) == pytest.approx((0.431, 0.569), abs=0.01)


def test_a_clear_curve_is_agreed_on_and_one_at_a_border_is_not() -> None:
    clear = with_errors([[100, 200, 300, 400, 500, 600]], 1000)
    curve = severity_curves(clear)[0]["corruptions"]["fog"]
    assert (curve["shape"], curve["shape_share"]) == ("near-linear", 1.0)
    few = with_errors([[4, 5, 5, 6, 6, 6]], 40)  # 5 points: one image is half of them
    curve = severity_curves(few)[0]["corruptions"]["fog"]
    assert curve["shape"] == UNCLEAR
    assert curve["shape_share"] is None
    assert max(curve["shape_shares"].values()) < 1
    assert sum(curve["shape_shares"].values()) == pytest.approx(1)
    assert set(curve["shape_shares"]) <= set(SHAPES)


def test_the_share_that_agrees_is_that_of_a_plain_bootstrap() -> None:
    record = with_errors([[20, 24, 30, 50, 90, 120]], 200)
    curve = severity_curves(record)[0]["corruptions"]["fog"]
    right = np.concatenate([record.clean["right"], record.corrupted["right"][0, 0]])
    generator, same = np.random.default_rng(1), 0
    for _ in range(2000):
        rows = generator.integers(0, 200, 200)
        same += str(name_shapes((right[:, rows] == 0).mean(axis=1), FIVE)) == curve["shape"]
    # The standard error of 1000 and 2000 draws is below 0.02 together.
    assert curve["shape_share"] == pytest.approx(same / 2000, abs=0.06)
    assert 0.5 < curve["shape_share"] < 1


def test_images_that_miss_a_severity_do_not_count() -> None:
    record = with_errors([[20, 24, 30, 60, 100, 120]], 200)
    right = record.corrupted["right"].copy()
    right[0, 0, 2, 100:] = 255
    damaged = dataclasses.replace(record, corrupted={**record.corrupted, "right": right})
    curve = severity_curves(damaged)[0]["corruptions"]["fog"]
    assert curve["images"] == 100
    assert curve["errors"] == pytest.approx([0.2, 0.24, 0.3, 0.6, 1.0, 1.0])


def test_a_curve_of_no_images_is_unclear() -> None:
    record = with_errors([[20, 24, 30, 60, 100, 120]], 200)
    lost = {**record.corrupted, "right": np.full_like(record.corrupted["right"], 255)}
    curve = severity_curves(dataclasses.replace(record, corrupted=lost))[0]["corruptions"]["fog"]
    assert (curve["images"], curve["shape"], curve["errors"]) == (0, UNCLEAR, None)


def test_shares_of_a_drop_that_is_none_are_not_told() -> None:
    record = with_errors([[20] * 6], 200)
    curve = severity_curves(record)[0]["corruptions"]["fog"]
    assert (curve["shape"], curve["shape_share"]) == ("flat", 1.0)
    assert curve["steepest"] is curve["first_share"] is curve["last_share"] is None
    assert curve["line"] == {"per_severity": 0.0, "r2": None}
    # No image of 200 moved: Newcombe's interval still has the width that 200 pairs allow.
    low, high = curve["drop_interval"]
    assert low == pytest.approx(-high)
    assert 0.0 < high < 0.06


def test_a_record_without_corruptions_has_no_curves() -> None:
    assert severity_curves(made_record(corruptions=())) == []
