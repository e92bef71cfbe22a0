"""Labelled images with stable ids, whatever file they came from."""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from workbench.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from benchmarks.suite import Shard

Rows = slice | NDArray[np.int64]
Ids = NDArray[np.int64]
PixelArray = NDArray[np.uint8] | NDArray[np.float32]

GRID_TOLERANCE = 1e-6  # a float this near to k/255 came from 8 bits; float32 errs by 6e-8 there


@dataclass(frozen=True)
class DataFacts:
    """What a model needs to know of the data it will see: image shape and number of classes."""

    channels: int
    height: int
    width: int
    classes: int


class Pixels(Protocol):
    """Where a data set's pixels are: in memory, or in files that are decoded on demand."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, H, W, C), every image alike."""
        ...

    def read(self, rows: Rows) -> PixelArray:
        """(n, H, W, C), uint8, or float32 in [0, 1] where the source was not on the 8-bit grid."""
        ...

    def ids(self, rows: Rows) -> Ids:
        """int64 (n,), see `image_ids`."""
        ...

    def subset(self, rows: NDArray[np.int64]) -> "Pixels":
        """Those images alone, in that order."""
        ...

    def at_size(self, input_size: int) -> "Pixels | None":
        """The same images read at another size, or None where they have a size of their own."""
        ...


@dataclass(frozen=True)
class InMemory:
    """Pixels held as one array: (N, H, W, C), uint8 or float32 in [0, 1]."""

    array: PixelArray

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, H, W, C)."""
        count, height, width, channels = self.array.shape
        return count, height, width, channels

    def read(self, rows: Rows) -> PixelArray:
        """The images of those rows."""
        return self.array[rows]

    def ids(self, rows: Rows) -> Ids:
        """The ids of those rows."""
        return image_ids(self.array[rows])

    def subset(self, rows: NDArray[np.int64]) -> "InMemory":
        """Those images alone."""
        return InMemory(self.array[rows])

    def at_size(self, input_size: int) -> None:
        """None: an array has a size of its own."""
        return None


@dataclass(frozen=True)
class Dataset:
    """N labelled images of one shape.

    Attributes:
        name: what tables and run directories call it.
        pixels: the images.
        labels: int64 (N,), in 0 … classes - 1.
        classes: how many classes there are; some may have no image here.
        class_names: one name a class, or None where the source does not say.
        class_keys: one key a class where the source has keys beside names (WordNet ids), or None.
        columns: for each class, the class's index in the larger set it was chosen from
            (`workbench.datasets.classes.select`), or None where nothing was chosen.
        columns_of: how many classes that larger set has; None where its source does not say.
        open_ended: the source does not say how many classes there are; ``classes`` is then the
            largest label + 1, and a model with more classes fits.
        notices: what the loader decided on its own and a person should know.
        origin: int64 (N,), each image's row in the whole that it was taken from; None where this is
            the whole.

    Raises:
        UsageError: no images, or labels that do not fit.

    """

    name: str
    pixels: Pixels
    labels: NDArray[np.int64]
    classes: int
    class_names: tuple[str, ...] | None = None
    class_keys: tuple[str, ...] | None = None
    columns: tuple[int, ...] | None = None
    columns_of: int | None = None
    open_ended: bool = False
    notices: tuple[str, ...] = ()
    origin: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        check_labels(self.name, self.labels, self.pixels.shape[0], self.classes)
        for names in (self.class_names, self.class_keys, self.columns):
            if names is not None and len(names) != self.classes:
                raise UsageError(
                    f"{self.name}: {len(names)} class names for {self.classes} classes."
                )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def channels(self) -> int:
        """1 for grey images, 3 for colour."""
        return self.pixels.shape[3]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of every image."""
        return self.pixels.shape[1], self.pixels.shape[2]

    @property
    def facts(self) -> DataFacts:
        """Shape and number of classes, for `workbench.models.load_model`."""
        return DataFacts(self.channels, *self.size, self.classes)

    def images(self, rows: Rows) -> "Tensor":
        """float32 (n, C, H, W) in [0, 1], a copy."""
        import torch

        pixels = torch.tensor(self.pixels.read(rows))
        images = pixels.permute(0, 3, 1, 2).contiguous()
        return images.float().div_(255) if images.dtype == torch.uint8 else images

    def ids(self, rows: Rows = slice(None)) -> Ids:
        """int64 (n,): each image's id, a digest of its shape and pixels.

        The id depends on nothing else, so records of different runs, limits and file formats can
        be paired by it. Two identical images share an id.
        """
        return self.pixels.ids(rows)

    def shard(self, start: int, stop: int) -> "Shard":
        """Return the examples ``start`` … ``stop`` - 1 as the runner takes them."""
        from benchmarks.suite import Shard

        rows = slice(start, stop)
        return Shard(self.ids(rows), self.images(rows), self.labels[rows])

    @cached_property
    def digest(self) -> str:
        """sha256 over all ids and labels, in order; reads every image once."""
        return digest_of(self.ids(), self.labels)

    def subset(self, rows: NDArray[np.int64]) -> "Dataset":
        """Those images alone, in that order."""
        origin = rows if self.origin is None else self.origin[rows]
        return replace(
            self, pixels=self.pixels.subset(rows), labels=self.labels[rows], origin=origin
        )

    def take(self, limit: int | None, seed: int = 0) -> "Dataset":
        """At most ``limit`` images, as balanced over the classes as can be, in their old order.

        The choice depends on the labels, ``limit`` and ``seed`` alone, and a larger limit holds
        every image of a smaller one. None takes all.
        """
        if limit is None or limit >= len(self):
            return self
        if limit < 1:
            raise UsageError(f"A limit of {limit} leaves no image; give 1 or more.")
        return self.subset(balanced_rows(self.labels, limit, seed))

    def at_size(self, input_size: int) -> "Dataset":
        """The same photographs read at another size; data of a fixed size come back unchanged."""
        pixels = self.pixels.at_size(input_size)
        return self if pixels is None else replace(self, pixels=pixels)


