"""Oracle models, and the guarantees that every third-party attack must keep."""

import random

import numpy as np
import torch
from torch import Tensor, nn

from attacks import Attack, Attacked, Ended


class SmallNet(nn.Module):
    """A convolution, a BatchNorm that its owner froze, dropout and a linear layer: five classes.

    It counts what passes through it: rows forward, and rows whose logits received a gradient.
    """

    def __init__(self, seed: int = 0, classes: int = 5) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.convolution = nn.Conv2d(3, 8, 3, padding=1)
            self.norm = nn.BatchNorm2d(8)
            self.dropout = nn.Dropout(0.5)
            self.linear = nn.Linear(8 * 64, classes)
        self.convolution.weight.requires_grad_(False)
        self.linear.bias.grad = torch.full((classes,), 3.0)
        self.train()
        self.norm.eval()
        self.rows = [0, 0]

    def forward(self, images: Tensor) -> Tensor:
        features = torch.relu(self.norm(self.convolution(images)))
        logits = self.linear(self.dropout(features).flatten(1))
        self.rows[0] += len(images)
        if logits.requires_grad:
            logits.register_hook(lambda gradient: self.count(len(gradient)))
        return logits

    def count(self, rows: int) -> None:
        self.rows[1] += rows


class Binarised(SmallNet):
    """The same on black and white images: what a binarisation refinement is meant for."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward((images >= 0.5).float())


def examples(model: nn.Module) -> tuple[Tensor, Tensor]:
    """Four images, with pixels at both ends of the range; the model is wrong about the last."""
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    images[0, :, 0, 0] = 0
    images[1, :, 1, 1] = 1
    labels = predictions(model, images)
    labels[3] = (labels[3] + 1) % 5
    return images, labels


def predictions(model: nn.Module, images: Tensor) -> Tensor:
    training = [module for module in model.modules() if module.training]
    with torch.no_grad():
        classes = model.eval()(images).argmax(dim=1)
    for module in training:
        module.training = True
    return classes


def state(model: nn.Module) -> list[object]:
    """Everything that an attack must leave as it was, in a form that compares by value."""
    return [
        [module.training for module in model.modules()],
        [parameter.requires_grad for parameter in model.parameters()],
        [None if p.grad is None else p.grad.tolist() for p in model.parameters()],
        [value.tolist() for value in model.state_dict().values()],
        torch.get_rng_state().tolist(),
        [part.tolist() if isinstance(part, np.ndarray) else part for part in np.random.get_state()],
        random.getstate(),
    ]


def check_guarantees(
    attack: Attack, budget: tuple[float, float] | None, model: SmallNet | None = None
) -> Attacked:
    """Guarantees 1, 2, 4 and 6 of the design; ``budget`` is (order of the norm, eps) or None."""
    model = SmallNet() if model is None else model
    images, labels = examples(model)
    originals, seeds = images.clone(), torch.tensor([5, 6, 7, 8])
    before = state(model)
    model.rows = [0, 0]
    result = attack(model, images, labels, seeds=seeds)

    assert state(model) == before
    assert torch.equal(images, originals)
    # Two passes over up to eight images look for randomised models and belong to no attack.
    assert model.rows[0] - 2 * 4 == int(result.forwards.sum())
    assert model.rows[1] == int(result.backwards.sum())
    assert torch.equal(result.steps, result.backwards)
    assert result.backwards[3] == 0
    assert result.forwards[3] == 1

    assert result.images.shape == images.shape
    assert result.images.dtype == torch.float32
    assert not result.images.requires_grad
    assert result.images.min() >= 0
    assert result.images.max() <= 1
    if budget is not None:
        shift = (result.images.double() - images.double()).flatten(1)
        lengths = torch.linalg.vector_norm(shift, ord=budget[0], dim=1)
        assert lengths.max() <= budget[1] * (1 + 1e-6)

    wrong = predictions(model, result.images) != labels
    assert torch.equal(result.images[3], images[3])
    assert result.ended.dtype == torch.int8
    assert result.ended[3] == Ended.ALREADY_WRONG
    expected = torch.where(wrong, int(Ended.REACHED), int(Ended.OUT_OF_STEPS))[:3]
    assert torch.equal(result.ended[:3].long(), expected)

    np.random.seed(9)
    torch.manual_seed(9)
    random.seed(9)
    again = attack(model, images, labels, seeds=seeds)
    assert torch.equal(again.images, result.images)
    assert torch.equal(again.ended, result.ended)
    return result


class Threshold(nn.Module):
    """Two classes: is the mean of the image above a threshold? Linear, so known exactly."""

    def __init__(self, threshold: float, *, steepness: float = 20.0) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.tensor(threshold))
        self.steepness = steepness

    def forward(self, images: Tensor) -> Tensor:
        above = self.steepness * (images.mean(dim=(1, 2, 3)) - self.threshold)
        return torch.stack([-above, above], dim=1)
