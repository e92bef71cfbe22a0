"""Training images in memory, or read from files by worker processes before they are needed."""

import math
import os
import signal
import sys
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from defenses import Images
from workbench.datasets import Dataset
from workbench.interrupts import interrupts_held
from workbench.processes import on_this_machine

_READ_AT_ONCE = 4096
_IN_MEMORY = 4 * 2**30  # bytes of pixels up to which the data are read once, not at each epoch
_MOST_WORKERS = 4  # each decodes in threads of its own


class OnDemand(TorchDataset[Tensor | Exception]):
    """Images that are read from the data set whenever a batch asks for them, as they are stored.

    Args:
        data: the images.
        workers: processes that read the batches of an announced order before they are asked for;
            0 reads in this process. The images are the same.
        pinned: put them where a GPU fetches them from fastest.
    """

    def __init__(self, data: Dataset, workers: int = 0, *, pinned: bool = False) -> None:
        self._data = data
        self._workers = workers
        self._pinned = pinned

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, rows: Tensor, /) -> Tensor:
        pixels = torch.from_numpy(self._data.pixels.read(rows.cpu().numpy()))
        return pixels.permute(0, 3, 1, 2).contiguous()

    def batches(self, order: Sequence[Tensor], /) -> Iterator[Tensor]:
        """The images of each of these rows in turn, read ahead.

        Raises:
            ValueError, OSError: what went wrong in a worker.
        """
        if not self._workers:
            yield from (self[rows] for rows in order)
            return
        loader: DataLoader[Tensor | Exception] = DataLoader(
            _Told(self),
            batch_size=None,
            sampler=order,
            num_workers=self._workers,
            worker_init_fn=_leave_interrupts_to_the_parent,
            pin_memory=self._pinned,
            # A seed is drawn for the workers, which is not to be from the model's own generator.
            generator=torch.Generator(),
            # Workers inherit the list of files; elsewhere than on Linux a fork is not safe.
            multiprocessing_context="fork" if sys.platform == "linux" else None,
        )
        with interrupts_held():
            reading = iter(loader)
        try:
            for found in reading:
                if isinstance(found, Exception):
                    raise found
                yield found
        finally:
            del reading  # the workers end with it, and not when the error is forgotten


class _Told(TorchDataset[Tensor | Exception]):
    """Images, or the error in their place: raised in a worker it would come with a traceback."""

    def __init__(self, images: OnDemand) -> None:
        self._images = images

    def __getitem__(self, rows: Tensor, /) -> Tensor | Exception:
        try:
            return self._images[rows]
        except (ValueError, OSError) as error:
            return error


def readable(data: Dataset, device: torch.device, workers: int | None = None) -> Images:
    """The images on the device, as the bytes they are; read on demand if they are too many.

    Args:
        data: the images.
        device: where they are to be.
        workers: processes that read on demand; None for as many as there are cores, to a limit.
    """
    if math.prod(data.pixels.shape) > _IN_MEMORY:
        cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
        if workers is None:
            workers = min(_MOST_WORKERS, max(1, cores // on_this_machine()))
        return OnDemand(data, workers, pinned=device.type == "cuda")
    starts = range(0, len(data), _READ_AT_ONCE)
    parts = [data.pixels.read(slice(start, start + _READ_AT_ONCE)) for start in starts]
    return torch.from_numpy(np.concatenate(parts)).permute(0, 3, 1, 2).contiguous().to(device)


def labels(data: Dataset) -> Tensor:
    """Int64 (N,)."""
    return torch.from_numpy(data.labels)


def _leave_interrupts_to_the_parent(worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
