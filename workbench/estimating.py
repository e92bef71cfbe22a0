"""What a run would cost: passes, time and bytes, told before it is begun.

An attack's passes are counted on a network of one layer that it cannot fool, so that it takes all
the steps it may: the counts are bounds. Times are those of a few images, measured now.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import torch
from torch import Tensor, nn

from attacks.execution import engine
from benchmarks import Cell, Plan, columns
from benchmarks.attention import logits_and_maps
from benchmarks.evaluation import float32_logits
from benchmarks.suite import Condition, Made, Shard
from workbench.console import duration
from workbench.tables import short_spec

TO_TRAIN = "images_to_train_on"  # in a model's description: over all epochs, if it is untrained

TRIED = 2  # images that an attack is counted on
TIMED = 32  # images at most that a pass, a corruption or a probe is timed on
MARGIN = 1e4  # in logits, of the network that is not fooled
EVALUATIONS = 2  # of each attacked image: as it is, and in 8 bits
READINGS = 2  # of an attacked image by the judge: the result and the original
BACKWARD = 2  # forward passes that a backward one takes: two matrix products for each of its one


@dataclass(frozen=True)
class Estimate:
    """What a run would cost at most, as far as can be told.

    Attributes:
        forwards: images through a network, training aside.
        backwards: gradients with respect to an image, training aside.
        seconds: of measuring.
        training_seconds: of the passes that missing networks are trained with.
        bytes: of the cells and the record, before they are compressed.
        uncounted: attacks whose passes could not be counted, and are in none of the numbers.
    """

    forwards: int
    backwards: int
    seconds: float
    training_seconds: float
    bytes: int
    uncounted: tuple[str, ...] = ()

    def lines(self) -> Iterator[str]:
        """For a person."""
        backward = f"forward, up to {self.backwards:,} backward" if self.backwards else "forward"
        yield f"passes: up to {self.forwards:,} {backward}"
        if self.training_seconds:
            yield f"training: about {duration(self.training_seconds)}, what defenses do not counted"
        yield f"time: up to about {duration(self.seconds)}, by passes timed just now"
        yield f"disk: up to {self.bytes / 1e6:,.1f} MB"
        if self.uncounted:
            names = "; ".join(map(short_spec, self.uncounted))
            yield f"not in these numbers: the passes of {names}"

    def document(self) -> dict[str, object]:
        """For a program."""
        return asdict(self)


def estimate(todo: Plan, left: Sequence[Cell] | None = None) -> Estimate:
    """See what a plan would cost.

    Args:
        todo: the plan.
        left: its cells that are not finished; None for all of them.
    """
    left = todo.cells if left is None else left
    start, stop = todo.shards[0]
    shard = todo.examples.shard(start, min(stop, start + TIMED))
    shown = shard.images.to(todo.device)
    shard = Shard(shard.ids, shown, shard.labels)
    makers: list[Made] = [*todo.corruptions, *todo.probes]
    making = [_making(each, shard) for each in makers]
    counted = [_passes(condition, shown[:TRIED], todo) for condition in todo.conditions]
    passes = [each or (0, 0) for each in counted]
    unknown = zip(todo.condition_names, counted, strict=True)
    uncounted = tuple(name for name, each in unknown if each is None)
    forwards, backwards = [0] * len(todo.models), [0] * len(todo.models)
    looked = [0] * len(todo.models)  # images of which there is a map
    made: dict[tuple[int, int], int] = {}  # images made, once for all models
    for cell in left:
        images = cell.stop - cell.start
        forward, backward = (1, 0) if cell.condition is None else passes[cell.condition]
        if todo.attention and cell.kind in ("clean", "corruption"):
            looked[cell.model] += images
        forwards[cell.model] += images * (forward + (cell.condition is not None) * EVALUATIONS)
        backwards[cell.model] += images * backward
        number = _made(todo, cell)
        if number is not None:
            made[number, cell.start] = images
    seconds = sum(making[number] * images for (number, _), images in made.items())
    training = 0.0
    for m, (entry, ahead, back) in enumerate(zip(todo.models, forwards, backwards, strict=True)):
        learned = entry.description.get(TO_TRAIN, 0)
        if not ahead and not learned:
            continue
        forward_seconds = _timed(_forward(entry.get(), shown, todo.batch_size)) / len(shown)
        seconds += forward_seconds * (ahead + BACKWARD * back)
        if looked[m]:
            map_seconds = _timed(partial(_maps, todo, m, shown)) / len(shown)
            seconds += max(0.0, map_seconds - forward_seconds) * looked[m]
        if isinstance(learned, int):
            training += forward_seconds * (1 + BACKWARD) * learned
    if todo.judge is not None:
        read = READINGS * sum(cell.stop - cell.start for cell in left if cell.kind == "attack")
        judging = _forward(todo.judge.get(), shown, todo.batch_size)
        seconds += _timed(judging) / len(shown) * read if read else 0.0
        forwards.append(read)
    size = _bytes(todo, left, shown)
    return Estimate(sum(forwards), sum(backwards), seconds, training, size, uncounted)


def _made(todo: Plan, cell: Cell) -> int | None:
    """Which of the corruptions and probes a cell's images are made by, if any."""
    if cell.corruption is not None:
        return cell.corruption
    return None if cell.probe is None else len(todo.corruptions) + cell.probe


