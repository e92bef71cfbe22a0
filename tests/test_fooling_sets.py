"""Sets of fooling images: what is made of an image, and that the file says just that."""

import h5py
import numpy as np
import pytest
import torch
import xarray
from attack_case import linear_case, predicted, random_images, small_net

from benchmarks.durable import checksum_path
from benchmarks.fooling_sets import fool, read_fooling_set, write_fooling_set

IDS = torch.arange(12) * 977 + 5


def made(strength=20.0, rows=slice(None), **settings):
    model = small_net()
    model.std = (0.25, 0.5, 1.0)
    images = random_images()
    labels = predicted(model, images)
    return fool(model, images[rows], labels[rows], IDS[rows], strength=strength, **settings)


def test_a_step_on_a_linear_model_is_as_long_as_its_strength():
    model, images, labels, scores = linear_case()
    model.std = (0.5,)
    outcome = fool(model, images, labels, torch.arange(16), strength=100.0)
    length = 0.5 * 100 * (36 / 150528) ** 0.5  # std · strength · √(values / 150528)
    away = -model.weight.detach() / model.weight.detach().norm()
    away = away * (2 * labels - 1)[:, None, None, None]
    needed = (scores.abs() / model.weight.detach().norm() / length).ceil().clamp_min(1)
    assert torch.equal(torch.from_numpy(outcome.steps), needed.int())
    assert (needed == 1).any()
    expected = (images + length * away).clamp(0, 1)
    stored = torch.from_numpy(outcome.images).permute(0, 3, 1, 2) / 255
    off = (stored - expected)[needed == 1].abs().max()
    assert off <= 0.5 / 255 + 1e-6
    assert (outcome.target == 1 - labels.numpy()).all()


def test_the_columns_say_what_is_stored():
    outcome = made()
    model, images = small_net().eval(), random_images()
    labels = predicted(model, images).numpy()
    assert (outcome.target != labels).all()
    stored = torch.from_numpy(outcome.images).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        chances = torch.softmax(model(stored), 1).numpy()
    assert (outcome.prediction == chances.argmax(1)).all()
    np.testing.assert_allclose(outcome.confidence, chances.max(1), rtol=1e-4)
    assert (outcome.reached == (chances.argmax(1) == outcome.target)).all()
    assert outcome.reached.mean() > 0.5
    change = (stored - images).numpy().reshape(12, -1)
    np.testing.assert_allclose(outcome.l2, np.sqrt((change**2).sum(1)), rtol=1e-4)
    at_border = np.isin(outcome.images.reshape(12, -1), (0, 255))  # the originals have none
    np.testing.assert_allclose(outcome.clipped, at_border.mean(1), atol=1e-6)
    assert outcome.clipped.max() > 0


def test_an_image_does_not_hang_on_its_neighbours_nor_a_strength_on_others():
    whole, part = made(), made(rows=slice(3, 8))
    assert (whole.target[3:8] == part.target).all()
    assert np.abs(whole.images[3:8].astype(int) - part.images).max() <= 1
    other = made(strength=5.0)
    assert (whole.target != other.target).any()
    assert (made(seed=1).target != whole.target).any()


def write(path, outcomes, **changes):
    settings = {
        "strengths": [5.0, 20.0],
        "image_shape": (8, 8, 3),
        "ids": IDS.numpy(),
        "labels": np.arange(12) % 5,
        "class_names": tuple("abcde"),
        "description": {"seed": 0},
    }
    write_fooling_set(path, outcomes, **{**settings, **changes})


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "set.h5"
    five, twenty = made(5.0), made(20.0)
    halves = [(1, 6, made(20.0)._make(each[6:] for each in twenty))]
    halves += [(1, 0, twenty._make(each[:6] for each in twenty)), (0, 0, five)]
    write(path, halves)
    found = read_fooling_set(path)
    assert found.strengths == (5.0, 20.0)
    assert found.shape == (2, 12, 8, 8, 3)
    assert (found.ids == IDS.numpy()).all()
    assert (found.labels == np.arange(12) % 5).all()
    assert found.class_names == tuple("abcde")
    assert found.description == {"seed": 0}
    for index, outcome in enumerate((five, twenty)):
        for one, other in zip(found.outcome(index), outcome, strict=True):
            assert one.dtype == other.dtype
            assert (one == other).all()
    assert (found.read(1, 2, 5) == twenty.images[2:5]).all()
    assert checksum_path(path).exists()
    with xarray.open_dataset(path, engine="h5netcdf") as data:
        assert data["reached"].dims == ("strength", "example")
        assert (data["steps"].sel(strength=20).values == twenty.steps).all()
    with h5py.File(path) as file:
        assert {"images", "steps", "l2"} <= set(file)


def test_a_set_that_lacks_images_is_not_written(tmp_path):
    path = tmp_path / "set.h5"
    with pytest.raises(ValueError, match="12 of 24 images were given"):
        write(path, [(0, 0, made(5.0))])
    assert list(tmp_path.iterdir()) == []


def test_other_and_unfinished_files_are_no_sets(tmp_path):
    path = tmp_path / "set.h5"
    write(path, [(0, 0, made(5.0))], strengths=[5.0])
    with h5py.File(path, "r+") as file:
        del file.attrs["complete"]
    with pytest.raises(ValueError, match="no complete set of fooling images"):
        read_fooling_set(path)
    with h5py.File(path, "w") as file:
        file["images"] = np.zeros(3)
    with pytest.raises(ValueError, match="no complete set of fooling images"):
        read_fooling_set(path)
