"""`workbench corrupt`: what lies on the disk afterwards, and what an interruption leaves."""

import os
import resource
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_case import refused, workbench
from corrupted_case import FAKES, brightened, clean, jpeg_85, put_fakes, write_npz
from data_case import save, seen
from PIL import Image

from attacks.corruptions import CORRUPTIONS, Corruption
from benchmarks.image_sets import read_image_set
from benchmarks.suite import Shard
from workbench.corruptions import make_recipes, stored_corruptions
from workbench.datasets import load_dataset
from workbench.datasets.dataset import image_ids

BOTH = ("--corruptions", "brightness,gaussian_noise")
NAMES = ("zebra", "cat/dog", "ant")  # not in the order of the alphabet, and one no folder's name


@pytest.fixture
def source(tmp_path, monkeypatch):
    """Six images with made-up corruptions of known results; the current folder is empty."""
    put_fakes(monkeypatch)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return write_npz(tmp_path / "data.npz", *clean(), names=NAMES)


def in_memory(data, name, severity, **settings):
    """What `workbench benchmark` would show a model: uint8 (N, H, W, C)."""
    (made,) = make_recipes([name], [severity], **{"seed": 0, **settings})
    shard = Shard(data.ids(), data.images(slice(None)), data.labels)
    found = made(shard, slice(0, len(data)))
    return (found * 255).round().byte().permute(0, 2, 3, 1).numpy()


def test_stacks_are_as_cifar_c_has_them(source):
    done = workbench("corrupt", source, "--layout", "cifar-c", *BOTH, "--output", "C", "--seed", 5)
    assert done.code == 0, done.err
    images, labels = clean()
    found = np.load("C/brightness.npy")
    assert (found.dtype, found.shape) == (np.uint8, (30, 16, 16, 3))
    for severity in range(1, 6):
        block = slice(6 * severity - 6, 6 * severity)
        assert (found[block] == brightened(images, severity)).all()
        noise = in_memory(load_dataset(source), "gaussian_noise", severity, seed=5)
        assert (np.load("C/gaussian_noise.npy")[block] == noise).all()
    assert (np.load("C/labels.npy") == np.tile(labels, 5)).all()
    assert {path.name for path in Path("C").iterdir()} == {
        ".lock", "config.json", "ids.txt", "labels.npy", "brightness.npy", "gaussian_noise.npy",
    }  # fmt: skip


def test_hdf5_holds_the_severities_asked_for_and_says_how_they_were_made(source):
    options = ("--layout", "hdf5", *BOTH, "--severities", "2,4", "--strengths", 64)
    assert workbench("corrupt", source, *options, "--output", "C").code == 0
    images, labels = clean()
    found = read_image_set(Path("C/brightness.h5"))
    assert (found.corruption, found.severities) == ("brightness", (2, 4))
    assert (found.ids == image_ids(images)).all()
    assert (found.labels == labels).all()
    assert found.class_names == NAMES
    assert (found.read(4, 1, 5) == brightened(images, 4, 64)[1:5]).all()
    assert found.description["strengths"] == ["84", "104"]
    noise = in_memory(load_dataset(source), "gaussian_noise", 2, strengths=64)
    assert (read_image_set(Path("C/gaussian_noise.h5")).read(2, 0, 6) == noise).all()


def test_folders_hold_jpeg_files_of_quality_85_as_imagenet_c(source):
    options = ("--layout", "imagenet-c", *BOTH, "--severities", "3")
    assert workbench("corrupt", source, *options, "--output", "C").code == 0
    images, labels = clean()
    folders = ("zebra", "cat-dog", "ant")
    noise = in_memory(load_dataset(source), "gaussian_noise", 3)
    for name, expected in (("brightness", brightened(images, 3)), ("gaussian_noise", noise)):
        for row, label in enumerate(labels):
            path = Path("C", name, "3", folders[label], f"{row:08d}.JPEG")
            assert (np.asarray(Image.open(path)) == jpeg_85(expected[row])).all()
    assert len(list(Path("C/brightness").rglob("*.JPEG"))) == 6
    data = load_dataset("C/brightness/3")  # the classes keep their numbers and names
    assert data.class_names == NAMES
    assert sorted(data.labels) == sorted(labels)
    assert (data.labels == [0, 0, 1, 1, 2, 2]).sum() in (2, 6)


def test_what_the_folders_hold_is_what_jpeg_85_gives_in_memory(source):
    workbench("corrupt", source, "--layout", "imagenet-c", *BOTH, "--severities", 3, "-o", "C")
    data = load_dataset(source)
    for name in ("brightness", "gaussian_noise"):
        (stored,) = stored_corruptions(Path("C"), [name], [3], data)
        shard = Shard(data.ids(), data.images(slice(None)), data.labels)
        found = stored.corrupt(shard, slice(0, 6))
        expected = in_memory(data, name, 3, jpeg85=True)
        assert ((found * 255).round().byte().permute(0, 2, 3, 1).numpy() == expected).all()


