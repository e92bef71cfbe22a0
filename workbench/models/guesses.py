"""What a state dict's names and shapes tell of the network it belongs to."""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from attacks.spec import Spec
from workbench.models.alignment import align, without_wrappers
from workbench.models.architectures import OURS, skeleton, timm_names, torchvision_names

_SHARED_PREFIXES = (
    "model.",
    "net.",
    "network.",
    "encoder.",
    "backbone.",
    "classifier.model.",
    "1.",
)
_HEAD = re.compile(
    r"^(?:fc|linear|head|heads\.head|head\.fc|classifier|classifier\.(\d+)|output|logits|"
    r"last_linear|_fc)\.weight$"
)
_STEM = re.compile(
    r"^(?:conv1|conv0|conv_stem|_conv_stem|stem\.0|stem\.conv|features\.0|features\.0\.0|"
    r"features\.conv0|conv_proj|patch_embed\.proj|layers\.0|stem\.0\.0|conv1\.conv|conv1\.0|"
    r"Conv2d_1a_3x3\.conv)\.weight$"
)
_FAMILIES = {  # one tensor that all of a torchvision family have, and how their names begin
    "layer1.0.conv1.weight": ("resnet", "resnext", "wide_resnet"),
    "features.denseblock1.denselayer1.norm1.weight": ("densenet",),
    "features.0.0.weight": ("convnext", "efficientnet", "mobilenet", "swin"),
    "features.0.weight": ("alexnet", "vgg", "squeezenet"),
    "inception3a.branch1.conv.weight": ("googlenet",),
    "Conv2d_1a_3x3.conv.weight": ("inception",),
    "trunk_output.block1.block1-0.proj.0.weight": ("regnet_x_", "regnet_y_"),
    "stage2.0.branch1.0.weight": ("shufflenet",),
    "layers.0.weight": ("mnasnet",),
    "conv_proj.weight": ("vit",),
    "blocks.0.layers.0.layers.MBconv.proj.0.weight": ("maxvit",),
}
_HUGE = ("regnet_y_128gf",)  # 2.6 GB, and it cannot be measured without being built


def bare_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without wrappers' prefixes and without what is not the network's."""
    names = without_wrappers(tensors, ())
    names = {n: t for n, t in names.items() if not re.match(r"(\w+\.)?attacker\.", n)}
    for _ in range(3):
        for prefix in _SHARED_PREFIXES:
            under = [name for name in names if name.startswith(prefix)]
            if under and sum(names[n].numel() for n in names if n not in under) <= 8:
                names = {name.removeprefix(prefix): names[name] for name in under}
    return names


def guess_classes(tensors: Mapping[str, Tensor]) -> int | None:
    """How many classes the last layer tells apart, or None."""
    names = bare_names(tensors)
    heads = [
        (int(m[1] or 0), n) for n in names if (m := _HEAD.match(n)) and names[n].ndim in (2, 4)
    ]
    if heads:
        return int(names[max(heads)[1]].shape[0])
    matrices = [tensor for tensor in names.values() if tensor.ndim == 2]
    return int(matrices[-1].shape[0]) if matrices else None


def guess_channels(tensors: Mapping[str, Tensor]) -> int | None:
    """How many channels the first convolution takes, or None."""
    names = bare_names(tensors)
    kernels = {name: tensor for name, tensor in names.items() if tensor.ndim == 4}
    stems = [tensor for name, tensor in kernels.items() if _STEM.match(name)]
    first = stems or list(kernels.values())
    return int(first[0].shape[1]) if first else None


def guess_flat_size(tensors: Mapping[str, Tensor], channels: int) -> tuple[int, int] | None:
    """The square image (height, width) whose flattened values the first matrix takes, or None."""
    first = bare_names(tensors).get("hidden.0.weight")
    if first is None:
        return None
    side = math.isqrt(int(first.shape[1]) // channels)
    return (side, side) if channels * side * side == first.shape[1] else None


def guess_position_size(tensors: Mapping[str, Tensor]) -> tuple[int, int] | None:
    """The image size of a torchvision vision transformer, from its position embedding."""
    names = bare_names(tensors)
    positions = names.get("encoder.pos_embedding", names.get("pos_embedding"))
    patches = names.get("conv_proj.weight")
    if positions is None or patches is None or positions.ndim != 3 or patches.ndim != 4:
        return None
    side = math.isqrt(int(positions.shape[1]) - 1) * int(patches.shape[-1])
    return (side, side)


def guess_arch(
    tensors: Mapping[str, Tensor],
    extras: Mapping[str, Any],
    *,
    channels: int,
    classes: int,
    input_size: tuple[int, int],
) -> str | None:
    """The architecture whose tensors are exactly these, or None.

    Tried are the name that the training script saved beside the weights, ours, and torchvision's.
    """
    for arch in _candidates(tensors, extras):
        expected = skeleton(
            arch, channels=channels, classes=classes, input_size=input_size, cifar_stem=False
        )
        if expected is not None and align(tensors, expected).fits:
            return arch
    return None


def _candidates(tensors: Mapping[str, Tensor], extras: Mapping[str, Any]) -> Iterator[str]:
    names = bare_names(tensors)
    for said in _said(extras):
        if said in OURS or said in torchvision_names():
            yield said
        if said in timm_names():
            yield f"timm:{said}"
    yield from _ours(names)
    stem = names.get("conv1.weight", names.get("features.conv0.weight"))
    small = stem is not None and stem.ndim == 4 and stem.shape[-1] == 3
    for marker, family in _FAMILIES.items():
        if marker in names:
            for name in torchvision_names():
                if name.startswith(family) and name not in _HUGE:
                    yield str(Spec(name, {"cifar_stem": True})) if small else name


def _said(extras: Mapping[str, Any]) -> Iterator[str]:
    places = [extras]
    for key in ("args", "opt", "config", "hparams", "hyper_parameters", "cfg"):
        value = extras.get(key)
        if value is not None:
            places.append(value if isinstance(value, Mapping) else getattr(value, "__dict__", {}))
    for place in places:
        for key in ("arch", "architecture", "model", "model_name", "net", "backbone"):
            if isinstance(place.get(key), str):
                yield place[key]


def _ours(names: Mapping[str, Tensor]) -> Iterator[str]:
    hidden = names.get("hidden.0.weight")
    if hidden is not None and "output.weight" in names:
        depth = sum(bool(re.fullmatch(r"hidden\.\d+\.weight", name)) for name in names)
        yield str(Spec("mlp", {"width": int(hidden.shape[0]), "depth": depth}))
    first = names.get("conv1.weight")
    if first is None or first.ndim != 4:
        return
    width = int(first.shape[0])
    blocks = {int(m[1]) for name in names if (m := re.match(r"layer1\.(\d+)\.", name))}
    name = f"resnet{6 * len(blocks) + 2}"
    if "linear.weight" in names and "layer4.0.conv1.weight" not in names and name in OURS:
        yield name if width == 16 else str(Spec(name, {"width": width}))
    if "stages.0.0.conv1.weight" in names:
        for study, usual in (("study-resnet123", 64), ("study-resnet151", 128)):
            yield study if width == usual else str(Spec(study, {"width": width}))
