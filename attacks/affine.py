"""Images read through affine maps: turned, mirrored, leant, enlarged and shifted."""

import torch
from torch import Tensor
from torch.nn import functional as F


def affine(angle: Tensor, mirrored: Tensor, lean: Tensor, factor: Tensor) -> Tensor:
    """Where each image's pixels come from: the inverse of its map, (N, 2, 2).

    The map, in pixels from the centre, x to the right and y down, mirrors, then leans (x moves by
    -tan(lean) y, so the top goes right), then enlarges by ``factor``, then turns by ``angle``
    (radians, the right side up). All arguments are (N,).
    """
    cos, sin, tan = torch.cos(angle), torch.sin(angle), torch.tan(lean)
    side = torch.where(mirrored, -1.0, 1.0)
    # Turned back: (cos, -sin), (sin, cos). Leant back: x + tan y. Mirrored back: -x.
    rows = [side * (cos + tan * sin), side * (tan * cos - sin), sin, cos]
    return torch.stack(rows, 1).div(factor[:, None]).view(-1, 2, 2)


def resampled(images: Tensor, linear: Tensor, shift: Tensor) -> Tensor:
    """Read images (N, C, H, W) bilinearly through affine maps about their centres.

    Args:
        linear: (N, 2, 2), takes (x, y) of the result, in pixels from the centre, to (x, y) of the
            image.
        shift: (N, 2), by how much the result is moved right and down, as shares of its sides.
    """
    height, width = images.shape[2:]
    # Of the -1 to 1 that grid_sample counts each side in, a shift by the whole side is 2.
    x = (2 * torch.arange(width, device=images.device) + 1) / width - 1 - 2 * shift[:, :1]
    y = (2 * torch.arange(height, device=images.device) + 1) / height - 1 - 2 * shift[:, 1:]
    columns, rows = x[:, None, :], y[:, :, None]
    xx, xy, yx, yy = linear.flatten(1)[:, :, None, None].unbind(1)
    place = (
        xx * columns + xy * (height / width) * rows,
        yx * (width / height) * columns + yy * rows,
    )
    return F.grid_sample(images, torch.stack(place, 3), align_corners=False)
