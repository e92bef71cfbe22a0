"""What is climbed, and when an image is done.

An objective maps logits (N, K) to one value per image (N,) that the attack *increases*.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from attacks.spec import unknown

ClassObjective = Callable[[Tensor, Tensor], Tensor]
"""(logits (N, K), classes (N,)) -> values (N,)."""


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


Objective = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(logits (N, K), labels (N,), targets (N,)) -> values (N,) to increase."""


def objective_named(name: str, *, targeted: bool) -> Objective:
    """The objective called ``ce``, ``margin``, ``dlr``, ``confidence`` or ``logit``.

    Raises:
        ValueError: for another name.
    """
    if name not in OBJECTIVES:
        raise ValueError(unknown("loss", name, OBJECTIVES))
    untargeted, towards = OBJECTIVES[name]
    if targeted:
        return lambda logits, labels, targets: towards(logits, targets)
    return lambda logits, labels, targets: untargeted(logits, labels)


def _own(logits: Tensor, classes: Tensor) -> Tensor:
    return logits.gather(1, classes[:, None])[:, 0]


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """The training loss, -log softmax(logits)[label]."""
    return F.cross_entropy(logits, labels, reduction="none")


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """The largest logit of a wrong class minus the label's (Carlini & Wagner 2017, f6)."""
    return _others(logits, labels).amax(dim=1) - _own(logits, labels)


def dlr(logits: Tensor, labels: Tensor) -> Tensor:
    """Difference of logits ratio (Croce & Hein 2020, eq. 6); needs at least 3 classes."""
    _need_classes("dlr", logits, 3)
    ranked = logits.sort(dim=1, descending=True).values
    return margin(logits, labels) / (ranked[:, 0] - ranked[:, 2] + 1e-12)


def dlr_towards(logits: Tensor, targets: Tensor) -> Tensor:
    """The targeted difference of logits ratio (Croce & Hein 2020, eq. 7), climbing to the target.

    Its numerator is the target's logit minus the largest other one. For an image still predicted
    as its label that is the paper's z_t - z_y. Needs at least 4 classes.
    """
    _need_classes("targeted dlr", logits, 4)
    ranked = logits.sort(dim=1, descending=True).values
    scale = ranked[:, 0] - (ranked[:, 2] + ranked[:, 3]) / 2
    return -margin(logits, targets) / (scale + 1e-12)


def strongest_wrong(logits: Tensor, labels: Tensor) -> Tensor:
    """The log-probability of the most probable wrong class."""
    return _others(logits.log_softmax(dim=1), labels).amax(dim=1)


def aimed(logits: Tensor, labels: Tensor, aims: Tensor) -> Tensor:
    """The log-probability of the class aimed at, or of the strongest wrong one where it is -1."""
    towards = log_probability(logits, aims.clamp_min(0))
    return torch.where(aims < 0, strongest_wrong(logits, labels), towards)


def log_probability(logits: Tensor, targets: Tensor) -> Tensor:
    """The log-probability of the target."""
    return -cross_entropy(logits, targets)


OBJECTIVES: dict[str, tuple[ClassObjective, ClassObjective]] = {
    # name: (away from the label, towards the target)
    "ce": (cross_entropy, log_probability),
    "margin": (margin, lambda logits, targets: -margin(logits, targets)),
    "dlr": (dlr, dlr_towards),
    "confidence": (strongest_wrong, log_probability),
    "logit": (lambda logits, labels: -_own(logits, labels), _own),
}


def _others(logits: Tensor, classes: Tensor) -> Tensor:
    return logits.scatter(1, classes[:, None], float("-inf"))


def _need_classes(name: str, logits: Tensor, least: int) -> None:
    if logits.shape[1] < least:
        raise ValueError(f"{name} needs at least {least} classes, the model has {logits.shape[1]}")
