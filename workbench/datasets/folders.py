"""Folders of image files: one folder a class, the Tiny ImageNet layout, or files with labels."""

import csv
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workbench.datasets.photographs import SUFFIXES
from workbench.errors import UsageError

SPLITS = {"train": ("train", "training"), "test": ("test", "val", "valid", "validation")}
SPLITS["val"] = ("val", "valid", "validation", "test")
LABELS_FILE = "labels.csv"
MOST_CLASSES = 1_000_000  # a larger index in a file or a file name is a mistake


@dataclass(frozen=True)
class Files:
    """Image files with labels; names and keys of the classes where the layout has them.

    Attributes:
        fixed: the images have the size they are to be seen at, whatever a model wants.
        name: what the data set is called, where its path says more than its last part.

    """

    paths: tuple[Path, ...]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...] | None = None
    class_keys: tuple[str, ...] | None = None
    notices: tuple[str, ...] = ()
    fixed: bool = False
    name: str | None = None


def read_folder(folder: Path, split: str, label: str | None) -> Files:
    """Find the images of a folder, whatever its layout.

    In this order: Tiny ImageNet (`wnids.txt`), split folders (`train`, `test`, `val`), one folder a
    class, files directly in the folder (labels from ``label`` or `labels.csv`).

    Raises:
        UsageError: no images, no such split, or no labels.

    """
    for root in (folder, folder.parent):
        in_part = root == folder or folder.name in ("train", "val")
        if in_part and (root / "wnids.txt").is_file():
            part = split if root == folder else folder.name
            return read_tiny_imagenet(root, part)
    inside = _folders(folder)
    split_names = {name for names in SPLITS.values() for name in names}
    splits = [path for path in inside if path.name.lower() in split_names]
    if splits:
        by_name = {path.name.lower(): path for path in splits}
        for name in SPLITS.get(split, (split,)):
            if name in by_name:
                return read_folder(by_name[name], split, label)
        raise UsageError(
            f"{folder} has no folder for the split {split!r}; it has {', '.join(sorted(by_name))}."
        )
    if inside and any(image_files(path) for path in inside):
        if label is not None:
            raise UsageError(
                f"{folder} has a folder for each class; --label is for images without a class."
            )
        return read_class_folders(folder, inside, split)
    return read_flat(image_files(folder), label, folder)


def read_class_folders(root: Path, folders: Sequence[Path], split: str) -> Files:
    """One folder a class, labelled in the text order of their names, as torchvision does it.

    Names are taken from `words.txt` in the root or beside it where the folders are WordNet ids.
    """
    found = [image_files(folder) for folder in folders]
    names = tuple(folder.name for folder in folders)
    notices = []
    empty = [name for name, files in zip(names, found, strict=True) if not files]
    if empty:
        notices.append(f"{len(empty)} class folders of {root} are empty: {_few(empty)}.")
    numeric = all(name.isdecimal() for name in names)
    if numeric and [int(name) for name in names] != list(range(len(names))):
        notices.append(
            f"Class folders of {root} are numbers in text order, as torchvision reads them: "
            f"label {min(2, len(names) - 1)} is the folder {names[min(2, len(names) - 1)]!r}."
        )
    if root.name.lower() not in {name for names in SPLITS.values() for name in names}:
        notices.append(f"{root} has no train and test folders: all its images are the {split} set.")
    words = _words([root / "words.txt", root.parent / "words.txt"], names)
    return Files(
        tuple(path for files in found for path in files),
        np.repeat(np.arange(len(names)), [len(files) for files in found]),
        words or names,
        names if words else None,
        tuple(notices),
    )


def read_tiny_imagenet(root: Path, split: str) -> Files:
    """Tiny ImageNet as it unpacks; `test` is the validation set, as the test set has no labels.

    Labels follow the sorted WordNet ids (the order torchvision's ImageFolder gives the training
    folders, and so that of most checkpoints), not the order of `wnids.txt`. Names are from
    `words.txt`.

    Raises:
        UsageError: a missing or damaged annotation file, or images that are missing.

    """
    listed = (root / "wnids.txt").read_text().split()
    wnids = tuple(sorted(set(listed)))
    if not wnids:
        raise UsageError(f"{root / 'wnids.txt'} names no classes.")
    label_of = {wnid: label for label, wnid in enumerate(wnids)}
    if split == "train":
        labelled = [
            (path, label_of[wnid]) for wnid in wnids for path in image_files(root / "train" / wnid)
        ]
    else:
        labelled = _annotated(root / "val", label_of)
    if not labelled:
        raise UsageError(f"{root} has no images for the split {split!r}.")
    words = _words([root / "words.txt"], wnids)
    return Files(
        tuple(path for path, _ in labelled),
        np.array([label for _, label in labelled], dtype=np.int64),
        words or wnids,
        wnids,
    )


