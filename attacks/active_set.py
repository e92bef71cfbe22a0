"""The one loop: images climb an objective, and only unfinished ones are stepped.

All images take their k-th step together, in chunks of a few fixed sizes; an image that is done
leaves, so the passes spent are the sum of the steps that images needed. One forward pass serves
the test for success and the gradient. With a reduced precision or a faster copy of the model,
every success is confirmed on the caller's own model in float32, and what does not hold goes on
there.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from attacks import cautions
from attacks.attacked import Attacked, Caution, Ended
from attacks.checks import check_inputs
from attacks.execution import execution
from attacks.gradients import Forward, exact_path, fast_path, frozen, full_float32, vanished
from attacks.objectives import Goal, Objective

_RUNNING = -1
_STALLED = -2  # in reduced precision only: goes on in float32
_SIZES = 8  # chunks are padded to a multiple of this: kernels differ for odd sizes


@dataclass
class Live:
    """Images under attack, one row each, and what the attack remembers of them.

    Attributes:
        originals, images: float32 (n, C, H, W), before the attack and now.
        labels, targets, seeds, steps: int64 (n,); a target of -1 is none.
        memory: more tensors with n rows, as the attack needs them; replace them, never change
            them in place.
    """

    originals: Tensor
    images: Tensor
    labels: Tensor
    targets: Tensor
    seeds: Tensor
    steps: Tensor
    memory: dict[str, Tensor] = field(default_factory=dict)
    taken: Mapping[str, Tensor] = field(default_factory=dict)  # the memory as `take` gave it

    def __len__(self) -> int:
        """The number of images."""
        return len(self.images)

    def take(self, rows: Tensor) -> "Live":
        """A copy of some rows."""
        memory = {name: values[rows] for name, values in self.memory.items()}
        return Live(
            originals=self.originals[rows],
            images=self.images[rows],
            labels=self.labels[rows],
            targets=self.targets[rows],
            seeds=self.seeds[rows],
            steps=self.steps[rows],
            memory=memory,
            taken=dict(memory),
        )

    def put(self, rows: Tensor, new: "Live") -> None:
        """Overwrite some rows, in place, with what ``take`` gave and the attack replaced."""
        self.images[rows] = new.images
        self.steps[rows] = new.steps
        self.targets[rows] = new.targets
        for name, values in new.memory.items():
            if name not in self.memory:
                shape = (len(self), *values.shape[1:])
                self.memory[name] = torch.zeros(shape, dtype=values.dtype, device=values.device)
            if values is not new.taken.get(name):
                self.memory[name][rows] = values


@dataclass(frozen=True)
class Climb:
    """How an attack climbs.

    Attributes:
        objective: (logits, labels, targets) -> one value per image, to be increased.
        move: (live, gradient, values) -> the next images, in [0, 1]; may change ``live.memory``.
        steps: at most this many moves.
        remember: live -> the initial ``live.memory``.
        start: (live, restart) -> where to begin, in [0, 1]; None begins at the originals.
        give_up: (live, logits, values) -> bool (n,), images in the random state; may change
            ``live.memory``, and ``live.targets``, which the objective sees and the goal does not.
        stop: whether an image leaves at its first success; otherwise it takes all its steps.
        skip_wrong: whether images whose clean prediction is not the label are left alone.
        result: (live, values) -> what an image becomes that ran out of steps; None for its last.
        unbounded: nothing limits how far images go, so missing one is the attack's own fault.
    """

    objective: Objective
    move: Callable[[Live, Tensor, Tensor], Tensor]
    steps: int
    remember: Callable[[Live], dict[str, Tensor]] = lambda live: {}
    start: Callable[[Live, int], Tensor] | None = None
    give_up: Callable[[Live, Tensor, Tensor], Tensor] | None = None
    stop: bool = True
    skip_wrong: bool = True
    result: Callable[[Live, Tensor], Tensor] | None = None
    unbounded: bool = False


@dataclass
class _Run:
    """Everything about the N images of one call, in place."""

    live: Live
    ended: Tensor
    steps: Tensor  # over all restarts
    forwards: Tensor
    backwards: Tensor
    won_before: Tensor  # an iterate before the last one met the goal
    zero_gradients: Tensor
    batch: int
    halved: bool = False


def climb(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    how: Climb,
    goal: Goal,
    seeds: Tensor | None = None,
    restarts: int = 1,
) -> Attacked:
    """Attack N images as ``how`` says until each meets ``goal`` or ends otherwise.

    Args:
        model: maps images in [0, 1] to logits (N, K).
        images: float32 (N, C, H, W) in [0, 1].
        labels: int64 (N,).
        how: the attack.
        goal: what counts as a success.
        seeds: int64 (N,), or None for zeros.
        restarts: how often images that did not succeed start again.

    Raises:
        ValueError: if shapes, types or ranges are not as stated.
    """
    check_inputs(images, labels, goal.targets, seeds)
    with frozen(model), full_float32(images.device):
        run = _prepare(images, labels, goal, seeds)
        exact = exact_path(model)
        found = cautions.examine_model(exact, run.live.originals[:_SIZES])
        dtype = execution().dtype(images.device)
        fast = None
        if len(images) and not any(caution.code == "randomised" for caution in found):
            fast = fast_path(model, run.live.originals[:_SIZES], dtype)
        if how.skip_wrong and how.start is not None:
            _leave_wrong(run, exact)
        for restart in range(restarts):
            rows = _begin(run, how, restart)
            if len(rows) == 0:
                break
            if fast is not None:
                _advance(run, rows, how, goal, fast, reduced=dtype != torch.float32)
                _reopen(run, rows, goal, exact)
            _advance(run, rows, how, goal, exact, reduced=False)
            run.steps[rows] += run.live.steps[rows]
    return Attacked(
        images=run.live.images,
        steps=run.steps,
        forwards=run.forwards,
        backwards=run.backwards,
        ended=run.ended,
        goal=goal,
        cautions=(*found, *_cautions(run, how)),
    )


def _prepare(images: Tensor, labels: Tensor, goal: Goal, seeds: Tensor | None) -> _Run:
    count = torch.zeros_like(labels)
    live = Live(
        originals=images.detach().clamp(0, 1),
        images=images.detach().clamp(0, 1),
        labels=labels,
        targets=torch.full_like(labels, -1) if goal.targets is None else goal.targets.clone(),
        seeds=torch.zeros_like(labels) if seeds is None else seeds,
        steps=count.clone(),
    )
    return _Run(
        live=live,
        ended=torch.full_like(labels, _RUNNING, dtype=torch.int8),
        steps=count.clone(),
        forwards=count.clone(),
        backwards=count.clone(),
        won_before=torch.zeros_like(labels, dtype=torch.bool),
        zero_gradients=torch.zeros_like(labels, dtype=torch.bool),
        batch=execution().batch(images),
    )


def _begin(run: _Run, how: Climb, restart: int) -> Tensor:
    """Put the images that are to climb at their start, with fresh memory; returns their rows."""
    waiting = _RUNNING if restart == 0 else int(Ended.OUT_OF_STEPS)
    rows = (run.ended == waiting).nonzero()[:, 0]
    live = run.live.take(rows)
    live.steps = torch.zeros_like(live.steps)
    live.images = live.originals
    live.memory = how.remember(live)
    if how.start is not None:
        live.images = how.start(live, restart)
    run.live.put(rows, live)
    run.ended[rows] = _RUNNING
    return rows


def _advance(
    run: _Run, rows: Tensor, how: Climb, goal: Goal, forward: Forward, *, reduced: bool
) -> None:
    """Step the running rows together until none is left."""
    rows = rows[run.ended[rows] == _RUNNING]
    youngest = int(run.live.steps[rows].min()) if len(rows) else 0
    while len(rows):
        last = youngest >= how.steps
        for chunk in _chunks(rows, run):
            _step(run, chunk, how, goal, forward, last=last, reduced=reduced)
        rows = rows[run.ended[rows] == _RUNNING]
        youngest += 1
    run.ended[run.ended == _STALLED] = _RUNNING


def _chunks(rows: Tensor, run: _Run) -> Iterator[Tensor]:
    start = 0
    while start < len(rows):  # the batch may be halved on the way
        chunk = rows[start : start + run.batch]
        yield chunk
        start += len(chunk)


def _step(
    run: _Run, rows: Tensor, how: Climb, goal: Goal, forward: Forward, *, last: bool, reduced: bool
) -> None:
    """One forward pass, the tests, and for what goes on a backward pass and a move."""
    live, goal_here = run.live.take(rows), goal.select(rows)
    try:
        images = padded(live.images).requires_grad_(not last)
        with torch.set_grad_enabled(not last):
            logits = forward(images)[: len(rows)]
            values = how.objective(logits, live.labels, live.targets)
        logits = logits.detach()
        ended = _tests(live, logits, values.detach(), how, goal_here)
        if reduced and how.give_up is not None:
            ended = _give_up_in_float32_only(live, run.live.targets[rows], ended, how)
        gradient = None
        if not last and not _none_left(ended):
            gradient = _gradient(values, images)[: len(rows)]
    except RuntimeError as error:
        if not out_of_memory(error) or run.batch == 1:
            raise
        run.batch = max(1, min(run.batch, len(rows)) // 2)
        run.halved = True
        for half in rows.split(run.batch):
            _step(run, half, how, goal, forward, last=last, reduced=reduced)
        return
    run.forwards[rows] += 1
    if not how.stop:
        run.won_before[rows] |= goal_here.met(logits, live.labels) & (ended == _RUNNING)
    if gradient is not None:
        run.backwards[rows] += 1
        zero = vanished(gradient)
        if not reduced:  # what is zero in reduced precision is looked at again in float32
            run.zero_gradients[rows] |= zero & (ended == _RUNNING) & (live.steps == 0)
        with torch.no_grad():
            moved = how.move(live, gradient, values.detach())
        if reduced:
            stalled = zero | (moved == live.images).flatten(1).all(dim=1)
            ended = torch.where(stalled & (ended == _RUNNING), _STALLED, ended)
        go_on = ended == _RUNNING
        live.steps = live.steps + go_on.long()
        live.images = torch.where(go_on[:, None, None, None], moved, live.images)
    if how.result is not None:
        out = (ended == int(Ended.OUT_OF_STEPS))[:, None, None, None]
        live.images = torch.where(out, how.result(live, values.detach()), live.images)
    run.ended[rows] = ended
    run.live.put(rows, live)


def _gradient(values: Tensor, images: Tensor) -> Tensor:
    if not values.requires_grad:
        raise ValueError(
            "the model's output has no gradient with respect to the image (an exported or "
            "quantised model?); only attacks that need no gradients can be used"
        )
    (gradient,) = torch.autograd.grad(values.sum(), images)
    # Contiguous, as the images are: operations on two layouts at once take several times as long.
    return torch.nan_to_num(gradient.contiguous(), nan=0.0)


def _none_left(ended: Tensor) -> bool:
    """Whether the backward pass can be saved; not asked on a GPU, where asking makes it wait."""
    return ended.device.type == "cpu" and bool((ended != _RUNNING).all())


def _tests(live: Live, logits: Tensor, values: Tensor, how: Climb, goal: Goal) -> Tensor:
    """Why each image ends here, or that it does not, int8 (n,)."""
    met = goal.met(logits, live.labels)
    out = live.steps >= how.steps
    ended = torch.where(out, int(Ended.OUT_OF_STEPS), _RUNNING)
    if how.give_up is not None:
        ended = torch.where(how.give_up(live, logits, values), int(Ended.RANDOM_STATE), ended)
    ended = torch.where(met & (out | how.stop), int(Ended.REACHED), ended)
    if how.skip_wrong and how.start is None:
        wrong = (live.steps == 0) & (logits.argmax(dim=1) != live.labels)
        ended = torch.where(wrong, int(Ended.ALREADY_WRONG), ended)
    return ended.to(torch.int8)


def _give_up_in_float32_only(live: Live, aims: Tensor, ended: Tensor, how: Climb) -> Tensor:
    """Why each image ends: where it gave up or changed its aim, it stalled instead, in place.

    A loss that stands still in bfloat16 may move in float32, which begins to watch it anew.
    """
    stalled = (ended == int(Ended.RANDOM_STATE)) | (live.targets != aims)
    live.targets = aims
    if bool(stalled.any()):
        for name, fresh in how.remember(live).items():
            rows = stalled.reshape(-1, *(1 for _ in fresh.shape[1:]))
            live.memory[name] = torch.where(rows, fresh, live.memory[name])
    return torch.where(stalled & (ended != int(Ended.REACHED)), _STALLED, ended).to(torch.int8)


def _reopen(run: _Run, rows: Tensor, goal: Goal, exact: Forward) -> None:
    """Send what the caller's model does not confirm in float32 back into the loop."""
    ended = run.ended[rows]
    claimed = rows[(ended == int(Ended.REACHED)) | (ended == int(Ended.ALREADY_WRONG))]
    with torch.no_grad():
        for chunk in _chunks(claimed, run):
            logits = exact(padded(run.live.images[chunk]))[: len(chunk)]
            run.forwards[chunk] += 1
            wrong = logits.argmax(dim=1) != run.live.labels[chunk]
            met = goal.select(chunk).met(logits, run.live.labels[chunk])
            reached = run.ended[chunk] == int(Ended.REACHED)
            run.ended[chunk[~torch.where(reached, met, wrong)]] = _RUNNING


