"""Images in large files, read row by row when they are asked for."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from workbench.datasets.dataset import Ids, Rows, image_ids
from workbench.errors import UsageError

_IDS_AT_ONCE = 2**24  # values that are read together to tell their ids


class Source(Protocol):
    """Where rows of stored images are."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(rows, H, W, C)."""
        ...

    def read(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Those rows: uint8 (n, H, W, C)."""
        ...


@dataclass(frozen=True)
class StoredRows:
    """Rows of a file, read when they are asked for and not kept.

    Attributes:
        source: the file.
        rows: int64 (N,), which of its rows.
    """

    source: Source
    rows: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, H, W, C)."""
        return len(self.rows), *self.source.shape[1:]

    def read(self, rows: Rows) -> NDArray[np.uint8]:
        """The images of those rows."""
        chosen = self.rows[rows]
        images = np.empty((len(chosen), *self.shape[1:]), np.uint8)
        for first, last in _runs(chosen):
            images[first:last] = self.source.read(int(chosen[first]), int(chosen[last - 1]) + 1)
        return images

    def ids(self, rows: Rows) -> Ids:
        """The ids of those rows."""
        chosen = np.arange(len(self.rows))[rows]
        step = max(1, _IDS_AT_ONCE // int(np.prod(self.shape[1:])))
        parts = [
            image_ids(self.read(chosen[start : start + step]))
            for start in range(0, len(chosen), step)
        ]
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)

    def subset(self, rows: NDArray[np.int64]) -> "StoredRows":
        """Those images alone."""
        return StoredRows(self.source, self.rows[rows])

    def at_size(self, input_size: int) -> None:
        """None: the images have a size of their own."""
        return None


@dataclass(frozen=True)
class Stack:
    """A `.npy` file of images, uint8 (N, H, W, C), that is read row by row."""

    path: Path
    offset: int
    shape: tuple[int, int, int, int]

    def read(self, start: int, stop: int) -> NDArray[np.uint8]:
        """The images of those rows; by seeking: pages of a mapped file would count as memory."""
        values = int(np.prod(self.shape[1:]))
        with self.path.open("rb") as file:
            file.seek(self.offset + start * values)
            found = np.fromfile(file, np.uint8, (stop - start) * values)
        return found.reshape(stop - start, *self.shape[1:])


def read_stack(path: Path) -> Stack:
    """Look at the head of a `.npy` file of images.

    Raises:
        UsageError: it holds something else, or is cut short.
    """
    with path.open("rb") as file:
        try:
            version = np.lib.format.read_magic(file)
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[version]
            shape, fortran, dtype = read(file)
        except (ValueError, KeyError, EOFError) as error:
            raise UsageError(f"{path} cannot be read as a .npy file: {error}") from error
        offset = file.tell()
    if dtype != np.uint8 or len(shape) != 4 or fortran or shape[3] not in (1, 3) or 0 in shape:
        raise UsageError(
            f"{path} holds {dtype} of shape {shape}; corrupted images are uint8 of shape "
            "(5 N, H, W, C) with 1 or 3 channels."
        )
    expected, there = offset + int(np.prod(shape)), path.stat().st_size
    if there < expected:
        raise UsageError(f"{path} is cut short: {there} bytes of {expected}; fetch it again.")
    return Stack(path, offset, shape)


@dataclass(frozen=True)
class Hdf5Rows:
    """The images of an HDF5 file that has several versions of each, one version after the other.

    Attributes:
        path: the file.
        versions: (versions, images, H, W, C).
        read_version: gives the rows ``start`` … ``stop`` - 1 of the version of an index.
    """

    path: Path
    versions: tuple[int, int, int, int, int]
    read_version: Callable[[int, int, int], NDArray[np.uint8]]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(versions · images, H, W, C)."""
        versions, count, *image = self.versions
        return versions * count, image[0], image[1], image[2]

    def read(self, start: int, stop: int) -> NDArray[np.uint8]:
        """The images of those rows.

        Raises:
            UsageError: the file is damaged.
        """
        count = self.versions[1]
        parts = []
        while start < stop:
            index, row = divmod(start, count)
            end = min(count, row + stop - start)
            try:
                parts.append(self.read_version(index, row, end))
            except OSError as error:
                raise UsageError(f"{self.path} is damaged: {error}") from error
            start += end - row
        return np.concatenate(parts)


def _runs(rows: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Where rows follow one another: (first, last + 1) of each run."""
    if len(rows):
        breaks = np.flatnonzero(np.diff(rows) != 1) + 1
        yield from zip([0, *breaks.tolist()], [*breaks.tolist(), len(rows)], strict=True)
