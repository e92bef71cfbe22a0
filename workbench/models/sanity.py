"""Why does this checkpoint give nonsense? Try what usually explains it, and say what fits."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.intervals import wilson
from workbench.datasets.dataset import Dataset
from workbench.errors import UsageError
from workbench.models.candidates import (
    OWN,
    Candidate,
    as_configured,
    combinations,
    normalisations,
    orders_and_ranges,
    sizes,
)
from workbench.models.class_order import ClassOrder, find_class_order
from workbench.models.classifier import Classifier, check_images
from workbench.models.loading import LoadedModel
from workbench.models.symptoms import Finding, symptoms

# About twenty candidates are compared with the configured one, so 0.05 becomes this (Bonferroni).
SIGNIFICANCE = 0.05 / 20
ALIKE = 0.05  # above it, two candidates are not told apart


@dataclass(frozen=True)
class Row:
    """One candidate's clean accuracy.

    Attributes:
        name: in words.
        flags: what would configure it, such as ``--mean 0.5,0.5,0.5 --std 0.5,0.5,0.5``.
        correct, images: counts; ``accuracy`` is their ratio.
        interval: Wilson's 95 % interval of the accuracy.
        loss: mean cross-entropy, in nats.
    """

    name: str
    flags: str
    correct: int
    images: int
    accuracy: float
    interval: tuple[float, float]
    loss: float


@dataclass(frozen=True)
class Examination:
    """What `examine` found.

    Attributes:
        rows: the configured candidate first, then the others, the most accurate first.
        configured, best: of those; ``best`` has the lowest loss of those that are not told apart
            from the most accurate.
        flags: what to add to the command, or "" where nothing does better than what was
            configured by more than chance explains.
        recommendation: one sentence to show.
        findings: other symptoms, such as batch statistics in use.
        class_order: the order of classes that explains the predictions, or None where the labels
            do as they are.
        near_chance: whether even the best candidate, under any order of classes, is near guessing.
    """

    rows: tuple[Row, ...]
    configured: Row
    best: Row
    flags: str
    recommendation: str
    findings: tuple[Finding, ...]
    class_order: ClassOrder | None
    near_chance: bool


@dataclass(frozen=True)
class _Tried:
    candidate: Candidate
    predicted: NDArray[np.int64]
    right: NDArray[np.bool_]
    losses: NDArray[np.float32]  # cross-entropy of each image

    @property
    def loss(self) -> float:
        return float(self.losses.mean())

    @property
    def correct(self) -> int:
        return int(self.right.sum())


def near_chance(accuracy: float, n: int, classes: int) -> bool:
    """Whether an accuracy on ``n`` images could well be that of guessing among ``classes``.

    True if the lower end of Wilson's 95 % interval is no higher than chance plus half of it (plus
    a tenth of what is left, where that is less: for few classes). Below ten images it is False,
    because nothing can be told.

    >>> near_chance(0.12, 1000, 10), near_chance(0.3, 1000, 10), near_chance(0.02, 1000, 1000)
    (True, False, False)
    """
    if n < 10:
        return False
    chance = 1 / classes
    low = float(wilson(round(accuracy * n), n)[0])
    return low <= chance + min(chance / 2, (1 - chance) / 10)


def examine(
    loaded: LoadedModel,
    data: Dataset,
    *,
    limit: int = 500,
    seed: int = 0,
    batch_size: int = 64,
    device: torch.device | str = "cpu",
) -> Examination:
    """Measure clean accuracy as configured and under what is usually the matter.

    First every usual normalisation; then, on the most accurate three, the order of colours, and
    the 0-255 range; then the input size; then what helped together. Each is compared with the
    configured one on the same images by an exact sign test; of those that this test does not tell
    apart from the most accurate, the one of lowest loss is recommended. Nothing is printed.

    Args:
        loaded: the model with its flags, wrong as they may be.
        data: labelled images; the labels are numbers of the model's outputs.
        limit: how many images are used, balanced over the classes.
        seed: which ones.
        batch_size: images in one forward pass.
        device: where to compute.

    Raises:
        UsageError: the labels go beyond the model's outputs.
    """
    model = loaded.model.to(device)
    if data.classes > model.classes:
        raise UsageError(
            f"{loaded.name} has {model.classes} outputs, but the data have {data.classes} classes; "
            "choose some with --classes."
        )
    chosen = data.take(limit, seed)
    images = chosen.images(slice(None))
    check_images(images)
    labels = chosen.labels

    def tried(candidates: Iterator[Candidate], known: Sequence[_Tried]) -> list[_Tried]:
        seen = {item.candidate.key for item in known}
        fresh = [candidate for candidate in candidates if candidate.key not in seen]
        return [_try(model, candidate, images, labels, batch_size) for candidate in fresh]

    configured = _try(model, as_configured(model), images, labels, batch_size)
    every = [configured]
    every += tried(normalisations(model, images), every)
    every += tried(orders_and_ranges(model, images, [t.candidate for t in _top(every)]), every)
    every += tried(sizes(model, images, _top(every)[0].candidate), every)
    every += tried(combinations(model, [t.candidate for t in _top(every)]), every)

    ranked = _top(every, len(every))
    better = _sign_test(ranked[0].right, configured.right) < SIGNIFICANCE
    best = _likeliest(ranked) if better else ranked[0]
    guessing = near_chance(best.correct / len(labels), len(labels), model.classes)

    def order_of(item: _Tried) -> ClassOrder | None:
        return find_class_order(item.predicted, labels, model.classes, data.class_names, seed=seed)

    chosen_one = best if better else configured
    order = order_of(chosen_one)
    if best.correct < len(labels) / 2:
        # With the classes out of order no preprocessing looks good: look for both at once.
        pairs = [(item, found) for item in every if (found := order_of(item)) is not None]
        item, found = max(pairs, key=lambda pair: pair[1].interval, default=(best, None))
        if found is not None and found.interval[0] > wilson(best.correct, len(labels))[1]:
            best, order, guessing = item, found, False
            chosen_one, better = item, item is not configured
    rows = {id(item): _row(item) for item in every}
    others = [item for item in ranked if item is not configured]
    return Examination(
        rows=(rows[id(configured)], *(rows[id(item)] for item in others)),
        configured=rows[id(configured)],
        best=rows[id(best)],
        flags=best.candidate.flags if better else "",
        recommendation=_recommend(best, configured, better, ranked, order),
        findings=symptoms(chosen_one.candidate.apply(model), images, loaded.model.training),
        class_order=order,
        near_chance=guessing,
    )


def _try(
    model: Classifier,
    candidate: Candidate,
    images: Tensor,
    labels: NDArray[np.int64],
    batch_size: int,
) -> _Tried:
    variant = candidate.apply(model)
    device = next(variant.buffers()).device
    targets = torch.from_numpy(labels)
    predicted, losses = [], []
    with torch.inference_mode():
        for start in range(0, len(images), batch_size):
            rows = slice(start, start + batch_size)
            logits = variant(images[rows].to(device)).float().cpu()
            predicted.append(logits.argmax(dim=1))
            losses.append(
                torch.nn.functional.cross_entropy(logits, targets[rows], reduction="none")
            )
    classes = torch.cat(predicted).numpy()
    return _Tried(candidate, classes, classes == labels, torch.cat(losses).numpy())


def _top(tried: Sequence[_Tried], count: int = 3) -> list[_Tried]:
    """The most accurate, ties by loss."""
    return sorted(tried, key=lambda item: (-item.correct, item.loss))[:count]


def _alike(one: _Tried, others: Sequence[_Tried]) -> list[_Tried]:
    """Those that are not told apart from ``one`` by what they have right."""
    return [item for item in others if _sign_test(one.right, item.right) > ALIKE]


def _likeliest(ranked: Sequence[_Tried]) -> _Tried:
    """Of those as good as the most accurate, the one of lowest loss.

    Similar normalisations differ in a handful of predictions, but the loss sees every image. For a
    network trained on CIFAR-10's mean and std, 300 draws of 200 of its test images recommended
    them among five usual ones 142 times by accuracy and 252 times by loss; of 500, 172 and 290.

    The images' own is a guess from these few, so a published one comes before it unless its loss is
    higher by more than two standard errors of the difference.
    """
    likely = sorted((ranked[0], *_alike(ranked[0], ranked[1:])), key=lambda item: item.loss)
    best = likely[0]
    published = [item for item in likely if item.candidate.normalisation != OWN]
    if best.candidate.normalisation == OWN and published:
        more = published[0].losses - best.losses
        if more.mean() <= 2 * more.std() / math.sqrt(len(more)):
            best = published[0]
    return best


def _row(tried: _Tried) -> Row:
    count = len(tried.right)
    low, high = (float(end) for end in wilson(tried.correct, count))
    return Row(
        tried.candidate.name,
        tried.candidate.flags,
        tried.correct,
        count,
        tried.correct / count,
        (low, high),
        tried.loss,
    )


def _sign_test(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """One-sided exact sign test: how likely ``one`` is this much better on paired images."""
    wins, losses = int((one & ~other).sum()), int((other & ~one).sum())
    count = wins + losses
    # In logarithms, because 2^count overflows a float from 1024 images on.
    total = sum(math.comb(count, k) for k in range(wins, count + 1))
    return min(1.0, math.exp(math.log(total) - count * math.log(2))) if total else 1.0


def _recommend(
    best: _Tried,
    configured: _Tried,
    better: bool,
    ranked: Sequence[_Tried],
    order: ClassOrder | None,
) -> str:
    count = len(best.right)
    use = f"use {best.candidate.flags}{_dropped(best, configured)}"
    if better and order is not None and best.correct <= configured.correct:
        return f"{best.candidate.name} fits once the classes are in order: {use}"
    if better:
        others = [item for item in ranked if item is not best and item is not configured]
        alike = [item.candidate.name for item in _alike(best, others)]
        also = f"; not to be told apart from it here: {', '.join(alike[:4])}" if alike else ""
        return (
            f"{best.candidate.name} gets {best.correct} of {count} right, as configured "
            f"{configured.correct}: {use}{also}"
        )
    return (
        f"as configured, {configured.correct} of {count} are right, and no other preprocessing "
        "that was tried does better by more than chance explains"
    )


def _dropped(best: _Tried, configured: _Tried) -> str:
    """The configured flags that have to go."""
    now, then = best.candidate, configured.candidate
    gone = [
        flag
        for flag, was, wanted in (
            ("--bgr", then.bgr, now.bgr),
            ("--scale255", then.scale != 1.0, now.scale != 1.0),
            ("--input-size", then.input_size is not None, now.input_size is not None),
        )
        if was and not wanted
    ]
    return f" without {' '.join(gone)}" if gone else ""
