"""Gaussian noise on the training images."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from attacks.draws import Stream, integers, normal
from defenses.defense import Defense


def noisy(std: float | Sequence[float] = 0.1) -> Defense:
    """Add Gaussian noise to every value, new in each epoch, and clip to [0, 1].

    The noise is that of the test corruption ``gaussian_noise`` but for its strength, so a model
    trained with it is marked as having seen that corruption.

    Source: Sietsma & Dow, "Creating artificial neural networks that generalize", Neural Networks
    1991; strengths in a list as in Rusak et al., "A simple way to make neural networks robust
    against diverse image corruptions", ECCV 2020.

    Args:
        std: standard deviation, where black is 0 and white is 1; of several, in a list, each image
            draws one, and 0 among them leaves some images clean.

    Raises:
        ValueError: a standard deviation that is negative or no number, or none above 0.
    """
    listed: list[Any] = list(std) if isinstance(std, list | tuple) else [std]
    good = all(type(each) in (int, float) and 0 <= each < math.inf for each in listed)
    if not good or not any(listed):
        raise ValueError(f"noisy: std={std} must be a number above 0, or a list of such numbers")
    deviations = torch.tensor(listed, dtype=torch.float32)

    def transform(images: Tensor, labels: Tensor, seeds: Tensor) -> tuple[Tensor, Tensor]:
        noise = normal(seeds, images.shape[1:], stream=Stream.DEFENSE, step=0)
        drawn = integers(seeds, len(deviations), stream=Stream.DEFENSE, step=1)
        noise *= deviations.to(seeds.device)[drawn][:, None, None, None]
        return noise.add_(images).clamp_(0, 1), labels

    return Defense(transform, corruptions=("gaussian_noise",))
