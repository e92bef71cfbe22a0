"""What became of a claim of a record, and how a claim about predictions is judged."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.columns import Array

HOLDS, FAILS, UNCHECKED = "holds", "fails", "unchecked"

CLOSE = 1e-4
"""Logits differ in the last bits between devices and batch shapes; the softmax then moves less."""

SAME_MODEL = "the model is the one that was measured"


@dataclass(frozen=True)
class Finding:
    """A claim of the record and what became of it.

    Attributes:
        claim: what the record says.
        verdict: ``holds``, ``fails`` or ``unchecked``.
        detail: how it was checked and with what outcome, or why it could not be.
        model, attack: of which model and attack, or None for the record as a whole.
    """

    claim: str
    verdict: str
    detail: str
    model: str | None = None
    attack: str | None = None


def counted(
    claim: str,
    holds: NDArray[np.bool_],
    borderline: NDArray[np.bool_],
    what: str,
    model: str,
    attack: str | None = None,
) -> Finding:
    """What became of a claim about several images, ``what`` they are."""
    count = len(holds)
    near = int((holds & borderline).sum())
    note = f"; {near} within {CLOSE} of the line" if near else ""
    if holds.all():
        return Finding(claim, HOLDS, f"on all {count} {what}{note}", model, attack)
    detail = f"not on {int((~holds).sum())} of {count} {what}{note}"
    return Finding(claim, FAILS, detail, model, attack)


def prediction_holds(
    logits: Tensor, claimed: Mapping[str, Array], suffix: str = "", close: float = CLOSE
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether the claimed class is the top one, with the claimed confidence.

    Returns:
        (holds, only within the tolerance), each (N,).
    """
    probabilities = torch.softmax(logits.double(), dim=1).cpu().numpy()
    classes = probabilities.shape[1]
    prediction = claimed["prediction" + suffix].astype(np.int64)
    known = (prediction >= 0) & (prediction < classes)
    rows = np.arange(len(prediction))
    own = probabilities[rows, np.where(known, prediction, 0)]
    top = probabilities.max(axis=1)
    near = np.abs(claimed["confidence" + suffix].astype(np.float64) - own) <= close
    return known & (own >= top - close) & near, own < top
