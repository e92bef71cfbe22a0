"""What a sweep found, and the numbers that are told of it, with 95 % intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.columns import Array
from benchmarks.intervals import bootstrap_means, wilson
from benchmarks.sweeps import Answers

UNKNOWN = 255
"""Of ``inside`` where no superclasses are known."""


@dataclass(frozen=True)
class Sweep:
    """One dial turned for M models and N images, in D draws, at P positions, K classes.

    Attributes:
        dial, axis: what was turned, and what its values are.
        normalised: whether the models were given normalised values.
        values: float64 (P,); that of the untouched image is 0.
        position_labels: P, the values as they are written.
        models: M names.
        ids: int64 (N,), of the images.
        labels: int32 (N,), -1 where the class is not known; then what is followed is the model's
            answer to the untouched image.
        class_names: K.
        superclasses: K, the superclass of each class, or None.
        true_class: int32 (M, N), the class that is followed.
        top: int32 (M, N, D, P, k). probability: float32, the same.
        true_confidence: float32 (M, N, D, P).
        true_rank: int32 (M, N, D, P), how many classes are before that which is followed.
        shown: uint8 (M, S, P, H, W, C), what the models were given of the first S images in the
            first draw, in 8 bits.
    """

    dial: str
    axis: str
    normalised: bool
    values: NDArray[np.float64]
    position_labels: tuple[str, ...]
    models: tuple[str, ...]
    ids: NDArray[np.int64]
    labels: Array
    class_names: tuple[str, ...]
    superclasses: tuple[str, ...] | None
    true_class: Array
    top: Array
    probability: Array
    true_confidence: Array
    true_rank: Array
    shown: Array

    @property
    def right(self) -> NDArray[np.bool_]:
        """(M, N, D, P), whether the likeliest class is the one that is followed."""
        found: NDArray[np.bool_] = self.true_rank == 0
        return found

    @property
    def inside(self) -> NDArray[np.uint8]:
        """uint8 (M, N, D, P), whether the likeliest class is in the followed one's superclass."""
        if self.superclasses is None:
            return np.full(self.true_rank.shape, UNKNOWN, np.uint8)
        _, group = np.unique(self.superclasses, return_inverse=True)
        same = group[self.top[..., 0]] == group[self.true_class][:, :, None, None]
        found: NDArray[np.uint8] = same.astype(np.uint8)
        return found

    @property
    def resampled(self) -> str:
        """What the intervals are over: the images or, of a single one, its draws; or nothing."""
        if len(self.ids) > 1:
            return "images"
        return "draws" if self.true_rank.shape[2] > 1 else ""


def answers_of(models: Sequence[Answers]) -> dict[str, Array]:
    """The fields of a `Sweep` that come from each model's answers."""
    names = ("true_class", "top", "probability", "true_confidence", "true_rank", "shown")
    return {name: np.stack([getattr(each, name) for each in models]) for name in names}


def summary(found: Sweep, seed: int) -> Mapping[str, Array]:
    """Numbers (M, P) over all images and draws, and ``NAME_interval`` (M, P, 2) of each.

    An image's draws are averaged first, and images are resampled; of a single image, the draws.
    Without either there is no interval (NaN).

    - ``confidence``: mean probability of the class that is followed; bootstrap.
    - ``change``: of it since the position nearest to the untouched image, paired;
      bootstrap.
    - ``right``, ``inside``: share of answers that are it, that are in its superclass (NaN where
      none are known); Wilson, or bootstrap where the draws of an image differ.
    - ``peaks``: of how many images the confidence is the highest there; no interval.
    """
    confidence = _units(found.true_confidence)
    least = int(np.abs(found.values).argmin())
    change = confidence - confidence[..., least, None]
    numbers: dict[str, Array] = {}
    for name, values in (("confidence", confidence), ("change", change)):
        numbers[name] = values.mean(axis=1)
        numbers[f"{name}_interval"] = np.stack([bootstrap_means(each, seed) for each in values])
    inside = np.where(found.inside == UNKNOWN, np.nan, found.inside)
    for name, answers in (("right", found.right), ("inside", inside)):
        values = _units(answers)
        numbers[name] = values.mean(axis=1)
        numbers[f"{name}_interval"] = np.stack([_share(each, seed) for each in values])
    of_image = found.true_confidence.astype(np.float64).mean(axis=2).argmax(axis=-1)
    places = np.arange(len(found.values))
    numbers["peaks"] = (of_image[..., None] == places).sum(axis=1).astype(np.int32)
    return numbers


def _units(values: Array) -> NDArray[np.float64]:
    """(M, U, P): what is resampled, from (M, N, D, P)."""
    values = np.asarray(values, np.float64)
    return values[:, 0] if values.shape[1] == 1 else values.mean(axis=2)


def _share(values: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Intervals (P, 2) of the means of shares (U, P)."""
    if len(values) < 2 or np.isnan(values).any():
        return np.full((values.shape[1], 2), np.nan)
    # Resampling nothing but hits would find no doubt.
    whole = np.all(np.isin(values, (0, 1)), axis=0, keepdims=True).T
    counted = wilson(np.rint(values.sum(axis=0)), len(values))
    return counted if whole.all() else np.where(whole, counted, bootstrap_means(values, seed))
