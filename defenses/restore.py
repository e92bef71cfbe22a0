"""A learned restoration in front of a classifier that stays as it is."""

import math
from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from attacks.corruptions import SEVERITIES
from attacks.draws import Stream, derived_seeds
from attacks.spec import Spec
from defenses.defense import Defense
from defenses.drawn_corruptions import DrawnCorruptions
from defenses.restorer import Restored, check_size


def restore(
    corruptions: str | Sequence[str] = "standard",
    severities: int | Sequence[int] = SEVERITIES,
    share: float = 1.0,
    width: int = 32,
    depth: int = 6,
    task: float = 0.1,
) -> Defense:
    """Train a network that undoes corruptions, in front of a classifier that is frozen.

    The loss is the mean squared distance of the restored image from the clean one, in normalised
    units, plus ``task`` times the cross-entropy of what the classifier then says. The training
    error is that of the classifier on restored images. The model must be a `Restored`, bare or
    inside of one that prepares its images; ``workbench train --from`` makes it so.

    The model is marked in every table of errors on corruptions, as with ``corrupted``.

    Args:
        corruptions: standard (15), extra (4), all (19), a family such as noise, a name such as
            fog, or a list of these.
        severities: a severity from 1 to 5, or a list of them; drawn evenly.
        share: chance of an image to be corrupted; the restorer is to leave the others alone.
        width: channels of the restorer's convolutions.
        depth: how many convolutions it has; see `Restorer`.
        task: weight of the cross-entropy; 0 for restoration that knows no classes.

    Raises:
        ValueError: a setting that cannot be; in training, a model that has no restorer.
    """
    drawn = DrawnCorruptions("restore", corruptions, severities, share)
    if type(task) not in (int, float) or not 0 <= task < math.inf:
        raise ValueError(f"restore: task={task} must not be negative")
    try:
        check_size(width, depth)
    except ValueError as error:
        raise ValueError(f"restore: {error}") from None

    def loss(
        model: nn.Module, images: Tensor, labels: Tensor, seeds: Tensor
    ) -> tuple[Tensor, Tensor]:
        front, prepare = _front(model)
        own = derived_seeds(seeds, stream=Stream.DEFENSE, step=0)  # transforms count from 1
        restored = front.restorer(prepare(drawn(images, own)))
        distance = F.mse_loss(restored, prepare(images))
        logits = front.network(restored)
        if task == 0:
            return distance, logits
        return distance + task * F.cross_entropy(logits, labels), logits

    return Defense(
        loss=loss,
        corruptions=drawn.names,
        wrapper=Spec("restored", {"width": width, "depth": depth}),
    )


def _front(model: nn.Module) -> tuple[Restored, Callable[[Tensor], Tensor]]:
    """The restorer and its classifier, and what makes of images what they take."""
    prepare: Callable[[Tensor], Tensor] = getattr(model, "prepare", _as_they_are)
    front = model if isinstance(model, Restored) else getattr(model, "network", None)
    if not isinstance(front, Restored):
        raise ValueError(
            "restore: the model has no restorer. Train "
            "defenses.Restored(defenses.Restorer(channels), network) with a network that has "
            "learned and is frozen."
        )
    if any(parameter.requires_grad for parameter in front.network.parameters()):
        raise ValueError(
            "restore: the classifier behind the restorer must be frozen: "
            "call network.requires_grad_(False)"
        )
    return front, prepare


def _as_they_are(images: Tensor) -> Tensor:
    return images
