"""What `workbench benchmark` does, from parsed options to the record and the tables."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from rich.table import Table

from benchmarks import (
    Plan,
    Record,
    attention_results,
    compare,
    corruption_results,
    probe_results,
    read_record,
    results,
    worst_case,
)
from workbench.attention_tables import attention_tables
from workbench.benchmark_plan import (
    Conditions,
    parse_baseline,
    parse_conditions,
    resolve,
    strengths,
)
from workbench.comparing import shown_measures
from workbench.comparison_tables import comparison_tables, legend
from workbench.console import Console
from workbench.corruption_tables import corruption_notes, corruption_tables
from workbench.engines import make_engine
from workbench.errors import Interrupted, UsageError
from workbench.estimating import estimate
from workbench.pictures import draw_pictures
from workbench.plugins import add_plugins
from workbench.probe_tables import probe_tables
from workbench.record_files import trained_on
from workbench.run_directory import (
    RunDirectory,
    next_directory,
    open_run,
    read_description,
    refuse_in_vain,
    refuse_other,
    resume_command,
)
from workbench.running import (
    judge_lines,
    refuse_near_chance,
    run_cells,
    run_config,
    run_name,
    say_plan,
    say_troubles,
    unfinished,
)
from workbench.subjects import Options, Subjects, Wanted, wanted_models
from workbench.suite_file import read_suite
from workbench.suite_models import (
    MODELS,
    Training,
    refuse_other_training,
    suite_models,
    train_missing,
    untrained,
)
from workbench.tables import result_tables, short_spec, worst_case_lines


class Asked(NamedTuple):
    """A run as it was asked for, as far as it can be told before anything is loaded.

    Attributes:
        models: the checkpoints of the command line, then those of the suite.
        conditions: what they are to meet.
        baseline: what errors are divided by, as a plan names it.
    """

    models: list[Wanted | Training]
    conditions: Conditions
    baseline: str | None


def benchmark_checkpoints(options: Options, arguments: Sequence[str], console: Console) -> bool:
    """Run `workbench benchmark`; whether every model and every cell was finished.

    Args:
        options: the parsed command line.
        arguments: the command line as it was written, to say how to resume.
        console: where output goes.

    Raises:
        ValueError: something that was asked for cannot be done.
        OSError: something cannot be read or written.
        Interrupted: Ctrl-C; the message says how to resume.
    """
    engine = make_engine(options)
    add_plugins(["attacks", "corruptions", "defenses"], console)
    if options["dry_run"]:
        _say_plan(_asked(options, options["output"] or Path()), options, console)
        return True
    output = options["output"]
    asked = _asked(options, output or Path())
    if output is None and any(isinstance(each, Training) for each in asked.models):
        output = next_directory("benchmark", read_suite(options["suite"]).name)
        console.note(f"run directory: {output}; networks are trained in {output / MODELS}")
        asked = _asked(options, output)
    if output is not None:
        _refuse_in_vain(asked, output)
    command = "" if output is None else resume_command(arguments, output)
    with _resumable(command):
        wanted = list(train_missing(asked.models, console, command))
        if not wanted:
            raise UsageError("Every training diverged: there is no model to measure.")
        todo, subjects = resolve(options, asked.conditions, wanted, asked.baseline, console)
        refuse_near_chance(
            todo,
            subjects,
            console,
            force=options["force"],
            images="clean images" if todo.clean else f"images of {subjects.dataset.name}",
            trained=[each.name for each in asked.models if isinstance(each, Training)],
        )
    name = options["suite"] and read_suite(options["suite"]).name
    with open_run(
        output,
        verb="benchmark",
        name=name or run_name(todo),
        config=_config(todo, subjects),
        arguments=arguments,
        besides=(MODELS,),
    ) as directory:
        run_cells(todo, directory, console, engine=engine)
        with _resumable(directory.command):
            whole = _show(todo, options, subjects, directory, console)
    return whole and len(wanted) == len(asked.models)


def _config(todo: Plan, subjects: Subjects) -> dict[str, Any]:
    """What must be the same for a run to be resumed."""
    config = run_config(todo, subjects)
    for key in ("baseline", "with_extra"):  # they decide no cell: the record is merged anew
        config.pop(key, None)
    return config


def _asked(options: Options, output: Path) -> Asked:
    """Read the command line and the suite.

    Raises:
        UsageError: something is misspelt, or there is nothing to do.
    """
    conditions = parse_conditions(options)  # what is misspelt is told before all else
    models: list[Wanted | Training] = []
    if options["checkpoints"]:
        models += wanted_models(options)
    if options["suite"]:
        models += suite_models(read_suite(options["suite"]).models, options, output)
    if not models:
        raise UsageError("Give at least one CHECKPOINT, or a --suite that names models.")
    names = [each.name for each in models]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"Two models are called {twice!r}; give one another name in the suite.")
    return Asked(models, conditions, parse_baseline(options["baseline"], models))


@contextmanager
def _resumable(command: str) -> Iterator[None]:
    """Say how to go on after Ctrl-C, where there is a run directory to go on in."""
    try:
        yield
    except KeyboardInterrupt:
        if not command:
            raise
        raise Interrupted(
            f"Interrupted; what is finished is kept. Resume with:\n{command}"
        ) from None


def _refuse_in_vain(asked: Asked, output: Path) -> None:
    """Refuse another run's directory, or another's networks in it, before any is trained for it.

    Raises:
        UsageError: it holds another run, or something that is no run.
    """
    found = refuse_in_vain(output, "benchmark", besides=(MODELS,))
    for each in asked.models:
        if isinstance(each, Training):
            refuse_other_training(each)
    if found is None or not isinstance(found["config"], Mapping):
        return
    there = [str(each.get("name")) for each in found["config"].get("models") or ()]
    # One that diverged is not in the run's configuration, but it has a folder.
    new = [
        each.name
        for each in asked.models
        if each.name not in there
        and (isinstance(each, Wanted) or not Path(each.request.output or "").exists())
    ]
    gone = sorted(set(there) - {each.name for each in asked.models})
    if new or gone:
        changed = (("new", new), ("gone", gone))
        told = ", ".join(f"{word}: {'; '.join(names)}" for word, names in changed if names)
        raise UsageError(
            f"{output} holds a run with other models ({told}).\n"
            "Measure what is new with another --output, and join the records with workbench merge."
        )


def _say_plan(asked: Asked, options: Options, console: Console) -> None:
    """What would be done, what of it is done already, and about what the rest would cost."""
    missing = [each for each in asked.models if isinstance(each, Training) and not each.is_finished]
    wanted = [
        each
        if isinstance(each, Wanted)
        else untrained(each, console)
        if each in missing
        else each.wanted
        for each in asked.models
    ]
    output = options["output"]
    if output is not None:
        _refuse_in_vain(asked, output)
    todo, subjects = resolve(options, asked.conditions, wanted, asked.baseline, console)
    if output is not None and (output / "config.json").exists() and not missing:
        refuse_other(output, read_description(output)["config"], _config(todo, subjects))
    lines = [f"attacks: {', '.join(map(short_spec, todo.condition_names)) or 'none'}"]
    corruptions = dict.fromkeys(each.corruption for each in todo.corruptions)
    if corruptions:
        severities = ", ".join(map(str, todo.axes.severities))
        lines += [f"corruptions: {', '.join(corruptions)}", f"severities: {severities}"]
    lines += judge_lines(todo)
    if todo.attention:
        looked = zip(todo.models, todo.attention, strict=True)
        told = "; ".join(f"{layer.name} of {model.name}" for model, layer in looked)
        lines.append(f"attention: at {told}")
    if todo.probes:
        lines.append(f"probes: {', '.join(each.spec for each in todo.probes)}")
    if missing:
        lines.append(f"to be trained: {'; '.join(each.name for each in missing)}")
    found = estimate(todo, unfinished(todo, output))
    lines += found.lines()
    say_plan(todo, lines, "model and condition", output, console, estimate=found.document())


def _show(
    todo: Plan,
    options: Options,
    subjects: Subjects,
    directory: RunDirectory,
    console: Console,
) -> bool:
    """Show what the record says; whether every cell was finished."""
    record = read_record(directory.record)
    attacked, worst, corrupted = results(record), worst_case(record), corruption_results(record)
    trained = trained_on(record)
    together = compare(record) if len(record.models) > 1 and attacked else None
    for part in _tables(record, together, trained, console.out.width):
        console.show(part)
    looked = attention_results(record)
    for table in attention_tables(looked, console.out.width, trained):
        console.show(table)
    notes = []
    if corrupted:
        descriptions = [each.description for each in todo.corruptions]
        notes = corruption_notes(descriptions, strengths(options, subjects))
    if not todo.clean:
        notes.append("no clean images: their error and relative mCE are unknown")
    console.show(*notes)
    names, count = subjects.dataset.class_names, options["save_images"]
    pictures = draw_pictures(record, directory.images, names, count)
    whole = say_troubles(record, directory.command, console)
    if together is not None:
        console.show(
            f"more: workbench show {directory.path} (model by model), "
            f"workbench compare {directory.path} --help, workbench report {directory.path}"
        )
    console.show(f"record: {directory.record}")
    if pictures:
        console.show(f"pictures: {directory.images} ({len(pictures)})")
    console.essential(str(directory.record))
    console.document(
        {
            "record": str(directory.record),
            "images": len(todo.ids),
            "results": attacked,
            "worst_case": worst,
            "corruption_results": [
                {**result, "trained_on_corruptions": trained[str(result["model"])]}
                for result in corrupted
            ],
            "probe_results": probe_results(record),
            "attention_results": looked,
            "comparison": together,
            "notes": notes,
            "pictures": [str(file) for file in pictures],
            "failures": list(record.failures),
        }
    )
    return whole


def _tables(
    record: Record,
    together: Mapping[str, Any] | None,
    trained: Mapping[str, Sequence[str]],
    width: int,
) -> Iterator[Table | str]:
    """Models beside each other where they were compared, else one after the other."""
    if together is not None:
        yield from comparison_tables(together, shown_measures(together["measures"]), width)
        yield from legend(together)
        return
    yield from result_tables(results(record), width)
    yield from worst_case_lines(worst_case(record))
    if record.corrupted:
        yield from corruption_tables(corruption_results(record), width, trained)
    yield from probe_tables(probe_results(record), width, trained)
