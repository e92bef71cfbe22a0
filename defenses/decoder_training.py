"""Training the decoder of a stylizer: step by step, to be taken up after any of them."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from attacks.draws import Stream, image_seeds, integers
from defenses.adain import Stylizer, coloured, decoder_losses
from defenses.evaluation import Images, unit
from defenses.training import DivergenceError

DECAY = 5e-5
"""The learning rate of step i is ``lr / (1 + DECAY · i)``, as in the authors' program."""


@dataclass(frozen=True)
class Step:
    """One step of the decoder.

    Attributes:
        number: counted from 1.
        content_loss, style_loss: of the batch, before the step, without weights.
        optimizer: its state, for `train_decoder` to go on from.
    """

    number: int
    content_loss: float
    style_loss: float
    optimizer: Mapping[str, Any] = field(repr=False, compare=False)


def train_decoder(
    stylizer: Stylizer,
    content: Images,
    paintings: Images,
    *,
    steps: int,
    batch_size: int = 8,
    lr: float = 1e-4,
    content_weight: float = 1.0,
    style_weight: float = 10.0,
    seed: int = 0,
    device: torch.device | str = "cpu",
    resume: Step | None = None,
) -> Iterator[Step]:
    """Train a decoder in place with Adam, and yield each step.

    The images and paintings of a step are drawn evenly from ``(seed, step)``, so the weights do not
    depend on interruptions. Batch size, rate, decay and weights are those of the usual programs.

    Args:
        stylizer: its decoder is trained, its encoder stays as it is.
        content: images (N, C, H, W) of 1 or 3 channels; see `Images`.
        paintings: images (P, 3, h, w).
        steps: how many in all.
        batch_size: images, and as many paintings, in a step.
        lr: of the first step.
        content_weight, style_weight: of the two losses, see `defenses.adain.decoder_losses`.
        seed: of what is drawn.
        device: where the networks are moved to and trained.
        resume: the step to go on after; the decoder must be as it was then.

    Raises:
        ValueError: there is nothing to train with.
        DivergenceError: when the loss stops being finite. It is a `ValueError`.
    """
    if not len(content) or not len(paintings):
        raise ValueError("a decoder is trained on images and on paintings: one of them is missing")
    if not (math.isfinite(lr) and lr > 0):
        raise ValueError(f"lr is {lr}; it must be above 0")
    device = torch.device(device)
    stylizer.encoder.to(device)
    optimizer = torch.optim.Adam(stylizer.decoder.to(device).parameters(), lr)
    if resume is not None:
        optimizer.load_state_dict(dict(resume.optimizer))

    def batch(images: Images, seeds: Tensor, purpose: int) -> Tensor:
        rows = integers(seeds, len(images), stream=Stream.DEFENSE, step=purpose)
        return coloured(unit(images[rows].to(device)))

    def run() -> Iterator[Step]:
        for number in range(1 if resume is None else resume.number + 1, steps + 1):
            seeds = image_seeds(seed, number * batch_size + torch.arange(batch_size))
            for group in optimizer.param_groups:
                group["lr"] = lr / (1 + DECAY * (number - 1))
            losses = decoder_losses(stylizer, batch(content, seeds, 0), batch(paintings, seeds, 1))
            optimizer.zero_grad(set_to_none=True)
            (content_weight * losses[0] + style_weight * losses[1]).backward()
            optimizer.step()
            of_content, of_style = torch.stack(losses).tolist()
            if not math.isfinite(of_content + of_style):
                raise DivergenceError(
                    f"training diverged at step {number}: the loss is not finite. "
                    "Try a smaller learning rate."
                )
            yield Step(number, of_content, of_style, optimizer.state_dict())

    return run()
