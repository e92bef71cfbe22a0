"""Errors under corruptions as tables: what stands where, at 80 and 120 columns."""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from rich.console import Console

from attacks.corruptions import CORRUPTIONS
from workbench.corruption_tables import corruption_notes, corruption_tables
from workbench.tables import told_corruptions

FAMILIES = {
    "noise": ["gaussian_noise", "shot_noise", "impulse_noise"],
    "blur": ["defocus_blur", "glass_blur", "motion_blur", "zoom_blur"],
    "weather": ["snow", "frost", "fog", "brightness"],
    "digital": ["contrast", "elastic_transform", "pixelate", "jpeg_compression"],
}
SEVERITIES = (1, 2, 3, 4, 5)


def result(
    model: str = "resnet20",
    *,
    baseline: str | None = None,
    families: Mapping[str, Sequence[str]] = FAMILIES,
    severities: Sequence[int] = SEVERITIES,
    ratio: float | None = None,
) -> dict[str, Any]:
    """What `benchmarks.corruption_results` gives: the error of corruption i is (i + severity) %."""
    corruptions: dict[str, Any] = {}
    for family, names in families.items():
        for name in names:
            first = len(corruptions)
            errors = {str(s): (first + s) / 100 for s in severities}
            mean = sum(errors.values()) / len(errors)
            corruptions[name] = {
                "family": family,
                "errors": errors,
                "mean_error": mean,
                "mean_error_interval": [mean - 0.01, mean + 0.02],
                "ce": 2 * mean if baseline else None,
            }
    entry = {"mean_error": 0.4, "mean_error_interval": [0.3, 0.5], "ratio": ratio}
    return {
        "model": model,
        "images": 500,
        "clean_error": 0.082,
        "clean_error_interval": [0.061, 0.103],
        "corruptions": corruptions,
        "families": dict.fromkeys(families, entry),
        "mean_corruption_error": 0.451,
        "mean_corruption_error_interval": [0.43, 0.47],
        "mce": 0.767 if baseline else None,
        "mce_interval": [0.75, 0.78],
        "relative_mce": 1.0495 if baseline else None,
        "relative_mce_interval": [1.01, 1.09],
        "over": len(corruptions),
        "baseline": {"name": baseline, "source": "measured"} if baseline else None,
    }


