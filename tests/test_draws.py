import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attacks import draws


def test_split_mix_gives_the_published_answers():
    # the first outputs of Vigna's splitmix64.c for the seed 1234567, as quoted by its ports
    answers = (
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    )
    words = draws.split_mix(torch.tensor([1234567]), 5)[0]
    assert tuple(int(word) % 2**64 for word in words) == answers


def plain_split_mix(state: int, count: int) -> list[int]:
    """SplitMix64 in Python's integers, one word at a time."""
    words = []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        word = state
        word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        word = (word ^ (word >> 27)) * 0x94D049BB133111EB % 2**64
        words.append(word ^ (word >> 31))
    return words


@given(
    st.integers(0, 2**64 - 1),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(1, 9),
)
def test_words_are_halves_of_the_word_of_the_word_of_the_image(seed, id_, step, count):
    def nth(state: int, number: int) -> int:
        return plain_split_mix(state + number * 0x9E3779B97F4A7C15, 1)[0]

    start = nth(nth(nth(nth(seed, 0), id_), 5), step)
    halves = [half for word in plain_split_mix(start, 5) for half in (word % 2**32, word >> 32)]
    seeds = draws.image_seeds(seed, torch.tensor([id_]))
    bits = draws.bits(seeds, (count,), stream=5, step=step)
    assert bits[0].tolist() == halves[:count]


def test_uniform_signs_and_integers_are_made_of_the_words():
    seeds = draws.image_seeds(1, torch.arange(5))
    words = draws.words(seeds, (3, 7), stream=2, step=9).double()
    uniform = draws.uniform(seeds, (3, 7), stream=2, step=9).double()
    assert torch.equal(uniform, (words / 2**8).floor() / 2**24 + 0.5)
    signs = draws.signs(seeds, (3, 7), stream=2, step=9)
    assert torch.equal(signs, torch.where(words < 0, -1.0, 1.0))
    first = draws.bits(seeds, (1,), stream=2, step=9)[:, 0].double()
    assert torch.equal(
        draws.integers(seeds, 1000, stream=2, step=9).double(), (first / 2**32 * 1000).floor()
    )


def test_normals_are_the_box_muller_transform_of_the_words():
    seeds = draws.image_seeds(1, torch.arange(4))
    words = draws.words(seeds, (2, 500), stream=2).numpy().astype(np.float64)
    radius = np.sqrt(
        -2 * np.log(np.abs(np.where(words[:, 0] % 2, words[:, 0], words[:, 0] + 1)) / 2**31)
    )
    angle = words[:, 1] / 2**31 * np.pi
    expected = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    normal = draws.normal(seeds, (1000,), stream=2).numpy()
    # float32: an angle near pi is rounded by 1.2e-7, and a radius is at most 6.6
    np.testing.assert_allclose(normal, expected, rtol=1e-5, atol=2e-6)
    odd = draws.normal(seeds, (9, 111), stream=2).numpy().reshape(4, -1)
    np.testing.assert_array_equal(odd, normal[:, :999])


@pytest.mark.parametrize("draw", [draws.words, draws.uniform, draws.normal, draws.signs])
@pytest.mark.parametrize("shape", [(3, 5), (3, 32, 33)])
@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=6), st.integers(0, 5))
@settings(max_examples=25)
def test_a_draw_does_not_depend_on_its_neighbours(draw, shape, ids, row):
    ids = torch.tensor(ids)
    row %= len(ids)
    together = draw(draws.image_seeds(7, ids), shape, stream=1, step=4)
    alone = draw(draws.image_seeds(7, ids[row : row + 1]), shape, stream=1, step=4)
    assert torch.equal(together[row], alone[0])


@pytest.mark.parametrize("draw", [draws.bits, draws.uniform, draws.normal, draws.signs])
@pytest.mark.parametrize("shape", [(), (1,), (0,), (3, 1), (2, 3)])
@pytest.mark.parametrize("images", [0, 1, 4])
def test_any_shape_can_be_drawn_for_any_number_of_images(draw, shape, images):
    assert draw(torch.arange(images), shape, stream=1).shape == (images, *shape)


def test_seed_id_stream_step_and_position_all_matter():
    ids = torch.arange(50)
    base = draws.uniform(draws.image_seeds(0, ids), (40,), stream=1, step=0)
    others = [
        draws.uniform(draws.image_seeds(1, ids), (40,), stream=1, step=0),
        draws.uniform(draws.image_seeds(0, ids + 50), (40,), stream=1, step=0),
        draws.uniform(draws.image_seeds(0, ids), (40,), stream=2, step=0),
        draws.uniform(draws.image_seeds(0, ids), (40,), stream=1, step=1),
    ]
    for other in others:
        correlation = np.corrcoef(base.flatten(), other.flatten())[0, 1]
        assert abs(correlation) < 4.5 / np.sqrt(base.numel())  # 4.5 standard errors
    assert len(base.unique()) > 0.999 * base.numel()


