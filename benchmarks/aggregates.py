"""Every number a table prints, computed from the per-image columns it is stored beside.

Denominators: ``images`` are those of finished cells. Rates of success are over ``attacked``; means
of steps and passes too. Means of how far images moved are over the successes alone, because where
an attack fails nobody knows how far it would have had to go; ``median_pixel_change`` is over all
attacked images with a failure counted as infinite. Robust accuracy is over the images that are
wrong untouched or were attacked: one that was spared, because the target is its own class, has
withstood nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.attacked import Ended
from benchmarks.columns import Array
from benchmarks.intervals import bootstrap_means, wilson

Columns = Mapping[str, Array]
Numbers = dict[str, Array]

COUNTS = (
    "images",
    "clean_wrong",
    "attacked",
    "succeeded",
    "succeeded_8bit",
    "misclassified",
    "random_state",
)
"""Numbers of images, (model, attack)."""

RATES = {
    "success_rate": ("succeeded", "attacked"),
    "success_rate_8bit": ("succeeded_8bit", "attacked"),
    "misclassified_rate": ("misclassified", "attacked"),
    "robust_accuracy": ("still_right", "judged"),
    "clean_accuracy": ("clean_right", "images"),
}
"""Rates as (numerator, denominator), each with a Wilson interval (model, attack, bound)."""

MEANS_OVER_SUCCESSES = {
    "mean_pixel_change": "average_pixel_change",
    "mean_pixel_change_unshrunk": "unshrunk_pixel_change",
    "mean_l0": "l0",
    "mean_l2": "l2",
    "mean_linf": "linf",
}
MEANS_OVER_ATTACKED = {
    "mean_steps": "steps",
    "forwards_per_image": "forwards",
    "backwards_per_image": "backwards",
}
"""Means of columns, each with a bootstrap interval (model, attack, bound)."""


@dataclass(frozen=True)
class ModelNumbers:
    """The aggregates of one model.

    Attributes:
        by_attack: name -> array (A,), (A, T) for ``pixels_over_threshold``, with a last axis of 2
            for every ``..._interval``.
        worst_case: name -> number or (2,): over the per-image worst case of the attacks it is over.
        robust: uint8 (E,): 1 where the image is right when clean and under every one of those that
            was given it, 0 where it is not, 255 where a cell failed or none was given it.
    """

    by_attack: Numbers
    worst_case: Numbers
    robust: NDArray[np.uint8]


def aggregate(
    clean: Columns, attacked: Columns, seed: int, worst_case: NDArray[np.bool_] | None = None
) -> ModelNumbers:
    """The aggregates of one model from its columns.

    Args:
        clean: the columns `benchmarks.columns.CLEAN`, each (E,).
        attacked: the columns `benchmarks.columns.ATTACK`, each (A, E), pixels_over_threshold
            (A, E, T).
        seed: of the bootstrap.
        worst_case: bool (A,), the attacks that the worst case is over; None for all.
    """
    given = attacked["attacked"] == 1
    measured = attacked["attacked"] != 255
    success = given & (attacked["success"] == 1)
    right = clean["right"] == 1
    counts: dict[str, NDArray[np.int64]] = {
        "images": measured.sum(axis=1),
        "clean_wrong": (measured & ~right).sum(axis=1),
        "attacked": given.sum(axis=1),
        "succeeded": success.sum(axis=1),
        "succeeded_8bit": (given & (attacked["success_8bit"] == 1)).sum(axis=1),
        "misclassified": (given & (attacked["misclassified"] == 1)).sum(axis=1),
        "random_state": (given & (attacked["ended"] == Ended.RANDOM_STATE)).sum(axis=1),
        "still_right": (given & (attacked["misclassified"] == 0)).sum(axis=1),
        "judged": (measured & (given | ~right)).sum(axis=1),
        "clean_right": (measured & right).sum(axis=1),
    }
    numbers: Numbers = {name: counts[name] for name in COUNTS}
    for name, (part, whole) in RATES.items():
        with np.errstate(invalid="ignore"):
            numbers[name] = counts[part] / np.where(counts[whole], counts[whole], np.nan)
        numbers[f"{name}_interval"] = wilson(counts[part], counts[whole])
    numbers |= _means(attacked, given, success, seed)
    numbers |= _order_statistics(attacked, given, success)
    over = slice(None) if worst_case is None else worst_case
    judging = {name: attacked[name][over] for name in ("misclassified", "attacked")}
    return ModelNumbers(numbers, *_worst_case(right, judging))


def error_numbers(name: str, right: NDArray[np.uint8]) -> Numbers:
    """An error by its name, with its Wilson ``..._interval`` and the ``..._images`` it is over.

    Args:
        name: of the error.
        right: (..., E), where a model was right: 1 or 0, and 255 where its cell did not finish.
    """
    images, wrong = (right != 255).sum(axis=-1), (right == 0).sum(axis=-1)
    return {
        name: np.asarray(wrong / np.where(images, images, np.nan)),
        f"{name}_interval": wilson(wrong, images),
        f"{name}_images": np.asarray(images),
    }


def _means(
    attacked: Columns, given: NDArray[np.bool_], success: NDArray[np.bool_], seed: int
) -> Numbers:
    """Means and their intervals, all attacks and measures resampled together."""
    attacks, examples = given.shape
    over = attacked["pixels_over_threshold"]
    names = [*MEANS_OVER_SUCCESSES, *MEANS_OVER_ATTACKED]
    # (K, A, E): NaN where an image does not count.
    values = np.concatenate(
        [
            [np.where(success, attacked[c], np.nan) for c in MEANS_OVER_SUCCESSES.values()],
            [np.where(given, attacked[c], np.nan) for c in MEANS_OVER_ATTACKED.values()],
            np.where(success, np.moveaxis(over, 2, 0), np.nan),
        ]
    ).astype(np.float64)
    means = np.full(values.shape[:2], np.nan)
    some = np.isfinite(values).any(axis=2)
    means[some] = np.nanmean(values[some], axis=1)
    flat = values.reshape(-1, examples).T
    intervals = bootstrap_means(flat, seed).reshape(len(values), attacks, 2)
    numbers: Numbers = {}
    for k, name in enumerate(names):
        numbers[name], numbers[f"{name}_interval"] = means[k], intervals[k]
    numbers["pixels_over_threshold"] = means[len(names) :].T
    numbers["pixels_over_threshold_interval"] = np.moveaxis(intervals[len(names) :], 0, 1)
    return numbers


def _order_statistics(
    attacked: Columns, given: NDArray[np.bool_], success: NDArray[np.bool_]
) -> Numbers:
    confidence = np.full(len(given), np.nan)
    change = np.full(len(given), np.nan)
    largest = np.full(len(given), np.nan)
    for a in range(len(given)):
        if success[a].any():
            confidence[a] = np.median(attacked["confidence"][a, success[a]].astype(np.float64))
        if given[a].any():
            moved = np.where(success[a], attacked["average_pixel_change"][a], np.inf)[given[a]]
            middle = np.sort(moved.astype(np.float64))[(len(moved) - 1) // 2 : len(moved) // 2 + 1]
            change[a] = middle.mean()
            largest[a] = attacked["linf"][a, given[a]].max()
    return {"median_confidence": confidence, "median_pixel_change": change, "max_linf": largest}


def _worst_case(right: NDArray[np.bool_], attacked: Columns) -> tuple[Numbers, NDArray[np.uint8]]:
    wrong, given = attacked["misclassified"], attacked["attacked"]
    # Without any attack nothing is judged, and there is no worst case.
    judged = (given == 1).any(axis=0) | (~right & bool(len(given)))
    judged &= (given != 255).all(axis=0)
    robust = np.where(judged, (wrong == 0).all(axis=0), 255).astype(np.uint8)
    images, still = int(judged.sum()), int((robust == 1).sum())
    numbers: Numbers = {
        "worst_case_images": np.array(images),
        "worst_case_robust_accuracy": np.array(still / images if images else np.nan),
        "worst_case_robust_accuracy_interval": wilson(still, images),
    }
    return numbers, robust
