"""Claims of a study: how they are written, and that verdicts follow from the images."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comparison_case import ATTACKS, record, recounted, trained, write
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from benchmarks.claims import ordered_rows, verdict
from benchmarks.comparison_measures import measures
from benchmarks.intervals import student_mean, wilson
from benchmarks.reading import Record
from benchmarks.replicates import rows
from benchmarks.significance import holm, mcnemar, newcombe
from workbench.console import jsonable
from workbench.errors import UsageError
from workbench.studies.claims import read_claims
from workbench.studies.judging import Verdict, judge
from workbench.studies.verdict_tables import verdict_table

FGSM, ASCENT = ATTACKS
ORDERING = {"measure": "clean-error", "higher": ["bad"], "lower": ["good"]}


def judged(folder: Path, found: Record, **claim: Any) -> Verdict:
    """What one claim about a record comes to, by way of its file."""
    write(folder / "step", found)
    return decided(folder, **claim)


def decided(folder: Path, **claim: Any) -> Verdict:
    claims = read_claims([{"says": "it is so", "record": "step", **claim}], "study.toml")
    (found,) = judge(claims, folder, "small")
    return found


def wrong_on(counts: Mapping[str, int], **settings: Any) -> Record:
    """Models that are wrong on so many of the first of 80 untouched images."""
    found = record(list(counts), corrupted=False, **settings)
    for m, count in enumerate(counts.values()):
        found.clean["right"][m] = np.arange(80) >= count
        found.clean["rank"][m] = np.where(found.clean["right"][m] == 1, 0, 1)
    return recounted(found)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [((10, 40), "reproduced"), ((40, 10), "not reproduced"), ((10, 12), "undecided")],
)
def test_an_ordering_is_decided_by_paired_tests(
    tmp_path: Path, counts: tuple[int, int], expected: str
) -> None:
    good, bad = counts
    found = judged(tmp_path, wrong_on({"good": good, "bad": bad}), **ORDERING)
    assert found.verdict == expected
    (pair,) = found.parts
    both, ones, others = min(good, bad), max(bad - good, 0), max(good - bad, 0)
    assert pair["p"] == pair["p_holm"] == mcnemar(ones, others)
    assert pair["difference"] == pytest.approx((bad - good) / 80)
    assert pair["interval"] == newcombe(both, ones, others, 80 - max(counts))
    assert "McNemar" in pair["test"]
    assert [row["value"] for row in found.rows] == [bad / 80, good / 80]
    assert found.rows[0]["interval"] == tuple(wilson(bad, 80).tolist())


def test_one_pair_the_other_way_refutes_a_claim_that_others_bear_out(tmp_path: Path) -> None:
    claim = {"measure": "clean-error", "higher": ["bad"], "lower": ["good", "fair"]}
    found = judged(tmp_path, wrong_on({"good": 5, "fair": 40, "bad": 20}), **claim)
    assert found.verdict == "not reproduced"
    assert {part["smaller"]: part["shown"] for part in found.parts} == {
        "good": "as claimed",
        "fair": "otherwise",
    }
    p = [mcnemar(15, 0), mcnemar(0, 20)]
    assert [part["p_holm"] for part in found.parts] == holm(p).tolist()
    found = judged(tmp_path / "b", wrong_on({"good": 5, "fair": 19, "bad": 20}), **claim)
    assert found.verdict == "undecided"
    told = printed([found])
    assert "not shown: bad less fair +1.2" in told
    assert "as claimed: 1 of 2 pairs" in told


@settings(max_examples=15)
@given(st.integers(0, 1000), st.floats(0.05, 0.6), st.floats(0.05, 0.6))
def test_exchanging_higher_and_lower_turns_the_verdict(seed: int, one: float, two: float) -> None:
    found = record({"a": one, "b": two}, count=60, seed=seed)
    first, second = rows(found)
    turned = {
        "reproduced": "not reproduced",
        "not reproduced": "reproduced",
        "undecided": "undecided",
        "not testable": "not testable",
    }
    for measure in measures(found):
        (forth,) = ordered_rows(found, measure, [first], [second])
        (back,) = ordered_rows(found, measure, [second], [first])
        if forth.p_holm is not None and abs(forth.p_holm - 0.05) < 0.02:
            continue  # BCa intervals of a difference and its negative differ by the draws
        assert verdict([back.shown]) == turned[verdict([forth.shown])], measure.key


def test_a_claim_whose_every_part_is_untestable_is_not_testable() -> None:
    assert verdict(["nothing to go by"]) == verdict([]) == "not testable"
    assert verdict(["nothing to go by", "as claimed"]) == "undecided"
    assert verdict(["nothing to go by", "otherwise"]) == "not reproduced"


def test_accuracies_are_1_less_errors(tmp_path: Path) -> None:
    mine = wrong_on({"good": 10, "bad": 40})
    claim = {"measure": "clean-accuracy", "higher": ["good"], "lower": ["bad"]}
    found = judged(tmp_path, mine, **claim)
    assert found.verdict == "reproduced"
    assert [row["value"] for row in found.rows] == [70 / 80, 40 / 80]
    assert found.rows[0]["interval"] == pytest.approx(wilson(70, 80).tolist())
    assert found.parts[0]["difference"] == pytest.approx(30 / 80)
    best = {"measure": "clean-accuracy", "best": "good", "among": ["good", "bad"]}
    assert decided(tmp_path, **best).verdict == "reproduced"


@pytest.mark.parametrize(
    ("best", "measure", "expected"),
    [
        ("good", "clean-error", "reproduced"),
        ("bad", "clean-error", "not reproduced"),
        ("good", "mean-pixel-change:sign-ascent", "reproduced"),  # it takes more to fool it
        ("good", "mean-pixel-change:fgsm", "not testable"),  # neither direction is better
    ],
)
def test_the_best_is_better_than_each_other(
    tmp_path: Path, best: str, measure: str, expected: str
) -> None:
    mine = record({"good": 0.1, "bad": 0.5, "worse": 0.6})
    claim = {"measure": measure, "best": best, "among": ["good", "bad", "worse"]}
    found = judged(tmp_path, mine, **claim)
    assert found.verdict == expected, found.reason


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({"at_least": 0.2}, "reproduced"),
        ({"at_least": 0.25}, "undecided"),
        ({"at_least": 0.5}, "not reproduced"),
        ({"at_most": 0.5}, "reproduced"),
        ({"at_most": 0.3}, "undecided"),
        ({"at_most": 0.1}, "not reproduced"),
        ({"at_least": 0.1, "at_most": 0.5}, "reproduced"),
        ({"at_least": 0.1, "at_most": 0.35}, "undecided"),
    ],
)
def test_a_bound_is_kept_where_the_whole_interval_is_beyond_it(
    tmp_path: Path, bounds: dict[str, float], expected: str
) -> None:
    low, high = wilson(24, 80)
    assert (round(low, 2), round(high, 2)) == (0.21, 0.41)
    found = judged(tmp_path, wrong_on({"one": 24}), measure="clean-error", rows="one", **bounds)
    assert found.verdict == expected


def test_one_row_beyond_the_bound_refutes_it(tmp_path: Path) -> None:
    mine = wrong_on({"one": 4, "two": 24})
    claim = {"measure": "clean-error", "rows": ["one", "two"], "at_most": 0.15}
    found = judged(tmp_path, mine, **claim)
    assert found.verdict == "not reproduced"
    told = printed([found])
    assert "claimed: at most 15 %" in told
    assert "outside: two" in told


def costly(errors: Sequence[Sequence[Sequence[int]]], clean: int = 8) -> Record:
    """Models that are wrong on so many of the first of 80 images: [model][corruption][severity].

    The severities are 1, 3 and 5 of Gaussian noise, fog and contrast.
    """
    found = record([f"model {m}" for m in range(len(errors))])
    found.clean["right"][:] = np.arange(80) >= clean
    for place in np.ndindex(len(errors), 3, 3):
        m, k, s = place
        found.corrupted["right"][place] = np.arange(80) >= errors[m][k][s]
    return recounted(found)


COSTS = {
    "rows": ["model 0"],
    "corruption_higher": ["fog", "contrast"],
    "corruption_lower": "gaussian-noise",
}


def test_what_corruptions_cost_is_compared_image_by_image(tmp_path: Path) -> None:
    mine = costly([[[10, 20, 30], [10, 30, 50], [12, 40, 60]]])
    found = judged(tmp_path, mine, **COSTS, severity=5)
    assert found.verdict == "reproduced"
    assert [part["difference"] for part in found.parts] == pytest.approx([20 / 80, 30 / 80])
    assert [part["p_holm"] for part in found.parts] == pytest.approx(
        holm([mcnemar(20, 0), mcnemar(30, 0)])
    )
    assert {row["corruption"]: row["value"] for row in found.rows} == pytest.approx(
        {"fog": 42 / 80, "contrast": 52 / 80, "gaussian_noise": 22 / 80}
    )
    assert found.rows[0]["interval"] == newcombe(8, 42, 0, 30)
    swapped = {
        "rows": ["model 0"],
        "corruption_higher": "gaussian_noise",
        "corruption_lower": ["fog", "contrast"],
    }
    assert decided(tmp_path, **swapped, severity=5).verdict == "not reproduced"
    assert decided(tmp_path, **swapped, severity=1).verdict == "undecided"


def test_without_a_severity_it_is_the_mean_over_those_measured(tmp_path: Path) -> None:
    mine = costly([[[10, 20, 30], [40, 50, 60], [40, 50, 60]]])
    found = judged(tmp_path, mine, **COSTS)
    assert found.verdict == "reproduced"
    assert found.measure is not None
    assert found.measure["severities"] == [1, 3, 5]
    assert {row["corruption"]: row["value"] for row in found.rows} == pytest.approx(
        {"fog": 42 / 80, "contrast": 42 / 80, "gaussian_noise": 12 / 80}
    )
    by_image = np.array([(np.arange(80) < wrong) for wrong in (40, 50, 60, 10, 20, 30)])
    apart = by_image[:3].mean(axis=0) - by_image[3:].mean(axis=0)
    low, high = found.parts[0]["interval"]
    assert found.parts[0]["difference"] == pytest.approx(apart.mean())
    half = 1.96 * apart.std() / 80**0.5  # the normal approximation; BCa is skewed a little
    assert (low, high) == pytest.approx((apart.mean() - half, apart.mean() + half), abs=0.02)
    assert "bootstrap" in found.parts[0]["test"]


def test_only_images_that_were_measured_throughout_count(tmp_path: Path) -> None:
    mine = costly([[[10, 20, 30], [10, 30, 50], [12, 40, 60]]])
    mine.clean["right"][0, :10] = 255
    mine.corrupted["right"][0, 1, 2, 10:15] = 255  # fog
    found = judged(tmp_path, recounted(mine), **COSTS, severity=5)
    fog = next(part for part in found.parts if part["larger"] == "fog")
    assert fog["difference"] == pytest.approx(20 / 65)
    assert "65 images" in fog["test"]


def test_every_model_of_a_row_has_to_show_it(tmp_path: Path) -> None:
    mine = costly([[[10, 20, 30], [10, 30, 50], [12, 40, 60]]] * 2)
    mine.corrupted["right"][1, 1, 2] = mine.corrupted["right"][1, 0, 2]  # fog as noise
    described = [
        {"name": name, "digest": name, "description": trained(seed)}
        for seed, name in enumerate(mine.models)
    ]
    mine = recounted(replace(mine, config={**mine.config, "models": described}))
    assert [row.models for row in rows(mine)] == [(0, 1)]
    claim = {**COSTS, "rows": "resnet20(width=4)", "severity": 5}
    found = judged(tmp_path, mine, **claim)
    assert found.verdict == "undecided"
    assert [part["shown"] for part in found.parts] == [
        *("as claimed", "as claimed"),
        *("open", "as claimed"),
    ]
    assert {row["name"] for row in found.rows} == {"model 0", "model 1"}


def test_the_drop_under_a_corruption_has_bounds_too(tmp_path: Path) -> None:
    mine = costly([[[10, 20, 30], [10, 30, 50], [8, 8, 9]]])
    mild = {"rows": "model 0", "corruption": "contrast", "at_most": 0.1}
    assert judged(tmp_path, mine, **mild).verdict == "reproduced"
    severe = {"rows": "model 0", "corruption": "fog", "severity": 5}
    assert decided(tmp_path, **severe, at_least=0.4).verdict == "reproduced"
    assert decided(tmp_path, **severe, at_least=0.5).verdict == "undecided"
    assert decided(tmp_path, **severe, at_most=0.1).verdict == "not reproduced"


@pytest.mark.parametrize(
    ("corruption", "shape", "expected"),
    [
        ("fog", "threshold collapse", "reproduced"),
        ("fog", "near-linear", "not reproduced"),
        ("contrast", "near-linear", "reproduced"),
        ("contrast", "flat", "not reproduced"),
        (["fog", "contrast"], "threshold collapse", "not reproduced"),
    ],
)
def test_the_shape_of_a_curve_is_the_name_that_the_product_gives(
    tmp_path: Path, corruption: Any, shape: str, expected: str
) -> None:
    mine = costly([[[8, 8, 8], [8, 8, 60], [20, 40, 60]]])
    found = judged(tmp_path, mine, rows="model 0", corruption=corruption, shape=shape)
    assert found.verdict == expected
    assert ("collapse" if "fog" in corruption else "linear") in found.parts[0]["shape"]


def test_a_shape_that_some_resamples_have_is_not_refuted(tmp_path: Path) -> None:
    mine = costly([[[8, 8, 8], [8, 8, 8], [8, 9, 11]]])  # 3.75 points: nearly not flat
    claim = {"rows": "model 0", "corruption": "contrast"}
    found = judged(tmp_path, mine, **claim, shape="near-linear")
    assert found.parts[0]["shape"] == "flat"
    assert found.parts[0]["shares"]["near-linear"] > 0.05
    assert found.verdict == "undecided"
    assert decided(tmp_path, **claim, shape="early drop then flat").verdict == "not reproduced"


def replicated(rates: Mapping[str, float], defenses: Sequence[str], seeds: int = 3) -> Record:
    """Each a training with several seeds, with one defense or none."""
    names = {f"{name}-{s}": rate + s / 60 for name, rate in rates.items() for s in range(seeds)}
    described = [
        trained(seed, defenses=[defense] if defense else [])
        for defense in defenses
        for seed in range(seeds)
    ]
    return record(names, descriptions=described)


def test_replicates_are_tested_between_seeds(tmp_path: Path) -> None:
    mine = replicated({"a": 0.1, "b": 0.4}, ["", "noisy(std=0.1)"])
    claim = {
        "measure": "clean-error",
        "higher": "resnet20(width=4), noisy",
        "lower": "resnet20(width=4)",
    }
    found = judged(tmp_path, mine, **claim)
    assert found.verdict == "reproduced"
    assert found.parts[0]["test"] == "Welch's t-test between seeds (3 and 3)"
    errors = mine.aggregates["clean_error"]
    assert [row["value"] for row in found.rows] == pytest.approx(
        [errors[3:].mean(), errors[:3].mean()]
    )
    assert found.rows[0]["interval"] == pytest.approx(tuple(student_mean(errors[3:]).clip(0, 1)))
    assert "(3 seeds)" in printed([found])


def test_seeds_that_do_not_differ_have_the_intervals_of_their_images(tmp_path: Path) -> None:
    mine = replicated({"a": 0.1}, [""])
    mine.clean["right"][:] = np.arange(80) >= 24
    claim = {"measure": "clean-error", "rows": "resnet20(width=4), plain", "at_least": 0.2}
    found = judged(tmp_path, recounted(mine), **claim)
    assert found.rows[0]["interval"] == pytest.approx(tuple(wilson(24, 80)))
    assert found.verdict == "reproduced"


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("a-1", "a-1"),
        ("mlp, plain", "a-1"),
        ("mlp", "a-1"),
        ("mlp(width=50)", "a-1"),
        ("mlp(depth=1, width=50), none", "a-1"),
        ("mlp, noisy", "b-1"),
        ("mlp, noisy(std=1/10)", "b-1"),
        ("mlp, noisy(std=0.3)", "c-1"),
        ("study-resnet123, crop-flip", "d-1"),  # the only one, whatever its width
        ("study-resnet123(width=8), crop-flip(padding=2)", "d-1"),
    ],
)
def test_rows_are_named_with_or_without_what_is_the_default(
    tmp_path: Path, text: str, model: str
) -> None:
    found = judged(tmp_path, of_four(), measure="clean-error", rows=text, at_least=0)
    assert [row["name"] for row in found.rows] == [model], found.reason


@pytest.mark.parametrize(
    "text",
    [
        "mlp(width=51)",
        "mlp, noisy(std=0.2)",
        "mlp, crop-flip",
        "study-resnet123",
        "study-resnet123, crop-flip(padding=4)",
        "resnet20",
        "no such model",
    ],
)
def test_a_row_that_is_not_there_makes_a_claim_untestable(tmp_path: Path, text: str) -> None:
    claim = {"measure": "clean-error", "higher": ["a-1", text], "lower": "b-1"}
    found = judged(tmp_path, of_four(), **claim)
    assert found.verdict == "not testable"
    assert f"'{text}' is not in the record (it has a-1, b-1, c-1, d-1)" in found.reason
    assert found.parts == ()


def of_four() -> Record:
    described = [
        trained(1, arch="mlp"),
        trained(1, arch="mlp", defenses=["noisy(std=0.1)"]),
        trained(1, arch="mlp", defenses=["noisy(std=0.3)"]),
        trained(1, arch="study-resnet123(width=8)", defenses=["crop-flip(padding=2, flip=True)"]),
    ]
    return record(["a-1", "b-1", "c-1", "d-1"], descriptions=described, corrupted=False)


def test_a_name_that_fits_several_rows_tests_none(tmp_path: Path) -> None:
    described = [trained(1, arch=f"mlp(width={width})") for width in (8, 9)]
    mine = record(["a", "b"], descriptions=described, corrupted=False)
    found = judged(tmp_path, mine, measure="clean-error", rows="mlp, plain", at_least=0.1)
    assert found.verdict == "not testable"
    assert "'mlp, plain' can be several rows of the record: 'a', 'b'" in found.reason
    claim = {"measure": "clean-error", "higher": "a", "lower": "mlp(width=8)"}
    assert "on both sides" in decided(tmp_path, **claim).reason


@pytest.mark.parametrize(
    ("claim", "reason"),
    [
        ({"untestable": "no weights"}, "no weights"),
        ({**ORDERING, "scales": ["gpu", "full"]}, "not at scale small; decided at gpu, full"),
        ({**ORDERING, "record": "other"}, "other left no record"),
        ({**ORDERING, "record": ["step", "other"]}, "step, other left no record"),
        ({**ORDERING, "measure": "robust-accuracy:pgd"}, "the record does not have it"),
        ({**ORDERING, "measure": "robust-accuracy"}, "can be several measures"),
        ({**ORDERING, "measure": "mce"}, "the record does not have it"),
        ({"rows": "good", "corruption": "fog", "at_most": 0.1}, "does not have fog"),
        (
            {"rows": "good", "corruption": "fog", "shape": "flat"},
            "the record does not have fog",
        ),
    ],
)
def test_what_is_missing_is_told_and_is_no_error(
    tmp_path: Path, claim: dict[str, Any], reason: str
) -> None:
    found = judged(tmp_path, wrong_on({"good": 10, "bad": 40}), **claim)
    assert found.verdict == "not testable"
    assert reason in found.reason
    assert reason in printed([found])


def test_a_severity_that_was_not_measured_is_told(tmp_path: Path) -> None:
    found = judged(tmp_path, costly([[[8] * 3] * 3]), **COSTS, severity=2)
    assert (found.verdict, found.reason) == (
        "not testable",
        "the record does not have severity 2",
    )


def test_a_claim_at_its_scale_is_decided(tmp_path: Path) -> None:
    mine = wrong_on({"good": 10, "bad": 40})
    assert judged(tmp_path, mine, **ORDERING, scales=["small"]).verdict == "reproduced"


def test_the_only_record_needs_no_name(tmp_path: Path) -> None:
    claims = read_claims([{"says": "so", **ORDERING}], "study.toml")
    (nothing,) = judge(claims, tmp_path, "small")
    assert "left no record" in nothing.reason
    write(tmp_path / "step", wrong_on({"good": 10, "bad": 40}))
    assert judge(claims, tmp_path, "small")[0].verdict == "reproduced"
    write(tmp_path / "other", wrong_on({"good": 10, "bad": 40}))
    with pytest.raises(UsageError, match="does not say which record: other, step"):
        judge(claims, tmp_path, "small")


def test_records_are_read_together(tmp_path: Path) -> None:
    for name, count in (("good", 10), ("bad", 40)):
        write(tmp_path / name, wrong_on({name: count}))
    found = decided(tmp_path, **ORDERING, record=["good", "bad"])
    assert found.verdict == "reproduced"


def test_a_damaged_record_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "step").mkdir()
    (tmp_path / "step" / "record.h5").write_bytes(b"no record")
    with pytest.raises((ValueError, OSError)):
        decided(tmp_path, **ORDERING)


def test_cautions_about_what_is_claimed_are_told(tmp_path: Path) -> None:
    def caution(model: str, attack: str, message: str) -> dict[str, object]:
        return {"model": model, "attack": attack, "code": "c", "message": message}

    mine = record({"good": 0.1, "bad": 0.5})
    mine = replace(
        mine,
        cautions=(
            caution("good", FGSM, "gradients vanish"),
            caution("good", ASCENT, "of another attack"),
        ),
    )
    claim = {"measure": "robust-accuracy:fgsm", "higher": "good", "lower": "bad"}
    found = judged(tmp_path, mine, **claim)
    assert found.cautions == ("good, fgsm(eps=0.1): gradients vanish",)
    assert "caution: good" in printed([found])
    assert decided(tmp_path, measure="clean-error", rows="bad", at_least=0).cautions == ()


def test_models_trained_on_test_corruptions_are_marked(tmp_path: Path) -> None:
    described = [{}, trained(1, trained_on_corruptions=["fog"])]
    mine = record({"good": 0.1, "bad": 0.5}, descriptions=described, baseline="good")
    found = judged(tmp_path, mine, measure="mce", higher="bad", lower="good")
    told = printed([found])
    assert "bad †: " in told
    assert "† bad: trained on test corruptions (fog)" in told
    assert "relative to good" in told


def printed(verdicts: Sequence[Verdict], width: int = 400) -> str:
    console = Console(width=width, record=True, file=None, quiet=False)
    with console.capture() as capture:
        console.print(verdict_table(verdicts, "scale small: 80 images", width))
    return capture.get()


def test_verdicts_are_a_table_and_a_document(tmp_path: Path) -> None:
    mine = costly([[[8, 8, 8], [8, 8, 60], [20, 40, 60]], [[10, 20, 30]] * 3])
    write(tmp_path / "step", mine)
    tables = [
        {"says": "a", "study": "0.2 more", "measure": "mean-corruption-error"}
        | {"higher": "model 0", "lower": "model 1"},
        {"says": "b", "measure": "clean-error", "rows": "model 0", "at_most": 0.5},
        {"says": "c", **COSTS},
        {"says": "d", "rows": "model 0", "corruption": "fog", "shape": "flat"},
        {"says": "e", "rows": "model 1", "corruption": "fog", "at_least": 0.2},
        {"says": "f", "measure": "mean-pixel-change:sign-ascent", "best": "model 0"}
        | {"among": ["model 1"]},
        {"says": "g", "untestable": "no weights"},
    ]
    verdicts = judge(read_claims(tables, "study.toml"), tmp_path, "small")
    document = json.loads(json.dumps(jsonable([asdict(each) for each in verdicts])))
    assert [each["claim"] for each in document] == list("abcdefg")
    assert {each["scale"] for each in document} == {"small"}
    assert document[0]["study"] == "0.2 more"
    for width in (60, 100, 200):
        lines = printed(verdicts, width).splitlines()
        assert max(map(len, lines)) <= width
        assert any("not reproduced" in line for line in lines)
    told = printed(verdicts)
    assert "scale small: 80 images" in told
    assert "▁▁▁▇" in told
    assert "10.0→75.0 % threshold collapse (100 % of resamples, 0 % flat)" in told
    assert "model 0: fog 21.7 [" in told
    assert "0.2 more" in told


@pytest.mark.parametrize(
    ("claim", "parts"),
    [
        ({}, ["does not say what is tested", "untestable"]),
        ({"says": None, "untestable": "x"}, ["says is a text"]),
        ({"says": " ", "untestable": "x"}, ["says is a text"]),
        ({"untestable": ""}, ["untestable is a text"]),
        ({**ORDERING, "higer": "x"}, ["Unknown setting 'higer'", "'higher'"]),
        ({**ORDERING, "rows": "x"}, ["rows says nothing to a claim with higher"]),
        ({"untestable": "x", "measure": "mce"}, ["measure says nothing"]),
        ({**ORDERING, "lower": []}, ["lower is a list of texts"]),
        ({**ORDERING, "lower": [3]}, ["lower is a list of texts"]),
        ({"measure": "mce", "higher": "a"}, ["lower is a list of texts, and missing"]),
        ({"higher": "a", "lower": "b"}, ["measure is a text, and missing"]),
        ({**ORDERING, "higher": ["good", "bad"]}, ["good stands in both higher and lower"]),
        ({**ORDERING, "measure": "moved-mean:fgsm"}, ["Unknown measure 'moved-mean'"]),
        ({**ORDERING, "measure": "clean-eror"}, ["Did you mean 'clean-error'"]),
        ({**ORDERING, "measure": "moved"}, ["several measures", "mean-pixel-change"]),
        ({**ORDERING, "measure": "robust-accuracy:fgms"}, ["fgms", "fgsm"]),
        ({**ORDERING, "measure": "robust-accuracy:fgsm(epps=1)"}, ["epps", "eps"]),
        ({**ORDERING, "measure": "family-mean-error:nois"}, ["family", "'noise'"]),
        ({**ORDERING, "measure": "probe-error:rotaton"}, ["rotaton", "rotation"]),
        ({**ORDERING, "measure": "mce:fgsm"}, ["mce is of no attack"]),
        ({**ORDERING, "measure": "success-rate@0.1:fgsm"}, ["threshold"]),
        ({**ORDERING, "measure": "pixels-over-threshold@x:fgsm"}, ["threshold"]),
        ({**ORDERING, "record": "../other"}, ["below the study's output"]),
        ({**ORDERING, "record": "/other"}, ["below the study's output"]),
        ({**ORDERING, "scales": []}, ["scales is a list"]),
        ({"measure": "mce", "best": "a", "among": ["a"]}, ["among names no other"]),
        ({"measure": "mce", "best": ["a"], "among": ["b"]}, ["best is a text"]),
        ({"rows": "a", "at_least": 0.1}, ["on a measure or on the drop"]),
        (
            {"rows": "a", "at_least": 0.1, "measure": "mce", "corruption": "fog"},
            ["on a measure or on the drop"],
        ),
        ({"rows": "a", "at_least": "1", "measure": "mce"}, ["at_least is a number"]),
        ({"rows": "a", "at_least": True, "measure": "mce"}, ["at_least is a number"]),
        ({"rows": "a", "at_least": float("nan"), "measure": "mce"}, ["at_least is a number"]),
        ({"rows": "a", "at_least": 50, "measure": "clean-error"}, ["share of images", "50"]),
        (
            {"rows": "a", "at_least": 0.5, "at_most": 0.4, "measure": "mce"},
            ["nothing is at least 0.5"],
        ),
        (
            {"rows": "a", "at_least": 0.5, "measure": "mce", "severity": 3},
            ["severity says nothing"],
        ),
        ({"rows": "a", "corruption": "fogg", "shape": "flat"}, ["corruption", "'fog'"]),
        ({"rows": "a", "corruption": "fog", "shape": "linear"}, ["shape", "near-linear"]),
        ({**COSTS, "severity": 6}, ["severity is 1, 2, 3, 4 or 5"]),
        ({**COSTS, "corruption_higher": "gaussian_noise"}, ["stands in both"]),
    ],
)
def test_a_claim_that_cannot_be_meant_is_refused(claim: dict[str, Any], parts: list[str]) -> None:
    good = {"says": "so", "untestable": "x"}
    given = {"says": "so", **claim}
    given = {key: value for key, value in given.items() if value is not None}
    with pytest.raises(UsageError) as refused:
        read_claims([good, given], "s2/study.toml")
    message = str(refused.value)
    assert message.startswith("s2/study.toml, claim 2")
    assert len(message.splitlines()) <= 2
    for part in parts:
        assert part in message


def test_a_scale_is_one_of_the_study() -> None:
    table = {"says": "so", **ORDERING, "scales": ["smal"]}
    assert read_claims([table], "study.toml")[0].scales == ("smal",)
    with pytest.raises(UsageError, match=r"claim 1: Unknown scale 'smal'\. Did you mean 'small'"):
        read_claims([table], "study.toml", ["small", "gpu"])


@pytest.mark.parametrize("tables", [{"says": "so"}, ["so"]])
def test_claims_are_tables(tables: Any) -> None:
    with pytest.raises(UsageError, match=r"\[\[claims\]\]"):
        read_claims(tables, "study.toml")


@pytest.mark.parametrize(
    "measure",
    [
        *("clean-error", "Clean-Top5-Accuracy", "worst-case-robust-accuracy", "mce", "success"),
        *("mean-pixel-change:sign-ascent", "success-rate:fgsm(eps=8/255) target=next seed=3"),
        *("pixels-over-threshold@0.10:foolbox:LinfPGD", "family-mean-error:extra"),
        *("probe-error:rotation(angle=10)", "judge-keeps-rate"),
    ],
)
def test_measures_that_some_record_can_have_are_taken(measure: str) -> None:
    (claim,) = read_claims([{"says": "so", **ORDERING, "measure": measure}], "study.toml")
    assert claim.asks is not None
