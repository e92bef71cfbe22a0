"""Training images with Gaussian noise."""

import numpy as np
import pytest
import torch
from scipy.stats import kstest, norm

from attacks.draws import image_seeds
from defenses import DEFENSES, resolve

noisy = DEFENSES["noisy"]
SEEDS = image_seeds(0, torch.arange(400))


def test_the_noise_is_normal_with_the_deviation_asked_for():
    images = torch.full((400, 3, 8, 8), 0.5)
    moved, labels = noisy(std=0.05).transform(images, torch.arange(400), SEEDS)
    noise = (moved - images).double().numpy().ravel()  # 0.5 is ten deviations from being clipped
    # By chance less than once in a thousand draws.
    assert kstest(noise, norm(scale=0.05).cdf).pvalue > 1e-3
    assert torch.equal(labels, torch.arange(400))
    pairs = np.corrcoef(noise.reshape(400, 3, 64).transpose(1, 0, 2).reshape(3, -1))
    # The correlation of 25,600 independent pairs has a deviation of 1/160: five of them.
    assert np.abs(pairs - np.eye(3)).max() < 5 / 160


def test_what_leaves_the_range_is_clipped():
    images = torch.zeros(400, 1, 8, 8)
    moved, _ = noisy(std=0.3).transform(images, torch.arange(400), SEEDS)
    dark, values = moved.double().numpy() == 0, moved.double().numpy()
    assert values.max() <= 1
    # Half of 25,600 values are clipped to black; five deviations of that count are 400.
    assert abs(dark.sum() - 12_800) < 400
    # Of a clipped half-normal the mean is known: integrate the tail above 1 away.
    expected = 0.3 * (norm.pdf(0) - norm.pdf(1 / 0.3)) + norm.sf(1 / 0.3)
    assert values.mean() == pytest.approx(expected, abs=5 * 0.3 / 160)


def test_of_several_deviations_each_image_draws_one():
    images = torch.full((400, 3, 16, 16), 0.5)
    moved, _ = noisy(std=[0, 0.02, 0.08]).transform(images, torch.arange(400), SEEDS)
    found = (moved - images).flatten(1).std(1)
    clean = found == 0
    # The deviation of 768 values is known to 2.6 %; five of these.
    weak, strong = ((found / std - 1).abs() < 0.13 for std in (0.02, 0.08))
    assert bool((clean | weak | strong).all())
    counts = np.array([int(each.sum()) for each in (clean, weak, strong)])
    # chi-square with 2 degrees of freedom exceeds 13.8 in one of a thousand fair draws
    assert ((counts - 400 / 3) ** 2 / (400 / 3)).sum() < 13.8


def test_an_images_noise_does_not_depend_on_the_batch():
    images = torch.rand(400, 3, 5, 7)
    whole, _ = noisy(std=[0.1, 0.2]).transform(images, torch.arange(400), SEEDS)
    part, _ = noisy(std=[0.1, 0.2]).transform(images[7:10], torch.arange(3), SEEDS[7:10])
    assert torch.equal(whole[7:10], part)


def test_gaussian_noise_is_a_test_corruption():
    assert resolve("noisy(std=[0.1, 0])").defense.corruptions == ("gaussian_noise",)


@pytest.mark.parametrize("std", [-0.1, 0, "much", float("inf"), [], [0, 0], [0.1, -0.1], True])
def test_what_is_no_deviation_is_told(std):
    with pytest.raises(ValueError, match=r"noisy: std=.*above 0"):
        noisy(std=std)
