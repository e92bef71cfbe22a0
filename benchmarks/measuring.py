"""One cell: what a model makes of a shard's images, untouched, attacked, corrupted or probed."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from attacks.attacked import Attacked, Caution, Ended
from attacks.cautions import examine_model, halved_batch, unconfirmed
from attacks.draws import image_seeds, wrong_classes
from attacks.execution import Execution, engine
from benchmarks import columns, metrics
from benchmarks.attention import drift, logits_and_maps
from benchmarks.cells import CellResult, KeptImages
from benchmarks.evaluation import float32_forward, float32_logits, refuse_outside
from benchmarks.judging import readings
from benchmarks.layers import SpatialLayer
from benchmarks.planning import Cell, Plan
from benchmarks.suite import Condition, Made, Shard

_RANGE_SLACK = 1e-6  # rounding may leave -2.98e-8; more than that is a fault of the attack
_EXAMINED = 8  # images that are shown to the model twice, to see whether it answers the same


def clean_cell(
    plan: Plan, model: nn.Module, shard: Shard, layer: SpatialLayer | None = None
) -> CellResult:
    """The model's float32 predictions on a shard's untouched images.

    With a ``layer``, what the model looks at there too.

    Raises:
        ValueError: if the model's logits are unusable or a label is not one of its classes.
    """
    images, labels = _on_device(plan, shard)
    notes = _Notes()
    began = time.perf_counter()
    rows = columns.empty_rows(columns.CLEAN, len(images))
    logits, maps = _classify(rows, plan, model, images, labels, "clean images", notes, layer)
    _examine(model, images, notes)
    others = logits.scatter(1, labels[:, None], float("inf"))
    rows["least_likely"] = _numpy(others.argmin(dim=1)) if logits.shape[1] > 1 else -1
    seen = None if maps is None else np.asarray(_numpy(maps), np.float32)
    seconds = {"evaluation": time.perf_counter() - began}
    return CellResult(rows, cautions=notes.cautions, seconds=seconds, maps=seen)


def made_cell(
    plan: Plan,
    model: nn.Module,
    shard: Shard,
    images: Tensor,
    where: str,
    attended: tuple[SpatialLayer, NDArray[np.float32]] | None = None,
) -> CellResult:
    """The model's float32 predictions on images that were made of a shard without looking at it.

    Args:
        images: what `made_images` made of the shard.
        where: what messages call them, such as ``corrupted images``.
        attended: the layer at which what the model looks at is measured, and the clean pass's maps.

    Raises:
        ValueError: if the model's logits are unusable or a label is not one of its classes.
    """
    began = time.perf_counter()
    _, labels = _on_device(plan, shard)
    notes = _Notes()
    layer, clean = attended or (None, None)
    more = {} if layer is None else columns.ATTENTION
    rows = columns.empty_rows({**columns.CORRUPTED, **more}, len(images))
    _, maps = _classify(rows, plan, model, images, labels, where, notes, layer)
    if maps is not None:
        moved = drift(torch.from_numpy(np.asarray(clean)), maps.cpu())  # MPS has no float64
        for name, values in moved.items():
            rows[name] = _numpy(values)
    if not plan.clean:  # else the clean pass has looked at the model
        _examine(model, images, notes)
    seconds = {"evaluation": time.perf_counter() - began}
    return CellResult(rows, cautions=notes.cautions, seconds=seconds)


def made_images(plan: Plan, made: Made, shard: Shard, rows: slice) -> Tensor:
    """A shard's images, corrupted or probed: float32 (n, C, H, W) in [0, 1], on the plan's device.

    Raises:
        ValueError: if what the corruption or probe returns is none, or not as many.
    """
    images = made.images(shard, rows)
    where = f"{made.name} returned"
    if images.dim() != 4 or len(images) != len(shard.labels) or images.dtype != torch.float32:
        raise ValueError(
            f"{where} {images.dtype} of shape {tuple(images.shape)} for {len(shard.labels)} images"
        )
    low, high = (float(value) for value in images.aminmax())
    if not (low >= 0 and high <= 1):  # not a number fails too
        raise ValueError(f"{where} values from {low:g} to {high:g}, not in [0, 1]")
    return images.to(plan.device)


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
    images, labels = _on_device(plan, shard)
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
    notes = _Notes()

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
        given[given] = _numpy(elsewhere)
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
            rows[f"judge_{name}"][given] = _numpy(values)
    notes.add(*attacked.cautions)
    seconds = {"attack": attack_seconds, "evaluation": time.perf_counter() - began}
    return CellResult(
        rows,
        cautions=notes.cautions,
        confidence=float(attacked.goal.confidence),
        seconds=seconds,
        images=_kept(plan, cell, given, originals, results),
    )


@dataclass
class _Notes:
    """Cautions as they come up, at most one of each code and wording."""

    _found: dict[tuple[str, str], Caution] = field(default_factory=dict)

    @property
    def cautions(self) -> tuple[Caution, ...]:
        return tuple(self._found.values())

    def add(self, *cautions: Caution) -> None:
        for caution in cautions:
            self._found.setdefault((caution.code, caution.message), caution)

    def halved(self, size: int) -> None:
        self.add(halved_batch(size))


def _classify(
    rows: NDArray[np.void],
    plan: Plan,
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    where: str,
    notes: _Notes,
    layer: SpatialLayer | None,
) -> tuple[Tensor, Tensor | None]:
    """Write labels and float32 predictions into the rows; return the logits (n, classes).

    With a ``layer``, return what the model looks at there when asked for the labels, too.
    """
    maps = None
    if layer is None:
        logits = float32_logits(model, images, plan.batch_size, notes.halved)
    else:
        logits, maps = logits_and_maps(model, images, labels, layer, plan.batch_size, notes.halved)
    _refuse_nonfinite(logits, where)
    refuse_outside(labels, logits.shape[1])
    rows["label"] = _numpy(labels)
    for name, values in answers(logits, labels).items():
        rows[name] = _numpy(values)
    rows["right"] = rows["prediction"] == rows["label"]
    return logits, maps


def _examine(model: nn.Module, images: Tensor, notes: _Notes) -> None:
    # Both passes inside one block: leaving it restores the generators a random model draws from.
    with float32_forward(model, images.device) as forward:
        notes.add(*examine_model(forward, images[:_EXAMINED]))


def _on_device(plan: Plan, shard: Shard) -> tuple[Tensor, Tensor]:
    labels = torch.from_numpy(np.asarray(shard.labels, np.int64))
    return shard.images.to(plan.device), labels.to(plan.device)


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
    notes: _Notes,
) -> None:
    """Write what became of the attacked images into their rows."""
    found: dict[str, Tensor] = {}
    for suffix, shown in (("", results), ("_8bit", metrics.rounded8(results))):
        logits = float32_logits(model, shown, plan.batch_size, notes.halved)
        _refuse_nonfinite(logits, "attacked images")
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
        rows[name][given] = _numpy(values)
    broken = int(((found["ended"] == Ended.REACHED) & ~found["success"]).sum())
    if broken:
        notes.add(unconfirmed(broken, len(labels)))


def answers(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """What the logits (N, K) answer to images of labels (N,): `benchmarks.columns.ANSWER`, (N,)."""
    log_probabilities = torch.log_softmax(logits.double(), dim=1)
    probabilities = log_probabilities.exp()
    own = labels[:, None]
    # Of equal scores the first counts as before the others, as argmax has it.
    score, numbers = logits.gather(1, own), torch.arange(logits.shape[1], device=logits.device)
    before = (logits > score) | ((logits == score) & (numbers < own))
    others = probabilities.square().sum(dim=1) - probabilities.gather(1, own)[:, 0].square()
    return {
        "prediction": logits.argmax(dim=1),
        "confidence": torch.softmax(logits, dim=1).max(dim=1).values,
        "rank": before.sum(dim=1),
        "loss": -log_probabilities.gather(1, own)[:, 0],
        "brier": others + (1 - probabilities.gather(1, own)[:, 0]).square(),
    }


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
        _numpy(images[torch.from_numpy(picks).to(images.device)]) for images in (originals, results)
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


def _refuse_nonfinite(logits: Tensor, where: str) -> None:
    bad = int((~torch.isfinite(logits).all(dim=1)).sum())
    if bad:
        raise ValueError(
            f"the model's logits are not finite (NaN or infinite) on {bad} of {len(logits)} {where}"
        )


def _numpy(values: Tensor) -> columns.Array:
    return np.asarray(values.detach().cpu().numpy())
