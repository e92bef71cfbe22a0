"""Checks a sample of a record's claims on data that are loaded anew."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from attacks.probes import resolve
from benchmarks import columns
from benchmarks.attention import drift, logits_and_maps
from benchmarks.columns import Array
from benchmarks.evaluation import float32_logits
from benchmarks.findings import CLOSE, UNCHECKED, Finding, counted, prediction_holds
from benchmarks.layers import SpatialLayer
from benchmarks.measuring import answers
from benchmarks.reading import Record
from benchmarks.suite import Corrupted, Examples, Made, Probed

SHARDS, IMAGES = 4, 16  # so many runs of so many images, spread over the data
CELLS = 3  # corruptions at a severity, and probes, of all that were measured

_ONE_LEVEL = 0.02
"""Of a probability: elsewhere, a corrupted image may come out one of 256 levels different."""

_RANKS = 0.1
"""Of a rank correlation, likewise."""

Place = tuple[int, int] | tuple[int]
"""Where a corruption at a severity (k, s), or a probe (p), lies on the record's axes."""


@dataclass(frozen=True)
class Again:
    """The data of a record, loaded anew.

    Attributes:
        examples: the same examples in the same order.
        corruption: gives a corruption at a severity as it was measured.

    Raises:
                ValueError: if it cannot be made again.
                OSError: if its images cannot be read.
    """

    examples: Examples
    corruption: Callable[[str, int], Corrupted]


@dataclass(frozen=True)
class Sample:
    """Some of the images of a record.

    Attributes:
        rows: int64 (n,), where they lie in the data.
        images: float32 (n, C, H, W), untouched.
        made: the same corrupted or probed.
        left_out: why a corruption at a severity, or a probe, that was chosen is not among them.
    """

    rows: NDArray[np.int64]
    images: Tensor
    made: Mapping[Place, Tensor]
    left_out: Mapping[Place, str]


