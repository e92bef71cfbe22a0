"""RandAugment: a few operations in a row, all of one strength."""

from torchvision.transforms import v2

from defenses.defense import Defense
from defenses.from_torchvision import OVERLAPPING, image_by_image


def randaugment(num_ops: int = 2, magnitude: int = 9) -> Defense:
    """Change each image by operations drawn from 14: turns, shears, shifts, colours and contrasts.

    Three of the operations change what test corruptions do, and one may blur, so a model trained
    with it is marked as having seen those corruptions.

    Source: Cubuk et al., "RandAugment: Practical automated data augmentation with a reduced search
    space", NeurIPS 2020; by torchvision's ``RandAugment``.

    Args:
        num_ops: operations in a row.
        magnitude: their strength, 0 to 30.

    Raises:
        ValueError: a number out of range.
    """
    if type(num_ops) is not int or num_ops < 1:
        raise ValueError(f"randaugment: num_ops={num_ops!r} must be a whole number of at least 1")
    if type(magnitude) is not int or not 0 <= magnitude <= 30:
        raise ValueError(f"randaugment: magnitude={magnitude!r} must be a whole number, 0 to 30")
    return Defense(image_by_image(v2.RandAugment(num_ops, magnitude)), corruptions=OVERLAPPING)
