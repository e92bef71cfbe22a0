"""One cell of an attack: a shard's images attacked, and every result measured anew."""

import dataclasses
import time
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from attacks.attacked import Attacked, Ended
from attacks.cautions import unconfirmed
from attacks.draws import image_seeds, wrong_classes
from attacks.execution import Execution, engine
from benchmarks import columns, metrics
from benchmarks.answers import Notes, answers, on_device, refuse_nonfinite, to_numpy
from benchmarks.cells import CellResult, KeptImages
from benchmarks.evaluation import float32_logits
from benchmarks.judging import readings
from benchmarks.plans import Cell, Plan
from benchmarks.suite import Condition, Shard

_RANGE_SLACK = 1e-6  # rounding may leave -2.98e-8; more than that is a fault of the attack


def attack_cell(
    plan: Plan,
    cell: Cell,
    model: nn.Module,
    shard: Shard,
    clean: CellResult,
    judge: nn.Module | None = None,
) -> CellResult:
    """Attack the images of a shard that the model has right, and measure every result anew.

    Success is never the attack's word: each result is given to the model once more in float32, as
    it is and after rounding to 8 bits. The judge reads it as it is, and its original.

    Raises:
        ValueError: if the attack returns something that is not images in [0, 1], or the model or
            the judge answers it with logits that are not finite.
    """
    if clean.rows is None or cell.condition is None:
        raise ValueError("an attack cell needs a condition and the shard's clean pass")
    condition = plan.conditions[cell.condition]
    images, labels = on_device(plan, shard)
    given = clean.rows["right"] == 1
    if isinstance(condition.target, int):
        given &= clean.rows["label"] != condition.target
    kinds = columns.attack_columns(judged=judge is not None)
    rows = _untouched(kinds, clean.rows, given, len(plan.thresholds))
    if not given.any():
        return CellResult(rows, seconds={"attack": 0.0, "evaluation": 0.0})
    chosen = torch.from_numpy(np.flatnonzero(given)).to(images.device)
    originals, labels = images[chosen], labels[chosen]
    seeds = image_seeds(condition.seed, torch.from_numpy(shard.ids).to(images.device)[chosen])
    notes = Notes()

    began = time.perf_counter()
    targets = _targets(plan, condition, model, originals, labels, seeds, clean.rows[given])
    with engine(precision=plan.precision, batch_size=plan.batch_size):
        # Copies: an attack that writes into its arguments must not change what is measured.
        attacked = condition.attack(
            model, originals.clone(), labels.clone(), targets=targets, seeds=seeds
        )
    results = _checked(attacked, originals)
    attack_seconds = time.perf_counter() - began

    aimed = attacked.goal.targets
    if aimed is not None and bool((aimed == labels).any()):
        # The attack has a target of its own, and these images are what it aims at.
        elsewhere = aimed != labels
        given[given] = to_numpy(elsewhere)
        rows = _untouched(kinds, clean.rows, given, len(plan.thresholds))
        if not given.any():
            return CellResult(rows, seconds={"attack": attack_seconds, "evaluation": 0.0})
        attacked = _only(attacked, elsewhere)
        originals, labels, results = originals[elsewhere], labels[elsewhere], results[elsewhere]

    began = time.perf_counter()
    _evaluate(rows, given, plan, model, originals, labels, attacked, results, notes)
    if judge is not None:
        read = readings(judge, originals, results, plan.batch_size, notes.halved)
        for name, values in read.items():
            rows[f"judge_{name}"][given] = to_numpy(values)
    notes.add(*attacked.cautions)
    seconds = {"attack": attack_seconds, "evaluation": time.perf_counter() - began}
    return CellResult(
        rows,
        cautions=notes.cautions,
        confidence=float(attacked.goal.confidence),
        seconds=seconds,
        images=_kept(plan, cell, given, originals, results),
    )


def _untouched(
    kinds: Mapping[str, str], clean: NDArray[np.void], given: NDArray[np.bool_], thresholds: int
) -> NDArray[np.void]:
    """The rows of a shard as if no attack had been run."""
    rows = columns.empty_rows(kinds, len(clean), thresholds)
    wrong = clean["right"] == 0
    rows["attacked"] = given
    rows["misclassified"] = wrong
    rows["ended"][wrong] = Ended.ALREADY_WRONG
    for name in columns.ANSWER:
        rows[name] = clean[name]
    for name in ("success", "steps", "forwards", "backwards", "average_pixel_change"):
        rows[name] = 0
    for name in ("pixels_over_threshold", "l0", "l2", "linf"):
        rows[name] = 0
    return rows


def _targets(
    plan: Plan,
    condition: Condition,
    model: nn.Module,
    originals: Tensor,
    labels: Tensor,
    seeds: Tensor,
    clean: NDArray[np.void],
) -> Tensor | None:
    if condition.target is None:
        return None
    if condition.target == "least-likely":
        targets = torch.from_numpy(clean["least_likely"].astype(np.int64)).to(labels.device)
        if (targets < 0).any():
            raise ValueError("the model has one class: there is no wrong one to aim at")
        return targets
    classes = float32_logits(model, originals[:1], plan.batch_size).shape[1]
    if condition.target == "random":
        return wrong_classes(seeds, labels, classes)
    if classes < 2:
        raise ValueError("the model has one class: there is no wrong one to aim at")
    if condition.target == "next":
        return (labels + 1) % classes
    target = int(condition.target)
    if target >= classes:
        raise ValueError(f"target {target} is not one of the model's {classes} classes")
    return torch.full_like(labels, target)


