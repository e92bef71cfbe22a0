"""Comparisons: what is tested, how replicates fold, and that verdicts follow from the images."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from comparison_case import AXES, record, recounted, trained
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import compare
from benchmarks.comparison_measures import median_interval
from benchmarks.corruption_aggregates import Verdicts, corruption_aggregates
from benchmarks.corruption_differences import Resampling, corruption_differences
from benchmarks.intervals import student_mean
from benchmarks.significance import holm, mcnemar

FGSM, ASCENT = "fgsm(eps=0.1)", "sign-ascent(confidence=0.9, eps=None)"


def row(found: dict[str, Any], name: str) -> dict[str, Any]:
    (mine,) = (each for each in found["rows"] if each["name"] == name)
    return mine


def number(found: dict[str, Any], name: str, key: str) -> dict[str, Any]:
    return row(found, name)["numbers"][key]


def test_numbers_are_those_of_the_record() -> None:
    mine = record({"a": 0.1, "b": 0.3}, baseline="a")
    found = compare(mine)
    json.dumps(found, allow_nan=False)
    for m, name in enumerate("ab"):
        for key, stored in {
            "clean_error": "clean_error",
            "worst_case_robust_accuracy": "worst_case_robust_accuracy",
            "mean_corruption_error": "mean_corruption_error",
            "mce": "mce",
            "relative_mce": "relative_mce",
        }.items():
            here = number(found, name, key)
            assert here["value"] == mine.aggregates[stored][m]
            assert here["interval"] == mine.aggregates[f"{stored}_interval"][m].tolist()
            assert (here["over"], here["count"], here["spread"]) == ("images", 80, None)
        for f, family in enumerate(AXES.families):
            key = f"family_mean_error:{family}"
            assert number(found, name, key)["value"] == mine.aggregates["family_mean_error"][m, f]
        for a, attack in enumerate((FGSM, ASCENT)):
            for key in ("robust_accuracy", "success_rate", "mean_pixel_change"):
                here = number(found, name, f"{key}:{attack}")
                assert here["value"] == mine.aggregates[key][m, a]
                assert here["interval"] == mine.aggregates[f"{key}_interval"][m, a].tolist()
            here = number(found, name, f"pixels_over_threshold@0.1:{attack}")
            assert here["value"] == mine.aggregates["pixels_over_threshold"][m, a, 1]
        assert number(found, name, f"success_rate:{FGSM}")["count"] == mine.clean["right"][m].sum()
        top5 = (mine.clean["rank"][m] >= 5).mean()
        assert number(found, name, "clean_top5_error")["value"] == top5
    assert found["baseline"] == "a"
    assert all(each["versus"] is None for each in row(found, "a")["numbers"].values())
    titles = {each["key"]: each["title"] for each in found["measures"]}
    assert titles[f"success_rate:{ASCENT}"].startswith("success to 90 %")


def test_rates_are_tested_on_the_images_that_both_were_measured_on() -> None:
    mine = record({"a": 0.1, "b": 0.3})
    mine.clean["right"][0, :9] = 255
    found = compare(recounted(mine))
    wrong = mine.clean["right"][:, 9:] == 0
    ones, others = int((wrong[1] & ~wrong[0]).sum()), int((wrong[0] & ~wrong[1]).sum())
    versus = number(found, "b", "clean_error")["versus"]
    assert versus["p"] == mcnemar(ones, others)
    assert versus["difference"] == pytest.approx((ones - others) / 71)
    assert "McNemar's exact test over the 71 images" in versus["test"]
    assert number(found, "b", "clean_error")["count"] == 80
    given = (mine.attacked["attacked"][:, 1] == 1).all(axis=0)
    fooled = mine.attacked["success"][:, 1] == 1
    versus = number(found, "b", f"success_rate:{ASCENT}")["versus"]
    assert versus["difference"] == pytest.approx(
        fooled[1, given].mean() - fooled[0, given].mean(), abs=1e-12
    )


def test_a_budget_decides_whether_success_or_what_holds_is_tested() -> None:
    found = compare(record({"a": 0.1, "b": 0.3}))
    better = {each["key"]: each["better"] for each in found["measures"]}
    assert better[f"robust_accuracy:{FGSM}"] == "higher"
    assert better[f"success_rate:{FGSM}"] is None
    assert better[f"robust_accuracy:{ASCENT}"] is None
    assert better[f"success_rate:{ASCENT}"] == "lower"
    assert number(found, "b", f"success_rate:{FGSM}")["versus"] is None


def test_pixel_change_is_compared_on_common_successes() -> None:
    mine = record({"a": 0.1, "b": 0.3})
    common = (mine.attacked["success"][:, 1] == 1).all(axis=0)
    change = mine.attacked["average_pixel_change"][:, 1]
    versus = number(compare(mine), "b", f"mean_pixel_change:{ASCENT}")["versus"]
    assert versus["difference"] == pytest.approx((change[1] - change[0])[common].mean(), rel=1e-6)
    assert f"{common.sum()} common successes" in versus["test"]
    assert versus["verdict"] == "worse"  # it takes less to fool it


def test_a_budget_makes_pixel_change_neither_good_nor_bad() -> None:
    found = compare(record({"a": 0.1, "b": 0.3}))
    better = {each["key"]: each["better"] for each in found["measures"]}
    for name in ("mean_pixel_change", "median_pixel_change", "pixels_over_threshold@0.01"):
        assert better[f"{name}:{ASCENT}"] == "higher"
        assert better.get(f"{name}:{FGSM}") is None
    assert number(found, "b", f"mean_pixel_change:{FGSM}")["versus"] is None


def test_medians_count_failures_as_infinite() -> None:
    mine = record({"a": 0.1, "b": 0.2})
    found = compare(mine)
    given = (mine.attacked["attacked"][:, 1] == 1).all(axis=0)
    success, change = mine.attacked["success"][:, 1], mine.attacked["average_pixel_change"][:, 1]
    moved = np.where(success == 1, change, np.inf)[:, given].astype(np.float64)
    versus = number(found, "b", f"median_pixel_change:{ASCENT}")["versus"]
    medians = np.median(moved, axis=1)
    assert versus["difference"] == pytest.approx(medians[1] - medians[0])
    assert "failure counted as infinite" in versus["test"]
    mine.attacked["success"][1, 1, :70] = 0  # now more than half fail
    changed = number(compare(recounted(mine)), "b", f"median_pixel_change:{ASCENT}")
    assert (changed["value"], changed["interval"], changed["versus"]) == (None, None, None)


def test_corruption_numbers_differ_as_the_aggregates_do() -> None:
    mine = record({"a": 0.1, "b": 0.3, "c": 0.2}, baseline="c")
    found = compare(mine, baseline="a")
    assert found["baseline"] == "a"
    for key in ("mean_corruption_error", "mce", "relative_mce", "family_mean_error:noise"):
        values = [number(found, name, key)["value"] for name in "ab"]
        versus = number(found, "b", key)["versus"]
        assert versus["difference"] == pytest.approx(values[1] - values[0], abs=1e-12)
        low, high = versus["interval"]
        assert low < versus["difference"] < high
        assert "the baseline of mCE drawn together" in versus["test"]


def test_differences_from_the_baseline_of_mce_are_those_of_its_own_interval() -> None:
    """mCE of the baseline is 1 in every resample: the difference is mCE - 1, interval and all."""
    mine = record({"a": 0.1, "b": 0.3}, baseline="a")
    verdicts = [Verdicts(mine.clean["right"][m], mine.corrupted["right"][m]) for m in (0, 1)]
    alone = corruption_aggregates(AXES, verdicts[1], verdicts[0], 3)
    apart = corruption_differences(
        AXES, verdicts[1:], verdicts[:1], verdicts[0], Resampling(3, 1000)
    )["mce"]
    assert apart.images == 80
    assert apart.difference.value == pytest.approx(alone["mce"] - 1)
    ends = np.array([apart.difference.low, apart.difference.high])
    assert ends == pytest.approx(alone["mce_interval"] - 1)


def test_only_finished_cells_count() -> None:
    mine = record({"a": 0.1, "b": 0.3}, baseline="a")
    mine.corrupted["right"][1, 0, 0, :20] = 255  # of gaussian noise, on one model
    found = compare(recounted(mine))
    versus = number(found, "b", "mean_corruption_error")["versus"]
    wrong = (mine.corrupted["right"] == 0)[..., 20:].mean(axis=(1, 2, 3))
    assert versus["difference"] == pytest.approx(wrong[1] - wrong[0])
    assert "over 60 images" in versus["test"]
    whole = number(found, "b", "family_mean_error:weather")["versus"]
    assert "over 80 images" in whole["test"]


def test_replicates_fold_as_numpy_has_it() -> None:
    names = {
        f"{kind}-{seed}": rate + seed / 60
        for kind, rate in (("plain", 0.1), ("noisy", 0.4))
        for seed in range(3)
    }
    descriptions = [trained(seed) for seed in range(3)] + [
        trained(seed, defenses=["noisy(std=0.1)"], trained_on_corruptions=["gaussian_noise"])
        for seed in range(3)
    ]
    mine = record(names, descriptions=descriptions, baseline="plain-0")
    found = compare(mine)
    plain, noisy = found["rows"]
    assert [plain["name"], noisy["name"]] == [
        "resnet20(width=4), plain",
        "resnet20(width=4), noisy",
    ]
    assert noisy["models"] == ["noisy-0", "noisy-1", "noisy-2"]
    assert (noisy["seeds"], noisy["defenses"]) == ([0, 1, 2], ["noisy(std=0.1)"])
    assert noisy["trained_on_corruptions"] == ["gaussian_noise"]
    assert noisy["parameters"] == 100
    for key in ("clean_error", "mce"):
        values = mine.aggregates[key][3:]
        here = noisy["numbers"][key]
        assert (here["over"], here["count"]) == ("seeds", 3)
        assert here["value"] == pytest.approx(values.mean())
        assert here["spread"] == pytest.approx(values.std(ddof=1))
        assert here["interval"] == pytest.approx(student_mean(values).clip(0, None).tolist())
        versus = here["versus"]
        assert versus["test"] == "Welch's t-test between seeds (3 and 3)"
        assert versus["difference"] == pytest.approx(
            values.mean() - mine.aggregates[key][:3].mean()
        )
    apart = compare(mine, fold=False)
    assert [each["name"] for each in apart["rows"]] == list(names)
    assert "McNemar" in number(apart, "noisy-0", "clean_error")["versus"]["test"]


def test_a_row_of_replicates_is_called_as_their_suite_calls_them() -> None:
    """With one seed the name in the record has no seed: the row must be the same with three."""
    names = [f"fine-tuned, fooling {rate}, seed {seed}" for rate in (5, 20) for seed in range(2)]
    descriptions = [
        trained(seed, defenses=["hard-negatives"], training={"lr": rate})
        for rate in (5, 20)
        for seed in range(2)
    ]
    mine = record(dict.fromkeys(names, 0.1), descriptions=descriptions, baseline=names[0])
    found = [each["name"] for each in compare(mine)["rows"]]
    assert found == ["fine-tuned, fooling 5", "fine-tuned, fooling 20"]


def test_one_model_against_replicates_is_tested_over_images() -> None:
    descriptions = [trained(0), trained(1), {}]
    mine = record({"a": 0.1, "b": 0.15, "c": 0.4}, descriptions=descriptions)
    found = compare(mine)
    wrong = mine.clean["right"] == 0
    versus = number(found, "c", "clean_error")["versus"]
    assert versus["difference"] == pytest.approx(wrong[2].mean() - wrong[:2].mean())
    assert versus["test"].startswith("bootstrap")
    assert versus["test"].endswith("says nothing of others")
    errors = (mine.corrupted["right"] == 0).mean(axis=(1, 2, 3))
    versus = number(found, "c", "mean_corruption_error")["versus"]
    assert versus["difference"] == pytest.approx(errors[2] - errors[:2].mean())


def test_seeds_that_do_not_differ_have_no_interval_and_are_tested_over_images() -> None:
    descriptions = [trained(seed, defenses=[d] * bool(d)) for d in ("", "noisy") for seed in (0, 1)]
    mine = record(["a", "b", "c", "d"], descriptions=descriptions)
    mine.clean["right"][:2], mine.clean["right"][2:] = 1, np.arange(80) % 2
    versus = number(compare(recounted(mine)), "resnet20(width=4), noisy", "clean_error")
    assert (versus["value"], versus["interval"], versus["spread"]) == (0.5, None, 0)
    assert versus["versus"]["test"].startswith("bootstrap")
    assert versus["versus"]["verdict"] == "worse"


@pytest.mark.parametrize(
    "other",
    [
        trained(1, arch="mlp"),
        trained(1, training={"epochs": 4, "lr": 0.1}),
        trained(1, data={"whole_digest": "other"}),
        trained(1, versions={"torch": "2.1", "my-package": "1"}),
        trained(1, data="d"),
        trained(0),  # another epoch of the same training
        {},
    ],
)
def test_what_is_no_replicate_is_a_row(other: dict[str, Any]) -> None:
    found = compare(record(["a", "b"], descriptions=[trained(0), other]))
    assert [each["name"] for each in found["rows"]] == ["a", "b"]


def test_rows_of_the_same_words_are_told_apart() -> None:
    descriptions = [
        trained(seed, defenses=[spec], training={"lr": lr})
        for spec, lr in (("noisy(std=0.1)", 1), ("noisy(std=0.2)", 1), ("noisy(std=0.2)", 2))
        for seed in (0, 1)
    ]
    found = compare(record(list("abcdef"), descriptions=descriptions))
    assert [each["name"] for each in found["rows"]] == [
        "resnet20(width=4), noisy(std=0.1)",
        "resnet20(width=4), noisy(std=0.2) [c ...]",
        "resnet20(width=4), noisy(std=0.2) [e ...]",
    ]


@settings(max_examples=10)
@given(st.integers(0, 1000), st.floats(0.05, 0.6), st.floats(0.05, 0.6))
def test_exchanged_models_turn_every_verdict(seed: int, one: float, two: float) -> None:
    mine = record({"a": one, "b": two}, count=40, seed=seed)
    forward, backward = compare(mine, baseline="a"), compare(mine, baseline="b")
    turned = {"better": "worse", "worse": "better", "no difference": "no difference"}
    for key, there in row(forward, "b")["numbers"].items():
        back = number(backward, "a", key)["versus"]
        versus = there["versus"]
        if versus is None or back is None:
            assert versus is back
            continue
        assert versus["difference"] == pytest.approx(-back["difference"], abs=1e-9)
        if min(abs(versus["p_holm"] - 0.05), abs(back["p_holm"] - 0.05)) > 0.02:
            assert versus["verdict"] == turned[back["verdict"]]


def test_the_same_model_twice_shows_no_difference() -> None:
    mine = record({"a": 0.2, "b": 0.2})
    for columns in (mine.clean, mine.attacked, mine.corrupted):
        for values in columns.values():
            values[1] = values[0]
    found = compare(recounted(mine))
    tested = [each["versus"] for each in row(found, "b")["numbers"].values() if each["versus"]]
    assert len(tested) > 10
    for versus in tested:
        assert (versus["verdict"], versus["difference"], versus["p"]) == ("no difference", 0, 1)


def test_the_family_is_everything_that_is_tested() -> None:
    found = compare(record({"a": 0.1, "b": 0.3, "c": 0.5}))
    tested = [
        each["versus"]
        for line in found["rows"]
        for each in line["numbers"].values()
        if each["versus"]
    ]
    assert [each["p_holm"] for each in tested] == holm([each["p"] for each in tested]).tolist()
    assert found["family"].startswith(f"all {len(tested)} tests of this comparison")
    assert {each["verdict"] for each in tested} == {"worse", "no difference", "better"} or {
        each["verdict"] for each in tested
    } == {"worse", "no difference"}


def test_one_model_has_nothing_to_be_compared_with() -> None:
    found = compare(record(["a"]))
    assert found["baseline"] is None
    assert found["family"] == "no tests: there is one row"
    assert all(each["versus"] is None for each in found["rows"][0]["numbers"].values())


def test_a_record_without_corruptions_or_attacks() -> None:
    clean_only = compare(record({"a": 0.1, "b": 0.3}, corrupted=False, attacks=()))
    assert [each["key"] for each in clean_only["measures"]] == ["clean_error", "clean_top5_error"]
    no_baseline = compare(record({"a": 0.1, "b": 0.3}))
    assert "mce" not in {each["key"] for each in no_baseline["measures"]}


def test_what_was_not_measured_of_a_model_is_not_known() -> None:
    mine = record({"a": 0.1, "b": 0.3}, baseline="a")
    for name in ("attacked", "success", "misclassified"):
        mine.attacked[name][1, 0] = 255
    here = number(compare(recounted(mine)), "b", f"robust_accuracy:{FGSM}")
    assert here == {
        "value": None,
        "interval": None,
        "over": "images",
        "count": 0,
        "spread": None,
        "versus": None,
    }


def test_the_baseline_may_be_named_by_a_model_of_its_row() -> None:
    mine = record(["a", "b", "c"], descriptions=[{}, trained(0), trained(1)])
    for name in ("b", "resnet20(width=4), plain"):
        assert compare(mine, baseline=name)["baseline"] == "resnet20(width=4), plain"
    with pytest.raises(ValueError, match="'resnet20' is none"):
        compare(mine, baseline="resnet20")
    published = replace(mine, config=dict(mine.config) | {"baseline": None})
    assert compare(published)["baseline"] == "a"


def test_a_median_is_as_sure_as_its_order_statistics() -> None:
    """Conover's table of the sign test: of 20 values, the 6th and 15th; five are too few."""
    values = np.random.default_rng(0).permutation(np.arange(1.0, 21.0))
    assert median_interval(values) == (6, 15)
    assert np.isnan(median_interval(np.arange(5.0))).all()
    generator = np.random.default_rng(1)
    ends = np.array([median_interval(generator.exponential(size=30)) for _ in range(500)])
    covered = ((ends[:, 0] <= np.log(2)) & (np.log(2) <= ends[:, 1])).mean()
    assert 0.93 < covered < 0.995  # 95.7 % by the binomial distribution, ± 0.9 %
