import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from benchmarks import metrics

PAIRS = st.tuples(*[npst.arrays(np.float32, (2, 3, 4, 5), elements=st.floats(0, 1, width=32))] * 2)


@settings(max_examples=60)
@given(PAIRS, st.sampled_from([0.05, 0.25, 1.0]))
def test_measures_equal_loops_over_pixels(pair, threshold):
    before, after = pair
    x, y = torch.from_numpy(before), torch.from_numpy(after)
    for n in range(len(before)):
        sums, over, changed, squares, largest = [], 0, 0, 0.0, 0.0
        for i in range(4):
            for j in range(5):
                change = sum(
                    abs(float(after[n, c, i, j]) - float(before[n, c, i, j])) for c in range(3)
                )
                sums.append(change)
                over += change > threshold + 3 * 2.0**-24
                changed += change > 0
                for c in range(3):
                    gap = abs(float(after[n, c, i, j]) - float(before[n, c, i, j]))
                    squares += gap**2
                    largest = max(largest, gap)
        assert metrics.average_pixel_change(x, y)[n].item() == pytest.approx(
            np.mean(sums), abs=1e-12
        )
        assert metrics.pixels_over_threshold(x, y, [0.0, threshold])[n].tolist() == [changed, over]
        assert metrics.l0(x, y)[n].item() == changed
        assert metrics.l2(x, y)[n].item() == pytest.approx(squares**0.5, abs=1e-12)
        assert metrics.linf(x, y)[n].item() == largest


def test_a_uniform_change_in_three_channels_counts_three_times():
    x = torch.full((1, 3, 2, 2), 0.5)
    assert metrics.average_pixel_change(x, x - 0.125).item() == 0.375
    assert metrics.linf(x, x - 0.125).item() == 0.125
    assert metrics.l2(x, x - 0.125).item() == pytest.approx(0.125 * 12**0.5)


def test_the_threshold_is_on_the_channel_sum_over_the_range_of_one_channel():
    x = torch.zeros(1, 3, 1, 3)
    y = x.clone()
    y[0, :, 0, 0] = 0.04  # 0.12 in sum: over 10 % though no channel is
    y[0, 0, 0, 1] = 0.09
    assert metrics.pixels_over_threshold(x, y, [0.1, 0.01, 0]).tolist() == [[1, 2, 2]]


@pytest.mark.parametrize("threshold", [0.1, 0.01, 8 / 255])
def test_a_change_that_equals_the_threshold_is_not_over_it(threshold):
    x = torch.linspace(0, 0.85, 1000).reshape(1, 1, 20, 50)
    y = x + threshold  # rounds up for about half the pixels
    assert ((y.double() - x.double()) > threshold).sum() > 100
    assert metrics.pixels_over_threshold(x, y, [threshold]).item() == 0
    assert metrics.pixels_over_threshold(x, y + 1e-5, [threshold]).item() == 1000


def test_threshold_zero_counts_the_smallest_change():
    x = torch.full((1, 1, 2, 2), 0.5)
    y = x.clone()
    y[0, 0, 1, 1] = torch.nextafter(x[0, 0, 1, 1], torch.tensor(1.0))
    assert metrics.pixels_over_threshold(x, y, [0.0]).item() == 1 == metrics.l0(x, y).item()


def test_no_thresholds_give_no_columns():
    x = torch.zeros(3, 1, 2, 2)
    assert metrics.pixels_over_threshold(x, x, []).shape == (3, 0)


def test_images_of_8_bit_files_are_already_rounded():
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    images = levels.float().div(255)
    assert torch.equal(metrics.rounded8(images), images)


@settings(max_examples=100)
@given(npst.arrays(np.float32, (1, 1, 4, 4), elements=st.floats(0, 1, width=32)))
def test_rounding_gives_the_nearest_level(values):
    rounded = metrics.rounded8(torch.from_numpy(values)).numpy().astype(np.float64)
    levels = np.arange(256) / 255
    nearest = np.abs(values.astype(np.float64)[..., None] - levels).min(axis=-1)
    assert np.abs(rounded - values).max() <= 0.5 / 255 + 1e-7
    np.testing.assert_allclose(np.abs(rounded - values), nearest, atol=1e-7)


def test_a_half_goes_to_the_even_level():
    halves = torch.tensor([0.5, 1.5, 2.5]).reshape(1, 1, 1, 3) / 255
    exact = (halves * 255).flatten().tolist()
    assert exact == [0.5, 1.5, 2.5]
    assert (metrics.rounded8(halves) * 255).round().flatten().tolist() == [0, 2, 2]


def test_different_shapes_are_refused():
    with pytest.raises(ValueError, match="same shape"):
        metrics.l2(torch.zeros(2, 1, 4, 4), torch.zeros(1, 1, 4, 4))
