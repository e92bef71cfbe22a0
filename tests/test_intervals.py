from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import intervals


@pytest.mark.parametrize(
    ("successes", "count", "low", "high"),
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_values(successes, count, low, high):
    assert intervals.wilson(successes, count).round(4).tolist() == [low, high]


@given(st.integers(1, 10**6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_bounds_solve_the_score_equation(case):
    k, n = case
    for bound in intervals.wilson(k, n):
        assert 0 <= bound <= 1
        if 0 < bound < 1:
            distance = abs(k / n - bound) / (bound * (1 - bound) / n) ** 0.5
            assert distance == pytest.approx(1.959964, rel=1e-4)


def test_a_rate_of_nothing_has_no_interval():
    found = intervals.wilson([[0, 3]], [[0, 3]])
    assert found.shape == (1, 2, 2)
    assert np.isnan(found[0, 0]).all()
    assert found[0, 1, 1] == 1


def test_bootstrap_agrees_with_the_normal_interval_for_many_values():
    values = np.random.default_rng(5).normal(3, 2, 4000)
    low, high = intervals.bootstrap_mean(values, seed=0)
    half = 1.96 * values.std() / 4000**0.5
    # 1000 resamples place a 2.5 % quantile within about 10 % of the half width.
    assert low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_bootstrap_equals_a_plain_bca():
    values = np.random.default_rng(1).exponential(size=30)
    counts = intervals.resampled(30, 9, intervals.RESAMPLES)
    means = np.array([np.repeat(values, row).mean() for row in counts])
    normal = NormalDist()
    bias = normal.inv_cdf((means < values.mean()).mean())
    left_out = np.array([np.delete(values, i).mean() for i in range(30)])
    gaps = left_out.mean() - left_out
    acceleration = (gaps**3).sum() / (6 * (gaps**2).sum() ** 1.5)
    levels = [
        normal.cdf(bias + (bias + z) / (1 - acceleration * (bias + z)))
        for z in (-1.959964, 1.959964)
    ]
    assert counts.sum(axis=1).tolist() == [30] * intervals.RESAMPLES
    assert intervals.bootstrap_mean(values, 9) == pytest.approx(
        np.quantile(means, levels), rel=1e-5
    )


def test_bootstrap_covers_the_mean_of_skewed_values():
    generator = np.random.default_rng(0)
    values = generator.exponential(size=(40, 400))  # 400 samples of 40 values with mean 1
    low, high = intervals.bootstrap_means(values, seed=2).T
    covered = ((low <= 1) & (high >= 1)).mean()
    # BCa at n = 40 covers about 93 %; 400 trials have a standard error of 1.3 %.
    assert 0.885 < covered < 0.985
    assert ((high - values.mean(axis=0)) > (values.mean(axis=0) - low)).mean() > 0.9


def test_columns_do_not_influence_each_other():
    values = np.random.default_rng(0).random((50, 3))
    values[:20, 1] = np.nan
    together = intervals.bootstrap_means(values, 4)
    for k in range(3):
        np.testing.assert_allclose(
            together[k], intervals.bootstrap_mean(values[:, k], 4), rtol=1e-6
        )


def test_missing_values_do_not_count():
    generator = np.random.default_rng(0)
    values = np.full(600, np.nan)
    values[:300] = generator.random(300)
    low, high = intervals.bootstrap_mean(values, 0)
    half = 1.96 * values[:300].std() / 300**0.5
    assert low == pytest.approx(values[:300].mean() - half, abs=0.12 * half)
    assert high == pytest.approx(values[:300].mean() + half, abs=0.12 * half)


@pytest.mark.parametrize("values", [[], [0.5], [np.nan, 0.5]])
def test_fewer_than_two_values_have_no_interval(values):
    assert np.isnan(intervals.bootstrap_mean(np.array(values), 0)).all()


def test_equal_values_have_a_point():
    assert intervals.bootstrap_mean(np.full(9, 0.3), 0) == pytest.approx((0.3, 0.3), abs=1e-15)


def test_the_seed_decides():
    values = np.random.default_rng(0).random(30)
    assert intervals.bootstrap_mean(values, 1) == intervals.bootstrap_mean(values, 1)
    assert intervals.bootstrap_mean(values, 1) != intervals.bootstrap_mean(values, 2)


def ratio(means):
    return (means[..., :1] / means[..., 1:2] + means[..., 2:] / means[..., 1:2]) / 2


def test_the_bootstrap_of_a_ratio_equals_a_plain_bca():
    generator = np.random.default_rng(3)
    values = generator.integers(0, 6, (40, 3)).astype(np.uint8)
    counts = intervals.resampled(40, 8, intervals.RESAMPLES)
    found = np.array([ratio(np.repeat(values, row, axis=0).mean(axis=0))[0] for row in counts])
    normal, point = NormalDist(), ratio(values.mean(axis=0))[0]
    bias = normal.inv_cdf(((found < point) + 0.5 * (found == point)).mean())
    left_out = np.array([ratio(np.delete(values, i, axis=0).mean(axis=0))[0] for i in range(40)])
    gaps = left_out.mean() - left_out
    acceleration = (gaps**3).sum() / (6 * (gaps**2).sum() ** 1.5)
    levels = [
        normal.cdf(bias + (bias + z) / (1 - acceleration * (bias + z)))
        for z in (-1.959964, 1.959964)
    ]
    ((low, high),) = intervals.bootstrap_statistics(values, ratio, 8)
    assert (low, high) == pytest.approx(np.quantile(found, levels), rel=1e-5)
    assert low < point < high


def test_the_bootstrap_of_means_is_the_same_either_way():
    values = np.random.default_rng(0).random((300, 4))
    np.testing.assert_allclose(
        intervals.bootstrap_statistics(values, lambda means: means, 5),
        intervals.bootstrap_means(values, 5),
        rtol=1e-5,
    )


def test_a_ratio_to_an_identical_measure_is_a_point():
    """Both are resampled together; apart, the interval would have a width."""
    wrong = np.random.default_rng(0).integers(0, 2, (200, 1)).astype(np.uint8)
    twice = np.hstack([wrong, wrong])
    found = intervals.bootstrap_statistics(twice, lambda m: m[..., :1] / m[..., 1:], 0)
    assert found.tolist() == [[1, 1]]


@pytest.mark.parametrize(
    "values", [np.zeros((0, 2)), np.ones((1, 2)), np.array([[1, 0], [2, 0], [1, 0]])]
)
def test_what_is_no_number_has_no_interval(values):
    found = intervals.bootstrap_statistics(values, lambda m: m[..., :1] / m[..., 1:], 0)
    assert np.isnan(found).all()


def test_the_bootstrap_of_a_ratio_covers_it():
    generator = np.random.default_rng(1)
    covered = 0
    for trial in range(200):  # errors of two models that often agree: the true ratio is 0.6
        hard = generator.random(400)
        pairs = np.column_stack([hard < 0.24, hard < 0.40]).astype(np.uint8)
        found = intervals.bootstrap_statistics(pairs, lambda m: m[..., :1] / m[..., 1:], trial)
        covered += found[0, 0] <= 0.6 <= found[0, 1]
    # 200 trials of about 95 % have a standard error of 1.5 %.
    assert 0.90 < covered / 200 < 0.99


@pytest.mark.parametrize(
    ("count", "t"),
    # Student's t at 0.975, of 1, 2, 3, 4, 9, 30 and 120 degrees of freedom: any table
    [(2, 12.706), (3, 4.303), (4, 3.182), (5, 2.776), (10, 2.262), (31, 2.042), (121, 1.980)],
)
def test_the_interval_of_a_mean_of_few_is_students(count: int, t: float) -> None:
    values = np.random.default_rng(count).normal(3, 2, count)
    low, high = intervals.student_mean(values)
    assert (low + high) / 2 == pytest.approx(values.mean())
    assert (high - low) / 2 == pytest.approx(t * values.std(ddof=1) / np.sqrt(count), rel=3e-4)


def test_one_value_has_no_interval() -> None:
    with pytest.raises(ValueError, match="needs two values, not 1"):
        intervals.student_mean([0.5])
