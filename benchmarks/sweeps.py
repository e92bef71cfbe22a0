"""Sweeps: one dial turned position by position, and what a model answers at each of them.

A dial moves each image by its own draw, which is the same at every position: a strip of pictures
shows one noise turned up, not ten noises. What a model is given is images in [0, 1] or, where the
study adds noise behind the preprocessing, normalised values that nothing clips.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from attacks.attacked import Attack
from attacks.corruptions import Corruption, corrupt
from attacks.draws import Stream, derived_seeds, normal
from attacks.execution import engine
from attacks.probes import gaussian_noise, rotation
from benchmarks.columns import Array
from benchmarks.evaluation import float32_logits

FORMAT = "adversarial-workbench-sweep"
"""Of the files that `benchmarks.sweep_files` writes."""

TOP = 5
"""Answers that are kept of each position; fewer where there are fewer classes."""


class Normalising(Protocol):
    """A model whose normalised side can be reached."""

    def normalise(self, images: Tensor) -> Tensor:
        """Normalised values of images in [0, 1]."""
        ...

    def normalised(self, values: Tensor) -> Tensor:
        """Logits of normalised values."""
        ...

    def denormalise(self, values: Tensor) -> Tensor:
        """The images, not clipped, that normalised values are of."""
        ...


class Batch(NamedTuple):
    """Images float32 (n, C, H, W) in [0, 1], the classes int64 (n,) and the seeds int64 (n,)."""

    images: Tensor
    classes: Tensor
    seeds: Tensor


class Given(NamedTuple):
    """What a model is given: images in [0, 1] or, if ``normalised``, normalised values."""

    values: Tensor
    normalised: bool = False


Turn = Callable[[nn.Module, Batch, float], Given]
"""Turns a dial to a value, for a model and a batch."""


@dataclass(frozen=True)
class Dial:
    """A sequence of positions, and what a model is given at each.

    Attributes:
        name: such as ``Gaussian noise``.
        axis: what its values are, with their unit.
        unit: behind a value where it is written, such as ``°``.
        values: ascending; that of the untouched image is 0.
        turn: what makes the images of a position.
        random: whether other seeds make other images.
        normalised: whether models are given normalised values, which nothing clips.
        attack: whether what a model is given depends on the model.
    """

    name: str
    axis: str
    unit: str
    values: tuple[float, ...]
    turn: Turn
    random: bool = True
    normalised: bool = False
    attack: bool = False

    @property
    def labels(self) -> tuple[str, ...]:
        """Each position as it is written.

        >>> rotation_dial([0, 22.5]).labels
        ('0°', '22.5°')
        """
        return tuple(f"{value:g}{self.unit}" for value in self.values)


@dataclass(frozen=True)
class Answers:
    """What one model answered about n images, in D draws, at P positions.

    Attributes:
        true_class: int32 (n,), the class that is followed: the label or, of an image without one,
            the model's answer to the untouched image.
        top: int32 (n, D, P, k), the likeliest classes, the likeliest first.
        probability: float32 (n, D, P, k), their softmax probabilities.
        true_confidence: float32 (n, D, P), the probability of the class that is followed.
        true_rank: int32 (n, D, P), how many classes are before it.
        shown: uint8 (s, P, H, W, C), what was given of the first images in the first draw; see
            `pictures`.
    """

    true_class: Array
    top: Array
    probability: Array
    true_confidence: Array
    true_rank: Array
    shown: Array


def noise_dial(stds: Sequence[float], *, normalised: bool) -> Dial:
    """Gaussian noise of several standard deviations.

    Args:
        stds: from 0.
        normalised: add it to the normalised values, which are not clipped; else to the images,
            clipped to [0, 1].
    """
    if not normalised:

        def pixels(model: nn.Module, batch: Batch, std: float) -> Given:
            return Given(gaussian_noise(batch.images, seeds=batch.seeds, std=std))

        return Dial("Gaussian noise", "std, images in [0, 1]", "", _at(stds), pixels)

    def behind(model: nn.Module, batch: Batch, std: float) -> Given:
        values = _normalising(model).normalise(batch.images)
        noise = normal(batch.seeds, values.shape[1:], stream=Stream.PROBE)
        return Given(values + std * noise, normalised=True)

    axis = "std, normalised units"
    return Dial("Gaussian noise", axis, "", _at(stds), behind, normalised=True)


def rotation_dial(angles: Sequence[float]) -> Dial:
    """Rotation about the centre by several angles, degrees counter-clockwise; corners are black."""

    def turn(model: nn.Module, batch: Batch, angle: float) -> Given:
        return Given(rotation(batch.images, seeds=batch.seeds, angle=angle))

    return Dial("Rotation", "angle, degrees", "°", _at(angles), turn, random=False)


def corruption_dial(corruption: Corruption, severities: Sequence[int]) -> Dial:
    """A corruption at severities 1 to 5; 0 is the untouched image."""

    def turn(model: nn.Module, batch: Batch, severity: float) -> Given:
        if not severity:
            return Given(batch.images)
        return Given(corrupt(batch.images, corruption, int(severity), seeds=batch.seeds))

    drawn = corruption.draw is not None
    return Dial(corruption.name, "severity", "", _at(severities), turn, random=drawn)


def attack_dial(name: str, attacks: Mapping[int, Attack], batch_size: int | None = None) -> Dial:
    """An attack of several step counts, each a run of its own from the same seeds.

    Args:
        name: of the attack.
        attacks: by the number of steps, from 1, the attack with that setting; 0 steps are the
            untouched image.
        batch_size: images per pass; None to choose.
    """

    def turn(model: nn.Module, batch: Batch, steps: float) -> Given:
        if not steps:
            return Given(batch.images)
        with engine(batch_size=batch_size):
            attacked = attacks[int(steps)](model, batch.images, batch.classes, seeds=batch.seeds)
        return Given(attacked.images)

    return Dial(name, "steps of the attack", "", _at([0, *attacks]), turn, attack=True)


def sweep(
    model: nn.Module,
    dial: Dial,
    images: Tensor,
    labels: Tensor,
    seeds: Tensor,
    *,
    draws: int = 1,
    shown: int = 0,
    batch_size: int | None = None,
) -> Answers:
    """Turn the dial for some images, and ask the model at each position, in float32.

    Args:
        model: maps images in [0, 1] to logits (n, K); on the device of the images.
        dial: what is turned; in normalised units it wants a model that is `Normalising`.
        images: float32 (n, C, H, W) in [0, 1].
        labels: int64 (n,); -1 where the class is not known.
        seeds: int64 (n,), one per image.
        draws: how often everything is done, with other seeds each time.
        shown: of how many images the pictures are kept.
        batch_size: images per forward; None to choose.

    Raises:
        ValueError: the model gives something that is no number, or does not fit the dial.
    """
    clean = _logits(model, Given(images), batch_size)
    classes = torch.where(labels < 0, clean.argmax(dim=1), labels)
    found: list[list[tuple[Tensor, ...]]] = []
    pictures: list[NDArray[np.uint8]] = []
    for draw in range(draws):
        own = seeds if draw == 0 else derived_seeds(seeds, stream=Stream.PROBE, step=draw)
        batch = Batch(images, classes, own)
        positions: list[tuple[Tensor, ...]] = []
        for value in dial.values:
            given = dial.turn(model, batch, value)
            logits = _logits(model, given, batch_size)
            if not bool(logits.isfinite().all()):
                raise ValueError(f"The model gives NaN or infinite scores at {dial.name} {value:g}")
            positions.append(_ranked(logits, classes))
            if draw == 0:
                pictures.append(_pictures(model, given, images, shown))
        found.append(positions)
    top, probability, confidence, rank = (
        np.stack(
            [np.stack([position[part].cpu().numpy() for position in one], 1) for one in found], 1
        )
        for part in range(4)
    )
    return Answers(
        classes.cpu().numpy().astype(np.int32),
        top.astype(np.int32),
        probability,
        confidence,
        rank.astype(np.int32),
        np.stack(pictures, 1),
    )


def joined(parts: Sequence[Answers]) -> Answers:
    """The answers about several batches as one."""
    return Answers(
        *(np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(Answers))
    )


def _ranked(logits: Tensor, classes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The likeliest classes, their probabilities, and the probability and rank of the class."""
    probabilities = torch.softmax(logits, dim=1)
    order = logits.argsort(dim=1, descending=True, stable=True)
    top = order[:, :TOP]
    return (
        top,
        probabilities.gather(1, top),
        probabilities.gather(1, classes[:, None])[:, 0],
        (order == classes[:, None]).int().argmax(dim=1),
    )


