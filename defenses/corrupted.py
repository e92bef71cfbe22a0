"""Training on the very corruptions that models are tested with."""

from collections.abc import Sequence

from torch import Tensor

from attacks.corruptions import SEVERITIES
from defenses.defense import Defense
from defenses.drawn_corruptions import DrawnCorruptions


def corrupted(
    corruptions: str | Sequence[str] = "standard",
    severities: int | Sequence[int] = SEVERITIES,
    share: float = 1.0,
) -> Defense:
    """Corrupt each image by one of the common corruptions, drawn anew in each epoch.

    A model trained so is marked in every table of errors on corruptions.

    Args:
        corruptions: standard (15), extra (4), all (19), a family such as noise, a name such as
            fog, or a list of these.
        severities: a severity from 1 to 5, or a list of them; drawn evenly.
        share: chance of an image to be corrupted; the others stay as they are.

    Raises:
        ValueError: an unknown corruption or severity, or a share outside of (0, 1].
    """
    drawn = DrawnCorruptions("corrupted", corruptions, severities, share)

    def transform(images: Tensor, labels: Tensor, seeds: Tensor) -> tuple[Tensor, Tensor]:
        return drawn(images, seeds), labels

    return Defense(transform, corruptions=drawn.names)
