"""Believability: does a judge that was never attacked read an attack's successes as the model does?

A success is an image in which the attacked model reads a new class: the target, or any wrong one.
Where the judge reads that class too, either the image has come to mean it, or the judge shares the
model's weakness; where it still reads the true class, the change was visible to the model alone.
What is neither is read as some third class. All rates are over the successes, on the images as
float; how the judge reads the originals of the same images is what the rates are to be held
against.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from benchmarks.aggregates import Columns, Numbers
from benchmarks.columns import Array
from benchmarks.intervals import wilson

BELIEF_RATES: Mapping[str, str] = {
    "believed_rate": "believed",
    "believed_before_rate": "believed_before",
    "judge_keeps_rate": "judge_keeps",
    "judge_wrong_before_rate": "judge_wrong_before",
}
"""Rates over the judged successes, each with a Wilson interval, and what is counted for them."""

JUDGED_SUCCESSES = "judged_successes"
"""The count that the rates are over: the successes, but for those a joined record lacks."""

BELIEF_DENOMINATORS: Mapping[str, str] = {
    "believed_rate": "successes in which the judge reads the model's new class / successes",
    "believed_before_rate": "successes in whose originals it reads that class / successes",
    "judge_keeps_rate": "successes in which the judge reads the true class / successes",
    "judge_wrong_before_rate": "successes whose originals the judge has wrong / successes",
}
"""What each rate is taken over."""


def beliefs(
    labels: Array, attacked: Columns, judged: Mapping[str, Array]
) -> dict[str, NDArray[np.float64]]:
    """What each image adds to each of `BELIEF_RATES`: 1 or 0, NaN where it is no judged success.

    Args:
        labels: (E,) or (M, 1, E), whatever goes with the columns.
        attacked: the columns `benchmarks.columns.ATTACK`, (..., E) each.
        judged: the columns `benchmarks.columns.JUDGED`, likewise.
    """
    counts = (attacked["attacked"] == 1) & (attacked["success"] == 1) & (judged["prediction"] >= 0)
    read, before, new = judged["prediction"], judged["clean_prediction"], attacked["prediction"]
    holds = {
        "believed_rate": read == new,
        "believed_before_rate": before == new,
        "judge_keeps_rate": read == labels,
        "judge_wrong_before_rate": before != labels,
    }
    return {name: np.where(counts, each, np.nan) for name, each in holds.items()}


def belief_numbers(labels: Array, attacked: Columns, judged: Mapping[str, Array]) -> Numbers:
    """The rates of one model, (A,) each, their ``..._interval`` (A, 2) and their counts (A,).

    Args:
        labels: (E,).
        attacked, judged: columns (A, E), see `beliefs`.
    """
    numbers: Numbers = {}
    for name, each in beliefs(labels, attacked, judged).items():
        over = np.isfinite(each).sum(axis=-1)
        part = np.nansum(each, axis=-1).astype(np.int64)
        numbers[JUDGED_SUCCESSES] = over
        numbers[BELIEF_RATES[name]] = part
        numbers[name] = part / np.where(over, over, np.nan)
        numbers[f"{name}_interval"] = wilson(part, over)
    return numbers
