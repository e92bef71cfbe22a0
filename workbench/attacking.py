"""What `workbench attack` does, from parsed options to the record, the tables and the pictures."""

from collections.abc import Sequence

from attacks.spec import parse
from benchmarks import Plan, plan, read_record, results, worst_case
from workbench.conditions import make_conditions, parse_target
from workbench.console import Console
from workbench.devices import resolve_device
from workbench.judges import wanted_judge
from workbench.models import require_gradient
from workbench.option_texts import parse_eps, parse_thresholds
from workbench.pictures import draw_pictures
from workbench.plugins import add_plugins
from workbench.run_directory import RunDirectory, open_run
from workbench.running import (
    cell_size,
    judge_lines,
    refuse_near_chance,
    run_cells,
    run_config,
    run_name,
    say_plan,
    say_troubles,
)
from workbench.subjects import (
    Options,
    Subjects,
    judge_entry,
    load_subjects,
    model_entries,
    wanted_models,
)
from workbench.tables import result_tables, worst_case_lines

VALUES_PER_CELL = 2**20  # image values in a cell: about a minute's work for a small residual net
LARGEST_CELL = 500  # images


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
        lines = [f"attacks: {', '.join(todo.condition_names)}", *judge_lines(todo)]
        say_plan(todo, lines, "model and attack", options["output"], console)
        return True
    refuse_near_chance(todo, subjects, console, force=options["force"])
    with open_run(
        options["output"],
        verb="attack",
        name=run_name(todo),
        config=run_config(todo, subjects),
        arguments=arguments,
    ) as directory:
        run_cells(todo, directory, console)
        return _show(todo, subjects, directory, options["save_images"], console)


def resolve(options: Options, console: Console) -> tuple[Plan, Subjects]:
    """Load what was asked for and lay out the cells.

    Raises:
        ValueError: something that was asked for cannot be done.
        OSError: something cannot be read.
    """
    add_plugins(["attacks"], console)
    thresholds = parse_thresholds(options["thresholds"])
    eps = None if options["eps"] is None else parse_eps(options["eps"])
    shortcuts = {"eps": eps, "steps": options["steps"], "shrink": options["shrink"]}
    make_conditions(options["attacks"], **shortcuts)  # a misspelt attack is told before all else
    device = resolve_device(options["device"], options["threads"])
    wanted = wanted_models(options)
    named = [(each.checkpoint, each.name) for each in wanted]
    judge = wanted_judge(options, named, options["attacks"])
    subjects = load_subjects(options, console, wanted, judge)
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
        judge=judge_entry(subjects, device),
        shard_size=options["shard_size"]
        or cell_size(channels * height * width, together=VALUES_PER_CELL, largest=LARGEST_CELL),
        seed=options["seed"],
        thresholds=thresholds,
        precision=str(options["precision"]),
        device=device.type,
        batch_size=options["batch_size"],
        class_names=subjects.dataset.class_names,
        source=subjects.recorded(),
        keep_images=options["keep_images"],
        save_images=options["save_images"],
    )
    return todo, subjects


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
    whole = say_troubles(record, directory.command, console)
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
    return whole
