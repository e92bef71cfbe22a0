"""What running another library's attack takes: a stand-in model, one seed, and a second look.

A library never sees the caller's model. It gets a `StandIn` that counts rows and keeps its hands
off the modes and gradients; what it returns is checked, moved into its budget, evaluated again.
"""

import contextlib
import hashlib
import math
import random
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from attacks.active_set import out_of_memory
from attacks.attacked import Attack, Attacked, Caution, Ended
from attacks.cautions import examine_model, halved_batch, unbounded_short, zero_gradients
from attacks.checks import check_inputs
from attacks.execution import execution
from attacks.gradients import Forward, exact_path, frozen, full_float32
from attacks.norms import NORMS
from attacks.objectives import Goal

# A float32 step on images in [0, 1] errs by up to 6e-8; a library's own projections by a few of
# these. What lies further out than this was not rounding.
ROUNDING = 1e-5


class UnsuitedError(ValueError):
    """The attack does not fit the model or the goal: no image of the batch would fare better."""


class StandIn(nn.Module):
    """The module that a library is given in place of the model: images (N, C, H, W) to logits.

    The model is no submodule of it, so ``train()``, ``zero_grad()`` and ``to()`` stop here.

    Attributes:
        forwards: rows passed forward so far.
        backwards: rows whose logits received a gradient so far.
        classes: how many logits the model returns, once it has been called.
        zero_gradients: images whose gradient was zero when first asked for.
        fresh: whether the next gradient is the first of its batch.
    """

    def __init__(self, logits: Forward, device: torch.device, *, positive: bool) -> None:
        super().__init__()
        # Libraries look for the device in the first parameter.
        self.device_mark = nn.Parameter(torch.zeros(1, device=device), requires_grad=False)
        self.forwards = 0
        self.backwards = 0
        self.classes = 0
        self.zero_gradients = 0
        self.fresh = True
        self._logits = logits
        self._positive = positive

    def forward(self, images: Tensor) -> Tensor:
        """The model's logits (N, K), shifted above 0 where the attack needs that."""
        images = images.float()
        if images.requires_grad:
            # Libraries flatten gradients with view(), which a channels-last gradient refuses.
            images = images.view_as(images)
            images.register_hook(self._receive)
        logits = self.exact(images)
        if logits.requires_grad:
            rows = len(images)

            def count(_: Tensor) -> None:
                self.backwards += rows

            logits.register_hook(count)
        if self._positive:
            # At least 1, so that no logit ties with one that was masked to 0.
            logits = logits - logits.detach().amin(dim=1, keepdim=True) + 1
        return logits

    def exact(self, images: Tensor) -> Tensor:
        """The model's own logits, counted."""
        with torch.autocast(images.device.type, enabled=False):
            logits = self._logits(images)
        self.forwards += len(images)
        self.classes = logits.shape[1]
        return logits

    def _receive(self, gradient: Tensor) -> Tensor:
        if self.fresh:
            self.zero_gradients += int((gradient == 0).flatten(1).all(dim=1).sum())
            self.fresh = False
        return gradient.contiguous()


@dataclass(frozen=True)
class Budget:
    """How far an image may move: ``norm`` is ``linf``, ``l2``, ``l1`` or ``l0``."""

    norm: str
    eps: float


@dataclass(frozen=True)
class Batch:
    """Images that are not wrong yet, and what belongs to each."""

    images: Tensor
    labels: Tensor
    targets: Tensor | None
    seeds: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: Tensor | slice) -> "Batch":
        targets = None if self.targets is None else self.targets[rows]
        return Batch(self.images[rows], self.labels[rows], targets, self.seeds[rows])


LibraryCall = Callable[[StandIn, Batch], Tensor]
"""Runs the library on a batch; a row of NaN means that it found no image to return."""


@dataclass
class _Trouble:
    """What went wrong on the way, for one caution at the end."""

    errors: list[Exception] = field(default_factory=list)
    unfit: int = 0
    beyond: float = 0.0
    halved_to: int = 0


