"""The views of a record as tables: what stands where, what fits, and what is refused."""

import dataclasses
import io
import json
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from views_case import made_record

from benchmarks.calibration import calibration
from benchmarks.class_tables import class_breakdown, class_tables
from benchmarks.reading import Record
from benchmarks.severity_curves import severity_curves
from workbench.curve_tables import because, sparkline
from workbench.errors import UsageError
from workbench.record_views import VIEWS, find_condition, view_results, view_tables

PGD = "pgd(eps=0.03137254901960784, step_size=None, steps=10, norm='linf', random_start=False, "
ATTACKS = (
    PGD + "restarts=1, loss='ce', stop='success')",
    PGD + "restarts=2, loss='ce', stop='success')",
    "fgsm(eps=0.03137254901960784, loss='ce')",
)


def record(**settings: Any) -> Record:
    return made_record(**({"attacks": ATTACKS} | settings))


def drawn(shown: Record, view: str, width: int = 80, **options: Any) -> str:
    """The tables as a terminal of that width shows them."""
    stream = io.StringIO()
    console = Console(file=stream, width=width)
    for table in view_tables(shown, view, width, **options):
        console.print(table)
    return stream.getvalue()


def cells(text: str, label: str, after: str = "") -> list[str]:
    """The values of the first line with a label, from a heading on."""
    for line in text[text.index(after) :].splitlines():
        values = [cell.strip() for cell in line.split("│")[1:-1]]
        if values and values[0] == label:
            return values[1:]
    raise AssertionError(f"no {label} in\n{text}")


def with_errors(curves: dict[str, list[int]], models: tuple[str, ...] = ("m",)) -> Record:
    """Of 200 images so many are wrong, by corruption, untouched first; the same of all models."""
    made = made_record(models, 200, corruptions=tuple(curves), attacks=())
    right = np.stack([[np.arange(200) >= wrong for wrong in curve] for curve in curves.values()])
    right = np.tile(right.astype(np.uint8), (len(models), 1, 1, 1))
    clean = {**made.clean, "right": right[:, 0, 0]}
    return dataclasses.replace(
        made, clean=clean, corrupted={**made.corrupted, "right": right[:, :, 1:]}
    )


CURVES = {
    "gaussian_noise": [20, 21, 20, 22, 20, 21],
    "motion_blur": [20, 90, 110, 112, 115, 120],
    "fog": [20, 20, 22, 21, 120, 180],
    "contrast": [20, 40, 60, 80, 100, 120],
    "jpeg_compression": [20, 90, 60, 20, 18, 20],
}


@pytest.mark.parametrize("width", [80, 100, 120])
def test_one_model_has_its_corruptions_by_family(width: int) -> None:
    text = drawn(with_errors(CURVES), "curves", width)
    at = -2  # the shape and why it is called so come last
    assert cells(text, "gaussian_noise")[at:] == ["flat 100%", "at most 1.0"]
    assert cells(text, "motion_blur")[at:] == ["early drop then flat 100%", "90% in 0-2"]
    assert cells(text, "fog")[at:] == ["threshold collapse 100%", "99% in 3-5"]
    assert cells(text, "contrast")[at:] == ["near-linear 100%", "R² 1.00"]
    assert cells(text, "contrast")[:2] == ["▁▂▃▄▅▅", "10.0→60.0"]
    assert cells(text, "jpeg_compression")[-1].startswith("35.0,")
    assert cells(text, "blur")[0] == ""
    assert text.startswith("m: error over severity 0, 1, 2, 3, 4, 5")
    assert max(map(len, text.splitlines())) <= width
    if width >= 100:  # there is room for drops
        assert cells(text, "contrast")[2].startswith("50.0 [")


def test_several_models_stand_beneath_each_other_by_corruption() -> None:
    text = drawn(with_errors(CURVES, ("first", "second")), "curves")
    for name in ("fog", "contrast"):
        assert cells(text, "first", after=f" {name} ") == cells(text, "second", after=f" {name} ")
    assert cells(text, "second", after=" fog ")[2] == "threshold collapse 100%"
    assert text.count("second") == len(CURVES)


