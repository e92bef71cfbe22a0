"""Puts the cells of a plan together: every column over all examples, and what they took."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from attacks.attacked import Caution
from attacks.cautions import add_up
from benchmarks import columns
from benchmarks.cells import CellResult
from benchmarks.identity import canonical_json
from benchmarks.measured import Measured, nothing_measured
from benchmarks.plans import Cell, Plan
from benchmarks.reading import Record


def gather(plan: Plan, results: Mapping[str, CellResult], path: Path) -> Record:
    """The record of a plan from the results of its cells, by the cells' digests.

    Fill values stand where a cell failed, and the labels alone where there is no clean pass.
    Aggregates, kept images and the time of writing are not in it.

    Raises:
        ValueError: if shards of one attack contradict each other.
    """
    found = nothing_measured(
        len(plan.models),
        len(plan.conditions),
        plan.axes,
        len(plan.probes),
        len(plan.ids),
        len(plan.thresholds),
        attention=bool(plan.attention),
        judged=plan.judge is not None,
    )
    for cell in plan.cells:
        _take(found, plan, cell, results[cell.digest])
    return Record(
        path=path,
        config=plan.config,
        seed=plan.seed,
        device=plan.device,
        created="",
        versions=dict(plan.config["versions"]),  # type: ignore[call-overload]  # a mapping
        models=tuple(model.name for model in plan.models),
        attacks=plan.condition_names,
        ids=plan.ids,
        thresholds=np.array(plan.thresholds, np.float64),
        clean=found.clean,
        attacked=found.attacked,
        axes=plan.axes,
        corrupted=found.corrupted,
        aggregates={},
        timing=found.timing,
        cautions=tuple(gather_cautions(plan, results)),
        failures=tuple(gather_failures(plan, results)),
        kept=np.empty(0, np.int64),
        probes=tuple(probe.spec for probe in plan.probes),
        probed=found.probed,
        attention=found.attention,
        judged=found.judged,
    )


def _take(found: Measured, plan: Plan, cell: Cell, result: CellResult) -> None:
    """Write a cell's rows and seconds where they belong."""
    rows = slice(cell.start, cell.stop)
    evaluation = result.seconds.get("evaluation", 0.0)
    timing, m = found.timing, cell.model
    if cell.condition is not None:
        a = cell.condition
        timing["attack_seconds"][m, a] += result.seconds.get("attack", 0.0)
        timing["evaluation_seconds"][m, a] += evaluation
        if result.rows is not None:
            for name in columns.ATTACK:
                found.attacked[name][m, a, rows] = result.rows[name]
            for name, values in found.judged.items():
                values[m, a, rows] = result.rows[f"judge_{name}"]
            goal = found.attacked["goal_confidence"]
            goal[m, a] = _agreed(float(goal[m, a]), result.confidence)
    elif cell.corruption is not None:
        each = plan.corruptions[cell.corruption]
        place = (m, *plan.axes.place(each.corruption, each.severity))
        timing["corruption_seconds"][place] += result.seconds.get("corruption", 0.0)
        timing["corrupted_evaluation_seconds"][place] += evaluation
        _take_made(found, {**found.corrupted, **found.attention}, place, rows, result)
    elif cell.probe is not None:
        timing["probe_seconds"][m, cell.probe] += result.seconds.get("probe", 0.0)
        timing["probed_evaluation_seconds"][m, cell.probe] += evaluation
        _take_made(found, found.probed, (m, cell.probe), rows, result)
    else:
        timing["clean_seconds"][m] += evaluation
        if result.rows is not None:
            for name in columns.CLEAN:
                found.clean[name][m, rows] = result.rows[name]


def _take_made(
    found: Measured,
    mine: Mapping[str, columns.Array],
    place: tuple[int, ...],
    rows: slice,
    result: CellResult,
) -> None:
    """Write the rows of a corrupted or probed cell, and the labels: there may be no clean pass."""
    if result.rows is not None:
        for name, values in mine.items():
            values[place][rows] = result.rows[name]
        found.clean["label"][place[0], rows] = result.rows["label"]


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
    if cell.probe is not None:
        where["probe"] = plan.probes[cell.probe].spec
    return where
