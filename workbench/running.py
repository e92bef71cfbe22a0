"""What every verb that measures does with a plan: refuse, run, resume, say what failed."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import Cell, CellStore, ModelEntry, Plan, Record, merge, run
from benchmarks.computing import Engine, local
from workbench.console import Console
from workbench.datasets import Dataset
from workbench.errors import Interrupted, UsageError, explain
from workbench.models.sanity import near_chance
from workbench.run_directory import RunDirectory
from workbench.subjects import Subjects, count_right
from workbench.tables import short_spec

SMALLEST_CELL = 16  # images
PLACES = {"file", "reload"}  # of a model's description: where it lies, not what it is
SANITY_IMAGES = 500  # enough to tell 5 points over chance from chance


def cell_size(values: int, *, together: int, largest: int) -> int:
    """How many images make a cell: fewer large ones, a multiple of 8.

    Args:
        values: of one image, C·H·W.
        together: values in a cell.
        largest: images in a cell at most.

    >>> [cell_size(n, together=2**20, largest=500) for n in (28 * 28, 3 * 32 * 32, 3 * 224 * 224)]
    [500, 336, 16]
    """
    return max(SMALLEST_CELL, min(largest, together // values // 8 * 8))


def refuse_near_chance(
    todo: Plan,
    subjects: Subjects,
    console: Console,
    *,
    force: bool,
    images: str = "clean images",
    trained: Collection[str] = (),
) -> None:
    """Refuse a model that hardly does better than guessing: its preprocessing is likely wrong.

    ``images`` says what the data are; models that were ``trained`` for this run are known to be
    preprocessed as they should, and only warned of.

    Raises:
        UsageError: there is such a model, and no ``force``.
    """
    for entry in (*todo.models, *([] if todo.judge is None else [todo.judge])):
        refuse_guessing(
            entry,
            subjects.dataset,
            todo.device,
            todo.batch_size,
            console,
            force=force or entry.name in trained,
            images=images,
        )


def refuse_guessing(
    entry: ModelEntry,
    data: Dataset,
    device: str,
    batch_size: int | None,
    console: Console,
    *,
    force: bool,
    images: str = "clean images",
) -> None:
    """The same for one model on images whose labels are numbered as its outputs."""
    sample = data.take(SANITY_IMAGES)
    right = count_right(entry.get(), sample, device, batch_size)
    if not near_chance(right / len(sample), len(sample), sample.classes):
        return
    found = (
        f"{entry.name} has {right} of {len(sample)} {images} right: "
        f"near chance for {sample.classes} classes"
    )
    if not force:
        raise UsageError(
            f"{found}, so its preprocessing or class order is likely wrong.\n"
            "Find out with `workbench check` and the same options, or go on with --force."
        )
    console.warn(f"{found}; going on with it.")


def run_cells(
    todo: Plan, directory: RunDirectory, console: Console, *, engine: Engine = local
) -> None:
    """Do every cell that is not finished, and merge the record.

    Args:
        todo: the plan.
        directory: where cells and record are.
        console: where output goes.
        engine: what computes the cells.

    Raises:
        Interrupted: Ctrl-C; the message says how to resume.
        UsageError: a cell or the record cannot be written; likewise.
    """
    store = CellStore(directory.cells)
    finished = 0
    try:
        names = [_name(todo, cell) for cell in sorted(todo.cells, key=_turn)]
        work = sum(_work(cell) for cell in todo.cells)
        with console.progress(work, unit="images", description=names[0]) as progress:
            for outcome in run(todo, store, engine=engine):
                finished = outcome.position
                count = _work(outcome.cell)
                if outcome.status == "cached":
                    progress.skip(count)
                else:
                    progress.advance(count, detail=f"cell {finished} of {outcome.total}")
                progress.describe(names[min(finished, len(names) - 1)])
        merge(todo, store, directory.record)
    except KeyboardInterrupt:
        raise Interrupted(
            f"Interrupted: {finished} of {len(todo.cells)} cells are finished and kept. "
            f"Resume with:\n{directory.command}"
        ) from None
    except OSError as error:
        raise UsageError(
            f"{explain(error).splitlines()[0]}. {finished} of {len(todo.cells)} cells are finished "
            f"and kept; when this is put right, resume with:\n{directory.command}"
        ) from error


def unfinished(todo: Plan, output: Path | None) -> list[Cell]:
    """The cells of a plan that are not finished in a run directory."""
    if output is None:
        return list(todo.cells)
    store = CellStore(output / "cells")
    there = [store.read(cell) for cell in todo.cells]
    return [
        cell
        for cell, result in zip(todo.cells, there, strict=True)
        if result is None or result.failure is not None
    ]


def say_plan(
    todo: Plan,
    lines: Sequence[str],
    each: str,
    output: Path | None,
    console: Console,
    **facts: object,
) -> None:
    """What would be done, and what of it is done already.

    Args:
        todo: the plan.
        lines: what the models meet.
        each: what there is a cell of each shard for, such as ``model and attack``.
        output: the run directory that was asked for.
        console: where output goes.
        facts: what else the JSON document says.
    """
    finished = len(todo.cells) - len(unfinished(todo, output))
    models = [model.name for model in todo.models]
    shards = "1 cell" if len(todo.shards) == 1 else f"{len(todo.shards)} cells"
    for line in (
        f"models: {'; '.join(models)}",
        *lines,
        f"images: {len(todo.ids)}, in {shards} for each {each}",
        f"cells: {len(todo.cells)}, of which {finished} are finished",
        f"device: {todo.device}",
    ):
        console.show(line)
    console.essential(str(len(todo.cells) - finished))
    console.document(
        {
            "dry_run": True,
            "cells": len(todo.cells),
            "finished": finished,
            **facts,
            "config": dict(todo.config),
        }
    )


def say_troubles(record: Record, command: str, console: Console) -> bool:
    """Warn of every caution in a record and name what failed; whether nothing did.

    Args:
        record: the merged record.
        command: the command line that tries failed cells again.
        console: where output goes.
    """
    for line in caution_lines(record):
        console.warn(line)
    for line in failure_lines(record):
        console.error(line)
    if record.failures:
        cells = "1 cell" if len(record.failures) == 1 else f"{len(record.failures)} cells"
        console.error(f"{cells} failed; to try again: {command}")
    return not record.failures


def judge_lines(todo: Plan) -> list[str]:
    """Who judges, in a line, where there is a judge."""
    return [] if todo.judge is None else [f"judge: {todo.judge.name}"]


def run_config(todo: Plan, subjects: Subjects) -> dict[str, Any]:
    """What must be the same for a run to be resumed; where files lie is not part of it."""
    config = {key: value for key, value in todo.config.items() if key != "source"}
    if todo.judge is not None:
        config["judge"] = _without_places(todo.judge)
    models = [_without_places(model) for model in todo.models]
    return {"data": dict(subjects.source), **config, "models": models}


def _without_places(model: ModelEntry) -> dict[str, Any]:
    return {
        "name": model.name,
        **{key: model.description[key] for key in model.description if key not in PLACES},
        "digest": model.digest,
    }


def run_name(todo: Plan) -> str:
    """What a run directory is called after: the first model."""
    first, others = todo.models[0].name, len(todo.models) - 1
    return f"{first}-and-{others}-more" if others else first


def _turn(cell: Cell) -> tuple[int, ...]:
    """Sorts cells as `benchmarks.run` takes them."""
    kind = ("clean", "attack", "corruption", "probe").index(cell.kind)
    place = max(0 if number is None else number for number in cell.happening)
    return cell.start, kind, place, cell.model


def _work(cell: Cell) -> int:
    """Images that progress is counted in; a clean pass is little beside what follows."""
    return 0 if cell.kind == "clean" else cell.stop - cell.start


def _name(todo: Plan, cell: Cell) -> str:
    model = todo.models[cell.model].name
    if cell.condition is not None:
        return f"{model}, {short_spec(todo.condition_names[cell.condition])}"
    if cell.corruption is not None:
        corrupted = todo.corruptions[cell.corruption]
        return f"{model}, {corrupted.corruption} {corrupted.severity}"
    if cell.probe is not None:
        return f"{model}, {todo.probes[cell.probe].spec}"
    return f"{model}, clean"


def _place(entry: Mapping[str, object]) -> str:
    """What a caution or a failure is about, as tables call it; nothing for clean images."""
    if entry["attack"] is not None:
        return short_spec(str(entry["attack"]))
    if entry.get("corruption") is not None:
        return f"{entry['corruption']} {entry['severity']}"
    return str(entry.get("probe", ""))


def caution_lines(record: Record) -> list[str]:
    """Each caution of a model once, with the conditions that it was raised by."""
    told: dict[tuple[object, object], list[str]] = {}
    for caution in record.cautions:
        places = told.setdefault((caution["model"], caution["message"]), [])
        places.append(_place(caution))
    return [f"{model}{_places(places)}: {message}" for (model, message), places in told.items()]


def failure_lines(record: Record) -> list[str]:
    """What each failed cell was, and why it failed."""
    return [
        f"{failure['model']}, {_place(failure) or 'clean images'}, "
        f"images {failure['start']} to {failure['stop']}: {failure['reason']}"
        for failure in record.failures
    ]


def _places(places: Sequence[str]) -> str:
    """Some of the places, to stand behind a model's name; nothing where clean images are one."""
    if "" in places:
        return ""
    more = f" and {len(places) - 2} more" if len(places) > 2 else ""
    return f", {', '.join(places[:2])}{more}"
