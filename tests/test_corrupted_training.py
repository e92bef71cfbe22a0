"""Training on the test corruptions, and the mark that such a model bears."""

import numpy as np
import pytest
import torch
from cli_case import task, workbench

from attacks.corruptions import CORRUPTIONS, EXTRA, STANDARD, corrupt
from attacks.draws import image_seeds
from defenses import DEFENSES, composed, resolve
from workbench.models import read_checkpoint

corrupted = DEFENSES["corrupted"]


def seeds(count):
    return image_seeds(0, torch.arange(count))


def photographs(count, side=16):
    """Soft colour images on the 8-bit grid."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 4, 4, generator=generator)
    fine = torch.nn.functional.interpolate(coarse, size=side, mode="bicubic").clamp(0, 1)
    return (fine * 255).round() / 255


def explanations(moved, images, own, names, severities):
    """For each image the (name, severity) whose corruption alone gives these pixels."""
    found = [[] for _ in images]
    for name in names:
        for severity in severities:
            made = corrupt(images, CORRUPTIONS[name], severity, seeds=own)
            same = (moved - made).abs().flatten(1).amax(1) < 1e-6
            for row in same.nonzero().flatten().tolist():
                found[row].append((name, severity))
    return found


def test_each_image_gets_one_corruption_at_one_severity_and_all_come_up():
    images, own = photographs(60), seeds(60)
    names, severities = ("gaussian_noise", "fog", "contrast"), (2, 4)
    moved, labels = corrupted(list(names), list(severities)).transform(
        images, torch.arange(60), own
    )
    found = explanations(moved, images, own, names, severities)
    assert all(len(each) == 1 for each in found)
    counts = np.array([found.count([(n, s)]) for n in names for s in severities])
    # chi-square with 5 degrees of freedom exceeds 20.5 in one of a thousand fair draws
    assert ((counts - 10) ** 2 / 10).sum() < 20.5
    assert torch.equal(labels, torch.arange(60))


def test_the_others_stay_as_they_are():
    images, own = photographs(300) + 0.001, seeds(300)  # off the 8-bit grid: rounding would tell
    images = images.clamp(0, 1)
    moved, _ = corrupted("brightness", share=0.3).transform(images, torch.arange(300), own)
    touched = (moved != images).flatten(1).any(1)
    # 90 are expected, with a deviation of 7.9: five of them.
    assert abs(int(touched.sum()) - 90) < 40


def test_an_image_is_corrupted_alike_in_any_batch():
    images, own = photographs(30, 18), seeds(30)
    defense = corrupted("all")
    whole, _ = defense.transform(images, torch.arange(30), own)
    part, _ = defense.transform(images[9:13], torch.arange(4), own[9:13])
    torch.testing.assert_close(whole[9:13], part, atol=1.01 / 255, rtol=0)
    assert float((whole[9:13] != part).float().mean()) < 0.01


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        ("corrupted", STANDARD),
        ("corrupted(corruptions=all)", tuple(CORRUPTIONS)),
        ("corrupted(corruptions=extra)", EXTRA),
        ("corrupted(corruptions=[snow, fog])", ("snow", "fog")),
        (
            "corrupted(corruptions=[fog, noise])",
            ("gaussian_noise", "shot_noise", "impulse_noise", "fog"),
        ),
        ("corrupted(corruptions=jpeg-compression)", ("jpeg_compression",)),
    ],
)
def test_a_spec_names_what_the_model_will_have_seen(spec, names):
    bound = resolve(spec)
    assert bound.defense.corruptions == names
    assert resolve(bound.spec).defense.corruptions == names
    assert composed([resolve("crop-flip"), bound]).corruptions == names


def test_one_severity_needs_no_list():
    assert resolve("corrupted(severities=3)").spec.endswith("severities=3, share=1.0)")
    images, own = photographs(4), seeds(4)
    moved, _ = corrupted("contrast", severities=3).transform(images, torch.arange(4), own)
    assert torch.equal(moved, corrupt(images, CORRUPTIONS["contrast"], 3))
    assert corrupted().corruptions == STANDARD
    assert "severities=[1, 2, 3, 4, 5]" in resolve("corrupted").spec


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"corruptions": "fogg"}, "unknown corruption 'fogg'; did you mean fog"),
        ({"corruptions": 3}, "unknown corruption '3'"),
        ({"corruptions": []}, "names none"),
        ({"severities": 0}, "severities=0 must be of 1, 2, 3, 4 and 5"),
        ({"severities": [1, 6]}, "must be of 1, 2, 3, 4 and 5"),
        ({"severities": []}, "must be of 1, 2, 3, 4 and 5"),
        ({"share": 0}, "share=0 must be above 0"),
        ({"share": 1.5}, "share=1.5 must be above 0"),
    ],
)
def test_settings_that_cannot_be_are_told(setting, message):
    with pytest.raises(ValueError, match=message):
        corrupted(**setting)


def test_a_trained_model_is_marked_where_its_errors_are_shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images, labels = task(60, seed=1)
    large = images.repeat(2, axis=1).repeat(2, axis=2)  # 16 pixels are the least
    np.savez("data.npz", images=large, labels=labels)
    common = ("--data", "data.npz", "--epochs", 2, "--batch-size", 16, "--threads", 1)
    spec = "corrupted(corruptions=[fog, brightness], severities=2)"
    for name, defenses in (("seen", ("--defense", "crop-flip", "--defense", spec)), ("plain", ())):
        done = workbench("train", "mlp", *common, "--lr", 0.05, *defenses, "--output", name)
        assert done.code == 0, done.err
        (tmp_path / name / "model.safetensors").rename(tmp_path / f"{name}.safetensors")
    said = read_checkpoint(tmp_path / "seen.safetensors").metadata
    assert said.trained_on_corruptions == ("fog", "brightness")
    assert said.defenses[1] == resolve(spec).spec
    measure = (
        "benchmark", "seen.safetensors", "plain.safetensors", "--data", "data.npz",
        "--corruptions", "contrast", "--severities", 1, "--threads", 1, "--force",
    )  # fmt: skip
    shown = workbench(*measure)
    assert shown.code == 0, shown.err
    assert "seen †" in shown.out
    assert "† seen: trained on test corruptions (fog, brightness)" in shown.out
    assert "plain †" not in shown.out
    results = workbench(*measure, "--json").document["corruption_results"]
    assert [each["trained_on_corruptions"] for each in results] == [["fog", "brightness"], []]
