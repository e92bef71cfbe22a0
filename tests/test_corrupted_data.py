"""Sets of corrupted images, as they are released and as we write them, read wherever data are."""

import shutil
import tracemalloc

import h5py
import numpy as np
import PIL
import pytest
import torch
import xarray
from corrupted_case import clean, write_cifar_c, write_imagenet_c, write_npz
from data_case import save, seen

from benchmarks.image_sets import read_image_set, write_image_set
from benchmarks.suite import Shard
from workbench.corruptions import stored_corruptions
from workbench.datasets import load_dataset, select
from workbench.datasets.dataset import image_ids
from workbench.errors import UsageError

WNIDS = ("n02", "n01", "n10")
STEMS = {"n02": ["val_3", "val_1"], "n01": ["val_2"], "n10": ["val_4", "val_0"]}


def stored(images, severity, number):
    """What `write_cifar_c` puts at a severity of the name of that number."""
    return images + np.uint8(40 * severity + number)


@pytest.fixture
def cifar_c(tmp_path):
    images, labels = clean(20, side=32, classes=10)
    write_npz(tmp_path / "clean.npz", images, labels)
    return write_cifar_c(tmp_path / "CIFAR-10-C", images, labels), images, labels


def write_hdf5(path, images, labels, severities=(2, 5), number=0, blocks=None):
    """A set like ours: image i at severity s is the clean one plus 40 s + the number."""
    blocks = blocks or (
        (index, start, stored(images[start : start + 4], severity, number))
        for index, severity in enumerate(severities)
        for start in range(0, len(images), 4)
    )
    path.parent.mkdir(exist_ok=True)
    write_image_set(
        path,
        blocks,
        corruption=path.stem,
        severities=severities,
        image_shape=images.shape[1:],
        ids=image_ids(images),
        labels=labels,
        class_names=("a", "b", "c"),
        description={"seed": 0},
    )
    return path


@pytest.mark.parametrize("once", [False, True], ids=["labels five times", "labels once"])
def test_a_severity_of_a_stack_is_its_block(once, tmp_path):
    images, labels = clean(20, side=32, classes=10)
    folder = write_cifar_c(tmp_path / "CIFAR-10-C", images, labels, once=once)
    for severity in (1, 3, 5):
        data = load_dataset(f"{folder}/fog/{severity}")
        assert (seen(data) == stored(images, severity, 1)).all()
        assert (data.labels == labels).all()
        assert data.name == f"CIFAR-10-C/fog/{severity}"


@pytest.mark.parametrize("path", ["gaussian_noise", "gaussian_noise.npy"])
def test_without_a_severity_all_are_read(path, cifar_c):
    folder, images, labels = cifar_c
    data = load_dataset(folder / path)
    expected = np.concatenate([stored(images, severity, 0) for severity in range(1, 6)])
    assert (seen(data) == expected).all()
    assert (data.labels == np.tile(labels, 5)).all()
    assert (data.ids() == image_ids(expected)).all()
    part = select(data, "3,7").take(3)
    assert (part.labels == [0, 0, 1]).sum() >= 2
    assert (seen(part) == expected[np.isin(image_ids(expected), part.ids())]).all()


def test_ten_classes_of_32_pixels_are_taken_for_cifar_10s_and_that_is_said(cifar_c, tmp_path):
    folder, images, labels = cifar_c
    data = load_dataset(folder / "fog" / "1")
    assert data.class_names[:4] == ("airplane", "automobile", "bird", "cat")
    assert any("CIFAR-10" in notice for notice in data.notices)
    other = write_cifar_c(tmp_path / "other", images, labels // 2)
    data = load_dataset(other / "fog" / "1")
    assert (data.class_names, data.classes, data.open_ended) == (None, 5, True)


def test_a_stack_as_grey(cifar_c):
    folder, images, _ = cifar_c
    data = load_dataset(folder / "fog" / "2", channels=1)
    red, green, blue = np.moveaxis(stored(images, 2, 1).astype(float), -1, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    assert np.abs(seen(data)[..., 0] - luma).max() <= 1
    assert data.subset(np.array([3])).channels == 1


def test_reading_rows_does_not_read_the_file(tmp_path):
    images, labels = clean(2000, side=32, classes=10)
    folder = write_cifar_c(tmp_path / "set", images, labels, names=("fog",))
    tracemalloc.start()
    data = load_dataset(folder / "fog").take(50)
    data.images(slice(None))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000 < (folder / "fog.npy").stat().st_size / 6


@pytest.mark.parametrize("layout", ["stacks", "tree", "hdf5"])
def test_a_whole_set_is_refused_with_what_to_choose(layout, cifar_c, tmp_path):
    folder, images, labels = cifar_c
    if layout == "tree":
        folder = tmp_path / "ImageNet-C"
        write_imagenet_c(folder, WNIDS, STEMS, side=16)
    if layout == "hdf5":
        folder = write_hdf5(tmp_path / "sets" / "fog.h5", images, labels % 3).parent
    with pytest.raises(UsageError, match=rf"choose .* such as {folder}/\w+/[12]\."):
        load_dataset(folder)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("fogg/1", "no corruption 'fogg'. Did you mean 'fog'"),
        ("fogg.npy", "Did you mean 'fog'"),
        ("fog/6", "no severity 6 of fog; it has 1, 2, 3, 4, 5"),
        ("fog/0", "no severity 0"),
    ],
)
def test_what_a_set_lacks_is_said(path, message, cifar_c):
    with pytest.raises(UsageError, match=message):
        load_dataset(cifar_c[0] / path)


