"""Whether two models differ: tests on the same images or between seeds, and Holm's correction."""

from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchmarks.intervals import Bootstrap, resampled_statistics, wilson
from benchmarks.student import student95, two_sided

LEVEL = 0.05
"""Of significance, for a whole family of tests."""

_TIE = 1e-12  # differences of sums over the same images that should be equal


class Difference(NamedTuple):
    """By how much a first thing exceeds a second, with its 95 % interval, and the p of no more.

    Attributes:
        value: first - second.
        low, high: the ends of the interval; infinite where it has none.
        p: two-sided; NaN where it could not be found.
    """

    value: float
    low: float
    high: float
    p: float


def mcnemar(first: int, second: int) -> float:
    """McNemar's exact two-sided p.

    Of the pairs that differ, as many are expected to differ one way as the other: twice the smaller
    tail of a binomial distribution with probability 1/2, at most 1. It is exact whatever the
    number of pairs.
    Source: McNemar, "Note on the sampling error of the difference between correlated proportions
    or percentages", Psychometrika 12 (1947).

    Args:
        first: pairs in which the first alone is 1.
        second: pairs in which the second alone is 1.

    >>> mcnemar(1, 5)
    0.21875
    """
    count, fewer = first + second, min(first, second)
    ways = term = 1
    for k in range(fewer):  # whole numbers: no rounding, no underflow before the end
        term = term * (count - k) // (k + 1)
        ways += term
    return min(1.0, 2 * ways / (1 << count))


def newcombe(both: int, first: int, second: int, neither: int) -> tuple[float, float]:
    """The 95 % interval of the difference of two paired proportions, the first less the second.

    Wilson's intervals of both, put together with the correlation of the pairs.
    Source: Newcombe, "Improved confidence intervals for the difference between binomial
    proportions based on paired data", Statistics in Medicine 17 (1998) 2635-2650, method 10.

    Args:
        both: pairs in which both are 1.
        first: pairs in which the first alone is.
        second: pairs in which the second alone is.
        neither: pairs in which none is.

    >>> [round(end, 4) for end in newcombe(36, 12, 2, 0)]
    [0.0569, 0.3404]
    """
    count = both + first + second + neither
    if not count:
        return float("nan"), float("nan")
    ones, others = both + first, both + second
    p, q = ones / count, others / count
    (low_p, high_p), (low_q, high_q) = wilson([ones, others], count).tolist()
    product = ones * (count - ones) * others * (count - others)
    excess = float(both * neither - first * second)
    if excess > 0:
        excess = max(excess - count / 2, 0)  # the continuity correction of method 10
    correlation = excess / product**0.5 if product else 0.0

    def distance(mine: float, its: float) -> float:
        return float(np.sqrt(mine**2 - 2 * correlation * mine * its + its**2))

    return (
        p - q - distance(p - low_p, high_q - q),
        p - q + distance(high_p - p, q - low_q),
    )


