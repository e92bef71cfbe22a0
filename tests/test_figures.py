"""Pictures show the pixels they say, and their texts keep apart."""

import itertools
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from workbench.errors import UsageError
from workbench.figures import Case, amplified, draw_panel, percent, save_panel, save_png

RNG = np.random.default_rng(1)


def case(channels: int = 3, height: int = 8, width: int = 8, **more: object) -> Case:
    original, result = RNG.random((2, channels, height, width)).astype(np.float32)
    said = {"before": ("cat", 0.81), "after": ("dog", 0.912), **more}
    return Case(original, result, **said)  # type: ignore[arg-type]  # given by keyword


def texts(figure: object) -> list[str]:
    return [text.get_text() for text in figure.texts]  # type: ignore[attr-defined]  # a Figure


def pictures(figure: object) -> list[Any]:
    """Original, result and difference of each case, in their order."""
    (axes,) = figure.axes  # type: ignore[attr-defined]  # a Figure
    return list(axes.images)


LONG = "a class whose name goes on and on, as those of ImageNet do"


@pytest.mark.parametrize(
    ("count", "height", "width"),
    [(1, 28, 28), (2, 150, 300), (3, 64, 20), (8, 28, 28), (9, 64, 20), (16, 150, 300)],
)
def test_no_text_overlaps_another_or_an_image_or_leaves_the_page(
    count: int, height: int, width: int
) -> None:
    cases = [
        case(
            1,
            height,
            width,
            before=(LONG.replace(",", ""), 0.5),
            after=("MMMMMMMMMMMMMMMMMMMMMMMMMMMM", 1.0),
            truth="WWWWWWWWWWWWWWWWWWWWWWWWWWWWWW",
            steps=1000,
            success=False,
        )
        for _ in range(count)
    ]
    figure = draw_panel(cases, title="resnet20, sign-ascent(confidence=0.9, steps=1000) " * 3)
    figure.canvas.draw()
    page = figure.bbox
    words = [text.get_window_extent() for text in figure.texts]
    boxes = words + [picture.get_window_extent() for picture in pictures(figure)]
    assert len(pictures(figure)) == 3 * count
    for box in boxes:
        assert page.x0 <= box.x0
        assert box.x1 <= page.x1
        assert page.y0 <= box.y0
        assert box.y1 <= page.y1
    for one, other in itertools.product(words, boxes):
        wide = min(one.x1, other.x1) - max(one.x0, other.x0)
        high = min(one.y1, other.y1) - max(one.y0, other.y0)
        assert one is other or wide <= 0 or high <= 0


@pytest.mark.parametrize("channels", [1, 3])
def test_every_pixel_is_drawn_as_it_is(tmp_path: Path, channels: int) -> None:
    drawn = case(channels)
    save_panel(tmp_path / "p.png", [drawn])
    page = np.asarray(Image.open(tmp_path / "p.png").convert("RGB")).astype(float) / 255
    change = drawn.result.astype(float) - drawn.original
    expected = (drawn.original, drawn.result, 0.5 + 0.5 * change / np.abs(change).max())
    for shown, picture in zip(pictures(draw_panel([drawn])), expected, strict=True):
        box = shown.get_window_extent()
        for row, column in itertools.product(range(8), range(8)):
            x = box.x0 + box.width * (column + 0.5) / 8
            y = page.shape[0] - box.y1 + box.height * (row + 0.5) / 8
            assert np.abs(page[int(y), int(x)] - picture[:, row, column]).max() <= 0.501 / 255


def test_images_of_other_proportions_keep_them_and_stand_in_the_middle() -> None:
    figure = draw_panel([case(3, 64, 20), case(3, 32, 64)])
    boxes = [picture.get_window_extent() for picture in pictures(figure)]
    assert [(box.width, box.height) for box in boxes[::3]] == [
        (pytest.approx(width), pytest.approx(height)) for width, height in ((80, 256), (256, 128))
    ]
    middles = [(box.y0 + box.y1) / 2 for box in boxes[::3]]
    assert middles[0] == pytest.approx(middles[1])


