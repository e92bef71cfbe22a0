"""The conditions of a record, all in one form: what each model answers to each image under each."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmarks.columns import ANSWER, Array
from benchmarks.reading import Record

Kind: TypeAlias = Literal["clean", "attack", "corruption", "probe"]


@dataclass(frozen=True)
class Answers:
    """What the models answer under one condition.

    Attributes:
        condition: ``"clean"``, an attack's name in the record, ``"corruption@severity"``, or
            a probe's name.
        kind: which of these it is.
        corruption, severity: of a corruption.
        columns: `benchmarks.columns.ANSWER`, (M, E) each.
        measured: bool (M, E): whether the answer counts. Under an attack those of images that were
            wrong untouched do, with their clean answer; those that the attack was not given because
            their label is its target do not, as for `robust_accuracy`.
    """

    condition: str
    kind: Kind
    corruption: str | None
    severity: int | None
    columns: Mapping[str, Array]
    measured: NDArray[np.bool_]


def conditions(record: Record) -> Iterator[Answers]:
    """Every condition: clean, the attacks, the corruptions, severities ascending, the probes."""
    yield _answers("clean", "clean", None, None, record.clean, record.clean["right"] != 255)
    for a, attack in enumerate(record.attacks):
        columns = {name: record.attacked[name][:, a] for name in (*ANSWER, "attacked")}
        wrong = record.clean["right"] == 0
        judged = (columns["attacked"] == 1) | ((columns["attacked"] == 0) & wrong)
        yield _answers(attack, "attack", None, None, columns, judged)
    for k, corruption in enumerate(record.axes.corruptions):
        for s, severity in enumerate(record.axes.severities):
            columns = {name: values[:, k, s] for name, values in record.corrupted.items()}
            name = f"{corruption}@{severity}"
            measured = columns["right"] != 255
            yield _answers(name, "corruption", corruption, severity, columns, measured)
    for p, probe in enumerate(record.probes):
        columns = {name: values[:, p] for name, values in record.probed.items()}
        yield _answers(probe, "probe", None, None, columns, columns["right"] != 255)


def _answers(
    condition: str,
    kind: Kind,
    corruption: str | None,
    severity: int | None,
    columns: Mapping[str, Array],
    measured: NDArray[np.bool_],
) -> Answers:
    own = {name: columns[name] for name in ANSWER}
    return Answers(condition, kind, corruption, severity, own, measured)
