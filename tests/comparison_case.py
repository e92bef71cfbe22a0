"""Records in memory whose every number is chosen, for the tests of comparisons."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.columns import ATTACK, CLEAN, CORRUPTED, empty_rows
from benchmarks.corruption_axes import CorruptionAxes
from benchmarks.reading import Record
from benchmarks.record import write_record
from benchmarks.record_numbers import record_numbers

ATTACKS = ("fgsm(eps=0.1)", "sign-ascent(confidence=0.9, eps=None)")
AXES = CorruptionAxes(("gaussian_noise", "fog", "contrast"), (1, 3, 5))
CLASSES = 10


def trained(seed: int, **changes: Any) -> dict[str, Any]:
    """A description as one of our checkpoints has it."""
    said = {
        "arch": "resnet20(width=4)",
        "seed": seed,
        "data": {"name": "d", "split": "train", "digest": f"{seed}", "whole_digest": "w"},
        "defenses": [],
        "trained_on_corruptions": [],
        "training": {"epochs": 3, "lr": 0.1, "epoch": seed, "loss": seed / 3},
        "versions": {"torch": f"2.{seed}"},
    } | changes
    return {"arch": said["arch"], "parameters": 100, "training": said}


def record(
    models: Mapping[str, float] | Sequence[str],
    *,
    count: int = 80,
    descriptions: Sequence[Mapping[str, Any]] | None = None,
    baseline: str | None = None,
    corrupted: bool = True,
    attacks: Sequence[str] = ATTACKS,
    seed: int = 0,
) -> Record:
    """A record of models that are wrong more often the larger their number is.

    All models find the same images hard, more or less, so that pairs are correlated.
    """
    names = list(models)
    worse = dict(models) if isinstance(models, Mapping) else dict.fromkeys(names, 0.2)
    generator = np.random.default_rng(seed)
    axes = AXES if corrupted else CorruptionAxes()
    clean = empty_rows(CLEAN, (len(names), count))
    attacked = empty_rows(ATTACK, (len(names), len(attacks), count), 2)
    cells = empty_rows(CORRUPTED, (len(names), len(axes.corruptions), len(axes.severities), count))
    hard = generator.random(count)

    def wrong(rate: float, shape: tuple[int, ...] = ()) -> np.ndarray:
        return hard + generator.normal(0, 0.15, (*shape, count)) < rate

    for m, name in enumerate(names):
        rate = worse[name]
        clean["label"][m] = np.arange(count) % CLASSES
        clean["right"][m] = ~wrong(rate)
        clean["rank"][m] = np.where(clean["right"][m] == 1, 0, generator.integers(1, 9, count))
        given = clean["right"][m] == 1
        for a in range(len(attacks)):
            fooled = wrong(0.3 + rate) if a == 0 else wrong(0.9)
            attacked["attacked"][m, a] = given
            attacked["success"][m, a] = given & fooled
            attacked["misclassified"][m, a] = ~given | fooled
            attacked["linf"][m, a] = 0.1
            attacked["average_pixel_change"][m, a] = (1 - rate) * (1 + hard) / 10
            attacked["pixels_over_threshold"][m, a] = (10 * (1 - rate) * (1 + hard))[:, None]
        cells["right"][m] = ~wrong(rate + 0.1, cells.shape[1:3])
        for each, right in (
            (clean[m], clean["right"][m]),
            (attacked[m], 1 - attacked["misclassified"][m]),
            (cells[m], cells["right"][m]),
        ):
            each["prediction"] = (clean["label"][m] + 1 - right) % CLASSES
            each["confidence"], each["loss"], each["brier"] = 0.8, 1.1, 0.5
    goal = np.tile([0.0, 0.9][: len(attacks)], (len(names), 1))
    described = [{}] * len(names) if descriptions is None else descriptions
    found = Record(
        path=Path("record.h5"),
        config={
            "class_names": [str(k) for k in range(CLASSES)],
            "models": [
                {"name": name, "digest": name, "description": description}
                for name, description in zip(names, described, strict=True)
            ],
            "baseline": None
            if baseline is None
            else {"name": baseline, "source": "measured", "measured": True},
        },
        seed=0,
        device="cpu",
        created="",
        versions={},
        models=tuple(names),
        attacks=tuple(attacks),
        ids=np.arange(count),
        thresholds=np.array([0.01, 0.1]),
        clean={name: clean[name] for name in CLEAN},
        attacked={name: attacked[name] for name in ATTACK} | {"goal_confidence": goal},
        axes=axes,
        corrupted={n: cells[n] for n in CORRUPTED if n != "label"} if corrupted else {},
        aggregates={},
        timing={},
        cautions=(),
        failures=(),
        kept=np.empty(0, np.int64),
    )
    return recounted(found)


def recounted(found: Record) -> Record:
    """The same record with its aggregates as its columns have them now."""
    return replace(found, aggregates=record_numbers(found))


def timed(found: Record) -> Record:
    """With the timings that every record has."""
    models, attacks = len(found.models), len(found.attacks)
    shapes = {"attack": (models, attacks), "evaluation": (models, attacks), "clean": (models,)}
    if found.corrupted:
        cells = (models, len(found.axes.corruptions), len(found.axes.severities))
        shapes |= {"corruption": cells, "corrupted_evaluation": cells}
    timing = {f"{part}_seconds": np.zeros(shape) for part, shape in shapes.items()}
    attacked = [{"name": each, "spec": each, "seed": 0, "target": None} for each in found.attacks]
    count = len(found.ids)
    described = {
        "with_extra": False,
        "attacks": attacked,
        "examples": {"digest": f"data of {count}", "count": count},
        "corruptions": [
            {"corruption": name, "severity": severity, "description": {}}
            for name in found.axes.corruptions
            for severity in found.axes.severities
        ],
    }
    return replace(found, timing=timing, config={**found.config, **described})


def write(folder: Path, found: Record) -> Path:
    """The record as a file of a run directory."""
    folder.mkdir(parents=True, exist_ok=True)
    write_record(timed(found), folder / "record.h5")
    return folder / "record.h5"