@pytest.mark.parametrize("layout", ["cifar-c", "hdf5"])
def test_a_selection_is_paired_with_what_was_written_of_it(layout, source, tmp_path):
    big = write_npz(tmp_path / "big.npz", *clean(30), names=NAMES)
    options = ("--classes", "ant,zebra", "--limit", 7)
    done = workbench("corrupt", big, "--layout", layout, *BOTH, *options, "--output", "C")
    assert done.code == 0, done.err
    data = load_dataset(big, classes="ant,zebra").take(7)
    shard = Shard(data.ids(), data.images(slice(None)), data.labels)
    written = load_dataset("C/gaussian_noise/2")
    assert written.class_names == ("ant", "zebra")
    assert (written.labels == data.labels).all()
    for part in (data, load_dataset(big, classes="ant,zebra").take(3)):
        (stored,) = stored_corruptions(Path("C"), ["gaussian_noise"], [2], part)
        shard = Shard(part.ids(), part.images(slice(None)), part.labels)
        found = stored.corrupt(shard, slice(0, len(part)))
        expected = in_memory(part, "gaussian_noise", 2)
        assert ((found * 255).round().byte().permute(0, 2, 3, 1).numpy() == expected).all()


def test_photographs_keep_their_names_and_wnids(source):
    for wnid in ("n02", "n01"):
        for number in range(2):
            save(Path("photos") / wnid / f"{wnid}_{number}.png", clean(1, side=20 + number)[0][0])
    options = ("--layout", "imagenet-c", "--corruptions", "brightness", "--input-size", 16)
    done = workbench("corrupt", "photos", *options, "--severities", "1,2", "--output", "C")
    assert done.code == 0, done.err
    clean_images = load_dataset("photos", input_size=16)
    for row, path in enumerate(clean_images.pixels.paths):
        found = Image.open(Path("C/brightness/2") / path.parent.name / f"{path.stem}.JPEG")
        expected = brightened(seen(clean_images)[row], 2)
        assert (np.asarray(found) == jpeg_85(expected)).all()
    save(Path("photos") / "n01" / "n01_0.bmp", clean(1, side=20)[0][0])
    refused(workbench("corrupt", "photos", *options, "--output", "D"), "n01/n01_0.JPEG", "hdf5")


def test_grey_images_stay_grey_and_colour_can_be_asked_for(source, tmp_path):
    grey = write_npz(tmp_path / "grey.npz", *clean(channels=1))
    for layout in ("cifar-c", "imagenet-c", "hdf5"):
        options = ("--layout", layout, "--corruptions", "brightness")
        assert workbench("corrupt", grey, *options, "-o", layout).code == 0
        assert load_dataset(f"{layout}/brightness/1").channels == 1
        assert workbench("corrupt", grey, *options, "--channels", 3, "-o", f"{layout}3").code == 0
        assert load_dataset(f"{layout}3/brightness/1").channels == 3


def test_what_is_said_in_words_json_and_quietly(source):
    command = ("corrupt", source, "--layout", "hdf5", *BOTH)
    plan = workbench(*command, "--dry-run", "--json", "-o", "C").document
    assert (plan["parts"], plan["finished"], plan["bytes"]) == (2, 0, 2 * 5 * 6 * 16 * 16 * 3)
    assert not Path("C").exists()
    done = workbench(*command, "--json", "-o", "C").document
    assert done["files"] == ["C/gaussian_noise.h5", "C/brightness.h5"]
    assert (done["images"], done["new"], done["severities"]) == (6, 2, [1, 2, 3, 4, 5])
    assert workbench(*command, "--dry-run", "--quiet", "-o", "C").out == "0\n"
    again = workbench(*command, "-o", "C")
    assert "2 corruptions of 6 images in C, 0 of them new" in again.out
    assert "--data C/gaussian_noise/1" in again.out
    assert workbench(*command, "--quiet").out == "runs/corrupt-data.npz-1\n"


