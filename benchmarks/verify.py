"""Checks every claim of a record: its checksums, its sums, and its images against the models."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from attacks.attacked import Ended
from attacks.objectives import Goal
from benchmarks import columns, durable, metrics
from benchmarks.baselines import BASELINES, Baseline, baseline_of
from benchmarks.cells import KeptImages
from benchmarks.evaluation import float32_logits
from benchmarks.measuring import measures
from benchmarks.reading import Record, read_record
from benchmarks.record_numbers import record_numbers

GetModel = Callable[[Mapping[str, object]], tuple[nn.Module, str]]

HOLDS, FAILS, UNCHECKED = "holds", "fails", "unchecked"

_PROBABILITY = 1e-4
"""Logits differ in the last bits between devices and batch shapes; the softmax then moves less."""

_RELATIVE = 1e-6
"""For measures, which are float64 sums stored as float32 (spacing 6e-8)."""

SAME_MODEL = "the model is the one that was attacked"


@dataclass(frozen=True)
class Finding:
    """A claim of the record and what became of it.

    Attributes:
        claim: what the record says.
        verdict: ``holds``, ``fails`` or ``unchecked``.
        detail: how it was checked and with what outcome, or why it could not be.
        model, attack: of which model and attack, or None for the record as a whole.
    """

    claim: str
    verdict: str
    detail: str
    model: str | None = None
    attack: str | None = None


def verify(path: Path, get_model: GetModel, *, batch_size: int | None = None) -> list[Finding]:
    """Check every claim of the record at ``path``.

    The whole file is read against its SHA-256; every aggregate is computed anew from the
    per-image columns; the columns are checked against each other; every kept image is measured
    anew and given, in float32, to its model.

    Args:
        path: the record.
        get_model: gives the module of a model's description, as stored in the record's
            configuration, and its digest.
        batch_size: images per forward; None to choose by image size.

    Raises:
        ValueError: if the record is too damaged to be read (that it is damaged is then known).
        OSError: if it cannot be opened.
    """
    record = read_record(path)
    findings = [_checksum(Path(path)), *_aggregates(record), *_consistency(record)]
    findings += _corruptions(record)
    described = record.config["models"]
    if not isinstance(described, list) or len(described) != len(record.models):
        raise ValueError(f"{path} is damaged: its configuration describes other models")
    for m, entry in enumerate(described):
        findings += _model_findings(record, m, entry, get_model, batch_size)
    return findings


def _checksum(path: Path) -> Finding:
    claim = "the file is as it was written"
    if durable.stored_checksum(path) is None:
        name = durable.checksum_path(path).name
        return Finding(claim, UNCHECKED, f"{name} is not beside it; its blocks' checksums hold")
    return Finding(claim, HOLDS, "SHA-256 of the whole file, checksums of its blocks")


def _aggregates(record: Record) -> list[Finding]:
    """Whether each stored aggregate is what the per-image columns come to."""
    expected = record_numbers(record)
    wrong = sorted(set(record.aggregates) - set(expected))
    wrong += [
        f"{name} of {model}"
        for m, model in enumerate(record.models)
        for name, values in expected.items()
        if not _agrees(record.aggregates.get(name), values, m)
    ]
    claim = "the aggregates follow from the per-image data"
    if wrong:
        return [Finding(claim, FAILS, f"differ: {', '.join(wrong)}")]
    return [Finding(claim, HOLDS, f"{len(record.aggregates)} tables computed anew")]


def _agrees(stored: columns.Array | None, computed: columns.Array, m: int) -> bool:
    return (
        stored is not None
        and stored.shape == computed.shape
        and np.allclose(
            stored[m].astype(np.float64), computed[m], rtol=1e-9, atol=1e-12, equal_nan=True
        )
    )


def _consistency(record: Record) -> list[Finding]:
    """Whether the columns can be true together."""
    clean, found = record.clean, record.attacked
    finished = found["attacked"] != 255
    given = found["attacked"] == 1
    labels = np.broadcast_to(clean["label"][:, None], given.shape)
    prediction, target = found["prediction"], found["target"]
    aimed = np.where(target < 0, prediction != labels, prediction == target)
    sure = found["confidence"] >= np.nan_to_num(found["goal_confidence"])[..., None].astype("f4")
    passes = (found["steps"] >= 0) & (found["forwards"] >= 0) & (found["backwards"] >= 0)
    rules = {
        "right means that the clean prediction is the label": np.where(
            clean["right"] == 255, True, (clean["prediction"] == clean["label"]) == clean["right"]
        ),
        "only images that are right were attacked": ~given | (clean["right"] == 1)[:, None],
        "misclassified means that the prediction is not the label": ~finished
        | ((prediction != labels) == found["misclassified"]),
        "a success has the wrong class, or its target, at the confidence asked for": ~given
        | ((aimed & sure) == (found["success"] == 1)),
        "images that were not attacked are unchanged": ~finished
        | given
        | ((found["success"] == 0) & (found["steps"] == 0) & (found["linf"] == 0)),
        "counts are counts and ends are known": ~given
        | (passes & (found["l0"] >= 0) & (found["ended"] <= max(Ended))),
    }
    if record.corrupted:
        rules |= _corruption_rules(record)
    return [
        Finding(claim, HOLDS, f"on all {holds.size} entries")
        if holds.all()
        else Finding(claim, FAILS, f"not on {int((~holds).sum())} of {holds.size} entries")
        for claim, holds in rules.items()
    ]


def _corruption_rules(record: Record) -> dict[str, NDArray[np.bool_]]:
    found = record.corrupted
    finished = found["right"] != 255
    labels = record.clean["label"][:, None, None]
    known = (found["prediction"] >= 0) & (found["confidence"] > 0) & (found["confidence"] <= 1)
    none = (found["prediction"] == -1) & np.isnan(found["confidence"])
    return {
        "right on a corrupted image means that the prediction is the label": ~finished
        | ((found["prediction"] == labels) == found["right"]),
        "what finished of the corrupted images is there, and nothing else": np.where(
            finished, known, none
        ),
    }


def _corruptions(record: Record) -> list[Finding]:
    """What can be said of corrupted images, which a record does not hold."""
    if not record.corrupted:
        return []
    axes, listed = record.axes, record.config["corruptions"]
    pairs = {(name, severity) for name in axes.corruptions for severity in axes.severities}
    listed = listed if isinstance(listed, list) else []
    entries = [each for each in listed if isinstance(each, Mapping)]
    same = pairs == {(each.get("corruption"), each.get("severity")) for each in entries}
    detail = f"{len(axes.corruptions)} corruptions at {len(axes.severities)} severities"
    findings = [
        Finding("the corruptions are those of the configuration", HOLDS if same else FAILS, detail)
    ]
    baseline = baseline_of(record.config)
    if isinstance(baseline, Baseline):
        claim = f"the errors of {baseline.name}, the baseline, are those published"
        published = BASELINES.get(baseline.name)
        verdict = UNCHECKED if published is None else HOLDS if published == baseline else FAILS
        findings.append(Finding(claim, verdict, baseline.source))
    unkept = "corrupted images are not kept; the same command, run anew, classifies them again"
    return findings + [
        Finding("the predictions on corrupted images", UNCHECKED, unkept, model)
        for model in record.models
    ]


def _model_findings(
    record: Record,
    m: int,
    entry: Mapping[str, object],
    get_model: GetModel,
    batch_size: int | None,
) -> list[Finding]:
    name = record.models[m]
    kept = [(a, record.images(m, a)) for a in range(len(record.attacks))]
    kept = [(a, images) for a, images in kept if len(images.rows)]
    findings = []
    for a, attack in enumerate(record.attacks):
        attacked = int((record.attacked["attacked"][m, a] == 1).sum())
        there = sum(len(images.rows) for b, images in kept if a == b)
        if there < attacked:
            findings.append(
                Finding(
                    "every attacked image is kept",
                    UNCHECKED,
                    f"{there} of {attacked} are; only these are measured and classified anew",
                    name,
                    attack,
                )
            )
    if not kept:
        return findings
    claim = SAME_MODEL
    try:
        description = entry["description"]
        if not isinstance(description, Mapping):
            raise ValueError("the record does not describe it")
        module, digest = get_model(description)
    except (OSError, ValueError, KeyError) as error:
        detail = " ".join(str(error).split())
        return [*findings, Finding(claim, UNCHECKED, f"it cannot be loaded: {detail}", name)]
    if digest != entry["digest"]:
        detail = f"its digest is {digest[:12]}, the record's {str(entry['digest'])[:12]}"
        return [*findings, Finding(claim, FAILS, detail, name)]
    findings.append(Finding(claim, HOLDS, f"digest {digest[:12]}", name))
    for a, images in kept:
        findings += _image_findings(record, m, a, images, module, batch_size)
    return findings


def _image_findings(
    record: Record, m: int, a: int, images: KeptImages, module: nn.Module, batch_size: int | None
) -> list[Finding]:
    """Measure and classify the kept images of one model under one attack anew."""
    parameter = next(module.parameters(), None)
    device = torch.device("cpu") if parameter is None else parameter.device
    original = torch.from_numpy(images.original).to(device)
    result = torch.from_numpy(images.result).to(device)
    claimed = {name: record.attacked[name][m, a, images.rows] for name in columns.ATTACK}
    clean = {name: record.clean[name][m, images.rows] for name in columns.CLEAN}
    labels = torch.from_numpy(clean["label"].astype(np.int64)).to(device)
    targets = torch.from_numpy(claimed["target"].astype(np.int64)).to(device)
    confidence = float(np.nan_to_num(record.attacked["goal_confidence"][m, a]))

    clean_logits = float32_logits(module, original, batch_size)
    checks = {"the clean predictions": _prediction_holds(clean_logits, clean, "")}
    for suffix, shown in (("", result), ("_8bit", metrics.rounded8(result))):
        logits = float32_logits(module, shown, batch_size)
        where = "after rounding to 8 bits" if suffix else "as float"
        checks[f"the predictions {where}"] = _prediction_holds(logits, claimed, suffix)
        checks[f"success {where}"] = _success_holds(
            logits, labels, targets, confidence, claimed["success" + suffix] == 1
        )
    found = measures(original, result, record.thresholds.tolist())
    for name, values in found.items():
        close = np.isclose(
            claimed[name], values.cpu().numpy(), rtol=_RELATIVE, atol=1e-12, equal_nan=False
        )
        holds = close.reshape(len(close), -1).all(axis=1)
        checks[f"the {name.replace('_', ' ')}"] = holds, np.zeros_like(holds)
    return [
        _counted(claim, holds, borderline, record.models[m], record.attacks[a])
        for claim, (holds, borderline) in checks.items()
    ]


def _counted(
    claim: str, holds: NDArray[np.bool_], borderline: NDArray[np.bool_], model: str, attack: str
) -> Finding:
    count = len(holds)
    near = int((holds & borderline).sum())
    note = f"; {near} within {_PROBABILITY} of the line" if near else ""
    if holds.all():
        return Finding(claim, HOLDS, f"on all {count} kept images{note}", model, attack)
    detail = f"not on {int((~holds).sum())} of {count} kept images{note}"
    return Finding(claim, FAILS, detail, model, attack)


def _prediction_holds(
    logits: Tensor, claimed: Mapping[str, columns.Array], suffix: str
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether the claimed class is the top one, with the claimed confidence."""
    probabilities = torch.softmax(logits.double(), dim=1).cpu().numpy()
    classes = probabilities.shape[1]
    prediction = claimed["prediction" + suffix].astype(np.int64)
    known = (prediction >= 0) & (prediction < classes)
    rows = np.arange(len(prediction))
    own = probabilities[rows, np.where(known, prediction, 0)]
    top = probabilities.max(axis=1)
    close = np.abs(claimed["confidence" + suffix].astype(np.float64) - own) <= _PROBABILITY
    return known & (own >= top - _PROBABILITY) & close, own < top


def _success_holds(
    logits: Tensor, labels: Tensor, targets: Tensor, confidence: float, claimed: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether success and failure are as claimed; (holds, only within the tolerance)."""
    untargeted = targets < 0
    met = torch.where(
        untargeted,
        Goal(None, confidence).met(logits, labels),
        Goal(targets, confidence).met(logits, labels),
    )
    agrees = met.cpu().numpy() == claimed
    probabilities = torch.softmax(logits.double(), dim=1)
    # How far the goal is met (positive) or missed (negative), in probability.
    aim = torch.where(untargeted, labels, targets.clamp(min=0))[:, None]
    own = probabilities.gather(1, aim)[:, 0]
    others = probabilities.scatter(1, aim, -1.0).amax(dim=1)
    ahead = torch.where(untargeted, others - own, own - others)
    sure = torch.where(untargeted, others, own) - confidence
    near = (torch.minimum(ahead, sure).abs() <= _PROBABILITY).cpu().numpy()
    return agrees | near, ~agrees
