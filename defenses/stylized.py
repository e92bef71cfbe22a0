"""Images that keep their shapes and take the style of paintings."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from attacks.draws import Stream, integers, uniform
from defenses.adain import Style, Stylizer
from defenses.defense import Defense
from defenses.evaluation import Images
from defenses.materials import Material
from defenses.shares import check_share, chosen


@dataclass(frozen=True)
class Paintings(Material):
    """Pictures that lend their style.

    Attributes:
        images: (P, 3, h, w), see `Images`.
    """

    images: Images


def stylized(
    stylizer: Stylizer | None = None,
    paintings: Paintings | None = None,
    alpha: float | Sequence[float] = 1.0,
    share: float = 0.5,
) -> Defense:
    """Give some of the images the style of paintings, one drawn anew for each in each epoch.

    Texture is then no help in telling classes, and shape has to be. No test corruption resembles
    it. The styles of all paintings are taken once, for the first batch.

    Source: Geirhos et al., "ImageNet-trained CNNs are biased towards texture; increasing shape bias
    improves accuracy and robustness", ICLR 2019, by the method of Huang & Belongie, ICCV 2017.

    Args:
        stylizer: a file that `workbench stylizer` wrote.
        paintings: a folder of pictures, its folders included.
        alpha: how much of the style, from 0 for none to 1; in [0.5, 1] each image draws its own.
        share: chance of an image to be stylised; the others stay as they are.

    Raises:
        ValueError: no stylizer, no paintings, or a setting out of range.
    """
    if stylizer is None or paintings is None:
        raise ValueError(
            "stylized: needs stylizer='FILE' and paintings='FOLDER', a folder of any pictures; "
            "neither comes with workbench.\n"
            "This makes the file: workbench stylizer FOLDER --data DATA --encoder VGG"
        )
    bounds: list[Any] = list(alpha) if isinstance(alpha, list | tuple) else [alpha, alpha]
    numbers = all(type(bound) in (int, float) for bound in bounds)
    if not numbers or len(bounds) != 2 or not 0 <= bounds[0] <= bounds[1] <= 1:
        raise ValueError(
            f"stylized: alpha={alpha} must be in [0, 1], or two such numbers, the lesser first"
        )
    check_share("stylized", share)
    low, high = bounds

    @cache
    def styles(device: torch.device) -> Style:
        return stylizer.styles(paintings.images, device)

    def transform(images: Tensor, labels: Tensor, seeds: Tensor) -> tuple[Tensor, Tensor]:
        rows = chosen(seeds, share).nonzero()[:, 0]
        if not len(rows):
            return images, labels
        own = seeds[rows]
        drawn = integers(own, len(paintings.images), stream=Stream.DEFENSE, step=1)
        amounts = low + (high - low) * uniform(own, (), stream=Stream.DEFENSE, step=2)
        lent = Style(*(each[drawn] for each in styles(images.device)))
        changed = images.clone()
        changed[rows] = stylizer.restyled(images[rows], lent, amounts)
        return changed, labels

    return Defense(transform)
