"""Reasons to distrust a result, as in the checks of AutoAttack (Croce & Hein 2020).

Each says what set it off, what it means and what to do.
"""

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor

from attacks.attacked import Caution
from attacks.gradients import Forward


def examine_model(forward: Forward, images: Tensor) -> tuple[Caution, ...]:
    """What two forward passes on a few images tell: a randomised model, or probabilities."""
    if len(images) == 0:
        return ()
    with torch.no_grad():
        first, second = forward(images), forward(images)
    found = []
    if not torch.allclose(first, second, rtol=1e-4, atol=1e-6, equal_nan=True):
        found.append(
            Caution(
                "randomised",
                "two passes over the same images gave different logits: a single gradient says "
                "little about a randomised model; average over passes (EOT), or switch it off",
            )
        )
    if _are_probabilities(first):
        found.append(
            Caution(
                "probabilities",
                "the model returns probabilities, not logits: gradients vanish where it is sure; "
                "remove the final softmax, or wrap the model with log",
            )
        )
    return tuple(found)


def zero_gradients(count: int, images: int) -> Caution:
    """For images whose gradient was zero everywhere at the first step."""
    return Caution(
        "zero-gradient",
        "the gradient of {} of {} images was zero at the first step: the loss is flat "
        "or saturated there, and robustness to this attack means nothing; "
        "try loss=margin or dlr, or a black-box attack",
        (count, images),
    )


def earlier_iterate(count: int) -> Caution:
    """For images that were adversarial on the way and not at the end."""
    return Caution(
        "earlier-iterate",
        "images adversarial at an earlier step and not at the last one: {}; "
        "the step is too large or the loss misleads; use stop=success",
        (count,),
    )


def halved_batch(batch: int) -> Caution:
    """For a batch that did not fit the memory."""
    return Caution(
        "out-of-memory", f"the memory was full: went on with batches of {batch}; results hold"
    )


def unbounded_short(count: int, images: int) -> Caution:
    """For an attack without a budget that did not reach every image."""
    return Caution(
        "unbounded-short",
        "an attack without a budget missed {} of {} images; any classifier can be "
        "fooled without a budget, so the attack is at fault: more steps, or another loss",
        (count, images),
    )


def unconfirmed(count: int, images: int) -> Caution:
    """For images that the attack called successes and the model, asked once more, does not."""
    return Caution(
        "unconfirmed",
        "{} of {} images that the attack reported as reached are not successes in float32; "
        "they count as failures.",
        (count, images),
    )


def add_up(cautions: Iterable[Caution]) -> tuple[Caution, ...]:
    """The cautions of several batches, each wording once, with its counts added up.

    >>> [each.counts for each in add_up([zero_gradients(1, 16), zero_gradients(2, 10)])]
    [(3, 26)]
    """
    alike: dict[tuple[str, str, int], list[Caution]] = {}
    for caution in cautions:
        key = (caution.code, caution.wording, len(caution.counts))
        alike.setdefault(key, []).append(caution)
    return tuple(
        replace(each[0], counts=tuple(map(sum, zip(*(one.counts for one in each), strict=True))))
        for each in alike.values()
    )


def _are_probabilities(outputs: Tensor) -> bool:
    sums = outputs.sum(dim=1)
    return bool(
        outputs.shape[1] > 1
        and (outputs >= 0).all()
        and torch.allclose(sums, torch.ones_like(sums), atol=1e-3)
    )
