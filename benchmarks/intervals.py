"""95 % intervals: Wilson's for rates, the bootstrap's for means."""

from collections.abc import Iterator
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

Z95 = NormalDist().inv_cdf(0.975)
RESAMPLES = 2000
"""Enough for 2.5 % tails (Efron & Tibshirani 1993, chapter 14, ask for 1000 and more)."""

_BLOCK = 100  # resamples per matrix product: bounds the memory of one step
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
    filled = np.where(counted, values, 0.0)
    weights = counted.astype(np.float64)
    n = weights.sum(axis=0)
    means = np.empty((resamples, values.shape[1]))
    with np.errstate(divide="ignore", invalid="ignore"):
        for start, drawn in _resampled(len(values), seed, resamples):
            means[start : start + len(drawn)] = (drawn @ filled) / (drawn @ weights)
        mean = filled.sum(axis=0) / n
        deviation = np.where(counted, values - mean, 0.0)
        acceleration = (deviation**3).sum(axis=0) / (6 * (deviation**2).sum(axis=0) ** 1.5)
    return np.array(
        [
            _bca(means[:, k], mean[k], acceleration[k]) if n[k] > 1 else (np.nan, np.nan)
            for k in range(values.shape[1])
        ]
    ).reshape(-1, 2)


def bootstrap_mean(
    values: NDArray[np.floating], seed: int, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """The 95 % BCa interval of the mean of ``values`` (n,); see `bootstrap_means`."""
    low, high = bootstrap_means(np.asarray(values)[:, None], seed, resamples)[0]
    return float(low), float(high)


def _resampled(count: int, seed: int, resamples: int) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Blocks of (first resample, how often each example was drawn: float64 (block, count))."""
    generator = np.random.Generator(np.random.Philox([seed % 2**64, _STREAM]))
    for start in range(0, resamples, _BLOCK):
        rows = min(_BLOCK, resamples - start)
        drawn = generator.integers(0, count, size=(rows, count), dtype=np.int32)
        drawn += np.arange(rows, dtype=np.int32)[:, None] * count
        counts = np.bincount(drawn.reshape(-1), minlength=rows * count)
        yield start, counts.reshape(rows, count).astype(np.float64)


def _bca(means: NDArray[np.float64], mean: float, acceleration: float) -> tuple[float, float]:
    means = means[np.isfinite(means)]
    if not len(means) or np.ptp(means) <= 1e-12 * abs(mean):
        return mean, mean  # all values are equal: there is nothing to resample
    # Ties count half, so that a symmetric distribution is not corrected for a bias it lacks.
    below = (np.sum(means < mean) + 0.5 * np.sum(means == mean)) / len(means)
    normal = NormalDist()
    bias = normal.inv_cdf(min(max(below, 0.5 / len(means)), 1 - 0.5 / len(means)))
    levels = []
    for z in (-Z95, Z95):
        shifted = bias + z
        levels.append(normal.cdf(bias + shifted / (1 - acceleration * shifted)))
    low, high = np.quantile(means, levels)
    return float(low), float(high)
