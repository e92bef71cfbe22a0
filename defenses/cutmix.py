"""CutMix: a piece of another image in every image."""

import math
from functools import partial

from torchvision.transforms import v2

from defenses.defense import Defense
from defenses.from_torchvision import mixing


def cutmix(alpha: float = 1.0) -> Defense:
    """Train on images with a rectangle of another one, labelled by the areas of the two.

    Source: Yun et al., "CutMix: Regularization strategy to train strong classifiers with
    localizable features", ICCV 2019; by torchvision's ``CutMix``: the piece is from the image
    before it in the batch, in the same place for all.

    Args:
        alpha: the share of the area that stays is drawn from Beta(alpha, alpha).

    Raises:
        ValueError: an alpha that is not above 0.
    """
    if type(alpha) not in (int, float) or not 0 < alpha < math.inf:
        raise ValueError(f"cutmix: alpha={alpha!r} must be a number above 0")
    return mixing(partial(v2.CutMix, alpha=float(alpha)))
