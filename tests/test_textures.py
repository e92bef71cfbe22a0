"""Our own frost: its sizes, colours, spectrum and bits; and OpenCV's way of scaling it."""

import cv2
import numpy as np
import pytest
import torch

from attacks.corruptions.crystals import Habit, grow, hashed
from attacks.corruptions.textures import digest, frost_textures, luminance, scaled

# Heights, widths and mean colours of the published photographs.
PUBLISHED = [
    (600, 900, (78, 149, 166)),
    (315, 560, (201, 205, 215)),
    (315, 560, (201, 205, 215)),
    (350, 527, (138, 153, 165)),
    (495, 660, (112, 123, 135)),
]
DIGEST = "7c5fc52d630ae72f11abf247802d016ddb1ea0fa203a6f231f5348923f9b44fe"


def test_sizes_and_mean_colours_are_those_of_the_published_photographs():
    for texture, (height, width, colour) in zip(frost_textures(), PUBLISHED, strict=True):
        assert texture.dtype == torch.uint8
        assert texture.shape == (3, height, width)
        mean = texture.double().mean(dim=(1, 2))
        assert (mean - torch.tensor(colour)).abs().max() < 2


def test_the_second_and_the_third_are_the_same():
    textures = frost_textures()
    assert torch.equal(textures[1], textures[2])


def test_every_bit_is_the_same_on_every_machine():
    assert digest(frost_textures()) == DIGEST


def test_the_spectrum_is_that_of_photographs():
    """Amplitude falls as a power of frequency between 1 and 1.4 (Field, JOSA A 1987).

    Fitted to the rms amplitude in rings, equally wide on the scale of logarithms, from four periods
    in the shorter side to periods of two and a half pixels.
    """
    for texture in frost_textures():
        grey = texture.double().mean(dim=0).numpy()
        height, width = grey.shape
        window = np.hanning(height)[:, None] * np.hanning(width)
        amplitude = np.abs(np.fft.fft2((grey - grey.mean()) * window))
        frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))
        edges = np.geomspace(4 / min(height, width), 0.4, 16)
        ring = np.digitize(frequency, edges)
        rms = [np.sqrt((amplitude[ring == number] ** 2).mean()) for number in range(1, 16)]
        slope = np.polyfit(np.log(np.sqrt(edges[:-1] * edges[1:])), np.log(rms), 1)[0]
        assert -1.4 < slope < -1.0


def test_frost_is_bluish_and_varied():
    for texture in frost_textures():
        red, green, blue = texture.double().mean(dim=(1, 2)).tolist()
        assert red < green < blue
        assert texture.double().std(dim=(1, 2)).min() > 15


@pytest.mark.parametrize("scale", [0.2, 0.3])
@pytest.mark.parametrize("size", [(600, 900), (315, 560), (350, 527), (495, 660)])
def test_textures_are_scaled_as_opencv_does(size, scale):
    """On noise, bit by bit; 94.5 rows become 94."""
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    expected = cv2.resize(picture, (0, 0), fx=scale, fy=scale)
    ours = scaled(torch.from_numpy(picture).permute(2, 0, 1), scale).permute(1, 2, 0)
    np.testing.assert_array_equal(ours.numpy(), expected)


@pytest.mark.parametrize("scale", [0.77, 1.37, 2.5])
def test_other_scales_are_within_a_level_of_opencv(scale):
    picture = np.random.default_rng(0).integers(0, 256, (61, 83, 3), dtype=np.uint8)
    expected = cv2.resize(picture, (0, 0), fx=scale, fy=scale)
    ours = scaled(torch.from_numpy(picture).permute(2, 0, 1), scale).permute(1, 2, 0)
    assert np.abs(ours.numpy().astype(int) - expected).max() <= 1


def test_luminance_is_that_of_opencv():
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    ours = luminance(torch.from_numpy(picture).permute(2, 0, 1))[0].numpy().astype(int)
    difference = np.abs(ours - cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01  # OpenCV's weights are rounded to 2⁻¹⁴


def test_a_digest_sees_pixels_and_sizes():
    texture = torch.zeros(3, 4, 6, dtype=torch.uint8)
    other = texture.clone()
    other[2, 3, 5] = 1
    digests = {digest(each) for each in ([texture], [other], [texture.reshape(3, 6, 4)], [])}
    assert len(digests) == 4
    strided = texture.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    assert digest([strided]) == digest([texture])


def test_hashes_are_uniform_and_their_neighbours_unrelated():
    values = hashed(3, 5, np.arange(100_000))
    assert values.min() >= 0
    assert values.max() < 1
    # Standard errors: .0009 for the mean, .0032 for a correlation.
    assert abs(values.mean() - 0.5) < 0.005
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.016
    assert abs(np.corrcoef(values, hashed(3, 6, np.arange(100_000)))[0, 1]) < 0.016


def test_crystals_stay_on_the_pane_and_keep_apart():
    """One needle never runs through another: few pixels hold points of two of them."""
    habit = Habit(nuclei=6, steps=120)
    ice = grow(90, 130, 7, habit)
    assert ice.x.min() >= 0
    assert ice.x.max() < 130
    assert ice.y.min() >= 0
    assert ice.y.max() < 90
    assert set(ice.level) == {0, 1, 2}
    pixel = np.floor(ice.y).astype(int) * 130 + np.floor(ice.x).astype(int)
    owners = len(np.unique(np.stack((pixel, ice.branch)), axis=1).T)
    assert owners / len(np.unique(pixel)) < 1.6
