"""Training that hardens: for now plain training, which every defense is compared with."""

from defenses.training import (
    Batch,
    DivergenceError,
    Epoch,
    Images,
    channel_statistics,
    evaluate,
    learning_rate,
    train,
)

__all__ = [
    "Batch",
    "DivergenceError",
    "Epoch",
    "Images",
    "channel_statistics",
    "evaluate",
    "learning_rate",
    "train",
]
