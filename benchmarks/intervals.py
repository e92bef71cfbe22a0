"""95 % intervals: Wilson's for rates, the bootstrap's for means."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchmarks.student import student95

Z95 = NormalDist().inv_cdf(0.975)
RESAMPLES = 1000
"""What Efron & Tibshirani (1993, chapter 14) ask for at least, for intervals of 95 %."""

_VALUES = 10**7  # draws at a time: bounds the memory, large enough for fast matrix products
_CACHED = 2**18  # draws at a time where few columns are multiplied: 1 MB stays in a cache, which
# was 2.7 times as fast as blocks of _VALUES for two columns
_STREAM = 0xB007  # keeps these draws apart from others with the same seed


def wilson(successes: ArrayLike, count: ArrayLike) -> NDArray[np.float64]:
    """Wilson's 95 % score interval of a rate, float64 (..., 2); NaN where nothing was counted.

    Source: Wilson, "Probable inference", JASA 22 (1927). Near 0 and 1 it stays inside [0, 1] and
    keeps its width, where the textbook interval collapses.

    >>> wilson(0, 10).round(4).tolist()
    [0.0, 0.2775]
    """
    k, n = np.broadcast_arrays(np.asarray(successes, np.float64), np.asarray(count, np.float64))
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = k / n
        centre = (rate + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
        half = Z95 / (1 + Z95**2 / n) * np.sqrt(rate * (1 - rate) / n + Z95**2 / (4 * n**2))
    # The ends are exact where the rate is 0 or 1; rounding must not leave them at 1e-17.
    low = np.where(k == 0, 0.0, np.clip(centre - half, 0, 1))
    high = np.where(k == n, 1.0, np.clip(centre + half, 0, 1))
    return np.where((n > 0)[..., None], np.stack([low, high], axis=-1), np.nan)


def student_mean(values: ArrayLike) -> NDArray[np.float64]:
    """Student's 95 % interval of the mean of few values, float64 (2,): low and high.

    Right where they are drawn independently from a normal distribution.

    Raises:
        ValueError: fewer than two values, which have no spread.

    >>> student_mean([1.0, 2.0, 3.0]).round(3).tolist()
    [-0.484, 4.484]
    """
    numbers = np.asarray(values, np.float64)
    count = len(numbers)
    if count < 2:
        raise ValueError(f"an interval of the mean needs two values, not {count}")
    half = student95(count - 1) * numbers.std(ddof=1) / np.sqrt(count)
    return np.array([numbers.mean() - half, numbers.mean() + half])


@dataclass(frozen=True)
class Bootstrap:
    """Numbers over examples, and what they are over resamples of the examples.

    Attributes:
        point: (Q,), the numbers themselves.
        deviations: (B, Q), by how much they differ in each resample; none where there are fewer
            than two examples.
        acceleration: (Q,), of BCa, by the jackknife.
    """

    point: NDArray[np.float64]
    deviations: NDArray[np.float64]
    acceleration: NDArray[np.float64]

    def intervals(self) -> NDArray[np.float64]:
        """The 95 % BCa intervals, (Q, 2); NaN where the number is none."""
        return np.array(
            [
                number + np.array(_bca(self.deviations[:, q], self.acceleration[q]))
                if np.isfinite(number) and len(self.deviations)
                else (np.nan, np.nan)
                for q, number in enumerate(self.point)
            ]
        ).reshape(-1, 2)


def bootstrap_means(
    values: NDArray[np.floating], seed: int, resamples: int = RESAMPLES
) -> NDArray[np.float64]:
    """95 % bootstrap intervals of the means of many measures of the same examples.

    The examples are resampled, once for all columns, so that the columns stay paired. The
    intervals are bias-corrected and accelerated (BCa; Efron, "Better bootstrap confidence
    intervals", JASA 82, 1987), the acceleration by the jackknife in closed form.

    Args:
        values: (E, K), one column per measure; NaN where an example does not count, such as an
            image on which the attack failed. A resample in which no example counts is left out.
        seed: of the draws; the same seed gives the same intervals.
        resamples: how many times the examples are drawn.

    Returns:
        float64 (K, 2): low and high; NaN for a column with fewer than two values.
    """
    values = np.asarray(values, np.float64)
    counted = np.isfinite(values)
    n = counted.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(counted, values, 0.0).sum(axis=0) / n
    deviation = np.where(counted, values - mean, 0.0)
    # Many measures count the same images: the sizes of their resamples are summed once.
    patterns: dict[bytes, int] = {}
    pattern = [patterns.setdefault(column.tobytes(), len(patterns)) for column in counted.T]
    distinct = [pattern.index(number) for number in range(len(patterns))]
    # float32 is enough for what is left after the mean is taken off, and twice as fast.
    spread, weights = deviation.astype(np.float32), counted[:, distinct].astype(np.float32)
    means = np.empty((resamples, values.shape[1]))
    drawn = resampled(len(values), seed, resamples)
    rows = max(1, _VALUES // max(1, len(values)))
    with np.errstate(divide="ignore", invalid="ignore"):
        for start in range(0, resamples, rows):
            block = drawn[start : start + rows].astype(np.float32)
            means[start : start + rows] = (block @ spread) / (block @ weights)[:, pattern]
        squares = deviation * deviation
        acceleration = (squares * deviation).sum(axis=0) / (6 * squares.sum(axis=0) ** 1.5)
    return np.array(
        [
            mean[k] + np.array(_bca(means[:, k], acceleration[k])) if n[k] > 1 else (np.nan, np.nan)
            for k in range(values.shape[1])
        ]
    ).reshape(-1, 2)


def bootstrap_statistics(
    values: NDArray[Any],
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    seed: int,
    resamples: int = RESAMPLES,
) -> NDArray[np.float64]:
    """95 % bootstrap intervals of functions of the means of many measures of the same examples.

    As `bootstrap_means`, for numbers that are not means themselves, such as ratios of them: the
    function is taken of each resample's means, and of the means without each example for the
    acceleration.

    Args:
        values: (E, K), one column per measure; every example counts.
        statistic: maps means (..., K), whatever axes come first, to numbers (..., Q).
        seed: of the draws; those of `bootstrap_means` with the same number of examples.
        resamples: how many times the examples are drawn.

    Returns:
        float64 (Q, 2): low and high; NaN where there are fewer than two examples or the number is
        none. Resamples in which it is none are left out.
    """
    return resampled_statistics(values, statistic, seed, resamples).intervals()


def resampled_statistics(
    values: NDArray[Any],
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    seed: int,
    resamples: int = RESAMPLES,
) -> Bootstrap:
    """The resamples behind `bootstrap_statistics`, for whoever wants more than intervals."""
    count = len(values)
    total = values.sum(axis=0, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        point = statistic(total / count)
        if count < 2:
            return Bootstrap(point, np.empty((0, len(point))), np.full(len(point), np.nan))
        means = np.empty((resamples, values.shape[1]))
        drawn, single = resampled(count, seed, resamples), values.astype(np.float32)
        rows = max(1, _CACHED // count)
        for start in range(0, resamples, rows):
            means[start : start + rows] = drawn[start : start + rows].astype(np.float32) @ single
        deviations = statistic(means / count) - point
        without = statistic((total - values) / (count - 1))
        gaps = without.mean(axis=0) - without
        acceleration = (gaps**3).sum(axis=0) / (6 * (gaps**2).sum(axis=0) ** 1.5)
    return Bootstrap(point, deviations, acceleration)


def resampled_medians(
    values: NDArray[np.float64], seed: int, resamples: int = RESAMPLES
) -> tuple[float, NDArray[np.float64]]:
    """A median, and those of resamples of the examples.

    Args:
        values: (E,), NaN where an example does not count. Values may be infinite, and so is a
            median half way between a finite and an infinite one.
        seed: of the draws; those of `resampled_statistics` with the same number of examples.
        resamples: how many times the examples are drawn.

    Returns:
        the median, and float64 (resamples,); NaN where no example counts.
    """
    order = np.argsort(values)[: int((~np.isnan(values)).sum())]  # NaN is sorted last
    ordered = np.append(values[order], np.nan)
    drawn = resampled(len(values), seed, resamples)
    # A resample's median has a rank within n/2 ± √n/2 (a standard deviation): 16 of them are all.
    near = int(8 * len(order) ** 0.5) + 8
    low, high = max(0, len(order) // 2 - near), len(order) // 2 + near
    medians = np.empty(resamples)
    rows = max(1, _VALUES // len(values))
    for start in range(0, resamples, rows):
        block = drawn[start : start + rows]
        before, beyond = (block[:, part].sum(axis=1) for part in (order[:low], order[high:]))
        reached = before[:, None] + block[:, order[low:high]].cumsum(axis=1, dtype=np.int64)
        total = (reached[:, -1] if len(order) else before) + beyond
        # The two in the middle are the same where the number drawn is odd.
        lower, upper = (
            low + (reached <= place[:, None]).sum(axis=1)
            for place in ((total - 1) // 2, total // 2)
        )
        medians[start : start + rows] = (ordered[lower] + ordered[upper]) / 2
    middle = [(len(order) - 1) // 2, len(order) // 2] if len(order) else [0, 0]
    return float(ordered[middle].mean()), medians


def bootstrap_mean(
    values: NDArray[np.floating], seed: int, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """The 95 % BCa interval of the mean of ``values`` (n,); see `bootstrap_means`."""
    low, high = bootstrap_means(np.asarray(values)[:, None], seed, resamples)[0]
    return float(low), float(high)


@lru_cache(maxsize=1)  # the models of a record are resampled alike
def resampled(count: int, seed: int, resamples: int) -> NDArray[np.uint8]:
    """How often each example was drawn in each resample: (resamples, count)."""
    generator = np.random.Generator(np.random.Philox([seed % 2**64, _STREAM]))
    drawn = np.empty((resamples, count), np.uint8)  # more than 255 draws of one of 256 examples
    # or more have a probability below 1e-500
    block = max(1, _VALUES // max(1, count))
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        picks = generator.integers(0, count, size=(rows, count), dtype=np.int32)
        picks += np.arange(rows, dtype=np.int32)[:, None] * np.int32(count)
        counts = np.bincount(picks.reshape(-1), minlength=rows * count)
        drawn[start : start + rows] = counts.reshape(rows, count)
    return drawn


def _bca(deviations: NDArray[np.float64], acceleration: float) -> tuple[float, float]:
    """The BCa interval of a mean, as deviations from it, from the resampled deviations."""
    deviations = deviations[np.isfinite(deviations)]
    if not len(deviations) or not np.ptp(deviations):
        return 0.0, 0.0  # all values are equal: every resample has the same mean
    if not np.isfinite(acceleration):
        return float("nan"), float("nan")  # without some example the number is none
    # Ties count half, so that a symmetric distribution is not corrected for a bias it lacks.
    below = (np.sum(deviations < 0) + 0.5 * np.sum(deviations == 0)) / len(deviations)
    normal = NormalDist()
    least = 0.5 / len(deviations)
    bias = normal.inv_cdf(min(max(below, least), 1 - least))
    levels = []
    for z in (-Z95, Z95):
        shifted = bias + z
        levels.append(normal.cdf(bias + shifted / (1 - acceleration * shifted)))
    low, high = np.quantile(deviations, levels)
    return float(low), float(high)
