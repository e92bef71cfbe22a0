"""Signed ascent until the model is sure of a wrong class."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from attacks import draws
from attacks.active_set import Climb, Live, climb
from attacks.attacked import Attacked
from attacks.checks import check_counts
from attacks.draws import Stream
from attacks.gradients import exact_path, vanished
from attacks.norms import NORMS, check_eps, check_step_size, l2_unit
from attacks.objectives import Goal, aimed, objective_named
from attacks.spec import unknown

STATIC_IMAGES = 64


def sign_ascent(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    targets: Tensor | None = None,
    seeds: Tensor | None = None,
    confidence: float = 0.9,
    steps: int = 1000,
    step_size: float = 1 / 255,
    direction: str = "sign",
    eps: float | None = None,
    loss: str = "confidence",
    patience: int = 20,
    tolerance: float = 1e-4,
) -> Attacked:
    """Climb until the top class is wrong and its probability is at least ``confidence``.

    An image may also end in the *random state*: its loss moved by less than ``tolerance`` over
    ``patience`` steps, and its prediction is the one the model gives most often to 64 images of
    uniform noise. The model has one answer to anything strange. Success is tested first. Where an
    image's whole gradient is zero, seeded random signs take its place. With the ``confidence``
    loss, an image whose loss has not risen for ``patience`` steps goes back to its original and
    climbs its next most probable wrong class: the strongest one may have a ceiling below
    ``confidence``.

    Args:
        model: maps images in [0, 1] to logits (N, K).
        images: float32 (N, C, H, W) in [0, 1].
        labels: int64 (N,).
        targets: int64 (N,); then the top class must be the target.
        seeds: int64 (N,), for the ties.
        confidence: probability that the model must give its wrong answer, in [0, 1].
        steps: at most this many.
        step_size: change of each value in one step, in units of the image range.
        direction: ``sign`` of the gradient, or the ``normalised`` gradient: scaled so that the
            root mean square of the step over the image's values is ``step_size``.
        eps: L∞ budget, or None for none but the image range.
        loss: what is climbed: ``confidence`` (log-probability of the strongest wrong class),
            ``ce``, ``margin`` or ``dlr``.
        patience: steps without movement that suggest the random state.
        tolerance: how far the loss may move in them, in its own units.

    Raises:
        ValueError: for settings or tensors that do not fit.
    """
    if not 0 <= confidence < 1:
        raise ValueError(f"confidence={confidence!r} must be in [0, 1)")
    if direction not in ("sign", "normalised"):
        raise ValueError(unknown("direction", direction, ("sign", "normalised")))
    check_counts(steps=steps, patience=patience)
    if patience < 2:
        raise ValueError("patience=1 sees no loss move; it must be at least 2")
    check_step_size(step_size)
    if eps is not None:
        check_eps(eps)
    ball, radius = NORMS["linf"], 1.0 if eps is None else eps
    rms = math.prod(images.shape[1:]) ** 0.5

    def remember(live: Live) -> dict[str, Tensor]:
        recent = live.originals.new_full((len(live), patience), torch.inf)
        return ball.walls(live.originals, radius) | {
            "recent": recent,
            "best": live.originals.new_full((len(live),), -torch.inf),
            "waited": torch.zeros_like(live.steps),
            "turning": torch.zeros_like(live.steps, dtype=torch.bool),
        }

    def move(live: Live, gradient: Tensor, values: Tensor) -> Tensor:
        shift = torch.sign(gradient) if direction == "sign" else l2_unit(gradient) * rms
        flat = vanished(gradient)
        if bool(flat.any()):
            ties = _ties(live)
            shift = torch.where(flat[:, None, None, None], ties, shift)
        moved = live.images + step_size * shift
        turning = live.memory["turning"]
        if bool(turning.any()):
            moved = torch.where(turning[:, None, None, None], live.originals, moved)
        return ball.project(moved, live.originals, radius, live.memory)

    random_state = _random_state(model, patience, tolerance)
    turns = loss == "confidence" and targets is None

    def give_up(live: Live, logits: Tensor, values: Tensor) -> Tensor:
        lost = random_state(live, logits, values)
        if turns:
            _turn(live, logits, values, patience, tolerance)
        return lost

    how = Climb(
        objective=aimed if turns else objective_named(loss, targeted=targets is not None),
        move=move,
        steps=steps,
        remember=remember,
        give_up=give_up,
        unbounded=eps is None,
    )
    return climb(model, images, labels, how, Goal(targets, confidence), seeds)


def _ties(live: Live) -> Tensor:
    return draws.signs(live.seeds, live.images.shape[1:], stream=Stream.TIES, step=live.steps)


def _turn(live: Live, logits: Tensor, values: Tensor, patience: int, tolerance: float) -> None:
    """Aim at the next most probable wrong class where the loss has not risen for a while."""
    memory = live.memory
    risen = values > memory["best"] + tolerance
    waited = torch.where(risen, 0, memory["waited"] + 1)
    turning = waited >= patience
    memory["best"] = torch.where(risen, values, memory["best"]).masked_fill(turning, -torch.inf)
    memory["waited"] = waited.masked_fill(turning, 0)
    memory["turning"] = turning
    if not bool(turning.any()):
        return
    own = one_hot(live.labels, logits.shape[1]).bool()
    strongest = logits.masked_fill(own, -torch.inf).argmax(dim=1)
    aims = torch.where(live.targets < 0, strongest, live.targets)
    tried = memory.get("tried", torch.zeros_like(own))
    tried = torch.where(turning[:, None], tried | one_hot(aims, logits.shape[1]).bool(), tried)
    # With every wrong class tried, begin again.
    tried = tried & ~(tried | own).all(dim=1, keepdim=True)
    memory["tried"] = tried
    following = logits.masked_fill(own | tried, -torch.inf).argmax(dim=1)
    live.targets = torch.where(turning, following, live.targets)


def _random_state(
    model: nn.Module, patience: int, tolerance: float
) -> Callable[[Live, Tensor, Tensor], Tensor]:
    """The test for the random state; the model is asked about static only when needed."""
    answer: list[Tensor] = []

    def random_state(live: Live, logits: Tensor, values: Tensor) -> Tensor:
        recent = live.memory["recent"]
        slot = (live.steps % patience)[:, None]
        live.memory["recent"] = recent = recent.scatter(1, slot, values[:, None])
        still = recent.amax(dim=1) - recent.amin(dim=1) < tolerance
        if not bool(still.any()):
            return still
        if not answer:
            answer.append(_answer_to_static(model, live.images))
        return still & (logits.argmax(dim=1) == answer[0])

    return random_state


def _answer_to_static(model: nn.Module, like: Tensor) -> Tensor:
    """The class that the model gives most often to 64 seeded images of uniform noise."""
    numbers = torch.arange(STATIC_IMAGES, device=like.device)
    static = draws.uniform(draws.image_seeds(0, numbers), like.shape[1:], stream=Stream.STATIC)
    with torch.no_grad():
        return exact_path(model)(static).argmax(dim=1).mode().values
