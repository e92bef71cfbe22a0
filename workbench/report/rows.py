"""The rows of a report: models, replicates folded, each with a look of its own in every figure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import Record
from workbench.drawing.numbers import finite

MARK = "\u00a0†"  # does not go to a line of its own


@dataclass(frozen=True)
class Row:
    """One row of a comparison.

    Attributes:
        place: its number, which decides its colour, marker and dashes in all figures.
        name: as the comparison has it.
        models: places of its models on the record's axis; several are replicates.
        trained_on: test corruptions it was trained on.
        entry: the row of the comparison.
    """

    place: int
    name: str
    models: tuple[int, ...]
    is_baseline: bool
    trained_on: tuple[str, ...]
    entry: Mapping[str, Any]

    @property
    def label(self) -> str:
        """The name, marked where test corruptions were trained on."""
        return self.name + MARK if self.trained_on else self.name

    def number(self, key: str) -> Mapping[str, Any]:
        """One number of the comparison, empty where it is not there."""
        found = self.entry["numbers"].get(key)
        return found if isinstance(found, Mapping) else {}

    def value(self, key: str) -> float | None:
        """The value of a number, None where it was not measured."""
        return finite(self.number(key).get("value"))


def rows_of(record: Record, comparison: Mapping[str, Any]) -> tuple[Row, ...]:
    """The rows of a comparison, in its order."""
    return tuple(
        Row(
            place=place,
            name=str(entry["name"]),
            models=tuple(record.models.index(model) for model in entry["models"]),
            is_baseline=bool(entry["is_baseline"]),
            trained_on=tuple(entry["trained_on_corruptions"]),
            entry=entry,
        )
        for place, entry in enumerate(comparison["rows"])
    )


def baseline_row(rows: Sequence[Row]) -> Row | None:
    """The row that the others are compared with, if there is one."""
    return next((row for row in rows if row.is_baseline), None)


def measures_of(
    comparison: Mapping[str, Any], measure: str, rows: Sequence[Row]
) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Each ``measure:attack`` of which a row has a number, with its attack."""
    for each in comparison["measures"]:
        before, _, attack = str(each["key"]).partition(":")
        if before == measure and any(row.value(each["key"]) is not None for row in rows):
            yield each, attack


def robust_measures(
    comparison: Mapping[str, Any], rows: Sequence[Row]
) -> list[tuple[Mapping[str, Any], str]]:
    """Robust accuracy under each attack with a budget; under all of them where none has one.

    Without a budget every image falls in the end, see `benchmarks.budgets`.
    """
    found = list(measures_of(comparison, "robust_accuracy", rows))
    return [each for each in found if each[0]["better"]] or found
