"""Fit the first layer of a torchvision network to other images than colour photographs."""

import torch
from torch import nn

from workbench.errors import UsageError


def adapt_channels(network: nn.Module, channels: int) -> None:
    """Replace, in place, the first convolution of three channels by one of ``channels``."""
    if channels == 3:
        return
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d) and module.in_channels == 3:
            _replace(network, name, _like(module, channels=channels))
            return
    raise UsageError(f"This network cannot be given {channels}-channel images.")


def use_cifar_stem(name: str, network: nn.Module) -> None:
    """Let a torchvision residual or dense network begin at full resolution, in place.

    Its first convolution becomes 3×3 with stride 1 and its first pooling goes, as is usual for
    32×32 images (He et al. 2015, section 4.2; Huang et al. 2017, section 3).
    """
    if isinstance(getattr(network, "conv1", None), nn.Conv2d) and hasattr(network, "maxpool"):
        stem, pool = "conv1", "maxpool"
    elif name.startswith("densenet"):
        stem, pool = "features.conv0", "features.pool0"
    else:
        raise UsageError(
            f"The CIFAR stem is for torchvision's residual and dense networks, not {name}."
        )
    old = network.get_submodule(stem)
    if not isinstance(old, nn.Conv2d):
        raise UsageError(f"{name} of this torchvision has another first layer than was expected.")
    _replace(network, stem, _like(old, kernel_size=3))
    _replace(network, pool, nn.Identity())


def _like(old: nn.Conv2d, *, channels: int | None = None, kernel_size: int = 0) -> nn.Conv2d:
    small = kernel_size == 3
    new = nn.Conv2d(
        channels or old.in_channels,
        old.out_channels,
        3 if small else old.kernel_size,  # type: ignore[arg-type]  # torch keeps int tuples
        1 if small else old.stride,  # type: ignore[arg-type]
        1 if small else old.padding,  # type: ignore[arg-type]
        bias=old.bias is not None,
    )
    nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    if new.bias is not None:
        with torch.no_grad():
            new.bias.zero_()
    return new


def _replace(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, module)
