"""An image-to-image network, perturbed from within: what its convolutions give is changed.

The changes are made on the operations as they run, not in the network, so nothing is left in it,
each image of a batch has its own, and TorchScript can be perturbed as well.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from attacks.draws import Stream, derived_seeds, integers, normal, uniform
from defenses.materials import Material

_CONVOLUTIONS = (torch.ops.aten.convolution.default, torch.ops.aten._convolution.default)
_KINDS = ("gain", "negate", "zero", "swap", "relu", "gelu")


@dataclass(frozen=True)
class ImageNetwork(Material):
    """A network from images to images.

    Attributes:
        network: from float32 (n, C, H, W) in [0, 1] to the same shape and range, in evaluation
            mode, of two or more convolutions. It is moved to where the images are.
        corruptions: the test corruptions that it was trained with.
    """

    network: nn.Module
    corruptions: tuple[str, ...] = ()


def distorted(network: nn.Module, images: Tensor, seeds: Tensor, strength: float) -> Tensor:
    """What a network makes of images (n, C, H, W) in [0, 1] if it is perturbed for each of them.

    All convolutions but the last are: that one makes the colours, and changing it changes
    brightness, contrast and saturation, which are test corruptions.

    Args:
        network: see `ImageNetwork`.
        images: float32 (n, C, H, W) in [0, 1], n at least 1.
        seeds: int64 (n,).
        strength: chance of a channel to be changed; with 0, nothing is.

    Returns:
        Images of the same shape, clipped to [0, 1].

    Raises:
        ValueError: the network gives another shape, or has fewer than two convolutions.
    """
    network = network.to(images.device)
    with torch.no_grad():
        with _Convolutions() as counted:
            network(images[:1])
        if counted.seen < 2:
            raise ValueError(
                f"deepaugment: the network has {counted.seen} convolutions that can be perturbed; "
                "it must have two or more"
            )

        def change(activations: Tensor, number: int) -> Tensor:
            if number == counted.seen:
                return activations
            own = derived_seeds(seeds, stream=Stream.DEFENSE, step=number)
            return perturbed(activations, own, strength)

        with _Convolutions(change):
            made: Tensor = network(images)
    if made.shape != images.shape:
        raise ValueError(
            f"deepaugment: the network makes {tuple(made.shape)} of images "
            f"{tuple(images.shape)}; it must keep their shape"
        )
    return made.clamp(0, 1).to(images.dtype)


def perturbed(activations: Tensor, seeds: Tensor, strength: float) -> Tensor:
    """Change some channels of activations (n, C, ...), in one of six ways for each image.

    Multiply them by factors of their own, exp(z) with z standard normal; negate them; set them to
    zero; swap them in pairs; pass them through a rectifier or a Gaussian error linear unit.

    Args:
        activations: of a convolution.
        seeds: int64 (n,), one for each image.
        strength: chance of a channel to be changed.

    Raises:
        ValueError: the activations are not of as many images as there are seeds.
    """
    if len(activations) != len(seeds):
        raise ValueError("deepaugment: the network must treat a batch as images one by one")
    count = activations.shape[1]
    kind = integers(seeds, len(_KINDS), stream=Stream.DEFENSE, step=0)[:, None]
    touched = uniform(seeds, (count,), stream=Stream.DEFENSE, step=1) < strength
    gains = normal(seeds, (count,), stream=Stream.DEFENSE, step=2).exp()
    total = integers(seeds, count, stream=Stream.DEFENSE, step=3)[:, None]

    def chosen(name: str) -> Tensor:
        return touched & (kind == _KINDS.index(name))

    factors = torch.where(chosen("gain"), gains, 1.0)
    factors = torch.where(chosen("negate"), -1.0, factors).masked_fill(chosen("zero"), 0.0)
    # The numbers of two channels that swap add up to one total, modulo the count; the lower one's
    # draw decides for both.
    own = torch.arange(count, device=seeds.device).expand_as(touched)
    partner = (total - own) % count
    swap = chosen("swap").gather(1, torch.minimum(own, partner))
    rows = torch.arange(len(seeds), device=seeds.device)[:, None]
    changed = activations[rows, torch.where(swap, partner, own)]
    shape = (*touched.shape, *(1,) * (activations.ndim - 2))
    changed = changed * factors.to(changed.dtype).view(shape)
    for name, activate in (("relu", F.relu), ("gelu", F.gelu)):
        changed = torch.where(chosen(name).view(shape), activate(changed), changed)
    return changed


class _Convolutions(TorchDispatchMode):
    """Counts the convolutions that run while it is entered, and may change what they give.

    Args:
        change: ``change(activations, number)`` gives what is used in place of the activations of
            the convolution of this number, counted from 1.
    """

    def __init__(self, change: Callable[[Tensor, int], Tensor] | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch does not annotate it
        self.seen = 0
        self._change = change

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        if func not in _CONVOLUTIONS:
            return output
        self.seen += 1
        return output if self._change is None else self._change(output, self.seen)