def test_one_corruption_can_be_asked_for() -> None:
    text = drawn(with_errors(CURVES, ("first", "second")), "curves", condition="fog")
    assert "fog" in text
    assert "contrast" not in text


def test_why_a_curve_is_unclear_is_told() -> None:
    few = {"shape": "unclear", "shape_shares": None, "steepest": None}
    assert because(few) == "too few severities"
    shares = {"near-linear": 0.4, "threshold collapse": 0.35, "irregular": 0.25}
    assert because({**few, "shape_shares": shares}) == "linear 40%, collapse 35%"


def test_a_sparkline_reaches_from_none_to_all() -> None:
    assert sparkline([0, 0.124, 0.126, 0.5, 0.99, 1]) == "▁▁▂▅██"


@pytest.mark.parametrize("width", [80, 100, 120, 140])
def test_calibration_has_clean_each_attack_and_the_mean(width: int) -> None:
    shown = record()
    text = drawn(shown, "calibration", width)
    numbers = calibration(shown)
    for place, after in ((0, "clean"), (3, "fgsm(eps=8/255)")):
        entry = numbers[1]["conditions"][place]
        values = cells(text, "two", after=after)
        assert values[0] == f"{100 * entry['error']:.1f}"
        assert f"{entry['brier']:.2f}" in values
        assert any(value.startswith(f"{100 * entry['ece']:.1f} [") for value in values)
    mean = numbers[1]["mean_over_corruptions"]
    assert cells(text, "two", after="mean over")[0] == f"{100 * mean['error']:.1f}"
    assert "fog@1" not in text
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text


def test_calibration_of_a_corruption_has_its_severities() -> None:
    text = drawn(record(models=["one"]), "calibration", condition="fog")
    assert [f"fog@{s}" in text for s in (1, 5)] == [True, True]
    assert "clean" not in text.split("ECE:")[0]


@pytest.mark.parametrize("width", [80, 120])
def test_many_classes_have_their_ten_worst_both_ways(width: int) -> None:
    shown = record(models=["one"], classes=24, images=400)
    text = drawn(shown, "classes", width, condition="fog@5")
    told = class_tables(shown, "fog@5")[0]
    worst = next(each for each in told["classes"] if each["class"] == told["worst_top1"][0])
    first = cells(text, worst["name"], after="by top-1 error")
    assert first[0] == str(worst["images"])
    assert first[1].startswith(f"{100 * worst['top1_error']:.1f} [")
    assert f"{worst['mistaken_for'][0]['name']} ({worst['mistaken_for'][0]['count']})" in text
    assert "the 10 worst of 24 classes by top-5 error" in text
    assert max(map(len, text.splitlines())) <= width


def test_few_classes_are_told_once_and_those_without_an_error_named() -> None:
    shown = made_record(["m"], 40, 3)
    labels = shown.clean["label"]
    perfect = {**shown.clean, "prediction": labels.copy()}
    none = drawn(dataclasses.replace(shown, clean=perfect), "classes")
    assert none.strip() == "m, clean: no top-1 errors in 3 classes"
    perfect["prediction"][0, np.flatnonzero(labels[0] == 1)[0]] = 2
    one = drawn(dataclasses.replace(shown, clean=perfect), "classes")
    assert "without an error: class 0, class 2" in one
    assert "top-5 error" not in one
    assert cells(one, "class 1")[-1] == "class 2 (1)"


def test_one_class_is_told_in_detail() -> None:
    shown = record(models=["one"], images=300)
    text = drawn(shown, "classes", condition="fog", class_name="class 2")
    told = class_breakdown(shown, "class 2", "fog")[0]
    assert "one, fog at severities 1, 2, 3, 4, 5 together: class 2" in text
    assert f"(20 of {len(told['wrong'])};" in text
    first = told["wrong"][0]
    assert cells(text, str(first["id"]))[1] == first["name"]
    assert f"in {len(told['top5_misses'])} of {len(told['wrong'])}" in text


