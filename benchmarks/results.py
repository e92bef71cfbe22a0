"""The numbers of a record as plain JSON values: what tables and ``--json`` show."""

import math
from collections.abc import Iterable, Mapping

import numpy as np

from benchmarks.aggregates import (
    COUNTS,
    MEANS_OVER_ATTACKED,
    MEANS_OVER_SUCCESSES,
    RATES,
    error_numbers,
)
from benchmarks.believability import BELIEF_DENOMINATORS, BELIEF_RATES, JUDGED_SUCCESSES
from benchmarks.budgets import worst_case_attacks
from benchmarks.columns import Array
from benchmarks.corruption_axes import family
from benchmarks.reading import Record

JSON = dict[str, object]

_OF_OTHERS = {"corruption", "probe"}  # entries with one of these are about no attack or clean pass

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
    **BELIEF_DENOMINATORS,
}
"""What each number is taken over."""


CORRUPTION_DENOMINATORS = {
    "images": "images of which every cell that counts finished",
    "clean_error": "wrong / images, untouched",
    "errors": "wrong / images of the finished cell, in float32",
    "mean_error": "mean of errors over the severities",
    "ce": "mean_error / the baseline's mean_error",
    "relative_ce": "(mean_error - clean_error) / the same of the baseline",
    "families": "mean of mean_error over the family's corruptions; ratio: / the baseline's",
    "mean_corruption_error": "mean of mean_error over the corruptions that count: unnormalised",
    "mce": "mean of ce over the corruptions that count",
    "relative_mce": "mean of relative_ce over the corruptions that count",
    "over": "corruptions that count: the standard ones measured, with the extra ones if asked for",
    "seconds": "corrupting (once for all models, on the first) and float32 evaluation together",
}
"""What each number of `corruption_results` is taken over."""


PROBE_DENOMINATORS = {
    "images": "images of finished cells",
    "clean_error": "wrong / images of finished cells, untouched",
    "error": "wrong / images, in float32",
    "seconds": "probing (once for all models, on the first) and float32 evaluation together",
}
"""What each number of `probe_results` is taken over."""


def results(record: Record) -> list[JSON]:
    """One object per model and attack, models first.

    Every rate has ``..._interval`` (Wilson, 95 %) and every mean too (BCa bootstrap over images,
    95 %, 1000 resamples). A number that nothing was counted for is None. Where there was a judge,
    ``judge`` is its name and the numbers of `benchmarks.believability` are there. See
    `DENOMINATORS`.
    """
    return [
        _result(record, m, a) for m in range(len(record.models)) for a in range(len(record.attacks))
    ]


def worst_case(record: Record) -> list[JSON]:
    """One object per model: the share of images right untouched and under every attack that counts.

    These are the attacks with a budget, or all where none has one, see `benchmarks.budgets`. The
    worst case is taken image by image, over the images on which each of them finished; those
    that are right and that no attack was given, because the target is their class, do not count.
    """
    numbers, over = record.aggregates, worst_case_attacks(record.attacks)
    attacks = [attack for attack, counts in zip(record.attacks, over, strict=True) if counts]
    return [
        {
            "model": model,
            "attacks": attacks,
            "images": int(numbers["worst_case_images"][m]),
            "robust_accuracy": _number(numbers["worst_case_robust_accuracy"][m]),
            "robust_accuracy_interval": _list(numbers["worst_case_robust_accuracy_interval"][m]),
        }
        for m, model in enumerate(record.models)
    ]


def corruption_results(record: Record) -> list[JSON]:
    """One object per model with its errors on corrupted images; empty if nothing was corrupted.

    Errors are fractions of images, and so are ratios to the baseline: an mCE of 0.767 is the 76.7
    of the literature. Every error of a cell has its Wilson interval, every number over several
    cells that of a bootstrap over images (BCa, 95 %, 1000 resamples). A number that needs a
    baseline, or of which nothing was measured, is None. See `CORRUPTION_DENOMINATORS`.
    """
    models = range(len(record.models)) if record.corrupted else ()
    return [_corruption_result(record, m) for m in models]


