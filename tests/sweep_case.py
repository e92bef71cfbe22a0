"""Small sweeps whose answers are known, for the tests of `benchmarks.sweeps` and its files."""

import numpy as np
import torch
from torch import Tensor, nn

from attacks.draws import image_seeds
from benchmarks.sweep_numbers import Sweep, answers_of
from benchmarks.sweeps import Answers, Dial, sweep
from workbench.models import Classifier

CLASSES, SIDE = 7, 16
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
GROUPS = ("a", "a", "b", "b", "c", "a", "c")


def linear(seed: int = 0) -> Classifier:
    """A linear classifier of 3×16×16 images into seven classes."""
    generator = torch.Generator().manual_seed(seed)
    layer = nn.Linear(3 * SIDE * SIDE, CLASSES)
    with torch.no_grad():
        layer.weight.normal_(0, 0.05, generator=generator)
        layer.bias.zero_()
    network = nn.Sequential(nn.Flatten(), layer)
    return Classifier(network, channels=3, classes=CLASSES, mean=MEAN, std=STD).eval()


def images(count: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, 3, SIDE, SIDE, generator=generator)


def seeds(count: int = 6) -> Tensor:
    return image_seeds(0, torch.arange(count))


def asked(model: nn.Module, dial: Dial, count: int = 6, **settings: int) -> Answers:
    """What a model answers; the label of the last image is not known."""
    labels = torch.arange(count) % CLASSES
    labels[-1] = -1
    return sweep(model, dial, images(count), labels, seeds(count), **settings)


def swept(dial: Dial, models: int = 2, count: int = 6, **settings: int) -> Sweep:
    labels = np.arange(count, dtype=np.int32) % CLASSES
    labels[-1] = -1
    return Sweep(
        dial=dial.name,
        axis=dial.axis,
        normalised=dial.normalised,
        values=np.array(dial.values),
        position_labels=dial.labels,
        models=tuple(f"model {number}" for number in range(models)),
        ids=np.arange(count) * 1_000_003 - 17,
        labels=labels,
        class_names=("tench", "goldfish", "shark", "ray", "cock", "hen", "ostrich"),
        superclasses=GROUPS,
        **answers_of([asked(linear(seed), dial, count, **settings) for seed in range(models)]),
    )
