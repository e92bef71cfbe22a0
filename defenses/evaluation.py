"""Looking at images batch by batch: what a model makes of them, and how bright they are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from defenses import processes

_AT_ONCE = 512


class Images(Protocol):
    """Images that can be asked for by row: a tensor, or something that reads them when asked."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, rows: Tensor, /) -> Tensor:
        """Uint8 (n, C, H, W), or float32 in [0, 1], for int64 rows (n,)."""
        ...


@runtime_checkable
class ReadAhead(Images, Protocol):
    """Images that are told beforehand which rows come when, and can read them meanwhile."""

    def batches(self, order: Sequence[Tensor], /) -> Iterator[Tensor]:
        """What asking for the rows of each batch in turn would give."""
        ...


@dataclass(frozen=True)
class Batch:
    """Where a pass stands, for a progress display: counts so far in this epoch.

    ``loss`` and ``error`` are means over the ``images`` seen so far.
    """

    epoch: int
    images: int
    loss: float
    error: float


def evaluate(
    model: nn.Module, images: Images, labels: Tensor, *, device: torch.device | str = "cpu"
) -> tuple[float, float]:
    """Mean cross-entropy (nats) and share misclassified; the model is used in the mode it is in.

    In a process group of `torch.distributed` all processes call it, each looks at a share of the
    images, and all get the figures of the whole.
    """
    device = torch.device(device)
    totals = Totals(0, device)
    order = processes.share(torch.arange(len(labels))).split(_AT_ONCE)
    with torch.no_grad():
        for _, x, y in batches(images, labels, order, device):
            logits = model(x)
            totals.add(F.cross_entropy(logits, y), logits, y)
    seen = totals.read()
    return seen.loss, seen.error


def channel_statistics(images: Images) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel, in units of [0, 1], over all images and pixels.

    A channel that never varies gets a deviation of 1, so that dividing by it is harmless.
    """
    count, total, squares = 0, torch.zeros(1).double(), torch.zeros(1).double()
    for pixels in _read(images, torch.arange(len(images)).split(_AT_ONCE)):
        x = unit(pixels).double()
        count += x.numel() // x.shape[1]
        total = total + x.sum((0, 2, 3)).cpu()
        squares = squares + (x * x).sum((0, 2, 3)).cpu()
    if count == 0:
        raise ValueError("no images to take the mean and the deviation of")
    mean = total / count
    deviation = (squares / count - mean * mean).clamp_min(0).sqrt()
    deviation[deviation < 1e-6] = 1.0
    return tuple(mean.tolist()), tuple(deviation.tolist())


class Totals:
    """Sums over a pass of all processes, kept on the device so that reading is the only wait."""

    def __init__(self, epoch: int, device: torch.device) -> None:
        self.epoch = epoch
        self.images = 0
        self._loss = torch.zeros((), device=device, dtype=torch.float64)
        self._wrong = torch.zeros((), device=device, dtype=torch.int64)

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Count one batch in; ``loss`` is its mean."""
        self.images += len(labels)
        self._loss += loss.double() * len(labels)
        self._wrong += (logits.argmax(1) != labels).sum()

    def read(self) -> Batch:
        """The means so far; all processes read at the same time."""
        wrong = self._wrong.double()  # exact up to 2⁵³
        own = torch.stack([self._loss, wrong, torch.full_like(wrong, self.images)])
        loss, wrong_in_all, images = processes.summed(own).tolist()
        seen = max(images, 1)
        return Batch(self.epoch, int(images), loss / seen, wrong_in_all / seen)


def batches(
    images: Images, labels: Tensor, order: Sequence[Tensor], device: torch.device
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Rows as they are given; their images in [0, 1] and labels, batch by batch, on the device."""
    for rows, pixels in zip(order, _read(images, order), strict=True):
        y = labels[rows.to(labels.device)].to(device, non_blocking=True)
        yield rows, unit(pixels.to(device, non_blocking=True)), y


def _read(images: Images, order: Sequence[Tensor]) -> Iterator[Tensor]:
    if isinstance(images, ReadAhead):
        yield from images.batches(order)
        return
    for rows in order:
        yield images[rows.to(images.device) if isinstance(images, Tensor) else rows]


def unit(images: Tensor) -> Tensor:
    """Images as float32 in [0, 1]."""
    return images.float() / 255 if images.dtype == torch.uint8 else images.float()
