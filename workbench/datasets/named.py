"""Data sets that go by a name: the embedded one, and those torchvision can download."""

import os
import sys
from contextlib import redirect_stdout
from importlib.resources import files
from pathlib import Path

import numpy as np

from workbench.datasets.arrays import Labelled, read_npz
from workbench.datasets.cifar import cifar_folder, read_cifar
from workbench.datasets.dataset import InMemory
from workbench.datasets.idx import images_files, read_idx_split
from workbench.errors import UsageError

EMBEDDED = "fashion-mnist-mini"
SUMMARIES = {
    EMBEDDED: "10,000 + 2,000 grey 28x28 pictures of clothing, 10 classes; comes with the package",
    "mnist": "60,000 + 10,000 grey 28x28 handwritten digits, 10 classes",
    "fashion-mnist": "60,000 + 10,000 grey 28x28 pictures of clothing, 10 classes",
    "cifar10": "50,000 + 10,000 colour 32x32 photographs, 10 classes",
    "cifar100": "50,000 + 10,000 colour 32x32 photographs, 100 classes",
    "svhn": "73,257 + 26,032 colour 32x32 house-number digits, 10 classes",
}
CLOTHES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
DIGITS = tuple("0123456789")
TORCHVISION = {  # name -> torchvision's class
    "mnist": "MNIST",
    "fashion-mnist": "FashionMNIST",
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
    "svhn": "SVHN",
}


def data_root(root: Path | None = None) -> Path:
    """Where named data sets lie: ``root``, else $WORKBENCH_DATA, else the user's cache folder."""
    if root is not None:
        return root
    if os.environ.get("WORKBENCH_DATA"):
        return Path(os.environ["WORKBENCH_DATA"])
    import platformdirs

    return platformdirs.user_cache_path("adversarial-workbench") / "data"


def read_named(name: str, split: str, *, download: bool, root: Path | None) -> Labelled:
    """Read a data set by its name.

    The files have torchvision's layout under the data root, but are read by our own readers, which
    need no checksums, so a subset in the same layout works too. torchvision does the downloading,
    and checks the checksums then.

    Raises:
        UsageError: the files are not there (the message says how to get them) or are damaged.

    """
    if name == EMBEDDED:
        source = files("workbench.data") / "fashion_mnist_mini.npz"
        return read_npz(Path(str(source)), "train" if split == "train" else "test")
    base = data_root(root)
    if download and not _present(name, base, split):
        _download(name, base, split)
    return _read(name, base, split)


def _read(name: str, base: Path, split: str) -> Labelled:
    if name == "svhn":
        return _read_svhn(_svhn_file(base, split), split)
    if name.startswith("cifar"):
        folder = _cifar(name, base)
        if folder is None:
            expected = "cifar-10-batches-py" if name == "cifar10" else "cifar-100-python"
            raise _absent(name, base, f"{base / expected}/")
        return read_cifar(folder, split)
    folder = _idx(name, base)
    if folder is None:
        raise _absent(name, base, f"{base / TORCHVISION[name] / 'raw'}/*-ubyte[.gz]")
    found = read_idx_split(folder, split)
    return Labelled(found.pixels, found.labels, DIGITS if name == "mnist" else CLOTHES)


def _present(name: str, base: Path, split: str) -> bool:
    if name == "svhn":
        return _svhn_file(base, split).is_file()
    return (_cifar(name, base) if name.startswith("cifar") else _idx(name, base)) is not None


def _idx(name: str, base: Path) -> Path | None:
    candidates = (base / TORCHVISION[name] / "raw", base / name, base / TORCHVISION[name])
    return next((folder for folder in candidates if images_files(folder)), None)


def _cifar(name: str, base: Path) -> Path | None:
    expected = "cifar-10-batches-py" if name == "cifar10" else "cifar-100-python"
    for folder in (base / expected, base / name / expected, base / name):
        if cifar_folder(folder) == folder:
            return folder
    return None


def _svhn_file(base: Path, split: str) -> Path:
    name = f"{'train' if split == 'train' else 'test'}_32x32.mat"
    inside = base / "svhn" / name
    return base / name if not inside.is_file() and (base / name).is_file() else inside


def _read_svhn(path: Path, split: str) -> Labelled:
    if not path.is_file():
        raise _absent("svhn", path.parent.parent, str(path))
    from scipy.io import loadmat

    try:
        content = loadmat(path)
        pixels = np.ascontiguousarray(content["X"].transpose(3, 0, 1, 2))
        labels = content["y"].astype(np.int64).ravel() % 10  # the file calls the digit 0 "10"
    except PermissionError:
        raise
    # scipy's MATLAB reader has errors of its own and lets numpy's, zlib's, struct's and Python's
    # through on damaged files; all mean the same to the user.
    except Exception as error:
        raise UsageError(f"{path} is not the {split} file of SVHN: {error}") from error
    if pixels.dtype != np.uint8:
        raise UsageError(f"{path} holds {pixels.dtype} pixels, not bytes.")
    return Labelled(InMemory(pixels), labels, DIGITS)


def _download(name: str, base: Path, split: str) -> None:
    import torchvision.datasets

    train = split == "train"
    target = base / "svhn" if name == "svhn" else base
    target.mkdir(parents=True, exist_ok=True)
    choice = {"split": "train" if train else "test"} if name == "svhn" else {"train": train}
    fetch = getattr(torchvision.datasets, TORCHVISION[name])
    try:
        with redirect_stdout(sys.stderr):  # torchvision prints; stdout is for results
            fetch(str(target), download=True, **choice)
    except (OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"Downloading {name} to {target} failed: {reason}") from error


def _absent(name: str, base: Path, expected: str) -> UsageError:
    return UsageError(
        f"{name} is not in {base} (expected {expected}). Add --download to fetch it, or set "
        f"WORKBENCH_DATA to the folder that has it, or use --data {EMBEDDED}, which needs no files."
    )
