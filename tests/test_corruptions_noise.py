import hashlib

import numpy as np
import pytest
import scipy.stats
import skimage.util
import torch
from published import noise as published

from attacks.corruptions import noise
from attacks.corruptions.corrupt import corrupt
from attacks.corruptions.poisson import poisson_counts
from attacks.draws import image_seeds, words

NOISES = {each.name: each for each in noise.CORRUPTIONS}
RATES = sorted({rate for rates in NOISES["shot_noise"].strengths.values() for rate in rates})
CELLS = [(size, severity) for size in (32, 64, 224) for severity in range(5)]


def images(size, height=None):
    """A smooth image with every level in it, and one of noise: uint8 (2, n, m, 3)."""
    rng = np.random.default_rng(size)
    rows, columns = np.mgrid[: height or size, :size]
    smooth = [127.5 + 127.5 * np.sin(rows / a + columns / b) for a, b in ((9, 5), (7, 13), (31, 4))]
    levels = np.floor(np.stack(smooth, axis=2)).astype(np.uint8)
    return np.stack([levels, rng.integers(0, 256, levels.shape, dtype=np.uint8)])


def batch(arrays):
    return torch.from_numpy(np.ascontiguousarray(np.stack(list(arrays)).transpose(0, 3, 1, 2)))


def grey_image(level, count):
    """``count`` images of one level, float and uint8 alike."""
    return torch.full((count, 3, 32, 32), level, dtype=torch.uint8)


@pytest.mark.parametrize(("size", "severity"), CELLS)
def test_gaussian_noise_is_the_published_one(size, severity):
    sd = NOISES["gaussian_noise"].strengths[size][severity]
    rng = np.random.default_rng(severity)
    pictures = images(size)
    drawn = [published.gaussian_noise_draws(rng, picture, sd) for picture in pictures]
    expected = [
        published.gaussian_noise(picture, sd, draws)
        for picture, draws in zip(pictures, drawn, strict=True)
    ]
    found = noise.gaussian_noise(batch(pictures), sd, noise.Normals(batch(drawn)), torch.float64)
    assert torch.equal(found, batch(expected))


@pytest.mark.parametrize(("size", "severity"), CELLS)
def test_photons_make_the_published_shot_noise(size, severity):
    rate = NOISES["shot_noise"].strengths[size][severity]
    rng = np.random.default_rng(severity)
    pictures = images(size)
    counts = [published.shot_noise_draws(rng, picture, rate) for picture in pictures]
    expected = [
        published.shot_noise(picture, rate, each)
        for picture, each in zip(pictures, counts, strict=True)
    ]
    assert torch.equal(noise.shot_levels(batch(counts), rate), batch(expected))


@pytest.mark.parametrize(("size", "severity"), CELLS)
def test_impulse_noise_is_the_published_one(size, severity):
    share = NOISES["impulse_noise"].strengths[size][severity]
    rng = np.random.default_rng(severity)
    pictures = images(size)
    drawn = [published.impulse_noise_draws(rng, picture, share) for picture in pictures]
    expected = [
        published.impulse_noise(picture, share, draws)
        for picture, draws in zip(pictures, drawn, strict=True)
    ]
    draws = noise.Impulses(batch(d.replaced for d in drawn), batch(d.salt for d in drawn))
    found = noise.impulse_noise(batch(pictures), share, draws, torch.float64)
    assert torch.equal(found, batch(expected))


def test_the_published_impulse_noise_is_that_of_skimage():
    picture = images(32)[0]
    ours = published.impulse_noise_draws(np.random.default_rng(3), picture, 0.27)
    theirs = skimage.util.random_noise(
        picture / 255.0, mode="s&p", amount=0.27, rng=np.random.default_rng(3)
    )
    expected = (np.clip(theirs, 0, 1) * 255).astype(np.uint8)
    np.testing.assert_array_equal(published.impulse_noise(picture, 0.27, ours), expected)


@pytest.mark.parametrize("rate", RATES)
def test_counts_are_the_quantiles_of_the_poisson_distribution(rate):
    levels = torch.arange(256)[:, None].expand(-1, 200)
    drawn = words(image_seeds(0, torch.arange(256)), (200,), stream=1, step=int(rate))
    drawn[:, 0], drawn[:, 1], drawn[:, 2] = 0, -1, 1  # as numbers without sign: 0, 2³² - 1, 1
    probabilities = (drawn.numpy().view(np.uint32) + 0.5) / 2**32
    expected = scipy.stats.poisson.ppf(probabilities, levels.numpy() / 255 * rate)
    np.testing.assert_array_equal(poisson_counts(levels, drawn, rate), expected)


@pytest.mark.parametrize("rate", RATES)
def test_shot_noise_makes_levels_of_the_quantiles(rate):
    """So the guide that answers most values agrees with a search for each of them."""
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 256, 1).expand(2, 3, -1, 300).clone()
    drawn = words(image_seeds(1, torch.arange(2)), (3, 256, 300), stream=1)
    # Words around the ends of the guide's bins
    bins = torch.arange(4096)[torch.randperm(4096, generator=torch.Generator().manual_seed(0))]
    edges = (bins[:60, None] * 2**20 + torch.tensor([-1, 0, 1])).flatten().to(torch.int32)
    drawn[..., : len(edges)] = edges
    expected = noise.shot_levels(poisson_counts(levels, drawn, rate), rate)
    for dtype in (torch.float32, torch.float64):
        assert torch.equal(noise.shot_noise(levels, rate, noise.Words(drawn), dtype), expected)


