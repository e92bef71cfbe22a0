"""Seconds that a report takes: 8 models, 15 corruptions x 5 severities and 5 attacks, 1000 images.

The record is made up, with kept images, by models that add pixels up. The report is made by the
command, in a process of its own, so that its start counts too.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from attacks import Attacked, Ended, Goal
from attacks.corruptions import STANDARD
from benchmarks import CellStore, Condition, Corrupted, ModelEntry, Shard, merge, plan, run

MODELS, ATTACKS, IMAGES, SIDE, CLASSES = 8, 5, 1000, 32, 10
MOST = 10.0  # seconds a report may take


class Strips(nn.Module):
    """The class is the strip of the image that is brightest; weights make models differ."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weights = 6 + torch.rand(CLASSES, generator=generator)

    def forward(self, images: Tensor) -> Tensor:
        strips = images.mean(dim=(1, 2))[:, : SIDE // CLASSES * CLASSES]
        return 4 * self.weights * strips.reshape(len(images), CLASSES, -1).mean(dim=2)


class Images:
    """Random images with one brighter strip."""

    digest = "speed"

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.labels = torch.randint(CLASSES, (IMAGES,), generator=generator).numpy()
        self.pixels = torch.rand(IMAGES, 3, SIDE, SIDE, generator=generator) * 0.6
        width = SIDE // CLASSES
        for row, label in enumerate(self.labels.tolist()):
            self.pixels[row, :, :, label * width : (label + 1) * width] += 0.08

    def __len__(self) -> int:
        return IMAGES

    def ids(self, rows: slice) -> np.ndarray:
        return np.arange(IMAGES)[rows]

    def shard(self, start: int, stop: int) -> Shard:
        rows = slice(start, stop)
        return Shard(self.ids(rows), self.pixels[rows], self.labels[rows])


def corrupted(name: str, severity: int) -> Corrupted:
    strength = severity * (1 + STANDARD.index(name)) / 150

    def corrupt(shard: Shard, rows: slice) -> Tensor:
        generator = torch.Generator().manual_seed(rows.start)
        noise = torch.rand(shard.images.shape, generator=generator)
        return (1 - strength) * shard.images + strength * noise

    return Corrupted(name, severity, {"made": "up"}, corrupt)


def condition(number: int) -> Condition:
    def attack(
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        *,
        targets: Tensor | None = None,
        seeds: Tensor | None = None,
    ) -> Attacked:
        noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(number)) - 0.5
        count = len(images)
        steps = torch.randint(1, 100, (count,), generator=torch.Generator().manual_seed(count))
        return Attacked(
            (images + number / 20 * noise).clamp(0, 1),
            steps=steps,
            forwards=steps,
            backwards=steps,
            ended=torch.full((count,), int(Ended.REACHED), dtype=torch.int8),
            goal=Goal(targets),
        )

    return Condition(f"made-up({number})", attack)


def make_record(folder: Path) -> Path:
    models = [
        ModelEntry(f"model-{seed}", f"{seed:064x}", {}, lambda seed=seed: Strips(seed))
        for seed in range(MODELS)
    ]
    planned = plan(
        models,
        [condition(number) for number in range(1, ATTACKS + 1)],
        Images(),
        corruptions=[corrupted(name, severity) for name in STANDARD for severity in range(1, 6)],
        baseline="model-0",
        save_images=4,
    )
    store = CellStore(folder / "cells")
    for outcome in run(planned, store):
        if outcome.error is not None:
            raise RuntimeError(outcome.error)
    merge(planned, store, folder / "record.h5")
    return folder / "record.h5"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        record, page = make_record(Path(folder)), Path(folder) / "report.html"
        command = [sys.executable, "-m", "workbench", "report", str(record), "--output", str(page)]
        begin = time.perf_counter()
        subprocess.run([*command, "--quiet"], check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - begin
        size = page.stat().st_size / 1e6
    print(
        f"report of {MODELS} models, {len(STANDARD)} corruptions x 5 severities, {ATTACKS} "
        f"attacks, {IMAGES} images: {seconds:.1f} s ({MOST:.0f} s at most asked for), {size:.1f} MB"
    )


if __name__ == "__main__":
    main()
