"""What `workbench benchmark` does, from parsed options to the record and the tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from attacks.corruptions import strength_size
from benchmarks import Plan, corruption_results, plan, read_record
from workbench.console import Console
from workbench.corruption_tables import corruption_notes, corruption_tables
from workbench.corruptions import (
    check_images,
    check_strengths,
    make_recipes,
    parse_corruptions,
    parse_severities,
)
from workbench.datasets.corrupted import find_set
from workbench.devices import resolve_device
from workbench.engines import make_engine
from workbench.errors import UsageError, suggestion
from workbench.plugins import add_plugins
from workbench.run_directory import RunDirectory, open_run
from workbench.running import (
    cell_size,
    refuse_near_chance,
    run_cells,
    run_config,
    run_name,
    say_plan,
    say_troubles,
)
from workbench.stored_corruptions import stored_corruptions
from workbench.subjects import Options, Subjects, load_subjects, model_entries, unique_names

VALUES_PER_CELL = 2**24  # image values in a cell: seconds of work for a small net, 67 MB of images
LARGEST_CELL = 5000  # images
MILDEST = "brightness"  # the corruption that is nearest to clean images, see the AlexNet table
SETTINGS_OF_MAKING = ("strengths", "frost_textures", "exact", "jpeg_85")
ALEXNET, ALEXNET_SIZE = "alexnet", 224  # the published baseline, and the strengths it met


def benchmark_checkpoints(options: Options, arguments: Sequence[str], console: Console) -> bool:
    """Run `workbench benchmark`; whether every cell was finished.

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
    todo, subjects = resolve(options, console)
    if options["dry_run"]:
        _say_plan(todo, options, console)
        return True
    images = "clean images" if todo.clean else f"images of {subjects.dataset.name}"
    refuse_near_chance(todo, subjects, console, force=options["force"], images=images)
    config = run_config(todo, subjects)
    for key in ("baseline", "with_extra"):  # they decide no cell: the record is merged anew
        config.pop(key)
    with open_run(
        options["output"],
        verb="benchmark",
        name=run_name(todo),
        config=config,
        arguments=arguments,
    ) as directory:
        run_cells(todo, directory, console, engine=engine)
        return _show(todo, _strengths(options, subjects), directory, console)


def resolve(options: Options, console: Console) -> tuple[Plan, Subjects]:
    """Load what was asked for and lay out the cells.

    Raises:
        ValueError: something that was asked for cannot be done.
        OSError: something cannot be read.
    """
    add_plugins(["corruptions"], console)
    names = parse_corruptions(options["corruptions"])  # what is misspelt is told before all else
    severities = parse_severities(options["severities"])
    check_strengths(options["strengths"])
    baseline = parse_baseline(options["baseline"], options["checkpoints"])
    place = find_images(options, names, severities)
    device = resolve_device(options["device"], options["threads"])
    subjects = load_subjects({**options, "data": place.data}, console)
    channels, size = subjects.dataset.channels, subjects.dataset.size
    published = baseline == ALEXNET and ALEXNET not in unique_names(options["checkpoints"])
    if published and _strengths(options, subjects) != ALEXNET_SIZE:
        raise UsageError(
            f"--baseline alexnet: its published errors are those of ImageNet-C, and images of "
            f"{size[1]}x{size[0]} are corrupted otherwise.\n"
            "Give an AlexNet of your own as a checkpoint, and its name as --baseline."
        )
    if place.corrupted is not None:
        corruptions = stored_corruptions(place.corrupted, names, severities, subjects.dataset)
    else:
        recipes = make_recipes(
            names,
            severities,
            seed=options["seed"],
            strengths=options["strengths"],
            exact=options["exact"],
            textures=options["frost_textures"],
            jpeg85=options["jpeg_85"],
            device=device,
        )
        check_images(recipes, subjects.dataset)
        corruptions = [recipe.corrupted for recipe in recipes]
    todo = plan(
        model_entries(subjects, device),
        (),
        subjects.dataset,
        corruptions=corruptions,
        clean=place.clean,
        baseline=baseline,
        with_extra=options["with_extra"],
        shard_size=options["shard_size"]
        or cell_size(channels * size[0] * size[1], together=VALUES_PER_CELL, largest=LARGEST_CELL),
        seed=options["seed"],
        device=device.type,
        batch_size=options["batch_size"],
        class_names=subjects.dataset.class_names,
    )
    return todo, subjects


