"""Corrupted images from a released set, paired with the images of a data set."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.identity import sha256_json
from benchmarks.image_sets import read_image_set
from benchmarks.suite import Corrupted, Shard
from workbench.datasets import Dataset
from workbench.datasets.corrupted import CorruptedSet, class_folders, find_set
from workbench.datasets.dataset import Rows
from workbench.datasets.folders import image_files
from workbench.datasets.photographs import Photographs, read_header
from workbench.datasets.stored_rows import StoredRows
from workbench.errors import UsageError

_DIGESTED_AT_ONCE = 2**24  # bytes


def stored_corruptions(
    folder: Path, names: Sequence[str], severities: Sequence[int], data: Dataset
) -> list[Corrupted]:
    """Corruptions as `benchmarks.plan` takes them, read from a set of corrupted images.

    Each image of ``data`` is met by its own corrupted copies. They are found by the clean images'
    ids where the set has them, by the files' names in folders of JPEG files, and else by the row:
    row i of each block is made from row i of the whole data set, as in CIFAR-10-C. ``data`` may be
    a selection of it, or images of the set itself (``SET/gaussian_noise/1``) where the clean ones
    are not there.

    Args:
        folder: the set, in any of the layouts of `workbench.datasets.corrupted`.
        names: corruptions, by their published names.
        severities: ascending.
        data: what the plan measures on.

    Raises:
        UsageError: the set is none, lacks something, or was made from other images.

    """
    found = find_set(folder) if folder.is_dir() else None
    if found is None:
        raise UsageError(f"{folder} holds no set of corrupted images (.npy, .h5 or folders).")
    for name in names:
        found.check(name, severities)
    cells = _from_files if found.layout == "imagenet-c" else _from_rows
    return list(cells(found, names, severities, data))


@dataclass(frozen=True)
class _Stored:
    """Reads the corrupted copies of some rows of the data set."""

    read: Callable[[Rows], NDArray[np.uint8]]

    def __call__(self, shard: Shard, rows: slice) -> Tensor:
        pixels = torch.from_numpy(self.read(rows)).permute(0, 3, 1, 2).contiguous()
        return pixels.to(shard.images.device).to(torch.float32).div_(255)


def _from_rows(
    found: CorruptedSet, names: Sequence[str], severities: Sequence[int], data: Dataset
) -> Iterator[Corrupted]:
    if isinstance(data.pixels, StoredRows):
        _check_same_images(found, names)
    for name in names:
        mine = _rows(found, name, data)
        for severity in severities:
            rows, source = found.rows(name, severity)
            pixels = StoredRows(source, rows[mine])
            _check_shape(found, data, pixels.shape[1:])
            digest = (
                _set_digest(found.parts[name]) if found.layout == "hdf5" else _pixels_digest(pixels)
            )
            yield Corrupted(name, severity, _description(found, digest), _Stored(pixels.read))


def _rows(found: CorruptedSet, name: str, data: Dataset) -> NDArray[np.int64]:
    """Of each image of the data, the row in a severity's block."""
    labels = found.labels(name)
    count = len(labels)
    ids = found.ids(name)
    if ids is not None and not isinstance(data.pixels, StoredRows):
        place = {number: row for row, number in enumerate(ids.tolist())}
        rows = np.array([place.get(number, -1) for number in data.ids().tolist()], np.int64)
        if missing := int((rows < 0).sum()):
            raise UsageError(
                f"{missing} of {len(data)} images of {data.name} are not in {found.folder}: it was "
                "made from other images, from fewer, or from these at another size."
            )
        return rows
    if isinstance(data.pixels, StoredRows):
        rows = data.pixels.rows % count
    else:
        rows = np.arange(len(data)) if data.origin is None else data.origin
        if rows.max() >= count:
            raise UsageError(
                f"{found.folder} has {count} images of each severity, fewer than {data.name}: it "
                "was made from other images."
            )
    _check_labels(found, data, labels[rows])
    return rows


def _from_files(
    found: CorruptedSet, names: Sequence[str], severities: Sequence[int], data: Dataset
) -> Iterator[Corrupted]:
    first = found.parts[names[0]] / str(severities[0])
    places = _places(found, first, data)
    header = read_header(first / places[0])
    shape = (header.height, header.width, 1 if header.grey else data.channels)
    _check_shape(found, data, shape)
    folders = {name: number for number, name in enumerate(sorted({p.parts[0] for p in places}))}
    _check_labels(found, data, np.array([folders[place.parts[0]] for place in places]))
    for name in names:
        for severity in severities:
            root = found.parts[name] / str(severity)
            digest = _files_digest(root, places)
            read = _Files(root, places, (shape[0], shape[1]), shape[2])
            description = _description(found, digest) | {"pillow": PIL.__version__}  # decodes them
            yield Corrupted(name, severity, description, _Stored(read))


