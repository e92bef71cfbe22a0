"""What `workbench fool` does: fooling images of a whole data set, part by part, in one file."""

import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from attacks.execution import Execution
from benchmarks import ModelEntry
from benchmarks.durable import read_checked, sha256_file, stored_checksum
from benchmarks.fooling_sets import (
    FoolingSet,
    Outcome,
    fool,
    read_fooling_set,
    write_fooling_set,
)
from benchmarks.identity import library_versions
from benchmarks.intervals import bootstrap_means, wilson
from workbench.console import Console
from workbench.datasets import Dataset
from workbench.devices import resolve_device
from workbench.errors import Interrupted, UsageError, explain
from workbench.models import require_gradient
from workbench.plugins import add_plugins
from workbench.run_directory import next_directory, open_run, refuse_other, resume_command
from workbench.running import PLACES, cell_size, refuse_guessing
from workbench.subjects import Options, Subjects, load_subjects, model_entries

VALUES_PER_PART = 2**22  # image values; a kill costs at most one part, a few seconds of work
LARGEST_PART = 2000  # images
MEANS = ("steps", "l2", "clipped")  # what the table shows the mean of


@dataclass(frozen=True)
class Part:
    """Some images at one strength, kept in a file of its own until all are made."""

    version: int
    start: int
    stop: int
    file: Path


def make_fooling_set(options: Options, arguments: Sequence[str], console: Console) -> None:
    """Fool a model with every image of a data set, and keep the results in one HDF5 file.

    Args:
        options: the parsed command line.
        arguments: the command line as it was written, to say how to resume.
        console: where output goes.

    Raises:
        ValueError: something that was asked for cannot be done.
        OSError: something cannot be read or written.
        Interrupted: Ctrl-C; the message says how to resume.
    """
    strengths = parse_strengths(options["strengths"])
    add_plugins(["attacks"], console)
    device = resolve_device(options["device"], options["threads"])
    subjects = load_subjects({**options, "checkpoints": [options["model"]]}, console)
    (loaded,), data = subjects.models, subjects.dataset
    require_gradient(loaded)
    (entry,) = model_entries(subjects, device)
    config = _config(options, subjects, entry, strengths, device)
    if options["dry_run"]:
        console.show(
            f"{len(data):,} images of {data.name} at {len(strengths)} strengths "
            f"({', '.join(f'{each:g}' for each in strengths)}) against {entry.name} on {device}",
            f"size: {math.prod(data.pixels.shape) * len(strengths) / 1e9:.2f} GB before "
            "compression",
        )
        console.document({"dry_run": True, "config": config})
        return
    refuse_guessing(
        entry, data, str(device), options["batch_size"], console, force=options["force"]
    )
    output = options["output"] or next_directory("fool", entry.name) / "fooling.h5"
    folder = output.with_name(output.name + ".parts")
    if output.exists():
        found = _finished(output)
        refuse_other(output, dict(found.description), config)
        shutil.rmtree(folder, ignore_errors=True)  # a kill may have left it
        console.note(f"{output} is finished; nothing to make.")
        _show(found, console)
        return
    command = resume_command(arguments, output)
    with open_run(
        folder,
        verb="fool",
        name=entry.name,
        config=config,
        arguments=arguments,
    ) as run:
        parts = _parts(data, strengths, run.cells)
        _make(parts, strengths, data, entry, options, console, command)
        outcomes = ((part.version, part.start, _read(part)) for part in parts)
        with _resumable(lambda: _kept(len(parts), parts), command):
            _write(output, outcomes, strengths, data, config)
        shutil.rmtree(run.path)
    _show(read_fooling_set(output), console)


def parse_strengths(text: str) -> tuple[float, ...]:
    """Strengths such as ``5,20,100``: ascending, each above 0.

    Raises:
        UsageError: one of them is no such number.
    """
    try:
        values = sorted({float(part) for part in text.split(",") if part.strip()})
    except ValueError:
        values = []
    if not values or not all(0 < value < math.inf for value in values):
        raise UsageError(f"--strengths {text}: write numbers above 0, such as 5,20,100.")
    return tuple(values)


def _config(
    options: Options,
    subjects: Subjects,
    entry: ModelEntry,
    strengths: Sequence[float],
    device: torch.device,
) -> dict[str, Any]:
    """Everything that decides the images; where the checkpoint lies is no part of it."""
    described = {key: value for key, value in entry.description.items() if key not in PLACES}
    precision = Execution(str(options["precision"])).dtype(device)
    return {
        **subjects.source,
        "images": len(subjects.dataset),
        "data_digest": subjects.dataset.digest,
        "model": {"name": entry.name, **described, "digest": entry.digest},
        "strengths": list(strengths),
        "steps": options["steps"],
        "start": str(options["start"]),
        "seed": options["seed"],
        "precision": str(precision).removeprefix("torch."),
        "batch_size": options["batch_size"],
        "device": device.type,
        "versions": library_versions(),
    }


