"""Does a model know when it is wrong: calibration and failure prediction, condition by condition.

*Calibration* asks whether of the answers given with confidence 0.8 about 80 % are right. *Failure
prediction* asks whether wrong answers have less confidence than right ones, so that the least
confident could be left to somebody else.

References:
    Guo, Pleiss, Sun & Weinberger, "On calibration of modern neural networks", ICML 2017: ECE.
    Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather Review 78,
    1950.
    Bröcker & Smith, "Increasing the reliability of reliability diagrams", Weather and Forecasting
    22, 2007: what chance alone shows of a calibrated forecast.
    Geifman & El-Yaniv, "Selective classification for deep neural networks", NeurIPS 2017: AURC, see
    `benchmarks.failure_prediction`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchmarks.columns import Array
from benchmarks.failure_prediction import risk_coverage
from benchmarks.intervals import RESAMPLES, bootstrap_means, resampled, wilson
from benchmarks.reading import Record
from benchmarks.record_conditions import Answers, conditions

JSON = dict[str, object]
Floats = NDArray[np.float64]

BINS = 15
"""Of equal width, as in Guo et al. 2017."""

DENOMINATORS = {
    "images": "images that the model answered to under the condition, those wrong untouched too",
    "error": "wrong / images; under an attack 1 - robust accuracy against it",
    "mean_confidence": "mean probability of the predicted class, over images",
    "mean_loss": "mean cross-entropy in nats, over images",
    "brier": "mean squared distance of the probabilities from certainty of the label, 0 to 2",
    "ece": f"sum over {BINS} bins of equal width of |right - confidence|, / images",
    "ece_if_calibrated": "what ece would be on average if every confidence were true",
    "aurc": "mean, over how many of the most confident answers are kept, of their error",
    "failure_auroc": "how often a right answer is more confident than a wrong one; ties half",
    "mean_over_corruptions": "mean over the corruptions and severities that mCE is taken over",
}
"""What each number is taken over."""

_MEANS = ("mean_confidence", "mean_loss", "brier")
_OTHERS = ("ece", "aurc", "failure_auroc")
_ONE_SIDED = 1.6449  # standard deviations that a normal value is above with probability 0.05


def calibration(record: Record, *, seed: int = 0) -> list[JSON]:
    """How far each model's confidence can be trusted; one object per model.

    ``conditions`` has one entry for each condition of the record: its numbers (see `DENOMINATORS`),
    each with ``..._interval``, 95 % over images. ``mean_over_corruptions`` has their means over the
    cells that mCE is taken over, over the images that all of them count; None where there are none.
    A number that nothing was counted for is None: so is ``failure_auroc`` without a wrong answer.

    Intervals are Wilson's for ``error``, else from 1000 resamples of the images: BCa for the means,
    percentiles for ``aurc`` and ``failure_auroc``, `ece_interval` for ``ece``.

    Args:
        record: with any conditions.
        seed: of the bootstrap; all conditions of a model share its draws.
    """
    asked = list(conditions(record))
    counted = {
        name
        for name, counts in zip(record.axes.corruptions, record.axes.counted, strict=True)
        if counts
    }
    # How often each image was drawn: (images, resamples).
    drawn = np.ascontiguousarray(resampled(len(record.ids), seed, RESAMPLES).T)
    averaged = [c for c, answers in enumerate(asked) if answers.corruption in counted]
    return [
        {"model": model} | _model(asked, averaged, m, record.clean["label"][m], drawn, seed)
        for m, model in enumerate(record.models)
    ]


def reliability(confidence: ArrayLike, right: ArrayLike, bins: int = BINS) -> list[JSON]:
    """The reliability diagram: how often answers of each confidence are right.

    Args:
        confidence: (n,), in [0, 1].
        right: bool (n,).
        bins: how many of equal width; a bin holds its upper end.

    Returns:
        One object per bin: ``low``, ``high``, ``images``, their mean ``confidence`` and
        ``accuracy`` with its Wilson ``accuracy_interval``, None where the bin is empty.
    """
    confidences, verdicts = np.asarray(confidence, np.float64), np.asarray(right, np.bool_)
    bin_of = _bins(confidences, bins)
    images = np.bincount(bin_of, minlength=bins)
    successes = np.bincount(bin_of, verdicts, bins)
    intervals = wilson(successes, images)
    with np.errstate(invalid="ignore"):
        means, accuracies = np.bincount(bin_of, confidences, bins) / images, successes / images
    return [
        {
            "low": b / bins,
            "high": (b + 1) / bins,
            "images": int(images[b]),
            "confidence": _number(means[b]),
            "accuracy": _number(accuracies[b]),
            "accuracy_interval": _interval(intervals[b]),
        }
        for b in range(bins)
    ]


def expected_calibration_error(confidence: ArrayLike, right: ArrayLike, bins: int = BINS) -> float:
    """ECE: Σ over bins of |accuracy - mean confidence| x share of the images (Guo et al. 2017).

    It is biased upwards: chance alone moves the accuracy of a bin away from its confidence, the
    more so the fewer images there are. `calibrated_ece` tells how much chance alone would show.

    Args:
        confidence: (n,), in [0, 1].
        right: bool (n,).
        bins: how many of equal width; a bin holds its upper end.

    >>> expected_calibration_error([0.75, 0.75, 0.75, 0.75], [True, True, True, False])
    0.0
    """
    gaps = _gaps(np.asarray(confidence, np.float64), np.asarray(right, np.bool_), bins)
    return float(np.abs(gaps.sum(axis=0)).sum() / len(gaps)) if len(gaps) else math.nan


def calibrated_ece(confidence: ArrayLike, bins: int = BINS) -> tuple[float, float]:
    """The ECE that chance alone shows if every confidence is true: its mean and standard deviation.

    In a bin the number of right answers is then off from the sum of confidences by a sum of
    independent Bernoulli deviations, taken as normal of variance Σ c (1 - c).

    Args:
        confidence: (n,), in [0, 1].
        bins: how many of equal width.
    """
    confidences = np.asarray(confidence, np.float64)
    variance = np.bincount(_bins(confidences, bins), confidences * (1 - confidences), bins)
    variance = np.maximum(variance, 0)  # a softmax rounded to float32 may be over 1 by 1e-7
    count = len(confidences) or math.nan
    mean = math.sqrt(2 / math.pi) * float(np.sqrt(variance).sum()) / count
    return mean, math.sqrt((1 - 2 / math.pi) * float(variance.sum())) / count


def ece_interval(value: float, resampled_values: Floats, calibrated: tuple[float, float]) -> Floats:
    """The 95 % interval of an ECE: the basic bootstrap's, (2,).

    Resampling biases an ECE upwards once more, as sampling did. So percentiles of the resamples
    would lie above the truth (of 300 images with a true ECE of 0.024 they never covered it), while
    the basic interval, [2 ECE - upper, 2 ECE - lower percentile], takes the bias off. It has 0 as
    its lower end where chance alone could show this ECE, and its upper end is at least the ECE.

    Args:
        value: the ECE.
        resampled_values: ECEs of resamples.
        calibrated: see `calibrated_ece`.
    """
    low, high = 2 * value - np.quantile(resampled_values, [0.975, 0.025])
    chance = calibrated[0] + _ONE_SIDED * calibrated[1]
    return np.array([0.0 if value <= chance else max(0.0, low), max(high, value)])


def _model(
    asked: Sequence[Answers],
    averaged: Sequence[int],
    m: int,
    labels: NDArray[np.int32],
    drawn: NDArray[np.uint8],
    seed: int,
) -> JSON:
    """Every condition of one model, and the means over those at the places ``averaged``."""
    columns = [{name: values[m] for name, values in each.columns.items()} for each in asked]
    measured = [each.measured[m] for each in asked]
    parts = [_measured(columns[c], labels, measured[c], drawn) for c in range(len(asked))]
    # A mean over cells is over the images that all of them count.
    common = np.all([measured[c] for c in averaged], axis=0)
    cells = [
        parts[c] if (measured[c] == common).all() else _measured(columns[c], labels, common, drawn)
        for c in averaged
    ]
    stacked = [part.per_image for part in parts]
    if cells:
        stacked.append(np.mean([cell.per_image for cell in cells], axis=0))
    together = np.concatenate(stacked, axis=1)
    intervals = bootstrap_means(together, seed).reshape(-1, len(_MEANS) + 1, 2)
    told = [
        _told(each, part, ends[1:])
        for each, part, ends in zip(asked, parts, intervals, strict=False)
    ]
    mean = _averaged(cells, stacked[-1], intervals[-1]) if cells else None
    return {"conditions": told, "mean_over_corruptions": mean}


@dataclass(frozen=True)
class _Measured:
    """One model under one condition, over some images.

    Attributes:
        per_image: (E, 4), wrong and the columns of `_MEANS`, NaN where the image does not count.
        values: `_OTHERS` (3,), and ``resamples`` (3, R) of the images.
        calibrated: see `calibrated_ece`.
    """

    per_image: Floats
    values: Floats
    resamples: Floats
    calibrated: tuple[float, float]


def _measured(
    columns: Mapping[str, Array],
    labels: NDArray[np.int32],
    images: NDArray[np.bool_],
    drawn: NDArray[np.uint8],
) -> _Measured:
    """What columns (E,) say over ``images``, bool (E,)."""
    wrong = columns["prediction"] != labels
    found = [wrong, columns["confidence"], columns["loss"], columns["brier"]]
    confidence = columns["confidence"][images]
    return _Measured(
        np.where(images, found, np.nan).T.astype(np.float64),
        *_ranked(confidence, wrong[images], images, drawn),
        calibrated_ece(confidence),
    )


def _told(answers: Answers, part: _Measured, means_intervals: Floats) -> JSON:
    """The numbers of one condition."""
    counted = part.per_image[np.isfinite(part.per_image[:, 0])]
    count, errors = len(counted), int(counted[:, 0].sum())
    numbers: JSON = {
        "condition": answers.condition,
        "kind": answers.kind,
        "corruption": answers.corruption,
        "severity": answers.severity,
        "images": count,
        "error": errors / count if count else None,
        "error_interval": _interval(wilson(errors, count)),
    }
    for k, name in enumerate(_MEANS):
        numbers[name] = _number(counted[:, k + 1].mean()) if count else None
        numbers[f"{name}_interval"] = _interval(means_intervals[k])
    return numbers | _others(part.values, part.resamples, part.calibrated)


def _averaged(cells: Sequence[_Measured], per_image: Floats, intervals: Floats) -> JSON:
    """The means over cells, over the images that all of them count."""
    counted = np.isfinite(per_image[:, 0])
    means = per_image[counted].mean(axis=0) if counted.any() else np.full(len(_MEANS) + 1, np.nan)
    numbers: JSON = {"cells": len(cells), "images": int(counted.sum())}
    for k, name in enumerate(("error", *_MEANS)):
        numbers |= {name: _number(means[k]), f"{name}_interval": _interval(intervals[k])}
    values = np.mean([cell.values for cell in cells], axis=0)
    resamples = np.mean([cell.resamples for cell in cells], axis=0)
    # The deviations of cells that share their images are not independent: their standard
    # deviations are added, as if they all went together.
    calibrated = np.mean([cell.calibrated for cell in cells], axis=0)
    return numbers | _others(values, resamples, (float(calibrated[0]), float(calibrated[1])))


def _others(values: Floats, resamples: Floats, calibrated: tuple[float, float]) -> JSON:
    """`_OTHERS` with their intervals, from their values (3,) and those of resamples (3, R)."""
    numbers: JSON = {}
    for value, drawn, name in zip(values, resamples, _OTHERS, strict=True):
        known = drawn[np.isfinite(drawn)]
        interval = np.full(2, np.nan)
        if math.isfinite(value) and len(known):
            interval = np.quantile(known, [0.025, 0.975])
            if name == "ece":
                interval = ece_interval(float(value), known, calibrated)
        numbers |= {name: _number(value), f"{name}_interval": _interval(interval)}
    return numbers | {"ece_if_calibrated": _number(calibrated[0])}


def _ranked(
    confidence: NDArray[np.float32],
    wrong: NDArray[np.bool_],
    measured: NDArray[np.bool_],
    drawn: NDArray[np.uint8],
) -> tuple[Floats, Floats]:
    """`_OTHERS` of the answers (3,), and of resamples of the record's images (3, R)."""
    gaps = _gaps(confidence.astype(np.float64), ~wrong, BINS)
    resamples = np.full((3, drawn.shape[1]), np.nan)
    if not len(gaps):
        return np.full(3, np.nan), resamples
    ece = np.abs(gaps.sum(axis=0)).sum() / len(gaps)
    values = np.array([ece, *np.concatenate(risk_coverage(confidence, wrong))])
    if len(gaps) == 1:  # no spread to resample
        return values, resamples
    weights = drawn if measured.all() else drawn[measured]
    sums = gaps.T.astype(np.float32) @ weights.astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        resamples[0] = np.abs(sums).sum(axis=0) / weights.sum(axis=0, dtype=np.int64)
    resamples[1:] = risk_coverage(confidence, wrong, weights)
    return values, resamples


def _gaps(confidence: Floats, right: NDArray[np.bool_], bins: int) -> Floats:
    """Right (1 or 0) less confidence, in the column of the answer's bin: (n, bins)."""
    gaps = np.zeros((len(confidence), bins))
    gaps[np.arange(len(confidence)), _bins(confidence, bins)] = right - confidence
    return gaps


def _bins(confidence: Floats, bins: int) -> NDArray[np.int64]:
    """The bin of each confidence, 0 to bins - 1; bin b holds (b / bins, (b + 1) / bins]."""
    edges = np.arange(1, bins) / bins
    return np.searchsorted(edges, confidence, side="left").astype(np.int64)


def _number(value: float | np.floating) -> float | None:
    return float(value) if math.isfinite(value) else None


def _interval(ends: Floats) -> list[float] | None:
    return [float(end) for end in ends] if np.isfinite(ends).all() else None
