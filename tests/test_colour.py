"""Hue, saturation and value are those of scikit-image and of the standard library."""

import colorsys

import numpy as np
import pytest
import torch
from skimage import color

from attacks.corruptions.colour import HSV, hsv_to_rgb, largest, rgb_to_hsv, smallest

LEVELS = np.random.default_rng(3).integers(0, 256, (2, 3, 61, 47)).astype(np.uint8)
LEVELS[:, :, :8] = LEVELS[:, :1, :8]  # greys
LEVELS[:, 1, 8:16] = LEVELS[:, 0, 8:16]  # two channels equal, each way
LEVELS[:, 2, 16:24] = LEVELS[:, 1, 16:24]
LEVELS[:, 2, 24:32] = LEVELS[:, 0, 24:32]
LEVELS[:, :, 0, 0], LEVELS[:, :, 0, 1] = 0, 255
RGB = torch.from_numpy(LEVELS / 255)


def as_numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.permute(0, 2, 3, 1).numpy()


def test_float64_has_no_difference_to_skimage_there() -> None:
    ours = as_numpy(torch.cat(rgb_to_hsv(RGB), dim=1))
    np.testing.assert_array_equal(ours, color.rgb2hsv(as_numpy(RGB)))


def test_float64_has_no_difference_to_skimage_back() -> None:
    hsv = np.random.default_rng(4).random((2, 3, 61, 47))
    hsv[:, 0, 0], hsv[:, 1, 1], hsv[:, 2, 2] = 0, 0, 0
    hsv[:, 0, 3], hsv[:, 1, 4], hsv[:, 2, 5] = 1, 1, 1
    hsv[:, 0, 6] = np.arange(47) % 7 / 6  # the borders of the sectors
    split = torch.from_numpy(hsv).split(1, dim=1)
    theirs = color.hsv2rgb(hsv.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(as_numpy(hsv_to_rgb(HSV(*split))), theirs)


def test_there_and_back_is_the_same_colour() -> None:
    torch.testing.assert_close(hsv_to_rgb(rgb_to_hsv(RGB)), RGB, rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_standard_library_agrees(dtype: torch.dtype) -> None:
    hue, saturation, value = (part[0, 0].double() for part in rgb_to_hsv(RGB[:1].to(dtype)))
    for row, column in [(0, 0), (0, 1), (9, 5), (17, 8), (25, 30), (40, 1), (60, 46)]:
        expected = colorsys.rgb_to_hsv(*RGB[0, :, row, column].tolist())
        ours = [float(part[row, column]) for part in (hue, saturation, value)]
        assert ours == pytest.approx(expected, abs=1e-6)


def test_largest_and_smallest_keep_the_dtype() -> None:
    levels = torch.from_numpy(LEVELS)
    np.testing.assert_array_equal(largest(levels).numpy(), LEVELS.max(1, keepdims=True))
    np.testing.assert_array_equal(smallest(levels).numpy(), LEVELS.min(1, keepdims=True))
    assert largest(levels).dtype == torch.uint8