@pytest.mark.parametrize("view", ["curves", "calibration"])
def test_a_model_trained_on_test_corruptions_is_marked(view: str) -> None:
    shown = record()
    training = {"training": {"trained_on_corruptions": ["fog", "snow"]}}
    models = [{"name": "one", "description": {}}, {"name": "two", "description": training}]
    text = drawn(dataclasses.replace(shown, config={**shown.config, "models": models}), view)
    assert "† two: trained on test corruptions (fog, snow)" in text
    assert "two †" in text
    assert "one †" not in text


def test_short_names_are_broken_at_no_width() -> None:
    shown = record(models=["resnet20-plain-0", "resnet20-plain-1"])
    for view in ("curves", "calibration"):
        for width in range(80, 150, 5):
            text = drawn(shown, view, width)
            assert max(map(len, text.splitlines())) <= width
            assert text.count("resnet20-plain-1") == (2 if view == "curves" else 5)


def test_long_names_fit() -> None:
    shown = record(models=["a-model-with-" * 6, "two"], images=200)
    names = [f"Egyptian cat, number {k}, of a long name" for k in range(8)]
    shown = dataclasses.replace(shown, config={**shown.config, "class_names": names})
    for view in [view for view in VIEWS if view != "attention"]:  # of a record that has none
        text = drawn(shown, view, 80)
        assert max(map(len, text.splitlines())) <= 80
    text = drawn(shown, "classes", 80, class_name=names[3], condition="fog")
    assert max(map(len, text.splitlines())) <= 80


def test_the_json_values_are_those_of_the_functions() -> None:
    shown = record()
    assert view_results(shown, "curves")["models"] == severity_curves(shown)
    assert view_results(shown, "calibration", seed=3)["models"] == calibration(shown, seed=3)
    classes = view_results(shown, "classes")
    assert (classes["condition"], classes["models"]) == ("clean", class_tables(shown))
    one = view_results(shown, "classes", condition="fog@2", class_name="3")
    assert one["class"] == "class 3"
    assert one["models"] == class_breakdown(shown, "3", "fog@2")
    for each in (classes, one):
        json.dumps(each, allow_nan=False)


def test_attacks_are_found_as_the_tables_write_them() -> None:
    shown = record()
    assert find_condition(shown, "fgsm") == ATTACKS[2]
    assert find_condition(shown, "pgd(eps=8/255, steps=10, restarts=2)") == ATTACKS[1]
    assert find_condition(shown, ATTACKS[0]) == ATTACKS[0]
    assert find_condition(shown, "fog@3") == "fog@3"
    with pytest.raises(UsageError, match="has 2 conditions 'pgd'"):
        find_condition(shown, "pgd")


@pytest.mark.parametrize(
    ("view", "options", "message"),
    [
        ("curve", {}, "Unknown view 'curve'. Did you mean 'curves'"),
        ("curves", {"condition": "fgsm"}, "which 'fgsm(eps=8/255)' is not"),
        ("curves", {"class_name": "class 1"}, "--class is for --view classes"),
        ("classes", {"class_name": "Class 1"}, "Unknown class 'Class 1'. Did you mean 'class 1'"),
        ("classes", {"class_name": "99"}, "Unknown class '99'"),
        ("classes", {"condition": "fgo@3"}, "no condition 'fgo@3'. Did you mean 'fog@3'"),
        ("calibration", {"condition": "fog@9"}, "no condition 'fog@9'"),
    ],
)
def test_what_the_record_does_not_have_is_refused(
    view: str, options: dict[str, str], message: str
) -> None:
    with pytest.raises(UsageError) as refused:
        view_tables(record(), view, 80, **options)
    assert message in str(refused.value)
    assert len(str(refused.value).splitlines()) <= 2


def test_a_record_of_attacks_alone_has_no_curves_but_the_rest() -> None:
    shown = record(corruptions=())
    with pytest.raises(UsageError, match="no curves over severity"):
        view_tables(shown, "curves", 80)
    assert "mean over" not in drawn(shown, "calibration")
    assert "by top-1 error" in drawn(shown, "classes")
