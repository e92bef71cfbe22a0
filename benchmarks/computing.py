"""Computes cells, wherever that is: what a unit of work needs, and what comes of it.

`benchmarks.runner` says which cells are computed and stores them; an engine says where they are.
"""

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from torch import Tensor, nn

from benchmarks.attack_cells import attack_cell
from benchmarks.cells import CellResult
from benchmarks.measuring import clean_cell, made_cell, made_images
from benchmarks.plans import Cell, Plan
from benchmarks.suite import ModelEntry, Shard

T = TypeVar("T")

JUDGE = -1
"""The number of the plan's judge among the models that a unit needs."""


@dataclass(frozen=True)
class Computed:
    """A cell and what it holds.

    Attributes:
        cell: which one.
        result: its content.
        seconds: what it took now.
        settled: whether it needed no computing.
        error: the exception behind a failure, where it was raised in this process.
    """

    cell: Cell
    result: CellResult
    seconds: float
    settled: bool = False
    error: Exception | None = None


@dataclass(frozen=True)
class Unit:
    """One shard under one condition: cells that are computed together.

    Attributes:
        cells: one of each model, in the order of the models.
        settled: by model, those that need no computing; an engine gives them back as they are.
        clean: by model, the clean passes of the shard, where `Plan.needs_clean`.
    """

    cells: tuple[Cell, ...]
    settled: Mapping[int, Computed] = field(default_factory=dict)
    clean: Mapping[int, CellResult] = field(default_factory=dict)

    @property
    def rows(self) -> slice:
        """Where the shard lies in the data set."""
        return slice(self.cells[0].start, self.cells[0].stop)


Take = Callable[[], Unit | None]
"""Gives the next unit that can be computed now. None: there is no more, or none until cells that
the engine has taken are given back."""

Engine = Callable[[Plan, Take], Generator[Computed, None, None]]
"""Takes units, and gives back every cell of them; it writes nothing, and ends when none is left.
Closing the generator abandons what is in work."""

Model = Callable[[], nn.Module]


def local(plan: Plan, take: Take) -> Generator[Computed, None, None]:
    """The engine that computes in this process, one cell after the other.

    Models, shards, corrupted and probed images are loaded or made where a cell needs them; models
    are kept.
    """
    models = {m: once(entry.get) for m, entry in entries(plan).items()}
    rows, shard = slice(0), once(partial(load_shard, plan, slice(0)))
    while (unit := take()) is not None:
        if unit.rows != rows:
            rows, shard = unit.rows, once(partial(load_shard, plan, unit.rows))
        yield from compute(plan, unit, models, shard)


def entries(plan: Plan) -> dict[int, ModelEntry]:
    """The plan's models by number, its judge, where there is one, among them."""
    judge = {} if plan.judge is None else {JUDGE: plan.judge}
    return dict(enumerate(plan.models)) | judge


def compute(
    plan: Plan, unit: Unit, models: Mapping[int, Model], shard: Callable[[], Shard]
) -> Iterator[Computed]:
    """The cells of a unit, each computed when it is asked for.

    A cell that fails has its reason and does not stop the others. No model is left changed.

    Args:
        plan: what the cells are of.
        unit: which ones.
        models: by number, those that the unit needs; where attacks are judged, `JUDGE` is one.
        shard: gives the unit's shard, on the plan's device. Like the models, it is called only
            where a cell needs it, and may raise: the cell has failed then.
    """
    images = once(partial(_images, plan, unit, shard))
    for cell in unit.cells:
        if cell.model in unit.settled:
            yield unit.settled[cell.model]
            continue
        began = time.perf_counter()
        result, error = _result(plan, unit, cell, models, shard, images)
        yield Computed(cell, result, time.perf_counter() - began, error=error)


def load_shard(plan: Plan, rows: slice) -> Shard:
    """A shard of the plan's examples, on its device.

    Raises:
        ValueError: if the data have changed since the plan was laid out.
    """
    shard = plan.examples.shard(rows.start, rows.stop)
    if shard.ids.tolist() != plan.ids[rows].tolist():
        raise ValueError("the images are not those the run was planned with: the data have changed")
    return replace(shard, images=shard.images.to(plan.device))


def once(function: Callable[[], T]) -> Callable[[], T]:
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


def reason(error: Exception) -> str:
    """Why a cell failed, in a line."""
    text = " ".join(str(error).split())[:500]
    if isinstance(error, ValueError) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _result(
    plan: Plan,
    unit: Unit,
    cell: Cell,
    models: Mapping[int, Model],
    shard: Callable[[], Shard],
    images: Callable[[], Tensor],
) -> tuple[CellResult, Exception | None]:
    model = models[cell.model]
    try:
        if cell.kind == "clean":
            layer = plan.attention[cell.model] if plan.attention else None
            return clean_cell(plan, model(), shard(), layer), None
        if cell.kind == "attack":
            judge = models[JUDGE]() if JUDGE in models else None
            clean = unit.clean[cell.model]
            return attack_cell(plan, cell, model(), shard(), clean, judge), None
        return _made(plan, cell, model(), shard(), images, unit.clean.get(cell.model)), None
    except Exception as error:  # noqa: BLE001 -- models and attacks are other people's code:
        # whatever one of them raises is the failure of this cell, not of the run.
        return CellResult(failure=reason(error)), error


def _made(
    plan: Plan,
    cell: Cell,
    model: nn.Module,
    shard: Shard,
    images: Callable[[], Tensor],
    clean: CellResult | None,
) -> CellResult:
    began = time.perf_counter()
    shown = images()
    spent = time.perf_counter() - began  # next to nothing for every model but the first
    where = "corrupted images" if cell.kind == "corruption" else "probed images"
    attended = None
    if clean is not None and clean.maps is not None:
        attended = plan.attention[cell.model], clean.maps
    result = made_cell(plan, model, shard, shown, where, attended)
    return replace(result, seconds={cell.kind: spent, **result.seconds})


def _images(plan: Plan, unit: Unit, shard: Callable[[], Shard]) -> Tensor:
    """What every model meets: a shard's images, corrupted, probed or as they are."""
    made = plan.made(unit.cells[0].happening)
    return shard().images if made is None else made_images(plan, made, shard(), unit.rows)
