"""From a checkpoint and flags to a frozen classifier of images in [0, 1]."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from attacks.spec import parse
from benchmarks.durable import sha256_file
from benchmarks.identity import sha256_json
from workbench.datasets.dataset import DataFacts
from workbench.errors import UsageError
from workbench.models.classifier import Classifier, freeze
from workbench.models.digests import sha256_tensors
from workbench.models.factories import factory_in, is_factory, source_digest
from workbench.models.options import ModelOptions
from workbench.models.preprocessing import choose_input_size, choose_normalisation
from workbench.models.probing import (
    as_scores,
    gradient_reach,
    looks_like_probabilities,
    probe_images,
    try_output,
)
from workbench.models.published import imagenet_names
from workbench.models.sources import Source, find_source


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to be measured.

    Attributes:
        name: the checkpoint's, without folder and ending.
        model: frozen, on the CPU, from images in [0, 1] to logits.
        digest: sha256 over everything that changes its logits: weights, architecture or factory
            source, preprocessing, kept columns.
        description: everything that was resolved, as JSON has it.
        notices: what was inferred rather than said; to be shown to a person.
        differentiable: whether a gradient reaches the images; see `require_gradient`.
    """

    name: str
    model: Classifier
    digest: str
    description: dict[str, Any]
    notices: tuple[str, ...] = ()
    differentiable: bool = True


def load_model(
    checkpoint: Path | str,
    options: ModelOptions | None = None,
    *,
    data: DataFacts | None = None,
) -> LoadedModel:
    """Load a checkpoint as a frozen classifier.

    Flags come first, then what the checkpoint says of itself, then what can be inferred from its
    tensors and from the data; whatever was inferred is in ``notices``.

    Args:
        checkpoint: a file (see `workbench.models.read_checkpoint`); or a name with published
            weights, ``timm:resnet18`` or torchvision's ``resnet18``; or a factory,
            ``path/to/file.py:function``, that returns a network with its weights.
        options: flags; none by default.
        data: shape and classes of the data, where they are known.

    Raises:
        UsageError: in one or two lines, what is wrong with the file or the flags.
    """
    options = options or ModelOptions()
    found = find_source(checkpoint, options, data)
    freeze(found.network)
    notices = list(found.notices)
    normalisation, told = choose_normalisation(
        options,
        found.normalisation,
        arch=found.arch,
        channels=found.channels,
        classes=found.classes,
        scale=255.0 if options.scale255 else found.scale,
    )
    notices += told
    input_size, told = choose_input_size(
        options, found.input_size, arch=found.arch, classes=found.classes, data=data
    )
    notices += told
    own_size = (data.height, data.width) if data is not None else (input_size or (32, 32))
    network, scores, input_size, told = _tried(found, input_size, own_size, options)
    notices += told
    classes = int(scores.shape[1])
    if options.classes is not None and options.classes != classes:
        raise UsageError(f"The network has {classes} outputs, not {options.classes}.")
    probabilities = options.probabilities
    if probabilities is None:
        probabilities = looks_like_probabilities(scores)
        if probabilities:
            notices.append(
                "the network returns probabilities, not logits; their logarithm is used "
                "(--logits if that is wrong)"
            )
    class_names = options.class_names or found.class_names
    if class_names is None and classes == 1000 and found.channels == 3:
        class_names = imagenet_names()
        notices.append("1000 classes: taken to be ImageNet's, in their usual order")
    if class_names is not None and len(class_names) != classes:
        raise UsageError(f"{len(class_names)} class names were given for {classes} classes.")
    model = Classifier(
        network,
        channels=found.channels,
        classes=classes,
        mean=normalisation.mean,
        std=normalisation.std,
        input_size=input_size,
        class_names=class_names,
        returns_probabilities=probabilities,
        bgr=options.bgr or found.bgr,
        scale=255.0 if options.scale255 else found.scale,
    ).eval()
    reach = gradient_reach(model, probe_images(found.channels, *own_size))
    if reach == "none":
        notices.append("no gradient reaches the images, so gradient attacks cannot be run on it")
    if reach == "zero":
        notices.append("the gradient is zero on grey and on static: gradient attacks may mislead")
    description = _describe(found, model)
    return LoadedModel(
        _name(checkpoint, found),
        model,
        sha256_json({key: description[key] for key in _CHANGES_LOGITS if key in description}),
        description,
        tuple(notices),
        differentiable=reach != "none",
    )


