"""Training in two processes on the CPU, and what one process makes of the same."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, multiprocessing, nn

WORLD = 2


def in_processes(work: Callable[..., Any], folder: Path, *given: Any) -> list[Any]:
    """What ``work(*given)`` returns in each process of a group; it must be found by import."""
    multiprocessing.spawn(_one, (work, folder, free_port(), given), WORLD)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(WORLD)]


def _one(rank: int, work: Callable[..., Any], folder: Path, port: int, given: Any) -> None:
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    distributed.init_process_group("gloo", rank=rank, world_size=WORLD)
    try:
        torch.save(work(*given), folder / f"{rank}.pt")
    finally:
        distributed.destroy_process_group()


def free_port() -> int:
    """A port that nobody listened to a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Recorder:
    """Images that remember which rows were asked for."""

    def __init__(self, images: Tensor) -> None:
        self.images = images
        self.asked: list[list[int]] = []

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: Tensor, /) -> Tensor:
        self.asked.append(rows.tolist())
        return self.images[rows]


def net() -> nn.Module:
    """Convolutions, and nothing that looks at more than one image."""
    torch.manual_seed(5)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 64, 3)
    )


def images_and_labels(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """8-bit grey 8x8 images of three classes of different brightness."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    noise = torch.randint(0, 100, (count, 1, 8, 8), generator=generator)
    return (noise + 70 * labels[:, None, None, None]).to(torch.uint8), labels