def test_a_step_for_each_image_equals_one_for_all():
    seeds = draws.image_seeds(0, torch.arange(4))
    steps = torch.tensor([5, 6, 5, 9])
    each = draws.uniform(seeds, (7,), stream=3, step=steps)
    for row, step in enumerate(steps.tolist()):
        one = draws.uniform(seeds[row : row + 1], (7,), stream=3, step=step)
        assert torch.equal(each[row], one[0])


def test_uniform_normal_and_signs_have_their_distributions():
    seeds = draws.image_seeds(3, torch.arange(100))
    n = 100 * 2000
    uniform = draws.uniform(seeds, (2000,), stream=1).double()
    assert uniform.min() >= 0
    assert uniform.max() < 1
    normal = draws.normal(seeds, (2000,), stream=1).double()
    signs = draws.signs(seeds, (2000,), stream=1).double()
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    # Bounds are five standard errors of each statistic.
    assert abs(uniform.mean() - 0.5) < 5 * (1 / 12 / n) ** 0.5
    assert abs(uniform.var() - 1 / 12) < 5 * (1 / 180 / n) ** 0.5
    assert abs(normal.mean()) < 5 / n**0.5
    assert abs(normal.var() - 1) < 5 * (2 / n) ** 0.5
    assert abs((normal**4).mean() - 3) < 5 * (96 / n) ** 0.5
    assert abs(signs.mean()) < 5 / n**0.5


def test_every_bit_of_the_words_is_fair_and_independent_of_the_next_words_and_images():
    words = draws.words(draws.image_seeds(0, torch.arange(64)), (2048,), stream=1)
    bits = ((words[..., None] >> torch.arange(32)) & 1).double() * 2 - 1
    n = words.numel()
    # A mean of n fair signs has a standard error of n**-0.5; the largest of 32 x 32 x 3 stays
    # below 5 of them but once in 570 draws, and this draw is always the same.
    assert bits.mean(dim=(0, 1)).abs().max() < 5 / n**0.5
    flat = bits.flatten(0, 1)
    within = flat.T @ flat / n
    assert (within - torch.eye(32)).abs().max() < 5 / n**0.5
    for first, second in [
        (bits[:, :-1], bits[:, 1:]),  # neighbouring words
        (bits[:-1], bits[1:]),  # the same word of neighbouring images
    ]:
        pairs = first.shape[0] * first.shape[1]
        between = first.flatten(0, 1).T @ second.flatten(0, 1) / pairs
        assert between.abs().max() < 5 / pairs**0.5


def test_normals_follow_the_normal_distribution_everywhere():
    normal = draws.normal(draws.image_seeds(5, torch.arange(100)), (10000,), stream=1).flatten()
    # Kolmogorov-Smirnov for the body; the tails, which it hardly sees, are counted
    assert scipy.stats.kstest(normal.numpy(), "norm").pvalue > 1e-3
    n = normal.numel()
    for bound in (3.0, 4.0):
        share = 2 * scipy.stats.norm.sf(bound)
        found = float((normal.abs() > bound).double().mean())
        assert abs(found - share) < 5 * (share / n) ** 0.5


def test_the_two_halves_of_a_normal_draw_are_independent():
    pairs = draws.normal(draws.image_seeds(5, torch.arange(100)), (2, 2000), stream=1).double()
    n = 100 * 2000
    for first, second in [(pairs[:, 0], pairs[:, 1]), (pairs[:, 0] ** 2, pairs[:, 1] ** 2)]:
        assert abs(np.corrcoef(first.flatten(), second.flatten())[0, 1]) < 5 / n**0.5


def test_the_longest_normal_is_finite_and_the_shortest_is_zero(monkeypatch):
    extremes = torch.tensor([0, 1, -1, 2**31 - 1, -(2**31)], dtype=torch.int32)

    def words(seeds, shape, **_):
        return torch.stack([extremes, torch.zeros(5, dtype=torch.int32)])[None]

    monkeypatch.setattr(draws, "words", words)
    normal = draws.normal(torch.zeros(1, dtype=torch.int64), (10,), stream=1)[0]
    longest = (2 * 31 * math.log(2)) ** 0.5
    np.testing.assert_allclose(normal[:5], [longest] * 3 + [0, 0], atol=1e-3)
    assert torch.equal(normal[5:], torch.zeros(5))


def test_wrong_classes_are_wrong_and_evenly_spread():
    labels = torch.arange(10).repeat(2000)
    wrong = draws.wrong_classes(draws.image_seeds(0, torch.arange(len(labels))), labels, 10)
    assert (wrong != labels).all()
    counts = torch.bincount((wrong - labels) % 10, minlength=10)[1:].double()
    expected = len(labels) / 9
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert chi_square < 26.1  # 0.1 % of chi-square with 8 degrees of freedom


def test_one_class_has_no_wrong_one():
    with pytest.raises(ValueError, match="at least 2 classes"):
        draws.wrong_classes(torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64), 1)