def select_columns(
    loaded: LoadedModel, columns: tuple[int, ...], class_names: tuple[str, ...] | None = None
) -> LoadedModel:
    """The same model with only some of its outputs, in the given order.

    A 1000-class model becomes one of the 20 classes that the data have.

    Raises:
        UsageError: a column that the model does not have.
    """
    old = loaded.model
    if not columns or min(columns) < 0 or max(columns) >= old.classes:
        raise UsageError(f"{loaded.name} has {old.classes} classes; {columns} is not among them.")
    if class_names is None and old.class_names is not None:
        class_names = tuple(old.class_names[column] for column in columns)
    kept = tuple(columns if old.columns is None else (old.columns[c] for c in columns))
    model = old.variant(columns=kept, class_names=class_names)
    description = {
        **loaded.description,
        "columns": list(kept),
        "classes": len(kept),
        "class_names": None if class_names is None else list(class_names),
    }
    digest = sha256_json({"model": loaded.digest, "columns": list(columns)})
    return replace(loaded, model=model, digest=digest, description=description)


def require_gradient(loaded: LoadedModel) -> None:
    """Raise `UsageError` where gradient attacks would have nothing to follow."""
    if not loaded.differentiable:
        raise UsageError(
            f"{loaded.name} gives no gradient (it was exported without one, or rounds its input), "
            "so gradient attacks cannot be run on it.\n"
            "Export it again with gradients on, or use its weights and --arch."
        )


def _tried(
    found: Source,
    input_size: tuple[int, int] | None,
    own_size: tuple[int, int],
    options: ModelOptions,
) -> tuple[nn.Module, torch.Tensor, tuple[int, int] | None, list[str]]:
    """The network as it takes images and gives scores, at a size that it accepts."""
    images = probe_images(found.channels, *(input_size or own_size))
    try:
        network, scores = as_scores(found.network, try_output(found.network, images))
        return network, scores, input_size, []
    except UsageError:
        usual = (224, 224)
        if input_size is not None or max(own_size) >= usual[0]:
            raise
        images = probe_images(found.channels, *usual)
        try:
            output = try_output(found.network, images)
        except UsageError:
            output = None
        if output is None:
            raise
    network, scores = as_scores(found.network, output)
    told = f"the network does not accept {own_size[0]}x{own_size[1]}: images are enlarged to 224"
    return network, scores, usual, [told]


_CHANGES_LOGITS = (
    "arch",
    "cifar_stem",
    "source_sha256",
    "weights_sha256",
    "program_sha256",
    "channels",
    "mean",
    "std",
    "scale",
    "bgr",
    "input_size",
    "probabilities",
)


def _describe(found: Source, model: Classifier) -> dict[str, Any]:
    arch = found.arch
    description: dict[str, Any] = {
        "arch": arch if arch is None or is_factory(arch) else str(parse(arch)),
        "cifar_stem": found.cifar_stem,
        "channels": model.channels,
        "classes": model.classes,
        "class_names": None if model.class_names is None else list(model.class_names),
        "input_size": None if model.input_size is None else list(model.input_size),
        "mean": list(model.mean),
        "std": list(model.std),
        "scale": model.scale,
        "bgr": model.bgr,
        "probabilities": model.returns_probabilities,
        "parameters": sum(p.numel() for p in found.network.parameters()),
        "weights_sha256": sha256_tensors(found.network),
        **found.facts,
    }
    factory = None if arch is None else factory_in(arch)
    if factory is not None:
        description["source_sha256"] = source_digest(factory)
    if found.file is not None:
        description["file"] = str(found.file)
        description["file_sha256"] = sha256_file(found.file)
        if "program" in found.facts:
            description["program_sha256"] = description["file_sha256"]
    return description


def _name(checkpoint: Path | str, found: Source) -> str:
    if found.file is not None:
        return found.file.stem
    return str(checkpoint).rpartition(":")[2] if is_factory(str(checkpoint)) else str(checkpoint)
