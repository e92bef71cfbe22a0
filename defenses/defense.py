"""What a defense is, and how several become one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from attacks.draws import Stream, derived_seeds
from attacks.spec import Spec

Transform = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
Loss = Callable[[nn.Module, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def unchanged(images: Tensor, labels: Tensor, seeds: Tensor) -> tuple[Tensor, Tensor]:
    """The transform of plain training."""
    return images, labels


def cross_entropy(
    model: nn.Module, images: Tensor, labels: Tensor, seeds: Tensor
) -> tuple[Tensor, Tensor]:
    """The loss of plain training, and the logits it is of."""
    logits = model(images)
    return F.cross_entropy(logits, labels), logits


def smoothed(loss: Loss, share: float) -> Loss:
    """The loss of plain training with ``share`` of each label spread evenly over all classes.

    Raises:
        ValueError: the share is not in [0, 1), or the loss is another one.
    """
    if not 0 <= share < 1:
        raise ValueError(f"label_smoothing is {share}; it must be in [0, 1)")
    if share == 0:
        return loss
    if loss is not cross_entropy:
        raise ValueError("label_smoothing is for plain training's loss; a defense has its own")

    def smooth(
        model: nn.Module, images: Tensor, labels: Tensor, seeds: Tensor
    ) -> tuple[Tensor, Tensor]:
        logits = model(images)
        return F.cross_entropy(logits, labels, label_smoothing=share), logits

    return smooth


@dataclass(frozen=True)
class Defense:
    """How training differs from plain training, batch by batch, on the device.

    Attributes:
        transform: ``transform(images, labels, seeds)`` gives the images and labels to train on.
            Images are float32 (n, C, H, W) in [0, 1] both ways; labels int64 (n,), or float32
            (n, K) where classes are mixed; seeds int64 (n,), keyed by (seed, epoch, image).
        loss: ``loss(model, images, labels, seeds)`` gives the mean loss of the batch, and logits
            (n, K) of its images for the training error. The model is in training mode.
        corruptions: the test corruptions that the transform or the loss shows the model.
        wrapper: an architecture that is put around a network that has learned and is frozen, and
            is then what is trained; its setting ``network`` is that network's own architecture.
    """

    transform: Transform = unchanged
    loss: Loss = cross_entropy
    corruptions: tuple[str, ...] = ()
    wrapper: Spec | None = None


def compose(defenses: Sequence[Defense]) -> Defense:
    """One defense that applies the transforms in order, each with draws of its own.

    Raises:
        ValueError: if more than one of them has a loss of its own, or a wrapper.
    """
    losses = [each.loss for each in defenses if each.loss is not cross_entropy]
    if len(losses) > 1:
        raise ValueError(f"{len(losses)} of the defenses decide the loss; only one can")
    wrappers = [each.wrapper for each in defenses if each.wrapper is not None]
    if len(wrappers) > 1:
        raise ValueError(f"{len(wrappers)} of the defenses wrap the network; only one can")

    def transform(images: Tensor, labels: Tensor, seeds: Tensor) -> tuple[Tensor, Tensor]:
        for position, defense in enumerate(defenses, start=1):
            own = derived_seeds(seeds, stream=Stream.DEFENSE, step=position)
            images, labels = defense.transform(images, labels, own)
        return images, labels

    return Defense(
        transform,
        losses[0] if losses else cross_entropy,
        tuple(dict.fromkeys(name for each in defenses for name in each.corruptions)),
        wrappers[0] if wrappers else None,
    )
