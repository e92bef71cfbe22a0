"""The drift of attention over images, computed from the per-image columns.

A cell is a corruption at a severity. Its number is the mean over the images of which the measure is
defined; a number over several cells is the mean of theirs. Intervals come from resampling the
images, all cells and measures together (BCa, 95 %); a resample in which a cell has no image left is
left out.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from benchmarks.columns import ATTENTION, Array
from benchmarks.corruption_axes import CorruptionAxes
from benchmarks.intervals import bootstrap_statistics

MEASURES = tuple(name for name in ATTENTION if name != "defined")

NUMBERS: Mapping[str, tuple[str, ...]] = {
    prefix + measure: dims
    for measure in MEASURES
    for prefix, dims in (
        ("", ("corruption", "severity")),
        ("severity_", ("severity",)),
        ("mean_", ()),
    )
}
"""The numbers by their axes: of a cell, and the means over the corruptions that count, at each
severity and over all. Each has its ``..._interval``; those of cells have the ``..._images`` that
they are over, and how many were measured without being defined, ``..._undefined``."""


def attention_aggregates(
    axes: CorruptionAxes, found: Mapping[str, Array], seed: int
) -> dict[str, Array]:
    """The numbers of one model, float64 with the axes of `NUMBERS`; NaN where there is no image.

    Args:
        axes: the K corruptions and S severities. Where none of the corruptions counts, means are
            over all of them.
        found: the model's columns (K, S, E); see `benchmarks.columns.ATTENTION`.
        seed: of the bootstrap.
    """
    measured = found["defined"] != 255
    values = np.stack([found[name] for name in MEASURES]).astype(np.float64)
    known = np.isfinite(values)
    cells = values.shape[:-1]  # measures, corruptions, severities
    counted = axes.counted if axes.counted.any() else np.ones_like(axes.counted)

    def means(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """The numbers (..., Q) from sums of values and counts (..., 2 x cells) over images."""
        total, over = np.split(sums, 2, axis=-1)
        with np.errstate(divide="ignore", invalid="ignore"):
            each = (total / over).reshape(*sums.shape[:-1], *cells)
        by_severity = each[..., counted, :].mean(axis=-2)
        parts = (each, by_severity, by_severity.mean(axis=-1))
        return np.concatenate([part.reshape(*sums.shape[:-1], -1) for part in parts], axis=-1)

    columns = np.concatenate([np.where(known, values, 0.0), known.astype(np.float64)])
    rows = columns.reshape(-1, columns.shape[-1]).T  # (E, 2 x cells)
    point, interval = means(rows.mean(axis=0)), bootstrap_statistics(rows, means, seed)
    images = known.sum(axis=-1)
    numbers: dict[str, Array] = {}
    start = 0
    for prefix, shape in (("", cells[1:]), ("severity_", cells[2:]), ("mean_", ())):
        for i, measure in enumerate(MEASURES):
            stop = start + int(np.prod(shape, dtype=np.int64))
            numbers[prefix + measure] = point[start:stop].reshape(shape)
            numbers[f"{prefix}{measure}_interval"] = interval[start:stop].reshape(*shape, 2)
            if not prefix:
                numbers[f"{measure}_images"] = images[i]
                numbers[f"{measure}_undefined"] = measured.sum(axis=-1) - images[i]
            start = stop
    return numbers


def attention_dims(name: str) -> tuple[str, ...] | None:
    """The axes of one of the numbers, without the bounds; None for another number."""
    for suffix in ("_interval", "_images", "_undefined"):
        name = name.removesuffix(suffix)
    return NUMBERS.get(name)
