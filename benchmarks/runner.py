"""Runs a plan cell by cell: finished cells are read back, the others computed and stored."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from torch import nn

from benchmarks.cells import CellResult
from benchmarks.measuring import attack_cell, clean_cell
from benchmarks.planning import Cell, Plan
from benchmarks.record import CellStore
from benchmarks.suite import Shard

T = TypeVar("T")


@dataclass(frozen=True)
class CellOutcome:
    """A cell that is dealt with.

    Attributes:
        cell: which one; ``cell.condition`` is None for a clean pass.
        status: ``done`` (computed now), ``cached`` (was finished before) or ``failed``.
        result: its content; ``result.failure`` is the reason of a failed one.
        seconds: what it took now, loading and storing included.
        position: 1 for the first of the plan's cells, up to ``total``.
        total: how many cells the plan has.
        error: the exception behind a failure, for a traceback.
    """

    cell: Cell
    status: str
    result: CellResult
    seconds: float
    position: int
    total: int
    error: Exception | None = None


def run(plan: Plan, store: CellStore) -> Iterator[CellOutcome]:
    """Do what is left of a plan, yielding each cell once it is stored.

    A cell that fails is stored with its reason and does not stop the others; the next run tries it
    again. Stopping at any moment (an exception from the caller, Ctrl-C, a kill) loses at most the
    cell in work. Between two yields nothing is held open and no model is left changed. Models and
    shards are loaded only where a cell needs them, one model at a time.

    Raises:
        OSError: if a cell cannot be stored (disk full, no permission); finished cells survive.
    """
    store.prepare()
    model: Callable[[], nn.Module] | None = None
    current = -1
    shard: Callable[[], Shard] = partial(_shard, plan, plan.cells[0])
    clean = CellResult()
    for position, cell in enumerate(plan.cells, start=1):
        began = time.perf_counter()
        if model is None or cell.model != current:
            current, model = cell.model, _once(plan.models[cell.model].get)
        if cell.condition is None:
            shard = _once(partial(_shard, plan, cell))
        result = store.read(cell)
        status, error = "cached", None
        if result is None or result.failure is not None or not _agrees(cell, result, clean):
            result, error = _computed(plan, cell, model, shard, clean)
            store.write(cell, result)
            status = "done" if result.failure is None else "failed"
        if cell.condition is None:
            clean = result
        seconds = time.perf_counter() - began
        yield CellOutcome(cell, status, result, seconds, position, len(plan.cells), error)


def _computed(
    plan: Plan,
    cell: Cell,
    model: Callable[[], nn.Module],
    shard: Callable[[], Shard],
    clean: CellResult,
) -> tuple[CellResult, Exception | None]:
    if cell.condition is not None and clean.failure is not None:
        return CellResult(failure=f"the clean pass failed: {clean.failure}"), None
    try:
        if cell.condition is None:
            return clean_cell(plan, model(), shard()), None
        return attack_cell(plan, cell, model(), shard(), clean), None
    except Exception as error:  # noqa: BLE001 -- models and attacks are other people's code:
        # whatever one of them raises is the failure of this cell, not of the run.
        return CellResult(failure=_reason(error)), error


def _agrees(cell: Cell, result: CellResult, clean: CellResult) -> bool:
    """Whether a stored attack was made from this clean pass (it may have been made anew since)."""
    if cell.condition is None:
        return True
    if result.rows is None or clean.rows is None or len(result.rows) != len(clean.rows):
        return False
    # Attacked images were right; the others stand with what the clean pass had said of them.
    right = (result.rows["attacked"] == 1) | (result.rows["misclassified"] == 0)
    return bool((right == (clean.rows["right"] == 1)).all())


def _shard(plan: Plan, cell: Cell) -> Shard:
    shard = plan.examples.shard(cell.start, cell.stop)
    if shard.ids.tolist() != plan.ids[cell.start : cell.stop].tolist():
        raise ValueError("the images are not those the run was planned with: the data have changed")
    return shard


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())[:500]
    if isinstance(error, ValueError) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _once(function: Callable[[], T]) -> Callable[[], T]:
    """The function, called when first needed; its value, or its exception, is remembered."""
    values: list[T] = []
    errors: list[Exception] = []

    def call() -> T:
        if errors:
            raise errors[0]
        if not values:
            try:
                values.append(function())
            except Exception as error:
                errors.append(error)
                raise
        return values[0]

    return call
