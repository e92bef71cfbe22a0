"""Training that hardens: for now plain training, which every defense is compared with."""

from defenses.steps import learning_rate
from defenses.training import (
    Batch,
    DivergenceError,
    Epoch,
    Images,
    Resume,
    channel_statistics,
    evaluate,
    train,
)

__all__ = [
    "Batch",
    "DivergenceError",
    "Epoch",
    "Images",
    "Resume",
    "channel_statistics",
    "evaluate",
    "learning_rate",
    "train",
]
