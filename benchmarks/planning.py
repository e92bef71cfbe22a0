"""Lays out a run: models × conditions × shards of examples, each a cell with a digest.

A condition is an attack, a corruption at a severity or a probe; without any it is the clean pass.

The digest of a cell is the SHA-256 of the canonical JSON of its *fully resolved* configuration:
everything that could change a bit of its result. Two cells with the same digest have the same
result, so a finished one is never run again; a corrected setting gives another digest, so a stale
one is never reused.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import NamedTuple

import numpy as np
import torch

from attacks.execution import Execution, engine
from benchmarks.attention import attention_layers
from benchmarks.baselines import describe_baseline
from benchmarks.corruption_axes import corruption_axes
from benchmarks.identity import canonical_json, library_versions
from benchmarks.judging import check_judge
from benchmarks.plans import FORMAT, FORMAT_VERSION, Cell, Happening, Plan, condition_names
from benchmarks.suite import Condition, Corrupted, Examples, ModelEntry, Probed


def plan(
    models: Sequence[ModelEntry],
    conditions: Sequence[Condition],
    examples: Examples,
    *,
    corruptions: Sequence[Corrupted] = (),
    probes: Sequence[Probed] = (),
    judge: ModelEntry | None = None,
    clean: bool = True,
    baseline: str | None = None,
    with_extra: bool = False,
    attention: bool | Mapping[str, str] = False,
    shard_size: int = 500,
    seed: int = 0,
    thresholds: Sequence[float] = (0.01, 0.1),
    precision: str = "auto",
    device: str = "cpu",
    batch_size: int | None = None,
    keep_images: bool = False,
    save_images: int = 0,
    class_names: Sequence[str] | None = None,
    source: Mapping[str, object] | None = None,
) -> Plan:
    """Lay out the cells of a run. Computes nothing else and touches no file.

    But for ``attention``: the layers are found with a pass of each model.

    Args:
        models: the models, with different names.
        conditions: the attacks; there may be none.
        examples: the data.
        corruptions: every corruption at every severity that is to be measured.
        probes: of different specs.
        judge: a model that reads the results of all attacks and their originals: none of the
            models, its classes numbered as theirs.
        clean: whether untouched images are classified too; attacks and probes need it, and so
            does relative mCE.
        baseline: what errors on corrupted images are divided by: the name of one of the models, or
            of one of `benchmarks.baselines.BASELINES` (``alexnet``, for ImageNet alone); None for
            no mCE.
        with_extra: take mCE and the mean corruption error over the four extra corruptions too, not
            over the standard 15 alone.
        attention: measure what the models look at on clean images, and how far each corruption
            moves it; needs both. True, or the layers to read by the models' names, see
            `benchmarks.attention.attention_layers`.
        shard_size: images per cell; a kill costs at most one cell.
        seed: stored with the record, and the seed of its bootstrap intervals.
        thresholds: for *pixels over threshold*, as fractions of the range of one channel.
        precision: the attack engine's precision (``auto``, ``float32``, ``bfloat16``); the plan
            holds what ``auto`` comes to on this device.
        device: the kind of device the models are on (``cpu``, ``cuda``); results may differ in
            the last bits between devices, so it is part of every cell's configuration.
        batch_size: images per pass, in the attack engine and in evaluation; None for defaults.
        keep_images: keep every attacked image and its original in the record.
        save_images: else keep so many attacked images of each shard, evenly spread over it.
        class_names: one name a class, for whoever reads the record; they decide no cell.
        source: where the examples are from, as JSON values, for whoever loads them again; it
            decides no cell either.

    Raises:
        ValueError: if there is nothing to do, or names, thresholds or sizes are unusable.
    """
    precision = _resolved_precision(precision, batch_size, device)
    _check(models, conditions, probes, examples, shard_size, thresholds, save_images)
    if judge is not None:
        check_judge(judge, models, conditions)
    places = [(each.corruption, each.severity) for each in corruptions]
    axes = corruption_axes(places, with_extra=with_extra)
    names = [model.name for model in models]
    described_baseline = None if baseline is None else describe_baseline(baseline, names, axes)
    if not clean and (conditions or probes or not corruptions):
        raise ValueError("Only corruptions can do without the clean pass")
    if attention is not False and not (clean and corruptions):
        raise ValueError("A drift of attention is from clean to corrupted images: measure both")
    count = len(examples)
    ids = np.ascontiguousarray(examples.ids(slice(0, count)), dtype=np.int64)
    if ids.shape != (count,):
        raise ValueError(f"The data give {ids.shape} ids for {count} examples")
    layers = () if attention is False else attention_layers(models, examples, device, attention)
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
    if judge is not None:  # cells without a judge stay what they were
        attacked["judge"] = judge.digest
    described = [_described(condition) for condition in conditions]
    corrupted = [_described_corruption(each) for each in corruptions]
    happening: list[tuple[Happening, dict[str, object]]] = []
    if clean:
        happening.append((Happening(), {"kind": "clean"}))
    happening += [
        (Happening(condition=c), attacked | {"kind": "attack", "attack": each})
        for c, each in enumerate(described)
    ]
    happening += [
        (Happening(corruption=c), {"kind": "corruption", "corruption": each})
        for c, each in enumerate(corrupted)
    ]
    happening += [
        (Happening(probe=p), {"kind": "probe", "probe": dict(each.description)})
        for p, each in enumerate(probes)
    ]
    cells = []
    for m, model in enumerate(models):
        for start in range(0, count, shard_size):
            stop = min(start + shard_size, count)
            shard = {"examples": examples.digest, "start": start, "stop": stop}
            shard["ids"] = hashlib.sha256(ids[start:stop].astype("<i8").tobytes()).hexdigest()
            own = common | {"model": model.digest, "shard": shard}
            place = _Place(m, start, stop)
            attended = {"attention": asdict(layers[m])} if layers else {}
            cells += [
                place.cell(what, own | how | (attended if what.is_attended else {}))
                for what, how in happening
            ]
    attacks = zip(condition_names(conditions), described, strict=True)
    config = common | attacked
    config |= {
        "seed": seed,
        "shard_size": shard_size,
        "examples": {"digest": examples.digest, "count": count},
        "class_names": None if class_names is None else list(class_names),
        "source": None if source is None else dict(source),
        "models": [_described_model(model) for model in models],
        "attacks": [{"name": name} | each for name, each in attacks],
    }
    if corruptions:
        config |= {
            "corruptions": corrupted,
            "with_extra": with_extra,
            "clean": clean,
            "baseline": described_baseline,
        }
    if layers:
        config["attention"] = {
            model.name: asdict(layer) for model, layer in zip(models, layers, strict=True)
        }
    if probes:
        config["probes"] = [dict(each.description) for each in probes]
    if judge is not None:
        config["judge"] = _described_model(judge)
    canonical_json(config)  # a description that JSON cannot hold is found now, not at the end
    return Plan(
        models=tuple(models),
        conditions=tuple(conditions),
        corruptions=tuple(corruptions),
        probes=tuple(probes),
        axes=axes,
        examples=examples,
        ids=ids,
        cells=tuple(cells),
        clean=clean,
        config=config,
        thresholds=tuple(map(float, thresholds)),
        precision=precision,
        device=device,
        batch_size=batch_size,
        seed=seed,
        keep_images=keep_images,
        save_images=save_images,
        attention=layers,
        judge=judge,
        _by_place={(each.model, each.happening, each.start): each for each in cells},
    )


def _resolved_precision(precision: str, batch_size: int | None, device: str) -> str:
    with engine(precision=precision, batch_size=batch_size):  # refuses what it does not know
        return str(Execution(precision).dtype(torch.device(device))).removeprefix("torch.")


def _described_model(model: ModelEntry) -> dict[str, object]:
    return {"name": model.name, "digest": model.digest, "description": dict(model.description)}


def _described(condition: Condition) -> dict[str, object]:
    return {"spec": condition.spec, "seed": condition.seed, "target": condition.target}


def _described_corruption(corrupted: Corrupted) -> dict[str, object]:
    return {
        "corruption": corrupted.corruption,
        "severity": corrupted.severity,
        "description": dict(corrupted.description),
    }


class _Place(NamedTuple):
    """A model and a shard: where cells are."""

    model: int
    start: int
    stop: int

    def cell(self, what: Happening, config: object) -> Cell:
        text = canonical_json(config)
        digest = hashlib.sha256(text.encode()).hexdigest()
        return Cell(self.model, *what, self.start, self.stop, text, digest)


def _check(
    models: Sequence[ModelEntry],
    conditions: Sequence[Condition],
    probes: Sequence[Probed],
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
        ("probes", [probe.spec for probe in probes]),
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