@pytest.mark.parametrize("layout", ["cifar-c", "imagenet-c", "hdf5"])
def test_only_what_is_missing_is_made_again(layout, source):
    command = ("corrupt", source, "--layout", layout, *BOTH, "--output", "C")
    workbench(*command)
    gone = {
        "cifar-c": "gaussian_noise.npy",
        "imagenet-c": "gaussian_noise/4",
        "hdf5": "gaussian_noise.h5",
    }[layout]
    before = {path: path.stat().st_mtime_ns for path in Path("C").rglob("*") if path.is_file()}
    kept = seen(load_dataset("C/gaussian_noise/4"))
    Path("C", gone).rename("gone")
    done = workbench(*command, "--json")
    assert done.document["new"] == 1
    assert (seen(load_dataset("C/gaussian_noise/4")) == kept).all()
    for path, when in before.items():
        assert (
            path.name == ".lock"
            or str(path).startswith(f"C/{gone}")
            or (path.stat().st_mtime_ns == when)
        )


def test_another_configuration_is_refused(source):
    command = ("corrupt", source, "--layout", "hdf5", *BOTH, "--output", "C")
    workbench(*command)
    refused(workbench(*command, "--seed", 1), "seed: 0 there, 1 here")
    refused(workbench(*command, "--limit", 5), "another configuration", "limit")
    refused(workbench(*command, "--exact"), "exact: false there, true here")


class Stopping:
    """A corruption that is interrupted at its n-th call."""

    def __init__(self, inner, nth):
        self.inner, self.left = inner, nth

    def __call__(self, *arguments):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)
        return self.inner(*arguments)


@pytest.mark.parametrize("layout", ["cifar-c", "imagenet-c", "hdf5"])
def test_ctrl_c_keeps_what_is_finished_and_says_how_to_go_on(layout, source, monkeypatch):
    command = ("corrupt", source, "--layout", layout, *BOTH)
    workbench(*command, "--output", "whole")
    last = FAKES[0]
    stopping = Corruption(last.name, last.family, last.strengths, Stopping(last.apply, 3))
    monkeypatch.setitem(CORRUPTIONS, last.name, stopping)
    stopped = workbench(*command, "--output", "C")
    assert stopped.code == 130, stopped.err
    finished = "7 of 10" if layout == "imagenet-c" else "1 of 2"
    assert f"{finished} parts are finished and kept" in stopped.err
    files = {path.relative_to("C").parts[0] for path in Path("C").rglob("*") if path.is_file()}
    assert {name for name in files if name.startswith("gaussian")}
    if layout == "imagenet-c":
        assert sorted(path.name for path in Path("C/brightness").iterdir()) == ["1", "2"]
    else:
        assert not {name for name in files if "brightness" in name}
    line = stopped.err.strip().splitlines()[-1]
    assert line == shlex.join(["workbench", *map(str, command), "--output", "C"])
    monkeypatch.setitem(CORRUPTIONS, last.name, last)
    assert workbench(*shlex.split(line)[1:]).code == 0
    for name in ("brightness", "gaussian_noise"):
        both = [seen(load_dataset(f"{folder}/{name}")) for folder in ("C", "whole")]
        assert (both[0] == both[1]).all()
    assert not list(Path("C").rglob(".*.tmp"))


@pytest.mark.parametrize(
    ("layout", "limit"), [("cifar-c", 100_000), ("imagenet-c", 2_500), ("hdf5", 100_000)]
)
def test_a_full_disk_leaves_nothing_half_written(layout, limit, source, tmp_path):
    images, labels = clean(20, side=64)  # noise: a file of JPEG has over 3 kB
    data = write_npz(tmp_path / "big.npz", images, labels)
    command = ("corrupt", data, "--layout", layout, *BOTH, "--output", "C")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))  # as a disk that is full
    try:
        full = workbench(*command)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    refused(full, "File too large", "parts are finished and kept. Resume with", "--output C")
    there = {path.name for path in Path("C").rglob("*") if path.is_file()}
    assert there <= {".lock", "config.json", "labels.npy", "ids.txt"}
    assert workbench(*command).code == 0
    (stored,) = stored_corruptions(Path("C"), ["brightness"], [1], load_dataset(data))
    shard = Shard(image_ids(images), torch.zeros(20, 3, 64, 64), labels)
    found = (stored.corrupt(shard, slice(0, 20)) * 255).round().permute(0, 2, 3, 1).numpy()
    expected = brightened(images, 1, 64)
    if layout == "imagenet-c":
        expected = np.stack([jpeg_85(image) for image in expected])
    assert (found == expected).all()


