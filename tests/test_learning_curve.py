"""Learning curves show the numbers they are given, and their texts keep apart."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.history import best_epoch
from workbench.learning_curve import (
    HELD_OUT,
    PICTURES,
    TRAINING,
    Curve,
    draw_learning_curve,
    save_learning_curve,
)

LONG = "resnet20(width=16) on cifar10, " + "augmix(width=3, depth=-1, alpha=1, severity=3), " * 4


def curve(
    count: int, seed: int = 0, *, held_out: bool = True, scale: float = 1.0, rate: float = 0.1
) -> Curve:
    generator = np.random.default_rng(seed)
    entries = []
    for epoch in range(1, count + 1):
        loss, error = generator.random(2)
        entry = {
            "epoch": epoch,
            "loss": scale**epoch * (1 + loss),
            "error": error,
            "lr": rate / epoch,
        }
        loss, error = generator.random(2) if held_out else (None, None)
        entries.append(entry | {"validation_loss": loss, "validation_error": error})
    return Curve(entries, best_epoch(entries))


SHAPES = {
    "one epoch": [curve(1)],
    "two hundred": [curve(200)],
    "none held out": [curve(30, held_out=False)],
    "five seeds": [curve(20, seed) for seed in range(5)],
    "five seeds of one epoch": [curve(1, seed) for seed in range(5)],
    "a steep loss": [curve(20, scale=3.0)],
    "a tiny loss": [curve(20, scale=0.1)],
    "a small rate": [curve(20, rate=0.0009)],
}


@pytest.mark.parametrize("curves", SHAPES.values(), ids=SHAPES)
def test_no_text_overlaps_another_or_leaves_the_page(curves: list[Curve]) -> None:
    figure = draw_learning_curve(curves, LONG)
    figure.draw_without_rendering()
    texts = list(figure.texts) + figure.legends[0].get_texts()
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        if not axis.get_visible():  # the learning rate shares the epochs of the loss
            continue
        texts += [axis.label, axis.get_offset_text()]
        low, high = axis.get_view_interval()
        for tick in axis.get_major_ticks():
            if low <= tick.get_loc() <= high:
                texts += [tick.label1 if tick.label1.get_visible() else tick.label2]
    boxes = [text.get_window_extent() for text in texts if text.get_text() and text.get_visible()]
    assert len(boxes) > 15
    for box in boxes:
        assert figure.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 <= box.y1 <= figure.bbox.y1
    for one, other in itertools.combinations(boxes, 2):
        wide = min(one.x1, other.x1) - max(one.x0, other.x0)
        high = min(one.y1, other.y1) - max(one.y0, other.y0)
        assert wide <= 0 or high <= 0


def test_one_training_is_drawn_as_it_was_and_its_best_epoch_marked() -> None:
    given = curve(30)
    errors, losses, rates = draw_learning_curve([given], "t").axes
    lines = {line.get_color(): line for line in errors.lines[:2]}
    for color, name in ((TRAINING, "error"), (HELD_OUT, "validation_error")):
        np.testing.assert_allclose(lines[color].get_ydata(), 100 * given.column(name))
    (mark,) = errors.lines[2:]
    held_out = given.column("validation_error")
    assert mark.get_xdata()[0] == held_out.argmin() + 1
    assert mark.get_ydata()[0] == pytest.approx(100 * held_out.min())
    np.testing.assert_allclose(losses.lines[0].get_ydata(), given.column("loss"))
    np.testing.assert_allclose(rates.lines[0].get_ydata(), given.column("lr"))
    labels = [axes.get_ylabel() for axes in (errors, losses, rates)]
    assert labels == ["error (%)", "loss (nats)", "learning rate"]


def test_replicates_are_thin_below_their_mean() -> None:
    given = SHAPES["five seeds"]
    errors = draw_learning_curve(given, "t").axes[0]
    widths = [line.get_linewidth() for line in errors.lines if len(line.get_xdata()) > 1]
    assert widths == [0.6] * 5 + [1.5] + [0.6] * 5 + [1.5]
    mean = [line for line in errors.lines if line.get_linewidth() == 1.5][1]
    expected = sum(each.column("validation_error") for each in given) / 5
    np.testing.assert_allclose(mean.get_ydata(), 100 * expected)
    assert mean.get_label() == "held out (mean of 5 seeds)"


def test_the_loss_is_on_a_logarithmic_axis_only_where_it_falls_far() -> None:
    scales = {
        name: draw_learning_curve(each, "").axes[1].get_yscale() for name, each in SHAPES.items()
    }
    assert {name for name, scale in scales.items() if scale == "log"} >= {"a steep loss"}
    assert scales["one epoch"] == scales["five seeds of one epoch"] == "linear"


def test_pictures_are_whole_and_the_same_each_time(tmp_path: Path) -> None:
    kept = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        save_learning_curve(folder, [curve(5)], "µ $x$ ⛄")
        assert sorted(file.name for file in folder.iterdir()) == sorted(PICTURES)
        kept.append([(folder / each).read_bytes() for each in PICTURES])
    assert kept[0] == kept[1]
    with Image.open(tmp_path / "a" / PICTURES[0]) as picture:
        assert picture.width == 1350
    assert kept[0][1].lstrip().startswith(b"<?xml")


def test_what_was_not_measured_is_no_number() -> None:
    values = curve(2, held_out=False).column("validation_error")
    assert [math.isnan(value) for value in values] == [True, True]