@dataclass(frozen=True)
class Images:
    """Where a run's images are.

    Attributes:
        data: what labels, ids and shape are read from, as ``--data`` takes it.
        corrupted: the set of corrupted images, or None where they are made in memory.
        clean: whether ``data`` are the clean images.
    """

    data: str
    corrupted: Path | None
    clean: bool


def find_images(options: Options, names: Sequence[str], severities: Sequence[int]) -> Images:
    """Tell clean images from a set that is given as ``--data`` for want of them.

    Raises:
        UsageError: the set lacks what was asked for, or there are settings for making images that
            are stored already.
    """
    data, corrupted = str(options["data"]), options["corrupted"]
    folder = Path(data).expanduser()
    alone = find_set(folder) if folder.is_dir() else None
    if alone is None and corrupted is None:
        return Images(data, None, clean=True)
    for setting in SETTINGS_OF_MAKING:
        if options[setting]:
            flag = "--" + setting.replace("_", "-")
            raise UsageError(
                f"{flag} is about corrupting in memory; these images are corrupted already."
            )
    if alone is None:
        return Images(data, corrupted.expanduser(), clean=True)
    if corrupted is not None:
        raise UsageError(
            f"--data {data} holds corrupted images: give the clean ones there, or leave out "
            "--corrupted."
        )
    for name in names:
        alone.check(name, severities)
    mildest = MILDEST if MILDEST in names else names[0]
    return Images(f"{data}/{mildest}/{severities[0]}", folder, clean=False)


def _strengths(options: Options, subjects: Subjects) -> int:
    """The size of the images whose published strengths are taken."""
    return int(options["strengths"] or strength_size(*subjects.dataset.size))


def parse_baseline(text: str | None, checkpoints: Sequence[str]) -> str | None:
    """The baseline as a plan names it: ``alexnet``, or the name of one of the checkpoints.

    Raises:
        UsageError: it is none of these.

    >>> parse_baseline("runs/a/model.pt", ["runs/a/model.pt", "b.pt"])
    'a'
    """
    if text is None:
        return None
    names = unique_names(checkpoints)
    by_text = {**dict(zip(checkpoints, names, strict=True)), **{name: name for name in names}}
    if text in by_text:
        return by_text[text]
    if text == ALEXNET:
        return ALEXNET
    hint = suggestion(text, [ALEXNET, *by_text])
    raise UsageError(
        f"--baseline {text} is no model of this run.{hint}\n"
        f"Give {ALEXNET} (published, for ImageNet-C) or one of: {', '.join(names)}."
    )


def _say_plan(todo: Plan, options: Options, console: Console) -> None:
    severities = ", ".join(map(str, parse_severities(options["severities"])))
    names = dict.fromkeys(each.corruption for each in todo.corruptions)
    passes = sum(cell.stop - cell.start for cell in todo.cells)
    lines = [
        f"corruptions: {', '.join(names)}",
        f"severities: {severities}",
        f"passes: {passes} images through a model",
    ]
    say_plan(todo, lines, "model, corruption and severity", options["output"], console)


def _show(todo: Plan, strengths: int, directory: RunDirectory, console: Console) -> bool:
    """Show what the record says; whether every cell was finished."""
    record = read_record(directory.record)
    found = corruption_results(record)
    trained_on = _trained_on(todo)
    for table in corruption_tables(found, console.out.width, trained_on):
        console.show(table)
    notes = corruption_notes([each.description for each in todo.corruptions], strengths)
    if not todo.clean:
        notes.append("no clean images: their error and relative mCE are unknown")
    console.show(*notes)
    whole = say_troubles(record, directory.command, console)
    console.show(f"record: {directory.record}")
    console.essential(str(directory.record))
    console.document(
        {
            "record": str(directory.record),
            "images": len(todo.ids),
            "results": [
                {**result, "trained_on_corruptions": list(trained_on[str(result["model"])])}
                for result in found
            ],
            "notes": notes,
            "failures": list(record.failures),
        }
    )
    return whole


def _trained_on(todo: Plan) -> dict[str, list[str]]:
    """For each model the test corruptions that its checkpoint says it was trained on."""
    found = {}
    for model in todo.models:
        training = model.description.get("training")
        told = training.get("trained_on_corruptions") if isinstance(training, Mapping) else None
        found[model.name] = list(told or ())
    return found
