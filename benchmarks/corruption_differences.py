"""Differences of two rows of models in the numbers over many corrupted cells."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.baselines import Baseline
from benchmarks.corruption_aggregates import (
    CorruptionStatistics,
    Verdicts,
    errors_by_image,
    over_the_same,
)
from benchmarks.corruption_axes import CorruptionAxes
from benchmarks.intervals import resampled_statistics
from benchmarks.significance import Difference, bootstrap_p

_TIE = 1e-9  # of means over models of whole numbers


class Resampling(NamedTuple):
    """How examples are drawn again: the seed of the draws, and how often."""

    seed: int
    resamples: int


class PairedDifference(NamedTuple):
    """A difference, and the number of images that it is over."""

    difference: Difference
    images: int


def corruption_differences(
    axes: CorruptionAxes,
    first: Sequence[Verdicts],
    second: Sequence[Verdicts],
    baseline: Baseline | Verdicts | None,
    resampling: Resampling,
) -> dict[str, PairedDifference]:
    """How much larger the numbers of the first models are than those of the second.

    A row of several models has the mean of their numbers. Images are resampled with all their
    cells, under all models and a measured baseline, together. Each difference is over the images
    of which everything that it depends on finished.

    Args:
        axes: what was measured.
        first, second: where the models of either row were right.
        baseline: what errors are divided by, as in
            `benchmarks.corruption_aggregates.corruption_aggregates`.
        resampling: of the images.

    Returns:
        by the keys of `benchmarks.comparison_measures`; a number that is none has NaN.
    """
    statistics = CorruptionStatistics(axes, baseline)
    models = [*first, *second]
    parts = [errors_by_image(each) for each in models]
    if isinstance(baseline, Verdicts):
        parts.append(errors_by_image(baseline))
    errors = np.concatenate([part for part, _ in parts])
    finished = np.concatenate([known for _, known in parts])
    size = len(axes.corruptions) + 1
    weights = [1 / len(first)] * len(first) + [-1 / len(second)] * len(second)

    def differences(means: NDArray[np.float64]) -> NDArray[np.float64]:
        base = means[..., size * len(models) :]
        return sum(
            weight * statistics(np.concatenate([means[..., size * i : size * (i + 1)], base], -1))
            for i, weight in enumerate(weights)
        )  # type: ignore[return-value]  # there is at least one model

    needed = statistics.needed()
    own, base = needed[:, :size], needed[:, size:]
    counted = [finished[cells].all(axis=0) for cells in np.hstack([own] * len(models) + [base])]
    found = np.full((len(counted), 4), np.nan)
    images = np.zeros(len(counted), np.int64)
    for mine in over_the_same(counted):
        rows = errors[:, counted[mine[0]]].T
        if len(rows):
            resampled = resampled_statistics(rows, differences, *resampling)
            apart = sum(w * rows[:, size * i : size * (i + 1)] for i, w in enumerate(weights))
            differing = (((np.abs(apart) > _TIE) @ own.T) > 0).sum(axis=0)
            p = bootstrap_p(resampled, differing)
            found[mine] = np.column_stack([resampled.point, resampled.intervals(), p])[mine]
            images[mine] = len(rows)
    named = statistics.named(found, found[:, 1:3], images)
    differing_numbers = {
        name: PairedDifference(Difference(*named[name].tolist()), int(named[f"{name}_images"]))
        for name in ("mean_corruption_error", "mce", "relative_mce")
    }
    name = "family_mean_error"
    return differing_numbers | {
        f"{name}:{family}": PairedDifference(Difference(*values), int(count))
        for family, values, count in zip(
            axes.families, named[name].tolist(), named[f"{name}_images"], strict=True
        )
    }
