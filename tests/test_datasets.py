"""Every source is read back to the bytes that were written by other means."""

import hashlib
import struct
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from data_case import pictures, save, seen, tiny_imagenet, tree, write_idx
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from torchvision import transforms
from torchvision.datasets import ImageFolder

from workbench.datasets import Dataset, datasets, load_dataset
from workbench.datasets.channels import with_channels
from workbench.datasets.dataset import InMemory, balanced_rows, image_ids

# ids, digests, limits -----------------------------------------------------------------------


def test_an_id_is_blake2b_of_shape_and_pixels() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)
    content = struct.pack("<3q", 2, 2, 3) + bytes(range(12))
    expected = int.from_bytes(
        hashlib.blake2b(content, digest_size=8).digest(), "little", signed=True
    )
    assert image_ids(image).tolist() == [expected]


def test_the_same_bytes_in_another_shape_are_another_image() -> None:
    image = pictures(1, 4, 6, 1)
    assert image_ids(image) != image_ids(image.reshape(1, 6, 4, 1))


@given(hnp.arrays(np.uint8, st.tuples(*[st.integers(1, 5)] * 3, st.sampled_from([1, 3]))))
def test_floats_on_the_grid_have_the_id_of_the_bytes(images: np.ndarray) -> None:
    floats = (images / 255).astype(np.float32)
    assert (image_ids(floats) == image_ids(images)).all()


def test_floats_off_the_grid_have_ids_of_their_own() -> None:
    image = pictures(1).astype(np.float32) / 255 * 0.9 + 0.001
    content = struct.pack("<3q", 5, 7, 3) + image.astype("<f4").tobytes()
    digest = hashlib.blake2b(content, digest_size=8).digest()
    assert image_ids(image).astype("<i8").tobytes() == digest


def test_digest_covers_ids_and_labels_in_order() -> None:
    pixels, labels = InMemory(pictures(3)), np.array([0, 1, 1])
    data = Dataset("d", pixels, labels, 2)
    parts = data.ids().astype("<i8").tobytes() + labels.astype("<i8").tobytes()
    assert data.digest == hashlib.sha256(parts).hexdigest()
    assert data.digest != data.subset(np.array([1, 0, 2])).digest
    assert data.digest != Dataset("d", pixels, np.array([1, 1, 1]), 2).digest


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=60),
    st.integers(1, 60),
    st.integers(0, 2**31),
)
def test_a_limit_takes_every_class_in_turn(labels: list[int], limit: int, seed: int) -> None:
    array = np.array(labels)
    rows = balanced_rows(array, limit, seed)
    assert len(rows) == min(limit, len(labels))
    assert (np.diff(rows) > 0).all()
    have, took = np.bincount(array, minlength=5), np.bincount(array[rows], minlength=5)
    for count, taken in zip(have, took, strict=True):
        assert taken == count or taken >= took.max() - 1
    assert set(balanced_rows(array, max(1, limit // 2), seed)) <= set(rows)


def test_a_limit_is_the_same_on_every_machine_and_follows_the_seed() -> None:
    keys = np.random.PCG64(0).random_raw(1000).tolist()  # a stream numpy promises not to change
    smallest_of_each_class = [min(keys[k::10]) for k in range(10)]
    expected = sorted(keys.index(key) for key in sorted(smallest_of_each_class)[:5])
    labels = np.arange(1000) % 10
    assert balanced_rows(labels, 5, 0).tolist() == expected
    assert balanced_rows(labels, 5, 1).tolist() != expected


def test_images_are_a_copy() -> None:
    data = Dataset("d", InMemory(np.full((1, 2, 2, 1), 0.3, np.float32)), np.array([0]), 1)
    data.images(slice(None)).zero_()
    assert data.images(slice(None)).unique().tolist() == [np.float32(0.3)]


def test_a_shard_is_what_the_runner_takes() -> None:
    data = Dataset("d", InMemory(pictures(6)), np.arange(6), 6)
    shard = data.shard(2, 5)
    assert shard.ids.tolist() == image_ids(data.pixels.read(slice(2, 5))).tolist()
    assert shard.labels.tolist() == [2, 3, 4]
    assert shard.images.shape == (3, 3, 5, 7)


# arrays -------------------------------------------------------------------------------------


@settings(max_examples=20)
@given(hnp.arrays(np.uint8, st.tuples(*[st.integers(1, 4)] * 3, st.sampled_from([1, 3]))))
def test_npz_round_trip(tmp_path_factory: pytest.TempPathFactory, images: np.ndarray) -> None:
    path = tmp_path_factory.mktemp("npz") / "d.npz"
    np.savez(path, images=images, labels=np.arange(len(images), dtype=np.uint8))
    data = load_dataset(path)
    assert (seen(data) == images).all()
    assert data.labels.tolist() == list(range(len(images)))


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.float16])
def test_floats_in_the_unit_range_are_accepted(tmp_path: Path, kind: type) -> None:
    images = (pictures(4) / 255).astype(kind)
    images[0, 0, 0, 0] = -2.98e-8  # what an interpolation leaves behind
    np.savez(tmp_path / "d.npz", images=images, labels=np.zeros(4, int))
    got = load_dataset(tmp_path / "d.npz").images(slice(None))
    expected = torch.from_numpy(images.astype(np.float32)).permute(0, 3, 1, 2).clamp(0, 1)
    assert torch.allclose(got, expected, atol=1e-6, rtol=0)
    assert got.min() >= 0


def test_grey_arrays_need_no_channel_axis_and_names_count_the_classes(tmp_path: Path) -> None:
    images = pictures(2, channels=1)
    np.savez(tmp_path / "d.npz", images=images[..., 0], labels=[1, 0], class_names=["a", "b", "c"])
    data = load_dataset(tmp_path / "d.npz")
    assert data.class_names == ("a", "b", "c")
    assert (data.classes, data.channels, data.size) == (3, 1, (5, 7))
    assert (seen(data) == images).all()


def test_hdf5_with_splits(tmp_path: Path) -> None:
    images = pictures(5)
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["train_images"], file["train_labels"] = images[:3], [0, 1, 2]
        file["test_images"], file["test_labels"] = images[3:], [1, 1]
        file["class_names"] = ["x", "y", "z"]
    assert (seen(load_dataset(tmp_path / "d.h5", split="train")) == images[:3]).all()
    test = load_dataset(tmp_path / "d.h5")
    assert (seen(test) == images[3:]).all()
    assert test.class_names == ("x", "y", "z")


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_folder_and_file(tmp_path: Path, suffix: str) -> None:
    images, labels = pictures(4, channels=1), np.array([3, 0, 2, 1], np.uint8)
    write_idx(tmp_path / f"t10k-images-idx3-ubyte{suffix}", images[..., 0])
    write_idx(tmp_path / f"t10k-labels-idx1-ubyte{suffix}", labels)
    for source in (tmp_path, tmp_path / f"t10k-images-idx3-ubyte{suffix}"):
        data = load_dataset(source)
        assert (seen(data) == images).all()
        assert data.labels.tolist() == [3, 0, 2, 1]


def test_grey_and_colour_convert_as_pillow_does(tmp_path: Path) -> None:
    colour = pictures(3)
    grey = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in colour])
    np.savez(tmp_path / "d.npz", images=colour, labels=[0, 0, 0])
    assert (seen(load_dataset(tmp_path / "d.npz", channels=1))[..., 0] == grey).all()
    again = with_channels(InMemory(grey[..., np.newaxis]), 3).array
    assert (again == grey[..., np.newaxis]).all()
    assert again.shape == colour.shape