def damage_short(folder):
    path = folder / "fog.npy"
    path.write_bytes(path.read_bytes()[:-1])


def damage_floats(folder):
    np.save(folder / "fog.npy", np.zeros((5, 2, 2, 3)))


def damage_header(folder):
    (folder / "fog.npy").write_bytes(b"\x93NUMPY\x01\x00")


def damage_labels(folder):
    np.save(folder / "labels.npy", np.zeros(7, np.int64))


def damage_order(folder):
    np.save(folder / "labels.npy", np.arange(100) % 7)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_short, "cut short"),
        (damage_floats, "float64"),
        (damage_header, "cannot be read"),
        (damage_labels, "7 labels for 100 images"),
        (damage_order, "same labels for each severity"),
    ],
)
def test_damaged_stacks_are_refused(damage, message, cifar_c):
    damage(cifar_c[0])
    with pytest.raises(UsageError, match=message):
        load_dataset(cifar_c[0] / "fog" / "1")


@pytest.mark.parametrize("group", ["", "weather"])
def test_a_tree_is_read_as_it_is_in_the_order_of_the_wnids(group, tmp_path):
    pixels = write_imagenet_c(tmp_path / "ImageNet-C" / group, WNIDS, STEMS)
    paths = {tmp_path / "ImageNet-C" / "fog" / "2", tmp_path / "ImageNet-C" / group / "fog" / "2"}
    order = [(wnid, stem) for wnid in sorted(WNIDS) for stem in sorted(STEMS[wnid])]
    for path in paths:
        data = load_dataset(path)
        assert data.at_size(299) is data  # 224 stays 224, whatever a model would like
        assert data.class_names == ("n01", "n02", "n10")
        assert data.labels.tolist() == [0, 1, 1, 2, 2]
        assert (seen(data) == [pixels["fog", 2, *each] for each in order]).all()
    assert len(load_dataset(tmp_path / "ImageNet-C" / "fog")) == 10


def test_an_hdf5_set_is_read(tmp_path):
    images, labels = clean(10)
    path = write_hdf5(tmp_path / "sets" / "fog.h5", images, labels)
    found = read_image_set(path)
    assert (found.severities, found.shape) == ((2, 5), (2, 10, 16, 16, 3))
    both = np.concatenate([stored(images, 2, 0), stored(images, 5, 0)])
    data = load_dataset(tmp_path / "sets" / "fog" / "5")
    assert (seen(data) == stored(images, 5, 0)).all()
    assert data.class_names == ("a", "b", "c")
    for whole in (path, tmp_path / "sets" / "fog"):
        data = load_dataset(whole)
        assert (seen(data) == both).all()
        rows = np.array([13, 2, 9, 10, 11])  # out of order, and over the border of the blocks
        assert (seen(data.subset(rows)) == both[rows]).all()
    with pytest.raises(UsageError, match="no severity 3 of fog; it has 2, 5"):
        load_dataset(tmp_path / "sets" / "fog" / "3")


def test_an_hdf5_set_opens_in_xarray_with_its_axes(tmp_path):
    images, labels = clean(10)
    write_hdf5(tmp_path / "fog.h5", images, labels)
    with xarray.open_dataset(tmp_path / "fog.h5", engine="h5netcdf") as found:
        assert found["images"].dims == ("severity", "example", "height", "width", "channel")
        at_five = found["images"].sel(severity=5)
        assert (at_five.values == stored(images, 5, 0)).all()
        assert (found["label"].values == labels).all()


def test_an_hdf5_set_with_images_of_another_shape_is_refused(tmp_path):
    path = write_hdf5(tmp_path / "fog.h5", *clean(10))
    with h5py.File(path, "r+") as file:
        del file["images"]
        file["images"] = np.zeros((10, 16, 16, 3), np.uint8)  # no axis of severities
    with pytest.raises(ValueError, match="is damaged"):
        read_image_set(path)