def third_party(
    title: str,
    call: LibraryCall,
    *,
    budget: Budget | None = None,
    unbounded: bool = False,
    positive: bool = False,
) -> Attack:
    """Turn a library's call into an `Attack` that keeps our guarantees.

    Args:
        title: what the attack is called in messages, such as ``foolbox:LinfPGD``.
        call: runs the library.
        budget: what the library was told to keep to; the result is moved into it.
        unbounded: nothing limits the attack, so an image that it misses is its own fault.
        positive: shift each row of logits so that the smallest is 1; gradients stay.
    """

    def attack(
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        *,
        targets: Tensor | None = None,
        seeds: Tensor | None = None,
    ) -> Attacked:
        check_inputs(images, labels, targets, seeds)
        goal = Goal(targets)
        seeds = torch.zeros_like(labels) if seeds is None else seeds
        trouble = _Trouble()
        with (
            frozen(model),
            full_float32(images.device),
            torch.inference_mode(False),
            torch.enable_grad(),
        ):
            exact = exact_path(model)
            found = examine_model(exact, images[:8])
            stand_in = StandIn(exact, images.device, positive=positive)
            already = _evaluate(stand_in, images).argmax(dim=1) != labels
            live = torch.nonzero(~already).flatten()
            everything = Batch(images.detach().clone(), labels, targets, seeds)
            result = everything.images.clone()
            fit = torch.ones_like(already)
            size = execution().batch(images) if len(images) else 1
            for rows in live.split(size) if len(live) else ():
                batch = everything[rows]
                moved, usable = _run(title, call, stand_in, batch, trouble)
                result[rows] = _within(moved, batch.images, budget, usable, trouble)
                fit[rows] = usable
            if trouble.errors and not fit[live].any():
                raise ValueError(f"{title} failed: {_line(trouble.errors[0])}") from trouble.errors[
                    0
                ]
            met = torch.zeros_like(already)
            if len(live):
                changed = result[live]
                met[live] = goal.select(live).met(_evaluate(stand_in, changed), labels[live])
        ended = torch.full_like(already, Ended.OUT_OF_STEPS, dtype=torch.int8)
        ended[met & fit] = Ended.REACHED
        ended[already] = Ended.ALREADY_WRONG
        missed = int((ended == Ended.OUT_OF_STEPS).sum())
        if stand_in.zero_gradients:
            found += (zero_gradients(stand_in.zero_gradients, len(images)),)
        if unbounded and missed:
            found += (unbounded_short(missed, len(images)),)
        backwards = _spread(stand_in.backwards, already)
        return Attacked(
            images=result,
            steps=backwards.clone(),
            forwards=_spread(stand_in.forwards - len(images), already) + 1,
            backwards=backwards,
            ended=ended,
            goal=goal,
            cautions=found + _cautions(title, trouble, len(live)),
        )

    return attack


def _run(
    title: str, call: LibraryCall, stand_in: StandIn, batch: Batch, trouble: _Trouble
) -> tuple[Tensor, Tensor]:
    """The library's images, float32 like the batch's, and which of them can be used.

    Where the library fails, the batch is halved until the images that it fails on are alone: one
    image must not cost the others their result. This also gets a batch into memory.
    """
    _seed(batch.seeds)
    stand_in.fresh = True
    try:
        # Libraries print progress; standard output belongs to the application.
        with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they are about the library's own code
            found = call(stand_in, batch)
        if found.shape != batch.images.shape:
            raise ValueError(f"{title} returned shape {tuple(found.shape)}")
    except UnsuitedError as error:
        raise UnsuitedError(f"{title}: {error}") from error
    except Exception as error:  # noqa: BLE001 -- another library's failures are not ours to list
        found = None
        failure = error.with_traceback(None)  # the traceback would keep the batch in memory
    if found is None:
        if len(batch) == 1:
            trouble.errors.append(failure)
            trouble.unfit += 1
            return batch.images, torch.zeros_like(batch.labels, dtype=torch.bool)
        middle = len(batch) // 2
        if isinstance(failure, RuntimeError) and out_of_memory(failure):
            trouble.halved_to = middle
        halves = [
            _run(title, call, stand_in, half, trouble) for half in (batch[:middle], batch[middle:])
        ]
        return torch.cat([images for images, _ in halves]), torch.cat([fit for _, fit in halves])
    found = found.detach().to(batch.images.device, torch.float32)
    usable = ((found >= -ROUNDING) & (found <= 1 + ROUNDING)).flatten(1).all(dim=1)
    trouble.unfit += int((~usable).sum())
    return torch.where(usable[:, None, None, None], found, batch.images).clamp(0, 1), usable


