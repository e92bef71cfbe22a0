"""What is trained on what: the request, the data in their three parts, the untrained model."""

from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

import workbench
from attacks.draws import Stream, derived_seeds, image_seeds
from benchmarks.identity import added_packages
from defenses import Bound, Defense, channel_statistics, composed, processes
from workbench.console import Console
from workbench.datasets import Dataset, load_dataset
from workbench.datasets.dataset import digest_of, in_turn
from workbench.errors import UsageError
from workbench.fine_tuning import Start, freeze_all_but_the_last, start_from, wrapped
from workbench.materials import bind
from workbench.models import CheckpointMetadata, Classifier, ModelOptions, build
from workbench.models.factories import factory_in, source_digest
from workbench.reading_ahead import OnDemand

_RATES = {"sgd": 0.1, "adam": 0.001, "adamw": 0.001}  # He et al. 2016; Kingma & Ba 2015


@dataclass(frozen=True)
class Request:
    """A training run as it was asked for; every field is an option of `workbench train`."""

    arch: str
    data: str
    defenses: tuple[str, ...]
    epochs: int
    batch_size: int
    lr: float | None
    momentum: float
    weight_decay: float
    optimizer: Literal["sgd", "adam", "adamw"]
    schedule: Literal["cosine", "step", "constant"]
    warmup: float
    spare_norms: bool
    label_smoothing: float
    ema: float
    start: str | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    last_layer_only: bool
    hold_out: float
    cifar_stem: bool
    input_size: int | None
    limit: int | None
    classes: str | None
    download: bool
    seed: int
    device: str
    precision: str
    workers: int | None
    threads: int | None
    output: Path | None
    dry_run: bool
    arguments: tuple[str, ...]

    @property
    def rate(self) -> float:
        """The peak learning rate, the optimizer's usual one unless it was given."""
        return _RATES[self.optimizer] if self.lr is None else self.lr


