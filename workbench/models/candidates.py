"""Preprocessings that a checkpoint may have been trained with."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from workbench.models.classifier import Classifier
from workbench.models.preprocessing import (
    IMAGENET_MEAN,
    USUAL_INPUT_SIZE,
    usual_normalisations,
)

OWN = "the data's own"


@dataclass(frozen=True)
class Candidate:
    """One way to prepare images.

    Attributes:
        normalisation: what its mean and std are called.
        mean, std: one value a channel, in units after ``scale``.
        bgr, scale, input_size: as in `Classifier`.
        configured: it is what the flags say.
    """

    normalisation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    bgr: bool
    scale: float
    input_size: tuple[int, int] | None
    configured: bool = False

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for candidates that do the same."""
        return (
            tuple(round(value, 4) for value in (*self.mean, *self.std)),
            self.bgr,
            self.scale,
            self.input_size,
        )

    @property
    def name(self) -> str:
        """In words."""
        words = [self.normalisation]
        if self.scale != 1.0:
            words.append("0-255")
        if self.bgr:
            words.append("BGR")
        if self.input_size is not None:
            words.append(f"at {self.input_size[0]}x{self.input_size[1]}")
        told = ", ".join(words)
        return f"as configured ({told})" if self.configured else told

    @property
    def flags(self) -> str:
        """The flags that ask for it."""
        words = [f"--mean {_comma(self.mean)} --std {_comma(self.std)}"]
        if self.scale != 1.0:
            words.append("--scale255")
        if self.bgr:
            words.append("--bgr")
        if self.input_size is not None and self.input_size[0] == self.input_size[1]:
            words.append(f"--input-size {self.input_size[0]}")
        return " ".join(words)

    def apply(self, model: Classifier) -> Classifier:
        """The model, prepared this way."""
        return model.variant(
            mean=self.mean,
            std=self.std,
            bgr=self.bgr,
            scale=self.scale,
            input_size=self.input_size,
        )


def as_configured(model: Classifier) -> Candidate:
    """What the flags, or what was inferred, say."""
    same = [
        usual.source
        for usual in usual_normalisations(model.channels).values()
        if _near(usual.mean, model.mean) and _near(usual.std, model.std)
    ]
    return Candidate(
        same[0] if same else f"mean {_comma(model.mean)}, std {_comma(model.std)}",
        model.mean,
        model.std,
        model.bgr,
        model.scale,
        model.input_size,
        configured=True,
    )


def normalisations(model: Classifier, images: Tensor) -> Iterator[Candidate]:
    """The usual ones and the images' own, each with RGB and BGR as configured, on [0, 1]."""
    base = replace(as_configured(model), scale=1.0, configured=False)
    for usual in usual_normalisations(model.channels).values():
        yield replace(base, normalisation=usual.source, mean=usual.mean, std=usual.std)
    values = images.double().transpose(0, 1).flatten(1)
    repeat = model.channels // len(values) if model.channels % len(values) == 0 else 0
    if repeat:
        mean = tuple(round(float(value), 4) for value in values.mean(dim=1)) * repeat
        std = tuple(max(round(float(value), 4), 1e-4) for value in values.std(dim=1)) * repeat
        yield replace(base, normalisation=OWN, mean=mean, std=std)


def orders_and_ranges(
    model: Classifier, images: Tensor, promising: Sequence[Candidate]
) -> Iterator[Candidate]:
    """The other order of colours for promising ones, and the usual 0-255 preparations."""
    colour = model.channels == 3 and images.shape[1] == 3
    flips = (False, True) if colour else (False,)
    if colour:
        for candidate in promising:
            yield replace(candidate, bgr=not candidate.bgr, configured=False)
    base = replace(as_configured(model), scale=255.0, configured=False)
    ones = (1.0,) * model.channels
    for bgr in flips:
        yield replace(base, normalisation="none", mean=(0.0,) * model.channels, std=ones, bgr=bgr)
        if model.channels == 3:  # Caffe's ImageNet networks: 0-255, minus the mean, BGR
            mean = tuple(round(255 * value, 3) for value in IMAGENET_MEAN)
            yield replace(base, normalisation="ImageNet mean", mean=mean, std=ones, bgr=bgr)


def sizes(model: Classifier, images: Tensor, best: Candidate) -> Iterator[Candidate]:
    """The images' own size and the usual one of photographs, where the network takes both."""
    own = (images.shape[-2], images.shape[-1])
    usual = (USUAL_INPUT_SIZE, USUAL_INPUT_SIZE)
    for size in (own, usual):
        current = best.input_size or own
        if size == current or (size == usual and not _made_for_photographs(model)):
            continue
        candidate = replace(best, input_size=None if size == own else size, configured=False)
        if _accepts(candidate.apply(model), images[:2]):
            yield candidate


def combinations(model: Classifier, promising: Sequence[Candidate]) -> Iterator[Candidate]:
    """What the best few have, mixed: each normalisation with each order, range and size of them.

    Where the order or size was wrong, the first look at normalisations was through the wrong one,
    so every usual normalisation is tried once more with the best order and size.
    """
    best = promising[0]
    for usual in usual_normalisations(model.channels).values():
        if best.scale == 1.0:
            yield replace(
                best,
                normalisation=usual.source,
                mean=usual.mean,
                std=usual.std,
                configured=False,
            )
    for candidate in promising:
        for other in promising:
            yield replace(candidate, bgr=other.bgr, input_size=other.input_size, configured=False)


def _made_for_photographs(model: Classifier) -> bool:
    """Whether the network shrinks its input early, as those for 224x224 do; else 224 is costly."""
    strides = [m.stride for m in model.network.modules() if isinstance(m, torch.nn.Conv2d)]
    return bool(strides) and max(int(side) for side in strides[0]) >= 2


def _accepts(model: Classifier, images: Tensor) -> bool:
    device = next(model.buffers()).device
    try:
        with torch.inference_mode():
            return tuple(model(images.to(device)).shape) == (len(images), model.classes)
    except (RuntimeError, ValueError, AssertionError, TypeError):
        return False  # how networks refuse a size that is not theirs


def _near(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(abs(a - b) < 5e-4 for a, b in zip(one, other, strict=True))


def _comma(values: Sequence[float]) -> str:
    return ",".join(f"{value:.6g}" for value in values)
