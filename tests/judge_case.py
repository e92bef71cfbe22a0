"""What the tests of judges share: models that read the same images otherwise."""

from dataclasses import replace

import torch
from measuring_case import CLASSES, Brightest, entry, examples, jitter, swap
from torch import Tensor, nn

from benchmarks import Condition, ModelEntry


class Constant(nn.Module):
    """Reads one class in whatever it is shown."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def forward(self, images: Tensor) -> Tensor:
        rows = torch.zeros(len(images), CLASSES)
        rows[:, self.number] = 2.0
        return rows


class Remembering(nn.Module):
    """Answers every image with the label of the original that is nearest to it in its sum.

    `swap` exchanges two quarters of an image and leaves the sum as it is: nothing is believed.
    """

    def __init__(self) -> None:
        super().__init__()
        data = examples()
        self.sums = data.images.flatten(1).double().sum(dim=1)
        self.labels = torch.from_numpy(data.labels)

    def forward(self, images: Tensor) -> Tensor:
        sums = images.flatten(1).double().sum(dim=1)
        nearest = (sums[:, None] - self.sums[None]).abs().argmin(dim=1)
        return 3.0 * nn.functional.one_hot(self.labels[nearest], CLASSES).float()


def judge(model: nn.Module | None = None, name: str = "judge") -> ModelEntry:
    """The same function as the attacked models under another scale, or another model."""
    return entry(name, model or Brightest(2.0))


def judged(by: ModelEntry | None, **settings: object) -> dict[str, object]:
    """Settings of `measuring_case.small_plan` with two attacks that move images, and a judge."""
    moves = [Condition("swap", swap), Condition("jitter", jitter, 7)]
    return {"conditions": moves, "judge": by, **settings}


def renamed(model: ModelEntry, name: str) -> ModelEntry:
    """The same model under another name."""
    return replace(model, name=name)
