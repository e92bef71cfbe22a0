"""What is to be measured: models × conditions × shards of examples, each a cell with a digest.

The digest of a cell is the SHA-256 of the canonical JSON of its *fully resolved* configuration:
everything that could change a bit of its result. Two cells with the same digest have the same
result, so a finished one is never run again; a corrected setting gives another digest, so a stale
one is never reused.
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from attacks.attacked import Attack
from attacks.execution import Execution, engine
from benchmarks.identity import canonical_json, library_versions, sha256_json

FORMAT = "adversarial-workbench"
FORMAT_VERSION = 1

TARGET_RULES = ("random", "least-likely", "next")
"""How a target may be chosen for each image, besides a class number."""


@dataclass(frozen=True)
class ModelEntry:
    """A model to be measured.

    Attributes:
        name: what tables call it; unique in a plan.
        digest: SHA-256 over everything that changes its logits (weights, source, preprocessing).
        description: JSON values that let a reader, and `benchmarks.verify`, find the model again.
        get: gives the module, on its device; called at most once per run, and only if needed.
    """

    name: str
    digest: str
    description: Mapping[str, object]
    get: Callable[[], nn.Module]


@dataclass(frozen=True)
class Condition:
    """An attack with its settings, as every model meets it.

    Attributes:
        spec: the canonical text of the attack, every setting filled in.
        attack: the attack with those settings bound.
        seed: the seed that, with an image's id, gives that image's draws.
        target: None for an untargeted attack; ``random``, ``least-likely`` (by the clean logits)
            or ``next`` (label + 1), or one class for all images. An image whose label is that
            class is not attacked.
    """

    spec: str
    attack: Attack
    seed: int = 0
    target: str | int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.target, str) and self.target not in TARGET_RULES:
            raise ValueError(
                f"Unknown target {self.target!r}: use a class number, {', '.join(TARGET_RULES)}"
            )
        if isinstance(self.target, int) and self.target < 0:
            raise ValueError(f"A target class is 0 or more, not {self.target}")

    @property
    def name(self) -> str:
        """What tables call the condition: the spec, and the target where there is one."""
        return self.spec if self.target is None else f"{self.spec} target={self.target}"


@dataclass(frozen=True)
class Shard:
    """A run of examples.

    Attributes:
        ids: int64 (n,), stable ids.
        images: float32 (n, C, H, W) in [0, 1].
        labels: int64 (n,).
    """

    ids: NDArray[np.int64]
    images: Tensor
    labels: NDArray[np.int64]


class Examples(Protocol):
    """The data set of a plan."""

    @property
    def digest(self) -> str:
        """SHA-256 (or the like) over all ids and labels, in order."""
        ...

    def __len__(self) -> int:
        """How many examples there are."""
        ...

    def ids(self, rows: slice) -> NDArray[np.int64]:
        """The stable ids of some examples, int64 (n,)."""
        ...

    def shard(self, start: int, stop: int) -> Shard:
        """The examples from ``start`` up to ``stop``, exclusive."""
        ...


@dataclass(frozen=True)
class Cell:
    """One model under one condition over one shard; ``condition`` None is the clean pass.

    Attributes:
        model: index into the plan's models.
        condition: index into the plan's conditions, or None.
        start: first row of the shard.
        stop: one past its last row.
        config: canonical JSON of the fully resolved configuration.
        digest: SHA-256 of ``config``, in hexadecimal; the name of the cell's file.
    """

    model: int
    condition: int | None
    start: int
    stop: int
    config: str
    digest: str


@dataclass(frozen=True)
class Plan:
    """Everything `benchmarks.runner.run` does, fixed before it starts.

    Attributes:
        config: the resolved configuration of the whole run (JSON values), stored in the record.
        cells: model by model, shard by shard; of each shard the clean pass comes first.
        ids: int64 (N,), the ids of all examples, in order.
        kept_per_shard: how many attacked images of each shard are kept with their originals.
    """

    models: tuple[ModelEntry, ...]
    conditions: tuple[Condition, ...]
    examples: Examples
    ids: NDArray[np.int64]
    cells: tuple[Cell, ...]
    config: Mapping[str, object]
    thresholds: tuple[float, ...]
    precision: str
    device: str
    batch_size: int | None
    seed: int
    keep_images: bool
    save_images: int
    _by_place: Mapping[tuple[int, int | None, int], Cell] = field(repr=False)

    @property
    def digest(self) -> str:
        """SHA-256 of the whole configuration: equal for two runs that do the same."""
        return sha256_json(self.config)

    @property
    def condition_names(self) -> tuple[str, ...]:
        """The conditions as tables name them."""
        return condition_names(self.conditions)

    @property
    def shards(self) -> tuple[tuple[int, int], ...]:
        """The rows (start, stop) of every shard, in order."""
        return tuple(sorted({(cell.start, cell.stop) for cell in self.cells}))

    @property
    def kept_per_shard(self) -> int:
        """How many attacked images of each shard are kept: all, or as many as are to be saved."""
        return len(self.ids) if self.keep_images else self.save_images

    def cell(self, model: int, condition: int | None, start: int) -> Cell:
        """The cell of a model and a condition whose shard begins at ``start``."""
        return self._by_place[model, condition, start]


def plan(
    models: Sequence[ModelEntry],
    conditions: Sequence[Condition],
    examples: Examples,
    *,
    shard_size: int = 500,
    seed: int = 0,
    thresholds: Sequence[float] = (0.01, 0.1),
    precision: str = "auto",
    device: str = "cpu",
    batch_size: int | None = None,
    keep_images: bool = False,
    save_images: int = 0,
) -> Plan:
    """Lay out the cells of a run. Computes nothing else and touches no file.

    Args:
        models: the models, with different names.
        conditions: the attacks; none gives clean passes alone.
        examples: the data.
        shard_size: images per cell; a kill costs at most one cell.
        seed: stored with the record, and the seed of its bootstrap intervals.
        thresholds: for *pixels over threshold*, as fractions of the range of one channel.
        precision: the attack engine's precision (``auto``, ``float32``, ``bfloat16``); the plan
            holds what ``auto`` comes to on this device.
        device: the kind of device the models are on (``cpu``, ``cuda``); results may differ in
            the last bits between devices, so it is part of every cell's configuration.
        batch_size: images per pass, in the attack engine and in evaluation; None for defaults.
        keep_images: keep every attacked image and its original in the record.
        save_images: else keep the first so many attacked images of each shard.

    Raises:
        ValueError: if there is nothing to do, or names, thresholds or sizes are unusable.
    """
    precision = _resolved_precision(precision, batch_size, device)
    _check(models, conditions, examples, shard_size, thresholds, save_images)
    count = len(examples)
    ids = np.ascontiguousarray(examples.ids(slice(0, count)), dtype=np.int64)
    if ids.shape != (count,):
        raise ValueError(f"The data give {ids.shape} ids for {count} examples")
    common: dict[str, object] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "versions": library_versions(),
        "device": device,
        "batch_size": batch_size,
    }
    attacked: dict[str, object] = {
        "thresholds": list(map(float, thresholds)),
        "precision": precision,
        "keep_images": keep_images,
        "save_images": save_images,
    }
    described = [_described(condition) for condition in conditions]
    cells = []
    for m, model in enumerate(models):
        for start in range(0, count, shard_size):
            stop = min(start + shard_size, count)
            shard = {"examples": examples.digest, "start": start, "stop": stop}
            shard["ids"] = hashlib.sha256(ids[start:stop].astype("<i8").tobytes()).hexdigest()
            clean = common | {"model": model.digest, "shard": shard}
            cells.append(_cell(m, None, start, stop, clean | {"kind": "clean"}))
            cells += [
                _cell(m, c, start, stop, clean | attacked | {"kind": "attack", "attack": each})
                for c, each in enumerate(described)
            ]
    names = condition_names(conditions)
    config = common | attacked
    config |= {
        "seed": seed,
        "shard_size": shard_size,
        "examples": {"digest": examples.digest, "count": count},
        "models": [
            {"name": m.name, "digest": m.digest, "description": dict(m.description)} for m in models
        ],
        "attacks": [{"name": n} | each for n, each in zip(names, described, strict=True)],
    }
    canonical_json(config)  # a description that JSON cannot hold is found now, not at the end
    return Plan(
        models=tuple(models),
        conditions=tuple(conditions),
        examples=examples,
        ids=ids,
        cells=tuple(cells),
        config=config,
        thresholds=tuple(map(float, thresholds)),
        precision=precision,
        device=device,
        batch_size=batch_size,
        seed=seed,
        keep_images=keep_images,
        save_images=save_images,
        _by_place={(cell.model, cell.condition, cell.start): cell for cell in cells},
    )


def condition_names(conditions: Sequence[Condition]) -> tuple[str, ...]:
    """What tables call the conditions: with their seeds only where nothing else differs."""
    names = [condition.name for condition in conditions]
    if len(set(names)) == len(names):
        return tuple(names)
    return tuple(f"{condition.name} seed={condition.seed}" for condition in conditions)


def _resolved_precision(precision: str, batch_size: int | None, device: str) -> str:
    with engine(precision=precision, batch_size=batch_size):  # refuses what it does not know
        return str(Execution(precision).dtype(torch.device(device))).removeprefix("torch.")


def _described(condition: Condition) -> dict[str, object]:
    return {"spec": condition.spec, "seed": condition.seed, "target": condition.target}


def _cell(model: int, condition: int | None, start: int, stop: int, config: object) -> Cell:
    text = canonical_json(config)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Cell(model, condition, start, stop, text, digest)


def _check(
    models: Sequence[ModelEntry],
    conditions: Sequence[Condition],
    examples: Examples,
    shard_size: int,
    thresholds: Sequence[float],
    save_images: int,
) -> None:
    if not models:
        raise ValueError("There is no model to measure")
    if not len(examples):
        raise ValueError("There are no examples to measure on")
    for kind, names in (
        ("models", [model.name for model in models]),
        ("attacks", list(condition_names(conditions))),
    ):
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"Two {kind} have the same name: {twice[0]}")
    if shard_size < 1:
        raise ValueError(f"A shard holds at least 1 image, not {shard_size}")
    if save_images < 0:
        raise ValueError(f"The number of images to save is 0 or more, not {save_images}")
    if not thresholds:
        raise ValueError("Give at least one threshold; 0 counts every changed pixel")
    if not all(math.isfinite(t) and 0 <= t <= 1 for t in thresholds):
        raise ValueError(
            f"Thresholds are fractions from 0 to 1 (10 % is 0.1), not {list(thresholds)}"
        )
    if len(set(thresholds)) != len(thresholds):
        raise ValueError(f"A threshold is given twice: {list(thresholds)}")
