"""Refuse what an attack cannot work on, before any pass is spent."""

import torch
from torch import Tensor


def check_inputs(
    images: Tensor, labels: Tensor, targets: Tensor | None, seeds: Tensor | None
) -> None:
    """Refuse what an attack cannot work on.

    Raises:
        ValueError: naming what is wrong.
    """
    if images.dim() != 4 or images.dtype != torch.float32:
        raise ValueError(
            f"images must be float32 (N, C, H, W), not {images.dtype} {tuple(images.shape)}"
        )
    if len(images):
        low, high = float(images.min()), float(images.max())
        if not (low >= -1e-5 and high <= 1 + 1e-5):  # also false for NaN
            raise ValueError(
                f"images must be in [0, 1], not [{low:g}, {high:g}]; "
                "normalisation belongs inside the model"
            )
    for name, values in (("labels", labels), ("targets", targets), ("seeds", seeds)):
        if values is not None and (values.shape != (len(images),) or values.dtype != torch.int64):
            raise ValueError(
                f"{name} must be int64 ({len(images)},), not {values.dtype} {tuple(values.shape)}"
            )


def check_counts(**counts: int) -> None:
    """Refuse settings that are not whole numbers of at least one."""
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name}={value!r} must be a whole number of at least 1")
