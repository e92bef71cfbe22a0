"""The shared filters against scipy, numpy and, where it is installed, ImageMagick."""

import importlib.util
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from published import blur as published
from scipy import ndimage

from attacks.corruptions.filters import (
    Padding,
    axis_matrix,
    gaussian,
    motion_blur,
    motion_taps,
    padded_positions,
    zoom,
    zoom_span,
)
from attacks.corruptions.separable import apply_separable, separable_sum

SCIPY_MODES = {Padding.EDGE: "nearest", Padding.R101: "mirror", Padding.RHALF: "reflect"}
NUMPY_MODES = {Padding.EDGE: "edge", Padding.R101: "reflect", Padding.RHALF: "symmetric"}


def noise(*shape, seed=0):
    """Whole numbers from 0 to 255, some of them flat areas: there truncation shows last bits."""
    values = np.random.default_rng(seed).integers(0, 256, shape)
    values[..., : shape[-2] // 2, :] = 200
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("padding", Padding)
def test_padding_reflects_as_often_as_it_takes(padding):
    for length in (1, 2, 5):
        samples = np.arange(length)
        expected = np.pad(samples, (13, 17), mode=NUMPY_MODES[padding])
        assert padded_positions(length, 13, 17, padding).tolist() == expected.tolist()


@pytest.mark.parametrize("padding", Padding)
@pytest.mark.parametrize("shape", [(32, 32), (20, 77), (100, 33)])
@pytest.mark.parametrize(("sigma", "truncate"), [(0.1, 4), (0.4, 4), (1.5, 4), (2.44, 3)])
def test_gaussian_in_float64_is_scipys_to_the_last_bit(padding, shape, sigma, truncate):
    values = noise(2, 3, *shape) / 255
    expected = ndimage.gaussian_filter(
        values.numpy(), sigma, axes=(2, 3), mode=SCIPY_MODES[padding], truncate=truncate
    )
    blurred = gaussian(values, sigma, truncate=truncate, padding=padding)
    assert np.array_equal(blurred.numpy(), expected)


@pytest.mark.parametrize("padding", Padding)
@pytest.mark.parametrize("shape", [(32, 32), (20, 77), (100, 133)])
@pytest.mark.parametrize("sigma", [0.1, 0.6, 6, 40])
def test_gaussian_in_float32_differs_by_its_rounding(padding, shape, sigma):
    values = noise(2, 3, *shape)
    expected = ndimage.gaussian_filter(
        values.numpy(), sigma, axes=(2, 3), mode=SCIPY_MODES[padding]
    )
    blurred = gaussian(values.float(), sigma, padding=padding)
    # 6e-8 of 255 for each of a few roundings, some twenty at the widest.
    np.testing.assert_allclose(blurred.numpy(), expected, rtol=0, atol=3e-4)


def test_a_gaussian_wider_than_the_image_reflects_again_and_again():
    values = noise(1, 1, 24, 31) / 255
    expected = ndimage.gaussian_filter(
        values.numpy(), 170.8, axes=(2, 3), mode="reflect", truncate=3
    )
    blurred = gaussian(values, 170.8, truncate=3, padding=Padding.RHALF)
    np.testing.assert_allclose(blurred.numpy(), expected, rtol=0, atol=1e-14)


def test_no_gaussian_at_all():
    values = noise(1, 1, 16, 16)
    assert torch.equal(gaussian(values, 0), values)


@pytest.mark.parametrize("terms", [1, 4])
@pytest.mark.parametrize("shape", [(20, 33), (70, 130)])
def test_a_sum_of_separable_maps_is_that_of_its_matrices(terms, shape):
    generator = torch.Generator().manual_seed(0)
    rows, columns = (
        torch.stack(
            [
                axis_matrix(torch.rand(5 + 2 * term, generator=generator), length, Padding.R101)
                for term in range(terms)
            ]
        )
        for length in shape
    )
    values = torch.rand(2, 3, *shape, generator=generator, dtype=torch.float64)
    expected = torch.einsum("zhi,ncij,zwj->nchw", rows, values, columns)
    made = apply_separable(values, separable_sum(rows, columns, values.dtype, values.device))
    torch.testing.assert_close(made, expected)


def test_motion_looks_along_its_angle():
    offsets, weights = motion_taps(torch.tensor([0.0, 90.0, 180.0, -90.0]), 1.5, 1)
    steps = torch.arange(5)
    still = torch.zeros(5, dtype=torch.int64)
    for angle, (rows, columns) in enumerate(
        [(still, steps), (steps, still), (still, -steps), (-steps, still)]
    ):
        assert offsets[angle].tolist() == torch.stack((rows, columns), dim=1).tolist()
    assert weights[0] / weights[2] == pytest.approx(np.exp(2))
    assert sum(weights) == pytest.approx(1)


ANGLES = np.random.default_rng(1).uniform(-180, 180, 7)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("radius", "sigma"), [(6, 1), (9, 2.5), (20, 15)])
def test_motion_in_float64_is_the_published_formula(radius, sigma, channels):
    values = noise(len(ANGLES), channels, 33, 48)
    strength = SimpleNamespace(radius=radius, sigma=sigma)
    blurred = motion_blur(values, torch.tensor(ANGLES), radius, sigma)
    for image, angle, result in zip(values, ANGLES, blurred, strict=True):
        pixels = image.permute(1, 2, 0).numpy().astype(np.uint8)
        expected = published.motion_blur(pixels, strength, angle)
        assert np.array_equal(result.permute(1, 2, 0).numpy(), expected)


