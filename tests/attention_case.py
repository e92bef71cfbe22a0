"""A model whose Grad-CAM is the image itself, and corruptions that move the image by cells."""

from dataclasses import dataclass

import numpy as np
import torch
from measuring_case import Arrays, entry
from torch import Tensor, nn

from benchmarks import Corrupted, Plan, plan

NAMES, SEVERITIES = ("fog", "contrast"), (1, 2)
COUNT, BLACK = 20, 7  # images, and the one that is black: its map has no mass


class Reader(nn.Module):
    """The class is the brightest quarter; every cell of the map counts alike in the mean."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.cells = nn.Conv2d(1, 1, 1, bias=False)
        self.cells.weight.data.fill_(scale)

    def forward(self, images: Tensor) -> Tensor:
        quarters = self.cells(images).unfold(2, 2, 2).unfold(3, 2, 2)
        return quarters.mean(dim=(1, 4, 5)).flatten(1)


@dataclass
class Rolled:
    """Move every image to the right, once more at each severity; ``fog`` moves it down."""

    name: str
    severity: int

    def __call__(self, shard, rows):
        return rolled(shard.images, self.name, self.severity)


def rolled(images: Tensor, name: str, severity: int) -> Tensor:
    return images.roll(severity, dims=2 if name == "fog" else 3)


def data() -> Arrays:
    images = torch.rand(COUNT, 1, 4, 4, generator=torch.Generator().manual_seed(5))
    images = (images * 255).round() / 255
    images[BLACK] = 0
    labels = Reader()(images).argmax(dim=1).numpy().copy()
    labels[::5] = (labels[::5] + 1) % 4
    return Arrays(images, labels, "squares")


def corruptions(names=NAMES) -> list[Corrupted]:
    return [
        Corrupted(name, severity, {"seed": 0}, Rolled(name, severity))
        for name in names
        for severity in SEVERITIES
    ]


def attended_plan(**settings) -> Plan:
    """Two models that look alike, 20 images in shards of 8, four corrupted cells each."""
    defaults = {
        "models": [entry("one", Reader()), entry("two", Reader(3.0))],
        "conditions": [],
        "examples": data(),
        "shard_size": 8,
        "corruptions": corruptions(),
        "attention": True,
    }
    chosen = defaults | settings
    return plan(chosen.pop("models"), chosen.pop("conditions"), chosen.pop("examples"), **chosen)


def known_rows() -> np.ndarray:
    """The images whose maps have mass."""
    return np.flatnonzero(np.arange(COUNT) != BLACK)
