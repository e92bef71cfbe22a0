"""What a command works on: the data set, and models whose outputs are its classes."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks import ModelEntry
from benchmarks.evaluation import float32_logits
from workbench.class_names import SOURCES
from workbench.console import Console
from workbench.datasets import DataFacts, Dataset, fit, load_dataset, select
from workbench.datasets.classes import ClassSet, parse_classes
from workbench.errors import UsageError
from workbench.models import LoadedModel, ModelOptions, load_model, select_columns
from workbench.models.factories import factory_in, is_factory
from workbench.option_texts import parse_numbers

Options = Mapping[str, Any]
"""The parsed command line: every option by its parameter's name (`typer.Context.params`)."""

MODEL_SETTINGS: Mapping[str, tuple[type, ...]] = {
    "arch": (str,),
    "mean": (str, list),
    "std": (str, list),
    "input_size": (int,),
    "channels": (int,),
    "num_classes": (int,),
    "class_names": (str, list),
    "cifar_stem": (bool,),
    "bgr": (bool,),
    "scale255": (bool,),
    "probabilities": (bool,),
}
"""The options that say what a checkpoint is, and what each may be in a file."""

COUNTING_BATCH = 500  # images that are read at once to count right predictions


@dataclass(frozen=True)
class Wanted:
    """A model that was asked for.

    Attributes:
        checkpoint: a file with weights, or an architecture's name.
        name: what tables call it.
        options: what was said of it.
        loaded: the model, where it is no checkpoint.
    """

    checkpoint: str
    name: str
    options: ModelOptions
    loaded: LoadedModel | None = None


@dataclass(frozen=True)
class Subjects:
    """Models, and the data set with labels that are theirs.

    Attributes:
        dataset: the images, their labels numbered as the models' outputs.
        models: with names that differ.
        reload: for each model, what `load_described` needs to load it again; JSON values.
        source: what was asked for of the data; JSON values.
        judge: a model that reads what attacks make, and what `load_described` needs for it; None
            where none was asked for.
    """

    dataset: Dataset
    models: tuple[LoadedModel, ...]
    reload: tuple[Mapping[str, Any], ...]
    source: Mapping[str, Any]
    judge: tuple[LoadedModel, Mapping[str, Any]] | None = None

    def recorded(self, corrupted: Path | None = None) -> dict[str, Any]:
        """Where the data are, for the record: paths as they hold from any folder.

        ``corrupted`` is the set that corrupted images are read from.
        """
        data = Path(str(self.source["data"])).expanduser()
        place = str(data.absolute()) if data.exists() else self.source["data"]
        stored = None if corrupted is None else str(corrupted.absolute())
        return {**self.source, "data": place, "corrupted": stored}


def model_options(options: Options) -> ModelOptions:
    """What the command line says of the models.

    Raises:
        UsageError: mean or std are not numbers, or the class names are none.
    """
    names = options["class_names"]
    return ModelOptions(
        arch=options["arch"],
        mean=parse_numbers(options["mean"], "--mean"),
        std=parse_numbers(options["std"], "--std"),
        input_size=options["input_size"],
        channels=options["channels"],
        classes=options["num_classes"],
        class_names=None if names is None else tuple(map(str, parse_classes(names))),
        cifar_stem=options["cifar_stem"],
        bgr=options["bgr"],
        scale255=options["scale255"],
        probabilities=options["probabilities"],
        trust=options["trust"],
    )


def read_data(options: Options) -> Dataset:
    """The data set of the command line; ``--limit`` and ``--classes`` are not applied yet.

    Raises:
        UsageError: it cannot be read.
    """
    label = options["label"]
    return load_dataset(
        options["data"],
        split=options["split"],
        download=options["download"],
        label="0" if _is_class_name(label) else label,  # until a model says which it is
    )


def wanted_models(options: Options) -> list[Wanted]:
    """The checkpoints of the command line, with names that differ.

    Raises:
        UsageError: one is given twice, or what is said of them cannot be read.
    """
    checkpoints = options["checkpoints"] or []
    asked = model_options(options)
    names = unique_names(checkpoints)
    return [Wanted(each, name, asked) for each, name in zip(checkpoints, names, strict=True)]


