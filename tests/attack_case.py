"""Tiny models whose answers are known, for the tests of attacks."""

import torch
from torch import Tensor, nn


class Linear(nn.Module):
    """Two classes, logits ±(w·x + b): the minimal perturbation has a closed form."""

    def __init__(self, weight: Tensor, bias: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.tensor(bias))

    def forward(self, images: Tensor) -> Tensor:
        score = (images * self.weight).flatten(1).sum(dim=1) + self.bias
        return torch.stack([-score, score], dim=1)


class Counted(nn.Module):
    """Counts the rows that pass through another model."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.rows = 0

    def forward(self, images: Tensor) -> Tensor:
        self.rows += len(images)
        return self.network(images)

    def __deepcopy__(self, memo: object) -> "Counted":
        raise TypeError("a copy would hide its passes")


def linear_case(count: int = 16) -> tuple[Linear, Tensor, Tensor, Tensor]:
    """A linear model, images that it gets right, labels, and scores w·x + b, from a fixed seed."""
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(1, 6, 6, generator=generator) + 0.1
    images = torch.rand(count, 1, 6, 6, generator=generator) * 0.2 + 0.4
    model = Linear(weight, 0.0)
    with torch.no_grad():
        model.bias -= model(images)[:, 1].median()
        scores = model(images)[:, 1]
    return model, images, (scores > 0).long(), scores


def small_net(channels: int = 3, classes: int = 5) -> nn.Module:
    """An untrained convolutional net with batch normalisation and dropout, from a fixed seed."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(channels, 8, 3, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Flatten(),
            nn.Linear(8 * 36, classes),
        )
        for parameter in network.parameters():
            if parameter.dim() > 1:
                parameter.data *= 3
        network[1].running_mean.normal_()
    return network


def random_images(count: int = 12, channels: int = 3) -> Tensor:
    return torch.rand(count, channels, 8, 8, generator=torch.Generator().manual_seed(2))


def predicted(model: nn.Module, images: Tensor) -> Tensor:
    """Labels that the model agrees with, in evaluation mode and without touching it."""
    modes = [module.training for module in model.modules()]
    with torch.no_grad():
        labels = model.eval()(images).argmax(dim=1)
    for module, mode in zip(model.modules(), modes, strict=True):
        module.training = mode
    return labels
