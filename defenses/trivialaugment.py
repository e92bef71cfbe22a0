"""TrivialAugment: one operation of any strength."""

from torchvision.transforms import v2

from defenses.defense import Defense
from defenses.from_torchvision import OVERLAPPING, image_by_image


def trivialaugment() -> Defense:
    """Change each image by one operation of 14, its strength drawn anew from a wide range.

    The operations are those of ``randaugment``, and so is what a model is marked with.

    Source: Müller & Hutter, "TrivialAugment: Tuning-free yet state-of-the-art data augmentation",
    ICCV 2021; by torchvision's ``TrivialAugmentWide``. It has no settings.
    """
    return Defense(image_by_image(v2.TrivialAugmentWide()), corruptions=OVERLAPPING)
