"""Projected gradient ascent in an L∞ or L2 ball."""

from torch import Tensor, nn

from attacks.active_set import Climb, Live, climb
from attacks.attacked import Attacked
from attacks.checks import check_counts
from attacks.norms import check_eps, check_step_size, norm_named
from attacks.objectives import Goal, objective_named
from attacks.spec import unknown


def pgd(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    targets: Tensor | None = None,
    seeds: Tensor | None = None,
    eps: float = 8 / 255,
    step_size: float | None = None,
    steps: int = 20,
    norm: str = "linf",
    random_start: bool = False,
    restarts: int = 1,
    loss: str = "ce",
    stop: str = "success",
) -> Attacked:
    """Steps of fixed length along the steepest direction, each projected back into the ball.

    Source: Madry et al. 2018, "Towards deep learning models resistant to adversarial attacks".

    Args:
        model: maps images in [0, 1] to logits (N, K).
        images: float32 (N, C, H, W) in [0, 1].
        labels: int64 (N,).
        targets: int64 (N,) for a targeted attack.
        seeds: int64 (N,), for the random starts.
        eps: radius of the ball, in units of the image range.
        step_size: length of a step in the same norm; None for 2.5 · eps / steps (Madry et al.).
        steps: number of steps.
        norm: ``linf`` or ``l2``.
        random_start: begin at a seeded random point of the ball.
        restarts: how often images that did not succeed start again, at random points.
        loss: ``ce``, ``margin`` or ``dlr``.
        stop: ``success`` leaves an image at its first success; ``never`` takes all steps with every
            image, also one that is wrong already, as adversarial training does, and returns the
            last iterate.

    Raises:
        ValueError: for settings or tensors that do not fit.
    """
    check_eps(eps, norm)
    check_counts(steps=steps, restarts=restarts)
    if stop not in ("success", "never"):
        raise ValueError(unknown("stop", stop, ("success", "never")))
    ball = norm_named(norm)
    if step_size is not None and eps > 0:
        check_step_size(step_size, norm)
    length = 2.5 * eps / steps if step_size is None else step_size

    def remember(live: Live) -> dict[str, Tensor]:
        return ball.walls(live.originals, eps)

    def start(live: Live, restart: int) -> Tensor:
        if not random_start and restart == 0:
            return live.originals
        spread = ball.spread(live.originals, eps, live.seeds, restart)
        return ball.project(spread, live.originals, eps, live.memory)

    def move(live: Live, gradient: Tensor, values: Tensor) -> Tensor:
        moved = live.images + length * ball.steepest(gradient)
        return ball.project(moved, live.originals, eps, live.memory)

    how = Climb(
        objective=objective_named(loss, targeted=targets is not None),
        move=move,
        steps=steps,
        remember=remember,
        start=start if random_start or restarts > 1 else None,
        stop=stop == "success",
        skip_wrong=stop == "success",
    )
    return climb(model, images, labels, how, Goal(targets), seeds, restarts)
