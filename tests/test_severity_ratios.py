"""Errors over a baseline's, family by family and severity by severity."""

import numpy as np
import pytest
from views_case import made_record

from benchmarks.severity_ratios import severity_ratios


def test_a_ratio_is_that_of_mean_errors_over_the_family() -> None:
    record = made_record(corruptions=("fog", "gaussian_noise", "frost"), images=200)
    found = severity_ratios(record, [1], [0])
    wrong = record.corrupted["right"] == 0
    weather = [0, 2]  # fog and frost; the families stand in the order of their first corruption
    for s in range(5):
        expected = wrong[1, weather, s].mean() / wrong[0, weather, s].mean()
        assert found.ratio[0, s] == pytest.approx(expected)
        assert found.ratio[1, s] == pytest.approx(wrong[1, 1, s].mean() / wrong[0, 1, s].mean())
        low, high = found.interval[0, s]
        assert low < found.ratio[0, s] < high
    assert (found.images == 200).all()


def test_a_model_is_exactly_as_good_as_itself() -> None:
    record = made_record()
    found = severity_ratios(record, [0], [0])
    assert (found.ratio == 1).all()
    assert (found.interval == 1).all()


def test_replicates_count_as_their_mean() -> None:
    record = made_record(models=("a", "b", "c"), images=150)
    wrong = record.corrupted["right"] == 0
    found = severity_ratios(record, [1, 2], [0])
    expected = wrong[[1, 2], 0, 3].mean() / wrong[0, 0, 3].mean()
    assert found.ratio[0, 3] == pytest.approx(expected)


def test_images_of_failed_cells_count_on_neither_side() -> None:
    record = made_record(corruptions=("fog",), images=100)
    right = record.corrupted["right"]
    right[0, 0, 2, :30] = 255
    found = severity_ratios(record, [1], [0])
    assert (found.images == 70).all()
    wrong = right[:, 0, 1, 30:] == 0
    assert found.ratio[0, 1] == pytest.approx(wrong[1].mean() / wrong[0].mean())
    right[0] = 255
    assert np.isnan(severity_ratios(record, [1], [0]).ratio).all()


def test_a_baseline_without_errors_gives_no_ratio() -> None:
    record = made_record(corruptions=("fog",))
    record.corrupted["right"][0, :, 0] = 1
    found = severity_ratios(record, [1], [0])
    assert np.isnan(found.ratio[0, 0])
    assert np.isnan(found.interval[0, 0]).all()
    assert np.isfinite(found.ratio[0, 1:]).all()
