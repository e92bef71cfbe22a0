"""What names, severities and strengths may be asked for, and what is made of them in memory."""

import numpy as np
import pytest
import torch
from corrupted_case import FAKES, brightened, clean, jpeg_85, put_fakes
from PIL import Image

from attacks.corruptions import CORRUPTIONS, corrupt
from attacks.draws import image_seeds
from benchmarks.suite import Shard
from workbench import corruptions as c
from workbench.datasets.dataset import image_ids
from workbench.errors import UsageError

NOISE = ("gaussian_noise", "shot_noise", "impulse_noise")
EXTRA = ("speckle_noise", "gaussian_blur", "spatter", "saturate")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("noise", NOISE),
        ("extra", EXTRA),
        ("fog", ("fog",)),
        ("saturate,Shot-Noise, fog", ("shot_noise", "fog", "saturate")),
        ("noise,gaussian_noise", NOISE),
        ("digital,fog", ("fog", "contrast", "elastic_transform", "pixelate", "jpeg_compression")),
    ],
)
def test_names_families_and_groups_come_in_the_order_of_the_literature(text, names):
    assert c.parse_corruptions(text) == names


def test_the_standard_are_fifteen_and_all_are_nineteen():
    assert len(c.parse_corruptions("standard")) == 15
    assert c.parse_corruptions("all") == (*c.parse_corruptions("standard"), *EXTRA)
    assert c.parse_corruptions("noise,blur,weather,digital") == c.parse_corruptions("standard")


@pytest.mark.parametrize(
    ("text", "hint"),
    [("gausian_noise", "Did you mean 'gaussian_noise'"), ("wether", "'weather'"), (" ,", "none")],
)
def test_other_names_are_refused_with_a_hint(text, hint):
    with pytest.raises(UsageError, match=hint):
        c.parse_corruptions(text)


@pytest.mark.parametrize(
    ("text", "severities"),
    [("1-5", (1, 2, 3, 4, 5)), ("3", (3,)), ("5,1,3", (1, 3, 5)), ("1,3 - 4", (1, 3, 4))],
)
def test_severities(text, severities):
    assert c.parse_severities(text) == severities


@pytest.mark.parametrize("text", ["0", "0-5", "1-6", "6", "", "5-1", "1-", "x", "1;2", "-1", "1.5"])
def test_other_severities_are_refused(text):
    with pytest.raises(UsageError, match="severities"):
        c.parse_severities(text)


def test_strengths_are_those_of_three_sizes():
    assert [c.check_strengths(size) for size in (None, 32, 64, 224)] == [None, 32, 64, 224]
    with pytest.raises(UsageError, match="32, 64 and 224"):
        made(["fog"], [1], seed=0, strengths=48)


def made(*arguments, **settings):
    return [recipe.corrupted for recipe in c.make_recipes(*arguments, **settings)]


def shard(count=4):
    images, labels = clean(count)
    tensor = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    return images, Shard(image_ids(images), tensor.contiguous(), labels)


def test_in_memory_the_strengths_go_by_size_unless_they_are_given(monkeypatch):
    put_fakes(monkeypatch)
    images, part = shard()
    for strengths, size in ((None, 32), (64, 64), (224, 224)):
        both = made(["brightness"], [2, 5], seed=0, strengths=strengths)
        assert [(each.corruption, each.severity) for each in both] == [
            ("brightness", 2),
            ("brightness", 5),
        ]
        for each in both:
            found = each.corrupt(part, slice(0, 4))
            assert found.dtype == torch.float32
            expected = brightened(images, each.severity, size)
            assert ((found * 255).permute(0, 2, 3, 1).numpy() == expected).all()


