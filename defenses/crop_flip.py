"""Random crops and mirror images: the standard augmentation of small photographs."""

import torch
from torch import Tensor
from torch.nn import functional as F

from attacks.draws import Stream, integers
from defenses.defense import Defense


def crop_flip(padding: int = 4, flip: bool = True) -> Defense:
    """Pad with black, cut a piece of the old size at random, and mirror every other image.

    Source: He et al., "Deep residual learning for image recognition", CVPR 2016, section 4.2.

    Args:
        padding: pixels on each side.
        flip: whether images are mirrored left to right, with a chance of one half.

    Raises:
        ValueError: a negative padding.
    """
    if padding < 0:
        raise ValueError(f"crop-flip: padding={padding} must be at least 0")

    def transform(images: Tensor, labels: Tensor, seeds: Tensor) -> tuple[Tensor, Tensor]:
        height, width = images.shape[2:]
        top, left = (
            integers(seeds, 2 * padding + 1, stream=Stream.DEFENSE, step=step) for step in (0, 1)
        )
        rows = top[:, None] + torch.arange(height, device=images.device)
        columns = left[:, None] + torch.arange(width, device=images.device)
        if flip:
            mirrored = integers(seeds, 2, stream=Stream.DEFENSE, step=2) == 1
            columns = torch.where(mirrored[:, None], columns.flip(1), columns)
        padded = F.pad(images, (padding,) * 4)
        cut = padded.gather(2, rows[:, None, :, None].expand(*images.shape[:3], padded.shape[3]))
        return cut.gather(3, columns[:, None, None, :].expand(images.shape)), labels

    return Defense(transform)
