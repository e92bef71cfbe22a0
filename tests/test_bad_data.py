"""Bad data end in one or two lines that name the place and the cause."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from data_case import pictures, save, tiny_imagenet, tree, write_idx

from workbench.datasets import load_dataset
from workbench.errors import UsageError


def refused(pattern: str, source: object, **settings: object) -> None:
    """Loading and reading everything is refused, briefly."""
    with pytest.raises(UsageError, match=pattern) as caught:
        _ = load_dataset(str(source), **settings).digest  # type: ignore[arg-type]  # by keyword
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


def npz(tmp_path: Path, images: object, labels: object) -> Path:
    np.savez(tmp_path / "d.npz", images=images, labels=labels)
    return tmp_path / "d.npz"


FLOATS = (pictures(3) / 255).astype(np.float32)


def with_pixel(value: float) -> np.ndarray:
    images = FLOATS.copy()
    images[1, 0, 0, 0] = value
    return images


@pytest.mark.parametrize(
    ("images", "pattern"),
    [
        (with_pixel(np.nan), "NaN or infinity in 1 of 3 images, the first is image 1"),
        (with_pixel(np.inf), "NaN or infinity"),
        (FLOATS * 255, "from 0 to 2.*0 to 255"),
        (FLOATS * 2 - 1, r"scaled to \[-1, 1\]"),
        ((FLOATS - 0.45) / 0.22, "normalised"),
        (FLOATS * 1000, "not from 0 to 1"),
        (pictures(3).astype(np.int64), "uint8"),
        (pictures(3).astype("<U3"), "images are <U3"),
        (pictures(3).transpose(0, 3, 1, 2), "channels-first"),
        (pictures(3, channels=4), "4 channels where 1 or 3"),
        (pictures(1)[0, :, 0], r"shape \(5, 3\)"),
        (pictures(0), "there are no images"),
    ],
)
def test_images(tmp_path: Path, images: np.ndarray, pattern: str) -> None:
    refused(pattern, npz(tmp_path, images, np.zeros(len(images), int)))


@pytest.mark.parametrize(
    ("labels", "pattern"),
    [
        ([0.0, 1.0, 1.0], "labels are float64"),
        ([0, 1], "2 labels for 3 images"),
        ([0, -1, 1], "label -1 of image 1"),
        (np.eye(3, dtype=int), r"shape \(3, 3\)"),
        (["a", "b", "c"], "labels are <U1"),
        ([0, 2**40, 1], "of image 1"),
    ],
)
def test_labels(tmp_path: Path, labels: object, pattern: str) -> None:
    refused(pattern, npz(tmp_path, pictures(3), labels))


def test_labels_beyond_the_named_classes(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", images=pictures(2), labels=[0, 2], class_names=["a", "b"])
    refused("label 2 of image 1 is outside 0 … 1", tmp_path / "d.npz")


@pytest.mark.parametrize("name", ["d.npz", "d.h5", "d.hdf5"])
@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04" + bytes(60)])
def test_files_that_are_not_what_their_names_say(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    refused(name, tmp_path / name)


def test_a_truncated_or_damaged_npz(tmp_path: Path) -> None:
    content = npz(tmp_path, pictures(50), [0] * 50).read_bytes()
    (tmp_path / "short.npz").write_bytes(content[: len(content) // 2])
    refused("short.npz cannot be read", tmp_path / "short.npz")
    middle = len(content) // 2
    (tmp_path / "flip.npz").write_bytes(content[:middle] + b"XYZ" + content[middle + 3 :])
    refused("flip.npz cannot be read", tmp_path / "flip.npz")


def test_pickled_arrays_are_not_read(tmp_path: Path) -> None:
    path = npz(tmp_path, np.array([{"any": "object"}], dtype=object), [0])
    refused("allow_pickle=False", path)


def test_missing_arrays_name_those_that_are_there(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=pictures(1), y=[0])
    refused("no array 'images'; it has x, y", tmp_path / "d.npz")


def test_idx(tmp_path: Path) -> None:
    images = tmp_path / "t10k-images-idx3-ubyte"
    write_idx(images, pictures(3, channels=1)[..., 0])
    refused("t10k-labels-idx1-ubyte.* is missing", images)
    write_idx(tmp_path / "t10k-labels-idx1-ubyte", np.array([0, 1], np.uint8))
    refused("2 labels for 3 images", tmp_path)
    refused("no IDX images for the split 'train'", tmp_path, split="train")
    whole = images.read_bytes()
    for content, pattern in (
        (whole[:-1], "promises 105 bytes"),
        (whole + b"x", "promises 105 bytes"),
        (whole[:9], "truncated"),
        (b"\x00\x00\x0d\x03" + whole[4:], "not an IDX file"),
        (gzip.compress(whole)[:-9], "damaged gzip"),
    ):
        images.write_bytes(content)
        refused(pattern, tmp_path)


def test_several_idx_sets_in_one_folder(tmp_path: Path) -> None:
    for name in ("emnist-letters", "emnist-digits"):
        write_idx(tmp_path / f"{name}-test-images-idx3-ubyte", pictures(1, channels=1)[..., 0])
        write_idx(tmp_path / f"{name}-test-labels-idx1-ubyte", np.zeros(1, np.uint8))
    refused("2 files of test images; give one", tmp_path)
    assert len(load_dataset(tmp_path / "emnist-letters-test-images-idx3-ubyte")) == 1


def test_empty_folders(tmp_path: Path) -> None:
    refused("holds no images", tmp_path)
    (tmp_path / "cat").mkdir()
    refused("holds no images", tmp_path)
    (tmp_path / "cat" / "notes.txt").write_text("no picture")
    refused("holds no images", tmp_path)


def test_an_empty_class_is_said(tmp_path: Path) -> None:
    tree(tmp_path)
    (tmp_path / "aaa").mkdir()
    data = load_dataset(tmp_path)
    assert data.classes == 4
    assert data.labels.min() == 1
    assert "1 class folders" in data.notices[0]


def test_damaged_images_are_named(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / "a" / f"{number}.jpg", pictures(1, 40, 40)[0])
    damaged = tmp_path / "a" / "1.jpg"
    whole = damaged.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"not an image at all"):
        damaged.write_bytes(content)
        refused("1.jpg cannot be decoded", tmp_path)


@pytest.mark.parametrize("suffix", ["png", "bmp", "gif", "tiff", "webp"])
def test_truncated_files_of_every_kind(tmp_path: Path, suffix: str) -> None:
    save(tmp_path / "a" / f"0.{suffix}", pictures(1, 40, 40)[0])
    whole = (tmp_path / "a" / f"0.{suffix}").read_bytes()
    for end in range(1, len(whole) - 60, max(1, len(whole) // 9)):
        (tmp_path / "a" / f"0.{suffix}").write_bytes(whole[:end])
        refused(f"0.{suffix} cannot be decoded", tmp_path)


def test_an_odd_size_hidden_from_the_sample_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree(tmp_path)
    save(tmp_path / "ant" / "1.png", pictures(1, 9, 9)[0])
    monkeypatch.setattr("workbench.datasets.photographs.ALL_HEADERS", 3)
    monkeypatch.setattr("workbench.datasets.photographs.HEADER_SAMPLE", 2)
    refused("1.png is 9x9 where the others are 7x5; give --input-size", tmp_path)


def test_tiny_imagenet(tmp_path: Path) -> None:
    tiny_imagenet(tmp_path)
    annotations = tmp_path / "val" / "val_annotations.txt"
    text = annotations.read_text()
    annotations.write_text(text + "val_9.JPEG\tn01\t0\t0\t1\t1\n")
    refused("lacks 1 annotated images: val_9.JPEG", tmp_path)
    annotations.write_text(text + "val_9.JPEG\tn77\t0\t0\t1\t1\n")
    refused("line 3: 'n77' is not in wnids.txt", tmp_path)
    annotations.unlink()
    refused("val_annotations.txt is missing", tmp_path)


def test_labels_by_hand(tmp_path: Path) -> None:
    save(tmp_path / "x_7.png", pictures(1)[0])
    refused("--label", tmp_path / "x_7.png")
    refused("labels.csv", tmp_path)
    refused("needs a group", tmp_path, label="cat")
    refused("does not fit", tmp_path, label=r"y_(\d+)")
    refused("no class index", tmp_path, label=r"(x)_")
    refused("neither an index nor a pattern", tmp_path, label="(")
    (tmp_path / "labels.csv").write_text("other.png,1\n")
    refused("no label for 1 images: x_7.png", tmp_path)
    (tmp_path / "labels.csv").write_bytes(b"x_7.png,1\n\0\xff\n")
    refused("line 2: not of the form file,index", tmp_path)
    (tmp_path / "labels.csv").write_text("x_7.png,1\nx_8.png,cat\n")
    refused("line 2: 'cat' is no class index", tmp_path)


@pytest.mark.parametrize(
    ("source", "pattern"),
    [
        ("cifar-10", "Did you mean 'cifar10'"),
        ("fashion-mnist-mimi", "Did you mean 'fashion-mnist-mini'"),
        ("qqqq", "Known: fashion-mnist-mini, mnist"),
        ("no/such/folder", "no file or folder no/such/folder"),
        ("nothing.npz", "no file or folder nothing.npz"),
        ("no/such/*.png", "holds no images"),
    ],
)
def test_unknown_names(source: str, pattern: str) -> None:
    refused(pattern, source)


def test_settings(tmp_path: Path) -> None:
    refused("Unknown split 'dev'", "fashion-mnist-mini", split="dev")
    refused("1 or 3 channels, not 2", "fashion-mnist-mini", channels=2)
    refused("this data has a size", "fashion-mnist-mini", input_size=32)
    refused("not a size", "fashion-mnist-mini", input_size=0)
    (tmp_path / "x.txt").write_text("")
    refused("of no known kind", tmp_path / "x.txt")
    for split in ("train", "other"):
        tree(tmp_path / split)
    refused("no folder for the split 'test'; it has train", tmp_path)
    with pytest.raises(UsageError, match="limit of 0"):
        load_dataset("fashion-mnist-mini").take(0)