def test_texts_say_what_was_predicted_and_by_how_much_the_difference_is_amplified() -> None:
    original = np.full((1, 4, 4), 0.5)
    result = original.copy()
    result[0, 1, 2] -= 0.02
    shown = texts(
        draw_panel(
            [
                Case(original, result, ("tench, Tinca tinca", 0.81), ("dog", 0.91), steps=12),
                Case(original, original, ("cat", 0.8), ("cat", 0.8), "dog", 1, success=False),
            ],
            title="mlp, fgsm",
        )
    )
    for text in ("mlp, fgsm", "tench", "81 %", "dog", "91 %", "\u00d7 25, 12 steps"):
        assert text in shown
    for text in ("cat", "80 %", "(is dog)", "unchanged, 1 step", "not reached"):
        assert text in shown


def test_the_true_class_is_shown_only_where_the_prediction_is_another() -> None:
    assert not any("is cat" in text for text in texts(draw_panel([case(truth="cat")])))


@given(
    hnp.arrays(np.float64, (3, 2, 2), elements=st.floats(0, 1)),
    hnp.arrays(np.float64, (3, 2, 2), elements=st.floats(0, 1)),
)
def test_amplification_fills_the_scale_and_can_be_undone(
    original: np.ndarray, result: np.ndarray
) -> None:
    picture, factor = amplified(original, result)
    if (original == result).all():
        assert factor == math.inf
        assert (picture == 0.5).all()
        return
    assert np.abs(picture - 0.5).max() == pytest.approx(0.5)
    largest = np.abs(result - original).max()
    assert factor == 0.5 / float(largest)
    assert np.allclose((picture - 0.5) * largest * 2, result - original, atol=1e-12)


@settings(max_examples=20)
@given(
    hnp.arrays(np.uint8, st.tuples(st.sampled_from([1, 3]), st.integers(1, 9), st.integers(1, 9)))
)
def test_single_images_are_saved_losslessly(
    tmp_path_factory: pytest.TempPathFactory, pixels: np.ndarray
) -> None:
    path = tmp_path_factory.mktemp("png") / "x.png"
    save_png(path, torch.from_numpy(pixels).float() / 255)
    with Image.open(path) as image:
        assert image.mode == ("L" if len(pixels) == 1 else "RGB")
        read = np.atleast_3d(np.asarray(image)).transpose(2, 0, 1)
    assert (read == pixels).all()


@pytest.mark.parametrize(
    ("probability", "text"),
    [
        (0.0, "0 %"),
        (1e-9, "<1 %"),
        (0.0051, "1 %"),
        (0.914, "91 %"),
        (0.9949, "99 %"),
        (0.99999, ">99 %"),
        (1.0, "100 %"),
        (math.nan, "? %"),
    ],
)
def test_percentages_claim_no_certainty(probability: float, text: str) -> None:
    assert percent(probability) == text


def test_dollars_and_foreign_letters_are_plain_text(tmp_path: Path) -> None:
    odd = case(before=("$x_1$", 0.5), after=("犬", 0.5))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_panel(tmp_path / "p.png", [odd], title="a $b_c$ 犬 \\frac")
    assert "$x_1$" in texts(draw_panel([odd]))


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "p.png").mkdir()
    with pytest.raises(OSError, match=r"p\.png"):
        save_panel(tmp_path / "p.png", [case()])
    assert [path.name for path in tmp_path.iterdir()] == ["p.png"]


@pytest.mark.parametrize(
    "cases",
    [
        [],
        [Case(np.zeros((4, 8, 8)), np.zeros((4, 8, 8)), ("a", 1.0), ("a", 1.0))],
        [Case(np.zeros((1, 8, 8)), np.zeros((1, 8, 9)), ("a", 1.0), ("a", 1.0))],
    ],
)
def test_what_cannot_be_drawn_is_refused(cases: list[Case]) -> None:
    with pytest.raises(UsageError, match=r"no images|shape \(C, H, W\)"):
        draw_panel(cases)