class _Stubborn(nn.Module):
    """Sure of the first class whatever the image, with a gradient that is nowhere zero."""

    def __init__(self, images: Tensor, classes: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        weight = torch.randn(images[0].numel(), classes, generator=generator)
        self.weight = nn.Parameter(weight.to(images.device))
        self.margin = MARGIN * nn.functional.one_hot(torch.tensor(0), classes).to(images)

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1) @ self.weight + self.margin


def _passes(condition: Condition, images: Tensor, todo: Plan) -> tuple[int, int] | None:
    """Forward and backward passes that an attack takes at most for an image; None if unknown."""
    names = todo.config["class_names"]
    classes = len(names) if isinstance(names, list) else 10
    labels = torch.zeros(len(images), dtype=torch.int64, device=images.device)
    targets = None if condition.target is None else labels + classes - 1
    model = _Stubborn(images, classes)
    try:
        with engine(precision=todo.precision, batch_size=todo.batch_size):
            found = condition.attack(model, images, labels, targets=targets, seeds=labels)
    except Exception:  # noqa: BLE001  (an attack may refuse such a network: then it is told)
        return None
    return int(found.forwards.max()), int(found.backwards.max())


def _making(made: Made, shard: Shard) -> float:
    """Seconds for one image that is corrupted or probed."""
    few = Shard(shard.ids[:4], shard.images[:4], shard.labels[:4])
    return _timed(lambda: made.images(few, slice(0, len(few.labels)))) / len(few.labels)


def _forward(model: nn.Module, images: Tensor, batch_size: int | None) -> Callable[[], object]:
    # A value is asked for, so that a device that works ahead has to be done.
    return lambda: float(float32_logits(model, images, batch_size).sum())


def _maps(todo: Plan, m: int, images: Tensor) -> float:
    labels = torch.zeros(len(images), dtype=torch.int64, device=images.device)
    model, layer = todo.models[m].get(), todo.attention[m]
    return float(logits_and_maps(model, images, labels, layer, todo.batch_size)[1].sum())


def _timed(work: Callable[[], object]) -> float:
    """Seconds that work takes once it has been done before."""
    work()
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _bytes(todo: Plan, left: Sequence[Cell], images: Tensor) -> int:
    rows = {
        "clean": columns.empty_rows(columns.CLEAN, 0),
        "attack": columns.empty_rows(
            columns.attack_columns(judged=todo.judge is not None), 0, len(todo.thresholds)
        ),
        "corruption": columns.empty_rows(
            {**columns.CORRUPTED, **(columns.ATTENTION if todo.attention else {})}, 0
        ),
        "probe": columns.empty_rows(columns.CORRUPTED, 0),
    }
    size = 2 * sum(rows[cell.kind].itemsize * (cell.stop - cell.start) for cell in left)
    attacked = [cell for cell in left if cell.kind == "attack"]
    kept = sum(min(todo.kept_per_shard, cell.stop - cell.start) for cell in attacked)
    # An original and a result, in the cell and in the record.
    return size + 4 * kept * images[0].numel() * images.element_size()
