"""Arrays from files, checked: `.npz` and HDF5 files that hold images and labels."""

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.datasets.dataset import InMemory, PixelArray, Pixels, on_grid
from workbench.errors import UsageError

RANGE_SLACK = 1e-6  # rounding of a float32 resize or divide; −2.98e-8 is not an error


@dataclass(frozen=True)
class Labelled:
    """What a reader found: pixels (N, H, W, C), labels int64 (N,), and the names, if any."""

    pixels: Pixels
    labels: NDArray[np.int64]
    class_names: tuple[str, ...] | None = None
    notices: tuple[str, ...] = ()
    name: str | None = None


def read_npz(path: Path, split: str) -> Labelled:
    """Read `images` and `labels` (or `test_images`, `test_labels`) from an `.npz` file.

    Images are uint8 or floats in [0, 1], (N, H, W, C) or (N, H, W); labels integers (N,);
    `class_names`, if there, an array of strings. Pickled arrays are never read.

    Raises:
        UsageError: unreadable or incomplete file, or arrays that `checked_images` or
            `checked_labels` refuse.

    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise UsageError(f"{path} is a single array; save images and labels in one .npz.")
            keys = _keys(archive.files, split, path)
            arrays = {key: archive[name] for key, name in keys.items()}
    except (UsageError, FileNotFoundError, PermissionError):
        raise
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise UsageError(f"{path} cannot be read as an .npz file: {_first_line(error)}") from error
    return _labelled(arrays, path)


def read_hdf5(path: Path, split: str) -> Labelled:
    """Read the HDF5 data sets `images` and `labels` (or `test_images`, …), as in `read_npz`."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            keys = _keys(
                [name for name in file if isinstance(file[name], h5py.Dataset)], split, path
            )
            arrays = {key: np.asarray(file[name][()]) for key, name in keys.items()}
    except (FileNotFoundError, PermissionError):
        raise
    except (OSError, KeyError, RuntimeError) as error:  # KeyError: a link that leads nowhere
        raise UsageError(f"{path} cannot be read as HDF5: {_first_line(error)}") from error
    return _labelled(arrays, path)


def checked_images(images: NDArray[Any], where: str) -> PixelArray:
    """Bring images to (N, H, W, C), uint8, or float32 in [0, 1] if they are not on the 8-bit grid.

    Args:
        images: (N, H, W) or (N, H, W, C) with 1 or 3 channels; uint8, or floats in [0, 1].
        where: what the message calls them.

    Raises:
        UsageError: wrong shape or type, NaN or infinity, or a range other than [0, 1]; the message
            names the range found and its likely cause.

    """
    if images.ndim == 3:
        images = images[..., np.newaxis]
    if images.ndim == 4 and len(images) == 0:
        raise UsageError(f"{where}: there are no images in it.")
    if images.ndim != 4 or 0 in images.shape:
        raise UsageError(
            f"{where}: images of shape {images.shape}; they must be (N, H, W) or (N, H, W, C)."
        )
    if images.shape[3] not in (1, 3):
        hint = (
            " They look channels-first: transpose them with images.transpose(0, 2, 3, 1)."
            if images.shape[1] in (1, 3)
            else ""
        )
        raise UsageError(
            f"{where}: images of shape {images.shape} have {images.shape[3]} channels "
            f"where 1 or 3 are needed.{hint}"
        )
    if images.dtype == np.uint8:
        return np.ascontiguousarray(images)
    if not np.issubdtype(images.dtype, np.floating):
        raise UsageError(
            f"{where}: images are {images.dtype}; save them as uint8 (0 to 255) "
            "or as floats in [0, 1]."
        )
    _check_range(images, where)
    values = np.clip(images, 0, 1).astype(np.float32)
    rounded = on_grid(values)
    return values if rounded is None else rounded


def _check_range(images: NDArray[Any], where: str) -> None:
    low, high = float(images.min()), float(images.max())
    if not np.isfinite(low) or not np.isfinite(high):
        wrong = np.flatnonzero(~np.isfinite(images).all(axis=(1, 2, 3)))
        raise UsageError(
            f"{where}: NaN or infinity in {len(wrong)} of {len(images)} images, "
            f"the first is image {wrong[0]}."
        )
    if low >= -RANGE_SLACK and high <= 1 + RANGE_SLACK:
        return
    if low >= 0 and high <= 255:
        cause = "they look like 0 to 255: save them as uint8, or divide by 255"
    elif low >= -1 - RANGE_SLACK and high <= 1 + RANGE_SLACK:
        cause = "they look scaled to [-1, 1]: save (images + 1) / 2"
    elif low < 0:
        cause = "they look normalised: save them before mean and std are applied"
    else:
        cause = "save them as uint8 or as floats in [0, 1]"
    raise UsageError(
        f"{where}: pixel values run from {low:.4g} to {high:.4g}, not from 0 to 1; {cause}."
    )


def checked_labels(labels: NDArray[Any], where: str) -> NDArray[np.int64]:
    """Bring labels to int64 (N,); raise `UsageError` for floats, one-hot rows and other shapes."""
    if labels.ndim != 1:
        raise UsageError(
            f"{where}: labels of shape {labels.shape}; one class index per image is needed, "
            "shape (N,)."
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise UsageError(
            f"{where}: labels are {labels.dtype}; save class indices as integers "
            "(labels.astype('int64'))."
        )
    if labels.size and not 0 <= int(labels.min()) <= int(labels.max()) < 2**31:
        wrong = int(np.flatnonzero((labels < 0) | (labels >= 2**31))[0])
        raise UsageError(f"{where}: label {labels[wrong]} of image {wrong} is no class index.")
    return labels.astype(np.int64)


def _keys(found: list[str], split: str, path: Path) -> dict[str, str]:
    """Which stored arrays to read: `images`, else `test_images` where the split is `test`."""
    keys = {}
    for key in ("images", "labels"):
        names = [name for name in (f"{split}_{key}", key) if name in found]
        if not names:
            raise UsageError(
                f"{path} has no array {key!r}; it has {', '.join(sorted(found)) or 'none'}."
            )
        keys[key] = names[0]
    if "class_names" in found:
        keys["class_names"] = "class_names"
    return keys


def _labelled(arrays: dict[str, NDArray[Any]], path: Path) -> Labelled:
    names = arrays.get("class_names")
    return Labelled(
        InMemory(checked_images(arrays["images"], str(path))),
        checked_labels(arrays["labels"], str(path)),
        None if names is None else tuple(_text(name) for name in names.ravel()),
    )


def _text(name: object) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