# image files --------------------------------------------------------------------------------


def test_a_class_tree_is_read_as_torchvision_reads_it(tmp_path: Path) -> None:
    tree(tmp_path)
    data, reference = load_dataset(tmp_path), ImageFolder(str(tmp_path))
    assert list(data.class_names or ()) == reference.classes
    assert data.labels.tolist() == reference.targets
    expected = np.stack([np.asarray(image) for image, _ in reference])
    assert (seen(data) == expected).all()


def test_split_folders(tmp_path: Path) -> None:
    for split in ("train", "val"):
        tree(tmp_path / split)
    assert (seen(load_dataset(tmp_path)) == seen(load_dataset(tmp_path / "val"))).all()
    assert (
        seen(load_dataset(tmp_path, split="train")) == seen(load_dataset(tmp_path / "train"))
    ).all()
    assert load_dataset(tmp_path).notices == ()


def test_one_tree_for_every_split_is_said(tmp_path: Path) -> None:
    tree(tmp_path)
    assert any("no train and test folders" in notice for notice in load_dataset(tmp_path).notices)


@pytest.mark.parametrize("size", [(60, 40), (40, 60), (37, 91), (20, 20), (41, 40)])
@pytest.mark.parametrize("input_size", [28, 31])
def test_photographs_are_cut_as_torchvision_cuts_them(
    tmp_path: Path, size: tuple[int, int], input_size: int
) -> None:
    save(tmp_path / "a" / "1.png", pictures(1, *size)[0])
    reference = transforms.Compose(
        [transforms.Resize(round(input_size * 256 / 224)), transforms.CenterCrop(input_size)]
    )
    expected = np.asarray(reference(Image.open(tmp_path / "a" / "1.png")))
    assert (seen(load_dataset(tmp_path, input_size=input_size))[0] == expected).all()


