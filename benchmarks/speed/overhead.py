"""What an attack through the runner spends outside the model's passes, and on recording."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from subjects import Subject, arguments, subject
from torch import nn

from attacks.spec import resolve
from benchmarks import CellStore, Condition, ModelEntry, Shard, merge, plan, run

SPECS = ("pgd(eps=8/255, step_size=2/255, steps=20)", "sign-ascent")


@dataclass(frozen=True)
class Examples:
    """The images of a subject, as the runner asks for them."""

    case: Subject
    digest: str = "speed"

    def __len__(self) -> int:
        return len(self.case.images)

    def ids(self, rows: slice) -> np.ndarray:
        return np.arange(len(self))[rows]

    def shard(self, start: int, stop: int) -> Shard:
        rows = slice(start, stop)
        return Shard(self.ids(rows), self.case.images[rows], self.case.labels[rows].numpy())


class Clock:
    """Seconds spent inside the functions it wraps, outermost calls only."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.processor = 0.0  # of them, those in which the processor worked for this process
        self.depth = 0

    def times(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def timed(*args: object, **settings: object) -> object:
            begin, processor = time.perf_counter(), time.process_time()
            self.depth += 1
            try:
                return function(*args, **settings)
            finally:
                self.depth -= 1
                if self.depth == 0:
                    self.seconds += time.perf_counter() - begin
                    self.processor += time.process_time() - processor

        return timed


def main() -> None:
    options = arguments(__doc__ or "")
    for kind in ("plain", "adversarial"):
        case = subject(kind, options)
        for spec in SPECS:
            measure(case, spec)


def measure(case: Subject, spec: str) -> None:
    passes, writing = Clock(), Clock()
    bound = resolve(spec)
    entry = ModelEntry("model", "0" * 64, {}, lambda: case.model)
    planned = plan([entry], [Condition(bound.spec, bound.attack)], Examples(case))
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(nn.Module, "__call__", passes.times(nn.Module.__call__)),
        patch.object(torch.autograd, "grad", passes.times(torch.autograd.grad)),
        patch.object(CellStore, "write", writing.times(CellStore.write)),
    ):
        begin = time.perf_counter()
        for outcome in run(planned, CellStore(Path(folder))):
            if outcome.error is not None:
                raise RuntimeError(outcome.error)
        total = time.perf_counter() - begin
        begin = time.perf_counter()
        merge(planned, CellStore(Path(folder)), Path(folder) / "record.h5")
        writing.seconds += time.perf_counter() - begin
        total += time.perf_counter() - begin
    print(
        f"  {spec}: {total:.2f} s, in passes {passes.seconds:.2f} s, "
        f"outside {1 - passes.seconds / total:.1%} (recording {writing.seconds / total:.1%})"
    )


if __name__ == "__main__":
    main()
