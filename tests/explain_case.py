"""Small models and data for the tests of what `workbench explain` shows."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from workbench.console import Console
from workbench.datasets.dataset import Dataset, InMemory
from workbench.explain.viewed import Asked, Viewed, ViewedModel
from workbench.models import Classifier, build
from workbench.models.classifier import freeze

NAMES = ("cat", "dog", "frog", "truck")
SIDE = 16


class Quadrant(nn.Module):
    """Reads the upper left quarter of an image alone, and says whether it is bright."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1, bias=False)
        self.act = nn.ReLU()
        self.head = nn.Linear(2, len(NAMES), bias=False)
        with torch.no_grad():
            self.conv.weight.fill_(1.0)
            self.head.weight.copy_(torch.arange(8.0).reshape(4, 2))

    def forward(self, images: Tensor) -> Tensor:
        half = images.shape[2] // 2
        seen = torch.zeros_like(images)
        seen[:, :, :half, :half] = images[:, :, :half, :half]
        return self.head(self.act(self.conv(seen)).mean(dim=(2, 3)))


def network(arch: str, seed: int = 0, **settings: Any) -> Classifier:
    torch.manual_seed(seed)
    given = {"channels": 3, "classes": len(NAMES), "input_size": (SIDE, SIDE)} | settings
    size = given["input_size"] if arch.startswith("timm:") else None
    return classifier(build(arch, **given), channels=given["channels"], input_size=size)


def classifier(module: nn.Module, channels: int = 3, **settings: Any) -> Classifier:
    found = Classifier(module, channels=channels, classes=len(NAMES), **settings)
    freeze(found)
    return found


def data(count: int = 12, channels: int = 3, side: int = SIDE) -> Dataset:
    generator = np.random.default_rng(3)
    pixels = generator.integers(1, 256, (count, side, side, channels)).astype(np.uint8)
    labels = (np.arange(count) % len(NAMES)).astype(np.int64)
    return Dataset("made", InMemory(pixels), labels, len(NAMES), NAMES)


def viewed(
    *classifiers: Classifier, dataset: Dataset | None = None, folder: Path = Path(), **asked: Any
) -> Viewed:
    return Viewed(
        models=tuple(
            ViewedModel(place, f"model-{place}", each) for place, each in enumerate(classifiers)
        ),
        dataset=dataset or data(),
        class_names=NAMES,
        asked=Asked(**({"show": 2} | asked)),
        directory=folder,
        console=Console(silent=True),
        device=torch.device("cpu"),
    )