def test_photographs_follow_the_model_until_a_size_is_given(tmp_path: Path) -> None:
    save(tmp_path / "a" / "1.png", pictures(1, 150, 200)[0])
    save(tmp_path / "a" / "2.png", pictures(1, 140, 130)[0])
    data = load_dataset(tmp_path)
    assert data.size == (224, 224)
    assert data.at_size(48).size == (48, 48)
    fixed = load_dataset(tmp_path, input_size=32)
    assert fixed.at_size(48).size == (32, 32)
    assert (seen(data.at_size(32)) == seen(fixed)).all()


def test_small_images_keep_their_size(tmp_path: Path) -> None:
    tree(tmp_path)
    assert load_dataset(tmp_path).at_size(224).size == (5, 7)


def test_kinds_of_files_become_eight_bit_colour(tmp_path: Path) -> None:
    colour, grey = pictures(1)[0], pictures(1, channels=1)[0, ..., 0]
    alpha = np.dstack([colour, np.full(grey.shape, 7, np.uint8)])
    sixteen = grey.astype(np.uint16) * 257
    for name, pixels in {"1": colour, "2": grey, "3": alpha, "4": sixteen}.items():
        save(tmp_path / "a" / f"{name}.png", pixels)
    few = Image.fromarray(colour).quantize(35)  # 35 pixels: every one keeps its colour
    few.save(tmp_path / "a" / "5.png")
    got = seen(load_dataset(tmp_path))
    repeated = np.repeat(grey[..., np.newaxis], 3, axis=2)
    expected = [colour, repeated, colour, repeated, np.asarray(few.convert("RGB"))]
    assert (got == np.stack(expected)).all()
    assert load_dataset(tmp_path).notices[-1] == "2 grey files among 5 are read as colour."


def test_the_rotation_in_exif_is_not_applied(tmp_path: Path) -> None:
    image = Image.fromarray(pictures(1)[0])
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "a").mkdir()
    image.save(tmp_path / "a" / "1.png", exif=exif)
    assert (seen(load_dataset(tmp_path))[0] == np.asarray(image)).all()


def test_a_single_image_and_labels_from_file_names(tmp_path: Path) -> None:
    images = pictures(2)
    save(tmp_path / "shot_00_7.png", images[0])
    save(tmp_path / "shot_01_3.png", images[1])
    one = load_dataset(tmp_path / "shot_00_7.png", label=4)
    assert one.labels.tolist() == [4]
    assert one.open_ended
    assert (seen(one) == images[:1]).all()
    for source in (tmp_path, tmp_path / "shot_*.png"):
        assert load_dataset(source, label=r"_(\d+)\.").labels.tolist() == [7, 3]


def test_labels_from_a_table(tmp_path: Path) -> None:
    for name in ("x.png", "y.png"):
        save(tmp_path / name, pictures(1)[0])
    (tmp_path / "labels.csv").write_text("file,index\ny.png,2\nx.png,5\n")
    assert load_dataset(tmp_path).labels.tolist() == [5, 2]


def test_tiny_imagenet(tmp_path: Path) -> None:
    images = tiny_imagenet(tmp_path)
    data = load_dataset(tmp_path)
    assert data.labels.tolist() == [1, 0]
    assert data.class_names == ("goldfish, Carassius", "newt")
    assert data.class_keys == ("n01", "n02")
    assert (seen(data) == images[:2]).all()
    assert load_dataset(tmp_path / "val").digest == data.digest
    train = load_dataset(tmp_path, split="train")
    assert (seen(train) == images[[3, 2]]).all()
    assert (load_dataset(tmp_path / "train", split="train").labels == train.labels).all()


def test_ids_do_not_depend_on_the_file_format(tmp_path: Path) -> None:
    images = pictures(3, 6, 6)
    np.savez(tmp_path / "d.npz", images=images, labels=[0, 0, 0])
    for number, image in enumerate(images):
        save(tmp_path / "tree" / "a" / f"{number}.bmp", image)
    files, array = load_dataset(tmp_path / "tree"), load_dataset(tmp_path / "d.npz")
    assert files.ids().tolist() == array.ids().tolist()
    assert files.ids(np.array([2, 0])).tolist() == array.ids()[[2, 0]].tolist()
    assert files.subset(np.array([1])).ids().tolist() == array.ids()[1:2].tolist()


def test_large_folders_are_decoded_on_demand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree(tmp_path)
    kept = load_dataset(tmp_path)
    monkeypatch.setattr("workbench.datasets.photographs.MEMORY_LIMIT", 0)
    streamed = load_dataset(tmp_path)
    assert streamed.digest == kept.digest
    rows = np.array([4, 1, 1])
    assert (streamed.images(rows) == kept.images(rows)).all()


def test_every_name_has_a_summary() -> None:
    assert set(datasets()) == {
        "fashion-mnist-mini",
        "mnist",
        "fashion-mnist",
        "cifar10",
        "cifar100",
        "svhn",
    }
