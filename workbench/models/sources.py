"""Where a network comes from, and what its source says of it."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from workbench.datasets.dataset import DataFacts
from workbench.errors import UsageError
from workbench.models.alignment import load_into, normaliser
from workbench.models.architectures import build
from workbench.models.checkpoints import Contents, read_checkpoint
from workbench.models.factories import build_from_file, factory_in, is_factory
from workbench.models.guesses import (
    guess_arch,
    guess_channels,
    guess_classes,
    guess_flat_size,
    guess_position_size,
)
from workbench.models.options import ModelOptions
from workbench.models.preprocessing import Normalisation
from workbench.models.programs import Exported
from workbench.models.published import load_published
from workbench.models.wording import printable


@dataclass(frozen=True)
class Source:
    """A network and what its source says of it; None where it says nothing."""

    network: nn.Module
    arch: str | None
    file: Path | None
    channels: int
    cifar_stem: bool = False
    classes: int | None = None
    normalisation: Normalisation | None = None
    input_size: tuple[int, int] | None = None
    class_names: tuple[str, ...] | None = None
    bgr: bool = False
    scale: float = 1.0
    facts: Mapping[str, Any] = field(default_factory=dict)
    notices: tuple[str, ...] = ()


def find_source(checkpoint: Path | str, options: ModelOptions, data: DataFacts | None) -> Source:
    """Get the network of a file, a factory or a name, with its weights; not yet frozen.

    Raises:
        UsageError: there is no such thing, or its parts do not fit together.
    """
    path = Path(checkpoint).expanduser()
    if path.exists():
        return _from_file(path, read_checkpoint(path, trust=options.trust), options, data)
    name = str(checkpoint)
    if is_factory(name):
        return _from_factory(name, options, data)
    if "/" in name or path.suffix in (".pt", ".pth", ".th", ".pt2", ".safetensors", ".bin"):
        raise UsageError(f"There is no checkpoint {checkpoint}.")
    if options.arch is not None:
        raise UsageError(f"There is no checkpoint {checkpoint}; --arch needs a file with weights.")
    published = load_published(name)
    return Source(
        published.network,
        name,
        None,
        options.channels or _first_channels(published.network) or 3,
        normalisation=published.normalisation,
        input_size=published.input_size,
        class_names=published.class_names,
        facts={"weights": published.weights},
        notices=(f"{name}: published weights {published.weights}",),
    )


def _from_factory(arch: str, options: ModelOptions, data: DataFacts | None) -> Source:
    channels = options.channels or (data.channels if data else 3)
    size = _side(options.input_size) or ((data.height, data.width) if data else (32, 32))
    network = build_from_file(
        arch,
        channels=channels,
        classes=options.classes or (data.classes if data else 10),
        input_size=size,
    )
    return Source(
        network,
        arch,
        None,
        options.channels or _first_channels(network) or channels,
        notices=(f"the network is used as {arch} returns it",),
    )


def _from_file(
    path: Path, contents: Contents, options: ModelOptions, data: DataFacts | None
) -> Source:
    if contents.program is not None:
        return _from_program(path, contents.program, contents.kind, options, data)
    tensors, said = contents.tensors, contents.metadata
    known = options.channels or (said.channels if said else None) or guess_channels(tensors)
    channels = known or (data.channels if data else 3)
    classes = options.classes or (said.classes if said else None) or guess_classes(tensors)
    classes = classes or (data.classes if data else None)
    if classes is None:
        raise UsageError(f"{path}: its tensors do not tell how many classes; add --num-classes.")
    flat = guess_flat_size(tensors, channels)
    if flat is None and known is None and guess_flat_size(tensors, 4 - channels) is not None:
        channels = 4 - channels  # 3 where the data have 1, and the reverse
        flat = guess_flat_size(tensors, channels)
    fixed = (said.input_size if said else None) or flat or guess_position_size(tensors)
    if flat is not None and data is not None and said is None:
        values = data.channels * data.height * data.width
        fixed = (data.height, data.width) if values == channels * flat[0] * flat[1] else flat
    own = (data.height, data.width) if data else None
    size = fixed or _side(options.input_size) or own or (224, 224)
    arch, notices = _choose_arch(path, contents, options, channels, classes, size)
    if is_factory(arch):
        network = build_from_file(arch, channels=channels, classes=classes, input_size=size)
    else:
        network = build(
            arch,
            channels=channels,
            classes=classes,
            input_size=size,
            cifar_stem=options.cifar_stem or bool(said and said.cifar_stem),
        )
    alignment = load_into(network, tensors, file=str(path), arch=arch)
    carried = normaliser(tensors, alignment.found)
    normalisation = None
    if said is not None:
        normalisation = Normalisation(
            said.mean or (0.0,) * channels, said.std or (1.0,) * channels, "the checkpoint"
        )
    elif carried is not None:
        normalisation = Normalisation(*carried, "the checkpoint's own normalising layer")
        notices.append(f"mean and std are those of {normalisation.source}")
    outside = [name for name in alignment.outside if "norm" not in name and "attacker" not in name]
    if outside and carried is None:
        notices.append(
            f"{len(outside)} tensors outside the network are left out ({printable(outside[0])}, …)"
        )
    return Source(
        network,
        arch,
        path,
        _first_channels(network) or channels,
        cifar_stem=options.cifar_stem or bool(said and said.cifar_stem),
        classes=classes,
        normalisation=normalisation,
        input_size=fixed,
        class_names=said.class_names if said else _class_names(contents.extras, classes),
        bgr=bool(said and said.bgr),
        scale=said.scale if said else 1.0,
        facts={"training": said.to_dict()} if said else {},
        notices=tuple(notices),
    )


def _choose_arch(
    path: Path,
    contents: Contents,
    options: ModelOptions,
    channels: int,
    classes: int,
    size: tuple[int, int],
) -> tuple[str, list[str]]:
    if options.arch is not None:
        return options.arch, []
    said = contents.metadata
    if said is not None:
        factory = factory_in(said.arch)
        if factory is not None and not options.trust:
            raise UsageError(
                f"{path} was made with the file {factory}, which would be run.\n"
                f"If you trust that file, add --trust, or --arch {shlex.quote(said.arch)}"
            )
        return said.arch, []
    arch = guess_arch(
        contents.tensors, contents.extras, channels=channels, classes=classes, input_size=size
    )
    if arch is None:
        names = ", ".join(printable(name, 40) for name in list(contents.tensors)[:2])
        raise UsageError(
            f"{path} does not say which architecture it belongs to, and its tensors "
            f"({names}, …) fit none that is known here.\n"
            "Add --arch NAME, --arch timm:NAME or --arch path/to/file.py:function."
        )
    return arch, [f"told by the tensors: {arch}, {channels} channels, {classes} classes"]


def _from_program(
    path: Path, program: nn.Module, kind: str, options: ModelOptions, data: DataFacts | None
) -> Source:
    channels = options.channels or _first_channels(program)
    size = None
    if isinstance(program, Exported):
        channels = program.shape[0] or channels
        height, width = program.shape[1:]
        size = (height, width) if height is not None and width is not None else None
    classes = options.classes or guess_classes(program.state_dict())
    return Source(
        program,
        None,
        path,
        channels or guess_channels(program.state_dict()) or (data.channels if data else 3),
        classes=classes,
        input_size=size,
        facts={"program": kind},
    )


def _first_channels(network: nn.Module) -> int | None:
    """Channels of the first convolution, where that is the first layer with weights."""
    for module in network.modules():
        if isinstance(module, nn.Linear):
            return None
        if isinstance(module, nn.Conv2d):
            return int(module.in_channels)
    return None


def _side(side: int | None) -> tuple[int, int] | None:
    return None if side is None else (side, side)


def _class_names(extras: Mapping[str, Any], classes: int) -> tuple[str, ...] | None:
    """Class names that a training script saved beside the weights."""
    for key in ("class_names", "classes", "categories", "labels"):
        names = extras.get(key)
        if isinstance(names, list | tuple) and all(isinstance(name, str) for name in names):
            return tuple(names) if len(names) == classes else None
    indices = extras.get("class_to_idx")
    if isinstance(indices, Mapping) and sorted(indices.values()) == list(range(classes)):
        return tuple(str(name) for name in sorted(indices, key=lambda name: int(indices[name])))
    return None
