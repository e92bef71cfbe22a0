"""Small records for the tests of reports: oracle models, made-up attacks and corruptions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from measuring_case import Brightest, conditions, examples
from torch import Tensor, nn

from attacks import Attacked
from attacks.draws import uniform
from benchmarks import (
    CellStore,
    Condition,
    Corrupted,
    ModelEntry,
    Record,
    compare,
    merge,
    plan,
    read_record,
    run,
)
from workbench.report.page import Report, report_of

HOSTILE = '<script>alert("1")</script>&\'x'
CORRUPTIONS = ("gaussian_noise", "fog", "contrast")


class Padded(nn.Module):
    """The oracle, partial to the later classes the more its scale is above 4; more classes are
    there, but never answered."""

    def __init__(self, classes: int, scale: float) -> None:
        super().__init__()
        self.inner = Brightest(scale)
        self.classes = classes

    def forward(self, images: Tensor) -> Tensor:
        logits = self.inner(images)
        logits = logits + (float(self.inner.scale) - 4) / 10 * torch.arange(logits.shape[1])
        return nn.functional.pad(logits, (0, self.classes - logits.shape[1]), value=-5.0)


def noisy(name: str, severity: int) -> Corrupted:
    """Noise that grows with severity, and with the length of the name."""

    def corrupt(shard: Any, rows: slice) -> Tensor:
        seeds = torch.arange(rows.start, rows.stop) * 7 + len(name)
        noise = uniform(seeds, shard.images.shape[1:], stream=2) - 0.5
        return (shard.images + severity * len(name) / 40 * noise).clamp(0, 1)

    return Corrupted(name, severity, {"seed": 0}, corrupt)


def broken(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    targets: Tensor | None = None,
    seeds: Tensor | None = None,
) -> Attacked:
    """An attack that always fails with an exception."""
    raise RuntimeError("this attack is broken")


def entry(
    name: str, scale: float = 4.0, classes: int = 4, training: dict[str, Any] | None = None
) -> ModelEntry:
    description: dict[str, Any] = {"arch": "brightest", "parameters": 1}
    if training is not None:
        about = {"arch": "brightest", "defenses": [], "data": {"whole_digest": "d"}}
        description["training"] = about | training
    return ModelEntry(name, f"digest of {name}", description, lambda: Padded(classes, scale).eval())


def measured(
    folder: Path,
    models: Sequence[ModelEntry] | None = None,
    *,
    attacks: Sequence[Condition] | None = None,
    corruptions: Sequence[str] = CORRUPTIONS,
    images: int = 40,
    **settings: Any,
) -> Record:
    """A record of a run: two models, three attacks and three corruptions unless told otherwise."""
    given = models if models is not None else [entry("one"), entry("two", 9.0)]
    planned = plan(
        given,
        conditions() if attacks is None else attacks,
        examples(images),
        corruptions=[noisy(name, severity) for name in corruptions for severity in (1, 3, 5)],
        **({"shard_size": 20, "save_images": 2} | settings),
    )
    store = CellStore(folder / "cells")
    for _ in run(planned, store):
        pass
    merge(planned, store, folder / "record.h5")
    return read_record(folder / "record.h5")


def reported(record: Record, **settings: Any) -> Report:
    return report_of(record, compare(record, **settings))
