"""Snow, frost, fog and brightness against the published algorithms, with the same draws."""

import hashlib
import importlib.util
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from published import weather as published

from attacks.corruptions import CORRUPTIONS, corrupt
from attacks.corruptions.textures import frost_textures, luminance
from attacks.corruptions.weather import (
    FogDraws,
    FrostDraws,
    SnowDraws,
    fog_side,
    frost_with,
    plasma,
)
from attacks.draws import image_seeds

PHOTOGRAPHS = Path(importlib.util.find_spec("foolbox").origin).parent / "data"
SHAPES = {"32": (32, 32, 32), "64": (64, 64, 64), "224": (224, 224, 224), "wide": (64, 41, 70)}
"""Whose strengths, height and width."""


def pictures(height, width, rng):
    """Photographs, and grey and coloured noise over a flat colour: uint8 (height, width, 3)."""
    kind, count = ("cifar10_*.png", 12) if max(height, width) <= 32 else ("imagenet_*.jpg", 1)
    chosen = [
        np.array(Image.open(path).convert("RGB").resize((width, height)))
        for path in sorted(PHOTOGRAPHS.glob(kind))[:count]
    ]
    noise = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    noise[: height // 4] = noise[: height // 4, :, :1]  # grey
    noise[-height // 4 :] = 0, 51, 204  # flat
    return [*chosen, noise]


def batch(images):
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()


def word(number, count):
    """The least 32-bit word that stands for a number in [0, count)."""
    return -(-number * 2**32 // count)


def injected(name, draws, strength, image):
    """Draws of the published side as ours."""
    if name == "snow":
        flakes = torch.from_numpy(np.stack([each.flakes for each in draws]))[:, None]
        return SnowDraws(flakes, torch.tensor([each.angle for each in draws]))
    if name == "fog":
        parts = [np.concatenate([octave.ravel() for octave in each.octaves]) for each in draws]
        return FogDraws(torch.from_numpy(np.stack(parts)))
    if name == "frost":
        words = []
        for number, top, left in draws:
            sides = [
                round(side * strength.scale) for side in published.textures()[number].shape[:2]
            ]
            words.append(
                (
                    word(number, 5),
                    word(top, sides[0] - image.shape[0]),
                    word(left, sides[1] - image.shape[1]),
                )
            )
        return FrostDraws(*torch.tensor(words).T)
    return None


def case(name, shape, severity):
    """Images (n, m, 3), a strength, and a draw for each image, of the published side."""
    strengths, height, width = SHAPES[shape]
    rng = np.random.default_rng([len(name), height, severity])
    strength = CORRUPTIONS[name].strengths[strengths][severity - 1]
    images = pictures(height, width, rng)
    draw = getattr(published, f"{name}_draws", lambda *_: None)
    return images, strength, [draw(rng, image, strength) for image in images]


def ours(name, images, strength, draws, dtype=torch.float64):
    """(N, n, m, 3)."""
    own = injected(name, draws, strength, images[0])
    pixels = CORRUPTIONS[name].apply(batch(images), strength, own, dtype)
    assert pixels.dtype == torch.uint8
    return pixels.permute(0, 2, 3, 1).numpy().astype(int)


def theirs(name, images, strength, draws):
    pairs = zip(images, draws, strict=True)
    return np.stack([getattr(published, name)(image, strength, each) for image, each in pairs])


@pytest.mark.parametrize("severity", range(1, 6))
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["frost", "fog", "brightness"])
def test_the_exact_path_is_the_published_one(name, shape, severity):
    given = case(name, shape, severity)
    np.testing.assert_array_equal(ours(name, *given), theirs(name, *given))


@pytest.mark.parametrize("severity", range(1, 6))
@pytest.mark.parametrize("shape", SHAPES)
def test_exact_snow_is_within_a_level_in_a_value_in_a_thousand(shape, severity):
    """OpenCV fuses products into the sum that is the luminance, and a sum can cross a level."""
    given = case("snow", shape, severity)
    difference = np.abs(ours("snow", *given) - theirs("snow", *given))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3


# Of frost: weights such as .7 and .7 give whole numbers for one pair of levels in ten, which
# float32 and float64 round to different sides.
DIFFER = {"snow": 1e-3, "frost": 0.03, "fog": 1e-3, "brightness": 0.01}


@pytest.mark.parametrize("severity", range(1, 6))
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", DIFFER)
def test_the_fast_path_is_within_a_level_of_the_exact_one(name, shape, severity):
    given = case(name, shape, severity)
    difference = np.abs(ours(name, *given, torch.float32) - ours(name, *given))
    assert difference.max() <= 1
    assert (difference > 0).mean() < DIFFER[name]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", ["snow", "fog", "brightness"])
def test_a_grey_image_is_treated_as_a_grey_colour_image(name, dtype):
    corruption = CORRUPTIONS[name]
    rng = np.random.default_rng(0)
    grey = torch.from_numpy(rng.integers(0, 256, (8, 1, 28, 28), dtype=np.uint8))
    seeds = image_seeds(0, torch.arange(8))
    for strength in corruption.strengths[32]:
        draws = corruption.draw and corruption.draw(seeds, (1, 28, 28), strength)
        one = corruption.apply(grey, strength, draws, dtype)
        three = corruption.apply(grey.repeat(1, 3, 1, 1), strength, draws, dtype)
        difference = (one.int() - three.int()).abs()
        # The weights of the luminance sum to 1 only nearly, which moves a level of snow rarely.
        assert difference.max() <= (name == "snow")
        assert (difference > 0).double().mean() < 0.01


def test_frost_on_a_grey_image_is_the_luminance_of_frost():
    strength = CORRUPTIONS["frost"].strengths[224][2]
    grey = torch.full((1, 1, 200, 210), 100, dtype=torch.uint8)
    draws = FrostDraws(*torch.tensor([[word(3, 5)], [word(17, 350 - 200)], [word(5, 527 - 210)]]))
    frosty = CORRUPTIONS["frost"].apply(grey, strength, draws, torch.float64)
    texture = luminance(frost_textures()[3])[:, 17:217, 5:215].double()
    expected = (0.7 * 100 + 0.7 * texture).clamp(0, 255).to(torch.uint8)
    torch.testing.assert_close(frosty[0], expected, rtol=0, atol=0)


@pytest.mark.skipif(published.MagickImage is None, reason="ImageMagick or Wand is not installed")
def test_the_blur_of_the_reference_is_that_of_imagemagick():
    rng = np.random.default_rng(0)
    for strength in CORRUPTIONS["snow"].strengths[32]:
        layer = (rng.random((48, 32)) > 0.8) * rng.integers(0, 256, (48, 32))
        settings = layer.astype(np.uint8), rng.uniform(-135, -45), strength.radius, strength.sigma
        np.testing.assert_array_equal(
            published.blurred(*settings), published.blurred_by_magick(*settings)
        )


def test_snow_falls_on_both_halves_alike():
    """The flakes are added as they are and turned by 180 degrees."""
    black = torch.zeros(4, 3, 32, 32, dtype=torch.uint8)
    snowy = corrupt(black, CORRUPTIONS["snow"], 4, seeds=image_seeds(0, torch.arange(4)))
    assert torch.equal(snowy, snowy.flip((2, 3)))
    assert snowy.float().std() > 5
    assert len({image.numpy().tobytes() for image in snowy}) == 4


def test_the_draws_of_snow_are_normal_and_come_from_above():
    corruption = CORRUPTIONS["snow"]
    draws = corruption.draw(image_seeds(3, torch.arange(2000)), (3, 16, 16), None)
    assert draws.flakes.shape == (2000, 1, 16, 16)
    # 512,000 values: the mean has a standard error of .0014, the deviation one of .001.
    assert abs(float(draws.flakes.mean())) < 0.006
    assert abs(float(draws.flakes.std()) - 1) < 0.004
    assert -135 <= float(draws.angle.min()) < -134
    assert -46 < float(draws.angle.max()) < -45
    assert abs(float(draws.angle.mean()) + 90) < 2.4  # four standard errors of 26 / √2000


def test_frost_takes_every_texture_as_often_and_every_place():
    """The crop is told from the picture: a texture whose pixels say where they are."""
    count, side = 6000, 16
    rows, columns = torch.meshgrid(torch.arange(20), torch.arange(24), indexing="ij")
    texture = [torch.stack((rows, columns, torch.full_like(rows, each))) for each in range(3)]
    corruption = frost_with([each.to(torch.uint8) for each in texture])
    strength = CORRUPTIONS["frost"].strengths[224][0]._replace(image=0.0, frost=1.0)
    draws = corruption.draw(image_seeds(5, torch.arange(count)), (3, side, side), strength)
    black = torch.zeros(count, 3, side, side, dtype=torch.uint8)
    crops = corruption.apply(black, strength, draws, torch.float64)
    top, left, number = crops[:, :, 0, 0].unbind(1)
    assert torch.equal(crops[:, 0, :, 0], top[:, None] + torch.arange(side))
    assert torch.equal(crops[:, 1, 3, :], left[:, None] + torch.arange(side))
    # The last offsets, 4 and 8, are excluded. Counts: five standard deviations of a binomial.
    for values, kinds in ((top, 4), (left, 8), (number, 3)):
        counts = torch.bincount(values.long(), minlength=kinds).double()
        assert len(counts) == kinds
        spread = (count / kinds * (1 - 1 / kinds)) ** 0.5
        assert float((counts - count / kinds).abs().max()) < 5 * spread


def test_the_last_word_is_the_last_place():
    corruption = frost_with([torch.arange(20 * 20).reshape(1, 20, 20).expand(3, -1, -1).byte()])
    strength = CORRUPTIONS["frost"].strengths[224][0]._replace(image=0.0, frost=1.0)
    last = torch.tensor([2**32 - 1])
    black = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    crop = corruption.apply(black, strength, FrostDraws(last, last, last), torch.float64)
    assert int(crop[0, 0, 0, 0]) == 3 * 20 + 3


def test_frost_works_at_any_size():
    """Our own textures are enlarged for images that they would not cover."""
    grey = torch.full((6, 1, 700, 640), 90, dtype=torch.uint8)
    frosty = corrupt(grey, CORRUPTIONS["frost"], 1, seeds=image_seeds(0, torch.arange(6)))
    assert len({image.numpy().tobytes() for image in frosty}) == 6
    assert (frosty.float().std(dim=(1, 2, 3)) > 3).all()


@pytest.mark.parametrize(
    ("textures", "message"),
    [
        ([], "at least one"),
        ([torch.zeros(3, 40, 40)], "uint8"),
        ([torch.zeros(40, 40, 3, dtype=torch.uint8)], "number 1"),
        ([torch.zeros(3, 80, 80, dtype=torch.uint8), torch.zeros(40, 40)], "number 2"),
    ],
)
def test_textures_of_another_kind_are_refused(textures, message):
    with pytest.raises(ValueError, match=message):
        frost_with(textures)


def test_a_texture_that_is_too_small_is_named():
    corruption = frost_with([torch.zeros(3, 200, side, dtype=torch.uint8) for side in (300, 160)])
    images = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"texture 2 is 32x40 at its scale of 0\.2.*32x32"):
        corrupt(images, corruption, 1, seeds=torch.zeros(1, dtype=torch.int64))


def test_plasma_by_hand():
    """Four points: the corner, the centre, right of the corner and below it; all neighbours wrap.

    The centre is 4 · 0 / 4 + a, the others (2a + 2 · 0) / 4 + b; a, b = 100 · (200 u - 100).
    """
    a, b, c = (100 * (200 * u - 100) for u in (0.9, 0.3, 0.6))
    expected = torch.tensor([[0, a / 2 + b], [a / 2 + c, a]], dtype=torch.float64)
    expected = (expected - expected.min()) / (expected.max() - expected.min())
    swirls = torch.tensor([[0.9, 0.3, 0.6]], dtype=torch.float64)
    torch.testing.assert_close(plasma(swirls, 2, 2.0)[0], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("decay", [1.4, 3.0])
def test_plasma_fades_with_the_square_of_the_decay(decay):
    """The displacement of the centres: their value less the mean of their four corners."""
    uniform = torch.rand(64, 64**2 - 1, generator=torch.Generator().manual_seed(0)).double()
    fields = plasma(uniform, 64, decay)
    spreads = []
    for step in (4, 8, 16):
        corners, centres = (
            fields[:, ::step, ::step],
            fields[:, step // 2 :: step, step // 2 :: step],
        )
        square = corners + corners.roll(-1, 1)
        moved = centres - (square + square.roll(-1, 2)) / 4
        spreads.append(float(moved.square().mean().sqrt()))
    # The rms of 64 times 16 draws or more, scaled map by map: within a tenth.
    for fine, coarse in itertools.pairwise(spreads):
        assert coarse / fine == pytest.approx(decay**2, rel=0.1)


def test_fog_keeps_black_black_and_the_brightest_level():
    seeds = image_seeds(0, torch.arange(2))
    images = torch.zeros(2, 3, 40, 40, dtype=torch.uint8)
    images[1, 0, 0, 0] = 200
    foggy = corrupt(images, CORRUPTIONS["fog"], 5, seeds=seeds)
    assert int(foggy[0].max()) == 0
    assert 100 < int(foggy[1].max()) <= 200


def test_the_draws_of_fog_are_uniform_and_enough():
    draws = CORRUPTIONS["fog"].draw(image_seeds(1, torch.arange(300)), (3, 24, 40), None)
    assert fog_side(24, 40) == 64
    assert draws.swirls.shape == (300, 64**2 - 1)
    assert float(draws.swirls.min()) >= 0
    assert float(draws.swirls.max()) < 1
    # 1.2 million values: standard errors of .00026 and .0001.
    assert abs(float(draws.swirls.mean()) - 0.5) < 0.0013
    assert abs(float(draws.swirls.var()) - 1 / 12) < 0.0005


def test_brightness_of_known_colours():
    """Value 204 of 255 goes to the top; hue and saturation stay: 255 and a quarter of it."""
    image = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    image[0, 0], image[0, 2] = 204, 51
    for exact in (True, False):
        brighter = corrupt(image, CORRUPTIONS["brightness"], 2, strengths=224, exact=exact)
        assert brighter[0, :, 0, 0].tolist() == [255, 0, 63]


DIGESTS = {
    "snow": "564b0cf9fd82b004",
    "frost": "3fa1ff2aadb193cc",
    "fog": "6e2a7c49b3511929",
    "brightness": "05ccf310986c79eb",
}


@pytest.mark.parametrize("name", DIGESTS)
def test_results_never_change(name):
    """Given draws that are whole numbers: the digests hold on every machine."""
    rows, columns = torch.meshgrid(torch.arange(24), torch.arange(20), indexing="ij")
    images = torch.stack((rows * 10, columns * 12, (rows * columns) % 256)).byte()[None]
    words = (torch.arange(32**2) * 2654435761) % 2**32
    draws = {
        "snow": SnowDraws((words[:480].double() / 2**30 - 2).reshape(1, 1, 24, 20),
                          torch.tensor([-90.0])),
        "frost": FrostDraws(*words[1:4, None]),
        "fog": FogDraws((words[None, 1:] >> 8).double() / 2**24),
        "brightness": None,
    }[name]  # fmt: skip
    corruption = CORRUPTIONS[name]
    pixels = [
        corruption.apply(images, strength, draws, torch.float64).numpy().tobytes()
        for strength in corruption.strengths[32]
    ]
    assert hashlib.sha256(b"".join(pixels)).hexdigest()[:16] == DIGESTS[name]
