"""Training images turned, mirrored, sheared, zoomed and shifted."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage, stats

from attacks.affine import affine, resampled
from attacks.draws import image_seeds
from defenses import DEFENSES

geometric = DEFENSES["geometric"]
NOTHING = {"rotate": 0, "flip": 0, "shear": 0, "zoom": 0, "translate": 0}


def seeds(count):
    return image_seeds(0, torch.arange(count))


def labels(count):
    return torch.arange(count)


def smooth(height, width, seed=0):
    """A colour image of soft blobs, (3, H, W) in [0, 1]."""
    noise = np.random.default_rng(seed).random((3, height, width))
    blurred = ndimage.gaussian_filter(noise, (0, 3, 3))
    return (blurred - blurred.min()) / np.ptp(blurred)


def one(value):
    return torch.tensor([float(value)])


def by_scipy(image, angle=0.0, mirrored=False, lean=0.0, factor=1.0, shift=(0.0, 0.0)):
    """The map written as a product of matrices, each in (x, y), inverted by numpy."""
    cos, sin = math.cos(angle), math.sin(angle)
    mirror = np.diag([-1.0 if mirrored else 1.0, 1.0])
    leant = np.array([[1.0, -math.tan(lean)], [0.0, 1.0]])
    turned = np.array([[cos, sin], [-sin, cos]])
    back = np.linalg.inv(turned @ (factor * leant) @ mirror)
    _, height, width = image.shape
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    offset = centre - back @ (centre + np.array(shift) * (width, height))
    swapped, offset = back[::-1, ::-1], offset[::-1]  # scipy counts (y, x)
    return np.stack(
        [
            ndimage.affine_transform(each, swapped, offset, order=1, mode="grid-constant")
            for each in image
        ]
    )


@pytest.mark.parametrize("size", [(32, 32), (24, 40)])
@pytest.mark.parametrize(
    ("angle", "mirrored", "lean", "factor", "shift"),
    [
        (0.3, False, 0.0, 1.0, (0.0, 0.0)),
        (0.0, False, 0.3, 1.0, (0.0, 0.0)),
        (0.0, False, 0.0, 0.8, (0.0, 0.0)),
        (0.0, False, 0.0, 1.0, (0.13, -0.07)),
        (-0.7, True, 0.4, 1.2, (-0.2, 0.1)),
    ],
)
def test_scipys_affine_map_is_the_same(size, angle, mirrored, lean, factor, shift):
    image = smooth(*size)
    linear = affine(one(angle), torch.tensor([mirrored]), one(lean), one(factor))
    found = resampled(torch.from_numpy(image[None]).float(), linear, torch.tensor([shift]))
    expected = by_scipy(image, angle, mirrored, lean, factor, shift)
    # Places are off by 1e-6 of a side at most, and a pixel's neighbour by less than the range.
    np.testing.assert_allclose(found[0].numpy(), expected, atol=1e-4)


def test_pillow_turns_the_same_way():
    image = (smooth(32, 32)[0] * 255).astype(np.uint8)
    expected = Image.fromarray(image).rotate(20, Image.Resampling.BILINEAR)
    linear = affine(one(math.radians(20)), torch.tensor([False]), one(0), one(1))
    given = torch.from_numpy(image).float()[None, None] / 255
    found = (resampled(given, linear, torch.zeros(1, 2))[0, 0] * 255).numpy()
    inside = np.hypot(*np.mgrid[-15.5:16, -15.5:16]) < 14  # Pillow fills outside another way
    difference = np.abs(found - np.asarray(expected, float))[inside]
    assert difference.max() < 2  # of 255: Pillow rounds to levels


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
@pytest.mark.parametrize("mirrored", [False, True])
def test_quarter_turns_and_mirror_images_are_whole_pixels(quarters, mirrored):
    images = torch.rand(1, 3, 31, 31)
    linear = affine(one(quarters * math.pi / 2), torch.tensor([mirrored]), one(0), one(1))
    found = resampled(images, linear, torch.zeros(1, 2))
    expected = torch.rot90(images.flip(3) if mirrored else images, quarters, (2, 3))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_shifts_by_whole_pixels_bring_black_in():
    images = torch.rand(1, 1, 10, 20)
    linear = affine(one(0), torch.tensor([False]), one(0), one(1))
    found = resampled(images, linear, torch.tensor([[0.15, -0.2]]))  # 3 right, 2 up
    expected = torch.zeros_like(images)
    expected[:, :, :8, 3:] = images[:, :, 2:, :-3]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_mirror_images_alone_are_exact_and_as_many_as_asked_for():
    images = torch.rand(1000, 3, 4, 6)
    moved, _ = geometric(**{**NOTHING, "flip": 0.2}).transform(images, labels(1000), seeds(1000))
    mirrored = (moved == images.flip(3)).flatten(1).all(1)
    same = (moved == images).flatten(1).all(1)
    assert bool((mirrored ^ same).all())
    # 200 are expected, with a deviation of 12.6: five of them.
    assert abs(int(mirrored.sum()) - 200) < 63


def centres(images):
    """Where the light of each image is, in pixels from the image's centre: (N, 2), x and y."""
    light = images.sum(1)
    total = light.sum((1, 2))
    y, x = ((torch.arange(side) - (side - 1) / 2).float() for side in light.shape[1:])
    return torch.stack([light.sum(1) @ x, light.sum(2) @ y], 1) / total[:, None]


