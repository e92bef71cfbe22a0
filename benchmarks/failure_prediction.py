"""Are wrong answers less confident than right ones: the risk-coverage curve, and ROC."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

_VALUES = 2**18  # answers x samples at a time: they stay in a processor's cache


def risk_coverage(
    confidence: ArrayLike, wrong: ArrayLike, weights: NDArray[np.integer] | None = None
) -> tuple[Floats, Floats]:
    """AURC, and the AUROC of predicting failure by confidence.

    With the answers ordered from the most to the least confident, the risk at coverage k/n is the
    error of the first k. AURC is its mean over k = 1 … n: the error that is left if the least
    confident are rejected, however many. Equally confident answers may stand in any order: the mean
    over all orders is taken, in closed form. AUROC is the probability that a right answer is more
    confident than a wrong one, ties counted half: 0.5 is chance.

    Source: Geifman & El-Yaniv, "Selective classification for deep neural networks", NeurIPS 2017;
    Geifman, Uziel & El-Yaniv, "Bias-reduced uncertainty estimation", ICLR 2019, for the area.

    Args:
        confidence: (n,).
        wrong: bool (n,).
        weights: (n, R), how often each answer is there in each of R samples; once by default.

    Returns:
        AURC and AUROC, float64 (R,) each. AURC is NaN for no answers, AUROC where none is right or
        none is wrong.

    >>> aurc, auroc = risk_coverage([0.9, 0.8, 0.7, 0.6], [False, False, True, True])
    >>> aurc.round(4).tolist(), auroc.tolist()  # (0 + 0 + 1/3 + 2/4) / 4
    ([0.2083], [1.0])
    """
    confidences, failures = np.asarray(confidence), np.asarray(wrong, np.bool_)
    if weights is None:
        weights = np.ones((len(confidences), 1), np.uint8)
    samples = weights.shape[1]
    if not len(confidences):
        return np.full(samples, np.nan), np.full(samples, np.nan)
    order = np.argsort(-confidences, kind="stable")
    confidences, failures = confidences[order], failures[order]
    # Equally confident answers are a group; those with a wrong one among them, first to last.
    first = np.append(True, confidences[1:] != confidences[:-1])
    group = first.cumsum() - 1
    starts = np.append(np.flatnonzero(first), len(order))
    places = np.flatnonzero(failures)
    groups, firsts = np.unique(group[places], return_index=True)
    parts = [np.empty((2, 0))]
    columns = max(1, _VALUES // len(order))
    for start in range(0, samples, columns):
        there = weights[order, start : start + columns]
        until = np.zeros((len(order) + 1, there.shape[1]), np.int32)
        there.cumsum(axis=0, dtype=np.int32, out=until[1:])
        fail = there[places].astype(np.int32)
        if len(groups) < len(places):
            fail = np.add.reduceat(fail, firsts)
        parts.append(_ranked(until[starts[groups]], until[starts[groups + 1]], fail, until[-1]))
    aurc, auroc = np.concatenate(parts, axis=1)
    return aurc, auroc


def _ranked(
    before: NDArray[np.int32],
    until: NDArray[np.int32],
    fail: NDArray[np.int32],
    total: NDArray[np.int32],
) -> Floats:
    """AURC and AUROC (2, R) from groups (G, R) of equal confidence that have wrong answers.

    A wrong answer at place j adds to the risk of every coverage from there on: 1/j + … + 1/n, which
    is H(n) - H(j - 1). Of a group of m answers behind N others, e of them wrong, each place has the
    expected share e/m of a wrong answer, so that H is summed over all places and multiplied by it.

    Args:
        before, until: answers before each group and up to its end, N and N + m.
        fail: wrong answers in it, e.
        total: (R,), n.
    """
    most = max(int(total.max()), 1)
    harmonic = np.append(0.0, np.cumsum(1.0 / np.arange(1, most + 1)))
    summed = np.append(0.0, harmonic.cumsum())  # over H(0) … H(k - 1)
    wrong, size = fail.sum(axis=0), until - before
    with np.errstate(divide="ignore", invalid="ignore"):
        taken = (summed[until] - summed[before]) * (fail / np.maximum(size, 1))
        aurc = (wrong * harmonic[total] - taken.sum(axis=0)) / total
        # Right answers before the group, and half of those in it.
        beaten = before - (fail.cumsum(axis=0) - fail) + 0.5 * (size - fail)
        right = (total - wrong).astype(np.float64)
        auroc = (fail * beaten).sum(axis=0) / (right * wrong)
    return np.stack([aurc, auroc])
