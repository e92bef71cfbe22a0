"""Puts the cells of a plan together: a model's columns over all examples, and what they took."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.attacked import Caution
from attacks.cautions import add_up
from benchmarks import columns
from benchmarks.cells import CellResult
from benchmarks.corruption_aggregates import Verdicts
from benchmarks.identity import canonical_json
from benchmarks.planning import Cell, Plan


@dataclass(frozen=True)
class ModelColumns:
    """What was measured of a model, fill values where a cell failed.

    Attributes:
        clean: structured (E,) with the columns `benchmarks.columns.CLEAN`; where there is no clean
            pass, the labels alone.
        attacked: structured (A, E), `benchmarks.columns.ATTACK`.
        corrupted: structured (K, S, E), `benchmarks.columns.CORRUPTED`.
        goal_confidence: (A,), the softmax probability that a success needs.
        seconds: what was spent: ``clean``, ``attack`` and ``evaluation`` (A,), ``corruption`` and
            ``corrupted_evaluation`` (K, S).
    """

    clean: NDArray[np.void]
    attacked: NDArray[np.void]
    corrupted: NDArray[np.void]
    goal_confidence: NDArray[np.float64]
    seconds: Mapping[str, NDArray[np.float64]]

    @property
    def verdicts(self) -> Verdicts:
        """Where the model was right."""
        return Verdicts(self.clean["right"], self.corrupted["right"])


def gather(plan: Plan, results: Mapping[str, CellResult], m: int) -> ModelColumns:
    """One model's columns from the results of a plan's cells, by the cells' digests.

    Raises:
        ValueError: if shards of one attack contradict each other.
    """
    examples = len(plan.ids)
    attacks = (len(plan.conditions),)
    corruptions = (len(plan.axes.corruptions), len(plan.axes.severities))
    found = ModelColumns(
        columns.empty_rows(columns.CLEAN, (examples,)),
        columns.empty_rows(columns.ATTACK, (*attacks, examples), len(plan.thresholds)),
        columns.empty_rows(columns.CORRUPTED, (*corruptions, examples)),
        np.full(attacks, np.nan),
        {
            "clean": np.zeros(()),
            "attack": np.zeros(attacks),
            "evaluation": np.zeros(attacks),
            "corruption": np.zeros(corruptions),
            "corrupted_evaluation": np.zeros(corruptions),
        },
    )
    for cell in plan.cells:
        if cell.model == m:
            _take(found, plan, cell, results[cell.digest])
    return found


def _take(found: ModelColumns, plan: Plan, cell: Cell, result: CellResult) -> None:
    """Write a cell's rows and seconds where they belong."""
    rows = slice(cell.start, cell.stop)
    evaluation = result.seconds.get("evaluation", 0.0)
    if cell.condition is not None:
        a = cell.condition
        found.seconds["attack"][a] += result.seconds.get("attack", 0.0)
        found.seconds["evaluation"][a] += evaluation
        if result.rows is not None:
            found.attacked[a, rows] = result.rows
            goal = found.goal_confidence
            goal[a] = _agreed(goal[a], result.confidence)
    elif cell.corruption is not None:
        each = plan.corruptions[cell.corruption]
        place = plan.axes.place(each.corruption, each.severity)
        found.seconds["corruption"][place] += result.seconds.get("corruption", 0.0)
        found.seconds["corrupted_evaluation"][place] += evaluation
        if result.rows is not None:
            found.corrupted[(*place, rows)] = result.rows
            found.clean["label"][rows] = result.rows["label"]
    else:
        found.seconds["clean"][...] += evaluation
        if result.rows is not None:
            found.clean[rows] = result.rows


def _agreed(known: float, found: float) -> float:
    if np.isnan(known) or np.isnan(found) or known == found:
        return found if np.isnan(known) else known
    raise ValueError(f"Shards of one attack ask for different confidences: {known} and {found}")


def gather_cautions(plan: Plan, results: Mapping[str, CellResult]) -> list[dict[str, object]]:
    """What cautions a plan's cells raised: those of a model's shards under one condition add up."""
    by_place: dict[str, tuple[dict[str, object], list[Caution]]] = {}
    for cell in plan.cells:
        where = _where(plan, cell)
        _, found = by_place.setdefault(canonical_json(where), (where, []))
        found.extend(results[cell.digest].cautions)
    return [
        where | {"code": caution.code, "message": caution.message}
        for where, found in by_place.values()
        for caution in add_up(found)
    ]


def gather_failures(plan: Plan, results: Mapping[str, CellResult]) -> list[dict[str, object]]:
    """Which of a plan's cells failed, and why."""
    return [
        _where(plan, cell)
        | {"start": cell.start, "stop": cell.stop, "reason": results[cell.digest].failure}
        for cell in plan.cells
        if results[cell.digest].failure is not None
    ]


def _where(plan: Plan, cell: Cell) -> dict[str, object]:
    attack = None if cell.condition is None else plan.condition_names[cell.condition]
    where: dict[str, object] = {"model": plan.models[cell.model].name, "attack": attack}
    if cell.corruption is not None:
        corrupted = plan.corruptions[cell.corruption]
        where |= {"corruption": corrupted.corruption, "severity": corrupted.severity}
    return where