@dataclass(frozen=True)
class Task:
    """The data of a run: what is trained on, what chooses the best epoch, what has the last word.

    Attributes:
        fitted: the training images.
        held_out: images of the training split kept out of the training, or None.
        test: images of the test split, or None where there is no split of its own.
        digest: of all the training images, those held out among them: the same whatever the seed.
        bound: the defenses in order, with what they need read for these training images.
    """

    fitted: Dataset
    held_out: Dataset | None
    test: Dataset | None
    digest: str
    bound: tuple[Bound, ...] = ()

    @cached_property
    def defense(self) -> Defense:
        """All of the defenses as one."""
        return composed(self.bound)

    @property
    def last_counts(self) -> bool:
        """Whether the last epoch is the best: clean images say little of a front to a network."""
        return self.defense.wrapper is not None

    @cached_property
    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of the training images, one value a channel."""
        return channel_statistics(OnDemand(self.fitted))


@dataclass(frozen=True)
class Splits:
    """What there is to train on and to test on, the same for every seed.

    Attributes:
        train: images of the training split.
        ids: int64 (N,), theirs.
        test: images of the test split, or None where there is no split of its own.
    """

    train: Dataset
    ids: NDArray[np.int64]
    test: Dataset | None


def load_splits(request: Request, console: Console) -> Splits:
    """Read the data, and find a test split of its own.

    Raises:
        ValueError: data that cannot be used.
    """
    load = partial(load_dataset, request.data, classes=request.classes, download=request.download)
    whole = load(split="train").take(request.limit)
    for notice in whole.notices:
        console.note(notice)
    ids = whole.ids()
    try:
        test = load(split="test")
    except (UsageError, OSError):  # no test split: the held-out images must do
        return Splits(whole, ids, None)
    test = test.take(request.limit)
    known = float(np.isin(test.ids(), ids).mean())
    shapes = [(data.channels, data.size) for data in (whole, test)]
    if known == 1 or shapes[0] != shapes[1] or test.classes > whole.classes:
        why = "holds the same images" if known == 1 else "has other shapes or more classes"
        console.note(f"The test split of {request.data} {why}, so no test error is given.")
        return Splits(whole, ids, None)
    if known > 0.01:
        console.warn(f"{known:.1%} of the test images of {request.data} are training images too.")
    return Splits(whole, ids, test)


def make_task(request: Request, splits: Splits) -> Task:
    """Set some of the training images aside, and read what the defenses need for the rest.

    Raises:
        ValueError: nothing is left to train on, or defenses that cannot be used.
    """
    whole = splits.train
    aside = held_out_rows(whole.labels, splits.ids, request.hold_out, request.seed)
    rest = np.setdiff1d(np.arange(len(whole)), aside)
    if not len(rest):
        raise UsageError(f"--hold-out {request.hold_out:g} leaves no image to train on.")
    fitted = whole.subset(rest)
    return Task(
        fitted,
        whole.subset(aside) if len(aside) else None,
        splits.test,
        digest_of(splits.ids, whole.labels),
        bind(request.defenses, fitted),
    )


def held_out_rows(
    labels: NDArray[np.int64], ids: NDArray[np.int64], share: float, seed: int
) -> NDArray[np.int64]:
    """Ascending rows of the images to hold out, as balanced over the classes as can be.

    The choice goes by the images themselves and the seed: the same images are held out whatever
    their order and whatever file they come from.
    """
    keys = derived_seeds(image_seeds(seed, torch.from_numpy(ids)), stream=Stream.HOLD_OUT, step=0)
    return in_turn(labels, round(len(labels) * share), keys.numpy())


def make_start(request: Request, task: Task) -> Start:
    """The network behind its preprocessing, with the weights that the training begins with.

    Raises:
        UsageError: weights that cannot be gone on from.
    """
    wrapper = task.defense.wrapper
    if request.start is None:
        if request.last_layer_only:
            raise UsageError("--last-layer-only needs --from: the other layers must have learned.")
        if request.mean or request.std:
            raise UsageError(
                "--mean and --std need --from: a new network is given the mean and the standard "
                "deviation of the training images."
            )
        if wrapper is not None:
            raise UsageError(
                f"A defense puts '{wrapper.name}' around a network that has learned: add --from."
            )
        return Start(_untrained(request, task), request.arch)
    start = start_from(
        request.start,
        request.arch,
        task.fitted.facts,
        task.fitted.class_names,
        ModelOptions(
            mean=request.mean,
            std=request.std,
            input_size=request.input_size,
            cifar_stem=request.cifar_stem,
        ),
        seed=request.seed,
    )
    if wrapper is not None:
        if request.last_layer_only:
            raise UsageError("--last-layer-only: a defense freezes all of the network already.")
        return wrapped(
            start,
            wrapper,
            input_size=start.model.input_size or task.fitted.size,
            cifar_stem=request.cifar_stem,
            seed=request.seed,
        )
    if request.last_layer_only:
        freeze_all_but_the_last(start.model)
    return start


def _untrained(request: Request, task: Task) -> Classifier:
    """Weights drawn from the seed, images normalised by their own statistics."""
    facts = task.fitted.facts
    size = (request.input_size,) * 2 if request.input_size else (facts.height, facts.width)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(request.seed)
        network = build(
            request.arch,
            channels=facts.channels,
            classes=facts.classes,
            input_size=size,
            cifar_stem=request.cifar_stem,
        )
    mean, std = task.statistics
    return Classifier(
        network,
        channels=facts.channels,
        classes=facts.classes,
        mean=mean,
        std=std,
        input_size=size if request.input_size else None,
        class_names=task.fitted.class_names,
    )


def metadata(
    request: Request, task: Task, start: Start, entry: dict[str, Any]
) -> CheckpointMetadata:
    """What the checkpoint of one epoch says of itself; equal trainings give equal words."""
    facts, model = task.fitted.facts, start.model
    left_out = {"seconds", "images_per_second", "lr"}  # the setting of that name says more
    return CheckpointMetadata(
        arch=start.arch,
        channels=model.channels,
        classes=facts.classes,
        input_size=model.input_size or (facts.height, facts.width),
        mean=model.mean,
        std=model.std,
        class_names=model.class_names,
        bgr=model.bgr,
        scale=model.scale,
        cifar_stem=request.cifar_stem,
        data={
            "name": request.data,
            "split": "train",
            "digest": task.fitted.digest,
            "whole_digest": task.digest,
        },
        seed=request.seed,
        defenses=tuple(each.spec for each in task.bound),
        trained_on_corruptions=tuple(dict.fromkeys(start.seen + task.defense.corruptions)),
        versions=versions(),
        training={
            **{k: value for k, value in settings(request, task, start).items() if k != "defenses"},
            **{name: value for name, value in entry.items() if name not in left_out},
        },
    )


def versions() -> dict[str, str]:
    """What the weights depend on beside the settings."""
    import torchvision

    return {
        "workbench": workbench.__version__,
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        **added_packages(["defenses", "corruptions"]),
    }


def settings(request: Request, task: Task, start: Start) -> dict[str, Any]:
    """How the weights were moved, and from where."""
    options = {
        "spare_norms": request.spare_norms,
        "label_smoothing": request.label_smoothing,
        "ema": request.ema,
        "materials": {
            name: digest for each in task.bound for name, digest in each.materials.items()
        },
        "from": request.start,
        "from_sha256": start.digest,
        "from_mean": request.mean,
        "from_std": request.std,
        "last_layer_only": request.last_layer_only,
        "precision": "" if request.precision == "float32" else request.precision,
        "processes": 0 if processes.count() == 1 else processes.count(),
    }
    return {
        "defenses": [each.spec for each in task.bound],
        "epochs": request.epochs,
        "batch_size": request.batch_size,
        "lr": request.rate,
        "momentum": request.momentum,
        "weight_decay": request.weight_decay,
        "optimizer": request.optimizer,
        "schedule": request.schedule,
        "warmup": request.warmup,
        "hold_out": request.hold_out,
        **{name: value for name, value in options.items() if value},
    }


def config(request: Request, task: Task, start: Start) -> dict[str, Any]:
    """Everything that decides the weights, for the run directory to compare."""
    packages = added_packages(["defenses", "corruptions"])
    return {
        "arch": request.arch,
        "data": request.data,
        "data_digest": task.fitted.digest,
        "whole_digest": task.digest,
        "device": torch.device(request.device).type,
        "seed": request.seed,
        "cifar_stem": request.cifar_stem,
        "input_size": request.input_size,
        "limit": request.limit,
        "classes": request.classes,
        **settings(request, task, start),
        **({"source": source_digest(file)} if (file := factory_in(start.arch)) else {}),
        **({"packages": packages} if packages else {}),
    }
