"""Image files decoded when they are asked for."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from workbench.datasets.dataset import Ids, Rows, image_ids
from workbench.errors import UsageError

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"}
GREY_MODES = {"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N"}
MEMORY_LIMIT = 2**29  # bytes; above it pixels are decoded anew each time
ALL_HEADERS = 20_000  # up to this many files every header is read, above it a sample of them
HEADER_SAMPLE = 2_000
PHOTOGRAPH_SIDE = 128  # files with a shorter side above this are photographs, not small images
RESIZE_RATIO = 256 / 224  # shorter side / crop: the ImageNet evaluation of torchvision and timm


class Header(NamedTuple):
    """What the head of an image file says."""

    width: int
    height: int
    grey: bool


class Photographs:
    """Image files of one shape, decoded on demand and kept while they fit in 512 MB.

    With ``input_size`` the shorter side is resized to round(input_size · 256/224) (bilinear, PIL)
    and the centre square is cut out, as torchvision's `Resize` and `CenterCrop` do. The rotation
    in EXIF is not applied (torchvision's ImageFolder does not either). Alpha is dropped, palettes
    are resolved, 16-bit grey is scaled to 8 bits.

    Args:
        paths: the files.
        size: (height, width) of the images read.
        channels: 1 or 3; files of the other kind are converted.
        input_size: cut the images to this square; None reads files that have ``size`` already.
        adaptable: whether `at_size` may choose another ``input_size``.

    """

    def __init__(
        self,
        paths: Sequence[Path],
        size: tuple[int, int],
        channels: int,
        *,
        input_size: int | None,
        adaptable: bool,
    ) -> None:
        self.paths = tuple(paths)
        self.size = size
        self.channels = channels
        self.input_size = input_size
        self.adaptable = adaptable
        self._ids: Ids = np.zeros(len(self.paths), dtype=np.int64)
        self._has_id = np.zeros(len(self.paths), dtype=bool)
        keep = int(np.prod(self.shape)) <= MEMORY_LIMIT
        self._kept = np.zeros(self.shape, dtype=np.uint8) if keep else None
        self._is_kept = np.zeros(len(self.paths), dtype=bool)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, H, W, C)."""
        return len(self.paths), *self.size, self.channels

    def read(self, rows: Rows) -> NDArray[np.uint8]:
        """Decode those files: uint8 (n, H, W, C)."""
        chosen = np.arange(len(self.paths))[rows]
        if self._kept is None:
            return self._decode(chosen)
        missing = np.unique(chosen[~self._is_kept[chosen]])
        if len(missing):
            self._kept[missing] = self._decode(missing)
            self._is_kept[missing] = True
        return self._kept[chosen]

    def ids(self, rows: Rows) -> Ids:
        """Ids of those files; each is computed once."""
        chosen = np.arange(len(self.paths))[rows]
        missing = np.unique(chosen[~self._has_id[chosen]])
        for start in range(0, len(missing), 256):
            part = missing[start : start + 256]
            self._ids[part] = image_ids(self.read(part))
            self._has_id[part] = True
        return self._ids[chosen]

    def subset(self, rows: NDArray[np.int64]) -> "Photographs":
        """Those files alone."""
        return self._with([self.paths[row] for row in rows], self.size, self.input_size)

    def at_size(self, input_size: int) -> "Photographs | None":
        """Read the same photographs at another size; None where the size is fixed."""
        if not self.adaptable:
            return None
        return self._with(self.paths, (input_size, input_size), input_size)

    def _with(
        self, paths: Sequence[Path], size: tuple[int, int], input_size: int | None
    ) -> "Photographs":
        return Photographs(
            paths, size, self.channels, input_size=input_size, adaptable=self.adaptable
        )

    def _decode(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        def one(row: int) -> NDArray[np.uint8]:
            return decode(self.paths[row], self.size, self.channels, self.input_size)

        if not len(rows):
            return np.zeros((0, *self.shape[1:]), dtype=np.uint8)
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            return np.stack(list(pool.map(one, rows.tolist())))


def photographs(
    paths: Sequence[Path], *, input_size: int | None, channels: int | None, fixed: bool = False
) -> tuple[Photographs, tuple[str, ...]]:
    """Look at the files' headers and decide shape and channels; returns notices too.

    Files of one size are read as they are. Photographs (of differing sizes, or with a shorter side
    above 128) are cut to ``input_size`` where it is given; files of differing sizes to 224 where it
    is not, until a model's own size is known (`Photographs.at_size`), unless their size is
    ``fixed``. Grey files among colour ones become colour.
    """
    step = 1 if len(paths) <= ALL_HEADERS else len(paths) // HEADER_SAMPLE
    headers = [read_header(path) for path in paths[::step]]
    greys = sum(header.grey for header in headers)
    sizes = {(header.height, header.width) for header in headers}
    notices = []
    if channels is None:
        channels = 1 if greys == len(headers) else 3
        if 0 < greys < len(headers):
            notices.append(f"{greys} grey files among {len(headers)} are read as colour.")
    size = next(iter(sizes))
    if input_size is not None:
        wanted, adaptable = input_size, False
    elif len(sizes) > 1:
        wanted, adaptable = 224, True
        notices.append(
            "The images differ in size: the shorter side is resized, then a centre square is cut, "
            "224 pixels wide unless the model or --input-size says otherwise."
        )
    else:
        adaptable = not fixed and min(size) > PHOTOGRAPH_SIDE
        return Photographs(paths, size, channels, input_size=None, adaptable=adaptable), tuple(
            notices
        )
    return Photographs(
        paths, (wanted, wanted), channels, input_size=wanted, adaptable=adaptable
    ), tuple(notices)


def read_header(path: Path) -> Header:
    """Read size and kind of an image file without decoding it."""
    try:
        with Image.open(path) as image:
            return Header(*image.size, image.mode in GREY_MODES)
    except (FileNotFoundError, PermissionError):
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _unreadable(path, error) from error


def decode(
    path: Path, size: tuple[int, int], channels: int, input_size: int | None
) -> NDArray[np.uint8]:
    """Decode one file to uint8 (H, W, C).

    Raises:
        UsageError: a file that is damaged, truncated, or not of ``size`` where nothing is resized.

    """
    try:
        with Image.open(path) as opened:
            image = _eight_bits(opened, path).convert("RGB" if channels == 3 else "L")
    except UsageError:
        raise
    except (FileNotFoundError, PermissionError):
        raise
    # Each of Pillow's format plugins raises its own errors for damaged data (SyntaxError,
    # struct.error, zlib.error, IndexError …); all mean the same to the user.
    except Exception as error:
        raise _unreadable(path, error) from error
    if input_size is not None:
        image = resize_and_crop(image, input_size)
    if (image.height, image.width) != size:
        raise UsageError(
            f"{path} is {image.width}x{image.height} where the others are {size[1]}x{size[0]}; "
            "give --input-size to bring all to one size."
        )
    return np.asarray(image, dtype=np.uint8).reshape(*size, channels)


def resize_and_crop(image: Image.Image, input_size: int) -> Image.Image:
    """Resize the shorter side to round(input_size · 256/224), then cut the centre square."""
    shorter = round(input_size * RESIZE_RATIO)
    width, height = image.size
    if width <= height:
        new_size = (shorter, int(shorter * height / width))
    else:
        new_size = (int(shorter * width / height), shorter)
    image = image.resize(new_size, Image.Resampling.BILINEAR)
    left = round((image.width - input_size) / 2)
    top = round((image.height - input_size) / 2)
    return image.crop((left, top, left + input_size, top + input_size))


def _eight_bits(image: Image.Image, path: Path) -> Image.Image:
    """Scale 16-bit grey to 8 bits; Pillow's own conversion would clip it at 255."""
    if image.mode == "F":
        raise UsageError(f"{path} holds floating-point pixels; save it with 8 or 16 bits.")
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise UsageError(f"{path} holds values beyond 16 bits; save it with 8 or 16 bits.")
    return Image.fromarray(np.rint(values / 257).astype(np.uint8))


def _unreadable(path: Path, error: BaseException) -> UsageError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    if str(path) in reason:
        reason = "not an image"
    return UsageError(f"{path} cannot be decoded ({reason}); remove or replace the file.")
