"""Sets of corrupted images in HDF5: one corruption at several severities, beside record files.

A file holds ``images``, uint8 (severity, example, height, width, channel), ``label`` and the scales
``severity`` and ``example``: the ids of the *clean* images, by which the images of any run are
paired with them.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from benchmarks import durable
from benchmarks.identity import canonical_json
from benchmarks.storage import LIBVER

FORMAT = "adversarial-workbench-images"
FORMAT_VERSION = 1

_CHUNK = 2**19  # bytes that are compressed together: well below HDF5's cache of 1 MiB

Block = tuple[int, int, NDArray[np.uint8]]
"""Index of the severity, first row, and images (n, H, W, C)."""


@dataclass(frozen=True)
class ImageSet:
    """What a file says of itself; the images stay in it until they are read.

    Attributes:
        path: the file.
        corruption: the corruption's name.
        severities: ascending.
        shape: (S, N, H, W, C).
        ids: int64 (N,), the ids of the clean images.
        labels: int64 (N,).
        class_names: one name a class, or None where they have none.
        description: how the images were made.
    """

    path: Path
    corruption: str
    severities: tuple[int, ...]
    shape: tuple[int, int, int, int, int]
    ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...] | None
    description: Mapping[str, object]

    def read(self, severity: int, start: int, stop: int) -> NDArray[np.uint8]:
        """Images (n, H, W, C) of the rows ``start`` … ``stop`` - 1 at a severity.

        Raises:
            OSError: the file is damaged there.
        """
        with h5py.File(self.path, "r") as file:
            found: NDArray[np.uint8] = file["images"][self.severities.index(severity), start:stop]
        return found


def write_image_set(
    path: Path,
    blocks: Iterable[Block],
    *,
    corruption: str,
    severities: Sequence[int],
    image_shape: tuple[int, int, int],
    ids: NDArray[np.int64],
    labels: NDArray[np.int64],
    class_names: Sequence[str] | None,
    description: Mapping[str, object],
) -> None:
    """Write a set, block by block, so that it is there as a whole or not at all.

    Args:
        path: the file, replaced in one move once it is complete.
        blocks: the images in any order; all of them, lest black images be taken for real ones.
        corruption: the corruption's name.
        severities: ascending.
        image_shape: (H, W, C).
        ids: int64 (N,), the ids of the clean images.
        labels: int64 (N,).
        class_names: one name a class, or None.
        description: JSON values: how the images were made.

    Raises:
        OSError: it cannot be written; nothing half written is left.
        ValueError: images are missing.
    """
    with (
        durable.atomically(path) as temporary,
        durable.sink(temporary) as target,
        h5py.File(target, "w", libver=LIBVER) as file,
    ):
        images = create_images(file, (len(severities), len(ids), *image_shape))
        written = 0
        for index, start, pixels in blocks:
            images[index, start : start + len(pixels)] = pixels
            written += len(pixels)
            target.check()
        if written != len(severities) * len(ids):
            raise ValueError(f"{written} of {len(severities) * len(ids)} images were given")
        write_scales(file, "severity", np.array(severities, np.int64), ids, labels)
        attributes = {
            "format": FORMAT,
            "format_version": np.int64(FORMAT_VERSION),
            "corruption": corruption,
            "class_names": canonical_json(None if class_names is None else list(class_names)),
            "description": canonical_json(dict(description)),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        for name, value in attributes.items():
            file.attrs[name] = value
        file.attrs["complete"] = np.uint8(1)


def is_image_set(path: Path) -> bool:
    """Whether a file is such a set; False for what is no HDF5 file at all."""
    try:
        with h5py.File(path, "r") as file:
            return bool(file.attrs.get("format") == FORMAT)
    except OSError:
        return False


def read_image_set(path: Path) -> ImageSet:
    """What a file holds, its images left out.

    Raises:
        OSError: it is absent, or no HDF5 file.
        ValueError: it is no complete set of corrupted images.
    """
    path = Path(os.fspath(path))
    with h5py.File(path, "r") as file:
        if file.attrs.get("format") != FORMAT or "complete" not in file.attrs:
            raise ValueError(f"{path} is no complete set of corrupted images")
        if int(file.attrs["format_version"]) > FORMAT_VERSION:
            raise ValueError(f"{path} was written by a newer version of the workbench")
        try:
            names = json.loads(file.attrs["class_names"])
            severities, examples, height, width, channels = file["images"].shape
            return ImageSet(
                path,
                str(file.attrs["corruption"]),
                tuple(int(severity) for severity in file["severity"][()]),
                (severities, examples, height, width, channels),
                file["example"][()].astype(np.int64),
                file["label"][()].astype(np.int64),
                None if names is None else tuple(names),
                json.loads(file.attrs["description"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is damaged: {error}") from error


def create_images(file: h5py.File, shape: tuple[int, int, int, int, int]) -> h5py.Dataset:
    """The dataset ``images``, uint8 (version, example, height, width, channel), compressed."""
    count, image = shape[1], shape[2:]
    return file.create_dataset(
        "images",
        shape=shape,
        dtype=np.uint8,
        chunks=(1, max(1, min(count, _CHUNK // int(np.prod(image)))), *image),
        compression="gzip",
        compression_opts=1,
        fletcher32=True,
    )


def write_scales(
    file: h5py.File,
    version: str,
    values: NDArray[Any],
    ids: NDArray[np.int64],
    labels: NDArray[np.int64],
) -> None:
    """The scales of ``images``: what tells its versions apart, by that name, and the examples."""
    file.create_dataset(version, data=values).make_scale(version)
    file.create_dataset("example", data=ids.astype(np.int64)).make_scale("example")
    label = file.create_dataset("label", data=labels.astype(np.int64))
    label.dims[0].attach_scale(file["example"])
    images = file["images"]
    for axis, name in enumerate((version, "example", "height", "width", "channel")):
        images.dims[axis].label = name
        if name not in file:
            file.create_dataset(name, data=np.arange(images.shape[axis])).make_scale(name)
        images.dims[axis].attach_scale(file[name])
