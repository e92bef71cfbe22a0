"""Walk a success back toward its original while it stays one."""

import dataclasses

import torch
from torch import Tensor, nn

from attacks.active_set import padded
from attacks.attacked import Attacked, Ended
from attacks.checks import check_counts
from attacks.execution import execution
from attacks.gradients import exact_path, frozen, full_float32
from attacks.spec import resolve


def shrink(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    targets: Tensor | None = None,
    seeds: Tensor | None = None,
    attack: str = "sign-ascent",
    steps: int = 10,
) -> Attacked:
    """Run another attack, then bisect between each original and its success.

    Each step halves the interval of the mixing factor that still succeeds; the result is the
    closest success that was seen, confirmed in float32. Images from before are in ``unshrunk``.

    Args:
        model: maps images in [0, 1] to logits (N, K).
        images: float32 (N, C, H, W) in [0, 1].
        labels: int64 (N,).
        targets: int64 (N,) for a targeted attack.
        seeds: int64 (N,), handed to the other attack.
        attack: the other attack, as a spec.
        steps: bisections; the distance is known to within 2⁻ˢᵗᵉᵖˢ of itself.

    Raises:
        ValueError: for settings or tensors that do not fit.
    """
    check_counts(steps=steps)
    inner = resolve(attack)
    if inner.name == "shrink":
        raise ValueError("shrink(attack=shrink(...)) has nothing left to shrink")
    attacked = inner.attack(model, images, labels, targets=targets, seeds=seeds)
    shrunk, forwards = attacked.images.clone(), attacked.forwards.clone()
    reached = (attacked.ended == int(Ended.REACHED)).nonzero()[:, 0]
    with frozen(model), full_float32(images.device), torch.no_grad():
        forward = exact_path(model)
        for rows in reached.split(execution().batch(images)):
            goal, start, end = attacked.goal.select(rows), images[rows], attacked.images[rows]
            closest, low, high = end, torch.zeros(len(rows)), torch.ones(len(rows))
            low, high = low.to(images.device), high.to(images.device)
            for _ in range(steps):
                middle = (low + high) / 2
                mixed = torch.lerp(start, end, middle[:, None, None, None])
                met = goal.met(forward(padded(mixed))[: len(rows)], labels[rows])
                closest = torch.where(met[:, None, None, None], mixed, closest)
                low, high = torch.where(met, low, middle), torch.where(met, middle, high)
            shrunk[rows] = closest
            forwards[rows] += steps
    return dataclasses.replace(attacked, images=shrunk, forwards=forwards, unshrunk=attacked.images)
