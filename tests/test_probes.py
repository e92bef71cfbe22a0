"""Probes: what the dial does to images, against closed forms."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attacks.draws import image_seeds
from attacks.probes import PROBES, gaussian_noise, resolve, rotation


def seeds(count: int) -> torch.Tensor:
    return image_seeds(0, torch.arange(count))


def pictures(count: int, *shape: int) -> torch.Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(1))


def test_noise_has_the_deviation_that_was_asked_for() -> None:
    images = torch.full((50, 3, 32, 32), 0.5)
    moved = gaussian_noise(images, seeds=seeds(50), std=0.05) - 0.5  # never clipped: 10 deviations
    count = moved.numel()
    # Of the mean and of the deviation, the standard errors are std / sqrt(n) and std / sqrt(2 n).
    assert abs(float(moved.mean())) < 5 * 0.05 / math.sqrt(count)
    assert abs(float(moved.std()) - 0.05) < 5 * 0.05 / math.sqrt(2 * count)


def test_noise_is_clipped_to_the_range() -> None:
    black = torch.zeros(20, 1, 32, 32)
    moved = gaussian_noise(black, seeds=seeds(20), std=0.4)
    # Half the values fall below black; above white falls what is over 2.5 deviations, 0.62 %.
    assert float((moved == 0).double().mean()) == pytest.approx(0.5, abs=0.02)
    assert float((moved == 1).double().mean()) == pytest.approx(0.0062, abs=0.003)


def test_noise_of_no_deviation_and_a_turn_by_no_angle_change_nothing() -> None:
    images = pictures(3, 3, 17, 30)
    assert torch.equal(gaussian_noise(images, seeds=seeds(3), std=0), images)
    for angle in (0, 360, -720.0):
        assert torch.equal(rotation(images, seeds=seeds(3), angle=angle), images)


@pytest.mark.parametrize("quarters", [1, 2, 3, -1])
def test_quarter_turns_are_torchs_counter_clockwise(quarters: int) -> None:
    images = pictures(3, 3, 20, 20)
    turned = rotation(images, seeds=seeds(3), angle=90 * quarters)
    expected = torch.rot90(images, quarters, (2, 3))  # rows to columns: counter-clockwise
    torch.testing.assert_close(turned, expected, atol=1e-5, rtol=0)


def test_half_a_turn_of_images_that_are_not_square() -> None:
    images = pictures(2, 1, 12, 31)
    turned = rotation(images, seeds=seeds(2), angle=180)
    torch.testing.assert_close(turned, images.flip(2, 3), atol=1e-5, rtol=0)


def test_corners_are_black_and_the_middle_stays() -> None:
    white = torch.ones(1, 1, 33, 33)
    turned = rotation(white, seeds=seeds(1), angle=45)[0, 0]
    assert float(turned[0, 0]) == float(turned[32, 0]) == float(turned[0, 32]) == 0
    assert float(turned[16, 16]) == 1
    # Two squares of side a, one turned by 45 degrees, share a regular octagon: 2 (sqrt(2) - 1) a².
    assert float(turned.mean()) == pytest.approx(2 * (math.sqrt(2) - 1), abs=0.01)


@given(
    spec=st.sampled_from(["gaussian-noise(std={})", "rotation(angle={})"]),
    dial=st.floats(0, 400),
    row=st.integers(0, 4),
)
def test_range_and_independence_of_the_batch(spec: str, dial: float, row: int) -> None:
    probe = resolve(spec.format(dial)).probe
    images, before = pictures(5, 2, 9, 7), pictures(5, 2, 9, 7)
    moved = probe(images, seeds=seeds(5))
    assert torch.equal(images, before)
    assert moved.dtype == torch.float32
    assert moved.shape == images.shape
    assert 0 <= float(moved.min()) <= float(moved.max()) <= 1
    alone = probe(images[row : row + 1], seeds=seeds(5)[row : row + 1])
    torch.testing.assert_close(alone, moved[row : row + 1], atol=1e-6, rtol=0)


def test_images_of_other_seeds_meet_other_noise() -> None:
    grey = torch.full((2, 1, 8, 8), 0.5)
    moved = gaussian_noise(grey, seeds=seeds(2))
    assert not torch.equal(moved[0], moved[1])


def test_a_spec_has_every_setting() -> None:
    assert resolve("rotation").spec == "rotation(angle=30)"
    assert resolve("gaussian-noise(std=1/4)").spec == "gaussian-noise(std=0.25)"
    assert [resolve(resolve(name).spec).spec for name in PROBES] == [
        resolve(name).spec for name in PROBES
    ]


REFUSED = {
    "rotatoin": "unknown probe 'rotatoin'; did you mean rotation?",
    "rotation(angel=3)": "unknown setting of rotation 'angel'; did you mean angle?",
    "rotation(angle=inf)": "rotation: angle=inf must be a number of degrees",
    "rotation(angle=true)": "rotation: angle=True must be",
    "gaussian-noise(std=-0.1)": "gaussian-noise: std=-0.1 must be a number from 0",
    "gaussian-noise(std='much')": "gaussian-noise: std=much must be",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"probe|rotation|gaussian-noise") as caught:
        resolve(text)
    assert str(caught.value).startswith(REFUSED[text])
