"""A network that begins with weights from elsewhere, fitted to the classes of the data."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from attacks.spec import Spec
from workbench.datasets.dataset import DataFacts
from workbench.errors import UsageError
from workbench.models import Classifier, LoadedModel, ModelOptions, build, load_model
from workbench.models.classifier import freeze
from workbench.models.factories import is_factory
from workbench.models.probing import probe_images, try_output


class Start(NamedTuple):
    """Where a training begins.

    Attributes:
        model: the network behind its preprocessing, what is to be trained requiring a gradient.
        arch: what the network is, as `workbench.models.build` takes it.
        digest: sha256 of the weights that were loaded, None for weights drawn from the seed.
        fresh: its last layer is drawn anew.
        seen: test corruptions that its weights were trained on already.
        notices: what was found out and done, to be shown to a person.
    """

    model: Classifier
    arch: str
    digest: str | None = None
    fresh: bool = False
    seen: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()


def start_from(
    source: str,
    arch: str,
    facts: DataFacts,
    class_names: tuple[str, ...] | None,
    options: ModelOptions,
    *,
    seed: int,
) -> Start:
    """Load weights to go on from; the last layer is drawn anew if the classes are not as many.

    Args:
        source: a checkpoint file of this architecture, or the architecture's own name for its
            published weights.
        arch: what the network must be.
        facts: shape and classes of the data.
        class_names: of the data.
        options: what was said of the checkpoint, its architecture left out.
        seed: of a new last layer.

    Raises:
        UsageError: there are no such weights, they do not fit, or they cannot be trained.
    """
    if Path(source).expanduser().exists():
        options = replace(options, arch=arch)
    elif source != arch:
        raise UsageError(
            f"--from {source}: there is no such file.\n"
            f"Published weights go by the architecture's own name: --from {arch}"
        )
    loaded = load_model(source, options, data=facts)
    model, said = loaded.model, loaded.description
    _check(loaded, source, facts, options.cifar_stem)
    for parameter in model.network.parameters():
        parameter.requires_grad_(True)
    notices = [f"{source}: {notice}" for notice in loaded.notices]
    fresh = model.classes != facts.classes
    if fresh:
        notices.append(
            f"{source} has {model.classes} classes and the data {facts.classes}: "
            "its last layer is drawn anew."
        )
        if is_factory(arch):
            _refuse_fixed_classes(arch, model, facts.classes)
        _replace_last_layer(model.network, model.classes, facts.classes, seed)
    seen = said.get("training", {}).get("trained_on_corruptions", [])
    fitted = model.variant(classes=facts.classes, class_names=class_names)
    answer = try_output(fitted, probe_images(facts.channels, facts.height, facts.width))
    if not isinstance(answer, Tensor) or answer.shape[1:] != (facts.classes,):
        raise UsageError(f"--from {source}: its last layer cannot be replaced for other classes.")
    return Start(fitted, arch, str(said["weights_sha256"]), fresh, tuple(seen), tuple(notices))


def freeze_all_but_the_last(model: Classifier) -> None:
    """Let the last layer alone require a gradient.

    Raises:
        UsageError: there is no layer with one output a class.
    """
    last = model.network.get_submodule(_last_layer(model.network, model.classes))
    for parameter in model.network.parameters():
        parameter.requires_grad_(False)
    for parameter in last.parameters():
        parameter.requires_grad_(True)


def wrapped(
    start: Start, wrapper: Spec, *, input_size: tuple[int, int], cifar_stem: bool, seed: int
) -> Start:
    """Freeze the network and put it inside of what a defense wants around it.

    Args:
        start: with a network that has learned.
        wrapper: see `defenses.Defense`.
        input_size: (height, width) of what the network takes.
        cifar_stem: of the network.
        seed: of the weights around it.

    Raises:
        UsageError: its last layer has not learned, or it is none that can be wrapped.
    """
    if start.fresh:
        raise UsageError(
            f"A defense puts '{wrapper.name}' around a network that has learned the classes of "
            "the data: fine-tune it to them first."
        )
    model = start.model
    arch = str(Spec(wrapper.name, {"network": start.arch, **wrapper.settings}))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build(
            arch,
            channels=model.channels,
            classes=model.classes,
            input_size=input_size,
            cifar_stem=cifar_stem,
        )
    inner = network.get_submodule("network")
    try:
        inner.load_state_dict(model.network.state_dict())
    except RuntimeError as error:  # its scores are picked out of a tuple or a dict
        raise UsageError(f"{start.arch} cannot be wrapped: it must return logits alone.") from error
    freeze(inner)
    return start._replace(model=model.variant(network=network), arch=arch)


def _check(loaded: LoadedModel, source: str, facts: DataFacts, cifar_stem: bool) -> None:
    model, said = loaded.model, loaded.description
    if "program" in said or model.returns_probabilities or not loaded.differentiable:
        raise UsageError(
            f"--from {source}: it cannot be trained further, because it is a program, ends in "
            "probabilities or passes no gradient. Give weights that lead to logits."
        )
    if facts.channels not in (1, model.channels):
        raise UsageError(
            f"--from {source}: it takes {model.channels} channels, the images have "
            f"{facts.channels}."
        )
    if said["cifar_stem"] and not cifar_stem:
        raise UsageError(f"--from {source}: it has the CIFAR stem; add --cifar-stem.")


def _refuse_fixed_classes(arch: str, model: Classifier, classes: int) -> None:
    """Refuse a function that cannot build what is to be trained: nobody could read the checkpoint.

    Raises:
        UsageError: the network that it returns has as many outputs as before, or other layers.
    """
    size = model.input_size or (64, 64)  # of the file's functions, few ask
    network = build(arch, channels=model.channels, classes=classes, input_size=size)
    last = dict(network.named_modules()).get(_last_layer(model.network, model.classes))
    if getattr(last, "out_features", getattr(last, "out_channels", None)) != classes:
        raise UsageError(
            f"{arch} does not return this network with the {classes} classes that are to be "
            "learned, so the checkpoint could not be read again.\n"
            "Give its function an argument num_classes, which is filled in."
        )


def _replace_last_layer(network: nn.Module, before: int, classes: int, seed: int) -> None:
    """Put an untrained layer of its kind in the place of the last one, in place."""
    name = _last_layer(network, before)
    old = network.get_submodule(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        has_bias = old.bias is not None
        new: nn.Module
        if isinstance(old, nn.Conv2d):  # SqueezeNet ends in one
            size = (old.kernel_size[0], old.kernel_size[1])
            new = nn.Conv2d(old.in_channels, classes, size, bias=has_bias)
        elif isinstance(old, nn.Linear):
            new = nn.Linear(old.in_features, classes, bias=has_bias)
    parent, _, own = name.rpartition(".")
    setattr(network.get_submodule(parent), own, new)


def _last_layer(network: nn.Module, classes: int) -> str:
    """The name of the last layer that has one output a class."""
    names: list[str] = [
        name
        for name, layer in network.named_modules()
        if (isinstance(layer, nn.Linear) and layer.out_features == classes)
        or (isinstance(layer, nn.Conv2d) and layer.out_channels == classes)
    ]
    if not names:
        raise UsageError(f"The network has no last layer of {classes} outputs to be trained.")
    return names[-1]