def _checked(attacked: Attacked, originals: Tensor) -> Tensor:
    """The attack's images if they are images, clamped where rounding left [0, 1]."""
    images = attacked.images.detach()
    if images.shape != originals.shape:
        raise ValueError(
            f"the attack returned shape {tuple(images.shape)} for images of shape "
            f"{tuple(originals.shape)}"
        )
    images = images.to(device=originals.device, dtype=torch.float32)
    if not torch.isfinite(images).all():
        raise ValueError("the attack returned images with values that are not finite")
    low, high = float(images.min()), float(images.max())
    if low < -_RANGE_SLACK or high > 1 + _RANGE_SLACK:
        raise ValueError(f"the attack returned values from {low:g} to {high:g}, outside [0, 1]")
    for name in ("steps", "forwards", "backwards", "ended"):
        if getattr(attacked, name).shape != (len(originals),):
            raise ValueError(f"the attack's {name} do not have one value per image")
    return images.clamp(0, 1)


def _only(attacked: Attacked, kept: Tensor) -> Attacked:
    """The outcome for some of the images, by bool (N,)."""
    return dataclasses.replace(
        attacked,
        images=attacked.images[kept],
        steps=attacked.steps[kept],
        forwards=attacked.forwards[kept],
        backwards=attacked.backwards[kept],
        ended=attacked.ended[kept],
        goal=attacked.goal.select(kept),
        unshrunk=None if attacked.unshrunk is None else attacked.unshrunk[kept],
    )


def _evaluate(
    rows: NDArray[np.void],
    given: NDArray[np.bool_],
    plan: Plan,
    model: nn.Module,
    originals: Tensor,
    labels: Tensor,
    attacked: Attacked,
    results: Tensor,
    notes: Notes,
) -> None:
    """Write what became of the attacked images into their rows."""
    found: dict[str, Tensor] = {}
    for suffix, shown in (("", results), ("_8bit", metrics.rounded8(results))):
        logits = float32_logits(model, shown, plan.batch_size, notes.halved)
        refuse_nonfinite(logits, "attacked images")
        answer = answers(logits, labels)
        found["success" + suffix] = attacked.goal.met(logits, labels)
        found["misclassified" + suffix] = answer["prediction"] != labels
        told = columns.ANSWER if not suffix else ("prediction", "confidence")
        found |= {name + suffix: answer[name] for name in told}
    found |= {name: getattr(attacked, name) for name in ("ended", "steps", "forwards", "backwards")}
    if attacked.goal.targets is not None:
        found["target"] = attacked.goal.targets
    if attacked.unshrunk is not None:
        found["unshrunk_pixel_change"] = measures(originals, attacked.unshrunk, ())[
            "average_pixel_change"
        ]
    found |= measures(originals, results, plan.thresholds)
    for name, values in found.items():
        rows[name][given] = to_numpy(values)
    broken = int(((found["ended"] == Ended.REACHED) & ~found["success"]).sum())
    if broken:
        notes.add(unconfirmed(broken, len(labels)))


def measures(original: Tensor, changed: Tensor, thresholds: Sequence[float]) -> dict[str, Tensor]:
    """Every measure of `benchmarks.metrics` by its column name, batch by batch."""
    size = Execution().batch(original)
    pairs = zip(original.split(size), changed.split(size), strict=True)
    parts = [
        {
            "average_pixel_change": metrics.average_pixel_change(*pair),
            "pixels_over_threshold": metrics.pixels_over_threshold(*pair, thresholds),
            "l0": metrics.l0(*pair),
            "l2": metrics.l2(*pair),
            "linf": metrics.linf(*pair),
        }
        for pair in pairs
    ]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _kept(
    plan: Plan, cell: Cell, given: NDArray[np.bool_], originals: Tensor, results: Tensor
) -> KeptImages | None:
    count = min(plan.kept_per_shard, len(originals))
    if not count:
        return None
    rows = np.flatnonzero(given)
    picks = spread(rows, len(given), count)
    kept = (
        to_numpy(images[torch.from_numpy(picks).to(images.device)])
        for images in (originals, results)
    )
    return KeptImages((cell.start + rows[picks]).astype(np.int64), *kept)


def spread(rows: NDArray[np.int64], size: int, count: int) -> NDArray[np.int64]:
    """Which of some rows to keep, as evenly over a shard as can be: int64 (count,), ascending.

    Data are often sorted by class. The places are the same for every model, and of each the first
    row from there on is kept: models mostly keep the same images.

    Args:
        rows: int64 (n,), ascending, below ``size``.
        size: of the shard.
        count: at most n.

    >>> spread(np.array([0, 1, 2, 5, 6, 7]), 8, 2).tolist()
    [0, 3]
    """
    order = np.arange(count)
    first = np.searchsorted(rows, order * size // count)
    apart = np.maximum.accumulate(first - order) + order  # no row twice
    return np.minimum(apart, len(rows) - count + order)
