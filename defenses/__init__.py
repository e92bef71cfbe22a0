"""Training that hardens. A new defense is one file and one line in `DEFENSES`."""

from collections.abc import Callable

from defenses.corrupted import corrupted
from defenses.crop_flip import crop_flip
from defenses.defense import Defense, compose
from defenses.evaluation import Batch, Images, channel_statistics, evaluate
from defenses.geometric import geometric
from defenses.noisy import noisy
from defenses.resolving import Bound, composed, resolve
from defenses.steps import learning_rate
from defenses.training import DivergenceError, Epoch, Resume, train

DEFENSES: dict[str, Callable[..., Defense]] = {
    "crop-flip": crop_flip,
    "noisy": noisy,
    "geometric": geometric,
    "corrupted": corrupted,
}
"""Every defense by its name: a function from settings to a `Defense`."""

__all__ = [
    "DEFENSES",
    "Batch",
    "Bound",
    "Defense",
    "DivergenceError",
    "Epoch",
    "Images",
    "Resume",
    "channel_statistics",
    "compose",
    "composed",
    "evaluate",
    "learning_rate",
    "resolve",
    "train",
]
