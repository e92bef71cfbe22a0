"""A contact sheet shows the pixels it is given, where its texts say."""

import itertools
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from attacks.corruptions import CORRUPTIONS
from workbench.contact_sheet import draw_sheet, save_sheet
from workbench.errors import UsageError

SEVERITIES = (1, 2, 3, 4, 5)


def random_image(rng, shape):
    return torch.from_numpy(rng.integers(0, 256, shape).astype(np.uint8))


def sheet(names, shape=(3, 32, 32), severities=SEVERITIES, seed=0):
    """An image, and for each name and severity an image of other pixels."""
    rng = np.random.default_rng(seed)
    corrupted = {name: [random_image(rng, shape) for _ in severities] for name in names}
    return random_image(rng, shape), corrupted, severities


def in_order(original, corrupted):
    """The images as a reader of the sheet meets them, row by row."""
    return [image for images in corrupted.values() for image in (original, *images)]


def pictures(figure):
    """The images of a sheet, in the order in which they were drawn."""
    (axes,) = figure.axes
    return list(axes.images)


@pytest.mark.parametrize(
    ("names", "shape"),
    [
        (["fog"], (1, 28, 28)),
        (["gaussian_noise", "fog", "frost"], (3, 32, 32)),
        (list(CORRUPTIONS), (3, 64, 64)),
        (["contrast"], (3, 224, 200)),
        (["contrast", "spatter"], (3, 20, 90)),
    ],
)
def test_every_pixel_of_every_image_is_on_the_page(tmp_path, names, shape):
    original, corrupted, severities = sheet(names, shape)
    save_sheet(tmp_path / "s.png", original, corrupted, severities, "a title")
    page = np.asarray(Image.open(tmp_path / "s.png").convert("RGB"))
    figure = draw_sheet(original, corrupted, severities, "a title")
    expected = in_order(original, corrupted)
    assert len(pictures(figure)) == len(expected) == len(names) * 6
    for picture, image in zip(pictures(figure), expected, strict=True):
        box = picture.get_window_extent()
        left, width = round(box.x0), round(box.width)
        top, height = round(page.shape[0] - box.y1), round(box.height)
        scale = width // shape[2]
        assert (height, width) == (scale * shape[1], scale * shape[2])
        shown = page[top : top + height, left : left + width]
        pixels = image.expand(3, -1, -1).permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(shown, pixels.repeat(scale, 0).repeat(scale, 1))


def test_rows_columns_and_blocks_stand_where_their_names_do():
    names = [name for name, each in CORRUPTIONS.items() if each.family != "extra"]
    original, corrupted, severities = sheet(names)
    figure = draw_sheet(original, corrupted, severities)
    figure.canvas.draw()
    share = figure.transFigure.inverted()
    boxes = [picture.get_window_extent().transformed(share) for picture in pictures(figure)]
    places = {}
    for text in figure.texts:
        places.setdefault(text.get_text(), []).append(text.get_position())
    for number, name in enumerate(names):
        clean, last = boxes[6 * number], boxes[6 * number + 5]
        label = name.replace("_", " ").capitalize().replace("Jpeg", "JPEG")
        [(x, y)] = places[label]
        assert y == pytest.approx((clean.y0 + clean.y1) / 2)
        assert x < clean.x0 < last.x0
    blocks = (0, 7)  # noise and blur; weather and digital
    assert [boxes[6 * first].y1 for first in blocks] == [max(box.y1 for box in boxes)] * 2
    for block, first in enumerate(blocks):
        for number, header in enumerate(("clean", *map(str, severities))):
            box = boxes[6 * first + number]
            assert places[header][block][0] == pytest.approx((box.x0 + box.x1) / 2)
    for family, (first, last) in {
        "Noise": (0, 2), "Blur": (3, 6), "Weather": (7, 10), "Digital": (11, 14)
    }.items():  # fmt: skip
        [(x, y)] = places[family]
        assert y == pytest.approx((boxes[6 * first].y1 + boxes[6 * last].y0) / 2)
    gaps = [boxes[6 * row].y0 - boxes[6 * row + 6].y1 for row in (0, 1, 2)]
    assert gaps[0] == pytest.approx(gaps[1])
    assert gaps[2] > 2 * gaps[0]


