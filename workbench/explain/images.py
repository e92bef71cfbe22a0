"""The images that views show: which ones, how they are corrupted, and what models say of them."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.evaluation import float32_logits
from workbench.corruptions import check_images, make_recipes
from workbench.datasets.dataset import balanced_rows
from workbench.errors import UsageError
from workbench.explain.viewed import Viewed, ViewedModel

CLEAN = "clean"


@dataclass(frozen=True)
class Shown:
    """Images of the data set.

    Attributes:
        rows: int64 (N,), their places in the whole data set.
        ids: int64 (N,), which seed corruptions.
        images: float32 (N, C, H, W) in [0, 1], on the device.
        labels: int64 (N,).
    """

    rows: NDArray[np.int64]
    ids: NDArray[np.int64]
    images: Tensor
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Condition:
    """Images as they are (``corruption`` is None), or under a corruption at a severity."""

    corruption: str | None = None
    severity: int = 0

    @property
    def named(self) -> str:
        """The corruption in words."""
        return CLEAN if self.corruption is None else self.corruption.replace("_", " ")

    @property
    def text(self) -> str:
        """Both in one: ``fog 3``."""
        return self.named if self.corruption is None else f"{self.named} {self.severity}"


@dataclass(frozen=True)
class Answers:
    """What a model says of images: int64 (N,), its first class, and the probability it gives it."""

    guesses: Tensor
    confidences: Tensor


def shown_images(viewed: Viewed) -> Shown:
    """``show`` images, balanced over the classes, or of the class that is asked for.

    Raises:
        UsageError: the data hold no image of that class.
    """
    data, wanted, count = viewed.dataset, viewed.asked.of_class, viewed.asked.show
    rows = np.arange(len(data)) if wanted is None else np.flatnonzero(data.labels == wanted)
    if wanted is not None and not len(rows):
        raise UsageError(
            f"{data.name} holds no image of {viewed.class_names[wanted]} here; choose another "
            "--class, or more images with --limit."
        )
    if count < len(rows):
        rows = rows[balanced_rows(data.labels[rows], count, viewed.seed)]
    whole = rows if data.origin is None else data.origin[rows]
    images = data.images(rows).to(viewed.device)
    return Shown(whole, data.ids(rows), images, data.labels[rows])


def conditions(viewed: Viewed) -> list[list[Condition]]:
    """What images are shown under: the clean image and the severities, for each corruption."""
    asked = viewed.asked
    if not asked.corruptions:
        return [[Condition()]]
    return [
        [Condition(), *(Condition(name, severity) for severity in asked.severities)]
        for name in asked.corruptions
    ]


def under(viewed: Viewed, shown: Shown, condition: Condition) -> Tensor:
    """The images under a condition, drawn as `workbench corrupt` and `benchmark` draw them.

    Raises:
        UsageError: the images cannot be corrupted.
    """
    if condition.corruption is None:
        return shown.images
    (recipe,) = make_recipes(
        [condition.corruption], [condition.severity], seed=viewed.seed, device=viewed.device
    )
    check_images([recipe], viewed.dataset)
    return recipe.pixels(shown.images, shown.ids).to(torch.float32).div_(255)


def answers(viewed: Viewed, model: ViewedModel, images: Tensor) -> Answers:
    """What a model says of images (N, C, H, W)."""
    chances = float32_logits(model.classifier, images, viewed.batch_size).softmax(dim=1)
    confidences, guesses = chances.max(dim=1)
    return Answers(guesses, confidences)


def short_name(viewed: Viewed, index: int) -> str:
    """A class as captions call it: ImageNet's names are lists of words, of which the first."""
    return viewed.class_names[index].split(",", 1)[0]