def read_flat(paths: Sequence[Path], label: str | None, where: Path) -> Files:
    """Image files without class folders, labelled by hand.

    ``label`` is one class index for all, or a regular expression whose first group finds the index
    in each file's name; without it, `labels.csv` beside the files has lines `file,index`.

    Raises:
        UsageError: no images or no labels.

    """
    if not paths:
        raise UsageError(f"{where} holds no images ({', '.join(sorted(SUFFIXES))}).")
    if label is None:
        return _from_table(paths, where)
    if label.strip().isdecimal():
        labels = [_index(label, f"--label {label}")] * len(paths)
    else:
        labels = [_from_name(path, label) for path in paths]
    return Files(tuple(paths), np.array(labels, dtype=np.int64))


def image_files(folder: Path) -> list[Path]:
    """Every image file under a folder, in text order of its path; hidden ones are left out."""
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            Path(parent, name)
            for name in sorted(names)
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES
        ]
    return found


def _annotated(folder: Path, label_of: dict[str, int]) -> list[tuple[Path, int]]:
    annotations = folder / "val_annotations.txt"
    if not annotations.is_file():
        raise UsageError(f"{annotations} is missing: it names the class of each validation image.")
    labelled = []
    for number, line in enumerate(annotations.read_text().splitlines(), start=1):
        if not line.strip():
            continue
        name, wnid = [*line.split("\t"), "", ""][:2]
        if wnid not in label_of:
            raise UsageError(f"{annotations}, line {number}: {wnid!r} is not in wnids.txt.")
        labelled.append((folder / "images" / name, label_of[wnid]))
    here = set(os.listdir(folder / "images")) if (folder / "images").is_dir() else set()
    missing = [path.name for path, _ in labelled if path.name not in here]
    if missing:
        raise UsageError(
            f"{folder / 'images'} lacks {len(missing)} annotated images: {_few(missing)}."
        )
    return labelled


def _from_table(paths: Sequence[Path], where: Path) -> Files:
    folder = where if where.is_dir() else where.parent
    table = folder / LABELS_FILE
    if not table.is_file():
        what = f"{len(paths)} images" if len(paths) > 1 else "the image"
        raise UsageError(
            f"{where}: no labels for {what}. Give --label CLASS, or put each class's images in a "
            f"folder of their own, or write {table} with lines file,index."
        )
    labels = {}
    with table.open(newline="", encoding="utf-8", errors="replace") as lines:
        for number, row in enumerate(csv.reader(line.replace("\0", "") for line in lines), start=1):
            if not row or (number == 1 and not row[-1].strip().isdecimal()):
                continue  # an empty line, or the header
            if len(row) != 2:
                raise UsageError(f"{table}, line {number}: not of the form file,index.")
            labels[row[0].strip()] = _index(row[1], f"{table}, line {number}")
    missing = [path.name for path in paths if path.name not in labels]
    if missing:
        raise UsageError(f"{table} has no label for {len(missing)} images: {_few(missing)}.")
    return Files(tuple(paths), np.array([labels[path.name] for path in paths], dtype=np.int64))


def _from_name(path: Path, pattern: str) -> int:
    try:
        found = re.search(pattern, path.name)
    except re.error as error:
        raise UsageError(
            f"--label {pattern!r} is neither an index nor a pattern: {error}."
        ) from error
    if re.compile(pattern).groups < 1:
        raise UsageError(
            f"--label {pattern!r} is not a class index; a pattern needs a group that finds the "
            r"index in a file's name, such as '_(\d+)\.'."
        )
    if found is None:
        raise UsageError(f"--label {pattern!r} does not fit the file name {path.name}.")
    return _index(found.group(1), f"--label {pattern!r} on {path.name}")


def _index(text: str, where: str) -> int:
    if not text.strip().isdecimal() or int(text) >= MOST_CLASSES:
        raise UsageError(f"{where}: {text.strip()!r} is no class index.")
    return int(text)


def _folders(folder: Path) -> list[Path]:
    return sorted(
        (path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")),
        key=lambda path: path.name,
    )


def _words(tables: Sequence[Path], wnids: Sequence[str]) -> tuple[str, ...] | None:
    """The names that the first `words.txt` (`wnid<TAB>name`) has for all the ids."""
    for table in tables:
        if table.is_file():
            lines = table.read_text(encoding="utf-8").splitlines()
            names = dict(line.split("\t", 1) for line in lines if "\t" in line)
            if all(wnid in names for wnid in wnids):
                return tuple(names[wnid].strip() for wnid in wnids)
    return None


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
