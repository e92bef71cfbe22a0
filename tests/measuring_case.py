"""Small oracle models, attacks and data for the tests of measuring."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor, nn

from attacks import Attacked, Caution, Ended, Goal
from attacks.draws import uniform
from benchmarks import CellStore, Condition, ModelEntry, Plan, Shard, durable, merge, plan, run

CLASSES = 4


class Brightest(nn.Module):
    """The class is the quarter of the image with the highest sum: known without computing."""

    def __init__(self, scale: float = 4.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))
        self.calls: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.calls.append(len(images))
        return self.scale * images.flatten(1).reshape(len(images), CLASSES, -1).mean(dim=2)


@dataclass
class Arrays:
    """Examples in memory."""

    images: Tensor
    labels: np.ndarray
    digest: str = "data"

    def __len__(self) -> int:
        return len(self.labels)

    def ids(self, rows: slice) -> np.ndarray:
        return (np.arange(len(self)) * 1_000_003 - 17)[rows]

    def shard(self, start: int, stop: int) -> Shard:
        rows = slice(start, stop)
        return Shard(self.ids(rows), self.images[rows], self.labels[rows])


def examples(count: int = 20, wrong_every: int = 5) -> Arrays:
    """Images of 2 channels of 4 x 4, one quarter of the values brighter; some labels are wrong."""
    generator = torch.Generator().manual_seed(3)
    values = torch.rand(count, CLASSES, 8, generator=generator) * 0.4
    quarter = torch.arange(count) % CLASSES
    values[torch.arange(count), quarter] += 0.3
    labels = quarter.numpy().copy()
    labels[::wrong_every] = (labels[::wrong_every] + 1) % CLASSES
    return Arrays(((values * 255).round() / 255).reshape(count, 2, 4, 4), labels)


def outcome(images: Tensor, goal: Goal | None = None, **changes: object) -> Attacked:
    """What an attack returns that says it reached every image in two steps."""
    count = len(images)
    values: dict[str, object] = {
        "steps": torch.full((count,), 2),
        "forwards": torch.full((count,), 3),
        "backwards": torch.full((count,), 2),
        "ended": torch.full((count,), int(Ended.REACHED), dtype=torch.int8),
        "goal": goal or Goal(),
    }
    return Attacked(images, **(values | changes))  # type: ignore[arg-type]  # by keyword


def swap(model, images, labels, *, targets=None, seeds=None):
    """Exchange the true quarter with the target's (or the next one): always succeeds."""
    quarters = images.flatten(1).reshape(len(images), CLASSES, -1).clone()
    other = (labels + 1) % CLASSES if targets is None else targets
    rows = torch.arange(len(images))
    mine, theirs = quarters[rows, labels].clone(), quarters[rows, other].clone()
    quarters[rows, labels], quarters[rows, other] = theirs, mine
    return outcome(quarters.reshape(images.shape), Goal(targets))


def jitter(model, images, labels, *, targets=None, seeds=None):
    """Seeded noise that fools the model on some images, says it always does, and cautions."""
    noise = uniform(seeds, images.shape[1:], stream=1) - 0.5
    moved = (images + noise).clamp(0, 1)
    caution = Caution("zero-gradient", "there is no gradient here")
    return outcome(moved, Goal(targets), cautions=(caution,), unshrunk=images * 0)


def stay(model, images, labels, *, targets=None, seeds=None):
    """Do nothing, and claim success."""
    return outcome(images.clone())


def entry(name: str = "brightest", model: nn.Module | None = None) -> ModelEntry:
    module = model or Brightest()
    return ModelEntry(name, f"digest of {name}", {"name": name}, lambda: module)


def conditions() -> list[Condition]:
    return [Condition("swap", swap), Condition("jitter", jitter, 7), Condition("stay", stay)]


def small_plan(**settings: object) -> Plan:
    """Two models, three attacks, 20 examples in shards of 8."""
    defaults = {
        "models": [entry("one"), entry("two", Brightest(8.0))],
        "conditions": conditions(),
        "examples": examples(),
        "shard_size": 8,
    }
    chosen = defaults | settings
    return plan(chosen.pop("models"), chosen.pop("conditions"), chosen.pop("examples"), **chosen)


def finished(folder: Path, planned: Plan | None = None) -> tuple[Plan, CellStore, Path]:
    """Run a plan to its end and merge it."""
    planned = planned or small_plan()
    store = CellStore(folder / "cells")
    for _ in run(planned, store):
        pass
    merge(planned, store, folder / "record.h5")
    return planned, store, folder / "record.h5"


def attack_rows(planned, store, model=0, condition=0):
    parts = [store.read(planned.cell(model, condition, start)).rows for start, _ in planned.shards]
    return np.concatenate(parts)


def run_one(tmp_path, attack, *, model=None, data=None, target=None, **settings):
    planned = plan(
        [entry("m", model)],
        [Condition("attack", attack, 0, target)],
        data or examples(),
        **({"shard_size": 8} | settings),
    )
    store = CellStore(tmp_path)
    return planned, store, list(run(planned, store))


def forged(path, folder, change):
    """A copy in which something was changed, and its checksum put right."""
    copy = folder / "record.h5"
    copy.write_bytes(path.read_bytes())
    with h5py.File(copy, "r+") as file:
        change(file)
    digest = hashlib.sha256(copy.read_bytes()).hexdigest()
    durable.checksum_path(copy).write_text(f"{digest}  record.h5\n")
    return copy


def failing(findings):
    return {finding.claim for finding in findings if finding.verdict == "fails"}
