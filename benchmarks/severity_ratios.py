"""Errors relative to a baseline's, severity by severity: mean over a family, ratio, interval."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.intervals import bootstrap_statistics
from benchmarks.reading import Record

Floats = NDArray[np.float64]


class SeverityRatios(NamedTuple):
    """Of F families at S severities, NaN where no image counts or the baseline makes no error.

    Attributes:
        ratio: (F, S), error over the baseline's error.
        interval: (F, S, 2), its 95 % bootstrap interval.
        images: (F, S), the images that all cells of both sides finished.
    """

    ratio: Floats
    interval: Floats
    images: NDArray[np.int64]


def severity_ratios(
    record: Record, models: Sequence[int], baseline: Sequence[int], seed: int = 0
) -> SeverityRatios:
    """Mean error over each family at each severity, divided by the baseline's.

    The errors of several models are averaged: replicates count as one. The intervals (BCa) come
    from resampling images, all models together; the noise of training is not in them.

    Args:
        record: with corrupted images.
        models: places of the models on the record's axis.
        baseline: those of the baseline.
        seed: of the bootstrap.
    """
    families, severities = record.axes.in_family, len(record.axes.severities)
    shape = (len(families), severities)
    ratio, interval = np.full(shape, np.nan), np.full((*shape, 2), np.nan)
    images = np.zeros(shape, np.int64)
    right = record.corrupted["right"]

    def divided(means: Floats) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(means[..., :severities] / means[..., severities:])

    for f, members in enumerate(families):
        sides = [right[list(side)][:, members] for side in (models, baseline)]  # (R, k, S, E)
        known = np.all([(side != 255).all(axis=(0, 1, 2)) for side in sides], axis=0)
        if not known.any():
            continue
        wrong = [(side[..., known] == 0).mean(axis=(0, 1)).T for side in sides]
        values = np.concatenate(wrong, axis=1)  # (E, 2 S)
        ratio[f] = divided(values.mean(axis=0))
        interval[f] = bootstrap_statistics(values, divided, seed)
        images[f] = int(known.sum())
    ratio[~np.isfinite(ratio)] = np.nan
    interval[~np.isfinite(interval)] = np.nan
    return SeverityRatios(ratio, interval, images)