def test_draws_go_by_the_seed_and_the_image_and_leave_the_shard_alone(monkeypatch):
    put_fakes(monkeypatch)
    images, part = shard()
    before = part.images.clone()
    (one,) = made(["gaussian_noise"], [3], seed=7)
    whole = one.corrupt(part, slice(0, 4))
    alone = Shard(part.ids[2:3], part.images[2:3], part.labels[2:3])
    assert torch.equal(one.corrupt(alone, slice(2, 3)), whole[2:3])
    assert torch.equal(part.images, before)
    seeds = image_seeds(7, torch.from_numpy(part.ids))
    direct = corrupt(torch.from_numpy(images).permute(0, 3, 1, 2), FAKES[1], 3, seeds=seeds)
    assert torch.equal((whole * 255).round().byte(), direct)
    (other,) = made(["gaussian_noise"], [3], seed=8)
    assert not torch.equal(other.corrupt(part, slice(0, 4)), whole)


def test_the_description_has_all_that_decides_the_pixels():
    settings = {"seed": 0, "strengths": 32, "exact": False, "jpeg85": False}
    base = made(["fog"], [1], **settings)[0].description
    for name, value in {"seed": 1, "strengths": 64, "exact": True, "jpeg85": True}.items():
        other = made(["fog"], [1], **{**settings, name: value})[0].description
        assert {key for key in base if base[key] != other[key]} == {name}


def test_jpeg_85_is_what_a_file_of_that_quality_holds(monkeypatch):
    put_fakes(monkeypatch)
    images, part = shard()
    (one,) = made(["brightness"], [1], seed=0, jpeg85=True)
    found = (one.corrupt(part, slice(0, 4)) * 255).round().permute(0, 2, 3, 1).numpy()
    expected = np.stack([jpeg_85(image) for image in brightened(images, 1)])
    assert (found == expected).all()


def test_published_textures_are_the_first_five_and_others_all(tmp_path):
    shades = {}
    for number in range(1, 7):
        suffix = "png" if number < 4 else "jpg"
        shades[number] = 30 * number
        size = (40 + number, 50)
        Image.new("RGB", size, (shades[number],) * 3).save(tmp_path / f"frost{number}.{suffix}")
    found = c.read_textures(tmp_path)
    assert [tuple(each.shape) for each in found] == [(3, 50, 41 + number) for number in range(5)]
    assert [int(each[0, 0, 0]) for each in found] == [30, 60, 90, 120, 150]
    Image.new("RGBA", (40, 40), (1, 2, 3, 255)).save(tmp_path / "a.png")
    (tmp_path / "frost1.png").unlink()
    found = c.read_textures(tmp_path)
    assert len(found) == 6
    assert found[0][:, 0, 0].tolist() == [1, 2, 3]


def test_textures_of_ones_own_are_used_and_named(tmp_path):
    Image.new("RGB", (900, 600), (200, 210, 220)).save(tmp_path / "ice.png")
    (ours,) = c.make_recipes(["frost"], [1], seed=0)
    (mine,) = c.make_recipes(["frost"], [1], seed=0, textures=tmp_path)
    assert ours.description["textures"] == "procedural"
    assert mine.description["textures"] == c.digest(c.read_textures(tmp_path))[:16]
    images, ids = torch.zeros(2, 3, 32, 32, dtype=torch.uint8), np.array([1, 2])
    # an even texture on black: the share of frost at 32 pixels, severity 1, is 0.2, truncated
    assert mine.pixels(images, ids).unique().tolist() == [40, 42, 44]


@pytest.mark.parametrize("content", [None, "empty", "damaged"])
def test_textures_that_are_none_are_refused(content, tmp_path):
    folder = tmp_path / "frost"
    if content:
        folder.mkdir()
    if content == "damaged":
        (folder / "frost1.png").write_bytes(b"no picture")
    with pytest.raises(UsageError, match="frost"):
        made(["frost"], [1], seed=0, textures=folder)


def test_every_corruption_can_be_asked_for():
    every = made(c.parse_corruptions("all"), (1, 2, 3, 4, 5), seed=0)
    assert [each.corruption for each in every[::5]] == list(CORRUPTIONS)
    assert [each.severity for each in every[:5]] == [1, 2, 3, 4, 5]
