"""Runs a plan cell by cell: finished cells are read back, the others computed and stored."""

import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple

from benchmarks.cell_files import CellStore
from benchmarks.cells import CellResult, without_clean
from benchmarks.computing import Computed, Engine, Unit, local
from benchmarks.plans import Cell, Happening, Plan


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
        error: the exception behind a failure, for a traceback; None where another process raised
            it.
    """

    cell: Cell
    status: str
    result: CellResult
    seconds: float
    position: int
    total: int
    error: Exception | None = None


def run(plan: Plan, store: CellStore, *, engine: Engine = local) -> Iterator[CellOutcome]:
    """Do what is left of a plan, yielding each cell once it is stored.

    Shard by shard: the clean pass of every model, then each attack, corruption and probe with the
    models inside, so that images are made once for all of them. An engine that computes
    several at once yields them as they finish.

    A cell that fails is stored with its reason and does not stop the others; the next run tries it
    again. A cell that needs a clean pass which fails is left in the store as it was. Stopping at
    any moment (an exception from the caller, Ctrl-C, a kill) loses at most what is in work. Between
    two yields nothing is held open and no model is left changed.

    Args:
        plan: what is to be done.
        store: where finished cells are. Only this process reads and writes it.
        engine: computes the cells: in this process, or `benchmarks.ray_engine.ray_engine`.

    Raises:
        OSError: if a cell cannot be stored (disk full, no permission); finished cells survive.
    """
    store.prepare()
    todo = _Todo(plan, store)
    with closing(engine(plan, todo.take)) as computed:
        for position, each in enumerate(computed, 1):
            began = time.perf_counter()
            if not each.settled:
                store.write(each.cell, each.result)
            todo.note(each)
            seconds = each.seconds + time.perf_counter() - began
            status = _status(each)
            yield CellOutcome(
                each.cell, status, each.result, seconds, position, len(plan.cells), each.error
            )


def _status(computed: Computed) -> str:
    if computed.result.failure is not None:
        return "failed"
    return "cached" if computed.settled else "done"


class _Place(NamedTuple):
    """A shard, and what happens to it."""

    start: int
    what: Happening


class _Todo:
    """What is left of a plan, in order, each unit once the clean passes that it needs are known."""

    def __init__(self, plan: Plan, store: CellStore) -> None:
        self._plan, self._store = plan, store
        self._left = deque(
            _Place(start, what) for start, _ in plan.shards for what in plan.happenings
        )
        self._clean: dict[tuple[int, int], CellResult] = {}

    def note(self, computed: Computed) -> None:
        """Remember a clean pass for what needs it of its shard."""
        cell = computed.cell
        if cell.kind == "clean" and (self._plan.conditions or self._plan.attention):
            self._clean[cell.start, cell.model] = computed.result

    def take(self) -> Unit | None:
        """The first unit that can be computed now, which is then no longer left."""
        models = range(len(self._plan.models))
        for place in self._left:
            clean = {m: self._clean.get((place.start, m)) for m in models}
            known = {m: each for m, each in clean.items() if each is not None}
            if not self._plan.needs_clean(place.what) or len(known) == len(clean):
                self._left.remove(place)  # it is among the first: the search is short
                return self._unit(place, known)
        return None

    def _unit(self, place: _Place, clean: Mapping[int, CellResult]) -> Unit:
        models = range(len(self._plan.models))
        cells = tuple(self._plan.cell_of(m, place.what, place.start) for m in models)
        settled = {}
        for cell in cells:
            began = time.perf_counter()
            result = self._known(cell, clean.get(cell.model))
            if result is not None:
                spent = time.perf_counter() - began
                settled[cell.model] = Computed(cell, result, spent, settled=True)
        return Unit(cells, settled, clean if self._plan.needs_clean(place.what) else {})

    def _known(self, cell: Cell, clean: CellResult | None) -> CellResult | None:
        """A cell's result where it need not be computed."""
        needed = self._plan.needs_clean(cell.happening)
        if needed and clean is not None and clean.failure is not None:
            # Nothing is stored: a cell that was finished before holds again once the pass does.
            return without_clean(clean)
        result = self._store.read(cell)
        if result is None or result.failure is not None or not _agrees(cell, result, clean):
            return None
        return result


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