@pytest.mark.parametrize(("radius", "sigma"), [(6, 1), (9, 2.5), (20, 15)])
def test_motion_in_float32_rarely_differs_and_never_by_more_than_a_level(radius, sigma):
    values = noise(len(ANGLES), 3, 64, 64)
    exact = motion_blur(values, torch.tensor(ANGLES), radius, sigma)
    quick = motion_blur(values.float(), torch.tensor(ANGLES), radius, sigma)
    assert (exact - quick).abs().max() <= 1
    assert (exact != quick).double().mean() < 2e-4  # weights are cut where they sum to 1e-6


@pytest.mark.skipif(importlib.util.find_spec("wand") is None, reason="Wand is not installed")
@pytest.mark.parametrize("size", [32, 64, 224])
@pytest.mark.parametrize(("radius", "sigma"), [(6, 1), (10, 2.5), (20, 15)])
def test_the_published_formula_is_what_imagemagick_does(radius, sigma, size):
    image = noise(size, size, 3).numpy().astype(np.uint8)
    strength = SimpleNamespace(radius=radius, sigma=sigma)
    for angle in ANGLES:
        expected = published.motion_blur_by_imagemagick(image, strength, angle)
        assert np.array_equal(published.motion_blur(image, strength, angle), expected)


@pytest.mark.parametrize("shape", [(32, 32), (224, 224), (65, 90)])
@pytest.mark.parametrize("factor", [1, 1.01, 1.12, 1.25, 1.75, 2.25, 4.5])
def test_zoom_is_scipys_between_the_same_cuts(shape, factor):
    values = noise(1, 2, *shape) / 255
    (top, rows, _, _), (left, columns, _, _) = (zoom_span(side, factor) for side in shape)
    seen = values[0, :, top : top + rows, left : left + columns].numpy()
    large = ndimage.zoom(seen, (1, factor, factor), order=1)
    top, left = ((large.shape[1 + axis] - shape[axis]) // 2 for axis in (0, 1))
    expected = large[:, top : top + shape[0], left : left + shape[1]]
    np.testing.assert_allclose(zoom(values, factor)[0].numpy(), expected, rtol=0, atol=1e-13)


def test_zoom_sees_the_middle():
    assert zoom_span(224, 1.3) == (25, 173, 225, 0)
    assert (
        zoom_span(32, 2.25).cut == 1
    )  # the one strength whose enlarged image is cut on both sides
