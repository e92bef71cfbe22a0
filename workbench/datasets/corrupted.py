"""Sets of corrupted images as they are released (CIFAR-10-C, ImageNet-C) and as we write them.

``SET/gaussian_noise/3`` is a data set whatever the layout is, and so is ``SET/gaussian_noise``, all
severities one after the other; in two of the layouts these paths are names only:

- ``cifar-c``: ``SET/gaussian_noise.npy``, the blocks of severities 1 to 5 one after the other, and
  ``SET/labels.npy``.
- ``imagenet-c``: ``SET/gaussian_noise/3/CLASS/IMAGE.JPEG``, perhaps with a group's folder above.
- ``hdf5``: ``SET/gaussian_noise.h5``, see `benchmarks.image_sets`.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from os.path import isdir, isfile  # unlike Path's, these are False for what may not be looked at
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from workbench.datasets.arrays import Labelled, checked_labels
from workbench.datasets.dataset import Dataset
from workbench.datasets.folders import Files, image_files
from workbench.datasets.stored_rows import Hdf5Rows, Source, StoredRows, read_stack
from workbench.errors import UsageError, suggestion

if TYPE_CHECKING:
    from benchmarks.image_sets import ImageSet

Layout = Literal["cifar-c", "imagenet-c", "hdf5"]

SEVERITIES = (1, 2, 3, 4, 5)
GROUPS = ("noise", "blur", "weather", "digital", "extra")
"""Folders that the corruptions of ImageNet-C may lie in, named like its archives."""

LABELS = "labels.npy"
IDS = "ids.txt"
"""Beside the stacks that we write: the id of the clean image of each row, one on each line."""

CIFAR10 = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)


@dataclass(frozen=True)
class CorruptedSet:
    """A folder with corrupted images of one or more corruptions.

    Attributes:
        folder: the folder.
        layout: how it is laid out.
        parts: where each corruption is: a file, or a folder of severities.
        written: what `workbench corrupt` says of it, where it was written by that.
    """

    folder: Path
    layout: Layout
    parts: Mapping[str, Path]
    written: Mapping[str, Any] = field(default_factory=dict)

    def severities(self, name: str) -> tuple[int, ...]:
        """The severities that a corruption is there at."""
        if self.layout == "cifar-c":
            return SEVERITIES
        if self.layout == "hdf5":
            return _image_set(self.parts[name]).severities
        return tuple(each for each in SEVERITIES if isdir(self.parts[name] / str(each)))

    def check(self, name: str, severities: Sequence[int]) -> None:
        """Raise `UsageError` unless the corruption is there at all those severities."""
        if name not in self.parts:
            hint = suggestion(name, self.parts) or f" It has {', '.join(self.parts)}."
            raise UsageError(f"{self.folder} has no corruption {name!r}.{hint}")
        there = self.severities(name)
        missing = [severity for severity in severities if severity not in there]
        if missing:
            raise UsageError(
                f"{self.folder} has no severity {missing[0]} of {name}; "
                f"it has {', '.join(map(str, there))}."
            )

    def read(self, name: str, severity: int | None) -> Labelled | Files:
        """One corruption at one severity, or at all of them.

        Raises:
            UsageError: it is not there, or damaged.
        """
        self.check(name, [] if severity is None else [severity])
        called = "/".join(
            [self.folder.resolve().name, name, *([str(severity)] if severity else [])]
        )
        if self.layout == "imagenet-c":
            return self._files(name, severity, called)
        rows, source = self.rows(name, severity)
        labels = self.labels(name)
        names, notices = self._class_names(name, labels, source.shape[1:])
        return Labelled(
            StoredRows(source, rows), labels[rows % len(labels)], names, notices, name=called
        )

    def rows(self, name: str, severity: int | None) -> tuple[NDArray[np.int64], Source]:
        """The file of a corruption, and its rows at a severity, or all (None). Not for folders."""
        source: Source
        if self.layout == "cifar-c":
            source = read_stack(self.parts[name])
        else:
            source = _rows(_image_set(self.parts[name]))
        total = source.shape[0]
        if severity is None:
            return np.arange(total), source
        index, count = self.severities(name).index(severity), len(self.labels(name))
        return np.arange(index * count, (index + 1) * count), source

    def labels(self, name: str) -> NDArray[np.int64]:
        """The labels of one severity, int64 (N,). Not for folders."""
        if self.layout == "hdf5":
            return _image_set(self.parts[name]).labels
        path = self.folder / LABELS
        total = read_stack(self.parts[name]).shape[0]
        labels = self._stack_labels
        if total % len(SEVERITIES) == 0 and len(labels) == total:
            blocks = labels.reshape(len(SEVERITIES), -1)
            if not (blocks == blocks[0]).all():
                raise UsageError(f"{path} does not repeat the same labels for each severity.")
            first: NDArray[np.int64] = blocks[0]
            return first
        if len(labels) * len(SEVERITIES) != total:
            raise UsageError(
                f"{path} has {len(labels)} labels for {total} images of {name}; one for each "
                "image, or for each image of one severity, is needed."
            )
        return labels

    def ids(self, name: str) -> NDArray[np.int64] | None:
        """The ids of the clean images of one severity's rows, where they are known."""
        if self.layout == "hdf5":
            return _image_set(self.parts[name]).ids
        path = self.folder / IDS
        if self.layout == "imagenet-c" or not path.is_file():
            return None
        try:
            return np.array([int(line) for line in path.read_text().split()], np.int64)
        except (ValueError, OverflowError):
            raise UsageError(
                f"{path} is damaged: it should hold one number on each line."
            ) from None

    @cached_property
    def _stack_labels(self) -> NDArray[np.int64]:
        path = self.folder / LABELS
        try:
            found = np.load(path, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise UsageError(f"{path} cannot be read: {error}") from error
        return checked_labels(np.asarray(found), str(path))

    def _class_names(
        self, name: str, labels: NDArray[np.int64], shape: tuple[int, ...]
    ) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
        if self.layout == "hdf5":
            return _image_set(self.parts[name]).class_names, ()
        if self.written:
            names = self.written.get("class_names")
            return (tuple(names) if names else None), ()
        if shape == (32, 32, 3) and set(labels.tolist()) == set(range(len(CIFAR10))):
            return CIFAR10, ("10 classes of 32x32 colour images are taken to be CIFAR-10's.",)
        return None, ()

    def _files(self, name: str, severity: int | None, called: str) -> Files:
        chosen = self.severities(name) if severity is None else (severity,)
        found = {each: _class_folders(self.parts[name] / str(each)) for each in chosen}
        present = sorted({folder for folders in found.values() for folder in folders})
        known = list(self.written.get("class_folders") or ())
        ours = bool(known) and set(present) <= set(known)
        order = {folder: label for label, folder in enumerate(known if ours else present)}
        paths: list[Path] = []
        labels: list[int] = []
        for folders in found.values():
            for folder, files in folders.items():
                paths += files
                labels += [order[folder]] * len(files)
        names = self.written.get("class_names") if ours else None
        return Files(
            tuple(paths),
            np.array(labels, np.int64),
            tuple(names or order),
            tuple(order) if names else None,
            fixed=True,
            name=called,
        )


def read_corrupted(path: Path) -> Labelled | Files | None:
    """Read ``SET/NAME``, ``SET/NAME/SEVERITY``, or ``SET/NAME.npy`` and the like.

    Returns None for a path that leads to no such set.

    Raises:
        UsageError: the path is that of a whole set, or of something that the set does not have.
    """
    if path.is_dir() and (whole := find_set(path)) is not None:
        first = next(iter(whole.parts))
        raise UsageError(
            f"{path} holds corrupted images of {len(whole.parts)} corruptions: choose a corruption "
            f"and a severity, such as {_path(whole, first)}/{whole.severities(first)[0]}."
        )
    if path.name.isdecimal():
        folder, name, severity = path.parent.parent, path.parent.name, int(path.name)
    else:
        is_file = path.suffix.lower() in {".npy", ".h5"}
        folder, name, severity = path.parent, path.stem if is_file else path.name, None
    found = find_set(folder) if folder.is_dir() else None
    if found is None or (path.exists() and name not in found.parts):
        return None
    return found.read(name, severity)


def find_set(folder: Path) -> CorruptedSet | None:
    """The set of corrupted images in a folder, or None if there is none.

    Only the published names are looked for, and those that `workbench corrupt` wrote.
    """
    from attacks.corruptions import CORRUPTIONS

    written = _written(folder)
    known = list(dict.fromkeys([*CORRUPTIONS, *written.get("corruptions", ())]))
    if (folder / LABELS).is_file():
        stacks = _existing(known, lambda name: folder / f"{name}.npy", isfile)
        if stacks:
            return CorruptedSet(folder, "cifar-c", stacks, written)
    files = _existing(known, lambda name: folder / f"{name}.h5", isfile)
    if files and all(_is_image_set(file) for file in files.values()):
        return CorruptedSet(folder, "hdf5", files, written)
    trees: dict[str, Path] = {}
    for root in (folder, *(folder / group for group in GROUPS)):
        trees |= _existing(known, root.joinpath, _has_severities)
    if not trees:
        return None
    return CorruptedSet(folder, "imagenet-c", {n: trees[n] for n in known if n in trees}, written)


def class_folders(data: Dataset) -> tuple[str, ...]:
    """The name of each class's folder: by its key, name or number, as a file system takes it."""
    from workbench.run_directory import slug

    numbers = data.columns or range(data.classes)
    width = len(str(max(numbers)))
    plain = [f"{number:0{width}d}" for number in numbers]
    folders = [slug(text, limit=100) for text in data.class_keys or data.class_names or plain]
    if len({folder.lower() for folder in folders}) < len(folders):
        folders = [f"{number}-{folder}" for number, folder in zip(plain, folders, strict=True)]
    return tuple(folders)


def _image_set(path: Path) -> "ImageSet":
    from benchmarks.image_sets import read_image_set

    try:
        return read_image_set(path)
    except (FileNotFoundError, PermissionError):
        raise
    except (ValueError, OSError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error


def _rows(found: "ImageSet") -> Hdf5Rows:
    def read(index: int, start: int, stop: int) -> NDArray[np.uint8]:
        return found.read(found.severities[index], start, stop)

    return Hdf5Rows(found.path, found.shape, read)


def _is_image_set(path: Path) -> bool:
    from benchmarks.image_sets import is_image_set

    return is_image_set(path)


def _existing(
    names: Iterable[str], place: Callable[[str], Path], there: Callable[[Path], bool]
) -> dict[str, Path]:
    places = {name: place(name) for name in names}
    return {name: path for name, path in places.items() if there(path)}


def _has_severities(folder: Path) -> bool:
    return isdir(folder) and any(isdir(folder / str(severity)) for severity in SEVERITIES)


def _class_folders(folder: Path) -> dict[str, list[Path]]:
    folders = sorted(
        entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")
    )
    found = {entry.name: image_files(entry) for entry in folders}
    found = {name: files for name, files in found.items() if files}
    if not found:
        raise UsageError(f"{folder} holds no class folders with images.")
    return found


def _written(folder: Path) -> dict[str, Any]:
    """The configuration of the run of `workbench corrupt` that wrote the folder, or nothing."""
    try:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return dict(found["config"]) if found["verb"] == "corrupt" else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _path(found: CorruptedSet, name: str) -> Path:
    return found.parts[name].with_suffix("") if found.layout != "imagenet-c" else found.parts[name]
