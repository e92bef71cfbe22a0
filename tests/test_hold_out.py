"""Which training images are held out: it goes by the images, not by their files or order."""

from pathlib import Path

import numpy as np
import pytest
from cli_case import task
from PIL import Image

from workbench.console import Console
from workbench.training_plan import Request, Task, held_out_rows, load_splits, make_task


def request(data: Path, **changes: object) -> Request:
    values = dict.fromkeys(Request.__dataclass_fields__)
    values |= {"arch": "mlp", "data": str(data), "defenses": (), "hold_out": 0.2, "seed": 0}
    return Request(**{**values, "download": False, **changes})  # type: ignore[arg-type]


def contents(path: Path, **changes: object) -> tuple[set[bytes], set[bytes]]:
    """The images that are trained on, and those held out, as bytes."""
    asked = request(path, **changes)
    found: Task = make_task(asked, load_splits(asked, Console(silent=True)))
    assert found.held_out is not None
    parts = (found.fitted.pixels.read(slice(None)), found.held_out.pixels.read(slice(None)))
    return {each.tobytes() for each in parts[0]}, {each.tobytes() for each in parts[1]}


@pytest.fixture
def images(tmp_path: Path) -> tuple[np.ndarray, np.ndarray]:
    return task(50, 4)


def test_the_same_images_are_held_out_in_another_order_and_from_other_files(
    tmp_path: Path, images: tuple[np.ndarray, np.ndarray]
) -> None:
    pixels, labels = images
    np.savez(tmp_path / "a.npz", images=pixels, labels=labels)
    order = np.random.default_rng(0).permutation(50)
    np.savez(tmp_path / "b.npz", images=pixels[order], labels=labels[order])
    for row, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        folder = tmp_path / "c" / "train" / f"class{3 - label}"  # numbered the other way round
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{97 * row % 50}.png")
    fitted, held_out = contents(tmp_path / "a.npz")
    assert (len(fitted), len(held_out)) == (40, 10)
    assert contents(tmp_path / "b.npz") == (fitted, held_out)
    assert contents(tmp_path / "c") == (fitted, held_out)
    assert contents(tmp_path / "a.npz", seed=1) != (fitted, held_out)


def test_a_limit_takes_the_same_images_for_every_seed(
    tmp_path: Path, images: tuple[np.ndarray, np.ndarray]
) -> None:
    np.savez(tmp_path / "a.npz", images=images[0], labels=images[1])
    one, other = (contents(tmp_path / "a.npz", limit=20, seed=seed) for seed in (0, 1))
    assert one != other
    assert one[0] | one[1] == other[0] | other[1]


def test_classes_are_held_out_evenly_and_by_the_share() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 5, 400)
    ids = generator.integers(-(2**63), 2**63, 400)
    rows = held_out_rows(labels, ids, 0.25, 7)
    assert len(rows) == 100
    assert (np.diff(rows) > 0).all()
    assert np.bincount(labels[rows], minlength=5).tolist() == [20] * 5
    assert len(held_out_rows(labels, ids, 0.0, 7)) == 0


def test_every_image_is_held_out_about_as_often_as_any_other() -> None:
    """Over 400 seeds each of 40 images is drawn 40 times, give or take six deviations."""
    labels, ids = np.zeros(40, np.int64), np.arange(40)
    times = np.zeros(40)
    for seed in range(400):
        times[held_out_rows(labels, ids, 0.1, seed)] += 1
    assert times.sum() == 1600
    assert abs(times - 40).max() < 6 * np.sqrt(400 * 0.1 * 0.9)