def test_an_unfinished_or_damaged_hdf5_set_is_refused(tmp_path):
    images, labels = clean(10)
    path = write_hdf5(tmp_path / "sets" / "fog.h5", images, labels)
    with pytest.raises(ValueError, match="5 of 20 images"):
        write_hdf5(path, images, labels, blocks=[(0, 0, images[:5])])
    assert [each.name for each in path.parent.iterdir()] == ["fog.h5"]
    assert read_image_set(path).severities == (2, 5)  # what was there before
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = bytes(2000)
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"fog\.h5"):
        load_dataset(path).images(slice(None))


def copies(made, data, rows=slice(None)):
    """What a stored corruption gives for rows of a data set, as uint8 (n, H, W, C)."""
    shard = Shard(data.ids(rows), data.images(rows), data.labels[rows])
    found = made.corrupt(shard, rows)
    assert found.dtype == torch.float32
    return (found * 255).round().byte().permute(0, 2, 3, 1).numpy()


def test_a_stack_is_paired_row_by_row_also_with_a_selection(cifar_c, tmp_path):
    folder, images, _ = cifar_c
    whole = load_dataset(tmp_path / "clean.npz")
    for data in (whole, whole.take(7), select(whole, "9,2"), select(whole, "9,2,4").take(3)):
        kept = data.ids()
        expected = images[[int(np.flatnonzero(image_ids(images) == each)[0]) for each in kept]]
        made = stored_corruptions(folder, ["fog", "gaussian_noise"], [1, 4], data)
        assert [(each.corruption, each.severity) for each in made] == [
            ("fog", 1),
            ("fog", 4),
            ("gaussian_noise", 1),
            ("gaussian_noise", 4),
        ]
        assert (copies(made[1], data) == stored(expected, 4, 1)).all()
        assert (copies(made[2], data, slice(1, 3)) == stored(expected[1:3], 1, 0)).all()


def test_without_clean_images_one_cell_of_the_set_stands_for_them(cifar_c):
    folder, images, _ = cifar_c
    data = load_dataset(folder / "gaussian_noise" / "3").take(6)
    (made,) = stored_corruptions(folder, ["fog"], [2], data)
    rows = data.pixels.rows - 40
    assert (copies(made, data) == stored(images[rows], 2, 1)).all()


def test_the_digest_of_a_stack_is_that_of_the_images_that_are_met(cifar_c, tmp_path):
    folder, *_ = cifar_c
    data = load_dataset(tmp_path / "clean.npz")

    def digests(part):
        made = stored_corruptions(folder, ["fog"], [1, 2], part)
        return [each.description["digest"] for each in made]

    before, few = digests(data), digests(data.subset(np.arange(3)))
    assert len({*before, *few}) == 4
    stack = np.load(folder / "fog.npy")
    stack[4, 0, 0, 0] ^= 1
    np.save(folder / "fog.npy", stack)
    assert digests(data)[0] != before[0]
    assert digests(data)[1] == before[1]
    assert digests(data.subset(np.arange(3))) == few