@pytest.mark.parametrize("names", [["fog"], list(CORRUPTIONS), ["my_own", "fog", "an_other"]])
@pytest.mark.parametrize("severities", [(3,), (1, 5), SEVERITIES])
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 250, 90)])
def test_nothing_overlaps_or_leaves_the_page(names, severities, shape):
    title = "CIFAR-10-C, gaussian_noise, a name that is much too long for a single line of text"
    figure = draw_sheet(*sheet(names, shape, severities), title)
    figure.canvas.draw()
    page = figure.bbox
    words = [text.get_window_extent() for text in figure.texts]
    boxes = words + [picture.get_window_extent() for picture in pictures(figure)]
    for box in boxes:
        assert page.x0 <= box.x0
        assert box.x1 <= page.x1
        assert page.y0 <= box.y0
        assert box.y1 <= page.y1
    for one, other in itertools.product(words, boxes):
        wide = min(one.x1, other.x1) - max(one.x0, other.x0)
        high = min(one.y1, other.y1) - max(one.y0, other.y0)
        assert one is other or wide <= 0 or high <= 0


def test_a_sheet_of_all_corruptions_is_as_wide_as_a_page():
    """Whatever the images' size: letters and images keep their proportion in print."""
    names = list(CORRUPTIONS)[::2]  # half of each block: they decide no width
    widths = [
        draw_sheet(*sheet(names, (1, side, side))).get_size_inches()[0]
        for side in (28, 32, 96, 224, 500)
    ]
    assert min(widths) > 7.5
    assert max(widths) < 9


def test_large_images_are_reduced():
    figure = draw_sheet(*sheet(["fog"], (3, 400, 600)))
    figure.canvas.draw()
    box = pictures(figure)[0].get_window_extent()
    assert (round(box.width), round(box.height)) == (256, 171)


def test_floats_are_the_pixels_they_stand_for(tmp_path):
    original, corrupted, severities = sheet(["fog"])
    save_sheet(tmp_path / "bytes.png", original, corrupted, severities)
    floats = {"fog": [image.float() / 255 for image in corrupted["fog"]]}
    save_sheet(tmp_path / "floats.png", original.float() / 255, floats, severities)
    assert (tmp_path / "bytes.png").read_bytes() == (tmp_path / "floats.png").read_bytes()


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_the_same_images_give_the_same_file(tmp_path, suffix):
    start = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}[suffix]
    for name in ("a", "b"):
        save_sheet(tmp_path / f"{name}.{suffix}", *sheet(["fog", "frost"]), "a title")
    content = (tmp_path / f"a.{suffix}").read_bytes()
    assert content.startswith(start)
    assert content == (tmp_path / f"b.{suffix}").read_bytes()


def test_a_vector_graphic_holds_all_images(tmp_path):
    save_sheet(tmp_path / "s.svg", *sheet(["fog", "frost"]))
    assert len(re.findall(r"<image\b", (tmp_path / "s.svg").read_text())) == 12


def test_what_cannot_be_drawn_is_refused(tmp_path):
    original, corrupted, severities = sheet(["fog"])
    with pytest.raises(UsageError, match=r"s\.jpg: a sheet is written as \.png, \.pdf, \.svg"):
        save_sheet(tmp_path / "s.jpg", original, corrupted, severities)
    with pytest.raises(UsageError, match="no corruptions"):
        draw_sheet(original, {}, severities)
    with pytest.raises(UsageError, match=r"\(C, H, W\), C being 1 or 3, not \(2, 9, 9\)"):
        draw_sheet(torch.zeros(2, 9, 9), corrupted, severities)
    with pytest.raises(UsageError, match="fog: one image like the original"):
        draw_sheet(original, corrupted, (1, 2))
    with pytest.raises(UsageError, match="fog: one image like the original"):
        draw_sheet(original[:, 1:], corrupted, severities)
    assert list(tmp_path.iterdir()) == []


def test_drawing_leaves_pyplot_and_its_settings_alone(tmp_path):
    code = (
        "import sys, torch; from pathlib import Path; from workbench import contact_sheet, figures;"
        "before = 'matplotlib' in sys.modules;"
        "image = torch.zeros(1, 16, 16); said = ('a', 1.0);"
        "figures.draw_panel([figures.Case(image, image, said, said)]);"
        "contact_sheet.save_sheet(Path(sys.argv[1]), image, {'fog': [image]}, (1,));"
        "import matplotlib;"
        "print(before, 'matplotlib.pyplot' in sys.modules, matplotlib.rcParams['pdf.fonttype'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "s.pdf"], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "False", "3"]
