"""Fooling images: ascent of one class's score before the softmax."""

import math

import torch
from torch import Tensor, nn

from attacks import draws
from attacks.active_set import Climb, Live, climb
from attacks.attacked import Attacked
from attacks.checks import check_counts
from attacks.draws import Stream
from attacks.gradients import exact_path, frozen
from attacks.norms import l2_unit
from attacks.objectives import Goal, objective_named
from attacks.spec import unknown

STARTS = ("image", "noise", "blank")
STUDY_VALUES = 3 * 224 * 224  # the image size at which the strengths 5, 20, 100 are defined


def fooling(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    targets: Tensor | None = None,
    seeds: Tensor | None = None,
    target: int | None = None,
    step_size: float = 0.5,
    strength: float | None = None,
    steps: int = 100,
    start: str = "image",
) -> Attacked:
    """Steps of length ``step_size`` along g/‖g‖₂ of the target's score, until it is the top class.

    The score is the logit. Every image is attacked, also one that the model gets wrong, unless
    its top class is the target already. Values are clipped to [0, 1] after each step.

    Args:
        model: maps images in [0, 1] to logits (N, K).
        images: float32 (N, C, H, W) in [0, 1].
        labels: int64 (N,); the random targets differ from them.
        targets: int64 (N,), one target for each image.
        seeds: int64 (N,), for random targets and noise.
        target: one target for all images; None for a random wrong class each.
        step_size: L2 length of a step, in units of the image range.
        strength: instead of ``step_size``: the length in normalised units at 3x224x224, where
            hard-negative training uses 5, 20 and 100. It is scaled by √(values / 150528) for other
            sizes. The model must carry its ``std``, as checkpoints loaded by the workbench do.
        steps: at most this many.
        start: ``image``, uniform ``noise``, or a ``blank`` canvas of 0.5.

    Raises:
        ValueError: for settings or tensors that do not fit.
    """
    if start not in STARTS:
        raise ValueError(unknown("start", start, STARTS))
    check_counts(steps=steps)
    length = step_size if strength is None else strength
    if not (isinstance(length, int | float) and math.isfinite(length) and length > 0):
        raise ValueError(f"the length of a step must be a positive number, not {length!r}")
    scale = _unit(model, images, strength is not None)
    targets = _targets(model, images, labels, targets, seeds, target)

    def move(live: Live, gradient: Tensor, values: Tensor) -> Tensor:
        return (live.images + length * scale * l2_unit(gradient * scale)).clamp(0, 1)

    def canvas(live: Live, restart: int) -> Tensor:
        if start == "blank":
            return torch.full_like(live.originals, 0.5)
        return draws.uniform(live.seeds, live.originals.shape[1:], stream=Stream.CANVAS)

    how = Climb(
        objective=objective_named("logit", targeted=True),
        move=move,
        steps=steps,
        start=None if start == "image" else canvas,
        skip_wrong=False,
        unbounded=True,
    )
    return climb(model, images, labels, how, Goal(targets), seeds)


def _unit(model: nn.Module, images: Tensor, normalised: bool) -> Tensor | float:
    """What a step of length one is in each channel, (1, C, 1, 1), in units of the image range."""
    if not normalised:
        return 1.0
    std = getattr(model, "std", None)
    if std is None:
        raise ValueError(
            "strength is in normalised units, and the model carries no std; use step_size"
        )
    values = torch.as_tensor(std, dtype=torch.float32, device=images.device).flatten()
    size = math.sqrt(math.prod(images.shape[1:]) / STUDY_VALUES)
    return values[None, :, None, None] * size


def _targets(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    targets: Tensor | None,
    seeds: Tensor | None,
    target: int | None,
) -> Tensor:
    if targets is not None and target is not None:
        raise ValueError(f"target={target} and a target for each image: give one of them")
    if targets is not None or len(images) == 0:
        return labels if targets is None else targets
    with frozen(model), torch.no_grad():
        classes = exact_path(model)(images[:1]).shape[1]
    if target is None:
        return draws.wrong_classes(
            torch.zeros_like(labels) if seeds is None else seeds, labels, classes
        )
    if not 0 <= target < classes:
        raise ValueError(f"target={target} is not one of the model's {classes} classes")
    return torch.full_like(labels, target)