def drawn(
    results: Sequence[dict[str, Any]],
    width: int = 120,
    trained_on: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """The tables as a terminal of that width shows them."""
    stream = io.StringIO()
    console = Console(file=stream, width=width)
    for table in corruption_tables(results, width, trained_on or {}):
        console.print(table)
    return stream.getvalue()


def cells(text: str, label: str) -> list[str]:
    """The values of the first line with a label."""
    line = next(line for line in text.splitlines() if re.match(rf"│ +{re.escape(label)} *│", line))
    return [cell.strip() for cell in line.split("│")[2:-1]]


@pytest.mark.parametrize("width", [80, 120])
def test_one_model_has_its_severities_across_the_mean_and_ce(width: int) -> None:
    text = drawn([result(baseline="alexnet")], width)
    assert cells(text, "gaussian_noise") == [
        *("1.0", "2.0", "3.0", "4.0", "5.0"),
        "3.0 [2.0, 5.0]",
        "6.0",
    ]
    # The fifteenth: 14 + severity.
    last = cells(text, "jpeg_compression")
    assert last == ["15.0", "16.0", "17.0", "18.0", "19.0", "17.0 [16.0, 19.0]", "34.0"]
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert "CE in % of alexnet" in text


def test_an_error_of_100_percent_everywhere_still_fits_80_columns() -> None:
    worst = result(baseline="alexnet")
    for entry in worst["corruptions"].values():
        entry |= {"errors": dict.fromkeys("12345", 1.0), "mean_error": 1.0, "ce": 1.234}
        entry["mean_error_interval"] = [1.0, 1.0]
    text = drawn([worst], 80)
    values = cells(text, "elastic_transform")
    assert values == [*["100"] * 5, "100 [100, 100]", "123.4"]
    assert max(map(len, text.splitlines())) <= 80


def test_families_come_in_their_order_and_are_summed_up_below() -> None:
    text = drawn([result()])
    wanted = [name for family, names in FAMILIES.items() for name in (family, *names)]
    found = re.findall(r"^│ +([a-z_]+) +│", text, flags=re.MULTILINE)
    assert found == [*wanted, "clean"]
    assert cells(text, "clean") == ["8.2 [6.1, 10.3]"]
    assert cells(text, "noise, mean of 3") == ["40.0 [30.0, 50.0]"]
    assert cells(text, "digital, mean of 4") == ["40.0 [30.0, 50.0]"]


def test_without_a_baseline_only_the_unnormalised_mean_is_told() -> None:
    text = drawn([result()])
    assert cells(text, "mean corruption error, unnormalised") == ["45.1 [43.0, 47.0]"]
    assert "CE" not in text
    assert "relative" not in text


def test_the_baseline_is_named_wherever_it_counts() -> None:
    text = drawn([result(baseline="small-alexnet", ratio=0.874)])
    assert cells(text, "mCE (baseline small-alexnet)") == ["76.7 [75.0, 78.0]"]
    assert cells(text, "relative mCE (baseline small-alexnet)") == ["105.0 [101.0, 109.0]"]
    assert cells(text, "relative to small-alexnet:") == [""]
    assert cells(text, "blur") == [""] * 7  # the title of the family's corruptions
    assert text.count("0.87") == 4


def test_means_over_less_than_the_literature_takes_say_so() -> None:
    few = result(baseline="alexnet", families={"blur": FAMILIES["blur"]}, severities=(1, 3))
    text = drawn([few])
    assert cells(text, "defocus_blur") == ["1.0", "3.0", "2.0 [1.0, 4.0]", "4.0"]
    assert cells(text, "mCE of 4 at severities 1, 3 (baseline") == ["76.7 [75.0, 78.0]"]
    assert cells(text, "mean corruption error of 4 at severities") == ["45.1 [43.0, 47.0]"]


def test_fifteen_of_nineteen_are_told_apart_from_all() -> None:
    extra = ["speckle_noise", "gaussian_blur", "spatter", "saturate"]
    nineteen = result(baseline="alexnet", families={**FAMILIES, "extra": extra})
    assert "mCE of 15 (baseline alexnet)" in drawn([{**nineteen, "over": 15}])
    assert "mCE of 19 (baseline alexnet)" in drawn([nineteen])


def test_several_models_stand_side_by_side_as_many_as_fit() -> None:
    results = [result(name) for name in ("first", "second", "third")]
    wide, narrow = drawn(results, 120), drawn(results, 80)
    assert cells(wide, "fog") == ["12.0 [11.0, 14.0]"] * 3
    assert cells(wide, "clean") == ["8.2 [6.1, 10.3]"] * 3
    assert cells(narrow, "fog") == ["12.0 [11.0, 14.0]"] * 2
    assert max(map(len, narrow.splitlines())) <= 80
    heads = [line for line in narrow.splitlines() if line.startswith("┃")]
    assert [re.findall("first|second|third", head) for head in heads] == [
        ["first", "second"],
        ["third"],
    ]


def test_a_model_trained_on_test_corruptions_is_marked_in_every_table() -> None:
    trained_on = {"resnet20": ["fog", "snow"], "other": []}
    told = "† resnet20: trained on test corruptions (fog, snow)"
    alone = drawn([result()], trained_on=trained_on)
    assert alone.count(told) == 2
    assert alone.count("resnet20 †") == 2
    beside = drawn([result(), result("other")], trained_on=trained_on)
    assert beside.count(told) == 1
    assert "other †" not in beside


def test_what_was_not_measured_is_a_dash() -> None:
    unknown = result(baseline="alexnet")
    unknown |= {"clean_error": None, "clean_error_interval": None}
    unknown |= {"relative_mce": None, "relative_mce_interval": None}
    unknown["corruptions"]["fog"] |= {"mean_error": None, "mean_error_interval": [None, None]}
    unknown["corruptions"]["fog"]["errors"]["5"] = None
    text = drawn([unknown])
    assert cells(text, "clean") == ["-"]
    assert cells(text, "relative mCE (baseline alexnet)") == ["-"]
    assert cells(text, "fog")[4:6] == ["-", "-"]


def description(corruption: str = "fog", **changed: object) -> dict[str, object]:
    usual = {"corruption": corruption, "severity": 1, "seed": 7, "exact": False, "jpeg85": False}
    return usual | changed


def test_stored_sets_are_named() -> None:
    stored = {"stored": "CIFAR-10-C", "layout": "cifar-c", "digest": "abc"}
    assert corruption_notes([stored] * 5, 32) == ["corrupted images read from CIFAR-10-C (cifar-c)"]


def test_notes_say_what_else_decides_the_numbers() -> None:
    frost = description("frost", textures="procedural")
    assert corruption_notes([description(), frost], 32) == [
        "corrupted in memory: strengths for 32x32, draws of seed 7",
        "frost: our own textures, not the published photographs",
    ]
    photographs = description("frost", textures="abc", exact=True)
    assert corruption_notes([photographs], 224) == [
        "corrupted in memory: strengths for 224x224, draws of seed 7, in float64",
        "frost: textures with digest abc",
        "without the JPEG of quality 85 that released ImageNet-C files have",
    ]
    assert corruption_notes([description(jpeg85=True)], 64) == [
        "corrupted in memory: strengths for 64x64, draws of seed 7",
        "JPEG of quality 85 after each corruption",
    ]


def test_a_model_that_has_met_them_all_is_told_in_a_word():
    assert told_corruptions(list(CORRUPTIONS)[::-1]) == "all 19"
    assert told_corruptions(["fog"]) == "fog"
