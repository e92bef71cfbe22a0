"""Speckle noise, Gaussian blur, spatter and saturate against the published algorithms."""

import hashlib
import itertools
from pathlib import Path

import cv2
import foolbox
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from published import extra as published
from scipy import ndimage

from attacks.corruptions.edges import canny, chamfer, equalised
from attacks.corruptions.extra import CORRUPTIONS, Saturation
from attacks.corruptions.noise import Normals
from attacks.corruptions.spatter import Mud, SpatterDraws, Water, draw_spatter, sheen

BY_NAME = {corruption.name: corruption for corruption in CORRUPTIONS}
SIZES = (32, 64, 224)
PHOTOGRAPHS = sorted(Path(foolbox.__file__).parent.glob("data/imagenet_*"))


def pictures(size, width=None):
    """Photographs, noise and grey noise as colours: uint8 (N, H, W, 3)."""
    shape = (size, width or size)
    rng = np.random.default_rng(size)
    count = 6 if size < 100 else 2
    images = [
        np.asarray(Image.open(path).convert("RGB").resize(shape[::-1], Image.Resampling.BOX))
        for path in PHOTOGRAPHS[:count]
    ]
    images.append(rng.integers(0, 256, (*shape, 3)).astype(np.uint8))
    images.append(np.repeat(rng.integers(0, 256, (*shape, 1)).astype(np.uint8), 3, axis=2))
    return np.stack(images)


def tensor(images):
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(images, -1, 1)))


def as_published(name, images, strength, draws):
    function = getattr(published, name)
    return np.stack(
        [function(image, strength, draw) for image, draw in zip(images, draws, strict=True)]
    ).astype(int)


def draws_of(name, images, strength, seed=0):
    """Draws by numpy: as the published algorithm takes them, and as ours does."""
    if BY_NAME[name].draw is None:
        return [None] * len(images), None
    rng = np.random.default_rng(seed)
    draws = [getattr(published, f"{name}_draws")(rng, image, strength) for image in images]
    stacked = torch.from_numpy(np.stack(draws))
    if name == "spatter":
        return draws, SpatterDraws(stacked[:, None])
    return draws, Normals(stacked.permute(0, 3, 1, 2))


def ours(name, images, strength, draws, dtype):
    result = BY_NAME[name].apply(tensor(images), strength, draws, dtype)
    return np.moveaxis(result.numpy(), 1, -1).astype(int)


def strengths(sizes=SIZES):
    return [
        pytest.param(name, size, strength, id=f"{name}-{size}-{severity}")
        for name, size in itertools.product(BY_NAME, sizes)
        for severity, strength in enumerate(BY_NAME[name].strengths[size], 1)
    ]


@pytest.mark.parametrize(("name", "size", "strength"), strengths())
def test_the_exact_path_has_the_published_pixels(name, size, strength):
    """None differs; of mud, whose cover is blurred in float32 there, one in 5,000 by a level."""
    images = pictures(size)
    theirs, draws = draws_of(name, images, strength)
    change = np.abs(
        ours(name, images, strength, draws, torch.float64)
        - as_published(name, images, strength, theirs)
    )
    assert change.max() <= isinstance(strength, Mud)
    assert (change > 0).mean() < 2e-4


FAST = {"speckle_noise": 1e-4, "gaussian_blur": 0.002, "spatter": 0.002, "saturate": 0.15}
"""The share of values in which float32 differs from float64, by one level, at most."""


@pytest.mark.parametrize(("name", "size", "strength"), strengths())
def test_the_fast_path_is_a_level_from_the_exact_one_in_few_values(name, size, strength):
    images = pictures(size)
    draws = draws_of(name, images, strength)[1]
    change = np.abs(
        ours(name, images, strength, draws, torch.float32)
        - ours(name, images, strength, draws, torch.float64)
    )
    assert (change > 1).mean() <= (0.001 if isinstance(strength, Water) else 0)
    assert (change > 0).mean() <= FAST[name]


@pytest.mark.parametrize(("name", "size", "strength"), strengths(sizes=(32,)))
@pytest.mark.parametrize("shape", [(48, 20), (17, 39)])
def test_rectangles_too(name, size, strength, shape):
    images = pictures(*shape)
    theirs, draws = draws_of(name, images, strength)
    expected = as_published(name, images, strength, theirs)
    change = np.abs(ours(name, images, strength, draws, torch.float64) - expected)
    assert change.max() <= isinstance(strength, Mud)