def load_subjects(
    options: Options,
    console: Console,
    wanted: Sequence[Wanted] | None = None,
    judge: Wanted | None = None,
) -> Subjects:
    """Load the data and every model, and number the labels as the models do.

    Args:
        options: the parsed command line.
        console: where output goes.
        wanted: the models; else those of the command line.
        judge: one more, which is not attacked.

    Raises:
        UsageError: something cannot be loaded, or models and data do not fit together.
        OSError: a file cannot be read.
    """
    dataset = read_data(options)
    label = options["label"]
    wanted = wanted_models(options) if wanted is None else wanted
    fitted: Dataset | None = None
    models: list[LoadedModel] = []
    reload: list[Mapping[str, Any]] = []
    for each in (*wanted, *([] if judge is None else [judge])):
        name, facts = each.name, dataset.facts
        loaded = each.loaded or load_model(each.checkpoint, each.options, data=facts)
        loaded = replace(loaded, name=name)
        if not models and loaded.model.input_size is not None:
            dataset = dataset.at_size(loaded.model.input_size[0])
        if _is_class_name(options["label"]) and dataset.open_ended:
            dataset = _labelled(dataset, options["label"], loaded)
            label = str(dataset.labels[0])
        if loaded.model.channels == 1 and dataset.channels == 3 and not loaded.model.luminance:
            raise UsageError(f"{name} takes grey images, and those of {dataset.name} have colours.")
        mine = fit(dataset, loaded.model.classes, loaded.model.class_names, options["classes"])
        notices = [*loaded.notices, *mine.notices]
        if mine.columns is not None:
            loaded = select_columns(loaded, mine.columns, mine.dataset.class_names)
        if fitted is not None and not _same(fitted, mine.dataset, whole=dataset):
            raise UsageError(
                f"{name} numbers the classes of {dataset.name} otherwise than "
                f"{wanted[0].name}; "
                + ("it cannot judge." if each is judge else "measure them one by one.")
            )
        fitted = fitted or mine.dataset
        for notice in notices:
            console.note(f"{name}: {notice}")
        models.append(loaded)
        reload.append(_reload(each.checkpoint, each.options, facts, mine.columns))
    if fitted is None:
        raise UsageError("There is no checkpoint to work on.")
    for notice in dataset.notices:
        console.note(f"{dataset.name}: {notice}")
    chosen = fitted.take(options["limit"])
    source = {key: options[key] for key in ("data", "split", "limit", "classes")}
    source["label"] = label
    judging = None if judge is None else (models.pop(), reload.pop())
    return Subjects(chosen, tuple(models), tuple(reload), source, judging)


def data_alone(options: Options) -> Subjects:
    """The data without a model: labels are the data's own.

    Raises:
        UsageError: the data cannot be read, or lack a class that is asked for.
    """
    dataset, classes = read_data(options), options["classes"]
    chosen = dataset if classes is None else select(dataset, classes)
    source = {key: options[key] for key in ("data", "split", "limit", "classes", "label")}
    return Subjects(chosen.take(options["limit"]), (), (), source)


def _is_class_name(label: str | None) -> bool:
    """Whether ``--label`` is neither an index nor a pattern that finds one in a file's name."""
    if label is None or label.strip().isdecimal():
        return False
    try:
        return re.compile(label).groups == 0
    except re.error:
        return False  # the reader says what is wrong with it


def _labelled(dataset: Dataset, name: str, loaded: LoadedModel) -> Dataset:
    """The images with a class of the model as their label.

    Raises:
        UsageError: the model has no such class.
    """
    model = loaded.model
    names = model.class_names
    known = ClassSet(model.classes, names, what=f"the model {loaded.name}")
    matches = known.matches(name)
    if not matches and names is not None:  # by another name of ImageNet's
        ours = [each.places(name) for each in (read() for read in SOURCES.values())
                if each.names == names]  # fmt: skip
        matches = next((places for places in ours if len(places) == 1), ())
    index = matches[0] if len(matches) == 1 else known.find(name)
    return replace(dataset, labels=np.full_like(dataset.labels, index), classes=index + 1)


def _same(one: Dataset, other: Dataset, *, whole: Dataset) -> bool:
    """Whether two selections from a data set are the same images with the same labels."""
    if not np.array_equal(one.labels, other.labels):
        return False
    # Only a selection can hold other images, and digests decode all of them.
    return len(one) == len(whole) or one.digest == other.digest


def model_entries(subjects: Subjects, device: torch.device) -> tuple[ModelEntry, ...]:
    """The models as the runner wants them, each moved to the device when it is its turn."""
    return tuple(
        _entry(loaded, reload, device)
        for loaded, reload in zip(subjects.models, subjects.reload, strict=True)
    )


def judge_entry(subjects: Subjects, device: torch.device) -> ModelEntry | None:
    """The judge likewise, where there is one."""
    return None if subjects.judge is None else _entry(*subjects.judge, device)


def _entry(loaded: LoadedModel, reload: Mapping[str, Any], device: torch.device) -> ModelEntry:
    return ModelEntry(
        name=loaded.name,
        digest=loaded.digest,
        description={**loaded.description, "reload": dict(reload)},
        get=_On(loaded.model, device),
    )


