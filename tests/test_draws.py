import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attacks import draws

FULL = 0xFFFFFFFF


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [  # the published known-answer vectors of Random123 for philox4x32, ten rounds
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((FULL,) * 4, (FULL,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_the_published_answers(counter, key, answer):
    words = draws.philox(
        tuple(torch.tensor([c]) for c in counter), tuple(torch.tensor([k]) for k in key)
    )
    assert tuple(int(word) for word in words) == answer


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=6), st.integers(0, 5))
def test_a_draw_does_not_depend_on_its_neighbours(ids, row):
    ids = torch.tensor(ids)
    row %= len(ids)
    together = draws.uniform(draws.image_seeds(7, ids), (3, 5), stream=1, step=4)
    alone = draws.uniform(draws.image_seeds(7, ids[row : row + 1]), (3, 5), stream=1, step=4)
    assert torch.equal(together[row], alone[0])


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
