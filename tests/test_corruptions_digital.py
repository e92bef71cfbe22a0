"""Contrast, elastic transform, pixelate, JPEG against the published algorithms, draws injected."""

import hashlib
import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from published import digital as published

from attacks.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from attacks.corruptions.digital import Elastic, ElasticDraws
from attacks.draws import image_seeds

NAMES = [name for name, each in CORRUPTIONS.items() if each.family == "digital"]
PHOTOGRAPHS = Path(importlib.util.find_spec("foolbox").origin).parent / "data"
SHAPES = {"32": (32, 32, 32), "64": (64, 64, 64), "224": (224, 224, 224), "wide": (32, 29, 41)}
"""Whose strengths, height and width."""


def pictures(height, width, rng):
    """Photographs, noise, and a flat image: uint8 (n, height, width, 3)."""
    kind, count = ("cifar10_*.png", 12) if max(height, width) <= 32 else ("imagenet_*.jpg", 2)
    chosen = [
        np.array(Image.open(path).convert("RGB").resize((width, height)))
        for path in sorted(PHOTOGRAPHS.glob(kind))[:count]
    ]
    noise = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    flat = np.broadcast_to(rng.integers(0, 256, 3, dtype=np.uint8), noise.shape)
    return np.stack([*chosen, noise, flat])


def batch(images):
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


def published_draws(name, images, strength, rng):
    draw = getattr(published, f"{name}_draws", None)
    return [None if draw is None else draw(rng, image, strength) for image in images]


def injected(draws):
    if draws[0] is None:
        return None
    fields = [np.stack([each.across, each.down]) for each in draws]
    return ElasticDraws(
        torch.from_numpy(np.stack([each.points for each in draws])),
        torch.from_numpy(np.stack(fields)),
    )


def cases(name, shape, rng):
    """For every severity: images, ours in float64 and float32, and the published; (n, m, 3)."""
    size, height, width = SHAPES[shape]
    corruption = CORRUPTIONS[name]
    for strength in corruption.strengths[size]:
        images = pictures(height, width, rng)
        draws = published_draws(name, images, strength, rng)
        theirs = np.stack(
            [
                getattr(published, name)(image, strength, each)
                for image, each in zip(images, draws, strict=True)
            ]
        )
        exact, fast = (
            corruption.apply(batch(images), strength, injected(draws), dtype)
            for dtype in (torch.float64, torch.float32)
        )
        yield exact.permute(0, 2, 3, 1).numpy(), fast.permute(0, 2, 3, 1).numpy(), theirs


def levels(images, others):
    return np.abs(images.astype(int) - others)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["contrast", "pixelate", "jpeg_compression"])
def test_the_exact_path_gives_the_published_bytes(name, shape):
    for exact, _, theirs in cases(name, shape, np.random.default_rng(0)):
        assert (exact == theirs).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_elastic_transform_is_a_level_from_the_published_in_few_values(shape):
    """OpenCV's weights are float32 and ours float64: 1 value in 2000 of photographs and noise."""
    for exact, _, theirs in cases("elastic_transform", shape, np.random.default_rng(1)):
        assert levels(exact, theirs).max() <= 1
        assert (exact != theirs).mean() < 5e-4
        assert (exact[-1] == theirs[-1]).all()  # flat images stay flat on both sides


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("name", "share"), [("contrast", 2e-5), ("elastic_transform", 2e-3)])
def test_the_fast_path_is_a_level_from_the_exact_one_in_few_values(name, share, shape):
    for exact, fast, _ in cases(name, shape, np.random.default_rng(2)):
        assert levels(fast, exact).max() <= 1
        assert (fast[:-1] != exact[:-1]).mean() < share


def test_a_flat_image_stays_flat_and_is_at_most_a_level_darker_on_the_fast_path():
    """Contrast: published as here, whether the mean's last bit rounds down decides."""
    images = torch.arange(256, dtype=torch.uint8)[:, None, None, None].repeat(1, 3, 32, 32)
    for name in NAMES[:2]:
        fast = corrupt(images, CORRUPTIONS[name], 3, seeds=torch.arange(256))
        assert (fast == fast[:, :, :1, :1]).all()
        assert set((images.int() - fast.int()).unique().tolist()) <= {0, 1}
    assert torch.equal(fast, images)  # elastic transform


def test_contrast_keeps_each_channels_mean():
    images = batch(pictures(32, 32, np.random.default_rng(3)))
    for severity in SEVERITIES:
        paler = corrupt(images, CORRUPTIONS["contrast"], severity)
        # Truncation takes half a level on average, never as much as one.
        lost = images.double().mean((2, 3)) - paler.double().mean((2, 3))
        assert -1e-9 < lost.min() < lost.max() < 1


@pytest.mark.parametrize("name", NAMES)
def test_a_grey_image_is_the_same_in_colour_and_in_grey(name):
    grey = batch(pictures(28, 28, np.random.default_rng(4)))[:, :1]
    seeds = image_seeds(0, torch.arange(len(grey)))
    for severity in SEVERITIES:
        for exact in (False, True):
            alone, coloured = (
                corrupt(images, CORRUPTIONS[name], severity, seeds=seeds, exact=exact)
                for images in (grey, grey.repeat(1, 3, 1, 1))
            )
            assert torch.equal(alone.expand(-1, 3, -1, -1), coloured)


