"""MixUp: images blended two by two."""

import math
from functools import partial

from torchvision.transforms import v2

from defenses.defense import Defense
from defenses.from_torchvision import mixing


def mixup(alpha: float = 1.0) -> Defense:
    """Train on weighted means of two images each, labelled with as much of either class.

    Source: Zhang et al., "mixup: Beyond empirical risk minimization", ICLR 2018; by torchvision's
    ``MixUp``: each image is blended with the one before it in the batch, by one weight for all.

    Args:
        alpha: the weight is drawn from Beta(alpha, alpha); smaller mixes less. 1 was published for
            CIFAR-10, 0.2 to 0.4 for ImageNet.

    Raises:
        ValueError: an alpha that is not above 0.
    """
    if type(alpha) not in (int, float) or not 0 < alpha < math.inf:
        raise ValueError(f"mixup: alpha={alpha!r} must be a number above 0")
    return mixing(partial(v2.MixUp, alpha=float(alpha)))
