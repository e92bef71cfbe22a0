"""Errors class by class: which are the worst, and what they are mistaken for."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.columns import Array
from benchmarks.intervals import wilson
from benchmarks.reading import Record
from benchmarks.record_conditions import Answers, conditions

JSON = dict[str, object]

TOP = 5
MISTAKES = 3
"""How many wrong classes a class is told to be mistaken for in `class_tables`."""

DENOMINATORS = {
    "images": "images of the class that the model answered to, at every severity asked for",
    "answers": "images x severities",
    "top1_error": "answers that are wrong / answers",
    "top5_error": "answers with the class not among the first five / answers",
    "mean_loss": "mean cross-entropy in nats, over answers",
    "mistaken_for": "the most frequent wrong predictions; count / answers is their share",
}
"""What each number is taken over."""


@dataclass(frozen=True)
class _Asked:
    """One model's answers under a condition: S severities of a corruption, else one.

    Attributes:
        severities: (S,), None each where there are none.
        labels: (E,), the images of which every answer counts, by the record's places ``rows`` (E,).
        prediction, rank, confidence, loss: (S, E).
    """

    severities: tuple[int | None, ...]
    rows: NDArray[np.int64]
    labels: Array
    prediction: Array
    rank: Array
    confidence: Array
    loss: Array


def class_tables(record: Record, condition: str = "clean", *, worst: int = 10) -> list[JSON]:
    """The errors of every class under one condition; one object per model.

    ``classes`` has an object for each class with images, in the order of their numbers: its numbers
    (see `DENOMINATORS`), ``top1_error`` and ``top5_error`` with Wilson's 95 % intervals, and the
    classes it is ``mistaken_for``, the most frequent first. ``worst_top1`` and ``worst_top5`` are
    the numbers of the classes with the largest errors, of equal ones that with the higher loss
    first; classes without an error are not among them. With up to five classes no image misses the
    first five, and ``top5_error`` is 0.

    Args:
        record: with any conditions.
        condition: ``"clean"``, the record's name of an attack, ``"corruption@severity"``,
            a probe's, or ``"corruption"`` for all its severities together. An interval then counts
            an image once, not once for each severity, which makes it wide enough: the mean of
            several verdicts varies no more than one.
        worst: how many classes are called the worst.

    Raises:
        ValueError: if the record has no such condition.
    """
    asked, names = find_conditions(record, condition), class_names(record)
    told: list[JSON] = []
    for m, model in enumerate(record.models):
        classes = _classes(_asked(record, asked, m), names, MISTAKES)
        told.append(
            {
                "model": model,
                "condition": condition,
                "severities": [each.severity for each in asked if each.severity is not None],
                "classes": classes,
                "worst_top1": _worst(classes, "top1_error", worst),
                "worst_top5": _worst(classes, "top5_error", worst),
            }
        )
    return told


def class_breakdown(record: Record, name: str, condition: str = "clean") -> list[JSON]:
    """One class under one condition in detail; one object per model.

    Its numbers are those of `class_tables`, with all the classes that it is ``mistaken_for``.
    ``taken_for_it`` counts the answers to images of other classes that say this one. ``wrong``
    lists every wrong answer, the most confident first: the example's ``id``, the ``severity`` (of a
    corruption), the ``prediction`` with its name and ``confidence``, the ``rank`` of the class (0
    is first) and the ``loss``. ``top5_misses`` are those without the class among the first five.

    Args:
        record: with any conditions.
        name: of the class, or its number.
        condition: as for `class_tables`.

    Raises:
        ValueError: if the record has no such condition or no such class.
    """
    asked, names = find_conditions(record, condition), class_names(record)
    number = class_number(names, name)
    told = []
    for m, model in enumerate(record.models):
        answers = _asked(record, asked, m)
        found = [each for each in _classes(answers, names) if each["class"] == number]
        own = answers.labels == number
        taken = answers.labels[np.nonzero(~own & (answers.prediction == number))[1]]
        wrong = own & (answers.prediction != number)
        told.append(
            {
                "model": model,
                "condition": condition,
                "severities": [each.severity for each in asked if each.severity is not None],
                **(found[0] if found else {"class": number, "name": names[number], "images": 0}),
                "taken_for_it": _counted(np.bincount(taken, minlength=len(names)), names),
                "wrong": _listed(answers, wrong, record.ids, names),
                "top5_misses": _listed(answers, own & (answers.rank >= TOP), record.ids, names),
            }
        )
    return told


def class_names(record: Record) -> list[str]:
    """The names of the classes by their numbers; the numbers themselves where there are none."""
    groups = [
        group["prediction"]
        for group in (record.clean, record.attacked, record.corrupted, record.probed)
        if group
    ]
    count = 1 + max(int(values.max(initial=-1)) for values in (*groups, record.clean["label"]))
    names = record.config.get("class_names")
    known = list(map(str, names)) if isinstance(names, Sequence) else []
    return known + [str(number) for number in range(len(known), count)]


def class_number(names: Sequence[str], name: str) -> int:
    """The number of a class by its name, or by that number.

    Raises:
        ValueError: if there is no such class.
    """
    if name in names:
        return names.index(name)
    if name.isdecimal() and int(name) < len(names):
        return int(name)
    raise ValueError(f"There is no class '{name}' among the {len(names)}")


def find_conditions(record: Record, condition: str) -> list[Answers]:
    """The answers under a condition: several, ascending, for a corruption without a severity.

    Raises:
        ValueError: if the record has no such condition.
    """
    found = [each for each in conditions(record) if condition in (each.condition, each.corruption)]
    if not found:
        raise ValueError(f"The record has no condition '{condition}'")
    return found


def _asked(record: Record, asked: Sequence[Answers], m: int) -> _Asked:
    rows = np.flatnonzero(np.all([answers.measured[m] for answers in asked], axis=0))
    columns = {
        name: np.stack([answers.columns[name][m, rows] for answers in asked])
        for name in ("prediction", "rank", "confidence", "loss")
    }
    severities = tuple(answers.severity for answers in asked)
    return _Asked(severities, rows, record.clean["label"][m, rows], **columns)


def _classes(answers: _Asked, names: Sequence[str], mistakes: int | None = None) -> list[JSON]:
    """Every class with images: its numbers, and so many of its mistakes."""
    count, severities = len(names), len(answers.severities)
    wrong = answers.prediction != answers.labels
    images = np.bincount(answers.labels, minlength=count)

    def mean(values: Array) -> NDArray[np.float64]:
        total = np.bincount(answers.labels, values.sum(axis=0, dtype=np.float64), count)
        return total / np.maximum(images * severities, 1)

    errors = {"top1_error": mean(wrong), "top5_error": mean(answers.rank >= TOP)}
    intervals = {name: wilson(error * images, images) for name, error in errors.items()}
    losses = mean(answers.loss)
    labels = np.broadcast_to(answers.labels, wrong.shape)[wrong].astype(np.int64)
    pairs = labels * count + answers.prediction[wrong]
    confusions = np.bincount(pairs, minlength=count * count).reshape(count, count)
    return [
        {
            "class": k,
            "name": names[k],
            "images": int(images[k]),
            "answers": int(images[k]) * severities,
            **{name: float(error[k]) for name, error in errors.items()},
            **{f"{name}_interval": ends[k].tolist() for name, ends in intervals.items()},
            "mean_loss": float(losses[k]),
            "mistaken_for": _counted(confusions[k], names, mistakes),
        }
        for k in np.flatnonzero(images).tolist()
    ]


def _counted(
    counts: NDArray[np.int64], names: Sequence[str], most: int | None = None
) -> list[JSON]:
    """Classes by how often they were counted, the most frequent first, of equal ones the first."""
    order = [int(k) for k in np.argsort(-counts, kind="stable") if counts[k]]
    return [{"class": k, "name": names[k], "count": int(counts[k])} for k in order[:most]]


def _worst(classes: Sequence[JSON], error: str, most: int) -> list[object]:
    def badness(entry: JSON) -> tuple[float, float]:
        return float(str(entry[error])), float(str(entry["mean_loss"]))

    failing = [entry for entry in classes if entry[error]]
    return [entry["class"] for entry in sorted(failing, key=badness, reverse=True)[:most]]


def _listed(
    answers: _Asked, chosen: NDArray[np.bool_], ids: NDArray[np.int64], names: Sequence[str]
) -> list[JSON]:
    """The chosen answers, of (S, E), the most confident first."""
    places, images = np.nonzero(chosen)
    order = np.argsort(-answers.confidence[places, images], kind="stable")
    told: list[JSON] = []
    for s, e in zip(places[order].tolist(), images[order].tolist(), strict=True):
        prediction = int(answers.prediction[s, e])
        told.append(
            {
                "id": int(ids[answers.rows[e]]),
                "severity": answers.severities[s],
                "prediction": prediction,
                "name": names[prediction],
                "confidence": float(answers.confidence[s, e]),
                "rank": int(answers.rank[s, e]),
                "loss": float(answers.loss[s, e]),
            }
        )
    return told
