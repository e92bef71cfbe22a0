"""Records in memory, made from arrays, for the tests of what else a record tells."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.corruption_axes import CorruptionAxes
from benchmarks.reading import Record


def answered(logits: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """The columns of an answer, from logits (..., E, K) to images of labels (E,)."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities = shifted / shifted.sum(axis=-1, keepdims=True)
    own = np.take_along_axis(
        probabilities, np.broadcast_to(labels[:, None], (*logits.shape[:-1], 1)), axis=-1
    )
    certainty = np.eye(logits.shape[-1])[labels]
    return {
        "prediction": logits.argmax(axis=-1).astype(np.int32),
        "confidence": probabilities.max(axis=-1).astype(np.float32),
        "rank": (probabilities > own).sum(axis=-1).astype(np.int32),
        "loss": -np.log(own[..., 0]).astype(np.float32),
        "brier": ((probabilities - certainty) ** 2).sum(axis=-1).astype(np.float32),
    }


def made_record(
    models: Sequence[str] = ("one", "two"),
    images: int = 60,
    classes: int = 8,
    attacks: Sequence[str] = ("fgsm", "pgd"),
    corruptions: Sequence[str] = ("fog", "contrast"),
    severities: Sequence[int] = (1, 2, 3, 4, 5),
    seed: int = 0,
) -> Record:
    """A record of random answers, worse with severity and the worse under every next attack."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, images).astype(np.int32)
    certainty = np.eye(classes)[labels]

    def answers(shape: Sequence[int], help_: np.ndarray) -> dict[str, np.ndarray]:
        noise = generator.normal(size=(*shape, images, classes))
        return answered(noise + help_[..., None, None] * certainty, labels)

    count = len(models)
    clean = answers((count,), np.full(count, 3.0))
    right = clean["prediction"] == labels
    clean |= {"label": np.tile(labels, (count, 1)), "right": right.astype(np.uint8)}
    clean["least_likely"] = np.zeros((count, images), np.int32)
    attacked = answers((count, len(attacks)), np.tile(1.0 - np.arange(len(attacks)), (count, 1)))
    given = np.tile(right[:, None], (1, len(attacks), 1))
    for name, values in attacked.items():  # what was not attacked stands with its clean answer
        attacked[name] = np.where(given, values, clean[name][:, None])
    wrong = attacked["prediction"] != labels
    attacked |= {"attacked": given.astype(np.uint8), "misclassified": wrong.astype(np.uint8)}
    axes, corrupted = CorruptionAxes(), {}
    if corruptions:
        axes = CorruptionAxes(tuple(corruptions), tuple(severities))
        shape = (count, len(corruptions), len(severities))
        corrupted = answers(shape, np.broadcast_to(3.0 - 0.6 * np.array(severities), shape))
        corrupted["right"] = (corrupted["prediction"] == labels).astype(np.uint8)
    return Record(
        path=Path("record.h5"),
        config={"class_names": [f"class {k}" for k in range(classes)], "with_extra": False},
        seed=0,
        device="cpu",
        created="",
        versions={},
        models=tuple(models),
        attacks=tuple(attacks),
        ids=np.arange(images) * 3 + 100,
        thresholds=np.array([0.1]),
        clean=clean,
        attacked=attacked,
        axes=axes,
        corrupted=corrupted,
        aggregates={},
        timing={},
        cautions=(),
        failures=(),
        kept=np.empty(0, np.int64),
    )
