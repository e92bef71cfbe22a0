"""The numbers of a record as plain JSON values: what tables and ``--json`` show."""

import math
from collections.abc import Iterable

import numpy as np

from benchmarks.aggregates import COUNTS, MEANS_OVER_ATTACKED, MEANS_OVER_SUCCESSES, RATES
from benchmarks.columns import Array
from benchmarks.reading import Record

JSON = dict[str, object]

DENOMINATORS = {
    "images": "images of finished cells",
    "clean_wrong": "images that the model has wrong untouched; they are not attacked",
    "attacked": "images right untouched (and, under one target for all, not of that class)",
    "success_rate": "succeeded / attacked, in float32",
    "success_rate_8bit": "succeeded_8bit / attacked, after rounding the result to 8 bits",
    "misclassified_rate": "misclassified (any wrong class, at any confidence) / attacked",
    "clean_accuracy": "images right untouched / images",
    "robust_accuracy": "right untouched and after this one attack / (attacked + clean_wrong)",
    "mean_pixel_change": "over succeeded; failures have none (they censor it)",
    "mean_pixel_change_unshrunk": "over succeeded, before shrinking; null without it",
    "median_pixel_change": "over attacked, a failure counted as infinite; null if that is it",
    "mean_l0": "over succeeded",
    "mean_l2": "over succeeded",
    "mean_linf": "over succeeded",
    "max_linf": "over attacked",
    "pixels_over_threshold": "threshold -> mean count over succeeded",
    "median_confidence": "over succeeded: in the class predicted",
    "mean_steps": "over attacked",
    "forwards_per_image": "over attacked; the float32 evaluation is not counted",
    "backwards_per_image": "over attacked",
    "seconds": "attack, float32 evaluation and measures together",
}
"""What each number is taken over."""


def results(record: Record) -> list[JSON]:
    """One object per model and attack, models first.

    Every rate has ``..._interval`` (Wilson, 95 %) and every mean too (BCa bootstrap over images,
    95 %, 1000 resamples). A number that nothing was counted for is None. See `DENOMINATORS`.
    """
    return [
        _result(record, m, a) for m in range(len(record.models)) for a in range(len(record.attacks))
    ]


def worst_case(record: Record) -> list[JSON]:
    """One object per model: the share of images right untouched and under every attack run.

    The worst case is taken image by image, over the images on which every attack finished; those
    that are right and that no attack was given, because the target is their class, do not count.
    """
    numbers = record.aggregates
    return [
        {
            "model": model,
            "attacks": list(record.attacks),
            "images": int(numbers["worst_case_images"][m]),
            "robust_accuracy": _number(numbers["worst_case_robust_accuracy"][m]),
            "robust_accuracy_interval": _list(numbers["worst_case_robust_accuracy_interval"][m]),
        }
        for m, model in enumerate(record.models)
    ]


def _result(record: Record, m: int, a: int) -> JSON:
    model, attack, numbers = record.models[m], record.attacks[a], record.aggregates
    result: JSON = {"model": model, "attack": attack}
    result |= {name: int(numbers[name][m, a]) for name in COUNTS}
    for name in (*RATES, *MEANS_OVER_SUCCESSES, *MEANS_OVER_ATTACKED):
        result[name] = _number(numbers[name][m, a])
        result[f"{name}_interval"] = _list(numbers[f"{name}_interval"][m, a])
    for name in ("median_pixel_change", "median_confidence", "max_linf"):
        result[name] = _number(numbers[name][m, a])
    keys = [repr(float(threshold)) for threshold in record.thresholds]
    over, intervals = (
        numbers["pixels_over_threshold"][m, a],
        numbers["pixels_over_threshold_interval"][m, a],
    )
    result["pixels_over_threshold"] = dict(zip(keys, _list(over), strict=True))
    result["pixels_over_threshold_interval"] = dict(zip(keys, map(_list, intervals), strict=True))
    seconds = [record.timing[f"{part}_seconds"][m, a] for part in ("attack", "evaluation")]
    result["seconds"] = float(sum(seconds))
    result["goal_confidence"] = _number(record.attacked["goal_confidence"][m, a])
    found = {
        (caution["code"], caution["message"]): None
        for caution in record.cautions
        if caution["model"] == model and caution["attack"] in (None, attack)
    }
    result["cautions"] = [{"code": code, "message": message} for code, message in found]
    result["failures"] = [
        {"start": failure["start"], "stop": failure["stop"], "reason": failure["reason"]}
        for failure in record.failures
        if failure["model"] == model and failure["attack"] == attack
    ]
    return result


def _number(value: object) -> float | None:
    number = float(np.asarray(value, dtype=np.float64))
    return number if math.isfinite(number) else None


def _list(values: Iterable[object] | Array) -> list[float | None]:
    return [_number(value) for value in values]
