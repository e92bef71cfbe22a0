"""One cell: what a model makes of a shard's images, untouched, corrupted or probed."""

import time

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from attacks.cautions import examine_model
from benchmarks import columns
from benchmarks.answers import Notes, answers, on_device, refuse_nonfinite, to_numpy
from benchmarks.attention import drift, logits_and_maps
from benchmarks.cells import CellResult
from benchmarks.evaluation import float32_forward, float32_logits, refuse_outside
from benchmarks.layers import SpatialLayer
from benchmarks.plans import Plan
from benchmarks.suite import Made, Shard

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
    images, labels = on_device(plan, shard)
    notes = Notes()
    began = time.perf_counter()
    rows = columns.empty_rows(columns.CLEAN, len(images))
    logits, maps = _classify(rows, plan, model, images, labels, "clean images", notes, layer)
    _examine(model, images, notes)
    others = logits.scatter(1, labels[:, None], float("inf"))
    rows["least_likely"] = to_numpy(others.argmin(dim=1)) if logits.shape[1] > 1 else -1
    seen = None if maps is None else np.asarray(to_numpy(maps), np.float32)
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
    _, labels = on_device(plan, shard)
    notes = Notes()
    layer, clean = attended or (None, None)
    more = {} if layer is None else columns.ATTENTION
    rows = columns.empty_rows({**columns.CORRUPTED, **more}, len(images))
    _, maps = _classify(rows, plan, model, images, labels, where, notes, layer)
    if maps is not None:
        moved = drift(torch.from_numpy(np.asarray(clean)), maps.cpu())  # MPS has no float64
        for name, values in moved.items():
            rows[name] = to_numpy(values)
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


def _classify(
    rows: NDArray[np.void],
    plan: Plan,
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    where: str,
    notes: Notes,
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
    refuse_nonfinite(logits, where)
    refuse_outside(labels, logits.shape[1])
    rows["label"] = to_numpy(labels)
    for name, values in answers(logits, labels).items():
        rows[name] = to_numpy(values)
    rows["right"] = rows["prediction"] == rows["label"]
    return logits, maps


def _examine(model: nn.Module, images: Tensor, notes: Notes) -> None:
    # Both passes inside one block: leaving it restores the generators a random model draws from.
    with float32_forward(model, images.device) as forward:
        notes.add(*examine_model(forward, images[:_EXAMINED]))
