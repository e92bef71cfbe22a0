"""What is climbed, and when an image is done.

An objective maps logits (N, K) to one value per image (N,) that the attack *increases*.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Goal:
    """When an attack on an image has succeeded.

    Untargeted (``targets`` is None): the predicted class differs from the label. Targeted: the
    predicted class is the target. In both cases the predicted class must have a softmax
    probability of at least ``confidence``.
    """

    targets: Tensor | None = None
    confidence: float = 0.0

    def met(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Whether each image meets the goal: bool (N,), from logits (N, K) and labels (N,)."""
        probability, predicted = torch.softmax(logits.float(), dim=1).max(dim=1)
        predicted = logits.argmax(dim=1)
        wrong = predicted != labels if self.targets is None else predicted == self.targets
        finite = torch.isfinite(logits).all(dim=1)
        return wrong & finite & (probability >= self.confidence)

    def select(self, rows: Tensor) -> "Goal":
        """The same goal for some of the images."""
        return Goal(None if self.targets is None else self.targets[rows], self.confidence)