def _corruption_result(record: Record, m: int) -> JSON:
    axes, numbers = record.axes, record.aggregates
    baseline = record.config.get("baseline")
    if isinstance(baseline, Mapping):
        baseline = {key: baseline[key] for key in ("name", "source", "measured")}

    def told(name: str, *place: int, shown: str | None = None) -> JSON:
        return {
            shown or name: _number(numbers[name][(m, *place)]),
            f"{shown or name}_interval": _list(numbers[f"{name}_interval"][(m, *place)]),
        }

    corruptions: JSON = {}
    for k, name in enumerate(axes.corruptions):
        at = range(len(axes.severities))
        keys = list(map(str, axes.severities))
        intervals = [_list(numbers["cell_error_interval"][m, k, s]) for s in at]
        corruptions[name] = {
            "family": family(name),
            "images": int(numbers["mean_error_images"][m, k]),
            "errors": dict(zip(keys, _list(numbers["cell_error"][m, k]), strict=True)),
            "errors_interval": dict(zip(keys, intervals, strict=True)),
            **told("mean_error", k),
            **told("ce", k),
            **told("relative_ce", k),
        }
    families = {
        name: told("family_mean_error", f, shown="mean_error")
        | told("family_ratio", f, shown="ratio")
        for f, name in enumerate(axes.families)
    }
    model = record.models[m]
    parts = ("corruption_seconds", "corrupted_evaluation_seconds")
    return {
        "model": model,
        "images": int(numbers["mean_corruption_error_images"][m]),
        **told("clean_error"),
        "corruptions": corruptions,
        "families": families,
        **told("mean_corruption_error"),
        **told("mce"),
        "mce_images": int(numbers["mce_images"][m]),
        **told("relative_mce"),
        "relative_mce_images": int(numbers["relative_mce_images"][m]),
        "over": int(axes.counted.sum()),
        "severities": list(axes.severities),
        "baseline": baseline,
        "seconds": float(sum(record.timing[part][m].sum() for part in parts)),
        "cautions": _distinct(_unattacked(record.cautions, model)),
        "failures": [
            {key: each.get(key) for key in ("corruption", "severity", "start", "stop", "reason")}
            for each in _unattacked(record.failures, model)
        ],
    }


def probe_results(record: Record) -> list[JSON]:
    """One object per model and probe, models first; empty if nothing was probed.

    Errors are fractions of images with their Wilson intervals (95 %), None where no cell finished.
    See `PROBE_DENOMINATORS`.
    """
    models = range(len(record.models)) if record.probed else ()
    return [_probe_result(record, m, p) for m in models for p in range(len(record.probes))]


def _probe_result(record: Record, m: int, p: int) -> JSON:
    model, probe, numbers = record.models[m], record.probes[p], record.aggregates
    clean = error_numbers("clean_error", record.clean["right"][m])
    parts = ("probe_seconds", "probed_evaluation_seconds")

    def mine(entries: Iterable[Mapping[str, object]]) -> list[Mapping[str, object]]:
        return [e for e in entries if e["model"] == model and e.get("probe") == probe]

    return {
        "model": model,
        "probe": probe,
        "images": int(numbers["probe_error_images"][m, p]),
        "clean_error": _number(clean["clean_error"]),
        "clean_error_interval": _list(clean["clean_error_interval"]),
        "error": _number(numbers["probe_error"][m, p]),
        "error_interval": _list(numbers["probe_error_interval"][m, p]),
        "seconds": float(sum(record.timing[part][m, p] for part in parts)),
        "cautions": _distinct(mine(record.cautions)),
        "failures": [
            {key: each[key] for key in ("start", "stop", "reason")}
            for each in mine(record.failures)
        ],
    }


def _unattacked(entries: Iterable[Mapping[str, object]], model: str) -> list[Mapping[str, object]]:
    """The cautions or failures of a model's corrupted cells and clean passes."""
    return [
        each
        for each in entries
        if each["model"] == model and each["attack"] is None and "probe" not in each
    ]


def _distinct(cautions: Iterable[Mapping[str, object]]) -> list[JSON]:
    found = {(caution["code"], caution["message"]): None for caution in cautions}
    return [{"code": code, "message": message} for code, message in found]


def _result(record: Record, m: int, a: int) -> JSON:
    model, attack, numbers = record.models[m], record.attacks[a], record.aggregates
    result: JSON = {"model": model, "attack": attack}
    result |= {name: int(numbers[name][m, a]) for name in COUNTS}
    for name in (*RATES, *MEANS_OVER_SUCCESSES, *MEANS_OVER_ATTACKED):
        result[name] = _number(numbers[name][m, a])
        result[f"{name}_interval"] = _list(numbers[f"{name}_interval"][m, a])
    for name in ("median_pixel_change", "median_confidence", "max_linf"):
        result[name] = _number(numbers[name][m, a])
    if record.judged:
        result |= _belief(record, m, a)
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
    result["cautions"] = _distinct(
        caution
        for caution in record.cautions
        if caution["model"] == model
        and caution["attack"] in (None, attack)
        and not _OF_OTHERS & set(caution)
    )
    result["failures"] = [
        {"start": failure["start"], "stop": failure["stop"], "reason": failure["reason"]}
        for failure in record.failures
        if failure["model"] == model and failure["attack"] == attack
    ]
    return result


def _belief(record: Record, m: int, a: int) -> JSON:
    numbers = record.aggregates
    counts = (JUDGED_SUCCESSES, *BELIEF_RATES.values())
    found: JSON = {"judge": record.judge} | {name: int(numbers[name][m, a]) for name in counts}
    for name in BELIEF_RATES:
        found[name] = _number(numbers[name][m, a])
        found[f"{name}_interval"] = _list(numbers[f"{name}_interval"][m, a])
    return found


def _number(value: object) -> float | None:
    number = float(np.asarray(value, dtype=np.float64))
    return number if math.isfinite(number) else None


def _list(values: Iterable[object] | Array) -> list[float | None]:
    return [_number(value) for value in values]
