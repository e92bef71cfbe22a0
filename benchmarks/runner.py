"""Runs a plan cell by cell: finished cells are read back, the others computed and stored."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from torch import Tensor, nn

from benchmarks.cell_files import CellStore
from benchmarks.cells import CellResult, without_clean
from benchmarks.measuring import attack_cell, clean_cell, corrupted_images, corruption_cell
from benchmarks.planning import Cell, Plan
from benchmarks.suite import Shard

T = TypeVar("T")


@dataclass(frozen=True)
class CellOutcome:
    """A cell that is dealt with.

    Attributes:
        cell: which one; ``cell.kind`` says of what kind.
        status: ``done`` (computed now), ``cached`` (was finished before) or ``failed``.
        result: its content; ``result.failure`` is the reason of a failed one.
        seconds: what it took now, loading and storing included.
        position: 1 for the first cell that is dealt with, up to ``total``.
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

    Shard by shard: the clean pass of every model, then each attack and each corruption with the
    models inside, so that images are corrupted once for all of them.

    A cell that fails is stored with its reason and does not stop the others; the next run tries it
    again. An attack whose clean pass fails is left in the store as it was. Stopping at any moment
    (an exception from the caller, Ctrl-C, a kill) loses at most the cell in work. Between two
    yields nothing is held open and no model is left changed. Models, shards and corrupted images
    are loaded or made only where a cell needs them; models are kept.

    Raises:
        OSError: if a cell cannot be stored (disk full, no permission); finished cells survive.
    """
    store.prepare()
    models = [_once(entry.get) for entry in plan.models]
    position = 0
    for start, stop in plan.shards:
        shard = _once(partial(_shard, plan, start, stop))
        clean: dict[int, CellResult] = {}
        for condition, corruption in _conditions(plan):
            images = _once(partial(_images, plan, corruption, shard, slice(start, stop)))
            for m, model in enumerate(models):
                began = time.perf_counter()
                cell = plan.cell(m, condition, start, corruption)
                work = _Work(plan, cell, model, shard, images, clean.get(m))
                result, status, error = _done(work, store)
                if cell.kind == "clean":
                    clean[m] = result
                position += 1
                seconds = time.perf_counter() - began
                yield CellOutcome(cell, status, result, seconds, position, len(plan.cells), error)


@dataclass(frozen=True)
class _Work:
    """A cell and what it may need, each loaded when asked for."""

    plan: Plan
    cell: Cell
    model: Callable[[], nn.Module]
    shard: Callable[[], Shard]
    images: Callable[[], Tensor]
    clean: CellResult | None


def _conditions(plan: Plan) -> Iterator[tuple[int | None, int | None]]:
    """What happens to a shard, in order: (condition, corruption)."""
    if plan.clean:
        yield None, None
    yield from ((c, None) for c in range(len(plan.conditions)))
    yield from ((None, c) for c in range(len(plan.corruptions)))


def _done(work: _Work, store: CellStore) -> tuple[CellResult, str, Exception | None]:
    """The cell's result, read back or computed and stored, and its status."""
    if work.cell.kind == "attack" and work.clean is not None and work.clean.failure is not None:
        # Nothing is stored: an attack that was finished before holds again once the pass does.
        return without_clean(work.clean), "failed", None
    result = store.read(work.cell)
    if result is not None and result.failure is None and _agrees(work.cell, result, work.clean):
        return result, "cached", None
    result, error = _computed(work)
    store.write(work.cell, result)
    return result, "done" if result.failure is None else "failed", error


def _computed(work: _Work) -> tuple[CellResult, Exception | None]:
    plan, cell = work.plan, work.cell
    try:
        if cell.kind == "clean":
            return clean_cell(plan, work.model(), work.shard()), None
        if work.clean is not None and cell.kind == "attack":
            return attack_cell(plan, cell, work.model(), work.shard(), work.clean), None
        return _corrupted(work), None
    except Exception as error:  # noqa: BLE001 -- models and attacks are other people's code:
        # whatever one of them raises is the failure of this cell, not of the run.
        return CellResult(failure=_reason(error)), error


def _corrupted(work: _Work) -> CellResult:
    model, shard = work.model(), work.shard()
    began = time.perf_counter()
    images = work.images()
    spent = time.perf_counter() - began  # next to nothing for every model but the first
    result = corruption_cell(work.plan, model, shard, images)
    return replace(result, seconds={"corruption": spent, **result.seconds})


def _images(plan: Plan, corruption: int | None, shard: Callable[[], Shard], rows: slice) -> Tensor:
    """What every model meets: a shard's images, corrupted or as they are."""
    if corruption is None:
        return shard().images
    return corrupted_images(plan, plan.corruptions[corruption], shard(), rows)


def _agrees(cell: Cell, result: CellResult, clean: CellResult | None) -> bool:
    """Whether a stored attack was made from this clean pass (it may have been made anew since)."""
    if cell.kind != "attack":
        return True
    if result.rows is None or clean is None or clean.rows is None:
        return False
    if len(result.rows) != len(clean.rows):
        return False
    # Attacked images were right; the others stand with what the clean pass had said of them.
    right = (result.rows["attacked"] == 1) | (result.rows["misclassified"] == 0)
    return bool((right == (clean.rows["right"] == 1)).all())


def _shard(plan: Plan, start: int, stop: int) -> Shard:
    shard = plan.examples.shard(start, stop)
    if shard.ids.tolist() != plan.ids[start:stop].tolist():
        raise ValueError("the images are not those the run was planned with: the data have changed")
    return replace(shard, images=shard.images.to(plan.device))


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
