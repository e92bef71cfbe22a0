"""Find out whether a model numbers its classes in another order than the data."""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.intervals import wilson

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class ClassOrder:
    """An order of classes under which the predictions make sense.

    Attributes:
        name: ``alphabetical``, ``numeric``, … or ``best assignment``, which was fitted on one half
            of the images and measured on the other.
        outputs: for each class of the data, the model's output that stands for it.
        class_names: the names in the order of the model's outputs, or None where the data have
            none or the model has more outputs than the data classes.
        correct, images: how many of how many images are right under it.
        interval: Wilson's 95 % interval of that accuracy.
        before: the accuracy on the same images with the labels as they are.
        flags: what would configure it, or "".
        method: how a best assignment was made: ``optimal`` (with scipy) or ``greedy``.
    """

    name: str
    outputs: tuple[int, ...]
    class_names: tuple[str, ...] | None
    correct: int
    images: int
    interval: tuple[float, float]
    before: float
    flags: str
    method: str


def find_class_order(
    predicted: Labels,
    labels: Labels,
    classes: int,
    class_names: Sequence[str] | None,
    *,
    seed: int = 0,
) -> ClassOrder | None:
    """The order that explains the predictions clearly better than the labels as they are.

    "Clearly" is: Wilson's 95 % intervals of the two accuracies do not meet. Orders that have a
    name (alphabetical, numeric, …) come first; failing those, the best assignment of outputs to
    classes, from the confusion matrix of one half of the images, measured on the other.

    Args:
        predicted: int64 (N,), the model's outputs.
        labels: int64 (N,), the data's classes.
        classes: how many outputs the model has.
        class_names: of the data, or None.
        seed: of the split in halves.
    """
    named = []
    for name, outputs in _named_orders(class_names or ()):
        found = _measured(name, outputs, predicted, labels, classes, class_names, "exact")
        if found is not None:
            named.append(found)
    if named:
        return max(named, key=lambda order: order.correct)
    # A counter-like split that numpy promises to keep: raw output of the bit generator.
    keys = np.random.PCG64(seed).random_raw(len(labels))
    fitting = np.argsort(np.argsort(keys)) % 2 == 0
    outputs, method = _assignment(predicted[fitting], labels[fitting], classes)
    held = ~fitting
    return _measured(
        "best assignment", outputs, predicted[held], labels[held], classes, class_names, method
    )


def _measured(
    name: str,
    outputs: Sequence[int],
    predicted: Labels,
    labels: Labels,
    classes: int,
    class_names: Sequence[str] | None,
    method: str,
) -> ClassOrder | None:
    count = len(labels)
    if count == 0 or max(outputs, default=0) >= classes:
        return None
    before = int((predicted == labels).sum())
    correct = int((predicted == np.asarray(outputs)[labels]).sum())
    low, high = (float(end) for end in wilson(correct, count))
    if low <= float(wilson(before, count)[1]):
        return None
    names = None
    if class_names is not None and sorted(outputs) == list(range(classes)):
        names = tuple(class_names[outputs.index(output)] for output in range(classes))
    flags = "" if sorted(outputs) != list(range(classes)) else _flags(outputs, names)
    return ClassOrder(
        name, tuple(outputs), names, correct, count, (low, high), before / count, flags, method
    )


def _flags(outputs: Sequence[int], names: Sequence[str] | None) -> str:
    """What configures the order: the outputs' names, or data class=output where names do not do."""
    if names and not any("," in name for name in names):
        return f"--class-names {shlex.quote(','.join(names))}"
    return "--classes " + ",".join(f"{index}={output}" for index, output in enumerate(outputs))


def _named_orders(names: Sequence[str]) -> Iterator[tuple[str, list[int]]]:
    """Orders that training scripts use, as the output of each class; the data's own left out."""
    same = list(range(len(names)))
    keys = {
        "alphabetical": lambda name: name,
        "alphabetical, ignoring case": lambda name: name.lower(),
        "numeric": _natural,
        "reversed": None,
    }
    for order, key in keys.items():
        by = same[::-1] if key is None else sorted(same, key=lambda c: key(names[c]))
        outputs = [0] * len(names)
        for output, index in enumerate(by):
            outputs[index] = output
        if outputs != same:
            yield order, outputs


def _natural(name: str) -> list[tuple[int, int, str]]:
    """A key under which ``2`` comes before ``10``."""
    parts = re.findall(r"\d+|\D+", name)
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]


def _assignment(predicted: Labels, labels: Labels, classes: int) -> tuple[list[int], str]:
    """One output for each class, so that as many predictions as can be are right."""
    known = max(int(labels.max(initial=0)) + 1, 1)
    confusion = np.zeros((max(known, classes), classes), dtype=np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError:
        return _greedy(confusion), "greedy"
    rows, columns = linear_sum_assignment(confusion, maximize=True)
    outputs = [0] * confusion.shape[0]
    for row, column in zip(rows, columns, strict=True):
        outputs[int(row)] = int(column)
    return outputs, "optimal"


def _greedy(confusion: NDArray[np.int64]) -> list[int]:
    """The largest entry first, then the largest in what rows and columns are left."""
    left = confusion.copy()
    outputs = [0] * len(left)
    for _ in range(min(left.shape)):
        row, column = (int(index) for index in np.unravel_index(left.argmax(), left.shape))
        outputs[row] = column
        left[row, :] = -1
        left[:, column] = -1
    return outputs