def paired_rates(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> Difference:
    """Two rates over the same images, (n,) each: McNemar's p and Newcombe's interval."""
    ones, others = int((first & ~second).sum()), int((~first & second).sum())
    both, count = int((first & second).sum()), len(first)
    low, high = newcombe(both, ones, others, count - both - ones - others)
    value = (ones - others) / count if count else float("nan")
    return Difference(value, low, high, mcnemar(ones, others) if count else float("nan"))


def bootstrapped_mean(
    apart: NDArray[np.float64], counted: NDArray[np.bool_], seed: int, resamples: int
) -> Difference:
    """The mean of paired differences, its BCa interval and p, by resampling the examples.

    Args:
        apart: (E,), the first less the second.
        counted: bool (E,), the examples that it is over; one at least.
        seed: of the draws.
        resamples: how many times the examples are drawn.
    """
    values = np.where(counted, apart, 0.0)
    found = resampled_statistics(
        np.column_stack([values, counted]),
        lambda means: means[..., :1] / means[..., 1:],
        seed,
        resamples,
    )
    (p,) = bootstrap_p(found, int((values != 0).sum()))
    ((low, high),) = found.intervals()
    return Difference(float(found.point[0]), float(low), float(high), float(p))


def welch(first: ArrayLike, second: ArrayLike) -> Difference | None:
    """Welch's t-test of two means, and the interval of their difference.

    None where it says nothing: with fewer than two values on a side, or without any spread.
    Source: Welch, "The generalization of 'Student's' problem when several different population
    variances are involved", Biometrika 34 (1947).

    >>> found = welch([1.0, 2.0, 3.0], [2.0, 4.0, 6.0])
    >>> round(found.value, 3), round(found.p, 3)
    (-2.0, 0.221)
    """
    sides = [np.asarray(side, np.float64) for side in (first, second)]
    if min(map(len, sides)) < 2:
        return None
    value = float(sides[0].mean() - sides[1].mean())
    parts = [side.var(ddof=1) / len(side) for side in sides]
    error = float(np.sqrt(sum(parts)))
    if error <= _TIE * max(1.0, *(float(np.abs(side).max()) for side in sides)):
        return None
    freedom = error**4 / sum(
        part**2 / (len(side) - 1) for part, side in zip(parts, sides, strict=True)
    )
    half = student95(freedom) * error
    return Difference(
        value, value - half, value + half, two_sided(float(value / error), float(freedom))
    )


def bootstrap_p(found: Bootstrap, differing: ArrayLike) -> NDArray[np.float64]:
    """Two-sided p of differences being 0: the level at which their BCa interval ends at 0.

    So p is below 0.05 just where the 95 % interval leaves 0 out. Where every resample is on one
    side of 0 it is 2 / (B + 1), which B resamples cannot tell from 0; and it is never below what
    the signs of the images that differ could show at most, 2 / 2^differing.
    Source: Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 15.

    Args:
        found: the resampled differences.
        differing: (Q,) or one for all, how many images the two sides differ on at all.
    """
    numbers = zip(
        found.point,
        found.deviations.T,
        found.acceleration,
        np.broadcast_to(np.asarray(differing, np.int64), found.point.shape),
        strict=True,
    )
    return np.array([_bootstrap_p(*each) for each in numbers], np.float64)


def percentile_p(differences: NDArray[np.float64], differing: int) -> float:
    """Two-sided p of a difference being 0, by the share of resamples on the other side of it.

    Ties count half; the bounds are those of `bootstrap_p`.
    """
    known = differences[~np.isnan(differences)]
    if not len(known):
        return float("nan")
    below = _share_below(known)
    return _bounded(2 * min(below, 1 - below), len(known), differing)


def holm(p: Sequence[float]) -> NDArray[np.float64]:
    """Holm's adjusted p of a family of tests, in their order.

    All that stay below a level may be believed together: the probability that any of them is wrong
    is at most that level, whatever the tests have in common.
    Source: Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal
    of Statistics 6 (1979).

    >>> holm([0.01, 0.04, 0.03, 0.005]).round(3).tolist()
    [0.03, 0.06, 0.06, 0.02]
    """
    values = np.asarray(p, np.float64)
    order = np.argsort(values, kind="stable")
    adjusted = np.empty(len(values))
    scaled = values[order] * np.arange(len(values), 0, -1)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(scaled))
    return adjusted


def _bootstrap_p(
    point: float, deviations: NDArray[np.float64], acceleration: float, differing: int
) -> float:
    known = deviations[np.isfinite(deviations)]
    if not np.isfinite(point) or not len(known):
        return float("nan")
    count = len(known)
    share = _share_below(point + known)
    if share in (0, 1):
        return _bounded(0.0, count, differing)
    normal, least = NormalDist(), 1 / (count + 1)
    bias = normal.inv_cdf(min(max(_share_below(known), least), 1 - least))
    step = normal.inv_cdf(share) - bias
    stretched = 1 + acceleration * step
    if not stretched > 0:  # the correction breaks down (or is NaN): the share as it is
        bias, stretched, step = 0.0, 1.0, normal.inv_cdf(share)
    one_sided = normal.cdf(step / stretched - bias)
    return _bounded(2 * min(one_sided, 1 - one_sided), count, differing)


def _share_below(values: NDArray[np.float64]) -> float:
    """The share of values below 0; zeros count half."""
    ties = np.abs(values) <= _TIE
    return float(((values < 0) & ~ties).sum() + 0.5 * ties.sum()) / len(values)


def _bounded(p: float, resamples: int, differing: int) -> float:
    return min(1.0, max(p, 2 / (resamples + 1), 2.0 ** (1 - min(differing, 1000))))
