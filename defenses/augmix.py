"""AugMix: mixtures of chains of simple operations, and a loss that wants one answer for them all.

Source: Hendrycks et al., "AugMix: a simple data processing method to improve robustness and
uncertainty", ICLR 2020.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attacks.draws import Stream, bits, derived_seeds, normal, signs, uniform
from defenses.augmix_operations import OPERATIONS, WEAKENING, Operation
from defenses.defense import Defense, cross_entropy, unchanged

_ATTEMPTS = 12  # each fails with a chance of less than 0.05: all of them, with one of 2⁻⁵¹
_VALUES_AT_ONCE = 2**22  # pixels of all chains together that are in work at a time on a CPU


class MixDraws(NamedTuple):
    """What chance decides about the mixtures of N images.

    Attributes:
        shares: of the image and of each chain in the mixture, float32 (N, 1 + width).
        depths: operations in each chain, int64 (N, width).
        operations: which ones, int64 (N, width, deepest).
        levels: how strongly, float64 (N, width, deepest); see `Operation`.
        signs: which way, -1 or 1, float64 (N, width, deepest).
    """

    shares: Tensor
    depths: Tensor
    operations: Tensor
    levels: Tensor
    signs: Tensor


def augmix(
    width: int = 3,
    depth: int = -1,
    alpha: float = 1.0,
    severity: float = 3.0,
    jsd: float = 12.0,
    all_ops: bool = False,
) -> Defense:
    """Mix each image with chains of operations on it, anew for every image and chain.

    With ``jsd`` above 0 the images, two mixtures of each and their one forward pass belong to the
    loss: the cross-entropy of the images plus ``jsd`` times the Jensen-Shannon divergence of the
    three answers. With 0 every image is replaced by one mixture and the loss is left as it is.

    Crops and mirror images come first: ``--defense crop-flip --defense augmix``.

    Args:
        width: chains in a mixture.
        depth: operations in a chain, or -1 for one to three, drawn for each chain.
        alpha: of the Dirichlet and Beta distributions of the shares in a mixture.
        severity: the highest level of an operation, above 0.1 and at most 10. Published: 3 for
            images of 32 pixels, 1 for those of 224.
        jsd: weight of the divergence. Published: 12.
        all_ops: whether to use colour, contrast, brightness and sharpness too. These overlap with
            test corruptions, which the defense then names.

    Raises:
        ValueError: a setting out of range.
    """
    _check(width, depth, alpha, severity, jsd)
    operations = tuple((OPERATIONS | WEAKENING if all_ops else OPERATIONS).values())
    corruptions = tuple(name for operation in operations for name in operation.shows)

    def mixture(images: Tensor, seeds: Tensor) -> Tensor:
        drawn = mix_draws(seeds, width, depth, alpha, severity, len(operations))
        return mixed(images, drawn, operations)

    def transform(images: Tensor, labels: Tensor, seeds: Tensor) -> tuple[Tensor, Tensor]:
        return mixture(images, seeds), labels

    def loss(
        model: nn.Module, images: Tensor, labels: Tensor, seeds: Tensor
    ) -> tuple[Tensor, Tensor]:
        own = derived_seeds(seeds, stream=Stream.DEFENSE, step=0)  # transforms count from 1
        both = [derived_seeds(own, stream=Stream.DEFENSE, step=view) for view in (1, 2)]
        views = mixture(images.repeat(2, 1, 1, 1), torch.cat(both))
        answers = model(torch.cat([images, views])).float().chunk(3)  # also under autocast
        divergence = jensen_shannon(answers)
        return F.cross_entropy(answers[0], labels) + jsd * divergence, answers[0]

    if jsd == 0:
        return Defense(transform, cross_entropy, corruptions)
    return Defense(unchanged, loss, corruptions)


def jensen_shannon(answers: Sequence[Tensor]) -> Tensor:
    """Mean over the images of how far several answers for each are from their mean, in nats.

    ``mean_i KL(p_i || M)`` with M the mean of the p_i, kept from 0 by 1e-7 as published.

    Args:
        answers: logits (n, K) each.
    """
    logs = [F.log_softmax(logits, dim=1) for logits in answers]
    probabilities = [log.exp() for log in logs]
    middle = torch.stack(probabilities).mean(0).clamp(1e-7, 1).log()
    each = [(p * (log - middle)).sum(1).mean() for p, log in zip(probabilities, logs, strict=True)]
    return torch.stack(each).mean()


def mix_draws(
    seeds: Tensor, width: int, depth: int, alpha: float, severity: float, operations: int
) -> MixDraws:
    """Draw the mixtures of the images with these seeds, int64 (N,).

    The settings are those of `augmix`; ``operations`` is how many there are to choose from.
    """
    deepest = 3 if depth == -1 else depth
    chains = (width, deepest)
    weights = dirichlet(seeds, width, alpha, step=0)
    of_image, of_chains = dirichlet(seeds, 2, alpha, step=1).split(1, 1)  # Beta, and the rest to 1
    lengths = _choices(seeds, (width,), 3, step=2) + 1
    grid = uniform(seeds, chains, stream=Stream.DEFENSE, step=4).double()
    return MixDraws(
        torch.cat([of_image, of_chains * weights], 1).float(),
        lengths if depth == -1 else torch.full_like(lengths, depth),
        _choices(seeds, chains, operations, step=3),
        0.1 + (severity - 0.1) * grid,
        signs(seeds, chains, stream=Stream.DEFENSE, step=5).double(),
    )


def mixed(images: Tensor, draws: MixDraws, operations: Sequence[Operation]) -> Tensor:
    """Mix images, float32 (N, C, H, W) in [0, 1], with chains of operations on them.

    Operations take and give 8-bit images, as published; the mixture is neither rounded nor clipped.
    """
    values = draws.depths.shape[1] * math.prod(images.shape[1:])
    at_once = len(images) if images.is_cuda else _VALUES_AT_ONCE // values
    parts = zip(*(each.split(max(1, at_once)) for each in (images, *draws)), strict=True)
    return torch.cat([_mixed(part, MixDraws(*drawn), operations) for part, *drawn in parts])


def _mixed(images: Tensor, draws: MixDraws, operations: Sequence[Operation]) -> Tensor:
    pixels = images.mul(255).round_().to(torch.uint8).contiguous()
    chains = _chains(pixels, draws, operations).float()
    mixture = torch.einsum("nw,nwv->nv", draws.shares[:, 1:] / 255, chains.flatten(2))
    return mixture.view_as(images).addcmul_(draws.shares[:, :1, None, None], images)


def _chains(pixels: Tensor, draws: MixDraws, operations: Sequence[Operation]) -> Tensor:
    """Where each chain of operations leads from its image: uint8 (N, width, C, H, W)."""
    n, width, deepest = draws.operations.shape
    last = len(operations)  # the number of the operation that changes nothing
    steps = torch.arange(deepest, device=pixels.device)
    chosen = draws.operations.masked_fill(steps >= draws.depths[..., None], last)
    chosen = chosen.view(-1, deepest).t()
    levels, sides = (each.view(-1, deepest).t() for each in (draws.levels, draws.signs))
    # Chains with the same operation stand together: one sort, and one wait for a GPU to count them.
    order = chosen.argsort(dim=1, stable=True)
    sizes = F.one_hot(chosen, last + 1).sum(1).tolist()
    state = pixels
    places = torch.arange(n, device=pixels.device).repeat_interleave(width)  # of chains in `state`
    for rows, level, side, counts in zip(order, levels, sides, sizes, strict=True):
        groups = state.index_select(0, places[rows]).split(counts)
        magnitudes = zip(level[rows].split(counts), side[rows].split(counts), strict=True)
        moved = [
            operation.apply(group, operation.magnitudes(*drawn, *pixels.shape[2:]))
            for operation, group, drawn in zip(operations, groups, magnitudes, strict=False)
            if len(group)
        ]
        state = torch.cat([*moved, groups[last]])
        places = rows.argsort()
    return state.index_select(0, places).view(n, width, *pixels.shape[1:])


def dirichlet(seeds: Tensor, count: int, alpha: float, *, step: int) -> Tensor:
    """Shares that add up to 1, from a symmetric Dirichlet distribution, float64 (N, count)."""
    return torch.softmax(_log_gamma_values(seeds, count, alpha, step), dim=1)


def _log_gamma_values(seeds: Tensor, count: int, alpha: float, step: int) -> Tensor:
    """Logarithms of values from the Gamma(alpha, 1) distribution, float64 (N, count).

    By Marsaglia & Tsang, "A simple method for generating gamma variables", ACM TOMS 2000, with a
    fixed number of attempts, so that an image's draws do not hang on its neighbours'. For alpha
    below 1 by way of alpha + 1 (section 6); in logarithms, since tiny alphas give tiny values.
    """
    own = derived_seeds(seeds, stream=Stream.DEFENSE, step=step)
    spread = _open_uniform(own, (count,), step=0)
    if alpha == 1:
        return spread.log().neg_().log_()
    shape = alpha if alpha > 1 else alpha + 1
    d = shape - 1 / 3
    x = normal(own, (_ATTEMPTS, count), stream=Stream.DEFENSE, step=1).double()
    cube = (1 + x / math.sqrt(9 * d)) ** 3
    accepted = _open_uniform(own, (_ATTEMPTS, count), step=2).log() < (
        x * x / 2 + d - d * cube + d * cube.log()  # no number for a negative cube: not accepted
    )
    first = accepted.to(torch.uint8).argmax(1, keepdim=True)
    found = (d * cube.gather(1, first)[:, 0]).clamp_min(1e-300).log()
    return found + spread.log() / alpha if alpha < 1 else found


def _open_uniform(seeds: Tensor, shape: tuple[int, ...], step: int) -> Tensor:
    """Uniform in (0, 1), float64, on a grid of 2⁻²⁴ with half a step to either end."""
    return uniform(seeds, shape, stream=Stream.DEFENSE, step=step).double().add_(2.0**-25)


def _choices(seeds: Tensor, shape: tuple[int, ...], high: int, step: int) -> Tensor:
    """Integers in [0, high), int64 (N, *shape)."""
    return bits(seeds, shape, stream=Stream.DEFENSE, step=step).mul_(high) >> 32


def _check(width: int, depth: int, alpha: float, severity: float, jsd: float) -> None:
    if width < 1:
        raise ValueError(f"augmix: width={width} must be at least 1")
    if depth < 1 and depth != -1:
        raise ValueError(f"augmix: depth={depth} must be at least 1, or -1 for one to three")
    if not 0 < alpha < math.inf:
        raise ValueError(f"augmix: alpha={alpha} must be above 0")
    if not 0.1 < severity <= 10:
        raise ValueError(f"augmix: severity={severity} must be above 0.1 and at most 10")
    if not 0 <= jsd < math.inf:
        raise ValueError(f"augmix: jsd={jsd} must not be negative")