def spot(count, x, y, side=41):
    """Images with one small soft spot, x right and y down of the centre."""
    rows, columns = np.mgrid[:side, :side] - side // 2
    image = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 4)
    return torch.from_numpy(image).float().expand(count, 1, side, side)


@pytest.mark.parametrize(
    ("name", "limit", "measured"),
    [
        ("rotate", 30.0, lambda x, y: torch.rad2deg(torch.atan2(-y, x))),
        ("zoom", 0.3, lambda x, y: x / 10 - 1),
        ("translate", 0.2, lambda x, y: (x - 10) / 41),
    ],
)
def test_amounts_are_drawn_evenly_between_the_limits(name, limit, measured):
    moved, _ = geometric(**{**NOTHING, name: limit}).transform(
        spot(400, 10, 0), labels(400), seeds(400)
    )
    amounts = measured(*centres(moved).unbind(1)).numpy()
    assert np.abs(amounts).max() <= limit * 1.01  # where the light is, is known to 1 %
    even = stats.uniform(-limit, 2 * limit)
    assert stats.kstest(amounts, even.cdf).pvalue > 1e-3  # by chance once in a thousand draws


def test_lines_lean_by_no_more_than_the_shear():
    moved, _ = geometric(**{**NOTHING, "shear": 20}).transform(
        spot(400, 0, -10), labels(400), seeds(400)
    )
    x, y = centres(moved).unbind(1)
    assert torch.allclose(y, torch.full((400,), -10.0), atol=0.1)
    angles = torch.rad2deg(torch.atan(x / 10)).numpy()
    assert stats.kstest(angles, stats.uniform(-20, 40).cdf).pvalue > 1e-3


def test_an_image_is_moved_alike_in_any_batch():
    images = torch.rand(40, 3, 12, 16)
    defense = geometric(translate=0.1)
    whole, kept = defense.transform(images, labels(40), seeds(40))
    assert torch.equal(kept, labels(40))
    part, _ = defense.transform(images[5:8], labels(3), seeds(40)[5:8])
    torch.testing.assert_close(whole[5:8], part, atol=1e-6, rtol=0)
    assert float(whole.min()) >= 0
    assert float(whole.max()) <= 1


@pytest.mark.parametrize(
    "setting",
    [{"rotate": 181}, {"flip": 1.1}, {"shear": -1}, {"zoom": 1}, {"translate": "far"}],
)
def test_settings_that_cannot_be_are_told(setting):
    with pytest.raises(ValueError, match=f"geometric: {next(iter(setting))}=.* must be from 0 to"):
        geometric(**setting)