def count_right(model: nn.Module, dataset: Dataset, device: str, batch_size: int | None) -> int:
    """How many images the model has right, in float32; the model is on ``device`` already."""
    right = 0
    for start in range(0, len(dataset), COUNTING_BATCH):
        rows = slice(start, start + COUNTING_BATCH)
        logits = float32_logits(model, dataset.images(rows).to(device), batch_size)
        right += int((logits.argmax(dim=1).cpu().numpy() == dataset.labels[rows]).sum())
    return right


def load_described(
    description: Mapping[str, object], *, trust: bool, look_in: Path | None = None
) -> LoadedModel:
    """Load a model again from what a record says of it, with the outputs that were measured.

    Raises:
        UsageError: see `reload_model`.
    """
    loaded, columns = reload_model(description, trust=trust, look_in=look_in)
    return loaded if columns is None else select_columns(loaded, columns)


def reload_model(
    description: Mapping[str, object], *, trust: bool, look_in: Path | None = None
) -> tuple[LoadedModel, tuple[int, ...] | None]:
    """A model with all its outputs, and which of them were measured (None for all).

    A record may come from anyone, so nothing that it names is run unless ``trust`` is given.

    Raises:
        UsageError: the description is incomplete, the file is gone, or code would have to be run.
    """
    reload = description.get("reload")
    if not isinstance(reload, Mapping) or not {"checkpoint", "options", "data"} <= set(reload):
        raise UsageError("the record does not say how to load this model")
    try:
        known = {field.name for field in fields(ModelOptions)}
        said = {key: value for key, value in dict(reload["options"]).items() if key in known}
        options = ModelOptions(**{key: _tuple(value) for key, value in said.items()})
        facts = DataFacts(**dict(reload["data"]))
    except (TypeError, ValueError):
        raise UsageError("the record's description of this model is damaged") from None
    checkpoint = located(str(reload["checkpoint"]), look_in)
    if not trust and (factory_in(options.arch or "") or is_factory(checkpoint)):
        raise UsageError("loading it would run code that the record names; add --trust to do so")
    loaded = load_model(checkpoint, replace(options, trust=trust), data=facts)
    columns = reload.get("columns")
    return loaded, None if columns is None else tuple(columns)


def unique_names(checkpoints: Sequence[str]) -> list[str]:
    """A name for each checkpoint: its file's stem, with as many folders as tell it from others.

    A file that is called just ``model`` goes by its folder.

    Raises:
        UsageError: one is given twice.

    >>> unique_names(["a/net.pt", "b/net.pt", "train-mlp-1/model.safetensors", "timm:resnet18"])
    ['a/net', 'b/net', 'train-mlp-1', 'timm:resnet18']
    """
    twice = [checkpoint for checkpoint, count in Counter(checkpoints).items() if count > 1]
    if twice:
        raise UsageError(f"The checkpoint {twice[0]} is given twice.")
    parts = [_parts(checkpoint) for checkpoint in checkpoints]
    depths = [1] * len(parts)
    while True:
        names = ["/".join(each[-depth:]) for each, depth in zip(parts, depths, strict=True)]
        counts = Counter(names)
        alike = [i for i, name in enumerate(names) if counts[name] > 1]
        if not alike:
            return names
        if all(depths[i] >= len(parts[i]) for i in alike):  # they differ in their endings alone
            return list(checkpoints)
        depths = [depth + (i in alike) for i, depth in enumerate(depths)]


def _parts(checkpoint: str) -> tuple[str, ...]:
    path = Path(checkpoint)
    if path.suffix not in {".pt", ".pth", ".th", ".pt2", ".safetensors", ".bin", ".ckpt", ".tar"}:
        return (checkpoint,)
    folders = path.absolute().parts[:-1]
    return folders if path.stem == "model" and len(folders) > 1 else (*folders, path.stem)


@dataclass(frozen=True)
class _On:
    """Gives a module on a device."""

    module: nn.Module
    device: torch.device

    def __call__(self) -> nn.Module:
        return self.module.to(self.device)


def _reload(
    checkpoint: str, options: ModelOptions, facts: DataFacts, columns: Sequence[int] | None
) -> dict[str, Any]:
    path = Path(checkpoint).expanduser()
    return {
        "checkpoint": str(path.absolute()) if path.exists() else checkpoint,
        "options": {key: _list(value) for key, value in asdict(options).items()},
        "data": asdict(facts),
        "columns": None if columns is None else list(columns),
    }


def located(place: str, look_in: Path | None) -> str:
    """Where a checkpoint or a data set is now: where it was, or under its name in ``look_in``."""
    if look_in is not None and (look_in / Path(place).name).exists():
        return str(look_in / Path(place).name)
    return place


def _list(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