def _leave_wrong(run: _Run, exact: Forward) -> None:
    """Mark the images that the model gets wrong as they are, where the climb starts elsewhere."""
    everything = torch.arange(len(run.live), device=run.ended.device)
    with torch.no_grad():
        for chunk in _chunks(everything, run):
            predicted = exact(padded(run.live.originals[chunk]))[: len(chunk)].argmax(dim=1)
            run.forwards[chunk] += 1
            run.ended[chunk[predicted != run.live.labels[chunk]]] = int(Ended.ALREADY_WRONG)


def padded(images: Tensor) -> Tensor:
    """The images with the first repeated up to a multiple of eight rows, detached."""
    missing = -len(images) % _SIZES
    if missing == 0:
        return images.detach()
    return torch.cat([images.detach(), images[:1].detach().expand(missing, -1, -1, -1)])


def out_of_memory(error: RuntimeError) -> bool:
    """Whether an error says that the device's memory is full."""
    # What torch's CPU allocator says, by platform; it raises a plain RuntimeError.
    said = ("not enough memory", "can't allocate memory")
    return isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in said)


def _cautions(run: _Run, how: Climb) -> list[Caution]:
    found = []
    out = run.ended == int(Ended.OUT_OF_STEPS)
    if zero := int(run.zero_gradients.sum()):
        found.append(cautions.zero_gradients(zero, len(run.live)))
    if lost := int((run.won_before & out).sum()):
        found.append(cautions.earlier_iterate(lost))
    if run.halved:
        found.append(cautions.halved_batch(run.batch))
    if how.unbounded and (short := int(out.sum())):
        found.append(cautions.unbounded_short(short, len(run.live)))
    return found
