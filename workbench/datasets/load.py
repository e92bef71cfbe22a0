"""One call from a name or a path to a data set."""

import glob
from pathlib import Path

from workbench.datasets import cifar, idx, named
from workbench.datasets.arrays import Labelled, read_hdf5, read_npz
from workbench.datasets.channels import with_channels
from workbench.datasets.classes import select
from workbench.datasets.corrupted import read_corrupted
from workbench.datasets.dataset import Dataset
from workbench.datasets.folders import Files, read_flat, read_folder
from workbench.datasets.photographs import SUFFIXES, photographs
from workbench.errors import UsageError, suggestion

HDF5_SUFFIXES = {".h5", ".hdf5"}
SPLIT_NAMES = ("train", "test", "val")


def datasets() -> dict[str, str]:
    """Every name `load_dataset` knows, with a line about it."""
    return dict(named.SUMMARIES)


def load_dataset(
    source: str | Path,
    *,
    split: str = "test",
    download: bool = False,
    label: int | str | None = None,
    classes: str | None = None,
    input_size: int | None = None,
    channels: int | None = None,
    root: Path | None = None,
) -> Dataset:
    r"""Load images and labels by a name or from a path.

    Args:
        source: a name of `datasets()`; or a path: an IDX file or a folder of them, a folder of
            CIFAR python batches, a folder of images (a folder a class, perhaps below `train`,
            `test`, `val`; Tiny ImageNet; flat), a glob pattern, an `.npz` or HDF5 file with
            `images` and `labels`, one image file; one corruption of a set of corrupted images, see
            `workbench.datasets.corrupted`.
        split: `train`, `test` or `val`; where only one of `test` and `val` exists, it is both.
        download: fetch a named data set that is not there.
        label: for images without class folders: the class index, or a regular expression whose
            group finds it in the file's name, such as ``r"_(\d+)\."``.
        classes: keep only these classes, see `workbench.datasets.classes.select`.
        input_size: for image files: resize the shorter side to round(input_size · 256/224), then
            cut the centre square. Without it, see `workbench.datasets.photographs.photographs`.
        channels: 1 or 3 converts the images to grey or colour.
        root: where named data sets lie, see `workbench.datasets.named.data_root`.

    Raises:
        UsageError: with one or two lines that say what is wrong, where, and what to do.

    Example:
        >>> data = load_dataset("fashion-mnist-mini")
        >>> len(data), data.channels, data.size, data.class_names[9]
        (2000, 1, (28, 28), 'Ankle boot')

    """
    if split not in SPLIT_NAMES:
        raise UsageError(f"Unknown split {split!r}; there are {', '.join(SPLIT_NAMES)}.")
    if channels not in (None, 1, 3):
        raise UsageError(f"Images have 1 or 3 channels, not {channels}.")
    if input_size is not None and input_size < 1:
        raise UsageError(f"An input size of {input_size} is not a size; give 1 or more.")
    found = _find(str(source), split, None if label is None else str(label), download, root)
    name = found.name or _name(str(source))
    if isinstance(found, Files):
        data = _from_files(name, found, input_size, channels)
    else:
        if input_size is not None:
            raise UsageError(f"{source}: --input-size resizes image files; this data has a size.")
        if label is not None:
            raise UsageError(f"{source} has labels; --label is for images that have none.")
        data = _from_arrays(name, found, channels)
    return data if classes is None else select(data, classes)


def _find(
    source: str, split: str, label: str | None, download: bool, root: Path | None
) -> Labelled | Files:
    if source in named.SUMMARIES:
        return named.read_named(source, split, download=download, root=root)
    path = Path(source).expanduser()
    corrupted = read_corrupted(path)
    if corrupted is not None:
        return corrupted
    if path.is_dir():
        return _read_directory(path, split, label)
    if path.is_file():
        return _read_file(path, split, label)
    if any(sign in source for sign in "*?["):
        paths = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]
        images = [match for match in paths if match.suffix.lower() in SUFFIXES]
        return read_flat(images, label, path)
    if path.suffix or len(path.parts) > 1:
        raise UsageError(f"There is no file or folder {source}.")
    hint = suggestion(source, named.SUMMARIES) or f" Known: {', '.join(named.SUMMARIES)}."
    raise UsageError(f"{source!r} is neither a data set's name nor a path.{hint}")


def _read_directory(path: Path, split: str, label: str | None) -> Labelled | Files:
    if idx.images_files(path):
        return idx.read_idx_split(path, split)
    batches = cifar.cifar_folder(path)
    if batches is not None:
        return cifar.read_cifar(batches, split)
    return read_folder(path, split, label)


def _read_file(path: Path, split: str, label: str | None) -> Labelled | Files:
    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        return read_flat([path], label, path)
    if suffix == ".npz":
        return read_npz(path, split)
    if suffix in HDF5_SUFFIXES:
        return read_hdf5(path, split)
    if idx.is_idx(path):
        return idx.read_idx_pair(path)
    weights = suffix in (".safetensors", ".pt", ".pth", ".pt2", ".ckpt")
    raise UsageError(
        f"{path} is of no known kind; data are .npz, .h5, IDX files, image files or folders."
        + ("\nThese look like weights: the data go where `--help` says." if weights else "")
    )


def _from_files(name: str, found: Files, input_size: int | None, channels: int | None) -> Dataset:
    pixels, notices = photographs(
        found.paths, input_size=input_size, channels=channels, fixed=found.fixed
    )
    open_ended = found.class_names is None
    classes = int(found.labels.max()) + 1 if open_ended else len(found.class_names or ())
    return Dataset(
        name,
        pixels,
        found.labels,
        classes,
        class_names=found.class_names,
        class_keys=found.class_keys,
        open_ended=open_ended,
        notices=(*found.notices, *notices),
    )


def _from_arrays(name: str, found: Labelled, channels: int | None) -> Dataset:
    open_ended = found.class_names is None
    if found.labels.size == 0 or found.pixels.shape[0] != len(found.labels):
        raise UsageError(f"{name}: {len(found.labels)} labels for {found.pixels.shape[0]} images.")
    classes = int(found.labels.max()) + 1 if open_ended else len(found.class_names or ())
    return Dataset(
        name,
        with_channels(found.pixels, channels),
        found.labels,
        classes,
        class_names=found.class_names,
        open_ended=open_ended,
        notices=found.notices,
    )


def _name(source: str) -> str:
    if source in named.SUMMARIES:
        return source
    path = Path(source).expanduser()
    generic = {"train", "test", "val", "valid", "validation", "images", "raw"}
    return path.resolve().parent.name if path.name.lower() in generic else path.name or source
