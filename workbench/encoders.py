"""Encoders for stylizers: the first layers of a plain VGG, wherever its weights come from."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from defenses.adain import DEPTHS, LUMINANCE, Encoder, mirrored
from workbench.datasets import DataFacts
from workbench.errors import UsageError
from workbench.models import Classifier, ModelOptions, load_model, read_checkpoint
from workbench.models.digests import sha256_tensors

OWN = "A VGG of your own will do: workbench train vgg11 --data DATA, then --encoder CHECKPOINT."

_LAYOUT = "pytorch-AdaIN"  # github.com/naoto0804/pytorch-AdaIN: vgg_normalised.pth, decoder.pth
_LETTERS = {nn.BatchNorm2d: "b", nn.ReLU: "r", nn.MaxPool2d: "p"}
_APART = {3: False, 4: True}  # layers from one convolution to the next: whether one is a pooling

Layer = tuple[Tensor, Tensor]  # weight and bias of a convolution


class FoundEncoder(NamedTuple):
    """An encoder, what is to be remembered of it, and what a person should know."""

    encoder: Encoder
    description: dict[str, Any]
    notices: tuple[str, ...] = ()


def load_encoder(
    source: str, depth: str, facts: DataFacts, options: ModelOptions | None = None
) -> FoundEncoder:
    """Find a VGG and cut it.

    Args:
        source: a checkpoint of a plain VGG, `vgg_normalised.pth`, or a name with published weights.
        depth: where it is to end, one of `DEPTHS`.
        facts: shape and classes of the images.
        options: what is said of the checkpoint.

    Raises:
        UsageError: there is no such VGG, or it has not as many blocks.
    """
    path = Path(source).expanduser()
    if path.is_file() and (tensors := _published(path)) is not None:
        encoder = _published_encoder(tensors, depth, source)
        return FoundEncoder(encoder, _description(encoder, {"layout": _LAYOUT}))
    try:
        loaded = load_model(source, options, data=facts)
    except UsageError as error:
        if path.exists():
            raise
        raise UsageError(f"--encoder {source}: {str(error).splitlines()[0]}\n{OWN}") from error
    model = loaded.model
    encoder = _cut(_layers(model, source), depth, _normalising(model), source)
    known = ("arch", "weights_sha256", "mean", "std", "scale", "bgr")
    facts_known = {name: loaded.description[name] for name in known}
    return FoundEncoder(encoder, _description(encoder, facts_known), loaded.notices)


def load_published_pair(encoder: str, decoder: str) -> tuple[FoundEncoder, nn.Sequential]:
    """A pair of files in the layout of the usual PyTorch program.

    Args:
        encoder: such as `vgg_normalised.pth`: a sequence that begins with a convolution of 1x1.
        decoder: such as `decoder.pth`. It says where the encoder ends.

    Raises:
        UsageError: they are no such files, or do not go together.
    """
    first, second = _expected(encoder, "encoder", 0), _expected(decoder, "decoder", 1)
    blocks = _blocks(second, _numbers(second), decoder)[::-1]
    if len(blocks) > len(DEPTHS):
        raise UsageError(f"{decoder} decodes from {len(blocks)} blocks; {DEPTHS[-1]} is the last.")
    found_encoder = _published_encoder(first, DEPTHS[len(blocks) - 1], encoder)
    mirror = tuple(tuple(weight.shape[1] for weight, _ in block[::-1]) for block in blocks)
    if mirror != found_encoder.widths:
        raise UsageError(f"{decoder} is not the mirror image of {encoder}: they are no pair.")
    network = mirrored(mirror)
    _fill(network, [layer for block in blocks[::-1] for layer in block], decoder)
    return FoundEncoder(found_encoder, _description(found_encoder, {"layout": _LAYOUT})), network


def _description(encoder: Encoder, facts: Mapping[str, Any]) -> dict[str, Any]:
    return {**facts, "depth": DEPTHS[len(encoder.widths) - 1], "sha256": sha256_tensors(encoder)}


def _layers(model: Classifier, source: str) -> list[list[Layer]]:
    """The convolutions of a VGG, block by block, batch normalisation folded into them."""
    features = getattr(model.network, "features", None)
    layers = list(features) if isinstance(features, nn.Sequential) else []
    letters = "".join(map(_letter, layers))
    if not re.fullmatch(r"((cb?r)+p)+", letters):
        raise UsageError(
            f"--encoder {source}: it is no plain VGG (3x3 convolutions, ReLU, pooling).\n"
            "Give a checkpoint of vgg11, vgg13, vgg16 or vgg19, with _bn or without, or its name."
        )
    blocks: list[list[Layer]] = [[]]
    for position, layer in enumerate(layers):
        if isinstance(layer, nn.MaxPool2d):
            blocks.append([])
        elif isinstance(layer, nn.Conv2d):
            after = layers[position + 1]
            if isinstance(after, nn.BatchNorm2d):
                layer = fuse_conv_bn_eval(layer, after)  # noqa: PLW2901  (one layer from here on)
            bias = layer.weight.new_zeros(len(layer.weight)) if layer.bias is None else layer.bias
            blocks[-1].append((layer.weight, bias))
    return blocks[:-1]


def _letter(layer: nn.Module) -> str:
    if isinstance(layer, nn.Conv2d):
        facts = layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups
        plain = facts == ((3, 3), (1, 1), (1, 1), (1, 1), 1) and layer.padding_mode == "zeros"
        return "c" if plain else "?"
    if isinstance(layer, nn.MaxPool2d) and (layer.kernel_size, layer.stride) != (2, 2):
        return "?"
    return _LETTERS.get(type(layer), "?")


def _normalising(model: Classifier) -> Layer:
    """A classifier's preprocessing as a convolution of 1x1, from colour images on."""
    std = torch.tensor(model.std)
    weight = torch.diag(model.scale / std)
    if model.channels == 1:
        weight = weight @ torch.tensor([LUMINANCE])
    bias = -torch.tensor(model.mean) / std
    if model.bgr:
        weight, bias = weight.flip(0), bias.flip(0)
    return weight[..., None, None], bias


