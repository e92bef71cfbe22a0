"""Which pixels an answer depends on: saliency and integrated gradients.

Both follow the logit of one class of each image, in evaluation mode and full float32.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from attacks.gradients import Forward, exact_path, frozen, full_float32
from benchmarks.evaluation import in_batches

STEPS = 50  # captum's own default


class CaptumMissingError(ValueError):
    """Integrated gradients need captum, which is not installed."""

    def __init__(self) -> None:
        super().__init__(
            "Integrated gradients need captum: pip install 'adversarial-workbench[explain]'"
        )


@dataclass(frozen=True)
class Integrated:
    """Integrated gradients of N images.

    Attributes:
        attributions: float32 (N, C, H, W), signed: what each value adds to the logit.
        difference: float32 (N,), the logit of the image minus that of the baseline. Exact
            attributions add up to it (Sundararajan et al. 2017, proposition 1).
    """

    attributions: Tensor
    difference: Tensor

    @property
    def gap(self) -> Tensor:
        """float32 (N,): the sum of the attributions minus the difference; 0 if integrated well."""
        return self.attributions.flatten(1).sum(dim=1) - self.difference

    @property
    def relative_gap(self) -> Tensor:
        """float32 (N,): the gap's size as a share of the difference's; infinite where that is 0.

        0 where both are 0: nothing is to be explained, and nothing is.
        """
        return torch.where(self.gap == 0, 0.0, self.gap.abs() / self.difference.abs())


def saliency(
    model: nn.Module, images: Tensor, classes: Tensor, *, batch_size: int | None = None
) -> Tensor:
    """How fast the logit changes with each pixel: the largest |gradient| over its channels.

    Source: Simonyan et al. 2013, "Deep inside convolutional networks", section 3.1.

    Args:
        model: maps images in [0, 1] to logits (N, K).
        images: float32 (N, C, H, W) in [0, 1], on the model's device.
        classes: int64 (N,), whose logit is followed.
        batch_size: images at once; None to choose by image size.

    Returns:
        float32 (N, H, W), at least 0, in logits per unit of the image range.

    Raises:
        ValueError: no gradient reaches the images.
    """

    def of_batch(part: Tensor, wanted: Tensor) -> Tensor:
        return _gradient(forward, part, wanted).abs().amax(dim=1)

    with frozen(model), full_float32(images.device):
        forward = exact_path(model)
        return torch.cat(in_batches(of_batch, (images, classes), batch_size))


def integrated_gradients(
    model: nn.Module,
    images: Tensor,
    classes: Tensor,
    *,
    baseline: Tensor | None = None,
    steps: int = STEPS,
    batch_size: int | None = None,
) -> Integrated:
    """(image − baseline) times the mean gradient on the straight way between them, by captum.

    Source: Sundararajan et al. 2017, "Axiomatic attribution for deep networks", equation 1; the
    mean is by Gauss–Legendre quadrature.

    Args:
        model: maps images in [0, 1] to logits (N, K).
        images: float32 (N, C, H, W) in [0, 1], on the model's device.
        classes: int64 (N,), whose logit is explained.
        baseline: (C, H, W) or (N, C, H, W), the image that shows nothing; black where None.
        steps: points of the quadrature, at least 1.
        batch_size: images at once; None to choose by image size.

    Raises:
        CaptumMissingError: captum is not installed.
        ValueError: fewer than one step, or no gradient reaches the images.
    """
    if steps < 1:
        raise ValueError(f"steps={steps} must be at least 1")
    try:
        from captum.attr import IntegratedGradients  # noqa: PLC0415 -- an extra
    except ImportError:
        raise CaptumMissingError from None
    base = torch.zeros_like(images) if baseline is None else baseline.expand_as(images)

    def of_batch(part: Tensor, start: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        _gradient(forward, part[:1], wanted[:1])  # captum does not say that there is none
        with torch.enable_grad():
            found = IntegratedGradients(forward).attribute(
                part, start, target=wanted, n_steps=steps, internal_batch_size=len(part)
            )
        with torch.no_grad():
            scores = forward(part) - forward(start)
        return found.detach().float(), scores.gather(1, wanted.unsqueeze(1)).squeeze(1)

    with frozen(model), full_float32(images.device):
        forward = exact_path(model)
        parts = in_batches(of_batch, (images, base, classes), batch_size)
    return Integrated(*map(torch.cat, zip(*parts, strict=True)))


def _gradient(forward: Forward, images: Tensor, classes: Tensor) -> Tensor:
    """Of each image's own logit; its shape is that of the images."""
    leaf = images.detach().clone().requires_grad_(True)
    with torch.enable_grad():
        scores = forward(leaf).gather(1, classes.unsqueeze(1)).sum()
        gradient = None
        if scores.requires_grad:
            (gradient,) = torch.autograd.grad(scores, leaf, allow_unused=True)
    if gradient is None:
        raise ValueError("no gradient of the logits reaches the images")
    return gradient


def half_mass_share(maps: Tensor) -> Tensor:
    """The smallest share of the pixels that together hold half of a map's mass: float (N,).

    Small where a map is concentrated, 0.5 where it is even; NaN for a map of zeros.

    Args:
        maps: (N, H, W), at least 0.

    >>> half_mass_share(torch.tensor([[[4.0, 0.0], [0.0, 0.0]], [[1.0, 1.0], [1.0, 1.0]]])).tolist()
    [0.25, 0.5]
    """
    ordered = maps.flatten(1).double().sort(dim=1, descending=True).values
    total = ordered.sum(dim=1, keepdim=True)
    fewer = (ordered.cumsum(dim=1) < total * (0.5 - 1e-9)).sum(dim=1) + 1
    share = fewer / ordered.shape[1]
    return torch.where(total.squeeze(1) > 0, share, torch.nan)