def _logits(model: nn.Module, given: Given, batch_size: int | None) -> Tensor:
    side = _NormalisedSide(model) if given.normalised else model
    return float32_logits(side, given.values, batch_size)


def _pictures(model: nn.Module, given: Given, images: Tensor, count: int) -> NDArray[np.uint8]:
    """What was given as 8-bit pictures (count, H, W, C), C as the images have it.

    Normalised values are turned back into images and clipped; of a grey image whose channels got
    noise each, the mean is shown.
    """
    values = given.values[:count]
    if given.normalised:
        values = _normalising(model).denormalise(values)
        if values.shape[1] != images.shape[1]:
            values = values.mean(dim=1, keepdim=True).expand(-1, images.shape[1], -1, -1)
    pixels = values.clamp(0, 1).mul(255).round().to(torch.uint8)
    found: NDArray[np.uint8] = pixels.permute(0, 2, 3, 1).cpu().numpy()
    return found


class _NormalisedSide(nn.Module):
    """A model, entered behind its normalisation."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, values: Tensor) -> Tensor:
        return _normalising(self.model).normalised(values)


def _normalising(model: nn.Module) -> Normalising:
    if not all(hasattr(model, name) for name in ("normalise", "normalised", "denormalise")):
        raise ValueError(
            "Noise in normalised units needs a model with normalise, normalised and denormalise"
        )
    return cast(Normalising, model)


def _at(values: Sequence[float]) -> tuple[float, ...]:
    found = tuple(float(value) for value in values)
    if not found or list(found) != sorted(set(found)):
        raise ValueError(f"A dial's values are ascending, not {list(values)}")
    return found
