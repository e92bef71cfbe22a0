"""The float32 forward that every claim rests on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn

from attacks.active_set import out_of_memory
from attacks.execution import Execution
from attacks.gradients import Forward, exact_path, frozen, full_float32

T = TypeVar("T")


def float32_logits(
    model: nn.Module,
    images: Tensor,
    batch_size: int | None = None,
    halved: Callable[[int], None] | None = None,
) -> Tensor:
    """The model's logits in evaluation mode and full float32: float32 (N, K).

    Autocast and TF32 are off, and the model is left as it was. If memory runs out, the batch is
    halved until it fits.

    Args:
        model: maps images to logits; on the device of ``images``.
        images: float32 (N, C, H, W) in [0, 1], N at least 1.
        batch_size: images per forward; None to choose by image size.
        halved: told the new batch size when memory ran out.

    Raises:
        ValueError: if the model does not return logits (N, K).
        RuntimeError: if not even one image fits into memory, or the model's own.
    """
    with float32_forward(model, images.device) as forward:
        return torch.cat(in_batches(forward, (images,), batch_size, halved))


def in_batches(
    function: Callable[..., T],
    tensors: tuple[Tensor, ...],
    batch_size: int | None,
    halved: Callable[[int], None] | None = None,
) -> list[T]:
    """The function of every batch of tensors, which are cut alike; see `float32_logits`.

    Args:
        function: takes a part of each tensor; it is called again for smaller parts, from the first
            image on, if memory runs out.
        tensors: (N, ...) each, the images first.
        batch_size, halved: as of `float32_logits`.
    """
    size = Execution(batch_size=batch_size).batch(tensors[0])
    while True:
        try:
            parts = zip(*(each.split(size) for each in tensors), strict=True)
            return [function(*part) for part in parts]
        except RuntimeError as error:
            if size == 1 or not out_of_memory(error):
                raise
            size = -(-size // 2)
            torch.cuda.empty_cache()
            if halved is not None:
                halved(size)


def refuse_outside(labels: Tensor, classes: int) -> None:
    """Raise `ValueError` if a label (N,) is not one of the model's classes."""
    outside = (labels < 0) | (labels >= classes)
    if outside.any():
        raise ValueError(
            f"label {int(labels[outside][0])} is not one of the model's {classes} classes "
            f"(0 to {classes - 1})"
        )


@contextmanager
def float32_forward(model: nn.Module, device: torch.device) -> Iterator[Forward]:
    """The model's forward without gradients, in evaluation mode and full float32."""
    with frozen(model), torch.no_grad(), full_float32(device):
        yield exact_path(model)
