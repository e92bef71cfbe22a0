"""The tests of comparisons, against published examples, closed forms and simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.intervals import (
    resampled,
    resampled_medians,
    resampled_statistics,
)
from benchmarks.significance import (
    bootstrap_p,
    holm,
    mcnemar,
    newcombe,
    paired_rates,
    percentile_p,
    welch,
)

counts = st.integers(0, 60)


@given(counts, counts)
def test_mcnemar_is_the_sum_of_both_tails(first: int, second: int) -> None:
    """All outcomes at least as uneven, each with its binomial probability."""
    n = first + second
    gap = abs(first - second)
    tails = sum(math.comb(n, k) for k in range(n + 1) if abs(2 * k - n) >= gap) / 2**n
    assert mcnemar(first, second) == pytest.approx(tails, rel=1e-12)
    assert mcnemar(first, second) == mcnemar(second, first)


def test_mcnemar_on_agrestis_example() -> None:
    """Agresti, Categorical Data Analysis (2002), table 10.1: approval of a prime minister, twice.

    Of 236 who changed their minds 150 disapprove now: z² = 17.36. Corrected for continuity, its
    tail is close to the exact p.
    """
    assert pytest.approx(17.36, abs=0.01) == (150 - 86) ** 2 / (150 + 86)
    z = (150 - 86 - 1) / math.sqrt(150 + 86)
    assert mcnemar(150, 86) == pytest.approx(math.erfc(z / math.sqrt(2)), rel=0.15)
    assert (mcnemar(0, 0), mcnemar(1, 7)) == (1, 18 / 256)


def test_mcnemar_does_not_overflow() -> None:
    z = (25_000 - 24_000 - 1) / math.sqrt(49_000)  # corrected for continuity
    assert mcnemar(24_000, 25_000) == pytest.approx(math.erfc(z / math.sqrt(2)), rel=0.02)
    assert 0 < mcnemar(0, 1000) < 1e-300


@pytest.mark.parametrize(
    ("table", "low", "high"),
    [
        # Newcombe, Statistics in Medicine 17 (1998) 2635: method 10 on 36, 12, 2, 0.
        ((36, 12, 2, 0), 0.0569, 0.3404),
        # Altman et al., Statistics with Confidence (2000), table 6.2.
        ((14, 5, 0, 22), 0.011, 0.226),
        # Fagerland et al., Statistics in Medicine 33 (2014): airway responsiveness.
        ((1, 1, 7, 12), -0.507, -0.026),
    ],
)
def test_newcombe_gives_the_published_intervals(
    table: tuple[int, int, int, int], low: float, high: float
) -> None:
    assert newcombe(*table) == pytest.approx((low, high), abs=6e-4)


@given(counts, counts, counts, counts)
def test_newcombe_holds_the_difference_and_turns_with_it(
    both: int, first: int, second: int, neither: int
) -> None:
    count = both + first + second + neither
    low, high = newcombe(both, first, second, neither)
    if not count:
        assert math.isnan(low)
        return
    assert -1 - 1e-12 <= low <= (first - second) / count <= high <= 1 + 1e-12
    assert newcombe(both, second, first, neither) == pytest.approx((-high, -low), abs=1e-12)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_rates_are_counted_pair_by_pair(pairs: list[tuple[bool, bool]]) -> None:
    first, second = np.array(pairs, np.bool_).T
    found, turned = paired_rates(first, second), paired_rates(second, first)
    assert found.value == pytest.approx(first.mean() - second.mean(), abs=1e-12)
    assert (found.value, found.p) == (-turned.value, turned.p)
    assert found.p == mcnemar(int((first & ~second).sum()), int((second & ~first).sum()))
    assert paired_rates(first, first)[::3] == (0, 1)


def test_welch_on_an_example_by_hand() -> None:
    """1, 2, 3 and 2, 4, 6: variances 1 and 4, so t = -2 / sqrt(5/3).

    The freedom is (5/3)² / ((1/3)² / 2 + (4/3)² / 2) = 50/17; the tails are integrated.
    """
    found = welch([1, 2, 3], [2, 4, 6])
    assert found is not None
    x = np.linspace(-60, -2 / math.sqrt(5 / 3), 400_001)
    nu = 50 / 17
    log = math.lgamma((nu + 1) / 2) - math.lgamma(nu / 2)
    density = math.exp(log) / math.sqrt(nu * math.pi) * (1 + x * x / nu) ** (-(nu + 1) / 2)
    beyond = 2 * np.trapezoid(density, x)
    assert found.value == -2
    assert found.p == pytest.approx(beyond, abs=1e-4)
    assert (found.low + found.high) / 2 == pytest.approx(-2)


def test_welch_agrees_with_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    generator = np.random.default_rng(0)
    for _ in range(20):
        first = generator.normal(0, 1, generator.integers(2, 7))
        second = generator.normal(1, 3, generator.integers(2, 7))
        found, theirs = welch(first, second), stats.ttest_ind(first, second, equal_var=False)
        assert found is not None
        assert found.p == pytest.approx(theirs.pvalue, rel=1e-8)
        ends = theirs.confidence_interval()
        assert (found.low, found.high) == pytest.approx((ends.low, ends.high), rel=1e-8)


@pytest.mark.parametrize(("first", "second"), [([1.0], [2.0, 3.0]), ([0.3, 0.3], [0.5, 0.5])])
def test_welch_says_nothing_without_spread(first: list[float], second: list[float]) -> None:
    assert welch(first, second) is None


def test_holm_on_an_example_by_hand() -> None:
    """Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1, none smaller than the one before."""
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]).tolist() == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_rejects_as_the_stepwise_rule_does(p: list[float]) -> None:
    adjusted = holm(p)
    rejected = set()
    for rank, index in enumerate(sorted(range(len(p)), key=lambda i: (p[i], i))):
        if p[index] * (len(p) - rank) >= 0.05:
            break
        rejected.add(index)
    assert {i for i in range(len(p)) if adjusted[i] < 0.05} == rejected
    assert (adjusted >= np.array(p) - 1e-15).all()


def mean(means: np.ndarray) -> np.ndarray:
    return means


@given(st.integers(0, 10**6))
def test_the_bootstraps_p_and_interval_agree(seed: int) -> None:
    """p is below 0.05 just where the interval leaves 0 out."""
    values = np.random.default_rng(seed).exponential(size=(60, 1)) - 0.8
    found = resampled_statistics(values, mean, 0)
    (p,), ((low, high),) = bootstrap_p(found, 60), found.intervals()
    if abs(p - 0.05) > 0.004:  # between two resamples the quantile is interpolated
        assert (p < 0.05) == (not low <= 0 <= high)


def test_the_bootstraps_p_agrees_with_the_normal_one_for_many_values() -> None:
    values = np.random.default_rng(2).normal(0.08, 1, (2000, 1))
    z = values.mean() / (values.std() / math.sqrt(2000))
    (p,) = bootstrap_p(resampled_statistics(values, mean, 0, 20_000), 2000)
    assert p == pytest.approx(math.erfc(z / math.sqrt(2)), rel=0.2)


def test_the_bootstrap_cannot_be_surer_than_its_resamples_or_its_images() -> None:
    far = np.random.default_rng(0).normal(5, 1, (50, 1))
    assert bootstrap_p(resampled_statistics(far, mean, 0), 50) == pytest.approx(2 / 1001)
    few = np.ones((4, 1)) + np.arange(4)[:, None]
    assert bootstrap_p(resampled_statistics(few, mean, 0), 4) == [1 / 8]
    nothing = resampled_statistics(np.zeros((30, 1)), mean, 0)
    assert bootstrap_p(nothing, 0) == [1]
    assert np.isnan(bootstrap_p(resampled_statistics(np.ones((1, 1)), mean, 0), 1)).all()


def test_percentiles_count_ties_half() -> None:
    assert percentile_p(np.array([-1.0, 0, 0, 3, np.inf, 4, 5, 6]), 99) == pytest.approx(0.5)
    assert percentile_p(np.array([0.0, 0, np.nan]), 0) == 1
    assert np.isnan(percentile_p(np.array([np.nan]), 0))


@pytest.mark.parametrize("count", [25, 1500])
def test_resampled_medians_are_those_of_repeated_values(count: int) -> None:
    generator = np.random.default_rng(4)
    values = generator.normal(size=count)
    values[:3], values[3:6] = np.inf, np.nan
    median, again = resampled_medians(values, 7, 200)
    assert median == np.median(values[~np.isnan(values)])
    for row, found in zip(resampled(count, 7, 200), again, strict=True):
        drawn = np.repeat(values, row)
        assert found == pytest.approx(np.median(drawn[~np.isnan(drawn)]))
    assert np.isnan(resampled_medians(np.full(4, np.nan), 0, 5)[0])


def test_under_the_null_each_test_rejects_as_often_as_it_says() -> None:
    """600 trials at 5 %: a standard error of 0.9 %. McNemar's, exact, rejects less."""
    generator = np.random.default_rng(11)
    rejected = np.zeros(3)
    for trial in range(600):
        hard = generator.random(200)
        first, second = ((hard + generator.normal(0, 0.2, 200)) < 0.4 for _ in range(2))
        apart = (first.astype(float) - second)[:, None]
        found = welch(generator.normal(0, 1, 4), generator.normal(0, 2, 4))
        assert found is not None
        p = bootstrap_p(resampled_statistics(apart, mean, trial, 300), 200)[0]
        rejected += [paired_rates(first, second).p < 0.05, p < 0.05, found.p < 0.05]
    shares = rejected / 600
    assert 0.01 < shares[0] < 0.055
    assert 0.03 < shares[1] < 0.08
    assert 0.02 < shares[2] < 0.08
