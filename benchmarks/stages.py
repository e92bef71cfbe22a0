"""Which layers tell how a network gets from an image to its answer, one after the other."""

import torch
from torch import Tensor, nn

from benchmarks.layers import named_layers, output_shapes

LEAST, MOST = 8, 25
"""About as many layers as a reader can follow along an axis."""

_LISTS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def stages(model: nn.Module, sample: Tensor, *, least: int = LEAST, most: int = MOST) -> list[str]:
    """One layer for each block, and the convolutions and linear layers outside of blocks.

    A block is a module with parts of its own; lists of blocks are not blocks. Where that gives
    fewer than ``least`` layers, blocks are opened as long as that gives no more than ``most``;
    where it gives more than ``most``, as many are taken, evenly.

    Args:
        model: maps images to logits.
        sample: float32 (N, C, H, W) in [0, 1]; layers that it does not reach do not count, nor do
            those that put out something else than a row an image.

    Returns:
        names of `benchmarks.layers.named_layers`, in the order in which a pass ends them; none
        where the network shows no layers, as TorchScript does not.
    """
    layers = named_layers(model)
    reached = {
        name: place
        for place, (name, shape) in enumerate(output_shapes(model, sample).items())
        if len(shape) > 1 and shape[0] == len(sample)
    }
    tops = {name: module for name, module in layers.items() if "." not in name}
    found = _parts(tops, reached, opened=0)
    for opened in range(1, 10):  # deeper than networks are nested
        finer = _parts(tops, reached, opened=opened)
        if len(found) >= least or (len(finer) > most and 2 * len(found) >= least):
            break
        found = finer
    ordered = sorted(found, key=reached.__getitem__)
    if len(ordered) <= most:
        return ordered
    return [ordered[int(place)] for place in torch.linspace(0, len(ordered) - 1, most).round()]


def _parts(modules: dict[str, nn.Module], reached: dict[str, int], opened: int) -> list[str]:
    """Blocks and weights among modules, inside as many blocks of one another as are opened."""
    found: list[str] = []
    for name, module in modules.items():
        inside = {f"{name}.{part}": each for part, each in module.named_children()}
        if inside and (type(module) in _LISTS or opened or name not in reached):
            found += _parts(inside, reached, opened - (type(module) not in _LISTS))
        elif name in reached and _has_weights(module, parts=bool(inside)):
            found.append(name)
    return found


def _has_weights(module: nn.Module, *, parts: bool) -> bool:
    """Whether it mixes values: normalisations have no more than a value a channel."""
    return any(each.dim() > 1 for each in module.parameters(recurse=parts))
