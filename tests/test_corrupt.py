"""The contract that every corruption keeps, whatever it does to an image."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attacks.corruptions import (
    CORRUPTIONS,
    EXTRA,
    SEVERITIES,
    SIZES,
    STANDARD,
    corrupt,
    strength_size,
)
from attacks.draws import image_seeds

NAMES = list(CORRUPTIONS)
OFFICIAL = [
    "gaussian_noise", "shot_noise", "impulse_noise",
    "defocus_blur", "glass_blur", "motion_blur", "zoom_blur",
    "snow", "frost", "fog", "brightness",
    "contrast", "elastic_transform", "pixelate", "jpeg_compression",
    "speckle_noise", "gaussian_blur", "spatter", "saturate",
]  # fmt: skip
DETERMINISTIC = {
    "defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression",
    "gaussian_blur", "saturate",
}  # fmt: skip


def pictures(count, channels=3, height=32, width=32, seed=0):
    """Smooth random fields with an edge and some grain: uint8 (N, C, H, W)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    waves = rng.uniform(1, 9, (count, channels, 2, 1, 1))
    smooth = np.sin(waves[:, :, 0] * x + waves[:, :, 1] * y + rng.uniform(0, 6, (count, 1, 1, 1)))
    edge = (x > rng.uniform(0.2, 0.8, (count, 1, 1, 1))) * rng.uniform(-60, 60, (count, 1, 1, 1))
    grain = rng.normal(0, 4, (count, channels, height, width))
    return torch.from_numpy(np.clip(120 + 70 * smooth + edge + grain, 0, 255).astype(np.uint8))


def seeds(count, seed=0):
    return image_seeds(seed, torch.arange(count))


def test_the_names_and_their_order_are_the_published_ones():
    assert NAMES == OFFICIAL
    assert list(STANDARD) + list(EXTRA) == OFFICIAL
    assert len(STANDARD) == 15


def test_the_random_ones_are_the_eleven_of_the_literature():
    assert {name for name, each in CORRUPTIONS.items() if each.draw is None} == DETERMINISTIC


def test_every_size_has_five_strengths():
    for corruption in CORRUPTIONS.values():
        assert set(corruption.strengths) == set(SIZES)
        assert all(len(each) == len(SEVERITIES) for each in corruption.strengths.values())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("exact", [False, True])
def test_an_image_depends_on_itself_alone(name, exact):
    """Bitwise: neighbours, batch size and order change nothing."""
    images, own = pictures(9), seeds(9)
    whole = corrupt(images, CORRUPTIONS[name], 3, seeds=own, exact=exact)
    order = torch.tensor([7, 2, 2, 5])
    some = corrupt(images[order], CORRUPTIONS[name], 3, seeds=own[order], exact=exact)
    one = corrupt(images[5:6], CORRUPTIONS[name], 3, seeds=own[5:6], exact=exact)
    many = corrupt(
        images.repeat(40, 1, 1, 1), CORRUPTIONS[name], 3, seeds=own.repeat(40), exact=exact
    )
    assert torch.equal(some, whole[order])
    assert torch.equal(one, whole[5:6])
    assert torch.equal(many[-9:], whole)


@pytest.mark.parametrize("name", NAMES)
def test_images_of_any_shape_stay_images_and_arguments_stay_as_they_were(name):
    shapes = [(3, 32, 32), (1, 28, 28), (3, 16, 16), (3, 40, 64), (1, 33, 19), (3, 64, 64)]
    for (channels, height, width), severity in itertools.product(shapes, (1, 5)):
        images = pictures(2, channels, height, width)
        before = images.clone()
        result = corrupt(images, CORRUPTIONS[name], severity, seeds=seeds(2))
        assert result.shape == images.shape
        assert result.dtype == torch.uint8
        assert torch.equal(images, before)
        colourless = name == "saturate" and channels == 1
        assert not torch.equal(result, images) or colourless or name in {"pixelate", "defocus_blur"}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", SIZES)
def test_any_strength_can_be_forced_on_any_image(name, size):
    for severity in SEVERITIES:
        result = corrupt(pictures(2), CORRUPTIONS[name], severity, seeds=seeds(2), strengths=size)
        assert result.shape == (2, 3, 32, 32)


