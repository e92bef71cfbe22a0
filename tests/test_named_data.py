"""Named data sets, read from small files in the layout torchvision leaves behind."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from data_case import pictures, seen, write_idx
from scipy.io import savemat
from torchvision.datasets import MNIST

from workbench.datasets import load_dataset
from workbench.datasets.named import data_root
from workbench.errors import UsageError


def write_cifar(folder: Path, images: np.ndarray, labels: list[int], names: list[str]) -> None:
    """Five training batches with the images in turn, and a test batch with all of them."""
    folder.mkdir(parents=True)
    rows = images.transpose(0, 3, 1, 2).reshape(len(images), 3072)

    def batch(chosen: slice) -> bytes:
        return pickle.dumps({"data": rows[chosen], "labels": labels[chosen]}, protocol=2)

    for number in range(5):
        (folder / f"data_batch_{number + 1}").write_bytes(batch(slice(number, None, 5)))
    (folder / "test_batch").write_bytes(batch(slice(None)))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": names}, protocol=2))


def test_cifar10_by_name_and_by_folder(tmp_path: Path) -> None:
    images, labels = pictures(5, 32, 32), [1, 0, 2, 2, 1]
    write_cifar(tmp_path / "cifar-10-batches-py", images, labels, ["a", "b", "c"])
    for source, root in (("cifar10", tmp_path), (tmp_path, None)):
        test = load_dataset(source, root=root)
        assert (seen(test) == images).all()
        assert test.labels.tolist() == labels
        assert test.class_names == ("a", "b", "c")
        assert (seen(load_dataset(source, split="train", root=root)) == images).all()
    inside = load_dataset(tmp_path / "cifar-10-batches-py")
    assert inside.labels.tolist() == labels


def test_cifar100_has_fine_labels(tmp_path: Path) -> None:
    images = pictures(3, 32, 32)
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    rows = images.transpose(0, 3, 1, 2).reshape(3, 3072)
    content = {"data": rows, "fine_labels": [5, 0, 6], "coarse_labels": [0, 0, 0]}
    for split in ("train", "test"):
        (folder / split).write_bytes(pickle.dumps(content))
    names = [str(number) for number in range(7)]
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": names}))
    data = load_dataset("cifar100", root=tmp_path)
    assert data.labels.tolist() == [5, 0, 6]
    assert (seen(data) == images).all()
    assert data.classes == 7


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_idx_by_name(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = tmp_path / {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}[name] / "raw"
    raw.mkdir(parents=True)
    images, labels = pictures(6, 28, 28, 1), np.array([9, 1, 4, 1, 5, 9], np.uint8)
    for prefix in ("train", "t10k"):
        write_idx(raw / f"{prefix}-images-idx3-ubyte", images[..., 0])
        write_idx(raw / f"{prefix}-labels-idx1-ubyte", labels)
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path))
    data = load_dataset(name)
    assert (seen(data) == images).all()
    assert data.labels.tolist() == labels.tolist()
    assert data.classes == 10
    if name == "mnist":  # torchvision reads the same files to the same values
        reference = MNIST(str(tmp_path), train=False)
        assert (reference.data.numpy() == images[..., 0]).all()
        assert tuple(name[0] for name in reference.classes) == data.class_names


def test_svhn_calls_zero_ten(tmp_path: Path) -> None:
    images = pictures(3, 32, 32)
    (tmp_path / "svhn").mkdir()
    content = {"X": images.transpose(1, 2, 3, 0), "y": np.array([[10], [3], [9]], np.uint8)}
    savemat(tmp_path / "svhn" / "test_32x32.mat", content)
    data = load_dataset("svhn", root=tmp_path)
    assert (seen(data) == images).all()
    assert data.labels.tolist() == [0, 3, 9]


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar10", "cifar100", "svhn"])
def test_absent_data_say_how_to_get_them(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="--download") as caught:
        load_dataset(name, root=tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "WORKBENCH_DATA" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "reference"),
    [("mnist", "MNIST"), ("cifar10", "CIFAR10"), ("svhn", "SVHN")],
)
def test_download_asks_torchvision_for_the_split(
    tmp_path: Path, name: str, reference: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {}

    def fetch(root: str, **settings: object) -> None:
        asked.update(settings, root=root)
        raise RuntimeError("File not found or corrupted.")

    monkeypatch.setattr(f"torchvision.datasets.{reference}", fetch)
    with pytest.raises(UsageError, match=f"Downloading {name}.*not found or corrupted"):
        load_dataset(name, split="train", download=True, root=tmp_path)
    assert asked.pop("download") is True
    where = tmp_path / "svhn" if name == "svhn" else tmp_path
    split = {"split": "train"} if name == "svhn" else {"train": True}
    assert asked == {"root": str(where), **split}


def test_the_data_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path))
    assert data_root() == tmp_path
    assert data_root(tmp_path / "x") == tmp_path / "x"
    monkeypatch.delenv("WORKBENCH_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if os.name == "posix" and os.uname().sysname == "Linux":
        assert data_root() == tmp_path / "cache" / "adversarial-workbench" / "data"


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (str(self.path),))


def test_a_batch_that_would_run_code_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    write_cifar(folder, pictures(5, 32, 32), [0] * 5, ["a"])
    bomb = pickle.dumps({"data": Bomb(tmp_path / "ran"), "labels": []})
    (folder / "test_batch").write_bytes(bomb)
    with pytest.raises(UsageError, match="mkdir"):
        load_dataset(folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x02}",
        os.urandom(500),
        pickle.dumps([1, 2]),
        pickle.dumps({"labels": [0]}),
        pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [0]}),
        pickle.dumps({"data": np.zeros((1, 10), np.uint8), "labels": [0]}),
        pickle.dumps({"data": np.zeros((1, 3072)), "labels": [0]}),
        pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": [0.5]}),
        pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": [3]}),
    ],
)
def test_damaged_batches_are_named(tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    write_cifar(folder, pictures(5, 32, 32), [0] * 5, ["a"])
    (folder / "test_batch").write_bytes(content)
    with pytest.raises(UsageError, match="cifar-10-batches-py"):
        load_dataset(folder)


@pytest.mark.parametrize("cut", [0, 20, 200, 3000])
def test_a_damaged_svhn_file_is_named(tmp_path: Path, cut: int) -> None:
    content = {"X": pictures(32, 32, 3, 3), "y": np.array([[1], [2], [3]], np.uint8)}
    savemat(tmp_path / "test_32x32.mat", content, do_compression=True)
    whole = (tmp_path / "test_32x32.mat").read_bytes()
    (tmp_path / "test_32x32.mat").write_bytes(whole[:cut])
    with pytest.raises(UsageError, match="not the test file of SVHN"):
        load_dataset("svhn", root=tmp_path)


def test_a_missing_training_batch_is_said(tmp_path: Path) -> None:
    write_cifar(tmp_path / "c", pictures(5, 32, 32), [0] * 5, ["a"])
    (tmp_path / "c" / "data_batch_3").unlink()
    with pytest.raises(UsageError, match="4 of the 5"):
        load_dataset(tmp_path / "c", split="train")
