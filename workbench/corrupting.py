"""What `workbench corrupt` does: corrupted images on the disk, or one image as a contact sheet."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import attacks
import workbench
from attacks.corruptions import strength_size
from benchmarks.identity import added_packages, source_digest
from benchmarks.image_sets import Block
from workbench.console import Console, Progress, duration
from workbench.corruptions import (
    PROCEDURAL,
    Recipe,
    check_images,
    make_recipes,
    parse_corruptions,
    parse_severities,
)
from workbench.datasets import Dataset, load_dataset
from workbench.datasets.corrupted import LABELS, Layout, class_folders
from workbench.devices import resolve_device
from workbench.errors import Interrupted, UsageError, explain
from workbench.layouts import (
    Part,
    file_names,
    parts,
    write_hdf5,
    write_stack,
    write_stack_labels,
    write_tree,
)
from workbench.plugins import add_plugins
from workbench.run_directory import RunDirectory, open_run

VALUES_AT_ONCE = 2**23  # of a block of images: 2,730 of 3x32x32, 55 of 3x224x224
WORTH_SAYING = 2**27  # values: from here on, reading takes long enough to show how far it is


@dataclass(frozen=True)
class Request:
    """What was asked for; every field is an option of `workbench corrupt`."""

    data: str
    layout: Layout
    corruptions: str
    severities: str
    strengths: int | None
    frost_textures: Path | None
    exact: bool
    jpeg_85: bool
    split: str
    limit: int | None
    classes: str | None
    label: str | None
    input_size: int | None
    channels: int | None
    download: bool
    seed: int
    device: str
    threads: int | None
    output: Path | None
    dry_run: bool
    arguments: tuple[str, ...]


def corrupt_data(request: Request, console: Console) -> None:
    """Write every corruption at every severity, part by part, in a run directory.

    Raises:
        UsageError: for settings, data or an output directory that cannot be used, or a part that
            cannot be written.
        Interrupted: Ctrl-C; says what was kept and how to go on.
    """
    add_plugins(["corruptions"], console)
    device = resolve_device(request.device, request.threads)
    recipes = make_recipes(
        parse_corruptions(request.corruptions),
        parse_severities(request.severities),
        seed=request.seed,
        strengths=request.strengths,
        exact=request.exact,
        textures=request.frost_textures,
        jpeg85=request.jpeg_85,
        device=device,
    )
    todo = parts(request.layout, Path(), recipes)  # refuses what the layout cannot hold
    data = load(request, console)
    check_images(recipes, data)
    said = f"{_counted(len(todo), request.layout)} of {len(data):,} images"
    if request.dry_run:
        _say_plan(request, recipes, data, said, console)
        return
    with open_run(
        request.output,
        verb="corrupt",
        name=data.name,
        config=config(request, recipes, data, console),
        arguments=request.arguments,
    ) as run:
        if not any(run.cells.iterdir()):
            run.cells.rmdir()  # of other verbs: here the images are what is finished
        began = time.monotonic()
        new = _write(request, recipes, data, run, console)
        console.show(
            f"{said} in {run.path}"
            + (f", {new} of them new" if new < len(todo) else "")
            + f" ({duration(time.monotonic() - began)})",
            f"A data set for any verb: --data {run.path}/{recipes[0].corruption.name}/"
            f"{recipes[0].severity}",
        )
        console.document(
            {
                "output": str(run.path),
                "layout": request.layout,
                "images": len(data),
                "corruptions": _names(recipes),
                "severities": _severities(recipes),
                "files": [str(part.path) for part in parts(request.layout, run.path, recipes)],
                "new": new,
                "seconds": time.monotonic() - began,
            }
        )
        console.essential(str(run.path))


def load(request: Request, console: Console) -> Dataset:
    """Read the data that are to be corrupted.

    Raises:
        UsageError: they cannot be read.
    """
    data = load_dataset(
        request.data,
        split=request.split,
        download=request.download,
        label=request.label,
        classes=request.classes,
        input_size=request.input_size,
        channels=request.channels,
    )
    for notice in data.notices:
        console.note(f"{data.name}: {notice}")
    return data.take(request.limit)


def config(
    request: Request, recipes: Sequence[Recipe], data: Dataset, console: Console
) -> dict[str, Any]:
    """Everything that decides what is written, for the run directory to compare.

    The readers of the written set take the names of its classes from here.
    """
    textures = {each.textures for each in recipes} - {PROCEDURAL}
    return {
        "data": request.data,
        "split": request.split,
        "limit": request.limit,
        "classes": request.classes,
        "label": request.label,
        "input_size": request.input_size,
        "channels": request.channels,
        "images": len(data),
        "size": list(data.size),
        "data_digest": _digest(data, console),
        "layout": request.layout,
        "corruptions": _names(recipes),
        "severities": _severities(recipes),
        "strengths": request.strengths or strength_size(*data.size),
        "seed": request.seed,
        "exact": request.exact,
        "jpeg85": request.jpeg_85 or request.layout == "imagenet-c",
        "frost_textures": next(iter(textures), PROCEDURAL),
        "device": torch.device(recipes[0].device or "cpu").type,
        "class_names": None if data.class_names is None else list(data.class_names),
        "class_folders": list(class_folders(data)) if request.layout == "imagenet-c" else None,
        "versions": _versions(),
    }


def _write(
    request: Request,
    recipes: Sequence[Recipe],
    data: Dataset,
    run: RunDirectory,
    console: Console,
) -> int:
    """Write the parts that are not there; returns how many those were."""
    if request.layout == "imagenet-c":  # saving as JPEG is what --jpeg-85 stands for
        recipes = [replace(each, jpeg85=False) for each in recipes]
    todo = parts(request.layout, run.path, recipes)
    left = [part for part in todo if not part.path.exists()]
    done = len(todo) - len(left)
    try:
        names = file_names(data) if request.layout == "imagenet-c" else []
        if request.layout == "cifar-c" and not (run.path / LABELS).exists():
            write_stack_labels(run.path, data)
        work = len(data) * sum(len(part.recipes) for part in left)
        with console.progress(work, unit="images", description="corrupting") as progress:
            for part in left:
                progress.describe(part.name)
                blocks = _blocks(part, data, progress)
                if request.layout == "cifar-c":
                    write_stack(part, blocks, data)
                elif request.layout == "imagenet-c":
                    write_tree(part, blocks, names)
                else:
                    write_hdf5(part, blocks, data, _versions())
                done += 1
    except KeyboardInterrupt:
        raise Interrupted(f"Interrupted: {_kept(done, todo)}\n{run.command}") from None
    except OSError as error:
        reason = explain(error).splitlines()[0]
        raise UsageError(f"{reason}. {_kept(done, todo)}\n{run.command}") from error
    return len(left)


def _blocks(part: Part, data: Dataset, progress: Progress) -> Iterator[Block]:
    """The images of a part: read, corrupted and handed on block by block."""
    count = max(1, VALUES_AT_ONCE // int(np.prod(data.pixels.shape[1:])))
    for index, recipe in enumerate(part.recipes):
        for start in range(0, len(data), count):
            rows = slice(start, min(start + count, len(data)))
            images = torch.from_numpy(data.pixels.read(rows)).permute(0, 3, 1, 2).contiguous()
            corrupted = recipe.pixels(images, data.ids(rows))
            pixels: NDArray[np.uint8] = corrupted.permute(0, 2, 3, 1).contiguous().cpu().numpy()
            yield index, start, pixels
            progress.advance(len(images))


def _digest(data: Dataset, console: Console) -> str:
    """The data's digest; files are decoded for it, which is shown where it takes a while."""
    values = int(np.prod(data.pixels.shape[1:]))
    if len(data) * values >= WORTH_SAYING:
        step = max(1, VALUES_AT_ONCE // values)
        with console.progress(len(data), unit="images", description="reading") as progress:
            for start in range(0, len(data), step):
                progress.advance(len(data.ids(slice(start, start + step))))
    return data.digest


def _say_plan(
    request: Request, recipes: Sequence[Recipe], data: Dataset, said: str, console: Console
) -> None:
    there = parts(request.layout, request.output or Path(), recipes)
    finished = sum(part.path.exists() for part in there) if request.output else 0
    values = int(np.prod(data.pixels.shape)) * len(recipes)
    size = f"{values / 1e9:.2f} GB" + (" before compression" if request.layout != "cifar-c" else "")
    strengths = request.strengths or strength_size(*data.size)
    console.show(
        f"{said}, of which {finished} are finished",
        f"corruptions: {', '.join(_names(recipes))}",
        f"severities: {', '.join(map(str, _severities(recipes)))}",
        f"strengths: those of {strengths}x{strengths} images",
        f"size: {size}",
    )
    console.essential(str(len(there) - finished))
    console.document(
        {
            "dry_run": True,
            "parts": len(there),
            "finished": finished,
            "bytes": values,
            "config": config(request, recipes, data, console),
        }
    )


def _counted(parts: int, layout: Layout) -> str:
    if layout == "imagenet-c":
        return f"{parts} {'severity' if parts == 1 else 'severities'}"
    return f"{parts} {'corruption' if parts == 1 else 'corruptions'}"


def _kept(done: int, todo: Sequence[Part]) -> str:
    return f"{done} of {len(todo)} parts are finished and kept. Resume with:"


def _names(recipes: Sequence[Recipe]) -> list[str]:
    return list(dict.fromkeys(each.corruption.name for each in recipes))


def _severities(recipes: Sequence[Recipe]) -> list[int]:
    return sorted({each.severity for each in recipes})


def _versions() -> dict[str, str]:
    """Of what decides the pixels."""
    import PIL

    return {
        "workbench": workbench.__version__,
        "attacks": source_digest(Path(attacks.__path__[0])),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "pillow": PIL.__version__,
        **added_packages(["corruptions"]),
    }
