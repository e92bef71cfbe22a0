"""Fooling images among the training images, with their true labels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from attacks import fooling
from attacks.draws import Stream, derived_seeds, integers
from defenses.defense import Defense, Loss, Transform, cross_entropy
from defenses.evaluation import Images, unit
from defenses.materials import Material
from defenses.shares import check_share, chosen

STRENGTHS = (5.0, 20.0, 100.0)  # study S4's steps, in normalised units at 3x224x224
STEPS = 10  # of fooling the model in training; a set from a file has had up to a hundred


@dataclass(frozen=True)
class FoolingImages(Material):
    """Fooling images of the training images, made beforehand.

    Attributes:
        images: of all strengths together, see `Images`.
        labels: int64 (M,), the true classes.
        strengths: float64 (M,), of each image.
    """

    images: Images
    labels: Tensor
    strengths: Tensor


def hard_negatives(
    source: FoolingImages | None = None,
    strengths: float | Sequence[float] | None = None,
    clean: bool = True,
    share: float | None = None,
    steps: int = STEPS,
    step_size: float | Sequence[float] | None = None,
) -> Defense:
    """Train on fooling images too, images that were led to a wrong class, as what they truly are.

    From a file of `workbench fool`, each image of a batch is exchanged, by chance, for one of the
    file's, drawn evenly; over an epoch that is training on the union of both. Without a file the
    images of a batch are fooled in their turn, by chance, against the model as it is now in
    evaluation mode, which is left as it was; that belongs to the loss.

    Crops and mirror images come after a file and before fooling anew.

    Args:
        source: the file, in quotes; none to fool the model in training.
        strengths: of one strength or of several, evenly; none for all of the file, or for 5, 20
            and 100. See the attack ``fooling``; the model must carry its ``std``.
        clean: whether clean images are among them; without, ``share`` is 1.
        share: chance of an image to be fooling; none for that of the union of the clean images
            and as many fooling ones of each strength: 3/4 for three.
        steps: of fooling anew, at most.
        step_size: of fooling anew, instead of strengths: L2 lengths of a step in units of the
            image range.

    Raises:
        ValueError: settings out of range, of the other way, or strengths that the file has not.
    """
    if source is not None:
        if steps != STEPS or step_size is not None:
            raise ValueError("hard-negatives: steps and step_size are for fooling anew, no source")
        wanted = _listed("strengths", strengths) or source.strengths.unique().tolist()
        return Defense(_exchange(source, wanted, _share(share, clean, len(wanted))))
    if type(steps) is not int or steps < 1:
        raise ValueError(f"hard-negatives: steps={steps} must be a whole number of at least 1")
    if strengths is not None and step_size is not None:
        raise ValueError("hard-negatives: strengths or step_size, one of them")
    lengths = _listed("step_size", step_size) or _listed("strengths", strengths) or list(STRENGTHS)
    part = _share(share, clean, len(lengths))
    return Defense(loss=_fooled_anew(lengths, step_size is None, part, steps))


def _exchange(source: FoolingImages, strengths: Sequence[float], share: float) -> Transform:
    """The transform that puts images of these strengths in the place of some."""
    known = source.strengths.unique().tolist()
    missing = [value for value in strengths if value not in known]
    if missing:
        there = ", ".join(f"{value:g}" for value in known)
        raise ValueError(f"hard-negatives: no strength {missing[0]:g} in the source, only {there}")
    wanted = torch.tensor(list(strengths), dtype=source.strengths.dtype)
    pool = torch.isin(source.strengths, wanted).nonzero().flatten()

    def transform(images: Tensor, labels: Tensor, seeds: Tensor) -> tuple[Tensor, Tensor]:
        places = chosen(seeds, share).nonzero().flatten()
        picks = integers(seeds, len(pool), stream=Stream.DEFENSE, step=1)[places].cpu()
        if not len(places):
            return images, labels
        rows = pool[picks]
        images, labels = images.clone(), labels.clone()
        images[places] = unit(source.images[rows].to(images.device))
        labels[places] = source.labels[rows].to(labels.device)
        return images, labels

    return transform


def _fooled_anew(lengths: Sequence[float], normalised: bool, share: float, steps: int) -> Loss:
    """The loss of images some of which are led to a wrong class first."""

    def loss(
        model: nn.Module, images: Tensor, labels: Tensor, seeds: Tensor
    ) -> tuple[Tensor, Tensor]:
        own = derived_seeds(seeds, stream=Stream.DEFENSE, step=0)  # transforms count from 1
        picks = integers(own, len(lengths), stream=Stream.DEFENSE, step=1)
        picks = picks.masked_fill(~chosen(own, share), -1)
        moved = images.clone()
        for number, length in enumerate(lengths):
            rows = (picks == number).nonzero().flatten()
            if len(rows):
                moved[rows] = fooling(
                    model,
                    images[rows],
                    labels[rows],
                    seeds=own[rows],
                    step_size=length,
                    strength=length if normalised else None,
                    steps=steps,
                ).images
        return cross_entropy(model, moved, labels, seeds)

    return loss


def _share(share: float | None, clean: bool, strengths: int) -> float:
    if not clean:
        if share not in (None, 1):
            raise ValueError(f"hard-negatives: share={share} leaves clean images; clean=true?")
        return 1.0
    if share is None:
        return strengths / (strengths + 1)
    check_share("hard-negatives", share)
    return share


def _listed(name: str, value: Any) -> list[float]:
    """The lengths that were given, ascending and each once."""
    values = [] if value is None else list(value) if isinstance(value, list | tuple) else [value]
    good = all(type(each) in (int, float) and 0 < each < math.inf for each in values)
    if not good or (value is not None and not values):
        raise ValueError(f"hard-negatives: {name}={value} must be above 0, or a list of such")
    return sorted({float(each) for each in values})
