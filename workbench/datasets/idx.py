"""IDX files, the format of MNIST and its kin (http://yann.lecun.com/exdb/mnist/)."""

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workbench.datasets.arrays import Labelled
from workbench.datasets.dataset import InMemory
from workbench.errors import UsageError

UNSIGNED_BYTE = 0x08
SPLIT_PARTS = {"train": ("train",), "test": ("t10k", "test"), "val": ("val", "t10k", "test")}


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read one IDX file of unsigned bytes, gzipped or not.

    Raises:
        UsageError: not an IDX file of unsigned bytes, or shorter or longer than its header says.

    """
    raw = path.read_bytes()
    if raw[:2] == b"\x1f\x8b":
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError, zlib.error) as error:
            raise UsageError(f"{path} is a damaged gzip file: {error}") from error
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] != UNSIGNED_BYTE or raw[3] not in (1, 3, 4):
        raise UsageError(f"{path} is not an IDX file of unsigned bytes.")
    start = 4 + 4 * raw[3]
    if len(raw) < start:
        raise UsageError(f"{path} is truncated: its header is incomplete.")
    shape = struct.unpack(f">{raw[3]}I", raw[4:start])
    expected = int(np.prod([int(length) for length in shape], dtype=object))
    if len(raw) - start != expected:
        raise UsageError(
            f"{path} is damaged: its header promises {expected} bytes of shape "
            f"{shape}, but {len(raw) - start} follow."
        )
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)


def images_files(folder: Path) -> list[Path]:
    """The IDX image files directly in a folder, by name."""
    return sorted(path for path in folder.glob("*images*idx*ubyte*") if path.is_file())


def is_idx(path: Path) -> bool:
    """Whether a path names an IDX file (by its name, as these files carry no suffix)."""
    return "ubyte" in path.name and "idx" in path.name


def read_idx_split(folder: Path, split: str) -> Labelled:
    """Read the split's images and labels from a folder of IDX files."""
    files = images_files(folder)
    for part in SPLIT_PARTS[split]:
        found = [path for path in files if part in path.name.split("-")]
        if len({path.name.removesuffix(".gz") for path in found}) > 1:
            raise UsageError(
                f"{folder} has {len(found)} files of {split} images; give one of them as the data, "
                f"such as {found[0]}."
            )
        if found:
            return read_idx_pair(found[0])
    raise UsageError(
        f"{folder} has no IDX images for the split {split!r}; "
        f"it has {', '.join(path.name for path in files)}."
    )


def read_idx_pair(images_path: Path) -> Labelled:
    """Read an IDX images file and the labels that lie beside it."""
    if "images" not in images_path.name:
        raise UsageError(f"{images_path} holds no images; give the *-images-idx3-ubyte file.")
    images = read_idx(images_path)
    name = images_path.name.replace("images", "labels").replace("idx3", "idx1")
    name = name.replace("idx4", "idx1").removesuffix(".gz")
    for candidate in (images_path.with_name(name), images_path.with_name(name + ".gz")):
        if candidate.exists():
            labels = read_idx(candidate)
            break
    else:
        raise UsageError(f"{images_path} has no labels beside it: {name} or {name}.gz is missing.")
    if images.ndim == 1 or labels.ndim != 1:
        raise UsageError(f"{images_path} or {candidate.name} has the wrong number of dimensions.")
    if images.ndim == 3:
        images = images[..., np.newaxis]
    return Labelled(InMemory(images), labels.astype(np.int64))
