"""Looking at images batch by batch: what a model makes of them, and how bright they are."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_AT_ONCE = 512


class Images(Protocol):
    """Images that can be asked for by row: a tensor, or something that reads them when asked."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, rows: Tensor, /) -> Tensor:
        """Uint8 (n, C, H, W), or float32 in [0, 1], for int64 rows (n,)."""
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
    """Mean cross-entropy (nats) and share misclassified; the model is used in the mode it is in."""
    device = torch.device(device)
    totals = Totals(0, device)
    with torch.no_grad():
        for rows in torch.arange(len(labels)).split(_AT_ONCE):
            x, y = fetch(images, labels, rows, device)
            logits = model(x)
            totals.add(F.cross_entropy(logits, y), logits, y)
    seen = totals.read()
    return seen.loss, seen.error


def channel_statistics(images: Images) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel, in units of [0, 1], over all images and pixels.

    A channel that never varies gets a deviation of 1, so that dividing by it is harmless.
    """
    count, total, squares = 0, torch.zeros(1).double(), torch.zeros(1).double()
    for rows in torch.arange(len(images)).split(_AT_ONCE):
        x = unit(images[rows]).double()
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
    """Sums over a pass, kept on the device so that reading them is the only wait."""

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
        """The means so far."""
        seen = max(self.images, 1)
        return Batch(self.epoch, self.images, float(self._loss) / seen, int(self._wrong) / seen)


def fetch(
    images: Images, labels: Tensor, rows: Tensor, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Images in [0, 1] and labels of some rows, on the device."""
    if isinstance(images, Tensor):
        rows = rows.to(images.device)
    return unit(images[rows].to(device)), labels[rows.to(labels.device)].to(device)


def unit(images: Tensor) -> Tensor:
    """Images as float32 in [0, 1]."""
    return images.float() / 255 if images.dtype == torch.uint8 else images.float()
