"""What the runner costs beside the work itself: overhead, resuming, merging, and two Ray workers.

Seconds are of the clock on the wall and, in brackets, of this process's share of the processor:
the latter stays the same where others use the machine too.
"""

import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from overhead import Clock
from overhead import Examples as SubjectExamples
from subjects import arguments, subject
from torch import nn

from attacks.corruptions import CORRUPTIONS, GROUPS
from attacks.spec import resolve
from benchmarks import CellStore, Condition, Corrupted, ModelEntry, Plan, Shard, merge, plan, run
from workbench.corruptions import make_recipes

ATTACKS = (
    "fgsm(eps=8/255)",
    "pgd(eps=8/255, step_size=2/255, steps=20)",
    "pgd(eps=8/255, step_size=2/255, steps=20, loss=margin)",
    "apgd(eps=8/255, loss=dlr)",
    "sign-ascent",
)
MODELS, SHARD = 13, 1000  # 13 models x (clean, 5 attacks, 75 corruptions) are 1,053 cells


@dataclass(frozen=True)
class Seconds:
    """How long something took."""

    wall: float
    processor: float

    def __str__(self) -> str:
        return f"{self.wall:.2f} s ({self.processor:.2f} s)"


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self.wall, self.processor = time.perf_counter(), time.process_time()

    def read(self) -> Seconds:
        return Seconds(time.perf_counter() - self.wall, time.process_time() - self.processor)


@dataclass(frozen=True)
class Noise:
    """Small random images."""

    count: int
    side: int = 8
    digest: str = "noise"

    def __len__(self) -> int:
        return self.count

    def ids(self, rows: slice) -> np.ndarray:
        return np.arange(self.count)[rows]

    def shard(self, start: int, stop: int) -> Shard:
        images = torch.rand(
            stop - start, 1, self.side, self.side, generator=torch.Generator().manual_seed(start)
        )
        ids = self.ids(slice(start, stop))
        return Shard(ids, images, ids % 10)


def small_model(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval()


def darker(shard: Shard, rows: slice, *, factor: float) -> torch.Tensor:
    return shard.images * factor


def many_cells() -> Plan:
    """A plan of 1,053 cells of 1,000 images, whose work is next to nothing."""
    models = [
        ModelEntry(f"model {m}", f"{m:064d}", {}, partial(small_model, m)) for m in range(MODELS)
    ]
    bound = resolve("fgsm(eps=8/255)")
    attacks = [Condition(bound.spec, bound.attack, seed) for seed in range(len(ATTACKS))]
    corrupted = [
        Corrupted(name, severity, {}, partial(darker, factor=1 - severity / 10))
        for name in GROUPS["standard"]
        for severity in range(1, 6)
    ]
    return plan(models, attacks, Noise(1000), corruptions=corrupted, shard_size=SHARD)


def main() -> None:
    options = arguments(__doc__ or "")
    measure_many()
    measure_ray()
    measure_overhead(options)


def measure_overhead(options: Namespace) -> None:
    """Everything outside attacks, corruptions and passes, of a ResNet-20's standard suite."""
    case = subject("plain", options)
    work = Clock()
    entry = ModelEntry("model", "0" * 64, {}, lambda: case.model)
    conditions = [
        Condition(bound.spec, work.times(bound.attack)) for bound in map(resolve, ATTACKS)
    ]
    corruptions = [
        replace(recipe.corrupted, corrupt=work.times(recipe))
        for recipe in make_recipes(
            [name for name in CORRUPTIONS if name in GROUPS["standard"]], range(1, 6), seed=0
        )
    ]
    planned = plan([entry], conditions, SubjectExamples(case), corruptions=corruptions)
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(nn.Module, "__call__", work.times(nn.Module.__call__)),
    ):
        whole = Stopwatch()
        for outcome in run(planned, CellStore(Path(folder))):
            if outcome.error is not None:
                raise RuntimeError(outcome.error)
        merge(planned, CellStore(Path(folder)), Path(folder) / "record.h5")
        total = whole.read()
    spent = Seconds(work.seconds, work.processor)
    outside = (1 - spent.wall / total.wall, 1 - spent.processor / total.processor)
    print(
        f"  {len(planned.cells)} cells of {len(case.images)} images: {total}, in attacks, "
        f"corruptions and passes {spent}, outside {outside[0]:.2%} ({outside[1]:.2%}; target 3 %)"
    )


def measure_many() -> None:
    """Resuming and merging a thousand finished cells."""
    planned = many_cells()
    with tempfile.TemporaryDirectory() as folder:
        store, record = CellStore(Path(folder) / "cells"), Path(folder) / "record.h5"
        watch = Stopwatch()
        statuses = {outcome.status for outcome in run(planned, store)}
        made = watch.read()
        if statuses != {"done"}:
            raise RuntimeError(f"cells are {statuses}")
        watch = Stopwatch()
        statuses = {outcome.status for outcome in run(planned, store)}
        resumed = watch.read()
        if statuses != {"cached"}:
            raise RuntimeError(f"cells are {statuses}")
        watch = Stopwatch()
        merge(planned, store, record)
        merged = watch.read()
    print(f"{len(planned.cells)} cells of {len(planned.ids)} images: made in {made}")
    print(f"  resumed in {resumed} (target 2 s)")
    print(f"  merged in {merged} (target 10 s)")


def measure_ray() -> None:
    """Equal cells with one worker and with two: such as compute, and such as only wait.

    The latter tell what handing out costs, where other programs take the second core.
    """
    for kind, work in (("compute", partial(busy, passes=2000)), ("wait", partial(idle, seconds=1))):
        found = {workers: _with_workers(workers, work) for workers in (1, 2)}
        ratio = 2 * found[2] / found[1]
        print(
            f"24 equal cells that {kind} on Ray: one worker {found[1]:.1f} s, "
            f"two {found[2]:.1f} s, {ratio:.2f} of half the time (target 1.15)"
        )


@contextmanager
def _ray(workers: int) -> Iterator[None]:
    import ray  # noqa: PLC0415

    ray.init(
        "local", num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level=40
    )
    try:
        yield
    finally:
        ray.shutdown()


def busy(shard: Shard, rows: slice, *, passes: int) -> torch.Tensor:
    """A fixed amount of work."""
    images, weights = shard.images, torch.ones(256, 256) / 256
    values = torch.ones(256, 256)
    for _ in range(passes):
        values = values @ weights
    return images * values[0, 0].clamp(0, 1)


def idle(shard: Shard, rows: slice, *, seconds: float) -> torch.Tensor:
    """A fixed time of no work."""
    time.sleep(seconds)
    return shard.images


def _with_workers(workers: int, work: Callable[[Shard, slice], torch.Tensor]) -> float:
    from benchmarks.ray_engine import ray_engine  # noqa: PLC0415

    torch.set_num_threads(1)
    entry = ModelEntry("model", "0" * 64, {}, partial(small_model, 0))
    with _ray(workers), tempfile.TemporaryDirectory() as folder:
        # The first run is for the workers to start and to import torch.
        for name, each in (("first", partial(idle, seconds=0.5)), ("measured", work)):
            equal = [
                Corrupted(corruption, severity, {"work": name}, each)
                for corruption in GROUPS["standard"][:8]
                for severity in (1, 2, 3)
            ]
            planned = plan([entry], (), Noise(100), corruptions=equal, clean=False)
            watch = Stopwatch()
            list(run(planned, CellStore(Path(folder)), engine=ray_engine(cpus=1)))
    return watch.read().wall


if __name__ == "__main__":
    main()
