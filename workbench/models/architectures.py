"""From an architecture's name to an untrained network."""

import functools
import inspect
import warnings
from collections.abc import Callable, Mapping

import torch
from torch import nn

from attacks.spec import Spec, parse
from workbench.errors import UsageError, suggestion, unknown
from workbench.models.factories import build_from_file, is_factory
from workbench.models.perceptron import Perceptron
from workbench.models.residual import CIFAR_DEPTHS, CifarResNet, StudyResNet
from workbench.models.stems import adapt_channels, use_cifar_stem
from workbench.models.wording import first_line

Build = Callable[..., nn.Module]

_FORBIDDEN = {"weights", "pretrained", "progress", "checkpoint_path", "pretrained_cfg", "cache_dir"}
_SIZED = {"vit": "image_size", "maxvit": "input_size"}  # torchvision builders that need to know
_DENSE = {  # growth rate, layers of each block, features of the stem; torchvision fixes them
    "densenet121": (32, (6, 12, 24, 16), 64),
    "densenet161": (48, (6, 12, 36, 24), 96),
    "densenet169": (32, (6, 12, 32, 32), 64),
    "densenet201": (32, (6, 12, 48, 32), 64),
}
_STUDIES = {"study-resnet123": ((3, 5, 5, 3), 64), "study-resnet151": ((3, 7, 7, 3), 128)}


def _mlp(
    *, channels: int, classes: int, input_size: tuple[int, int], width: int = 50, depth: int = 1
) -> nn.Module:
    """The feed-forward network of study S2: depth hidden layers of width units."""
    inputs = channels * input_size[0] * input_size[1]
    return Perceptron(inputs, classes=classes, width=width, depth=depth)


def _cifar_resnet(
    layers: int, *, channels: int, classes: int, input_size: tuple[int, int], width: int = 16
) -> nn.Module:
    return CifarResNet(layers, channels=channels, classes=classes, width=width)


def _study_resnet(
    name: str,
    *,
    channels: int,
    classes: int,
    input_size: tuple[int, int],
    width: int | None = None,
) -> nn.Module:
    blocks, filters = _STUDIES[name]
    return StudyResNet(blocks, width or filters, channels=channels, classes=classes)


def _restored(
    *,
    channels: int,
    classes: int,
    input_size: tuple[int, int],
    cifar_stem: bool,
    network: str = "",
    width: int = 32,
    depth: int = 6,
) -> nn.Module:
    """A restorer in front of another architecture, which is called ``network``."""
    from defenses import Restored, Restorer

    if not isinstance(network, str) or not network:
        raise UsageError("Say what is restored for, as in restored(network=resnet20).")
    inner = build(
        network, channels=channels, classes=classes, input_size=input_size, cifar_stem=cifar_stem
    )
    return Restored(Restorer(channels, width, depth), inner)


OURS: dict[str, tuple[str, Build]] = {
    "mlp": ("feed-forward, one hidden layer of 50 units (width, depth)", _mlp),
    **{
        f"resnet{layers}": (
            f"CIFAR residual network of {layers} layers (width)",
            functools.partial(_cifar_resnet, layers),
        )
        for layers in CIFAR_DEPTHS
    },
    **{
        name: (
            f"study S2's residual network, {sum(blocks)} skips, {width} filters (width)",
            functools.partial(_study_resnet, name),
        )
        for name, (blocks, width) in _STUDIES.items()
    },
    "restored": ("a restoring network in front of another (network, width, depth)", _restored),
}


def build(
    arch: str,
    *,
    channels: int,
    classes: int,
    input_size: tuple[int, int],
    cifar_stem: bool = False,
) -> nn.Module:
    """An untrained network that maps (N, channels, height, width) to logits (N, classes).

    Args:
        arch: a name and its settings: ``resnet20``, ``mlp(width=100)``, a torchvision classifier
            such as ``densenet121``, ``timm:NAME``, ``path/to/file.py:function``, or one of these
            inside another, ``restored(network=resnet20)``. Naming a file runs it.
        channels, classes: of the images and the labels.
        input_size: (height, width) of what the network will be given.
        cifar_stem: a torchvision residual or dense network begins with a 3×3 convolution of
            stride 1 and no pooling. ``resnet18(cifar_stem=true)`` says the same.

    Raises:
        UsageError: for an unknown name or setting, with the nearest known one.

    >>> parameters(build("mlp", channels=1, classes=10, input_size=(28, 28)))
    39760
    """
    if is_factory(arch):
        return build_from_file(arch, channels=channels, classes=classes, input_size=input_size)
    spec = read_arch(arch)
    settings = dict(spec.settings)
    cifar_stem = bool(settings.pop("cifar_stem", cifar_stem))
    if spec.name in OURS:
        make = OURS[spec.name][1]
        facts = {"channels": channels, "classes": classes, "input_size": input_size}
        if make is _restored:
            facts["cifar_stem"] = cifar_stem
        elif cifar_stem:
            raise UsageError(f"{spec.name} has no other stem; leave the CIFAR stem out.")
        _check_settings(spec.name, settings, make, set(facts))
        return _made(Spec(spec.name, settings), make, **facts)
    if spec.name.startswith("timm:"):
        if cifar_stem:
            raise UsageError("The CIFAR stem is for torchvision's residual and dense networks.")
        return _timm(spec, settings, channels, classes)
    return _torchvision(spec.name, settings, channels, classes, input_size, cifar_stem)


