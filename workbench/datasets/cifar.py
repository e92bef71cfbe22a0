"""CIFAR-10 and CIFAR-100 in their python form (https://www.cs.toronto.edu/~kriz/cifar.html).

The batches are pickles. They are read with an unpickler that knows numpy arrays and plain
containers and nothing else, so a file cannot run code.
"""

import pickle
import struct
from pathlib import Path

import numpy as np

from workbench.datasets.arrays import Labelled, checked_labels
from workbench.datasets.dataset import InMemory
from workbench.errors import UsageError

# All that numpy's own pickles of arrays and scalars name, in numpy 1 and 2.
HARMLESS = {
    ("_codecs", "encode"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    *(
        (module, name)
        for module in ("numpy.core.multiarray", "numpy._core.multiarray")
        for name in ("_reconstruct", "scalar")
    ),
}
FOLDERS = ("cifar-10-batches-py", "cifar-100-python")


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in HARMLESS:
            raise pickle.UnpicklingError(f"it wants to load {module}.{name}")
        return super().find_class(module, name)


def read_pickle(path: Path) -> dict[str, object]:
    """Read a pickled dict of arrays and plain values; anything else is refused, never run.

    Raises:
        UsageError: damaged file, not a dict, or a pickle that names any other type or function.

    """
    try:
        with path.open("rb") as file:
            content = _ArraysOnly(file, encoding="latin1").load()
    except (
        pickle.UnpicklingError,
        EOFError,
        ValueError,
        TypeError,
        IndexError,
        KeyError,
        AttributeError,
        ImportError,
        OverflowError,
        MemoryError,
        RecursionError,
        struct.error,
    ) as error:  # what a random or hostile byte string makes the pickle machine raise
        raise UsageError(f"{path} is not a CIFAR batch: {error or type(error).__name__}") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path} is not a CIFAR batch: it holds a {type(content).__name__}.")
    return content


def cifar_folder(folder: Path) -> Path | None:
    """The folder that holds the batches: this one or the one the archive unpacks to."""
    for candidate in (folder, *(folder / name for name in FOLDERS)):
        has_ten = (candidate / "test_batch").is_file() or any(candidate.glob("data_batch_*"))
        has_hundred = (candidate / "meta").is_file() and any(
            (candidate / name).is_file() for name in ("train", "test")
        )
        if has_ten or has_hundred:
            return candidate
    return None


def read_cifar(folder: Path, split: str) -> Labelled:
    """Read the split of CIFAR-10 or, with its fine labels, CIFAR-100; `val` is the test split.

    Raises:
        UsageError: missing or damaged batches.

    """
    if (folder / "meta").is_file():
        files = [folder / ("train" if split == "train" else "test")]
        meta, label_key, names_key = folder / "meta", "fine_labels", "fine_label_names"
    else:
        files = sorted(folder.glob("data_batch_*")) if split == "train" else [folder / "test_batch"]
        meta, label_key, names_key = folder / "batches.meta", "labels", "label_names"
    missing = [path.name for path in files if not path.is_file()]
    if missing or not files:
        raise UsageError(f"{folder} lacks {', '.join(missing) or 'data_batch_1 … data_batch_5'}.")
    if split == "train" and label_key == "labels" and len(files) != 5:
        raise UsageError(f"{folder} has {len(files)} of the 5 training batches of CIFAR-10.")
    batches = [_batch(path, label_key) for path in files]
    names = _class_names(meta, names_key)
    pixels = np.concatenate([batch.pixels.read(slice(None)) for batch in batches])
    return Labelled(InMemory(pixels), np.concatenate([batch.labels for batch in batches]), names)


def _batch(path: Path, label_key: str) -> Labelled:
    content = read_pickle(path)
    missing = [key for key in ("data", label_key) if key not in content]
    if missing:
        raise UsageError(f"{path} is not a CIFAR batch: it has no {' and no '.join(missing)}.")
    data, labels = content["data"], np.asarray(content[label_key])
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2:
        raise UsageError(f"{path}: `data` is not an array of bytes of shape (N, 3072).")
    if data.shape[1] != 3072 or len(data) != len(labels):
        raise UsageError(
            f"{path}: `data` has shape {data.shape} and there are {len(labels)} labels; "
            "(N, 3072) and N are needed."
        )
    planes = data.reshape(-1, 3, 32, 32)
    pixels = np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
    return Labelled(InMemory(pixels), checked_labels(labels, str(path)))


def _class_names(meta: Path, key: str) -> tuple[str, ...] | None:
    if not meta.is_file():
        return None
    names = read_pickle(meta).get(key)
    return tuple(str(name) for name in names) if isinstance(names, list) else None
