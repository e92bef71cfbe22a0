"""Grey images as colour, colour images as grey."""

from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from workbench.datasets.dataset import Ids, InMemory, PixelArray, Pixels, Rows, image_ids


@overload
def with_channels(pixels: InMemory, channels: int | None) -> InMemory: ...
@overload
def with_channels(pixels: Pixels, channels: int | None) -> Pixels: ...
def with_channels(pixels: Pixels, channels: int | None) -> Pixels:
    """Repeat grey to three channels, or weigh colour to grey (ITU-R 601, as Pillow does)."""
    if channels is None or channels == pixels.shape[3]:
        return pixels
    if isinstance(pixels, InMemory):
        return InMemory(converted(pixels.array, channels))
    return _Converted(pixels, channels)


def converted(images: PixelArray, channels: int) -> PixelArray:
    """Return images (N, H, W, C) with 1 or 3 channels where they have 3 or 1."""
    if channels == 3:
        return np.concatenate([images] * 3, axis=3)
    if images.dtype == np.uint8:
        weights = np.array([19595, 38470, 7471], dtype=np.uint32)  # Pillow, Convert.c, L24
        luma = (images.astype(np.uint32) @ weights + 0x8000) >> 16
        return luma.astype(np.uint8)[..., np.newaxis]
    luma_floats = images @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    return np.clip(luma_floats, 0, 1).astype(np.float32)[..., np.newaxis]


@dataclass(frozen=True)
class _Converted:
    """Pixels that are converted whenever they are read."""

    pixels: Pixels
    channels: int

    @property
    def shape(self) -> tuple[int, int, int, int]:
        count, height, width, _ = self.pixels.shape
        return count, height, width, self.channels

    def read(self, rows: Rows) -> PixelArray:
        return converted(self.pixels.read(rows), self.channels)

    def ids(self, rows: Rows) -> Ids:
        return image_ids(self.read(rows))

    def subset(self, rows: NDArray[np.int64]) -> "_Converted":
        return _Converted(self.pixels.subset(rows), self.channels)

    def at_size(self, input_size: int) -> "_Converted | None":
        pixels = self.pixels.at_size(input_size)
        return None if pixels is None else _Converted(pixels, self.channels)