def read_arch(arch: str) -> Spec:
    """Read an architecture that is not a file, and see that its name is known.

    Raises:
        UsageError: for an unknown name, with the nearest known one.
    """
    try:
        spec = parse(arch)
    except ValueError as error:
        raise UsageError(f"Architecture: {error}") from error
    forbidden = _FORBIDDEN & set(spec.settings)
    if forbidden:
        raise UsageError(
            f"Architecture {spec.name} takes no setting {sorted(forbidden)[0]!r}: "
            "weights come from the checkpoint."
        )
    if spec.name.startswith("timm:"):
        name = spec.name.removeprefix("timm:")
        if name.partition(".")[0] not in timm_names():
            raise unknown("timm model", name, timm_names())
    elif spec.name not in OURS and spec.name not in torchvision_names():
        raise _unknown_architecture(spec.name)
    return spec


def architectures() -> dict[str, str]:
    """Every architecture's name with a line about it; timm's are many, see `timm_names`."""
    return {
        **{name: summary for name, (summary, _) in OURS.items()},
        **dict.fromkeys(torchvision_names(), "torchvision"),
        "timm:NAME": "any of timm's models, such as timm:vit_tiny_patch16_224",
        "FILE.py:FUNCTION": "your own: a function that returns the network; the file is run",
    }


@functools.cache
def torchvision_names() -> tuple[str, ...]:
    """The names of torchvision's classifiers."""
    import torchvision

    return tuple(torchvision.models.list_models(module=torchvision.models))


@functools.cache
def timm_names() -> tuple[str, ...]:
    """The names of timm's models, without ``timm:`` and without the tag of any weights."""
    import timm

    return tuple(timm.list_models())


def _unknown_architecture(name: str) -> UsageError:
    known = [*OURS, *torchvision_names()]
    if name in timm_names():
        return UsageError(f"Unknown architecture '{name}'. Did you mean 'timm:{name}'?")
    if suggestion(name, known):
        return unknown("architecture", name, known)
    return UsageError(
        f"Unknown architecture '{name}'. `workbench list architectures` shows them; "
        "your own is given as path/to/file.py:function."
    )


def _made(spec: Spec, make: Build, **facts: object) -> nn.Module:
    try:
        return make(**facts, **spec.settings)
    except UsageError:
        raise
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(f"Cannot build {spec}: {first_line(error)}") from error


def _check_settings(
    name: str, settings: Mapping[str, object], make: Build, given: set[str]
) -> None:
    known = [key for key in inspect.signature(make).parameters if key not in given]
    for key in settings:
        if key not in known:
            raise unknown(f"setting of {name}", key, known)


def _torchvision(
    name: str,
    settings: dict[str, object],
    channels: int,
    classes: int,
    input_size: tuple[int, int],
    cifar_stem: bool,
) -> nn.Module:
    import torchvision

    for prefix, setting in _SIZED.items():
        if name.startswith(prefix):
            size = input_size if setting == "input_size" else input_size[0]
            settings.setdefault(setting, size)
    if name in ("googlenet", "inception_v3"):  # unset, torchvision initialises for minutes
        settings.setdefault("init_weights", False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # notes on how untrained weights are drawn
            network: nn.Module
            if name in _DENSE:
                names = ("growth_rate", "block_config", "num_init_features")
                sizes = dict(zip(names, _DENSE[name], strict=True))
                network = torchvision.models.DenseNet(num_classes=classes, **{**sizes, **settings})
            else:
                network = torchvision.models.get_model(
                    name, weights=None, num_classes=classes, **settings
                )
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(f"Cannot build {Spec(name, settings)}: {first_line(error)}") from error
    if cifar_stem:
        use_cifar_stem(name, network)
    adapt_channels(network, channels)
    return network


def _timm(spec: Spec, settings: dict[str, object], channels: int, classes: int) -> nn.Module:
    import timm

    try:
        network: nn.Module = timm.create_model(
            spec.name.removeprefix("timm:"),
            pretrained=False,
            num_classes=classes,
            in_chans=channels,
            **settings,
        )
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        raise UsageError(f"Cannot build {spec}: {first_line(error)}") from error
    return network


def parameters(network: nn.Module) -> int:
    """How many trained numbers the network has."""
    return sum(parameter.numel() for parameter in network.parameters())


def skeleton(
    arch: str, *, channels: int, classes: int, input_size: tuple[int, int], cifar_stem: bool
) -> dict[str, torch.Size] | None:
    """Names and shapes of the network's tensors, without their memory; None if it cannot be built.

    Some torchvision builders compute on their weights, so those are built for real.
    """
    facts = {"channels": channels, "classes": classes, "input_size": input_size}
    try:
        if arch.startswith("regnet"):
            network = build(arch, **facts, cifar_stem=cifar_stem)  # type: ignore[arg-type]
        else:
            with torch.device("meta"):
                network = build(arch, **facts, cifar_stem=cifar_stem)  # type: ignore[arg-type]
    except UsageError:
        return None
    return {name: tensor.shape for name, tensor in network.state_dict().items()}
