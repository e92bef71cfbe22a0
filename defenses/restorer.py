"""A small network that undoes corruptions, and a classifier that looks through it."""

import torch
from torch import Tensor, nn

_SCALE = 0.3  # as in EDSR (Lim et al. 2017), where it is 0.1; at 1, SGD with a rate of 0.1 diverges


def check_size(width: int, depth: int) -> None:
    """Raise `ValueError` unless a restorer can have this many channels and convolutions."""
    if type(width) is not int or type(depth) is not int or width < 1 or depth < 2:
        raise ValueError(f"width={width} must be at least 1 and depth={depth} at least 2")


class Restorer(nn.Module):
    """``x + 0.3 f(x)``, with a plain convolutional ``f`` that learns what is to be added.

    ``depth`` 3×3 convolutions of ``width`` channels, all but the first and the last followed by
    batch normalisation. The last begins with zeros, so an untrained restorer changes nothing. It
    takes images of any size, in any units.

    Source: Zhang et al., "Beyond a Gaussian denoiser: residual learning of deep CNN for image
    denoising", IEEE TIP 2017, with 17 to 20 layers of 64 channels; the zeros as in Goyal et al.,
    "Accurate, large minibatch SGD", 2017, section 5.1.

    Args:
        channels: of the images.
        width, depth: of ``f``.

    Raises:
        ValueError: a width below 1 or a depth below 2.
    """

    def __init__(self, channels: int, width: int = 32, depth: int = 6) -> None:
        super().__init__()
        check_size(width, depth)
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
        for _ in range(depth - 2):
            layers += [nn.Conv2d(width, width, 3, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(width), nn.ReLU()]
        last = nn.Conv2d(width, channels, 3, padding=1)
        nn.init.zeros_(last.weight)
        if last.bias is not None:
            nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(*layers, last)

    def forward(self, values: Tensor) -> Tensor:
        """(N, channels, H, W) to the same shape and units, restored; not clipped."""
        return torch.add(values, self.layers(values), alpha=_SCALE)


class Restored(nn.Module):
    """A classifier that is given what a restorer makes of its images.

    The restorer works on what the classifier takes, normalised values of the size it wants. A
    frozen classifier stays in evaluation mode, so that its statistics are kept and it drops
    nothing out while the restorer learns.

    Args:
        restorer: from (N, C, H, W) to the same shape.
        network: from (N, C, H, W) to logits (N, K).
    """

    def __init__(self, restorer: nn.Module, network: nn.Module) -> None:
        super().__init__()
        self.restorer = restorer
        self.network = network

    def forward(self, values: Tensor) -> Tensor:
        """(N, C, H, W) to logits (N, K)."""
        logits: Tensor = self.network(self.restorer(values))
        return logits

    def train(self, mode: bool = True) -> "Restored":
        """Set the mode, of the classifier only where something in it is trained."""
        super().train(mode)
        if not any(parameter.requires_grad for parameter in self.network.parameters()):
            self.network.eval()
        return self
