"""Calibration and failure prediction, against closed forms and slow second implementations."""

import dataclasses
import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from views_case import made_record

from benchmarks.calibration import (
    calibrated_ece,
    calibration,
    ece_interval,
    expected_calibration_error,
    reliability,
)
from benchmarks.failure_prediction import risk_coverage
from benchmarks.reading import Record

answers = st.lists(st.tuples(st.integers(1, 12), st.booleans()), min_size=1, max_size=40).map(
    lambda pairs: (np.array([c for c, _ in pairs]) / 12, np.array([r for _, r in pairs]))
)


def slow_ece(confidence: np.ndarray, right: np.ndarray, bins: int = 15) -> float:
    """Guo et al. 2017, equation 3, bin by bin."""
    total = 0.0
    for b in range(bins):
        inside = (confidence > b / bins) & (confidence <= (b + 1) / bins)
        if inside.any():
            gap = abs(right[inside].mean() - confidence[inside].mean())
            total += inside.sum() / len(confidence) * gap
    return total


def slow_aurc(confidence: np.ndarray, wrong: np.ndarray) -> float:
    """The mean risk over all coverages, O(n²): ties by the expected order of equal answers."""
    total = 0.0
    for k in range(1, len(wrong) + 1):
        expected = 0.0  # wrong answers among the k most confident
        for value in set(confidence):
            before, inside = (confidence > value).sum(), confidence == value
            kept = min(max(k - before, 0), inside.sum())
            expected += kept * wrong[inside].mean()
        total += expected / k
    return total / len(wrong)


