"""What `workbench explain` does: load models and data, take the views, keep and show them."""

import hashlib
from collections.abc import Sequence
from typing import Any

import torch

from workbench.benchmark_plan import NOTHING
from workbench.class_names import class_groups, readable_names
from workbench.console import Console
from workbench.corruptions import parse_corruptions, parse_severities
from workbench.datasets import Dataset
from workbench.datasets.classes import ClassSet
from workbench.devices import resolve_device
from workbench.errors import Interrupted, UsageError, explain, unknown
from workbench.exhibits import Exhibit, exhibit_documents, keep_exhibits, show_exhibits
from workbench.explain import VIEWS, WITHOUT_ANSWERS, WITHOUT_MODELS
from workbench.explain.viewed import Asked, Viewed, ViewedModel
from workbench.models.classifier import freeze
from workbench.plugins import add_plugins
from workbench.run_directory import RunDirectory, open_run
from workbench.running import refuse_guessing
from workbench.subjects import Options, Subjects, data_alone, load_subjects, model_entries

SANITY_IMAGES = 200  # tell 25 % from 10 % of ten classes, and take a second on a small net


def explain_checkpoints(options: Options, arguments: Sequence[str], console: Console) -> bool:
    """Run `workbench explain`; whether every view could be shown.

    Args:
        options: the parsed command line.
        arguments: the command line as it was written, kept with the run.
        console: where output goes.

    Raises:
        ValueError: something that was asked for cannot be done, and nothing could be shown.
        OSError: something cannot be read or written.
        Interrupted: Ctrl-C.
    """
    names = parse_views(options["view"])
    add_plugins(["corruptions"], console)
    device = resolve_device(options["device"], options["threads"])
    without_models = not options["checkpoints"] and WITHOUT_MODELS.issuperset(names)
    subjects = data_alone(options) if without_models else load_subjects(options, console)
    asked = _asked(options, subjects)
    if not WITHOUT_ANSWERS.issuperset(names):
        _refuse_guessing(options, subjects, device, console)
    if options["dry_run"]:
        _say_plan(subjects, names, console)
        return True
    with open_run(
        options["output"],
        verb="explain",
        name="-".join(model.name for model in subjects.models[:2]) or subjects.dataset.name,
        config=_config(options, subjects, names),
        arguments=arguments,
    ) as directory:
        viewed = _viewed(options, subjects, asked, device, directory, console)
        exhibits, refused = _exhibits(viewed, names)
        files = keep_exhibits(exhibits, directory.path)
        show_exhibits(exhibits, console)
        console.show(f"figures: {directory.path / 'figures'} ({len(files)} files)")
        console.essential(str(directory.path))
        console.document(
            {
                "directory": str(directory.path),
                "models": [model.label for model in viewed.models],
                "images": len(viewed.dataset),
                "exhibits": exhibit_documents(exhibits, directory.path),
                "refused": refused,
            }
        )
    for name, reason in refused.items():
        console.error(f"the view {name} is left out. {reason}")
    return not refused


def _exhibits(viewed: Viewed, names: Sequence[str]) -> tuple[list[Exhibit], dict[str, str]]:
    """What the views show, and why those do not that cannot: the others are worth having.

    Raises:
        ValueError: none of them can.
        Interrupted: Ctrl-C.
    """
    exhibits: list[Exhibit] = []
    refused: dict[str, str] = {}
    for name in names:
        viewed.console.note(f"{name} …")
        try:
            exhibits += VIEWS[name](viewed)
        except KeyboardInterrupt:
            raise Interrupted(f"Interrupted. Run it again with:\n{viewed.command}") from None
        except ValueError as error:
            if len(refused) == len(names) - 1:
                raise
            refused[name] = explain(error)
    return exhibits, refused


def parse_views(text: str) -> list[str]:
    """The views of ``--view``, each once, in the order given.

    Raises:
        UsageError: there is no such view, or none is named.
    """
    names = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    for name in names:
        if name not in VIEWS:
            raise unknown("view", name, VIEWS)
    if not names:
        raise UsageError(f"--view names no view; there are {', '.join(VIEWS)}.")
    return names


def _refuse_guessing(
    options: Options, subjects: Subjects, device: torch.device, console: Console
) -> None:
    """Refuse a model near chance: what it looks at would be explained as if it knew anything."""
    sample = subjects.dataset.take(SANITY_IMAGES)
    for entry in model_entries(subjects, device):
        refuse_guessing(
            entry, sample, device.type, options["batch_size"], console, force=options["force"]
        )


def _say_plan(subjects: Subjects, names: Sequence[str], console: Console) -> None:
    """What would be looked at."""
    models = [model.name for model in subjects.models]
    images = len(subjects.dataset)
    console.show(
        f"models: {', '.join(models)}",
        f"images: {images} of {subjects.dataset.name}",
        f"views: {', '.join(names)}",
    )
    console.essential("\n".join(names))
    console.document({"models": models, "images": images, "views": list(names)})


def _class_names(data: Dataset) -> tuple[str, ...]:
    """Readable names: those of WordNet ids where the data have these alone."""
    groups = class_groups(data.class_names, data.class_keys, data.classes)
    return readable_names(groups, data.class_names, data.classes)


def _parts(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def _asked(options: Options, subjects: Subjects) -> Asked:
    data = subjects.dataset
    # WordNet ids that the data have for names are keys here: ``--class goose`` finds n01855672.
    known = ClassSet(data.classes, _class_names(data), data.class_keys or data.class_names)
    of_class, source = options["of_class"], options["superclasses"]
    if source is not None:  # what cannot be read is told before long work
        class_groups(data.class_names, data.class_keys, data.classes, source=source)
    return Asked(
        layers=_parts(options["layers"]),
        corruptions=()
        if options["corruptions"] == NOTHING
        else parse_corruptions(options["corruptions"]),
        severities=parse_severities(options["severities"]),
        show=options["show"],
        of_class=None if of_class is None else known.find(of_class),
        methods=_parts(options["methods"]),
        steps=options["ig_steps"],
        explained=options["explained"],
        superclasses=source,
    )


def _viewed(
    options: Options,
    subjects: Subjects,
    asked: Asked,
    device: torch.device,
    directory: RunDirectory,
    console: Console,
) -> Viewed:
    data = subjects.dataset
    for loaded in subjects.models:
        freeze(loaded.model.to(device))
    return Viewed(
        models=tuple(
            ViewedModel(place, loaded.name, loaded.model)
            for place, loaded in enumerate(subjects.models)
        ),
        dataset=data,
        class_names=_class_names(data),
        asked=asked,
        directory=directory.path,
        console=console,
        device=device,
        batch_size=options["batch_size"],
        seed=options["seed"],
        entries=model_entries(subjects, device),
        source=subjects.recorded(),
        command=directory.command,
    )


def _config(options: Options, subjects: Subjects, names: Sequence[str]) -> dict[str, Any]:
    """What must be the same for a run to be taken up again.

    Images are told by a sample: most views look at a few of what may be a million files.
    """
    data = subjects.dataset
    asked = (
        *("layers", "corruptions", "severities", "show", "of_class", "seed"),
        *("methods", "ig_steps", "explained", "superclasses"),
    )
    return {
        "views": list(names),
        "models": [{"name": m.name, "digest": m.digest} for m in subjects.models],
        "examples": {
            "count": len(data),
            "labels": hashlib.sha256(data.labels.astype("<i8").tobytes()).hexdigest(),
            "sample": data.take(SANITY_IMAGES).digest,
        },
        **{key: options[key] for key in asked},
    }
