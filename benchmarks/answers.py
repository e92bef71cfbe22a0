"""What a model answers to images, and what cells of every kind need to write it down."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from attacks.attacked import Caution
from attacks.cautions import halved_batch
from benchmarks import columns
from benchmarks.plans import Plan
from benchmarks.suite import Shard


@dataclass
class Notes:
    """Cautions as they come up, at most one of each code and wording."""

    _found: dict[tuple[str, str], Caution] = field(default_factory=dict)

    @property
    def cautions(self) -> tuple[Caution, ...]:
        """In the order in which they came up."""
        return tuple(self._found.values())

    def add(self, *cautions: Caution) -> None:
        """Note some more."""
        for caution in cautions:
            self._found.setdefault((caution.code, caution.message), caution)

    def halved(self, size: int) -> None:
        """Note that memory ran out, and batches are of so many images now."""
        self.add(halved_batch(size))


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


def on_device(plan: Plan, shard: Shard) -> tuple[Tensor, Tensor]:
    """A shard's images (n, C, H, W) and labels (n,), on the plan's device."""
    labels = torch.from_numpy(np.asarray(shard.labels, np.int64))
    return shard.images.to(plan.device), labels.to(plan.device)


def refuse_nonfinite(logits: Tensor, where: str) -> None:
    """Raise `ValueError` unless logits (n, K) are finite; ``where`` says of which images."""
    bad = int((~torch.isfinite(logits).all(dim=1)).sum())
    if bad:
        raise ValueError(
            f"the model's logits are not finite (NaN or infinite) on {bad} of {len(logits)} {where}"
        )


def to_numpy(values: Tensor) -> columns.Array:
    """The values, on the CPU."""
    return np.asarray(values.detach().cpu().numpy())
