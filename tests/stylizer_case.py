"""A tiny VGG, a stylizer of it, and pictures, for the tests of stylised images."""

from pathlib import Path

import numpy as np
import torch
from data_case import save
from torch import Tensor, nn

from defenses.adain import DEPTHS, Encoder, Stylizer, mirrored
from defenses.stylized import Paintings

LAYERS = [6, 6, "M", 8, "M", 10, 10, "M", 12, "M"]
WIDTHS = ((6, 6), (8,), (10, 10), (12,))

FACTORY = f"""
import torch
from torchvision.models.vgg import make_layers

class Tiny(torch.nn.Module):
    # torchvision's VGG but for the last layers, which are too large for a test

    def __init__(self, batch_norm):
        super().__init__()
        self.features = make_layers({LAYERS}, batch_norm)
        self.classifier = torch.nn.Linear(12, 4)

    def forward(self, images):
        return self.classifier(self.features(images).mean((2, 3)))

def tiny_vgg(batch_norm=False):
    torch.manual_seed(1)
    network = Tiny(batch_norm)
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(layer.weight, 0.5, 2)
            torch.nn.init.uniform_(layer.bias, -1, 1)
            torch.nn.init.uniform_(layer.running_mean, -1, 1)
            torch.nn.init.uniform_(layer.running_var, 0.5, 2)
    return network

def tiny_vgg_bn():
    return tiny_vgg(batch_norm=True)

def no_vgg():
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 4))
"""


def tiny_vgg(*, batch_norm: bool = False) -> nn.Module:
    """What the factory returns."""
    names: dict[str, object] = {}
    exec(FACTORY, names)
    network = names["tiny_vgg"](batch_norm)  # type: ignore[operator]  # a function of the text
    assert isinstance(network, nn.Module)
    return network.eval()


def stylizer(depth: str = "relu3_1", seed: int = 0) -> Stylizer:
    """An encoder and a decoder with weights drawn at random."""
    kept = WIDTHS[: DEPTHS.index(depth) + 1]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        widths = (*kept[:-1], kept[-1][:1])
        return Stylizer(f"digest {depth}", Encoder(widths), mirrored(widths))


def some(count: int, side: int = 16, channels: int = 3, seed: int = 0) -> Tensor:
    """Images of flat squares, float32 (count, channels, side, side)."""
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, channels, 4, 4, generator=draw)
    return nn.functional.interpolate(coarse, (side, side))


def paintings(count: int = 5, side: int = 16) -> Paintings:
    return Paintings("digest of paintings", (255 * some(count, side, seed=9)).byte())


def write_pictures(folder: Path, count: int = 6) -> Path:
    """Pictures of several sizes and kinds, some in a folder of their own."""
    draw = np.random.default_rng(3)
    for number in range(count):
        shape = (20 + number, 30, 3) if number % 2 else (24, 22)
        pixels = draw.integers(0, 256, shape, dtype=np.uint8)
        save(folder / ("more" if number > 3 else "") / f"{number}.png", pixels)
    return folder
