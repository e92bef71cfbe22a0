"""The embedded images are the ones the rule in workbench/data/README.md names."""

import hashlib
import struct
import subprocess
import sys
from importlib.resources import files

import numpy as np
import pytest

from workbench.datasets import load_dataset

PIXELS_SHA256 = {  # of the uint8 images in file order, taken from Zalando's own IDX files
    "train": "e1427044c614fabc29feeff0f27e6b68f88a9ee2f2cfe7d783b9157159864883",
    "test": "96315b1732ab731e68b8def3c284f34b605f7deb7a61e683c7d786265c827c83",
}
# The first test images of Fashion-MNIST: the labels 9 2 1 1 6 1 4 6 5 7 as published.
FIRST_ID = 9025890311748068286  # of the first image of the original test file
FIRST_TEST_LABELS = [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]


@pytest.mark.parametrize(("split", "each"), [("train", 1000), ("test", 200)])
def test_balance_shape_and_content(split: str, each: int) -> None:
    data = load_dataset("fashion-mnist-mini", split=split)
    assert np.bincount(data.labels).tolist() == [each] * 10
    assert data.pixels.shape == (10 * each, 28, 28, 1)
    pixels = data.pixels.read(slice(None))
    assert pixels.dtype == np.uint8
    assert hashlib.sha256(pixels.tobytes()).hexdigest() == PIXELS_SHA256[split]
    assert len(set(data.ids().tolist())) == len(data)
    assert not data.open_ended


def test_no_test_image_is_a_training_image() -> None:
    train, test = (load_dataset("fashion-mnist-mini", split=split) for split in ("train", "test"))
    assert not set(train.ids().tolist()) & set(test.ids().tolist())


def test_first_labels_and_names() -> None:
    data = load_dataset("fashion-mnist-mini")
    assert data.labels[:10].tolist() == FIRST_TEST_LABELS
    assert data.class_names == (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
        "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    )  # fmt: skip


def test_an_id_written_in_a_record_stays_what_it_is() -> None:
    data = load_dataset("fashion-mnist-mini")
    image = data.pixels.read(slice(0, 1)).tobytes()
    digest = hashlib.blake2b(struct.pack("<3q", 28, 28, 1) + image, digest_size=8).digest()
    assert data.ids(slice(0, 1)).tolist() == list(struct.unpack("<q", digest)) == [FIRST_ID]


def test_size_and_licence() -> None:
    folder = files("workbench.data")
    assert len((folder / "fashion_mnist_mini.npz").read_bytes()) < 6_000_000
    licence = (folder / "FASHION_MNIST_LICENSE.txt").read_text(encoding="utf-8")
    assert "Copyright © 2017 Zalando SE" in licence
    assert "Permission is hereby granted, free of charge" in licence


def test_loading_is_quick_and_needs_no_torch() -> None:
    code = (
        "import sys, time; from workbench.datasets import load_dataset;"
        "start = time.process_time();"
        "load_dataset('fashion-mnist-mini', split='train');"
        "print(time.process_time() - start, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, has_torch = done.stdout.split()
    assert float(seconds) < 0.5  # of this process alone, however many others there are
    assert has_torch == "False"
