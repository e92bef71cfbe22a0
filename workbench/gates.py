"""`--fail-under`: limits that every row of a comparison has to keep."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.errors import UsageError
from workbench.measure_names import Measure, find_measure, short_title

FLAG = "--fail-under"
ACCURACIES = {"clean_accuracy": "clean_error", "clean_top5_accuracy": "clean_top5_error"}
RELATIVE = ("mce", "relative_mce")
WORST = "worst_case_robust_accuracy"


@dataclass(frozen=True)
class Gate:
    """A limit on one measure.

    Attributes:
        asked: as it was written.
        key: of the measure.
        title: of what is limited.
        limit: the worst value that passes, in the measure's unit.
        higher: whether higher values are better.
        percent: whether it is shown in percent.
        complement: whether 1 - the measure is what is limited: an accuracy of a stored error.
        relative_to: the model that the measure is relative to, which passes.
    """

    asked: str
    key: str
    title: str
    limit: float
    higher: bool
    percent: bool
    complement: bool = False
    relative_to: str | None = None

    def check(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Whether a row of a comparison keeps it, as JSON values with the reason in words."""
        value = row["numbers"][self.key]["value"]
        if self.relative_to is not None and row["models"] == [self.relative_to]:
            # By definition its mCE is 100 %: it would decide the gate, and tell nothing.
            return {
                "gate": self.asked,
                "row": row["name"],
                "value": value,
                "limit": self.limit,
                "passed": True,
                "message": f"{row['name']}: {self.title} is relative to it",
            }
        if value is not None and self.complement:
            value = 1 - value
        passed = value is not None and (value >= self.limit if self.higher else value <= self.limit)
        return {
            "gate": self.asked,
            "row": row["name"],
            "value": value,
            "limit": self.limit,
            "passed": passed,
            "message": self._words(str(row["name"]), value),
        }

    def _words(self, row: str, value: float | None) -> str:
        if value is None:
            return f"{row}: {self.title} was not measured, {self._shown(self.limit)} was asked for"
        worse = value < self.limit if self.higher else value > self.limit
        side = ("under" if self.higher else "over") if worse else "within"
        gap = abs(value - self.limit)
        by = f" by {100 * gap:.2f} points" if self.percent else f" by {gap:.4g}"
        return (
            f"{row}: {self.title} is {self._shown(value)}, {side} the {self._shown(self.limit)} "
            f"asked for{by}"
        )

    def _shown(self, value: float) -> str:
        return f"{100 * value:.2f} %" if self.percent else f"{value:.4g}"


def parse_gate(text: str, measures: Sequence[Measure], baseline: str | None = None) -> Gate:
    """A limit such as ``worst-case-robust-accuracy=0.3`` or ``mce=90%``.

    ``robust-accuracy`` alone is the worst case over all attacks; ``clean-accuracy`` is 1 - the
    clean error.

    Args:
        text: METRIC=VALUE.
        measures: those of the comparison.
        baseline: the model that mCE is relative to.

    Raises:
        UsageError: there is no such measure, it has no better direction, or VALUE is no number
            that it can have.
    """
    metric, equals, number = text.rpartition("=")
    name = metric.strip().lower().replace("-", "_")
    if not equals or not name:
        raise UsageError(f"{FLAG} {text}: write METRIC=VALUE, such as robust-accuracy=0.3.")
    limit = _limit(text, number.strip())
    complement = name in ACCURACIES
    if name == "robust_accuracy":
        metric = WORST
    measure = find_measure(ACCURACIES.get(name, metric), measures, FLAG)
    if measure["better"] is None:
        raise UsageError(
            f"{FLAG} {text}: under an attack with a budget, how far images moved is neither good "
            "nor bad."
        )
    share = measure["form"] == "percent" and not str(measure["key"]).endswith("mce")
    if share and not 0 <= limit <= 1:
        raise UsageError(f"{FLAG} {text}: a share is 0 to 1; for percent, write {number}%.")
    title = short_title(measure)
    return Gate(
        asked=text,
        key=str(measure["key"]),
        title=title.replace("error", "accuracy") if complement else title,
        limit=limit,
        higher=complement or measure["better"] == "higher",
        percent=measure["form"] == "percent",
        complement=complement,
        relative_to=baseline if str(measure["key"]) in RELATIVE else None,
    )


def _limit(text: str, number: str) -> float:
    try:
        value = float(number.removesuffix("%")) / (100 if number.endswith("%") else 1)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"{FLAG} {text}: {number or 'nothing'} is no number; write 0.3 or 30%.")
    return value