@pytest.mark.parametrize("name", NAMES)
def test_floats_in_floats_out_on_the_grid_of_8_bits(name):
    images = pictures(3)
    bytes_out = corrupt(images, CORRUPTIONS[name], 2, seeds=seeds(3))
    floats_out = corrupt(images.float() / 255, CORRUPTIONS[name], 2, seeds=seeds(3))
    assert floats_out.dtype == torch.float32
    assert torch.equal(floats_out, bytes_out.float() / 255)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in DETERMINISTIC])
def test_draws_differ_by_seed_and_by_severity_and_repeat(name):
    corruption, images = CORRUPTIONS[name], pictures(4)
    first = corrupt(images, corruption, 5, seeds=seeds(4, 1))
    assert torch.equal(first, corrupt(images, corruption, 5, seeds=seeds(4, 1)))
    assert not torch.equal(first, corrupt(images, corruption, 5, seeds=seeds(4, 2)))
    same = images[:1].expand(4, -1, -1, -1)
    apart = corrupt(same, corruption, 5, seeds=seeds(4))
    assert len({tuple(image.flatten().tolist()) for image in apart}) > 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [0, 255, 127])
def test_flat_images_are_corrupted_without_trouble(name, value):
    images = torch.full((2, 3, 32, 32), value, dtype=torch.uint8)
    for severity in SEVERITIES:
        fast = corrupt(images, CORRUPTIONS[name], severity, seeds=seeds(2))
        exact = corrupt(images, CORRUPTIONS[name], severity, seeds=seeds(2), exact=True)
        assert fast.shape == exact.shape == images.shape


@settings(max_examples=60)
@given(
    name=st.sampled_from(NAMES),
    severity=st.sampled_from(SEVERITIES),
    size=st.tuples(st.integers(16, 72), st.integers(16, 72)),
    channels=st.sampled_from([1, 3]),
)
def test_the_fast_path_stays_near_the_exact_one(name, severity, size, channels):
    """On any shape; how near each stays is stated and tested with its family."""
    images = pictures(2, channels, *size)
    fast = corrupt(images, CORRUPTIONS[name], severity, seeds=seeds(2)).short()
    exact = corrupt(images, CORRUPTIONS[name], severity, seeds=seeds(2), exact=True).short()
    near = ((fast - exact).abs() <= 1).float().mean()
    # Spatter finds edges: where rounding moves one, its surroundings move with it.
    assert near > (0.9 if name == "spatter" else 0.999)


def test_bad_arguments_are_told():
    images, noise = pictures(2), CORRUPTIONS["gaussian_noise"]
    for severity in (0, 6, -1):
        with pytest.raises(ValueError, match=f"1, 2, 3, 4 or 5, not {severity}"):
            corrupt(images, noise, severity, seeds=seeds(2))
    with pytest.raises(ValueError, match="is random: give one seed per image"):
        corrupt(images, noise, 1)
    with pytest.raises(ValueError, match="one int64 seed per image"):
        corrupt(images, noise, 1, seeds=seeds(3))
    with pytest.raises(ValueError, match="32, 64 or 224 pixels, not of 28"):
        corrupt(images, noise, 1, seeds=seeds(2), strengths=28)
    with pytest.raises(ValueError, match="too small"):
        corrupt(images[..., :12], noise, 1, seeds=seeds(2))
    with pytest.raises(ValueError, match=r"run from 0 to 2\b"):
        corrupt(torch.linspace(0, 2, 3 * 32 * 32).reshape(1, 3, 32, 32), noise, 1, seeds=seeds(1))
    with pytest.raises(ValueError, match="C 1 or 3"):
        corrupt(torch.zeros(2, 4, 32, 32), noise, 1, seeds=seeds(2))
    with pytest.raises(ValueError, match="uint8, or floats"):
        corrupt(images.long(), noise, 1, seeds=seeds(2))


def test_no_images_are_no_trouble():
    empty = torch.zeros(0, 3, 32, 32)
    for corruption in CORRUPTIONS.values():
        assert corrupt(empty, corruption, 1, seeds=seeds(0)).shape == (0, 3, 32, 32)


def test_the_nearest_strengths_in_ratio_are_chosen_by_the_shorter_side():
    # sqrt(32 * 64) = 45.3 and sqrt(64 * 224) = 119.7 lie between the published sizes.
    assert [strength_size(45, 400), strength_size(46, 46), strength_size(119, 119)] == [32, 64, 64]
    assert strength_size(120, 120) == 224