def balanced_rows(labels: NDArray[np.int64], limit: int, seed: int) -> NDArray[np.int64]:
    """Ascending rows of ``limit`` images, drawn class by class in turn.

    Raw PCG64 output is used because numpy promises that stream for all versions, and shuffles
    not (NEP 19).
    """
    return in_turn(labels, limit, np.random.PCG64(seed).random_raw(len(labels)))


def in_turn(labels: NDArray[np.int64], limit: int, keys: NDArray[Any]) -> NDArray[np.int64]:
    """Ascending rows of ``limit`` images, drawn class by class in turn, the smallest key first.

    Where the keys go by the images alone, so does the choice: not by their order, nor by the
    numbers of the classes.
    """
    order = np.lexsort((keys, labels))
    starts = np.searchsorted(labels[order], labels[order])
    turn = np.empty(len(labels), dtype=np.int64)
    turn[order] = np.arange(len(labels)) - starts
    return np.sort(np.lexsort((keys, turn))[:limit])


def digest_of(ids: Ids, labels: NDArray[np.int64]) -> str:
    """sha256 over ids and labels, in order."""
    digest = hashlib.sha256(ids.astype("<i8").tobytes())
    digest.update(labels.astype("<i8").tobytes())
    return digest.hexdigest()


def image_ids(pixels: PixelArray) -> Ids:
    """int64 (n,): blake2b (8 bytes) over (H, W, C) and the pixels of each image (n, H, W, C).

    Float images on the 8-bit grid get the id of the 8-bit image; others are digested as float32.
    """
    shape = np.array(pixels.shape[1:], dtype="<i8").tobytes()
    digests = b"".join(
        hashlib.blake2b(shape + _canonical(image).tobytes(), digest_size=8).digest()
        for image in pixels
    )
    return np.frombuffer(digests, dtype="<i8").astype(np.int64)


def _canonical(image: PixelArray) -> PixelArray:
    if image.dtype == np.uint8:
        return image
    rounded = on_grid(image)
    return image.astype("<f4") if rounded is None else rounded


def on_grid(values: PixelArray) -> NDArray[np.uint8] | None:
    """The 8-bit image that floats in [0, 1] came from, or None if they are off the grid k/255."""
    rounded: NDArray[np.float32] = np.rint(values * np.float32(255))
    if np.abs(rounded / np.float32(255) - values).max(initial=0) > GRID_TOLERANCE:
        return None
    return rounded.astype(np.uint8)


def check_labels(name: str, labels: NDArray[np.int64], count: int, classes: int) -> None:
    """Raise `UsageError` unless there is one integer label in 0 … classes - 1 for every image."""
    if count == 0:
        raise UsageError(f"{name} holds no images.")
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise UsageError(
            f"{name}: labels must be integers of shape (N,), "
            f"not {labels.dtype} of shape {labels.shape}."
        )
    if len(labels) != count:
        raise UsageError(f"{name}: {len(labels)} labels for {count} images.")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        wrong = int(np.flatnonzero((labels < 0) | (labels >= classes))[0])
        raise UsageError(
            f"{name}: label {int(labels[wrong])} of image {wrong} is outside 0 … {classes - 1}."
        )
