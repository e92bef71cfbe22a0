"""Checks the kept images of a record: measured and classified anew."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from attacks.objectives import Goal
from benchmarks import columns, metrics
from benchmarks.attack_cells import measures
from benchmarks.cells import KeptImages
from benchmarks.evaluation import float32_logits
from benchmarks.findings import CLOSE, Finding, counted, prediction_holds
from benchmarks.reading import Record

_RELATIVE = 1e-6
"""For measures, which are float64 sums stored as float32 (spacing 6e-8)."""


def image_findings(
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
    checks = {"the clean predictions": prediction_holds(clean_logits, clean, "")}
    for suffix, shown in (("", result), ("_8bit", metrics.rounded8(result))):
        logits = float32_logits(module, shown, batch_size)
        where = "after rounding to 8 bits" if suffix else "as float"
        checks[f"the predictions {where}"] = prediction_holds(logits, claimed, suffix)
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
        counted(claim, holds, near, "kept images", record.models[m], record.attacks[a])
        for claim, (holds, near) in checks.items()
    ]


def reading_findings(
    record: Record, m: int, a: int, images: KeptImages, judge: nn.Module, batch_size: int | None
) -> list[Finding]:
    """Let the judge read the kept images of one model under one attack anew."""
    parameter = next(judge.parameters(), None)
    device = torch.device("cpu") if parameter is None else parameter.device
    mine = {name: values[m, a, images.rows] for name, values in record.judged.items()}
    read = mine["prediction"] >= 0  # where records were joined, not all may be
    findings = []
    for before, what, shown in (
        ("", "what the judge reads in the results", images.result),
        ("clean_", "what the judge reads in the originals", images.original),
    ):
        if not read.any():
            continue
        claimed = {name: mine[before + name][read] for name in ("prediction", "confidence")}
        logits = float32_logits(judge, torch.from_numpy(shown[read]).to(device), batch_size)
        holds, near = prediction_holds(logits, claimed)
        model, attack = record.models[m], record.attacks[a]
        findings.append(counted(what, holds, near, "kept images", model, attack))
    return findings


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
    near = (torch.minimum(ahead, sure).abs() <= CLOSE).cpu().numpy()
    return agrees | near, ~agrees
