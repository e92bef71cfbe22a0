"""What is recorded of every image: the columns of a cell and of the record.

A value that was not measured is the column's fill: 255 for uint8, -1 for integers, NaN for
floats. Truth values are uint8, 0 or 1. Floats are float32.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
"""A numeric array of the dtype that its column names."""

ANSWER: Mapping[str, str] = {
    "prediction": "i4",
    "confidence": "f4",
    "rank": "i4",
    "loss": "f4",
    "brier": "f4",
}
"""What a model answers to an image, in float32.

``confidence`` is the softmax probability of the predicted class; ``rank`` how many classes are
before the label, 0 where the prediction is right: a top-5 error is a rank of 5 or more. ``loss`` is
the cross-entropy and ``brier`` the squared distance of the probabilities from certainty of the
label, 0 to 2 (Brier, Monthly Weather Review 78, 1950).
"""

CLEAN: Mapping[str, str] = {"label": "i4", **ANSWER, "right": "u1", "least_likely": "i4"}
"""The clean pass: what the model answers to the untouched image.

``least_likely`` is the wrong class with the lowest logit.
"""

ATTACK: Mapping[str, str] = {
    "attacked": "u1",
    "success": "u1",
    "success_8bit": "u1",
    "misclassified": "u1",
    "misclassified_8bit": "u1",
    "ended": "u1",
    "target": "i4",
    **ANSWER,
    "prediction_8bit": "i4",
    "confidence_8bit": "f4",
    "steps": "i4",
    "forwards": "i4",
    "backwards": "i4",
    "average_pixel_change": "f4",
    "unshrunk_pixel_change": "f4",
    "pixels_over_threshold": "i4",
    "l0": "i4",
    "l2": "f4",
    "linf": "f4",
}
"""An attack, re-evaluated in float32 on the result as float and after rounding to 8 bits (_8bit).

``attacked`` is 1 where the attack was given the image: those that are right when clean and do not
have their target as their label (one target for all may be some images' own class). ``success`` is
the attack's goal, ``misclassified`` any wrong class. ``ended`` has the values of
`attacks.attacked.Ended`. ``target`` is -1 for untargeted attacks. ``unshrunk_pixel_change`` is the
average pixel change before `attacks.shrink` moved the image back, where it did.
``pixels_over_threshold`` has one value per threshold.

An image that was not attacked stands unchanged, with its clean answer, no steps and no change;
its 8-bit columns and ``target`` are not measured, and ``ended`` is 0 (already wrong) where it was
wrong and not measured otherwise.
"""

JUDGED: Mapping[str, str] = {
    "prediction": "i4",
    "confidence": "f4",
    "clean_prediction": "i4",
    "clean_confidence": "f4",
}
"""What a judge that was never attacked reads in an attack's results, as float, and, ``clean_``, in
their originals. Images that were not attacked are not judged. In a cell the columns stand beside
those of the attack, see `attack_columns`.
"""

CORRUPTED: Mapping[str, str] = {"label": "i4", **ANSWER, "right": "u1"}
"""A corruption at a severity, or a probe: what the model answers to the image that it made.

``label`` is in cells alone; the record has it once, beside the clean pass.
"""

ATTENTION: Mapping[str, str] = {
    "defined": "u1",
    "kept_mass": "f4",
    "centre_shift": "f4",
    "rank_correlation": "f4",
}
"""How far a corruption at a severity moves what the model looks at, see `benchmarks.attention`.

``defined`` is 1 where both Grad-CAM maps of the label have mass, 0 where one has none and the
measures are NaN. ``rank_correlation`` is NaN too where all cells of a map are equal.
"""

FILLS = {"u": 255, "i": -1, "f": float("nan")}
"""What a value that was not measured is, by the kind of its dtype."""


def fill(column_type: str) -> float:
    """The fill of a column type such as ``"u1"``."""
    return FILLS[column_type[0]]


def attack_columns(*, judged: bool) -> dict[str, str]:
    """The columns of an attack's cell: with a judge, what it reads is ``judge_...``."""
    judge = {f"judge_{name}": kind for name, kind in JUDGED.items()} if judged else {}
    return {**ATTACK, **judge}


def empty_rows(
    columns: Mapping[str, str], shape: int | tuple[int, ...], thresholds: int = 0
) -> NDArray[np.void]:
    """A structured array with every value at its fill."""
    dtype = np.dtype(
        [
            (name, "<" + kind, (thresholds,) if name == "pixels_over_threshold" else ())
            for name, kind in columns.items()
        ]
    )
    rows = np.empty(shape, dtype)
    for name, kind in columns.items():
        rows[name] = fill(kind)
    return rows
