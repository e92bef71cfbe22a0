"""Claims of a study: that verdicts follow from the images."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from claims_case import COSTS, ORDERING, costly, decided, judged, printed, wrong_on
from comparison_case import ATTACKS, record, recounted, trained, write
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.claims import ordered_rows, verdict
from benchmarks.comparison_measures import measures
from benchmarks.intervals import student_mean, wilson
from benchmarks.reading import Record
from benchmarks.replicates import rows
from benchmarks.significance import holm, mcnemar, newcombe
from workbench.console import jsonable
from workbench.studies.claims import read_claims
from workbench.studies.judging import judge

FGSM, ASCENT = ATTACKS


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


def test_where_all_pairs_have_to_hold_each_is_tested_by_itself(tmp_path: Path) -> None:
    mine = wrong_on({"good": 14, "fair": 14, "bad": 20})
    claim = {"measure": "clean-error", "higher": ["bad"], "lower": ["good", "fair"]}
    found = judged(tmp_path, mine, **claim)
    assert [part["p"] for part in found.parts] == [2 * 0.5**6] * 2  # McNemar's, 6 to 0
    assert [part["p_holm"] for part in found.parts] == [4 * 0.5**6] * 2
    assert found.verdict == "reproduced"
    turned = {"measure": "clean-error", "higher": ["good", "fair"], "lower": ["bad"]}
    assert judged(tmp_path / "b", mine, **turned).verdict == "undecided"


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
    (open_,) = judge(claims, tmp_path, "small")
    assert (open_.verdict, open_.reason) == (
        "not testable",
        "the claim does not say which record: other, step",
    )


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
            caution("bad", FGSM, "gradients vanish, too"),
            caution("good", ASCENT, "of another attack"),
        ),
    )
    claim = {"measure": "robust-accuracy:fgsm", "higher": "good", "lower": "bad"}
    found = judged(tmp_path, mine, **claim)
    like = "(and the like of 1 more model)"
    assert found.cautions == (f"good, fgsm(eps=0.1): gradients vanish {like}",)
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