def _published(path: Path) -> dict[str, Tensor] | None:
    """The tensors of a file in the published layout, or None for another file."""
    tensors = dict(read_checkpoint(path).tensors)
    named = all(
        re.fullmatch(r"\d+\.bias" if tensor.ndim == 1 else r"\d+\.weight", name)
        for name, tensor in tensors.items()
    )
    return tensors if tensors and named else None


def _expected(name: str, what: str, begins: int) -> dict[str, Tensor]:
    tensors = _published(Path(name).expanduser())
    if tensors is None or _numbers(tensors)[0] != begins:
        raise UsageError(
            f"{name} is no {what} in the layout of {_LAYOUT}, whose files are vgg_normalised.pth "
            f"and decoder.pth and whose tensors have names such as {begins}.weight."
        )
    return tensors


def _published_encoder(tensors: Mapping[str, Tensor], depth: str, source: str) -> Encoder:
    numbers = _numbers(tensors)
    if numbers[0] != 0 or len(numbers) == 1:
        raise UsageError(f"{source} is no VGG that begins with a 1x1 convolution.")
    (first,), *_ = _blocks(tensors, [0], source)
    return _cut(_blocks(tensors, numbers[1:], source), depth, first, source)


def _numbers(tensors: Mapping[str, Tensor]) -> list[int]:
    return sorted({int(name.partition(".")[0]) for name in tensors})


def _blocks(
    tensors: Mapping[str, Tensor], numbers: Sequence[int], source: str
) -> list[list[Layer]]:
    """The convolutions of these numbers, parted where the numbering leaves room for a pooling."""
    blocks: list[list[Layer]] = []
    for before, number in zip([numbers[0] - 4, *numbers], numbers, strict=False):
        names = f"{number}.weight", f"{number}.bias"
        if number - before not in _APART or not all(name in tensors for name in names):
            raise UsageError(f"{source} is not laid out as {_LAYOUT}'s files are: see {names[0]}.")
        if _APART[number - before]:
            blocks.append([])
        blocks[-1].append((tensors[names[0]], tensors[names[1]]))
    return blocks


def _cut(blocks: Sequence[Sequence[Layer]], depth: str, first: Layer, source: str) -> Encoder:
    """The encoder that these convolutions make, up to a depth."""
    count = DEPTHS.index(depth) + 1
    if len(blocks) < count:
        raise UsageError(f"--encoder {source}: it has {len(blocks)} blocks, so no {depth}.")
    kept = [*blocks[: count - 1], blocks[count - 1][:1]]
    widths = [[len(weight) for weight, _ in block] for block in kept]
    encoder = Encoder(widths, len(first[0]))
    _fill(encoder, [first, *(layer for block in kept for layer in block)], source)
    return encoder


def _fill(network: nn.Module, layers: Sequence[Layer], source: str) -> None:
    """Put weights into the convolutions of a network, in place and in order."""
    wanted = (each for each in network.modules() if isinstance(each, nn.Conv2d))
    for convolution, (weight, bias) in zip(wanted, layers, strict=True):
        state = {"weight": weight.detach(), "bias": bias.detach()}
        if any(state[name].shape != each.shape for name, each in convolution.named_parameters()):
            shape = "x".join(map(str, weight.shape))
            raise UsageError(f"{source}: a convolution of {shape} does not fit where it stands.")
        convolution.load_state_dict(state)
