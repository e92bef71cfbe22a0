"""What `workbench attack` does, from parsed options to the record, the tables and the pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attacks.spec import parse
from benchmarks import (
    Cell,
    CellStore,
    Plan,
    Record,
    merge,
    plan,
    read_record,
    results,
    run,
    worst_case,
)
from workbench.conditions import make_conditions, parse_target
from workbench.console import Console
from workbench.devices import resolve_device
from workbench.errors import Interrupted, UsageError, explain
from workbench.models import require_gradient
from workbench.models.sanity import near_chance
from workbench.options import parse_eps, parse_thresholds
from workbench.pictures import draw_pictures
from workbench.run_directory import RunDirectory, open_run
from workbench.subjects import Options, Subjects, count_right, load_subjects, model_entries
from workbench.tables import result_tables, short_spec, worst_case_lines

VALUES_PER_CELL = 2**20  # image values in a cell: about a minute's work for a small residual net
SMALLEST_CELL, LARGEST_CELL = 16, 500  # images
PLACES = {"file", "reload"}  # of a model's description: where it lies, not what it is
SANITY_IMAGES = 500  # enough to tell 5 points over chance from chance


def attack_checkpoints(options: Options, arguments: Sequence[str], console: Console) -> bool:
    """Run `workbench attack`; whether every cell was finished.

    Args:
        options: the parsed command line.
        arguments: the command line as it was written, to say how to resume.
        console: where output goes.

    Raises:
        ValueError: something that was asked for cannot be done.
        OSError: something cannot be read or written.
        Interrupted: Ctrl-C; the message says how to resume.
    """
    todo, subjects = resolve(options, console)
    if options["dry_run"]:
        _say_plan(todo, options["output"], console)
        return True
    _refuse_near_chance(todo, subjects, console, force=options["force"])
    with open_run(
        options["output"],
        verb="attack",
        name=_run_name(todo),
        config=_run_config(todo, subjects),
        arguments=arguments,
    ) as directory:
        _run(todo, directory, console)
        return _show(todo, subjects, directory, options["save_images"], console)


def resolve(options: Options, console: Console) -> tuple[Plan, Subjects]:
    """Load what was asked for and lay out the cells.

    Raises:
        ValueError: something that was asked for cannot be done.
        OSError: something cannot be read.
    """
    thresholds = parse_thresholds(options["thresholds"])
    eps = None if options["eps"] is None else parse_eps(options["eps"])
    shortcuts = {"eps": eps, "steps": options["steps"], "shrink": options["shrink"]}
    make_conditions(options["attacks"], **shortcuts)  # a misspelt attack is told before all else
    device = resolve_device(options["device"], options["threads"])
    subjects = load_subjects(options, console)
    conditions = make_conditions(
        options["attacks"],
        **shortcuts,
        target=parse_target(
            options["targeted"], subjects.dataset.classes, subjects.dataset.class_names
        ),
        seed=options["seed"],
    )
    if any(":" not in parse(condition.spec).name for condition in conditions):
        for loaded in subjects.models:
            require_gradient(loaded)  # all attacks of ours follow it
    channels, (height, width) = subjects.dataset.channels, subjects.dataset.size
    todo = plan(
        model_entries(subjects, device),
        conditions,
        subjects.dataset,
        shard_size=options["shard_size"] or cell_size(channels * height * width),
        seed=options["seed"],
        thresholds=thresholds,
        precision=str(options["precision"]),
        device=device.type,
        batch_size=options["batch_size"],
        keep_images=options["keep_images"],
        save_images=options["save_images"],
    )
    return todo, subjects


def cell_size(values: int) -> int:
    """How many images of so many values (C·H·W) make a cell: fewer large ones, a multiple of 8.

    >>> cell_size(28 * 28), cell_size(3 * 32 * 32), cell_size(3 * 224 * 224)
    (500, 336, 16)
    """
    return max(SMALLEST_CELL, min(LARGEST_CELL, VALUES_PER_CELL // values // 8 * 8))


def _refuse_near_chance(todo: Plan, subjects: Subjects, console: Console, *, force: bool) -> None:
    """Refuse a model that hardly does better than guessing: its preprocessing is likely wrong."""
    sample = subjects.dataset.take(SANITY_IMAGES)
    for entry in todo.models:
        right = count_right(entry.get(), sample, todo.device, todo.batch_size)
        if not near_chance(right / len(sample), len(sample), sample.classes):
            continue
        found = (
            f"{entry.name} has {right} of {len(sample)} clean images right: "
            f"near chance for {sample.classes} classes"
        )
        if not force:
            raise UsageError(
                f"{found}, so its preprocessing or class order is likely wrong.\n"
                "Find out with `workbench check` and the same options, or go on with --force."
            )
        console.warn(f"{found}; going on because of --force.")


def _run(todo: Plan, directory: RunDirectory, console: Console) -> None:
    """Do every cell that is not finished, and merge the record."""
    store = CellStore(directory.cells)
    finished = 0
    try:
        names = [_name(todo, cell) for cell in todo.cells]
        with console.progress(
            _images_to_attack(todo), unit="images", description=names[0]
        ) as progress:
            for outcome in run(todo, store):
                finished = outcome.position
                cell = outcome.cell
                count = 0 if cell.condition is None else cell.stop - cell.start
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


def _show(
    todo: Plan, subjects: Subjects, directory: RunDirectory, pictures: int, console: Console
) -> bool:
    """Draw the pictures, show what the record says; whether every cell was finished."""
    record = read_record(directory.record)
    files = draw_pictures(record, directory.images, subjects.dataset.class_names, pictures)
    found, worst = results(record), worst_case(record)
    for table in result_tables(found, console.out.width):
        console.show(table)
    console.show(*worst_case_lines(worst))
    for line in _caution_lines(record):
        console.warn(line)
    for failure in record.failures:
        attack = "clean images" if failure["attack"] is None else short_spec(str(failure["attack"]))
        rows = f"images {failure['start']} to {failure['stop']}"
        console.error(f"{failure['model']}, {attack}, {rows}: {failure['reason']}")
    if record.failures:
        cells = "1 cell" if len(record.failures) == 1 else f"{len(record.failures)} cells"
        console.error(f"{cells} failed; to try again: {directory.command}")
    console.show(f"record: {directory.record}")
    if files:
        console.show(f"pictures: {directory.images} ({len(files)})")
    console.essential(str(directory.record))
    console.document(
        {
            "record": str(directory.record),
            "images": len(todo.ids),
            "results": found,
            "worst_case": worst,
            "pictures": [str(file) for file in files],
            "failures": list(record.failures),
        }
    )
    return not record.failures


def _caution_lines(record: Record) -> list[str]:
    """Each kind of caution once for a model and attack, however many cells raised it."""
    told: dict[tuple[object, object, object], list[str]] = {}
    for caution in record.cautions:
        key = (caution["model"], caution["attack"], caution["code"])
        told.setdefault(key, []).append(str(caution["message"]))
    return [
        f"{model}{'' if attack is None else f', {short_spec(str(attack))}'}: {messages[0]}"
        + (f" (likewise in {len(messages) - 1} more)" if len(messages) > 1 else "")
        for (model, attack, _), messages in told.items()
    ]


def _say_plan(todo: Plan, output: Path | None, console: Console) -> None:
    """What would be done, and what of it is done already."""
    store = CellStore(output / "cells") if output else None
    there = [store.read(cell) for cell in todo.cells] if store else []
    finished = sum(result is not None and result.failure is None for result in there)
    models = [model.name for model in todo.models]
    shards = "1 cell" if len(todo.shards) == 1 else f"{len(todo.shards)} cells"
    for line in (
        f"models: {', '.join(models)}",
        f"attacks: {', '.join(todo.condition_names)}",
        f"images: {len(todo.ids)}, in {shards} for each model and attack",
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
            "config": dict(todo.config),
        }
    )


def _images_to_attack(todo: Plan) -> int:
    return len(todo.ids) * len(todo.models) * len(todo.conditions)


def _name(todo: Plan, cell: Cell) -> str:
    model = todo.models[cell.model].name
    if cell.condition is None:
        return f"{model}, clean"
    return f"{model}, {short_spec(todo.condition_names[cell.condition])}"


def _run_config(todo: Plan, subjects: Subjects) -> dict[str, Any]:
    """What must be the same for a run to be resumed; where files lie is not part of it."""
    models = [
        {
            "name": model.name,
            **{key: model.description[key] for key in model.description if key not in PLACES},
            "digest": model.digest,
        }
        for model in todo.models
    ]
    return {"data": dict(subjects.source), **todo.config, "models": models}


def _run_name(todo: Plan) -> str:
    first, others = todo.models[0].name, len(todo.models) - 1
    return f"{first}-and-{others}-more" if others else first