@pytest.mark.parametrize(("size", "severity"), CELLS)
def test_gaussian_noise_in_float32_differs_by_a_level_in_few_values(size, severity):
    sd = NOISES["gaussian_noise"].strengths[size][severity]
    pixels = batch(images(size)).repeat(max(1, 256 // size) ** 2, 1, 1, 1)
    draws = noise.draw_normals(image_seeds(0, torch.arange(len(pixels))), pixels.shape[1:], sd)
    fast = noise.gaussian_noise(pixels, sd, draws, torch.float32).int()
    exact = noise.gaussian_noise(pixels, sd, draws, torch.float64).int()
    difference = (fast - exact).abs()
    assert difference.max() <= 1
    # The share is 5e-6 in millions of values; these are 400,000, so a few come by chance
    assert (difference > 0).double().mean() < 3e-5


def chi_square(found, probabilities):
    """P-value of counts by level, those of few expected values put together."""
    expected = probabilities * found.sum()
    plenty = expected >= 10
    found = np.append(found[plenty], found[~plenty].sum())
    expected = np.append(expected[plenty], expected[~plenty].sum())
    if expected[-1] < 10:
        found[-2], expected[-2] = found[-2:].sum(), expected[-2:].sum()
        found, expected = found[:-1], expected[:-1]
    return scipy.stats.chisquare(found, expected, sum_check=False).pvalue


def histogram(pixels):
    return np.bincount(pixels.flatten().numpy(), minlength=256)


@pytest.mark.parametrize("severity", [1, 3, 5])
@pytest.mark.parametrize("level", [3, 128, 250])
def test_gaussian_noise_has_its_distribution(level, severity):
    sd = NOISES["gaussian_noise"].strengths[32][severity - 1]
    found = corrupt(
        grey_image(level, 100), NOISES["gaussian_noise"], severity, seeds=torch.arange(100)
    )
    # A result k comes from values in [k, k + 1), 0 from all below 1 and 255 from all above
    below = scipy.stats.norm.cdf(np.arange(1, 256), loc=level, scale=255 * sd)
    probabilities = np.diff(below, prepend=0, append=1)
    assert chi_square(histogram(found), probabilities) > 1e-3


@pytest.mark.parametrize("severity", [1, 3, 5])
@pytest.mark.parametrize("strengths", [32, 224])
def test_shot_noise_has_its_distribution(severity, strengths):
    rate = NOISES["shot_noise"].strengths[strengths][severity - 1]
    found = corrupt(
        grey_image(100, 100),
        NOISES["shot_noise"],
        severity,
        seeds=torch.arange(100),
        strengths=strengths,
    )
    counts = np.arange(2000)
    results = (np.clip(counts / rate, 0, 1) * 255).astype(int)
    probabilities = np.bincount(results, scipy.stats.poisson.pmf(counts, 100 / 255 * rate), 256)
    assert chi_square(histogram(found), probabilities) > 1e-3


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_impulses_have_their_shares_in_each_channel_on_its_own(severity):
    share = NOISES["impulse_noise"].strengths[224][severity - 1]
    found = corrupt(
        grey_image(100, 100),
        NOISES["impulse_noise"],
        severity,
        seeds=torch.arange(100),
        strengths=224,
    )
    n = found.numel()
    salt, pepper = (found == 255).double(), (found == 0).double()
    assert set(found.unique().tolist()) == {0, 100, 255}
    # Five standard errors of each
    half_error = (share / 2 * (1 - share / 2) / n) ** 0.5
    assert abs(salt.mean() - share / 2) < 5 * half_error
    assert abs(pepper.mean() - share / 2) < 5 * half_error
    replaced = salt + pepper
    both = (replaced[:, 0] * replaced[:, 1]).mean()
    assert abs(both - share**2) < 5 * (share**2 / (n / 3)) ** 0.5


@pytest.mark.parametrize("name", NOISES)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 17, 40), (3, 224, 16)])
def test_grey_and_rectangular_images_do_not_depend_on_their_neighbours(name, shape):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (5, *shape), dtype=torch.uint8, generator=generator)
    seeds = torch.tensor([5, -7, 2**40, 0, 5])
    together = corrupt(pixels, NOISES[name], 4, seeds=seeds)
    assert together.shape == pixels.shape
    for row in range(5):
        alone = corrupt(pixels[row : row + 1], NOISES[name], 4, seeds=seeds[row : row + 1])
        assert torch.equal(alone[0], together[row])
    assert not torch.equal(together, pixels)


@pytest.mark.parametrize("name", NOISES)
def test_the_pixels_and_draws_given_stay_as_they_are(name):
    pixels = batch(images(32))
    strength = NOISES[name].strengths[32][4]
    draws = NOISES[name].draw(torch.arange(2), (3, 32, 32), strength)
    before = pixels.clone(), *(each.clone() for each in draws)
    for dtype in (torch.float32, torch.float64):
        NOISES[name].apply(pixels, strength, draws, dtype)
    assert all(torch.equal(a, b) for a, b in zip(before, (pixels, *draws), strict=True))


@pytest.mark.parametrize(
    ("name", "digest"), [("shot_noise", "24d7ecb1e12ff85f"), ("impulse_noise", "74c3f5d48693fc48")]
)
def test_noise_of_integers_is_the_same_on_every_machine(name, digest):
    pixels = torch.arange(2 * 3 * 32 * 32).to(torch.uint8).view(2, 3, 32, 32)
    strength = NOISES[name].strengths[32][2]
    draws = NOISES[name].draw(torch.tensor([1, 2]), (3, 32, 32), strength)
    noisy = NOISES[name].apply(pixels, strength, draws, torch.float32)
    assert hashlib.sha256(noisy.numpy().tobytes()).hexdigest()[:16] == digest
