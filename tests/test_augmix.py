"""The mixtures of AugMix against the published procedure, its draws, and its loss."""

import importlib
import math

import numpy as np
import pytest
import torch
from PIL import Image
from published import augmix as published
from scipy import stats
from torch import nn
from torch.nn import functional as F

from attacks.draws import image_seeds
from defenses import DEFENSES
from defenses.augmix import dirichlet, jensen_shannon, mix_draws, mixed
from defenses.augmix_operations import OPERATIONS, WEAKENING
from defenses.defense import cross_entropy
from defenses.from_torchvision import OVERLAPPING

augmix = DEFENSES["augmix"]
ALL = OPERATIONS | WEAKENING


def seeds(count, seed=0):
    return image_seeds(seed, torch.arange(count))


def as_published(draws, row, names):
    """The draws of one image in the words of the published procedure."""
    chains = [
        [
            published.Step(names[int(operation)], float(level), int(sign))
            for operation, level, sign in zip(
                draws.operations[row, chain, :depth],
                draws.levels[row, chain, :depth],
                draws.signs[row, chain, :depth],
                strict=True,
            )
        ]
        for chain, depth in enumerate(draws.depths[row].tolist())
    ]
    share = 1 - float(draws.shares[row, 0])
    weights = draws.shares[row, 1:].numpy() / share
    return published.Draws(weights, share, chains)


@pytest.mark.parametrize(
    ("width", "depth", "severity", "names", "channels"),
    [
        (3, -1, 3.0, tuple(OPERATIONS), 3),
        (3, -1, 3.0, tuple(ALL), 3),
        (2, 5, 10.0, tuple(ALL), 1),
        (1, 1, 1.0, tuple(OPERATIONS), 3),
    ],
)
def test_mixtures_are_the_published_ones(width, depth, severity, names, channels):
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:32, :40]
    smooth = (60 * np.sin(x / 5) + 50 * np.cos(y / 7) + 120)[..., None]
    pixels = (smooth + rng.integers(-10, 11, (40, 32, 40, channels))).astype(np.uint8)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    draws = mix_draws(seeds(40), width, depth, 1.0, severity, len(names))
    ours = mixed(images, draws, [ALL[name] for name in names])
    for row, image in enumerate(pixels):
        picture = Image.fromarray(image if channels == 3 else image[..., 0])
        theirs = published.augmix(picture, as_published(draws, row, names))
        # four sums of float32 numbers below 1
        assert np.abs(ours[row].permute(1, 2, 0).numpy() - theirs).max() < 1e-6


def test_large_batches_are_mixed_in_parts_that_do_not_matter(monkeypatch):
    images = torch.rand(10, 3, 24, 24)
    draws = mix_draws(seeds(10), 3, -1, 1.0, 3.0, 9)
    whole = mixed(images, draws, tuple(OPERATIONS.values()))
    module = importlib.import_module("defenses.augmix")  # the package has a function of this name
    monkeypatch.setattr(module, "_VALUES_AT_ONCE", 4 * 3 * 3 * 24 * 24)
    parts = mixed(images, draws, tuple(OPERATIONS.values()))
    assert torch.allclose(whole, parts, atol=1e-6)  # sums of float32 may round otherwise


def fits(values, distribution, *parameters):
    """Kolmogorov and Smirnov: one of a thousand fair samples is told off."""
    return stats.kstest(np.asarray(values).ravel(), distribution, args=parameters).pvalue > 1e-3


def even(numbers, high):
    """Whether whole numbers below ``high`` are equally likely, by chi-square at one in 1000."""
    return stats.chisquare(np.bincount(np.asarray(numbers).ravel(), minlength=high)).pvalue > 1e-3


def test_draws_are_distributed_as_published():
    draws = mix_draws(seeds(4000), 3, -1, 1.0, 3.0, 9)
    of_image = draws.shares[:, 0]
    weights = draws.shares[:, 1:] / (1 - of_image)[:, None]
    assert torch.allclose(draws.shares.sum(1), torch.ones(4000))
    assert fits(of_image, "uniform")  # Beta(1, 1)
    for chain in range(3):
        assert fits(weights[:, chain], "beta", 1, 2)  # what Dirichlet(1, 1, 1) gives each
        assert even(draws.depths[:, chain] - 1, 3)
        for step in range(3):
            assert even(draws.operations[:, chain, step], 9)
            assert fits(draws.levels[:, chain, step], "uniform", 0.1, 2.9)
            assert even((draws.signs[:, chain, step] + 1) / 2 == 1, 2)
    # Pairs of independent numbers: a correlation of 4000 has a deviation of 0.016.
    columns = [of_image, weights[:, 0] / weights[:, :2].sum(1), *draws.depths.double().t()]
    columns += [*draws.operations.double().flatten(1).t(), *draws.levels.flatten(1).t()]
    columns += [*draws.signs.flatten(1).t()]
    correlations = np.corrcoef(np.stack(columns)) - np.eye(len(columns))
    assert np.abs(correlations).max() < 5 * 0.016