@dataclass(frozen=True)
class _Files:
    """JPEG files, decoded whenever they are asked for and not kept."""

    root: Path
    places: tuple[Path, ...]
    size: tuple[int, int]
    channels: int

    def __call__(self, rows: Rows) -> NDArray[np.uint8]:
        chosen = np.arange(len(self.places))[rows]
        paths = [self.root / self.places[row] for row in chosen.tolist()]
        files = Photographs(paths, self.size, self.channels, input_size=None, adaptable=False)
        return files.read(slice(None))


def _places(found: CorruptedSet, root: Path, data: Dataset) -> tuple[Path, ...]:
    """Of each image of the data, its file below the folder of a severity: ``CLASS/IMAGE.JPEG``."""
    by_name: dict[str, list[Path]] = {}
    for path in image_files(root):
        by_name.setdefault(path.stem, []).append(path.relative_to(root))
    if isinstance(data.pixels, Photographs):
        wanted = [path.stem for path in data.pixels.paths]
    else:
        rows = np.arange(len(data)) if data.origin is None else data.origin
        wanted = [f"{row:08d}" for row in rows.tolist()]
    folders = class_folders(data)
    places = []
    for stem, label in zip(wanted, data.labels.tolist(), strict=True):
        candidates = by_name.get(stem, [])
        if len(candidates) > 1:  # the same name in several classes
            candidates = [path for path in candidates if path.parts[0] == folders[label]]
        if len(candidates) != 1:
            raise UsageError(
                f"{root} has no file for the image {stem} of {data.name}: it was made from other "
                "images."
            )
        places.append(candidates[0])
    return tuple(places)  # every corruption at every severity shares it


def _check_same_images(found: CorruptedSet, names: Sequence[str]) -> None:
    """Refuse files that were made from different images: rows of one stand for those of all."""
    first = found.ids(names[0])
    for name in names[1:]:
        ids = found.ids(name)
        if first is not None and ids is not None and not np.array_equal(first, ids):
            raise UsageError(
                f"{found.folder}: {name} and {names[0]} were made from other images, or in another "
                "order; give the clean images as --data."
            )


def _check_labels(found: CorruptedSet, data: Dataset, theirs: NDArray[np.int64]) -> None:
    """Refuse labels that do not go together one to one; the numbers themselves may differ."""
    pairs = np.unique(np.stack([theirs, data.labels]), axis=1)
    if not len(np.unique(theirs)) == len(np.unique(data.labels)) == pairs.shape[1]:
        raise UsageError(
            f"The labels of {found.folder} do not agree with those of {data.name}: it was made "
            "from other images, or they are in another order."
        )


def _check_shape(found: CorruptedSet, data: Dataset, theirs: Sequence[int]) -> None:
    height, width, channels = theirs
    if (height, width, channels) != (*data.size, data.channels):
        raise UsageError(
            f"{found.folder} has images of {width}x{height} with {channels} channels, and "
            f"{data.name} of {data.size[1]}x{data.size[0]} with {data.channels}."
        )


def _description(found: CorruptedSet, digest: str) -> dict[str, object]:
    return {"stored": found.folder.resolve().name, "layout": found.layout, "digest": digest}


def _set_digest(path: Path) -> str:
    """SHA-256 over what an HDF5 file says of how it was made, and its size."""
    return sha256_json([dict(read_image_set(path).description), os.stat(path).st_size])


def _pixels_digest(pixels: StoredRows) -> str:
    """SHA-256 over the images, in order."""
    digest = hashlib.sha256()
    count = max(1, _DIGESTED_AT_ONCE // int(np.prod(pixels.shape[1:])))
    for start in range(0, pixels.shape[0], count):
        digest.update(pixels.read(slice(start, start + count)).tobytes())
    return digest.hexdigest()


def _files_digest(root: Path, places: Sequence[Path]) -> str:
    """SHA-256 over names and sizes; to read 75 times 50,000 files would take hours."""
    digest = hashlib.sha256()
    for place in places:
        try:
            size = os.stat(root / place).st_size
        except FileNotFoundError:
            raise UsageError(f"{root} lacks {place}, which other severities have.") from None
        digest.update(f"{place.as_posix()}\0{size}\n".encode())
    return digest.hexdigest()
