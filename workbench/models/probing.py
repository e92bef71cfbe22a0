"""Try a network once, when it is loaded, so that surprises come before the work and not in it."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from workbench.errors import UsageError
from workbench.models.classifier import Classifier
from workbench.models.wording import kind_and_line

_PROBES = 4
_SUM_TOLERANCE = 1e-3  # bfloat16-trained softmaxes sum to 1 within this


class Scores(nn.Module):
    """A network whose scores (N, K) come wrapped: in a tuple, a dict, an object, or 1×1 maps."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, values: Tensor) -> Tensor:
        """The scores (N, K) alone."""
        scores = _scores(self.network(values))
        if scores is None:
            raise ValueError("the network returned no scores")
        return scores.flatten(1)


def unwrapped(output: object) -> bool:
    """Whether a network's output is (N, K) as it is."""
    return isinstance(output, Tensor) and output.ndim == 2


def probe_images(channels: int, height: int, width: int) -> Tensor:
    """Four fixed images (4, channels, height, width) in [0, 1]: grey, and three of static."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(_PROBES, channels, height, width, generator=generator)
    images[0] = 0.5
    return images


def try_output(network: nn.Module, values: Tensor) -> object:
    """What the network returns for normalised values (N, C, H, W).

    Raises:
        UsageError: it does not accept them.
    """
    try:
        with torch.no_grad():
            return network(values)
    except Exception as error:  # a network, above all a user's, may raise anything
        shape = "x".join(str(size) for size in values.shape[1:])
        raise UsageError(
            f"The network does not accept {shape} images ({kind_and_line(error)}).\n"
            "Give the size it was trained for with --input-size, and --channels where they differ."
        ) from error


def as_scores(network: nn.Module, output: object) -> tuple[nn.Module, Tensor]:
    """The network, wrapped where that is needed, and its scores (N, K) in ``output``.

    Raises:
        UsageError: there are no scores for two or more classes in it, or they are not finite.
    """
    scores = _scores(output)
    if scores is None or scores.ndim < 2 or scores[0].numel() != scores.shape[1]:
        what = "x".join(map(str, scores.shape)) if scores is not None else type(output).__name__
        raise UsageError(f"The network returns {what}, not one score for each class.")
    flat = scores.flatten(1)
    if flat.shape[1] < 2:
        raise UsageError(
            "The network returns one number for each image; a classifier gives one for each class. "
            "For two classes, return torch.cat([-score, score], 1) from a factory."
        )
    if not bool(torch.isfinite(flat).all()):
        raise UsageError("The network's outputs are not finite: its weights hold NaN or infinity.")
    return (network if unwrapped(output) else Scores(network)), flat


def looks_like_probabilities(scores: Tensor) -> bool:
    """Whether every row (N, K) is non-negative and sums to one."""
    sums = scores.double().sum(dim=1)
    return bool((scores >= 0).all()) and bool(((sums - 1).abs() < _SUM_TOLERANCE).all())


def gradient_reach(model: Classifier, images: Tensor) -> str:
    """How far a gradient of the logits reaches images (N, C, H, W).

    ``"yes"``; ``"zero"``, where it is zero everywhere, as of rounded inputs or saturated outputs;
    or ``"none"``, where autograd finds no way, as in a program that was exported without one.
    """
    images = images[:2].clone().requires_grad_()
    try:
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(model(images).square().sum(), images)
    except RuntimeError:
        return "none"
    return "yes" if bool((gradient != 0).any()) else "zero"


def _scores(output: Any) -> Tensor | None:
    if isinstance(output, Tensor):
        return output
    for name in ("logits", "out", "output", "scores"):
        found = output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)
        if isinstance(found, Tensor):
            return found
    if isinstance(output, tuple | list) and output and isinstance(output[0], Tensor):
        return output[0]
    return None
