"""How attacks run on this hardware: precision and batch size, apart from what they compute."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.spec import unknown

PRECISIONS = ("auto", "float32", "bfloat16")


@dataclass(frozen=True)
class Execution:
    """Settings of the engine.

    Attributes:
        precision: of the gradients: ``auto``, ``float32`` or ``bfloat16``. Every success is
            confirmed in float32 in any case.
        batch_size: images per forward pass, or None to choose by image size and device.

    Raises:
        ValueError: for an unknown precision or a batch size below 1.
    """

    precision: str = "auto"
    batch_size: int | None = None

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ValueError(unknown("precision", self.precision, PRECISIONS))
        if self.batch_size is not None and self.batch_size < 1:
            raise ValueError(f"batch_size={self.batch_size} must be at least 1")

    def dtype(self, device: torch.device) -> torch.dtype:
        """The dtype in which gradients are computed on a device."""
        if self.precision == "auto":
            return torch.bfloat16 if faster_in_bfloat16(device) else torch.float32
        return torch.bfloat16 if self.precision == "bfloat16" else torch.float32

    def batch(self, images: Tensor) -> int:
        """Images of this shape per forward pass: by size alone, so that runs can be repeated."""
        if self.batch_size is not None:
            return self.batch_size
        # ResNet-20 on two CPU cores: time per 3x32x32 image is flat from batches of 32 on.
        values = 2**19 if images.device.type == "cpu" else 2**23
        return max(8, min(1024, values // math.prod(images.shape[1:]) // 8 * 8))


_DEFAULT = Execution()
_current: ContextVar[Execution] = ContextVar("execution", default=_DEFAULT)


def execution() -> Execution:
    """The settings in force."""
    return _current.get()


@contextmanager
def engine(*, precision: str = "auto", batch_size: int | None = None) -> Iterator[None]:
    """Run the attacks inside the ``with`` block at this precision and batch size.

    Raises:
        ValueError: for an unknown precision or a batch size below 1.
    """
    token = _current.set(Execution(precision, batch_size))
    try:
        yield
    finally:
        _current.reset(token)


def faster_in_bfloat16(device: torch.device) -> bool:
    """Whether the hardware multiplies bfloat16 matrices faster: Ampere and later, or AMX tiles."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        # The public torch.cpu.get_capabilities is newer than the oldest torch we support.
        supported = getattr(torch.cpu, "_is_amx_tile_supported", None)
        return bool(supported and supported())
    return False