@given(answers)
def test_ece_is_that_of_the_paper(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    assert expected_calibration_error(*drawn) == pytest.approx(slow_ece(*drawn), abs=1e-12)


def test_bins_whose_accuracy_is_their_confidence_have_no_error() -> None:
    confidence = np.repeat([0.5, 0.75, 1.0], [4, 8, 3])
    right = np.array([1, 0] * 2 + [1, 1, 1, 0] * 2 + [1] * 3, np.bool_)
    assert expected_calibration_error(confidence, right) == 0


def test_of_one_confidence_ece_is_its_distance_from_the_accuracy() -> None:
    right = np.arange(10) < 6
    assert expected_calibration_error(np.full(10, 0.9), right) == pytest.approx(0.3)


def test_a_bin_holds_its_upper_end() -> None:
    told = reliability([1 / 3, 0.34, 1.0, 0.0], [True, False, True, False], bins=3)
    assert [each["images"] for each in told] == [2, 1, 1]
    assert told[0]["accuracy"] == 0.5
    assert told[1]["confidence"] == pytest.approx(0.34)
    empty = reliability([0.5], [True], bins=3)[2]
    assert (empty["images"], empty["confidence"], empty["accuracy"]) == (0, None, None)


@given(answers)
def test_the_reliability_diagram_adds_up_to_ece(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    total = sum(
        each["images"] * abs(each["accuracy"] - each["confidence"])
        for each in reliability(*drawn)
        if each["images"]
    )
    expected = expected_calibration_error(*drawn)
    assert total / len(drawn[0]) == pytest.approx(expected, abs=1e-12)


def test_what_chance_shows_of_calibrated_confidences() -> None:
    generator = np.random.default_rng(0)
    confidence = generator.uniform(0.3, 1, 400)
    found = [
        expected_calibration_error(confidence, generator.random(400) < confidence)
        for _ in range(2000)
    ]
    mean, deviation = calibrated_ece(confidence)
    # Their own standard errors are 0.2 % and 1.6 %; the rest is the normal approximation.
    assert mean == pytest.approx(np.mean(found), rel=0.02)
    assert deviation == pytest.approx(np.std(found), rel=0.06)


def test_certainty_leaves_nothing_to_chance() -> None:
    assert calibrated_ece(np.ones(5)) == (0.0, 0.0)
    assert calibrated_ece(np.full(5, np.float32(1 + 1e-7))) == (0.0, 0.0)


@pytest.mark.parametrize(("gap", "truth"), [(0.0, 0.0), (0.03, 0.03), (0.15, 0.15)])
def test_the_interval_of_an_ece_covers_the_true_one(gap: float, truth: float) -> None:
    generator = np.random.default_rng(0)
    covered, biased = 0, 0
    for _ in range(100):
        confidence = generator.uniform(0.4, 1, 400)
        right = generator.random(400) < confidence - gap
        value = expected_calibration_error(confidence, right)
        gaps = np.zeros((400, 15))
        gaps[np.arange(400), np.ceil(confidence * 15).astype(int) - 1] = right - confidence
        weights = generator.multinomial(400, np.full(400, 1 / 400), 200)
        resampled = np.abs(weights @ gaps / 400).sum(axis=1)
        low, high = ece_interval(value, resampled, calibrated_ece(confidence))
        assert low <= value <= high
        covered += low <= truth <= high
        biased += np.quantile(resampled, 0.025) <= truth
    # Seen: 94, 83 and 94. Small errors are the hardest; percentiles covered 0, 3 and 93.
    assert covered >= 80
    assert covered > biased or truth == 0.15


@given(answers)
def test_aurc_is_that_of_all_coverages_one_by_one(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    confidence, right = drawn
    aurc, _ = risk_coverage(confidence, ~right)
    assert aurc[0] == pytest.approx(slow_aurc(confidence, ~right), abs=1e-12)


@given(st.lists(st.tuples(st.integers(1, 3), st.booleans()), min_size=1, max_size=6))
def test_ties_are_the_mean_over_all_orders(pairs: list[tuple[int, bool]]) -> None:
    found = []
    for order in itertools.permutations(sorted(pairs, key=lambda pair: -pair[0])):
        values = [value for value, _ in order]
        if values == sorted(values, reverse=True):
            risks = np.cumsum([wrong for _, wrong in order]) / np.arange(1, len(order) + 1)
            found.append(risks.mean())
    aurc, _ = risk_coverage([value for value, _ in pairs], [wrong for _, wrong in pairs])
    assert aurc[0] == pytest.approx(np.mean(found), abs=1e-12)


@given(answers)
def test_auroc_counts_pairs(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    confidence, right = drawn
    _, auroc = risk_coverage(confidence, ~right)
    pairs = [(r > w) + 0.5 * (r == w) for r in confidence[right] for w in confidence[~right]]
    if pairs:
        assert auroc[0] == pytest.approx(np.mean(pairs))
    else:
        assert math.isnan(auroc[0])


def test_without_information_aurc_is_the_error() -> None:
    wrong = np.arange(20) < 7
    aurc, auroc = risk_coverage(np.full(20, 0.5), wrong)
    assert (aurc[0], auroc[0]) == (pytest.approx(0.35), 0.5)


def test_the_best_order_has_the_published_optimum() -> None:
    # Geifman et al. 2019, equation 2: r + (1 - r) ln(1 - r) for error r, up to 1/n.
    wrong = np.arange(100_000) >= 70_000
    aurc, auroc = risk_coverage(np.linspace(1, 0, 100_000), wrong)
    assert aurc[0] == pytest.approx(0.3 + 0.7 * math.log(0.7), abs=1e-5)
    assert auroc[0] == 1


@given(answers)
def test_only_the_order_of_confidences_counts(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    confidence, right = drawn
    direct = risk_coverage(confidence, ~right)
    bent = risk_coverage(confidence**3 / 7, ~right)
    shuffled = risk_coverage(confidence[::-1], ~right[::-1])
    np.testing.assert_allclose(direct, bent)
    np.testing.assert_allclose(direct, shuffled)


@given(answers, st.integers(0, 5))
def test_weights_are_repeated_answers(drawn: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    confidence, right = drawn
    weights = np.random.default_rng(seed).integers(0, 4, (len(right), 3)).astype(np.uint8)
    found = risk_coverage(confidence, ~right, weights)
    for r in range(3):
        rows = np.repeat(np.arange(len(right)), weights[:, r])
        one = risk_coverage(confidence[rows], ~right[rows])
        np.testing.assert_allclose([each[r] for each in found], [each[0] for each in one])


def columns_of(record: Record, condition: dict[str, Any]) -> dict[str, np.ndarray]:
    """What the second model answered under a condition, by another way to it."""
    if condition["kind"] == "clean":
        group, place = record.clean, (1,)
    elif condition["kind"] == "attack":
        group, place = record.attacked, (1, record.attacks.index(condition["condition"]))
    else:
        where = record.axes.place(condition["corruption"], condition["severity"])
        group, place = record.corrupted, (1, *where)
    return {name: group[name][place] for name in ("prediction", "confidence", "loss", "brier")}


def test_every_condition_has_its_numbers() -> None:
    record = made_record(images=50)
    told = calibration(record)
    assert [each["model"] for each in told] == ["one", "two"]
    names = [each["condition"] for each in told[1]["conditions"]]
    wanted = [f"{name}@{s}" for name in ("fog", "contrast") for s in range(1, 6)]
    assert names == ["clean", "fgsm", "pgd", *wanted]
    for each in told[1]["conditions"]:
        columns = columns_of(record, each)
        confidence = columns["confidence"].astype(float)
        right = columns["prediction"] == record.clean["label"][1]
        assert each["images"] == 50
        assert each["error"] == pytest.approx(1 - right.mean())
        assert each["mean_confidence"] == pytest.approx(confidence.mean())
        assert each["mean_loss"] == pytest.approx(columns["loss"].mean())
        assert each["brier"] == pytest.approx(columns["brier"].mean())
        assert each["ece"] == pytest.approx(slow_ece(confidence, right))
        assert each["aurc"] == pytest.approx(slow_aurc(confidence, ~right))
        for name in ("error", "mean_confidence", "mean_loss", "brier", "ece", "aurc"):
            low, high = each[f"{name}_interval"]
            assert low <= each[name] <= high


def test_the_mean_over_corruptions_is_that_of_their_cells() -> None:
    told = calibration(made_record(images=80, corruptions=("fog", "contrast", "spatter")))[0]
    cells = [c for c in told["conditions"] if c["corruption"] in ("fog", "contrast")]
    mean = told["mean_over_corruptions"]  # spatter is extra: mCE does not count it either
    assert (mean["cells"], mean["images"]) == (10, 80)
    for name in ("error", "mean_confidence", "mean_loss", "brier", "ece", "aurc", "failure_auroc"):
        assert mean[name] == pytest.approx(np.mean([cell[name] for cell in cells]))
        low, high = mean[f"{name}_interval"]
        assert low <= mean[name] <= high


def test_intervals_are_those_of_a_plain_bootstrap() -> None:
    record = made_record(images=150, corruptions=(), attacks=())
    told = calibration(record)[0]["conditions"][0]
    confidence, wrong = record.clean["confidence"][0], record.clean["right"][0] == 0
    generator, found = np.random.default_rng(5), []
    for _ in range(2000):
        rows = generator.integers(0, 150, 150)
        found.append([each[0] for each in risk_coverage(confidence[rows], wrong[rows])])
    expected = np.nanquantile(found, [0.025, 0.975], axis=0)
    # Ends from 1000 draws have a standard error of about a tenth of the standard deviation.
    for name, ends in zip(("aurc", "failure_auroc"), expected.T, strict=True):
        width = ends[1] - ends[0]
        assert told[f"{name}_interval"] == pytest.approx(ends.tolist(), abs=0.12 * width)


def test_an_attack_is_judged_on_what_it_was_given_and_what_was_wrong() -> None:
    record = made_record(["m"], images=50, corruptions=())
    spared = record.attacked["attacked"].copy()
    given_to = np.flatnonzero(spared[0, 0])[:5]
    spared[0, 0, given_to] = 0  # their label is the target
    spared[0, 1, :7] = 255  # a failed cell
    record = dataclasses.replace(record, attacked={**record.attacked, "attacked": spared})
    _, first, second = calibration(record)[0]["conditions"]
    assert (first["images"], second["images"]) == (45, 43)


def test_cells_that_failed_are_left_out_and_empty_ones_tell_nothing() -> None:
    record = made_record(["m"], images=40, attacks=())
    right = record.corrupted["right"].copy()
    right[0, 0, 0] = 255
    right[0, 1, 2, 1:] = 255
    record = dataclasses.replace(record, corrupted={**record.corrupted, "right": right})
    told = calibration(record)[0]
    lost = next(each for each in told["conditions"] if each["condition"] == "fog@1")
    numbers = {key: value for key, value in lost.items() if key not in ("condition", "kind")}
    assert numbers.pop("corruption") == "fog"
    assert (numbers.pop("severity"), numbers.pop("images")) == (1, 0)
    assert set(numbers.values()) == {None}
    single = next(each for each in told["conditions"] if each["condition"] == "contrast@3")
    assert single["images"] == 1
    assert single["ece"] is not None
    assert single["ece_interval"] is single["aurc_interval"] is single["brier_interval"] is None
    mean = told["mean_over_corruptions"]
    assert (mean["images"], mean["ece"], mean["brier"]) == (0, None, None)


def test_the_seed_decides_the_draws() -> None:
    record = made_record(["m"], images=40)
    assert calibration(record) == calibration(record, seed=0)
    assert calibration(record) != calibration(record, seed=1)
