"""A photograph's class given by its name."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from cli_case import ARCH, refused, task, workbench, write_checkpoint
from PIL import Image

NAMES = "upper left,upper right,lower left,lower right"


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    images, labels = task(8, seed=3)
    Image.fromarray(images[6]).save(tmp_path / "one.png")
    assert labels[6] == 2
    return tmp_path / "one.png"


def attack(photograph: Path, label: str, *more: str):
    checkpoint = write_checkpoint(photograph.with_name("net.pt"))
    return workbench(
        "attack", checkpoint, *ARCH, "--num-classes", 4, "--channels", 1, "--data", photograph,
        "--label", label, "--attack", "fgsm(eps=4/255)", "--json", "-q",
        "--output", photograph.with_name(f"run-{label.strip()}"), *more,
    )  # fmt: skip


def test_a_name_is_as_good_as_an_index(photograph):
    by_name = attack(photograph, "Lower_left", "--class-names", NAMES)
    by_index = attack(photograph, "2", "--class-names", NAMES)
    assert by_name.code == 0, by_name.err
    assert by_index.code == 0, by_index.err
    found = []
    for name in ("Lower_left", "2"):
        with h5py.File(photograph.with_name(f"run-{name}") / "record.h5") as record:
            found.append([record[f"clean/{part}"][()].tolist() for part in ("label", "loss")])
    assert found[0] == found[1]


def test_a_single_photograph_can_be_attacked_and_kept(photograph):
    assert attack(photograph, "2").code == 0
    with h5py.File(photograph.with_name("run-2") / "record.h5") as record:
        assert record["images/original"].shape[-2:] == (8, 8)


def test_the_record_says_the_index(photograph):
    assert attack(photograph, "lower left", "--class-names", NAMES).code == 0
    with h5py.File(photograph.with_name("run-lower left") / "record.h5") as record:
        assert json.loads(record.attrs["config"])["source"]["label"] == "2"
        assert np.array(record["clean/label"]).tolist() == [[2]]


def test_names_that_are_none_are_refused(photograph):
    refused(attack(photograph, "lower lift", "--class-names", NAMES), "'lower lift'", "lower left")
    refused(attack(photograph, "dog"), "has no class names; give 'dog' as index")
    refused(attack(photograph, "("), "neither an index nor a pattern")


def test_sets_of_classes_are_listed():
    listed = workbench("list", "classes", "--json")
    assert set(listed.document["names"]) == {
        "cifar10", "cifar100", "fashion-mnist", "tiny-imagenet", "imagenet",
    }  # fmt: skip
    one = workbench("list", "classes", "cifar10", "--json").document
    assert one["superclasses"][one["classes"].index("frog")] == "animal"
    refused(workbench("list", "classes", "cifr10"), "Did you mean 'cifar10'?")


def test_images_that_have_labels_take_no_other(photograph, tmp_path):
    images, labels = task(8, seed=3)
    arrays = tmp_path / "data.npz"
    np.savez(arrays, images=images, labels=labels)
    folder = tmp_path / "folder" / "a"
    folder.mkdir(parents=True)
    photograph.rename(folder / "one.png")
    net = write_checkpoint(tmp_path / "net.pt")
    for data in (arrays, folder.parent):
        command = ("attack", net, *ARCH, "--data", data, "--attack", "fgsm", "--label", "1")
        refused(workbench(*command), "--label is for images")
