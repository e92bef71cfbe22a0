"""Training as a generator: one `Epoch` at a time, nothing printed, nothing written."""

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from attacks.draws import image_seeds
from attacks.execution import Execution
from defenses import processes
from defenses.averaging import Average
from defenses.defense import Defense, smoothed
from defenses.evaluation import Batch, Images, Totals, batches, evaluate
from defenses.steps import Optimizer, Schedule, Step, learning_rate, make_optimizer, set_rate


class DivergenceError(ValueError):
    """The loss or a weight is no longer finite; the epochs yielded before are good."""


@dataclass(frozen=True)
class Resume:
    """What training needs, beside the model, to go on after ``epoch`` as if never interrupted.

    ``optimizer`` is the optimizer's own state, ``weights`` the model's where the model itself holds
    their running mean (``ema``). Both can be saved with `torch.save`.
    """

    epoch: int
    optimizer: Mapping[str, Any]
    weights: Mapping[str, Tensor] | None = None


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training images came to.

    Attributes:
        number: counted from 1, of ``epochs``.
        epochs: how many there will be.
        loss: mean training loss over the pass, in nats, weights moving.
        error: share of the training images misclassified during the pass, weights moving; by the
            labels that the defense gives them.
        validation_loss: mean cross-entropy on the validation images after the pass, or None.
        validation_error: share of the validation images misclassified after the pass, or None.
        lr: learning rate of the last step.
        images: how many training images were seen.
        seconds: wall time of the pass, validation not included.
        resume: what `train` takes to go on from here; it holds until the next epoch is asked for.
    """

    number: int
    epochs: int
    loss: float
    error: float
    validation_loss: float | None
    validation_error: float | None
    lr: float
    images: int
    seconds: float
    resume: Resume = field(repr=False, compare=False)

    @property
    def images_per_second(self) -> float:
        """Training images per second of wall time."""
        return self.images / self.seconds if self.seconds > 0 else math.inf


def train(
    model: nn.Module,
    images: Images,
    labels: Tensor,
    *,
    epochs: int = 10,
    batch_size: int = 128,
    lr: float = 0.1,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    spare_norms: bool = False,
    optimizer: Optimizer = "sgd",
    schedule: Schedule = "cosine",
    warmup: float = 0.0,
    label_smoothing: float = 0.0,
    ema: float = 0.0,
    seed: int = 0,
    device: torch.device | str = "cpu",
    precision: str = "float32",
    defense: Defense | None = None,
    ids: Tensor | None = None,
    validation: tuple[Images, Tensor] | None = None,
    watch: Callable[[Batch], None] | None = None,
    resume: Resume | None = None,
) -> Iterator[Epoch]:
    """Train a model in place and yield one `Epoch` after each pass.

    Every image is seen once per epoch, in an order drawn from ``(seed, epoch)``. Dropout and other
    draws of the model come from the same pair, and the global generators are left as they were.
    On a CPU the same seed gives the same weights, as long as the number of threads is the same.
    At each yield the model is in eval mode. Frozen parameters stay as they are, and layers of
    nothing else are never put in training mode, so that frozen norms keep their statistics.

    In a process group of `torch.distributed`, where every process makes the same call with a model
    of its own, they train one model together: each takes a share of every batch, and all yield the
    same epochs. The gradients are those of one process with the whole batch, but for rounding and
    for what depends on the share that an image is in: dropout, what ``mixup`` and ``cutmix`` blend,
    and on CPUs the statistics of batch normalisation; the running ones are the first process's.

    Args:
        model: maps images (n, C, H, W) in [0, 1] to logits (n, K); its normalisation is its own.
        images: (N, C, H, W), uint8, or float32 in [0, 1]; see `Images`.
        labels: int64 (N,), in [0, K).
        epochs: passes over the images.
        batch_size: images per step, of all processes together; a last batch of one image joins
            the one before it.
        lr: peak learning rate.
        momentum: of SGD, in Nesterov's form; 0 for plain steps. Adam's betas are its defaults.
        weight_decay: an L2 term for ``sgd`` and ``adam``, decoupled for ``adamw``.
        spare_norms: the weights of norms and all biases do not decay (He et al., "Bag of tricks
            for image classification", CVPR 2019).
        optimizer: ``sgd``, ``adam`` or ``adamw``.
        schedule: see `defenses.steps.learning_rate`.
        warmup: epochs over which the rate climbs from 0 to ``lr``.
        label_smoothing: this share of each label is spread over all classes (Szegedy et al.,
            "Rethinking the Inception architecture", CVPR 2016).
        ema: of the weights, a running mean that keeps this share of itself at each step is what
            is validated and what the model holds at each yield; 0 for the weights themselves. See
            `defenses.averaging`.
        seed: of the order of the images and of the model's own draws.
        device: where the model is moved to and trained.
        precision: ``bfloat16`` runs the model's passes in it where that loses little
            (`torch.autocast`); weights, statistics, the loss and the steps stay in float32, and so
            does validation. ``auto`` does so where the hardware gains by it.
        defense: what is done to each batch, and its loss; None for plain training.
        ids: int64 (N,), stable ids of the images that the defense's draws are keyed by, with the
            seed and the epoch; None to use their rows.
        validation: images and labels to be classified after each pass.
        watch: called now and then within a pass.
        resume: of the last epoch that was yielded, to go on after it; the model must be as it was
            then. The result is the same as without the interruption.

    Raises:
        ValueError: for settings or labels that cannot be trained with.
        DivergenceError: when the loss or a weight stops being finite. It is a `ValueError`.
    """
    _check(images, labels, validation, epochs, batch_size, lr, momentum, weight_decay, warmup)
    defense = defense or Defense()
    loss_of = smoothed(defense.loss, label_smoothing)
    device = torch.device(device)
    stepper = make_optimizer(
        _moved(model, device), optimizer, lr, momentum, weight_decay, spare_norms
    )
    average = Average(model, ema, None if resume is None else resume.weights)
    step = processes.in_step(Step(model, loss_of, Execution(precision).dtype(device)), device)
    per_epoch = len(_order(len(labels), batch_size, seed, 1))
    finished = 0 if resume is None else resume.epoch
    ids = torch.arange(len(labels)) if ids is None else ids.cpu()
    if resume is not None:
        stepper.load_state_dict(dict(resume.optimizer))

    def rate(step: int) -> float:
        return learning_rate(step, epochs * per_epoch, lr, schedule, warmup * per_epoch)

    rate(0)  # an unknown schedule is told now, not at the first epoch

    def steps(number: int) -> Iterator[Batch]:
        totals = Totals(number, device)
        order = _order(len(labels), batch_size, seed, number)
        mine = batches(images, labels, [processes.share(rows) for rows in order], device)
        for i, (rows, x, y) in enumerate(mine):
            set_rate(stepper, rate((number - 1) * per_epoch + i))
            if number == finished + 1 and i == 0:
                _check_classes(labels, validation, _answer(model, x))
            seeds = image_seeds(_mixed(seed, number, "defense"), ids[rows]).to(device)
            moved, targets = defense.transform(x, y, seeds)
            loss, logits = step(moved, targets, seeds)
            stepper.zero_grad(set_to_none=True)
            processes.weighed(loss, len(y), len(order[i])).backward()
            stepper.step()
            average.follow((number - 1) * per_epoch + i)
            if processes.counts(len(y), len(order[i])):
                # Mixed labels name no class: then the image's own is to be the answer.
                totals.add(loss.detach(), logits.detach(), targets if targets.ndim == 1 else y)
            if (i + 1) % _between_looks(device) == 0 or i + 1 == per_epoch:
                yield totals.read()

    def run() -> Iterator[Epoch]:
        for number in range(finished + 1, epochs + 1):
            began = time.perf_counter()
            _to_training(model)
            with torch.random.fork_rng(_generators(device)):
                torch.manual_seed(_mixed(seed, number, f"model{processes.rank() or ''}"))
                for seen in steps(number):
                    if not math.isfinite(seen.loss):
                        raise DivergenceError(_diverged(number, "the training loss"))
                    if watch is not None:
                        watch(seen)
            seconds = time.perf_counter() - began
            model.eval()
            average.put_in()
            processes.unify_buffers(model)
            _check_weights(model, number)
            loss, error = _validated(model, validation, number, device)
            yield Epoch(
                number,
                epochs,
                seen.loss,
                seen.error,
                loss,
                error,
                rate(number * per_epoch - 1),
                seen.images,
                seconds,
                Resume(number, stepper.state_dict(), average.weights),
            )
            average.take_out()

    return run()


def _between_looks(device: torch.device) -> int:
    """Batches: looking at the loss waits for a GPU, and a CPU has nothing to wait for."""
    return 1 if device.type == "cpu" else 20


def _moved(model: nn.Module, device: torch.device) -> nn.Module:
    """On the device; convolutions are faster with the channels of a pixel side by side."""
    moved: nn.Module = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return moved


def _validated(
    model: nn.Module,
    validation: tuple[Images, Tensor] | None,
    epoch: int,
    device: torch.device,
) -> tuple[float | None, float | None]:
    if validation is None:
        return None, None
    loss, error = evaluate(model, *validation, device=device)
    if not math.isfinite(loss):
        raise DivergenceError(_diverged(epoch, "the validation loss"))
    return loss, error


def _check_weights(model: nn.Module, epoch: int) -> None:
    for name, values in model.state_dict().items():
        if values.is_floating_point() and not bool(torch.isfinite(values).all()):
            raise DivergenceError(_diverged(epoch, name))


def _diverged(epoch: int, what: str) -> str:
    return (
        f"training diverged in epoch {epoch}: {what} is not finite. "
        "Try a smaller learning rate, a warm-up, or clean the data."
    )


def _order(count: int, batch_size: int, seed: int, epoch: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(_mixed(seed, epoch, "order"))
    order = list(torch.randperm(count, generator=generator).split(batch_size))
    if len(order) > 1 and len(order[-1]) == 1:  # batch normalisation has no use for one image
        last = order.pop()
        order[-1] = torch.cat([order[-1], last])
    return order


def _mixed(seed: int, epoch: int, purpose: str) -> int:
    digest = hashlib.blake2b(f"{seed}/{epoch}/{purpose}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def _generators(device: torch.device) -> list[torch.device]:
    return [device] if device.type == "cuda" else []


def _check(
    images: Images,
    labels: Tensor,
    validation: tuple[Images, Tensor] | None,
    epochs: int,
    batch_size: int,
    lr: float,
    momentum: float,
    weight_decay: float,
    warmup: float,
) -> None:
    pairs = [("training", images, labels)]
    if validation is not None:
        pairs.append(("validation", *validation))
    for what, x, y in pairs:
        if len(y) == 0:
            raise ValueError(f"no {what} images")
        if len(x) != len(y):
            raise ValueError(f"{len(x)} {what} images but {len(y)} labels")
    for name, value in (("epochs", epochs), ("batch_size", batch_size)):
        if value < 1:
            raise ValueError(f"{name} is {value}; it must be at least 1")
    if not lr > 0 or not math.isfinite(lr):
        raise ValueError(f"lr is {lr}; it must be above 0")
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum is {momentum}; it must be in [0, 1)")
    for name, amount in (("weight_decay", weight_decay), ("warmup", warmup)):
        if not amount >= 0:
            raise ValueError(f"{name} is {amount}; it must not be negative")


def _answer(model: nn.Module, images: Tensor) -> Tensor:
    """What a model in training says of images, without leaving a trace in it."""
    model.eval()
    with torch.no_grad():
        logits: Tensor = model(images)
    _to_training(model)
    return logits


def _to_training(model: nn.Module) -> None:
    """Training mode, but for layers whose own parameters are all frozen."""
    model.train()
    for layer in model.modules():
        own = list(layer.parameters(recurse=False))
        if own and not any(parameter.requires_grad for parameter in own):
            layer.eval()


def _check_classes(
    labels: Tensor, validation: tuple[Images, Tensor] | None, logits: Tensor
) -> None:
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        what = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(f"the model returns {what}, not one tensor of logits (n, classes)")
    classes = logits.shape[1]
    for given in (labels, *(() if validation is None else (validation[1],))):
        low, high = int(given.min()), int(given.max())
        if low < 0 or high >= classes:
            raise ValueError(
                f"labels run from {low} to {high}, but the model has {classes} classes"
            )