def _within(
    found: Tensor, originals: Tensor, budget: Budget | None, usable: Tensor, trouble: _Trouble
) -> Tensor:
    """Images moved into the budget; in L0, where nothing can be scaled, put back instead."""
    if budget is None:
        return found
    lengths = _lengths(found - originals, budget.norm)
    outside = lengths > budget.eps
    if not outside.any():
        return found
    trouble.beyond = max(trouble.beyond, float(lengths.max()) / max(budget.eps, 1e-12) - 1)
    if budget.norm in NORMS:
        norm = NORMS[budget.norm]
        moved = norm.project(found, originals, budget.eps, norm.walls(originals, budget.eps))
    elif budget.norm == "l1":
        scale = budget.eps * (1 - 3e-7) / lengths.clamp_min(1e-12)
        shift = (found - originals) * scale.float()[:, None, None, None]
        moved = (originals + shift).clamp(0, 1)
    else:
        moved = originals
        trouble.unfit += int((outside & usable).sum())
        usable &= ~outside
    return torch.where(outside[:, None, None, None], moved, found)


def _lengths(shift: Tensor, norm: str) -> Tensor:
    """The length of each image's change, float64 (N,)."""
    flat = shift.double().flatten(1)
    if norm == "l0":
        return (flat != 0).sum(dim=1).double()
    order = {"linf": float("inf"), "l2": 2.0, "l1": 1.0}[norm]
    lengths: Tensor = torch.linalg.vector_norm(flat, ord=order, dim=1)
    return lengths


def _evaluate(stand_in: StandIn, images: Tensor) -> Tensor:
    """Logits of all images, in float32 and without gradients."""
    if not len(images):
        return images.new_zeros(0, 1)
    with torch.no_grad():
        parts = images.split(execution().batch(images))
        return torch.cat([stand_in.exact(part) for part in parts])


def _seed(seeds: Tensor) -> None:
    """Seed the global generators, which libraries draw from; `frozen` puts them back."""
    digest = hashlib.blake2b(seeds.cpu().numpy().tobytes(), digest_size=8).digest()
    number = int.from_bytes(digest, "little")
    # Not torch.manual_seed, which also queues a seed for GPUs that are not in use yet.
    torch.default_generator.manual_seed(number >> 1)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(number >> 1)
    np.random.seed(number % 2**32)
    random.seed(number)


def _spread(total: int, already: Tensor) -> Tensor:
    """The total shared out among the images that were attacked, int64 (N,), exact in the sum."""
    shares = torch.zeros_like(already, dtype=torch.int64)
    live = torch.nonzero(~already).flatten()
    if len(live):
        shares[live] = total // len(live)
        shares[live[: total % len(live)]] += 1
    return shares


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__


def _cautions(title: str, trouble: _Trouble, live: int) -> tuple[Caution, ...]:
    found, parts = [], []
    if trouble.halved_to:
        found.append(halved_batch(trouble.halved_to))
    if trouble.unfit:
        why = (
            _line(trouble.errors[0])
            if trouble.errors
            else "none, NaN, or outside [0, 1] or its budget"
        )
        parts.append(
            f"gave no usable image for {trouble.unfit} of {live} ({why}); "
            "they are left as they were and count as not reached"
        )
    if trouble.beyond > ROUNDING:
        parts.append(
            f"went over its budget by up to {trouble.beyond:.1%}; "
            "such images were moved back into it"
        )
    if parts:
        found.append(Caution("third-party", f"{title} {' and '.join(parts)}"))
    return tuple(found)


def check_kind(attack: str, key: str, value: object, default: object) -> None:
    """Refuse a value of another kind than the default: a word for a number, a number for a flag."""
    for kind, name in ((bool, "true or false"), (int | float, "a number"), (str, "a word")):
        if isinstance(default, kind):
            same_kind = isinstance(value, kind) and isinstance(value, bool) == (kind is bool)
            if not same_kind or (isinstance(value, float) and math.isnan(value)):
                raise ValueError(f"{attack}: {key}={value!r} must be {name}")
            return