def test_a_kill_costs_one_part_at_most(tmp_path):
    """The real thing, in a process of its own, with a corruption that is not made up."""
    images, labels = clean(400, side=32)
    write_npz(tmp_path / "data.npz", images, labels)
    command = ["corrupt", "data.npz", "--layout", "imagenet-c", "--corruptions", "fog,brightness"]
    process = subprocess.Popen(
        [sys.executable, "-m", "workbench", *command, "--output", "C"],
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + 300
        while not (tmp_path / "C" / "fog" / "2").exists():
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    survived = {path: path.stat().st_mtime_ns for path in tmp_path.glob("C/*/[12345]")}
    assert 2 <= len(survived) < 10
    assert all(len(list(path.rglob("*.JPEG"))) == 400 for path in survived)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        assert workbench(*command, "--output", "C").code == 0
    assert len(list(tmp_path.glob("C/*/[12345]"))) == 10
    assert {path: path.stat().st_mtime_ns for path in survived} == survived
    assert not list(tmp_path.glob("C/*/.*"))


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ([], ["--layout", "--sheet"]),
        (["--layout", "hdf5", "--sheet", "a.png"], ["one of them"]),
        (["--layout", "cifar-c", "--severities", "1,2"], ["all five", "hdf5"]),
        (["--layout", "hdf5", "--severities", "0"], ["severities are 1, 2, 3, 4 and 5"]),
        (["--layout", "hdf5", "--severities", "3-1"], ["write the lower one first"]),
        (["--sheet", "nowhere/sheet.png"], ["there is no folder nowhere"]),
        (["--layout", "hdf5", "--corruptions", "brightnes"], ["Did you mean 'brightness'"]),
        (["--layout", "hdf5", "--strengths", "48"], ["32, 64 and 224"]),
        (["--layout", "hdf5", "--frost-textures", "no"], ["no is not a folder"]),
        (["--sheet", "a.jpg"], [".png"]),
        (["--sheet", "a.png", "--output", "C"], ["leave out --output"]),
    ],
)
def test_what_cannot_be_done_is_refused(options, parts, source):
    corruptions = [] if "--corruptions" in options else ["--corruptions", "brightness,frost"]
    refused(workbench("corrupt", source, *corruptions, *options), *parts)
    assert not Path("runs").exists()


def test_images_that_are_too_small_are_refused(source, tmp_path):
    small = write_npz(tmp_path / "small.npz", *clean(side=12))
    refused(workbench("corrupt", small, "--layout", "hdf5", *BOTH), "12x12", "16 pixels")


def test_textures_that_are_too_small_are_refused_before_anything_is_written(source):
    save(Path("frost/small.png"), clean(1, side=70)[0][0])  # 14 pixels at the scale of 32
    options = ("--layout", "hdf5", "--corruptions", "brightness,frost", "--frost-textures", "frost")
    refused(workbench("corrupt", source, *options), "--frost-textures", "14x14", "16x16")
    assert not Path("runs").exists()


def test_what_is_written_can_be_checked_trained_on_and_attacked(source):
    """The readers are those of every verb: here training, which reads both splits."""
    workbench("corrupt", source, "--layout", "cifar-c", *BOTH, "--output", "C")
    options = ("--epochs", 1, "--hold-out", 0, "--device", "cpu", "--output", "net")
    done = workbench("train", "mlp(width=4)", "--data", "C/brightness/2", *options)
    assert done.code == 0, done.err
    checked = workbench("check", "net/model.safetensors", "--data", "C/gaussian_noise", "--json")
    assert checked.document["images"] == 30
    refused(
        workbench("check", "net/model.safetensors", "--data", "C"), "choose", "C/gaussian_noise/1"
    )


def test_a_sheet_shows_every_cell(source, monkeypatch):
    shown = {}

    def save_sheet(path, original, corrupted, severities, title):
        shown.update(original=original, corrupted=corrupted, severities=severities)
        Path(path).write_bytes(b"")

    monkeypatch.setattr("workbench.corruption_sheet.save_sheet", save_sheet)
    picture = clean(1, side=20)[0][0]
    save(Path("picture.png"), picture)
    done = workbench("corrupt", "picture.png", "--sheet", "s.png", *BOTH, "--severities", "1,4")
    assert done.code == 0, done.err
    assert (shown["original"].permute(1, 2, 0).numpy() == picture).all()
    assert list(shown["corrupted"]) == ["gaussian_noise", "brightness"]
    assert tuple(shown["severities"]) == (1, 4)
    for severity, found in zip((1, 4), shown["corrupted"]["brightness"], strict=True):
        assert found.dtype == torch.uint8
        assert (found.permute(1, 2, 0).numpy() == brightened(picture, severity)).all()


def test_a_sheet_of_a_large_photograph_shows_its_centre(source):
    image = Image.new("RGB", (400, 300), (10, 200, 30))
    image.save("large.jpg")
    done = workbench(
        "corrupt", "large.jpg", "--sheet", "s.png", "--corruptions", "brightness", "--json"
    )
    assert done.code == 0, done.err
    assert done.document["size"] == [224, 224]
    with Image.open("s.png") as drawn:
        assert drawn.width > 5 * 50