def test_a_stack_of_other_images_is_refused(cifar_c, tmp_path):
    folder, images, labels = cifar_c
    turned = write_npz(tmp_path / "turned.npz", images, np.roll(labels, 3) // 2)
    more = write_npz(tmp_path / "more.npz", *clean(21, side=32, classes=10))
    small = write_npz(tmp_path / "small.npz", images[:, ::2, ::2], labels)
    for path, message in ((turned, "do not agree"), (more, "fewer than"), (small, "16x16")):
        with pytest.raises(UsageError, match=message):
            stored_corruptions(folder, ["fog"], [1], load_dataset(path))


def test_an_hdf5_set_is_paired_by_the_ids(tmp_path):
    images, labels = clean(10)
    order = np.random.default_rng(3).permutation(10)
    for number, name in enumerate(("fog", "snow")):
        turned = order if number else np.arange(10)
        path = tmp_path / "sets" / f"{name}.h5"
        write_hdf5(path, images[turned], labels[turned], number=number)
    data = load_dataset(write_npz(tmp_path / "clean.npz", images, labels)).take(5)
    kept = images[np.isin(image_ids(images), data.ids())]
    fog, snow = stored_corruptions(tmp_path / "sets", ["fog", "snow"], [5], data)
    assert (copies(fog, data) == stored(kept, 5, 0)).all()
    assert (copies(snow, data) == stored(kept, 5, 1)).all()
    other = load_dataset(write_npz(tmp_path / "other.npz", images + np.uint8(1), labels))
    with pytest.raises(UsageError, match=r"10 of 10 images of .* made from other images"):
        stored_corruptions(tmp_path / "sets", ["fog"], [5], other)


def test_files_of_an_hdf5_set_that_hold_other_images_cannot_stand_alone(tmp_path):
    images, labels = clean(6, classes=1)  # the labels do not tell them apart
    for name, turned in (("fog", images), ("frost", images), ("snow", images[::-1])):
        write_hdf5(tmp_path / "sets" / f"{name}.h5", turned, labels)
    data = load_dataset(tmp_path / "sets" / "fog" / "2")
    _, frost = stored_corruptions(tmp_path / "sets", ["fog", "frost"], [5], data)
    assert (copies(frost, data) == stored(images, 5, 0)).all()
    with pytest.raises(UsageError, match=r"snow and fog .* other images"):
        stored_corruptions(tmp_path / "sets", ["fog", "snow"], [5], data)


def test_an_hdf5_file_with_other_images_has_another_digest(tmp_path):
    images, labels = clean(6)
    data = load_dataset(write_npz(tmp_path / "clean.npz", images, labels))
    digests = []
    for made in (images, images // 2):  # the same ids and description
        blocks = [(index, 0, stored(made, severity, 0)) for index, severity in enumerate((2, 5))]
        write_hdf5(tmp_path / "sets" / "fog.h5", images, labels, blocks=blocks)
        (fog,) = stored_corruptions(tmp_path / "sets", ["fog"], [2], data)
        digests.append(fog.description["digest"])
    assert digests[0] != digests[1]


def test_the_same_image_under_two_labels_is_paired_by_its_id(tmp_path):
    images, labels = clean(6)
    images[3] = images[2]
    write_hdf5(tmp_path / "sets" / "fog.h5", images, labels)
    data = load_dataset(write_npz(tmp_path / "clean.npz", images, labels))
    (fog,) = stored_corruptions(tmp_path / "sets", ["fog"], [2], data)
    assert (copies(fog, data) == stored(images, 2, 0)).all()


def test_a_tree_is_paired_by_the_files_names(tmp_path):
    pixels = write_imagenet_c(tmp_path / "C", WNIDS, STEMS, side=32, names=("fog", "snow"))
    for wnid in WNIDS:
        for stem in STEMS[wnid]:
            save(tmp_path / "clean" / wnid / f"{stem}.png", clean(1, side=32)[0][0])
    whole = load_dataset(tmp_path / "clean")
    for data in (whole, select(whole, "n10,n01").take(2)):
        made = stored_corruptions(tmp_path / "C", ["snow", "fog"], [2], data)
        for each in made:
            assert each.description["pillow"] == PIL.__version__  # other decoders, other pixels
            expected = [
                pixels[each.corruption, 2, path.parent.name, path.stem]
                for path in data.pixels.paths
            ]
            assert (copies(each, data) == expected).all()
    mixed = load_dataset(tmp_path / "C" / "fog" / "1")
    assert (copies(stored_corruptions(tmp_path / "C", ["snow"], [1], mixed)[0], mixed)).any()
    shutil.rmtree(tmp_path / "C" / "snow" / "2" / "n10")
    with pytest.raises(UsageError, match=r"lacks n10/val_0\.JPEG"):
        stored_corruptions(tmp_path / "C", ["fog", "snow"], [2], whole)


def test_a_tree_with_the_same_names_in_several_classes_is_paired_by_both(tmp_path):
    stems = {wnid: ["0", "1"] for wnid in WNIDS}
    pixels = write_imagenet_c(tmp_path / "C", WNIDS, stems, side=32)
    for wnid in WNIDS:
        for stem in ("0", "1"):
            save(tmp_path / "clean" / wnid / f"{stem}.png", clean(1, side=32)[0][0])
    data = load_dataset(tmp_path / "clean")
    (made,) = stored_corruptions(tmp_path / "C", ["fog"], [1], data)
    expected = [pixels["fog", 1, path.parent.name, path.stem] for path in data.pixels.paths]
    assert (copies(made, data) == expected).all()


def test_a_tree_of_other_images_is_refused(tmp_path):
    write_imagenet_c(tmp_path / "C", WNIDS, STEMS, side=32)
    for number, wnid in enumerate(WNIDS):
        save(tmp_path / "clean" / wnid / f"other_{number}.png", clean(1, side=32)[0][0])
        save(tmp_path / "moved" / wnid / f"val_{number % 2}.png", clean(1, side=32)[0][0])
    for name, message in (("clean", "other_1"), ("moved", "do not agree|no file")):
        with pytest.raises(UsageError, match=message):
            stored_corruptions(tmp_path / "C", ["fog"], [1], load_dataset(tmp_path / name))


def test_a_folder_that_is_no_set_is_refused(tmp_path):
    data = load_dataset(write_npz(tmp_path / "clean.npz", *clean()))
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(UsageError, match="no set of corrupted images"):
            stored_corruptions(folder, ["fog"], [1], data)


def test_folders_of_digits_are_still_classes(tmp_path):
    for name in ("1", "2", "3"):
        save(tmp_path / "digits" / name / "a.png", clean(1)[0][0])
    assert load_dataset(tmp_path / "digits").class_names == ("1", "2", "3")
