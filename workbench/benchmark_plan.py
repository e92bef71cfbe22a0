"""The plan of `workbench benchmark`: which conditions which models meet on which images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from attacks.corruptions import strength_size
from attacks.spec import parse
from benchmarks import Condition, Corrupted, Plan, plan
from workbench import attacking
from workbench.conditions import make_conditions, make_probes, parse_target
from workbench.console import Console
from workbench.corruptions import (
    check_images,
    check_strengths,
    make_recipes,
    parse_corruptions,
    parse_severities,
)
from workbench.datasets.corrupted import find_set
from workbench.devices import resolve_device
from workbench.errors import UsageError, suggestion
from workbench.judges import wanted_judge
from workbench.models import require_gradient
from workbench.option_texts import parse_eps, parse_thresholds
from workbench.running import cell_size
from workbench.stored_corruptions import stored_corruptions
from workbench.subjects import (
    Options,
    Subjects,
    Wanted,
    judge_entry,
    load_subjects,
    model_entries,
)
from workbench.suite_models import Training

VALUES_PER_CELL = 2**24  # image values in a cell: seconds of work for a small net, 67 MB of images
LARGEST_CELL = 5000  # images
MILDEST = "brightness"  # the corruption that is nearest to clean images, see the AlexNet table
SETTINGS_OF_MAKING = ("strengths", "frost_textures", "exact", "jpeg_85")
ALEXNET, ALEXNET_SIZE = "alexnet", 224  # the published baseline, and the strengths it met
NOTHING = "none"


@dataclass(frozen=True)
class Conditions:
    """What was asked for, as far as it can be told before anything is loaded.

    Attributes:
        corruptions: names; none for no corrupted images.
        severities: 1 to 5.
    """

    corruptions: tuple[str, ...]
    severities: tuple[int, ...]


def parse_conditions(options: Options) -> Conditions:
    """Read what the models are to meet.

    Raises:
        UsageError: something is misspelt, or there is nothing to meet.
    """
    severities = parse_severities(options["severities"])
    check_strengths(options["strengths"])
    parse_thresholds(options["thresholds"])
    _make_conditions(options)
    make_probes(options["probes"] or (), seed=options["seed"])
    if options["attention"] and options["corruptions"] == NOTHING:
        raise UsageError("--attention measures how corruptions move it: give --corruptions.")
    if options["corruptions"] == NOTHING:
        if not options["attacks"] and not options["probes"]:
            raise UsageError(
                "There is nothing to measure: give --attack, --corruptions or --probe."
            )
        return Conditions((), severities)
    return Conditions(parse_corruptions(options["corruptions"]), severities)


def resolve(
    options: Options,
    asked: Conditions,
    wanted: Sequence[Wanted],
    baseline: str | None,
    console: Console,
) -> tuple[Plan, Subjects]:
    """Load what was asked for and lay out the cells.

    Args:
        options: the parsed command line.
        asked: what is in it of conditions.
        wanted: the models.
        baseline: as a plan names it.
        console: where output goes.

    Raises:
        ValueError: something that was asked for cannot be done.
        OSError: something cannot be read.
    """
    place = find_images(options, asked)
    device = resolve_device(options["device"], options["threads"])
    named = [(each.checkpoint, each.name) for each in wanted]
    judge = wanted_judge(options, named, options["attacks"])
    subjects = load_subjects({**options, "data": place.data}, console, wanted, judge)
    dataset = subjects.dataset
    if baseline == ALEXNET and ALEXNET not in {each.name for each in wanted}:
        _refuse_other_strengths(options, subjects)
    conditions = _make_conditions(options, subjects)
    if options["attention"] or any(
        ":" not in parse(condition.spec).name for condition in conditions
    ):
        for loaded in subjects.models:
            require_gradient(loaded)  # all attacks of ours follow it, and so does Grad-CAM
    together, largest = VALUES_PER_CELL, LARGEST_CELL
    if conditions:
        together, largest = attacking.VALUES_PER_CELL, attacking.LARGEST_CELL
    values = dataset.channels * dataset.size[0] * dataset.size[1]
    todo = plan(
        model_entries(subjects, device),
        conditions,
        dataset,
        corruptions=_corruptions(options, asked, place, subjects, device),
        probes=make_probes(options["probes"] or (), seed=options["seed"]),
        judge=judge_entry(subjects, device),
        clean=place.clean,
        baseline=baseline,
        with_extra=options["with_extra"],
        attention=options["attention"],
        shard_size=options["shard_size"] or cell_size(values, together=together, largest=largest),
        seed=options["seed"],
        thresholds=parse_thresholds(options["thresholds"]),
        precision=str(options["precision"]),
        device=device.type,
        batch_size=options["batch_size"],
        keep_images=options["keep_images"],
        save_images=options["save_images"] if conditions else 0,
        class_names=dataset.class_names,
        source=subjects.recorded(place.corrupted),
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


def find_images(options: Options, asked: Conditions) -> Images:
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
    if options["attention"]:
        raise UsageError(
            f"--data {data} holds corrupted images alone; --attention needs clean ones."
        )
    if not asked.corruptions or options["attacks"] or options["probes"]:
        raise UsageError(
            f"--data {data} holds corrupted images alone; attacks and probes need clean ones."
        )
    for name in asked.corruptions:
        alone.check(name, asked.severities)
    mildest = MILDEST if MILDEST in asked.corruptions else asked.corruptions[0]
    return Images(f"{data}/{mildest}/{asked.severities[0]}", folder, clean=False)


def strengths(options: Options, subjects: Subjects) -> int:
    """The size of the images whose published strengths are taken."""
    return int(options["strengths"] or strength_size(*subjects.dataset.size))


def parse_baseline(text: str | None, wanted: Sequence[Wanted | Training]) -> str | None:
    """The baseline as a plan names it: ``alexnet``, or the name of one of the models.

    Of models that differ in their seeds, the name without one means the first.

    Raises:
        UsageError: it is none of these.
    """
    if text is None:
        return None
    names = [each.name for each in wanted]
    by_text = {name.partition(", seed ")[0]: name for name in reversed(names)}
    by_text |= {each.checkpoint: each.name for each in wanted if isinstance(each, Wanted)}
    by_text |= {name: name for name in names}
    if text in by_text:
        return by_text[text]
    if text == ALEXNET:
        return ALEXNET
    hint = suggestion(text, [ALEXNET, *by_text])
    raise UsageError(
        f"--baseline {text} is no model of this run.{hint}\n"
        f"Give {ALEXNET} (published, for ImageNet-C) or one of: {', '.join(names)}."
    )


def _make_conditions(options: Options, subjects: Subjects | None = None) -> tuple[Condition, ...]:
    """The attacks; without the data, to tell a misspelt one before they are loaded."""
    target = None
    if subjects is not None:
        dataset = subjects.dataset
        target = parse_target(options["targeted"], dataset.classes, dataset.class_names)
    return make_conditions(
        options["attacks"] or (),
        eps=None if options["eps"] is None else parse_eps(options["eps"]),
        target=target,
        seed=options["seed"],
    )


def _corruptions(
    options: Options, asked: Conditions, place: Images, subjects: Subjects, device: torch.device
) -> list[Corrupted]:
    if not asked.corruptions:
        return []
    if place.corrupted is not None:
        names, severities = asked.corruptions, asked.severities
        return stored_corruptions(place.corrupted, names, severities, subjects.dataset)
    recipes = make_recipes(
        asked.corruptions,
        asked.severities,
        seed=options["seed"],
        strengths=options["strengths"],
        exact=options["exact"],
        textures=options["frost_textures"],
        jpeg85=options["jpeg_85"],
        device=device,
    )
    check_images(recipes, subjects.dataset)
    return [recipe.corrupted for recipe in recipes]


def _refuse_other_strengths(options: Options, subjects: Subjects) -> None:
    if strengths(options, subjects) != ALEXNET_SIZE:
        height, width = subjects.dataset.size
        raise UsageError(
            "--baseline alexnet: its published errors are those of ImageNet-C, and images of "
            f"{width}x{height} are corrupted otherwise.\n"
            "Give an AlexNet of your own as a checkpoint, and its name as --baseline."
        )
