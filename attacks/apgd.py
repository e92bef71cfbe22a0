"""Auto-PGD: projected ascent that chooses its own step size."""

import itertools
import math

import torch
from torch import Tensor, nn

from attacks.active_set import Climb, Live, climb
from attacks.attacked import Attacked
from attacks.checks import check_counts
from attacks.norms import check_eps, norm_named
from attacks.objectives import Goal, objective_named

MOMENTUM = 0.75  # alpha in Croce & Hein 2020, section 3.1
RISES = 0.75  # rho in section 3.2: the share of steps that must raise the loss


def apgd(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    targets: Tensor | None = None,
    seeds: Tensor | None = None,
    eps: float = 8 / 255,
    steps: int = 100,
    norm: str = "linf",
    restarts: int = 1,
    loss: str = "dlr",
) -> Attacked:
    """Auto-PGD: steps begin at 2 · eps and are halved, from the best point, when progress stops.

    Source: Croce & Hein 2020, "Reliable evaluation of adversarial robustness with an ensemble of
    diverse parameter-free attacks", algorithm 1. The first start is the image itself, which finds
    the same points at less cost; restarts begin at random.

    Args:
        model: maps images in [0, 1] to logits (N, K).
        images: float32 (N, C, H, W) in [0, 1].
        labels: int64 (N,).
        targets: int64 (N,) for a targeted attack.
        seeds: int64 (N,), for the random starts.
        eps: radius of the ball, in units of the image range.
        steps: number of steps.
        norm: ``linf`` or ``l2``.
        restarts: how often images that did not succeed start again, at random points.
        loss: ``ce``, ``dlr`` (at least 3 classes, 4 when targeted) or ``margin``.

    Returns:
        The first success, or the point of highest loss in the last restart.

    Raises:
        ValueError: for settings or tensors that do not fit.
    """
    check_eps(eps, norm)
    check_counts(steps=steps, restarts=restarts)
    ball = norm_named(norm)
    periods = checkpoints(steps)
    # For each step count: the length of the period that ends there, or 0.
    period_ending = torch.zeros(steps + 1, dtype=torch.int64, device=images.device)
    for begin, end in itertools.pairwise(periods):
        period_ending[end] = end - begin

    def remember(live: Live) -> dict[str, Tensor]:
        n = len(live)
        lowest = live.originals.new_full((n,), -math.inf)
        return ball.walls(live.originals, eps) | {
            "previous": live.originals,
            "best": live.originals,
            "best_gradient": torch.zeros_like(live.originals),
            "best_value": lowest,
            # No value before the first, so reaching it is no rise.
            "value": torch.full_like(lowest, math.inf),
            "best_at_checkpoint": lowest,
            "rises": torch.zeros_like(live.steps),
            "length": live.originals.new_full((n,), 2 * eps),
            "kept_length": torch.zeros_like(live.labels, dtype=torch.bool),
        }

    def start(live: Live, restart: int) -> Tensor:
        if restart == 0:
            return live.originals
        spread = ball.spread(live.originals, eps, live.seeds, restart)
        return ball.project(spread, live.originals, eps, live.memory)

    def move(live: Live, gradient: Tensor, values: Tensor) -> Tensor:
        memory = live.memory
        memory["rises"] = memory["rises"] + (values > memory["value"])
        memory["value"] = values
        better = values > memory["best_value"]
        memory["best_value"] = torch.where(better, values, memory["best_value"])
        memory["best"] = torch.where(_wide(better), live.images, memory["best"])
        memory["best_gradient"] = torch.where(_wide(better), gradient, memory["best_gradient"])
        halve = _stuck(memory, period_ending[live.steps])
        images = torch.where(_wide(halve), memory["best"], live.images)
        gradient = torch.where(_wide(halve), memory["best_gradient"], gradient)

        step = memory["length"][:, None, None, None] * ball.steepest(gradient)
        ahead = ball.project(images + step, live.originals, eps, memory)
        first = _wide(live.steps == 0)
        inertia = (1 - MOMENTUM) * (images - memory["previous"])
        moved = torch.where(first, ahead, images + MOMENTUM * (ahead - images) + inertia)
        memory["previous"] = images
        return ball.project(moved, live.originals, eps, memory)

    def best(live: Live, values: Tensor) -> Tensor:
        last_is_better = values > live.memory["best_value"]
        return torch.where(_wide(last_is_better), live.images, live.memory["best"])

    how = Climb(
        objective=objective_named(loss, targeted=targets is not None),
        move=move,
        steps=steps,
        remember=remember,
        start=start if restarts > 1 else None,
        result=best,
    )
    return climb(model, images, labels, how, Goal(targets), seeds, restarts)


def checkpoints(steps: int) -> list[int]:
    """The steps at which the step size may be halved (Croce & Hein 2020, section 3.2).

    >>> checkpoints(100)
    [0, 22, 41, 57, 70, 80, 87, 93, 99]
    """
    shares, found = [0.0, 0.22], [0]
    while shares[-1] <= 1:
        # Rounded first: 0.22 + 0.19 is a little more than 0.41, and ceil would go one too far.
        found.append(math.ceil(round(shares[-1] * steps, 6)))
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    return [step for step in dict.fromkeys(found) if step <= steps]


def _stuck(memory: dict[str, Tensor], period: Tensor) -> Tensor:
    """Which images halve their step now: conditions 1 and 2 of section 3.2. Updates the memory."""
    at_checkpoint = period > 0
    few_rises = memory["rises"] < RISES * period
    no_better = memory["kept_length"] & (memory["best_value"] <= memory["best_at_checkpoint"])
    halve = at_checkpoint & (few_rises | no_better)
    memory["length"] = torch.where(halve, memory["length"] / 2, memory["length"])
    memory["kept_length"] = torch.where(at_checkpoint, ~halve, memory["kept_length"])
    memory["best_at_checkpoint"] = torch.where(
        at_checkpoint, memory["best_value"], memory["best_at_checkpoint"]
    )
    memory["rises"] = torch.where(at_checkpoint, 0, memory["rises"])
    return halve


def _wide(rows: Tensor) -> Tensor:
    return rows[:, None, None, None]
