"""JPEG in tensor operations against Pillow: the same bytes, for every quality and size."""

import hashlib
import importlib.util
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from attacks.corruptions.jpeg import jpeg

PHOTOGRAPHS = sorted(
    (Path(importlib.util.find_spec("foolbox").origin).parent / "data").glob("imagenet_*.jpg")
)


def saved_and_loaded(image, quality):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file))


def pictures(height, width, rng):
    """Uint8 (6, height, width, 3): shrunk and cut photographs, and what strains a codec."""
    photograph = Image.open(PHOTOGRAPHS[rng.integers(len(PHOTOGRAPHS))]).convert("RGB")
    top, left = rng.integers(0, 512 - height), rng.integers(0, 512 - width)
    rows, columns = np.mgrid[:height, :width]
    boards = [(rows // (k + 1) + columns // (k + 2)) % 2 * 255 for k in range(3)]
    images = [
        photograph.resize((width, height)),
        photograph.crop((left, top, left + width, top + height)),
        rng.integers(0, 256, (height, width, 3)),
        rng.integers(0, 2, (height, width, 3)) * 255,
        np.stack(boards, -1),
        np.broadcast_to(rng.integers(0, 256, 3), (height, width, 3)),
    ]
    return np.stack([np.asarray(image).astype(np.uint8) for image in images])


def batch(images):
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


def differing(height, width, quality, rng):
    """How many values of colour and of grey images differ from Pillow's."""
    images = pictures(height, width, rng)
    ours = jpeg(batch(images), quality).permute(0, 2, 3, 1).numpy()
    theirs = np.stack([saved_and_loaded(image, quality) for image in images])
    grey = jpeg(batch(images)[:, 1:2], quality)[:, 0].numpy()
    grey_theirs = np.stack([saved_and_loaded(image[:, :, 1], quality) for image in images])
    return int((ours != theirs).sum()), int((grey != grey_theirs).sum())


@pytest.mark.parametrize("size", [(32, 32), (28, 28), (33, 45)])
def test_every_quality_gives_pillows_bytes(size):
    rng = np.random.default_rng(0)
    found = {quality: differing(*size, quality, rng) for quality in range(1, 101)}
    assert found == dict.fromkeys(range(1, 101), (0, 0))


def test_every_remainder_of_the_blocks_gives_pillows_bytes():
    rng = np.random.default_rng(1)
    sides = range(16, 33)
    sizes = [size for side in sides for size in ((side, 21), (22, side), (side, side), (side, 47))]
    found = {size: differing(*size, int(rng.integers(1, 101)), rng) for size in sizes}
    assert found == dict.fromkeys(sizes, (0, 0))


@pytest.mark.parametrize("size", [(224, 224), (64, 64), (299, 227), (500, 333)])
def test_large_images_give_pillows_bytes(size):
    rng = np.random.default_rng(2)
    for quality in (7, 25, 85):
        assert differing(*size, quality, rng) == (0, 0)


def test_tiny_images_give_pillows_bytes():
    rng = np.random.default_rng(3)
    sizes = [(height, width) for height in (1, 2, 7, 9) for width in (1, 2, 3, 4, 5, 8, 11)]
    found = {size: differing(*size, 60, rng) for size in sizes}
    assert found == dict.fromkeys(sizes, (0, 0))


def test_every_shade_of_a_flat_image_gives_pillows_bytes():
    """The corners of the colour cube are where a rounding would leave 8 bits."""
    levels = np.array([0, 1, 64, 127, 128, 254, 255])
    colours = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(-1, 1, 1, 3)
    images = np.broadcast_to(colours, (len(colours), 16, 16, 3)).astype(np.uint8)
    ours = jpeg(batch(images), 100).permute(0, 2, 3, 1).numpy()
    assert (ours == np.stack([saved_and_loaded(image, 100) for image in images])).all()


def test_a_grey_image_is_the_same_in_colour_and_in_grey():
    grey = batch(pictures(37, 50, np.random.default_rng(4)))[:, :1]
    assert torch.equal(jpeg(grey.expand(-1, 3, -1, -1), 30), jpeg(grey, 30).expand(-1, 3, -1, -1))


def test_an_image_depends_on_itself_alone_and_not_on_its_layout_in_memory():
    images = batch(pictures(40, 24, np.random.default_rng(5)))
    together = jpeg(images, 20)
    turned = images.contiguous(memory_format=torch.channels_last)
    before = images.clone()
    assert torch.equal(torch.cat([jpeg(image[None], 20) for image in images]), together)
    assert torch.equal(jpeg(turned, 20), together)
    assert torch.equal(jpeg(images.mT[:, :1], 20), jpeg(images.mT[:, :1].contiguous(), 20))
    assert torch.equal(images, before)


def test_the_bytes_stay_what_they_were():
    """Of a picture that no library made; the digest was taken where Pillow agreed."""
    rows, columns = torch.meshgrid(torch.arange(30), torch.arange(44), indexing="ij")
    image = torch.stack([rows * columns % 256, rows * 7 % 256, columns * 5 % 256])[None]
    image = image.to(torch.uint8)
    assert (
        jpeg(image, 40)[0].permute(1, 2, 0).numpy()
        == saved_and_loaded(image[0].permute(1, 2, 0).numpy(), 40)
    ).all()
    digest = hashlib.sha256(jpeg(image, 40).numpy().tobytes()).hexdigest()
    assert digest[:16] == "bad95bb1887b9b1b"


@pytest.mark.parametrize("quality", [0, 101])
def test_a_quality_that_is_none_is_refused(quality):
    with pytest.raises(ValueError, match="1 to 100"):
        jpeg(torch.zeros(1, 3, 16, 16, dtype=torch.uint8), quality)