@pytest.mark.parametrize("name", BY_NAME)
def test_the_exact_path_of_an_image_does_not_depend_on_the_others(name):
    images = pictures(32)
    for strength in BY_NAME[name].strengths[32]:
        draws = draws_of(name, images, strength)[1]
        whole = ours(name, images, strength, draws, torch.float64)
        part = None if draws is None else type(draws)(draws[0][2:3])
        alone = ours(name, images[2:3], strength, part, torch.float64)
        np.testing.assert_array_equal(alone, whole[2:3])


def test_grey_images_are_one_channel_of_grey_colours():
    grey = pictures(32)[..., :1]
    colours = np.repeat(grey, 3, axis=-1)
    for sd in BY_NAME["gaussian_blur"].strengths[32]:
        blurred = as_published("gaussian_blur", colours, sd, [None] * len(grey))
        result = ours("gaussian_blur", grey, sd, None, torch.float64)
        np.testing.assert_array_equal(result, blurred[..., :1])
    for strength in BY_NAME["saturate"].strengths[32]:
        np.testing.assert_array_equal(ours("saturate", grey, strength, None, torch.float32), grey)


def test_spatter_takes_the_luminance_of_its_colours_on_grey_images():
    """175, 238, 238 and 63, 42, 20, weighed by .299, .587 and .114."""
    black = np.zeros((3, 32, 32, 3), dtype=np.uint8)
    for strength, full in zip(
        BY_NAME["spatter"].strengths[32], [109.5] * 3 + [46] * 2, strict=True
    ):
        draws = draws_of("spatter", black, strength)[1]
        grey = ours("spatter", black[..., :1], strength, draws, torch.float64)
        colour = ours("spatter", black, strength, draws, torch.float64)
        luminance = colour @ [0.299, 0.587, 0.114]
        assert np.abs(grey[..., 0] - luminance).max() < 1.7  # each channel was cut by up to 1
        assert full - 2 <= grey.max() <= full


def test_a_dry_lens_changes_nothing():
    images = pictures(32)
    dry = SpatterDraws(torch.zeros(len(images), 1, 32, 32))
    for strength in BY_NAME["spatter"].strengths[32]:
        np.testing.assert_array_equal(ours("spatter", images, strength, dry, torch.float32), images)


def test_no_saturation_leaves_the_largest_channel():
    images = pictures(32)
    result = ours("saturate", images, Saturation(0, 0), None, torch.float32)
    np.testing.assert_array_equal(result, np.repeat(images.max(-1, keepdims=True), 3, -1))


def test_the_layer_has_the_mean_and_the_deviation_asked_for():
    """Over 40 · 64² values: the mean within 5 standard errors, the deviation within 2 %."""
    strength = Water(0.62, 0.1, 0.7, 0.7, 0.6)
    layer = draw_spatter(torch.arange(40), (3, 64, 64), strength).layer
    assert layer.shape == (40, 1, 64, 64)
    assert float(layer.mean()) == pytest.approx(0.62, abs=5 * 0.1 / np.sqrt(layer.numel()))
    assert float(layer.std()) == pytest.approx(0.1, rel=0.02)


def stack(images):
    return torch.from_numpy(np.stack(images, axis=-1))


def layers(height=40, width=33):
    """8-bit layers with drops, soft blots and noise in them."""
    rng = np.random.default_rng(5)
    found = []
    for number in range(24):
        noise = rng.integers(0, 256, (height, width)).astype(np.uint8)
        soft = cv2.GaussianBlur(noise, (0, 0), 0.6 + 0.2 * (number % 12)).astype(float)
        soft = (soft - soft.min()) / (soft.max() - soft.min()) * 255
        found.append(np.where(soft < 120 * (number % 2), 0, soft).astype(np.uint8))
    return found


def test_edges_are_those_of_opencv():
    images = layers()
    expected = stack([cv2.Canny(image, 50, 150) for image in images]) > 0
    assert 0.02 < expected.float().mean() < 0.5
    assert torch.equal(canny(stack(images).to(torch.int16)), expected)


def test_faint_edges_count_only_where_they_hang_together_with_strong_ones():
    """A step that fades from left to right, vanishes, and comes back too faint to start anew."""
    image = np.zeros((21, 60), dtype=np.uint8)
    image[10:] = np.concatenate([np.linspace(60, 20, 28), np.full(4, 12), np.full(28, 20)])
    found = canny(torch.from_numpy(image)[..., None].to(torch.int16))[..., 0].numpy()
    np.testing.assert_array_equal(found, cv2.Canny(image, 50, 150) > 0)
    # Sobel's masks make four times the step of it: 50 and 150 are steps of 12.5 and 37.5.
    assert found[9:11, :27].any(axis=0).all()
    assert not found[:, 30:].any()