def draw_sample(record: Record, again: Again) -> Sample:
    """Take some images of the data, and make of them what some of the cells did.

    Raises:
        ValueError: if the data are others.
        OSError: if images cannot be read.
    """
    count = len(record.ids)
    described = record.config["examples"]
    ids = np.asarray(again.examples.ids(slice(0, len(again.examples))))
    digest = described["digest"] if isinstance(described, Mapping) else None
    if again.examples.digest != digest or not np.array_equal(ids, record.ids):
        raise ValueError(
            f"the data there are others now: {len(ids)} examples of digest "
            f"{again.examples.digest[:12]}, the record's are {count} of {str(digest)[:12]}"
        )
    starts = sorted({count * part // SHARDS for part in range(SHARDS)})
    slices = [slice(start, min(start + IMAGES, end)) for start, end in pairwise([*starts, count])]
    shards = [again.examples.shard(rows.start, rows.stop) for rows in slices]
    found: dict[Place, Tensor] = {}
    left_out: dict[Place, str] = {}
    for place in _cells(record):
        try:
            made = _made_again(record, again, place)
            pairs = zip(shards, slices, strict=True)
            found[place] = torch.cat([made.images(shard, rows).cpu() for shard, rows in pairs])
        except (ValueError, OSError) as error:
            left_out[place] = " ".join(str(error).split())
    rows = np.concatenate([np.arange(rows.start, rows.stop) for rows in slices])
    images = torch.cat([shard.images.cpu() for shard in shards])
    return Sample(rows, images, found, left_out)


def _cells(record: Record) -> Sequence[Place]:
    """Some corruptions at severities, and probes, that were measured, by the record's seed."""
    places: list[Place] = []
    for group in (record.corrupted, record.probed):
        if not group:
            continue
        measured = np.argwhere((group["right"] != 255).any(axis=(0, -1)))
        chosen = np.random.default_rng(record.seed).permutation(len(measured))[:CELLS]
        places += [tuple(place) for place in measured[np.sort(chosen)].tolist()]
    return places


def _made_again(record: Record, again: Again, place: Place) -> Made:
    """What makes the images of a place as it was measured.

    Raises:
        ValueError: if there is no such probe in this release.
    """
    if len(place) == 2:
        axes = record.axes
        return again.corruption(axes.corruptions[place[0]], axes.severities[place[1]])
    listed: Any = record.config["probes"]
    described = listed[place[0]]
    bound = resolve(str(described["spec"]))
    made = Probed(bound.spec, bound.probe, int(described["seed"]))
    if made.spec != record.probes[place[0]] or dict(made.description) != described:
        raise ValueError("this release probes otherwise than is told")
    return made


def sample_findings(
    record: Record, m: int, sample: Sample, module: nn.Module, batch_size: int | None
) -> list[Finding]:
    """Classify the sample's images anew with one model, and compare."""
    model = record.models[m]
    clean = {name: record.clean[name][m] for name in columns.CLEAN}
    findings = []
    if (clean["right"] != 255).any():
        findings.append(
            _compared("the clean answers", sample.images, clean, sample, module, model, batch_size)
        )
    for place, why in sample.left_out.items():
        findings.append(Finding(_claim(record, place), UNCHECKED, why, model))
    for place, images in sample.made.items():
        group, close = (record.corrupted, _ONE_LEVEL) if len(place) == 2 else (record.probed, CLOSE)
        found = {name: values[(m, *place)] for name, values in group.items()}
        found["label"] = clean["label"]
        if (found["right"][sample.rows] != 255).any():
            claim = _claim(record, place)
            findings.append(
                _compared(claim, images, found, sample, module, model, batch_size, close)
            )
        if len(place) == 2:
            findings += _attention(record, m, sample, place, module, batch_size)
    return findings


def _attention(
    record: Record,
    m: int,
    sample: Sample,
    place: tuple[int, int],
    module: nn.Module,
    batch_size: int | None,
) -> list[Finding]:
    """Measure the drift of attention of the sample's images anew, where it was measured."""
    mine = {name: values[(m, *place)][sample.rows] for name, values in record.attention.items()}
    there = np.flatnonzero(mine["defined"] != 255) if mine else np.empty(0)
    if not len(there):
        return []
    layers: Any = record.config["attention"]
    parameter = next(module.parameters(), None)
    device = torch.device("cpu") if parameter is None else parameter.device
    labels = torch.from_numpy(record.clean["label"][m][sample.rows][there].astype(np.int64))
    clean, other = (
        logits_and_maps(
            module,
            images[torch.from_numpy(there)].to(device),
            labels.to(device),
            SpatialLayer(**layers[record.models[m]]),
            batch_size,
        )[1].cpu()
        for images in (sample.images, sample.made[place])
    )
    holds, near = np.ones(len(there), np.bool_), np.zeros(len(there), np.bool_)
    for name, values in drift(clean, other).items():
        if name == "defined":
            continue
        found, told = values.numpy(), mine[name][there]
        # A cell that is barely above 0 on one device may be cut off on another: ranks move then.
        close = _RANKS if name == "rank_correlation" else _ONE_LEVEL
        holds &= np.isclose(found, told, rtol=0, atol=close, equal_nan=True)
    name, severity = record.axes.corruptions[place[0]], record.axes.severities[place[1]]
    claim = f"the drift of attention under {name} at severity {severity}"
    return [counted(claim, holds, near, "images of a sample", record.models[m])]


def _claim(record: Record, place: Place) -> str:
    if len(place) == 1:
        return f"the answers under {record.probes[place[0]]}"
    name, severity = record.axes.corruptions[place[0]], record.axes.severities[place[1]]
    return f"the answers under {name} at severity {severity}"


def _compared(
    claim: str,
    images: Tensor,
    claimed: Mapping[str, Array],
    sample: Sample,
    module: nn.Module,
    model: str,
    batch_size: int | None,
    close: float = CLOSE,
) -> Finding:
    """Prediction, confidence, loss and Brier score of the images that were measured."""
    there = claimed["right"][sample.rows] != 255
    mine = {name: values[sample.rows][there] for name, values in claimed.items()}
    parameter = next(module.parameters(), None)
    device = torch.device("cpu") if parameter is None else parameter.device
    shown = images[torch.from_numpy(there)].to(device)
    logits = float32_logits(module, shown, batch_size)
    holds, near = prediction_holds(logits, mine, close=close)
    found = answers(logits, torch.from_numpy(mine["label"].astype(np.int64)).to(device))
    # Of a loss, the probability of the label is what is compared: it is where a loss comes from.
    label = np.exp(-mine["loss"].astype(np.float64))
    holds &= np.abs(label - (-found["loss"]).exp().cpu().numpy()) <= close
    holds &= np.abs(mine["brier"] - found["brier"].cpu().numpy()) <= 4 * close
    return counted(claim, holds, near, "images of a sample", model)
