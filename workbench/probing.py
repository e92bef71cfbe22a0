"""What `workbench probe` does: turn a dial for every model, keep and show what they answer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from attacks.draws import image_seeds
from attacks.spec import parse
from benchmarks.identity import library_versions
from benchmarks.sweep_files import write_sweep
from benchmarks.sweep_numbers import Sweep, answers_of, summary
from benchmarks.sweeps import Answers, Dial, joined, sweep
from workbench.class_names import Groups, class_groups, readable_names
from workbench.console import Console, Progress
from workbench.datasets.folders import LABELS_FILE
from workbench.datasets.photographs import SUFFIXES
from workbench.devices import resolve_device
from workbench.dials import Units, make_dial
from workbench.errors import Interrupted, UsageError
from workbench.exhibits import exhibit_documents, keep_exhibits, show_exhibits
from workbench.models import LoadedModel, require_gradient
from workbench.models.classifier import freeze
from workbench.plugins import add_plugins
from workbench.probe_exhibits import sweep_document, sweep_exhibits
from workbench.run_directory import RunDirectory, open_run
from workbench.running import cell_size
from workbench.subjects import Options, Subjects, load_subjects

USUAL_SIDE = 224  # pixels that networks for photographs want, mostly
VALUES_TOGETHER, MOST_TOGETHER = 2**22, 500  # image values and images in a batch


def probe_checkpoints(options: Options, arguments: Sequence[str], console: Console) -> None:
    """Run `workbench probe`.

    Args:
        options: the parsed command line.
        arguments: the command line as it was written, kept with the run.
        console: where output goes.

    Raises:
        ValueError: something that was asked for cannot be done.
        OSError: something cannot be read or written.
        Interrupted: Ctrl-C.
    """
    add_plugins(["attacks", "corruptions"], console)
    units = _units(options["units"])
    dial = make_dial(options["dial"], options["values"], units, batch_size=options["batch_size"])
    if options["draws"] > 1 and not dial.random:
        raise UsageError(f"--draws {options['draws']}: nothing is drawn in {dial.name}.")
    device = resolve_device(options["device"], options["threads"])
    subjects, groups, labelled = _subjects(options, console)
    if dial.attack and ":" not in parse(options["dial"]).name:
        for loaded in subjects.models:
            require_gradient(loaded)
    config = _config(options, subjects, dial, groups)
    if options["dry_run"]:
        _say_plan(dial, subjects, options, console)
        return
    with open_run(
        options["output"],
        verb="probe",
        name="-".join(model.name for model in subjects.models[:2]),
        config=config,
        arguments=arguments,
    ) as directory:
        try:
            found = _swept(options, subjects, dial, device, groups, labelled, console)
        except KeyboardInterrupt:
            raise Interrupted(f"Interrupted. Run it again with:\n{directory.command}") from None
        write_sweep(
            directory.record,
            found,
            config={**config, "source": subjects.recorded()},
            seed=options["seed"],
            device=device.type,
            versions=library_versions(),
        )
        _show(found, options, directory, groups, console)


def _units(text: str | None) -> Units | None:
    if text is not None and text not in list(Units):
        raise UsageError(f"--units {text}: write pixel or normalised.")
    return None if text is None else Units(text)


def _subjects(options: Options, console: Console) -> tuple[Subjects, Groups | None, bool]:
    """Models and images, the names of their classes, and whether the images have labels."""
    labelled = not _unlabelled(options)
    if not labelled and options["classes"] is not None:
        raise UsageError(
            f"--classes {options['classes']}: of {options['data']} the class is not known; say it "
            "with --label."
        )
    if not labelled:
        console.note(
            f"{options['data']}: its class is not known (--label); what is followed is each "
            "model's answer to the untouched image."
        )
    subjects = load_subjects(options if labelled else {**options, "label": "0"}, console)
    data, first = subjects.dataset, subjects.models[0]
    for loaded in subjects.models:
        if loaded.model.classes != data.classes:
            raise UsageError(
                f"{loaded.name} tells {loaded.model.classes} classes and {first.name} "
                f"{data.classes}; probe them one by one."
            )
    if first.model.input_size is None and data.pixels.at_size(USUAL_SIDE) is not None:
        console.note(
            f"{data.name}: given at {data.size[1]}x{data.size[0]}, because {first.name} does not "
            f"say what size it wants; --input-size {USUAL_SIDE} reads it as ImageNet's images."
        )
    groups = class_groups(
        data.class_names, data.class_keys, data.classes, source=options["superclasses"]
    )
    return subjects, groups, labelled


def _unlabelled(options: Options) -> bool:
    """Whether the data are one image file of which nothing says the class."""
    path = Path(options["data"]).expanduser()
    one = path.suffix.lower() in SUFFIXES and path.is_file()
    return one and options["label"] is None and not (path.parent / LABELS_FILE).is_file()


def _swept(
    options: Options,
    subjects: Subjects,
    dial: Dial,
    device: torch.device,
    groups: Groups | None,
    labelled: bool,
    console: Console,
) -> Sweep:
    data, draws = subjects.dataset, options["draws"]
    total = len(subjects.models) * len(data) * len(dial.values) * draws
    with console.progress(total, unit="images", description=dial.name) as progress:
        answers = [
            _answers(options, subjects, loaded, dial, device, labelled, progress)
            for loaded in subjects.models
        ]
    return Sweep(
        dial=dial.name,
        axis=dial.axis,
        normalised=dial.normalised,
        values=np.array(dial.values, np.float64),
        position_labels=dial.labels,
        models=tuple(loaded.name for loaded in subjects.models),
        ids=data.ids(),
        labels=(data.labels if labelled else np.full(len(data), -1)).astype(np.int32),
        class_names=readable_names(groups, data.class_names, data.classes),
        superclasses=None if groups is None else groups.superclasses,
        **answers_of(answers),
    )


def _answers(
    options: Options,
    subjects: Subjects,
    loaded: LoadedModel,
    dial: Dial,
    device: torch.device,
    labelled: bool,
    progress: Progress,
) -> Answers:
    """What one model answers, batch by batch."""
    data = subjects.dataset
    model = freeze(loaded.model.to(device))
    values = data.channels * data.size[0] * data.size[1]
    together = cell_size(values, together=VALUES_TOGETHER, largest=MOST_TOGETHER)
    parts = []
    for start in range(0, len(data), together):
        shard = data.shard(start, min(start + together, len(data)))
        labels = torch.from_numpy(shard.labels if labelled else np.full(len(shard.ids), -1))
        parts.append(
            sweep(
                model,
                dial,
                shard.images.to(device),
                labels.to(device),
                image_seeds(options["seed"], torch.from_numpy(shard.ids)).to(device),
                draws=options["draws"],
                shown=max(0, options["show"] - start),
                batch_size=options["batch_size"],
            )
        )
        progress.advance(len(shard.ids) * len(dial.values) * options["draws"])
    loaded.model.to("cpu")
    return joined(parts)


def _show(
    found: Sweep,
    options: Options,
    directory: RunDirectory,
    groups: Groups | None,
    console: Console,
) -> None:
    numbers = summary(found, options["seed"])
    exhibits = sweep_exhibits(found, numbers)
    files = keep_exhibits(exhibits, directory.path)
    show_exhibits(exhibits, console)
    if groups is not None:
        console.note(f"superclasses: {groups.source}")
    console.show(f"record: {directory.record}")
    console.show(f"figures: {directory.path / 'figures'} ({len(files)} files)")
    console.essential(str(directory.path))
    console.document(
        {
            "directory": str(directory.path),
            "record": str(directory.record),
            **sweep_document(found, numbers),
            "superclass_source": None if groups is None else groups.source,
            "exhibits": exhibit_documents(exhibits, directory.path),
        }
    )


def _config(
    options: Options, subjects: Subjects, dial: Dial, groups: Groups | None
) -> dict[str, Any]:
    """What must be the same for a run to be taken up again."""
    asked = ("draws", "show", "seed", "label")
    return {
        "dial": {"name": dial.name, "axis": dial.axis, "values": list(dial.values)},
        "models": [
            {"name": each.name, "digest": each.digest, "description": dict(each.description)}
            for each in subjects.models
        ],
        "examples": subjects.dataset.digest,
        "superclasses": None if groups is None else groups.source,
        **{key: options[key] for key in asked},
    }


def _say_plan(dial: Dial, subjects: Subjects, options: Options, console: Console) -> None:
    images, draws = len(subjects.dataset), options["draws"]
    names = [loaded.name for loaded in subjects.models]
    passes = images * len(dial.values) * draws * len(names)
    console.show(f"models: {'; '.join(names)}")
    console.show(f"dial: {dial.name} ({dial.axis}), at {', '.join(dial.labels)}")
    console.show(f"images: {images}, of {draws} draws each: {passes} answers in all")
    console.essential(str(passes))
    console.document(
        {
            "dry_run": True,
            "models": names,
            "dial": {"name": dial.name, "axis": dial.axis, "values": list(dial.values)},
            "images": images,
            "draws": draws,
            "answers": passes,
        }
    )