def _parts(data: Dataset, strengths: Sequence[float], folder: Path) -> list[Part]:
    size = cell_size(
        math.prod(data.pixels.shape[1:]), together=VALUES_PER_PART, largest=LARGEST_PART
    )
    return [
        Part(version, start, min(start + size, len(data)), folder / f"{version}-{start}.h5")
        for version in range(len(strengths))
        for start in range(0, len(data), size)
    ]


def _make(
    parts: Sequence[Part],
    strengths: Sequence[float],
    data: Dataset,
    entry: ModelEntry,
    options: Options,
    console: Console,
    command: str,
) -> None:
    """Make the parts that are not there, or are damaged."""
    missing = [part for part in parts if read_checked(part.file) is None]
    done = len(parts) - len(missing)
    work = sum(part.stop - part.start for part in missing)
    model = entry.get()
    device = next(model.buffers()).device
    with (
        _resumable(lambda: _kept(done, parts), command),
        console.progress(work, unit="images", description="fooling") as progress,
    ):
        for part in missing:
            progress.describe(f"strength {strengths[part.version]:g}")
            shard = data.shard(part.start, part.stop)
            outcome = fool(
                model,
                shard.images.to(device),
                torch.from_numpy(shard.labels).to(device),
                torch.from_numpy(shard.ids),
                strength=strengths[part.version],
                seed=options["seed"],
                steps=options["steps"],
                start=str(options["start"]),
                precision=str(options["precision"]),
                batch_size=options["batch_size"],
            )
            rows = data.subset(np.arange(part.start, part.stop))
            _write(part.file, [(0, 0, outcome)], [strengths[part.version]], rows, {})
            done += 1
            reached = f"{float(outcome.reached.mean()):.0%} reached"
            progress.advance(part.stop - part.start, detail=reached)


@contextmanager
def _resumable(kept: Callable[[], str], command: str) -> Iterator[None]:
    """Say after Ctrl-C, a full disk and the like what is kept, and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(f"Interrupted: {kept()}\n{command}") from None
    except OSError as error:
        raise UsageError(f"{explain(error).splitlines()[0]}. {kept()}\n{command}") from error


def _read(part: Part) -> Outcome:
    return read_fooling_set(part.file).outcome(0)


def _write(
    path: Path,
    outcomes: Iterator[tuple[int, int, Outcome]] | Sequence[tuple[int, int, Outcome]],
    strengths: Sequence[float],
    data: Dataset,
    description: dict[str, Any],
) -> None:
    height, width, channels = data.pixels.shape[1:]
    write_fooling_set(
        path,
        outcomes,
        strengths=strengths,
        image_shape=(height, width, channels),
        ids=data.ids(),
        labels=data.labels,
        class_names=data.class_names,
        description=description,
    )


def _finished(path: Path) -> FoolingSet:
    try:
        found = read_fooling_set(path)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{path} is there and is no set of fooling images; choose another --output."
        ) from error
    if stored_checksum(path) != sha256_file(path):
        raise UsageError(f"{path} does not match its checksum; delete it to make it again.")
    return found


def _kept(done: int, parts: Sequence[Part]) -> str:
    return f"{done} of {len(parts)} parts are finished and kept. Resume with:"


def _show(found: FoolingSet, console: Console) -> None:
    """What became of the images, a row a strength."""
    from rich.table import Table

    table = Table(
        title=f"{found.shape[1]:,} images: rates and means, 95 % intervals",
        title_justify="left",
        header_style="bold",
    )
    for name in ("strength", "target reached, in 8 bits", "steps", "L2 change", "clipped values"):
        table.add_column(name, justify="right")
    rows = []
    for version, strength in enumerate(found.strengths):
        measures = found.measures(version)
        count, reached = len(measures["reached"]), int(measures["reached"].sum())
        values = np.stack([measures[name] for name in MEANS], axis=1).astype(np.float64)
        means, intervals = values.mean(0).tolist(), bootstrap_means(values, 0).tolist()
        rate, bounds = reached / count, wilson(reached, count).tolist()
        row: dict[str, object] = {"strength": strength, "images": count, "reached": reached}
        row |= {"reached_rate": rate, "reached_interval": bounds}
        for name, mean, interval in zip(MEANS, means, intervals, strict=True):
            row |= {f"mean_{name}": mean, f"mean_{name}_interval": interval}
        rows.append(row)
        table.add_row(
            f"{strength:g}",
            f"{rate:.1%}{_interval(bounds, 100, 1)}",
            f"{means[0]:.1f}{_interval(intervals[0], 1, 1)}",
            f"{means[1]:.3f}{_interval(intervals[1], 1, 3)}",
            f"{means[2]:.1%}{_interval(intervals[2], 100, 1)}",
        )
    console.show(
        table,
        f"Fooling images: {found.path}",
        f"Train with them: --defense \"hard-negatives(source='{found.path}')\"",
    )
    console.document({"fooling_set": str(found.path), "strengths": rows})
    console.essential(str(found.path))


def _interval(bounds: Sequence[float], times: float, digits: int) -> str:
    return f" [{times * bounds[0]:.{digits}f}, {times * bounds[1]:.{digits}f}]"