@pytest.mark.parametrize("name", NAMES)
def test_an_image_depends_on_itself_alone(name):
    images = batch(pictures(48, 40, np.random.default_rng(5)))
    seeds = image_seeds(1, torch.arange(len(images)))
    together = corrupt(images, CORRUPTIONS[name], 4, seeds=seeds)
    alone = torch.cat(
        [
            corrupt(images[i : i + 1], CORRUPTIONS[name], 4, seeds=seeds[i : i + 1])
            for i in range(len(images))
        ]
    )
    assert torch.equal(alone, together)


@pytest.mark.parametrize("side", [16, 17, 19, 23])
@pytest.mark.parametrize("size", [32, 64, 224])
def test_every_strength_works_on_the_smallest_images(side, size):
    rng = np.random.default_rng(6)
    images = rng.integers(0, 256, (2, side, side + 9, 3), dtype=np.uint8)
    for name in ("pixelate", "contrast", "elastic_transform"):
        for strength in CORRUPTIONS[name].strengths[size]:
            draws = published_draws(name, images, strength, rng)
            ours = CORRUPTIONS[name].apply(batch(images), strength, injected(draws), torch.float64)
            theirs = np.stack(
                [
                    getattr(published, name)(image, strength, each)
                    for image, each in zip(images, draws, strict=True)
                ]
            )
            allowed = 1 if name == "elastic_transform" else 0
            assert levels(ours.permute(0, 2, 3, 1).numpy(), theirs).max() <= allowed


def test_pixelate_gives_pillows_bytes_at_every_size():
    """Where the sizes' ratio puts a pixel's edge on a box's edge, the last bit decides."""
    rng = np.random.default_rng(7)
    pixelate = CORRUPTIONS["pixelate"]
    scales = {scale for size in (32, 64, 224) for scale in pixelate.strengths[size]}
    for side in (*range(16, 130), 224, 227, 256, 299, 320):
        image = rng.integers(0, 256, (16, side, 3), dtype=np.uint8)
        for scale in scales:
            ours = pixelate.apply(batch(image[None]), scale, None, torch.float32)[0]
            assert (ours.permute(1, 2, 0).numpy() == published.pixelate(image, scale)).all()


def test_elastic_draws_are_uniform_from_minus_one_to_one():
    draw = CORRUPTIONS["elastic_transform"].draw
    points, fields = draw(image_seeds(0, torch.arange(300)), (3, 16, 20), Elastic(1, 1, 1))
    assert points.shape == (300, 3, 2)
    assert fields.shape == (300, 2, 16, 20)
    for values in (points, fields):
        # Five standard errors of the mean, 1/√(3n), and of the variance, √(4/(45n)).
        n = values.numel()
        assert abs(values.mean()) < 5 / (3 * n) ** 0.5
        assert abs(values.double().var() - 1 / 3) < 5 * (4 / (45 * n)) ** 0.5
        assert -1 <= values.min() < -0.99 < 0.99 < values.max() < 1


def test_elastic_moves_its_points_where_the_draws_say():
    """A bright dot at the place that the first point moves to is found at the point."""
    draws = ElasticDraws(torch.tensor([[[0.5, -0.25], [0.0, 0.0], [0.0, 0.0]]]), None)
    image = torch.zeros(1, 1, 64, 64, dtype=torch.uint8)
    # The first point is (32 + 21, 32 + 21), and the map takes it 8·(.5, -.25) = (4, -2) further.
    image[0, 0, 53, 53] = 255
    moved = CORRUPTIONS["elastic_transform"].apply(image, Elastic(0, 0, 8), draws, torch.float64)
    assert divmod(int(moved[0, 0].argmax()), 64) == (51, 57)


def test_elastic_fields_move_across_and_down():
    """A field of ones moves all by alpha: what is 5 to the right and 5 below comes to a place."""
    draws = ElasticDraws(torch.zeros(1, 3, 2), torch.ones(1, 2, 32, 32))
    image = torch.zeros(1, 1, 32, 32, dtype=torch.uint8)
    image[0, 0, 20, 15] = 255
    for dtype in (torch.float64, torch.float32):
        moved = CORRUPTIONS["elastic_transform"].apply(image, Elastic(5, 3, 0), draws, dtype)
        assert moved[0, 0, 15, 10] >= 254
        assert moved.sum() == moved[0, 0, 15, 10]


def test_the_bytes_stay_what_they_were():
    """Digests taken where the published algorithms agreed."""
    rows, columns = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    image = torch.stack([rows * columns % 256, rows * 7 % 256, columns * 5 % 256])[None]
    found = {
        name: hashlib.sha256(
            corrupt(image.to(torch.uint8), CORRUPTIONS[name], 3, exact=True).numpy().tobytes()
        ).hexdigest()[:16]
        for name in ("contrast", "pixelate", "jpeg_compression")
    }
    assert found == {
        "contrast": "ab5a56355693bdb6",
        "pixelate": "55b6f358d2274582",
        "jpeg_compression": "b5a586f20c30e134",
    }
