"""Corrupted images on the disk, in the layouts they are released in; a part is whole or absent."""

import io
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks import durable
from benchmarks.image_sets import Block, write_image_set
from workbench.corruptions import JPEG_QUALITY, Recipe
from workbench.datasets import Dataset
from workbench.datasets.corrupted import IDS, LABELS, SEVERITIES, Layout, class_folders
from workbench.datasets.photographs import Photographs
from workbench.errors import UsageError
from workbench.run_directory import write_atomically

LAYOUTS: tuple[Layout, ...] = ("cifar-c", "imagenet-c", "hdf5")
_ENCODERS = 8  # threads; Pillow lets go of Python's lock while it encodes


@dataclass(frozen=True)
class Part:
    """What is written in one go: a file, or the folder of one severity.

    Attributes:
        path: where.
        recipes: the severities of one corruption that are in it.
    """

    path: Path
    recipes: tuple[Recipe, ...]

    @property
    def name(self) -> str:
        """The corruption, and the severity where the part holds a single one."""
        first = self.recipes[0]
        return first.corruption.name + (f" {first.severity}" if len(self.recipes) == 1 else "")


def parts(layout: Layout, folder: Path, recipes: Sequence[Recipe]) -> list[Part]:
    """Where every recipe goes.

    Raises:
        UsageError: stacks cannot hold those severities.
    """
    if layout == "imagenet-c":
        return [
            Part(folder / each.corruption.name / str(each.severity), (each,)) for each in recipes
        ]
    together: dict[str, tuple[Recipe, ...]] = {}
    for each in recipes:
        together[each.corruption.name] = (*together.get(each.corruption.name, ()), each)
    suffix = ".npy" if layout == "cifar-c" else ".h5"
    for group in together.values():
        if layout == "cifar-c" and tuple(each.severity for each in group) != SEVERITIES:
            raise UsageError(
                "--layout cifar-c tells severities by the row alone, so it always holds all five: "
                "leave --severities out, or write --layout imagenet-c or hdf5."
            )
    return [Part(folder / f"{name}{suffix}", group) for name, group in together.items()]


def write_stack(part: Part, blocks: Iterable[Block], data: Dataset) -> None:
    """A `.npy` file, uint8 (5 N, H, W, C), severity after severity as the blocks come.

    Raises:
        OSError: it cannot be written; nothing half written is left.
    """
    shape = (len(part.recipes) * len(data), *data.pixels.shape[1:])
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    with durable.atomically(part.path) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for _, _, images in blocks:
            file.write(np.ascontiguousarray(images).data)


def write_stack_labels(folder: Path, data: Dataset) -> None:
    """The ids of the clean images, and then `labels.npy`, the labels five times over."""
    text = "".join(f"{number}\n" for number in data.ids().tolist())
    write_atomically(folder / IDS, text.encode())
    buffer = io.BytesIO()
    np.save(buffer, np.tile(data.labels.astype(np.int64), len(SEVERITIES)))
    write_atomically(folder / LABELS, buffer.getvalue())


def write_tree(part: Part, blocks: Iterable[Block], names: Sequence[str]) -> None:
    """A folder of JPEG files of quality 85, as ImageNet-C has them.

    Args:
        part: one severity of one corruption.
        blocks: its images.
        names: where each row goes below the folder, without a suffix: ``CLASS/IMAGE``.

    Raises:
        OSError: it cannot be written; nothing half written is left.
    """
    part.path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in part.path.parent.glob(".*.tmp"):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary = part.path.with_name(f".{part.path.name}.{os.getpid()}.tmp")
    try:
        for folder in {name.partition("/")[0] for name in names}:
            (temporary / folder).mkdir(parents=True)
        waiting: list[Future[None]] = []
        with ThreadPoolExecutor(min(_ENCODERS, os.cpu_count() or 1)) as pool:
            for _, start, images in blocks:
                for each in waiting:  # the block before: it was encoded while this one was made
                    each.result()
                places = [temporary / f"{name}.JPEG" for name in names[start : start + len(images)]]
                waiting = [
                    pool.submit(_save_jpeg, *each) for each in zip(places, images, strict=True)
                ]
            for each in waiting:
                each.result()
        os.sync()  # one flush of everything: fifty thousand of single files would take longer
        temporary.replace(part.path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def write_hdf5(part: Part, blocks: Iterable[Block], data: Dataset, versions: object) -> None:
    """An HDF5 file of one corruption, see `benchmarks.image_sets`.

    Raises:
        OSError: it cannot be written; nothing half written is left.
    """
    first = part.recipes[0]
    _, height, width, channels = data.pixels.shape
    strengths = [str(each.strength(height, width)) for each in part.recipes]
    write_image_set(
        part.path,
        blocks,
        corruption=first.corruption.name,
        severities=[each.severity for each in part.recipes],
        image_shape=(height, width, channels),
        ids=data.ids(),
        labels=data.labels,
        class_names=data.class_names,
        description={
            **{key: value for key, value in first.description.items() if key != "severity"},
            "strengths": strengths,
            "data": {"name": data.name, "digest": data.digest},
            "versions": versions,
        },
    )


def file_names(data: Dataset) -> list[str]:
    """Where each image goes in a tree of folders: ``CLASS/IMAGE``, without a suffix.

    An image that has no file of its own goes by its row in the whole data set, in eight digits.

    Raises:
        UsageError: two images of a class would have the same name.
    """
    folders = class_folders(data)
    if isinstance(data.pixels, Photographs):
        stems = [path.stem for path in data.pixels.paths]
    else:
        rows = np.arange(len(data)) if data.origin is None else data.origin
        stems = [f"{row:08d}" for row in rows.tolist()]
    names = [f"{folders[label]}/{stem}" for label, stem in zip(data.labels, stems, strict=True)]
    twice, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise UsageError(
            f"{data.name} has two images that would both be {twice}.JPEG: rename one, or write "
            "--layout hdf5."
        )
    return names


def _save_jpeg(path: Path, pixels: NDArray[np.uint8]) -> None:
    buffer = io.BytesIO()
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    image.save(buffer, "JPEG", quality=JPEG_QUALITY, optimize=True)
    path.write_bytes(buffer.getvalue())