def test_distances_are_those_of_opencv():
    images = [cv2.Canny(image, 50, 150) for image in layers()]
    sparse = [(np.random.default_rng(i).random((40, 33)) < 0.002 * i) * 255 for i in range(8)]
    images += [image.astype(np.uint8) for image in sparse]
    expected = stack([cv2.distanceTransform(255 - each, cv2.DIST_L2, 5) for each in images])
    # OpenCV's order of adding differs between its two passes: by a bit of float32 at most.
    torch.testing.assert_close(
        chamfer(stack(images) > 0), expected.clamp(max=20), rtol=0, atol=4e-6
    )


@settings(max_examples=60)
@given(st.integers(16, 50), st.integers(16, 50), st.floats(0, 0.05), st.integers(0, 2**32 - 1))
def test_distances_are_the_shortest_ways(height, width, share, seed):
    """By the closed form: of each offset, the way of its octant."""
    edges = np.random.default_rng(seed).random((height, width)) < share
    expected = np.full((height, width), 20.0)
    for row, column in zip(*np.nonzero(edges), strict=True):
        down, right = np.abs(np.mgrid[0:height, 0:width] - np.array([row, column])[:, None, None])
        far, near = np.maximum(down, right), np.minimum(down, right)
        knights = np.where(near <= far - near, near, far - near)
        rest = np.where(near <= far - near, far - 2 * near, (2 * near - far) * 1.4)
        expected = np.minimum(expected, knights * 2.1969 + rest)
    found = chamfer(torch.from_numpy(edges)[..., None])[..., 0].numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_ranks_are_those_of_opencv():
    rng = np.random.default_rng(2)
    images = [rng.integers(0, high, (34, 27)).clip(0, 20).astype(np.uint8) for high in (2, 6, 40)]
    # Half a level to be rounded: 675 of 918 values above the lowest, times 255.
    images.append(np.repeat([0, 1, 2, 3, 4, 5], [0, 243, 405, 270, 0, 0]).reshape(34, 27))
    images += [np.full((34, 27), 7), np.full((34, 27), 20)]
    images = [image.astype(np.uint8) for image in images]
    expected = stack([cv2.equalizeHist(image) for image in images])
    assert torch.equal(equalised(stack(images).to(torch.int32)), expected.to(torch.int16))


def test_half_a_level_is_rounded_to_the_even_one():
    counts = [330, 360, 315, 168, 60, 15]  # 675 of 918 above the lowest: 187.5 of 255
    image = np.repeat(np.arange(6, dtype=np.uint8), counts).reshape(26, 48)
    result = equalised(torch.from_numpy(image)[..., None].to(torch.int32))
    assert result.unique().tolist() == np.unique(cv2.equalizeHist(image)).tolist()
    assert 188 in result


def test_the_sheen_is_the_one_of_opencv():
    images = [cv2.Canny(image, 50, 150) for image in layers()]
    images.append(np.zeros_like(images[0]))  # no edge at all
    expected = []
    for edges in images:
        distance = np.minimum(cv2.distanceTransform(255 - edges, cv2.DIST_L2, 5), np.float32(20))
        light = cv2.equalizeHist(cv2.blur(distance, (3, 3)).astype(np.uint8))
        expected.append(cv2.blur(cv2.filter2D(light, cv2.CV_8U, published.RELIEF), (3, 3)))
    assert torch.equal(sheen(stack(images) > 0), stack(expected).float())


def test_neighbours_hang_together_as_in_scipy():
    """Faint edges next to strong ones: against labelled components."""
    image = layers(64, 64)[3]
    found = canny(torch.from_numpy(image)[..., None].to(torch.int16))[..., 0].numpy()
    faint = canny(torch.from_numpy(image)[..., None].to(torch.int16), 50, 50)[..., 0].numpy()
    strong = canny(torch.from_numpy(image)[..., None].to(torch.int16), 150, 150)[..., 0].numpy()
    labels, _ = ndimage.label(faint, np.ones((3, 3)))
    np.testing.assert_array_equal(found, np.isin(labels, np.unique(labels[strong])) & faint)


def test_saturate_gives_the_pixels_it_always_gave():
    levels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, 20, 20)))
    pixels = levels.to(torch.uint8)
    digest = hashlib.sha256()
    for strength in BY_NAME["saturate"].strengths[32]:
        result = BY_NAME["saturate"].apply(pixels, strength, None, torch.float64)
        digest.update(result.numpy().tobytes())
    assert digest.hexdigest()[:16] == "4ba06a550fced312"