@pytest.mark.parametrize("alpha", [0.2, 1.0, 1.5, 20.0])
def test_shares_follow_dirichlet_and_beta_at_every_alpha(alpha):
    shares = dirichlet(seeds(4000), 3, alpha, step=0)
    assert torch.allclose(shares.sum(1), torch.ones(4000, dtype=torch.float64))
    for column in shares.t():
        assert fits(column, "beta", alpha, 2 * alpha)
    assert fits(dirichlet(seeds(4000), 2, alpha, step=1)[:, 0], "beta", alpha, alpha)
    # Each pair of three shares is correlated by -1/2.
    assert np.corrcoef(shares[:, 0], shares[:, 1])[0, 1] == pytest.approx(-0.5, abs=0.06)


def test_the_tiniest_alpha_leaves_one_chain():
    shares = dirichlet(seeds(300), 3, 1e-4, step=0)
    assert torch.isfinite(shares).all()
    assert (shares.amax(1) > 0.999).float().mean() > 0.98
    assert even(shares.argmax(1), 3)


def numpy_divergence(answers):
    p = [np.exp(a) / np.exp(a).sum(1, keepdims=True) for a in answers]
    middle = np.clip(sum(p) / len(p), 1e-7, 1)
    return np.mean([np.mean((q * np.log(q / middle)).sum(1)) for q in p])


def test_the_divergence_is_the_formulas():
    rng = np.random.default_rng(0)
    answers = [rng.normal(0, 3, (7, 10)) for _ in range(3)]
    ours = float(jensen_shannon([torch.from_numpy(a) for a in answers]))
    assert ours == pytest.approx(numpy_divergence(answers), rel=1e-12)
    assert float(jensen_shannon([torch.from_numpy(answers[0])] * 3)) == pytest.approx(0, abs=1e-12)
    certain = [40.0 * F.one_hot(torch.tensor([k]), 3).double() for k in range(3)]
    assert float(jensen_shannon(certain)) == pytest.approx(math.log(3))


class Watched(nn.Module):
    """A linear model that keeps what it was given and what it said."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3 * 16 * 16, 5)

    def forward(self, images):
        self.images = images
        self.images.requires_grad_(True)
        self.logits = self.linear(images.flatten(1))
        self.calls = getattr(self, "calls", 0) + 1
        return self.logits


def test_the_loss_sees_three_views_at_once_and_learns_from_each():
    torch.manual_seed(0)
    model, images, labels = Watched(), torch.rand(6, 3, 16, 16), torch.arange(6) % 5
    defense = augmix()
    assert defense.transform(images, labels, seeds(6))[0] is images
    loss, logits = defense.loss(model, images, labels, seeds(6))
    assert model.calls == 1
    assert torch.equal(model.images[:6], images)
    assert torch.equal(logits, model.logits[:6])
    said = model.logits.detach().double().numpy()
    clean = -np.log(np.exp(said[:6]) / np.exp(said[:6]).sum(1, keepdims=True))
    expected = clean[np.arange(6), labels].mean() + 12 * numpy_divergence(np.split(said, 3))
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    loss.backward()
    assert (model.images.grad.flatten(1).abs().amax(1) > 0).all()
    first, second = model.images[6:12], model.images[12:]
    assert not torch.equal(first, second)
    assert not torch.isclose(first, images).flatten(1).all(1).any()


def test_without_the_divergence_each_image_becomes_one_mixture():
    images, labels = torch.rand(6, 3, 16, 16), torch.arange(6)
    images = images.to(memory_format=torch.channels_last)
    defense = augmix(jsd=0)
    assert defense.loss is cross_entropy
    moved, same = defense.transform(images, labels, seeds(6))
    assert torch.equal(same, labels)
    expected = mixed(
        images.contiguous(), mix_draws(seeds(6), 3, -1, 1.0, 3.0, 9), tuple(OPERATIONS.values())
    )
    assert torch.equal(moved, expected)


def test_equal_images_are_mixed_each_in_its_own_way_by_their_seeds_alone():
    images = torch.rand(1, 3, 16, 16).expand(20, 3, 16, 16)
    moved, _ = augmix(jsd=0).transform(images, torch.zeros(20), seeds(20))
    assert len(moved.flatten(1).unique(dim=0)) == 20
    alone, _ = augmix(jsd=0).transform(images[:1], torch.zeros(1), seeds(20)[7:8])
    assert torch.allclose(alone[0], moved[7], atol=1e-6)


def test_all_operations_mark_the_corruptions_they_show():
    assert augmix().corruptions == ()
    marked = augmix(all_ops=True).corruptions
    assert sorted(marked) == sorted(OVERLAPPING)  # torchvision's have the same four operations


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 0}, "width=0 must be at least 1"),
        ({"depth": 0}, "depth=0 must be at least 1, or -1"),
        ({"alpha": 0}, "alpha=0 must be above 0"),
        ({"severity": 11}, "severity=11 must be above 0.1 and at most 10"),
        ({"severity": math.nan}, "severity=nan must be above"),
        ({"jsd": -1}, "jsd=-1 must not be negative"),
    ],
)
def test_settings_out_of_range_are_told(settings, message):
    with pytest.raises(ValueError, match=f"augmix: {message}"):
        augmix(**settings)
