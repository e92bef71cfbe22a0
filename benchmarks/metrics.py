"""What is measured, as pure functions: how far images moved, and errors on corrupted images.

Images are (N, C, H, W) in [0, 1]; a *pixel* is one of the H x W places, whatever its channels.
Differences are taken in float64, where the difference of two float32 values is exact.

The error on a corruption is the top-1 error averaged over its severities, *before* it is divided by
that of a baseline model. Errors are fractions, and so are their ratios: the literature's mCE of
76.7 is 0.767. Any axes may come before the last one, which is that of the corruptions.
Source: Hendrycks & Dietterich, "Benchmarking neural network robustness to common corruptions and
perturbations", ICLR 2019, section 4.2.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

ROUNDING = 2.0**-24
"""The spacing of float32 values just below 1: what adding a change to a pixel may round away."""


def average_pixel_change(original: Tensor, changed: Tensor) -> Tensor:
    """|x' - x| summed over channels, averaged over pixels: float64 (N,), in units of the range.

    >>> black = torch.zeros(1, 3, 2, 2)
    >>> average_pixel_change(black, black + 0.25).item()
    0.75
    """
    return _per_pixel(original, changed).mean(dim=(1, 2))


def pixels_over_threshold(original: Tensor, changed: Tensor, thresholds: Sequence[float]) -> Tensor:
    """How many pixels changed by more than each threshold: int64 (N, T).

    A pixel's change is summed over its channels and divided by the value range of *one* channel,
    which is 1. Threshold 0 counts any change at all. A change that equals a threshold above 0 up
    to the rounding of float32 images (2⁻²⁴ per channel) is not over it: without that, half the
    pixels moved by exactly 0.1 would count as over 10 %.

    >>> black = torch.zeros(1, 3, 2, 2)
    >>> pixels_over_threshold(black, black + 0.25, [0.0, 0.5, 0.75]).tolist()
    [[4, 4, 0]]
    """
    change = _per_pixel(original, changed).flatten(1)
    slack = ROUNDING * original.shape[1]
    counts = [
        (change > (threshold + slack if threshold > 0 else 0.0)).sum(dim=1)
        for threshold in thresholds
    ]
    return torch.stack(counts, dim=1) if counts else change.new_zeros(len(change), 0).long()


def l0(original: Tensor, changed: Tensor) -> Tensor:
    """How many pixels changed at all, in any channel: int64 (N,)."""
    return (_per_pixel(original, changed).flatten(1) > 0).sum(dim=1)


def l2(original: Tensor, changed: Tensor) -> Tensor:
    """Euclidean length of the change over all values: float64 (N,)."""
    length: Tensor = torch.linalg.vector_norm(_change(original, changed), dim=(1, 2, 3))
    return length


def linf(original: Tensor, changed: Tensor) -> Tensor:
    """Largest change of any value: float64 (N,)."""
    return _change(original, changed).abs().flatten(1).amax(dim=1)


def rounded8(images: Tensor) -> Tensor:
    """The images as an 8-bit file would hold them: to the nearest of 0/255 ... 255/255.

    Halves go to the even number, as `torch.round` has it. Values outside [0, 1] are clamped.
    """
    return images.clamp(0, 1).mul(255).round().div(255)


def corruption_errors(errors: ArrayLike, baseline: ArrayLike) -> NDArray[np.float64]:
    """CE: each corruption's error in units of the baseline's, float64 (..., K).

    Args:
        errors: (..., K), each the mean over severities.
        baseline: the same of the baseline model.

    >>> corruption_errors([0.2, 0.6], [0.8, 0.8]).round(2).tolist()
    [0.25, 0.75]
    """
    return np.asarray(errors, np.float64) / np.asarray(baseline, np.float64)


def relative_corruption_errors(
    errors: ArrayLike, clean: ArrayLike, baseline: ArrayLike, baseline_clean: ArrayLike
) -> NDArray[np.float64]:
    """Relative CE: how much a corruption adds to the clean error, in units of the baseline's.

    NaN where a corruption adds nothing to the baseline's error, or takes something from it.

    Args:
        errors: (..., K), each the mean over severities.
        clean: (...), the error on the untouched images.
        baseline, baseline_clean: the same of the baseline model.

    >>> relative_corruption_errors([0.3], 0.2, [0.8], 0.4).round(2).tolist()
    [0.25]
    """
    added = np.asarray(errors, np.float64) - np.asarray(clean, np.float64)[..., None]
    usual = np.asarray(baseline, np.float64) - np.asarray(baseline_clean, np.float64)[..., None]
    return added / np.where(usual > 0, usual, np.nan)


def mce(errors: ArrayLike, baseline: ArrayLike) -> NDArray[np.float64]:
    """mCE: the mean of the corruption errors, float64 (...); see `corruption_errors`."""
    return np.asarray(corruption_errors(errors, baseline).mean(axis=-1))


def relative_mce(
    errors: ArrayLike, clean: ArrayLike, baseline: ArrayLike, baseline_clean: ArrayLike
) -> NDArray[np.float64]:
    """Relative mCE: the mean of `relative_corruption_errors`, float64 (...)."""
    relative = relative_corruption_errors(errors, clean, baseline, baseline_clean)
    return np.asarray(relative.mean(axis=-1))


def _per_pixel(original: Tensor, changed: Tensor) -> Tensor:
    """|x' - x| summed over channels: float64 (N, H, W)."""
    return _change(original, changed).abs().sum(dim=1)


def _change(original: Tensor, changed: Tensor) -> Tensor:
    if original.shape != changed.shape or original.dim() != 4:
        raise ValueError(
            f"two batches of the same shape (N, C, H, W) are compared, "
            f"not {tuple(original.shape)} and {tuple(changed.shape)}"
        )
    return changed.double() - original.double()
