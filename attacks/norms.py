"""Balls around an image, and the steepest direction in each norm."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from attacks import draws
from attacks.draws import Stream
from attacks.spec import unknown


@dataclass(frozen=True)
class Norm:
    """A norm's three operations on images (N, C, H, W).

    Attributes:
        steepest: gradient -> the direction of length one in this norm that climbs fastest.
        walls: (originals, eps) -> what `project` needs of the ball, a row an image, computed once.
        project: (images, originals, eps, walls) -> images moved into the ball and into [0, 1].
        spread: (originals, eps, seeds, step) -> seeded random points, to be projected.
    """

    steepest: Callable[[Tensor], Tensor]
    walls: Callable[[Tensor, float], dict[str, Tensor]]
    project: Callable[[Tensor, Tensor, float, Mapping[str, Tensor]], Tensor]
    spread: Callable[[Tensor, float, Tensor, int], Tensor]


def norm_named(name: str) -> Norm:
    """The norm called ``linf`` or ``l2``; ValueError for another name."""
    if name not in NORMS:
        raise ValueError(unknown("norm", name, NORMS))
    return NORMS[name]


def check_eps(eps: float, norm: str = "linf", *, name: str = "eps") -> None:
    """Refuse a budget that is negative, not a number, or plainly on the 0-255 scale."""
    if not isinstance(eps, int | float) or isinstance(eps, bool) or not eps >= 0:
        raise ValueError(f"{name}={eps!r} must be a number of at least 0")
    if norm == "linf" and eps > 1:
        raise ValueError(
            f"{name}={eps:g} is larger than the image range [0, 1]; write {eps:g}/255?"
        )


def check_step_size(step_size: float, norm: str = "linf") -> None:
    """Refuse what `check_eps` does, and 0: standing still makes any model look robust."""
    check_eps(step_size, norm, name="step_size")
    if step_size == 0:
        raise ValueError("step_size=0 moves nothing; it must be above 0")


def l2_lengths(values: Tensor) -> Tensor:
    """The L2 norm of each image, (N, 1, 1, 1)."""
    lengths: Tensor = torch.linalg.vector_norm(values, dim=(1, 2, 3), keepdim=True)
    return lengths


def l2_unit(gradient: Tensor) -> Tensor:
    """The gradient divided by its L2 norm, image by image; a zero gradient stays zero."""
    # A first division by the largest entry keeps tiny gradients from underflowing when squared.
    largest = gradient.abs().amax(dim=(1, 2, 3), keepdim=True)
    scaled = gradient / largest.clamp_min(torch.finfo(gradient.dtype).tiny)
    unit: Tensor = scaled / l2_lengths(scaled).clamp_min(1e-12)
    return unit


def _walls_linf(originals: Tensor, eps: float) -> dict[str, Tensor]:
    return {"lower": _face(originals, -eps), "upper": _face(originals, eps)}


def _face(originals: Tensor, shift: float) -> Tensor:
    """The ball's face at ``shift``, within [0, 1]; where float32 rounds it outwards, one ulp in."""
    face = (originals + shift).clamp(0, 1)
    outside = (face.double() - originals.double()).abs() > abs(shift)
    return torch.where(outside, torch.nextafter(face, originals), face)


def _project_linf(
    images: Tensor, originals: Tensor, eps: float, walls: Mapping[str, Tensor]
) -> Tensor:
    return torch.clamp(images, walls["lower"], walls["upper"])


def _spread_linf(originals: Tensor, eps: float, seeds: Tensor, step: int) -> Tensor:
    shift = draws.uniform(seeds, originals.shape[1:], stream=Stream.START, step=step)
    return originals + (2 * shift - 1) * eps


def _walls_l2(originals: Tensor, eps: float) -> dict[str, Tensor]:
    return {}


def _project_l2(
    images: Tensor, originals: Tensor, eps: float, walls: Mapping[str, Tensor]
) -> Tensor:
    shift = images - originals
    scale = (eps * (1 - 3e-7) / l2_lengths(shift).clamp_min(1e-12)).clamp_max(1)
    shift = shift * scale
    moved = originals + shift
    # Where float32 rounds the sum outwards, one ulp back: thousands of values add up.
    outside = (moved - originals).abs() > shift.abs()
    return torch.where(outside, torch.nextafter(moved, originals), moved).clamp(0, 1)


def _spread_l2(originals: Tensor, eps: float, seeds: Tensor, step: int) -> Tensor:
    """Uniform in the ball: a Gaussian direction, a radius of eps · u^(1/d)."""
    direction = draws.normal(seeds, originals.shape[1:], stream=Stream.START, step=2 * step)
    radius = draws.uniform(seeds, (1, 1, 1), stream=Stream.START, step=2 * step + 1)
    return originals + l2_unit(direction) * eps * radius ** (1 / originals[0].numel())


NORMS = {
    "linf": Norm(torch.sign, _walls_linf, _project_linf, _spread_linf),
    "l2": Norm(l2_unit, _walls_l2, _project_l2, _spread_l2),
}
