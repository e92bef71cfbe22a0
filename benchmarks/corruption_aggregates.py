"""Every number about corrupted images, computed from the per-image columns.

A corruption's error is the share of images classified wrong, averaged over its severities. What is
taken over several cells is taken over the images of which all of them finished, of this model and,
where errors are divided by those of another model of the record, of that one. Its interval comes
from resampling those images, all cells and both models together.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks import metrics
from benchmarks.aggregates import error_numbers
from benchmarks.baselines import Baseline, baseline_of
from benchmarks.columns import Array
from benchmarks.corruption_axes import CorruptionAxes
from benchmarks.intervals import bootstrap_statistics

Numbers = dict[str, Array]


class Verdicts(NamedTuple):
    """Where a model was right: uint8, 1 or 0, and 255 where its cell did not finish.

    Attributes:
        clean: (E,), on the untouched images.
        corrupted: (K, S, E), by corruption and severity.
    """

    clean: NDArray[np.uint8]
    corrupted: NDArray[np.uint8]


class _Over(NamedTuple):
    """What a number is taken over."""

    dims: tuple[str, ...]
    clean: bool = False
    baseline: bool = False


NUMBERS = {
    "clean_error": _Over((), clean=True),
    "cell_error": _Over(("corruption", "severity")),
    "mean_error": _Over(("corruption",)),
    "ce": _Over(("corruption",), baseline=True),
    "relative_ce": _Over(("corruption",), clean=True, baseline=True),
    "family_mean_error": _Over(("family",)),
    "family_ratio": _Over(("family",), baseline=True),
    "mean_corruption_error": _Over(()),
    "mce": _Over((), baseline=True),
    "relative_mce": _Over((), clean=True, baseline=True),
}
"""The numbers by their axes. Each has its ``..._interval`` and the ``..._images`` it is over."""

_RATES = ("clean_error", "cell_error")
_OVER_CELLS = {name: over for name, over in NUMBERS.items() if name not in _RATES}


def baseline_errors(
    config: Mapping[str, Any], models: Sequence[str], verdicts: Callable[[int], Verdicts]
) -> Baseline | Verdicts | None:
    """What a run's errors are divided by: published errors, or the verdicts of one of its models.

    Args:
        config: the run's configuration.
        models: the names of its models.
        verdicts: gives those of a model by its number.

    Raises:
        ValueError: if the configuration names no such model.
    """
    baseline = baseline_of(config)
    if not isinstance(baseline, str):
        return baseline
    if baseline not in models:
        raise ValueError(f"The baseline, {baseline}, is none of the models")
    return verdicts(models.index(baseline))


def corruption_aggregates(
    axes: CorruptionAxes, verdicts: Verdicts, baseline: Baseline | Verdicts | None, seed: int
) -> Numbers:
    """The numbers of one model, float64 with the axes of `NUMBERS`.

    Intervals (..., 2) are Wilson's for the error of a cell and of the clean pass, else the
    bootstrap's. What needs a baseline, or cells that did not finish, is NaN.

    Args:
        axes: the K corruptions and S severities.
        verdicts: of the model.
        baseline: what errors are divided by: published errors, or a model's on the same images.
        seed: of the bootstrap.
    """
    numbers: Numbers = {}
    for name, right in zip(_RATES, verdicts, strict=True):
        numbers |= error_numbers(name, right)
    return numbers | _over_cells(CorruptionStatistics(axes, baseline), verdicts, baseline, seed)


def corruption_dims(name: str) -> tuple[str, ...]:
    """The axes of one of the numbers, its interval or its images, without the bounds."""
    return NUMBERS[name.removesuffix("_interval").removesuffix("_images")].dims


def _over_cells(
    statistics: "CorruptionStatistics",
    verdicts: Verdicts,
    baseline: Baseline | Verdicts | None,
    seed: int,
) -> Numbers:
    parts = [errors_by_image(verdicts)]
    if isinstance(baseline, Verdicts):
        parts.append(errors_by_image(baseline))
    errors = np.concatenate([part for part, _ in parts])
    finished = np.concatenate([known for _, known in parts])
    counted = [finished[columns].all(axis=0) for columns in statistics.needed()]
    values = np.full(len(counted), np.nan)
    intervals = np.full((len(counted), 2), np.nan)
    images = np.zeros(len(counted), np.int64)
    for mine in over_the_same(counted):
        rows = errors[:, counted[mine[0]]].T
        if not len(rows):
            continue
        with np.errstate(divide="ignore", invalid="ignore"):
            values[mine] = statistics(rows.mean(axis=0, dtype=np.float64))[mine]
        intervals[mine] = bootstrap_statistics(rows, statistics, seed)[mine]
        images[mine] = np.where(np.isfinite(values[mine]), len(rows), 0)
    return statistics.named(values, intervals, images)


def over_the_same(counted: Sequence[NDArray[np.bool_]]) -> list[list[int]]:
    """Which numbers are over the same images, mostly all of them: their places, set by set.

    Args:
        counted: for each number the images that it is over, bool (E,).
    """
    together: dict[bytes, list[int]] = {}
    for place, images in enumerate(counted):
        together.setdefault(images.tobytes(), []).append(place)
    return list(together.values())


def errors_by_image(verdicts: Verdicts) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """At how many severities of each corruption an image is wrong and, last, whether when clean.

    Returns:
        uint8 (K + 1, E), and whether all of those cells finished.
    """
    clean, corrupted = verdicts
    wrong = (corrupted == 0).sum(axis=1, dtype=np.uint8)
    known = (corrupted != 255).all(axis=1)
    return (
        np.concatenate([wrong, (clean == 0).astype(np.uint8)[None]]),
        np.concatenate([known, (clean != 255)[None]]),
    )


class CorruptionStatistics:
    """The numbers over several cells, one after the other, as a function of means over images.

    The means are those of `errors_by_image`, of the model's K corruptions and its clean pass and,
    where the baseline was measured, of its as well: (..., K + 1) or (..., 2 K + 2).
    """

    def __init__(self, axes: CorruptionAxes, baseline: Baseline | Verdicts | None) -> None:
        self._axes = axes
        self._baseline = baseline
        self._over = {
            ("corruption",): np.eye(len(axes.corruptions), dtype=np.bool_),
            ("family",): axes.in_family,
            (): axes.counted[None],
        }

    def __call__(self, means: NDArray[np.float64]) -> NDArray[np.float64]:
        """The numbers, (..., Q)."""
        size = len(self._axes.corruptions) + 1
        errors, clean = self._split(means[..., :size])
        base, base_clean = self._base(means[..., size:])
        ce = metrics.corruption_errors(errors, base)
        relative_ce = metrics.relative_corruption_errors(errors, clean, base, base_clean)
        families, model = self._over[("family",)], self._over[()]
        numbers = {
            "mean_error": errors,
            "ce": ce,
            "relative_ce": relative_ce,
            "family_mean_error": _means(errors, families),
            "family_ratio": _means(errors, families) / _means(base, families),
            "mean_corruption_error": _means(errors, model),
            "mce": _means(ce, model),
            "relative_mce": _means(relative_ce, model),
        }
        return np.concatenate([numbers[name] for name in _OVER_CELLS], axis=-1)

    def needed(self) -> NDArray[np.bool_]:
        """Which means each number depends on: (Q, number of means)."""
        blocks = []
        for dims, clean, baseline in _OVER_CELLS.values():
            corruptions = self._over[dims]
            own = np.hstack([corruptions, np.full((len(corruptions), 1), clean)])
            base = own & baseline
            blocks.append(np.hstack([own, base]) if isinstance(self._baseline, Verdicts) else own)
        return np.vstack(blocks)

    def named(
        self, values: NDArray[np.float64], intervals: NDArray[np.float64], images: NDArray[np.int64]
    ) -> Numbers:
        """The numbers by their names, with their intervals and images."""
        numbers: Numbers = {}
        start = 0
        for name, over in _OVER_CELLS.items():
            stop = start + len(self._over[over.dims])
            place: slice | int = slice(start, stop) if over.dims else start
            numbers[name] = np.asarray(values[place])
            numbers[f"{name}_interval"] = intervals[place]
            numbers[f"{name}_images"] = np.asarray(images[place])
            start = stop
        return numbers

    def _base(self, means: NDArray[np.float64]) -> tuple[Array, Array]:
        axes, baseline = self._axes, self._baseline
        if isinstance(baseline, Verdicts):
            return self._split(means)
        if baseline is None:
            return np.full(len(axes.corruptions), np.nan), np.array(np.nan)
        return baseline.mean_errors(axes.corruptions, axes.severities), np.array(baseline.clean)

    def _split(self, means: NDArray[np.float64]) -> tuple[Array, Array]:
        """Errors averaged over the severities (..., K), and on the untouched images (...)."""
        return means[..., :-1] / len(self._axes.severities), means[..., -1]


def _means(values: Array, over: NDArray[np.bool_]) -> Array:
    """The means over sets of the last axis, (..., sets): only what is in a set can make it NaN."""
    return np.stack([values[..., own].sum(axis=-1) / own.sum() for own in over], axis=-1)
