"""Training that hardens. A new defense is one file and one line in `DEFENSES`."""

from collections.abc import Callable

from defenses.adversarial import adversarial
from defenses.augmix import augmix
from defenses.corrupted import corrupted
from defenses.crop_flip import crop_flip
from defenses.cutmix import cutmix
from defenses.deepaugment import deepaugment
from defenses.defense import Defense, compose
from defenses.evaluation import Batch, Images, channel_statistics, evaluate
from defenses.geometric import geometric
from defenses.hard_negatives import FoolingImages, hard_negatives
from defenses.mixup import mixup
from defenses.noisy import noisy
from defenses.perturbed import ImageNetwork
from defenses.randaugment import randaugment
from defenses.resolving import Bound, composed, resolve
from defenses.restore import restore
from defenses.restorer import Restored, Restorer
from defenses.steps import learning_rate
from defenses.stylized import stylized
from defenses.training import DivergenceError, Epoch, Resume, train
from defenses.trivialaugment import trivialaugment

DEFENSES: dict[str, Callable[..., Defense]] = {
    "crop-flip": crop_flip,
    "noisy": noisy,
    "geometric": geometric,
    "corrupted": corrupted,
    "augmix": augmix,
    "hard-negatives": hard_negatives,
    "adversarial": adversarial,
    "mixup": mixup,
    "cutmix": cutmix,
    "randaugment": randaugment,
    "trivialaugment": trivialaugment,
    "restore": restore,
    "deepaugment": deepaugment,
    "stylized": stylized,
}
"""Every defense by its name: a function from settings to a `Defense`."""

__all__ = [
    "DEFENSES",
    "Batch",
    "Bound",
    "Defense",
    "DivergenceError",
    "Epoch",
    "FoolingImages",
    "ImageNetwork",
    "Images",
    "Restored",
    "Restorer",
    "Resume",
    "channel_statistics",
    "compose",
    "composed",
    "evaluate",
    "learning_rate",
    "resolve",
    "train",
]
