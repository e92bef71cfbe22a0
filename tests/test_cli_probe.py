"""`workbench probe` from the command line: document, record, tables, figures, refusals."""

import json

import numpy as np
import pytest
import torch
from cli_case import ARCH, CLASSES, learnt, refused, task, workbench, write_checkpoint, write_data
from PIL import Image

from benchmarks.sweep_files import read_sweep
from workbench.dials import Units, make_dial, parse_values
from workbench.errors import UsageError

NAMES = "upper left,upper right,lower left,lower right"


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    """A checkpoint, `data.npz` and `one.png` of class 2 in an empty current directory."""
    monkeypatch.chdir(tmp_path)
    write_data(tmp_path / "data.npz")
    images, labels = task(24, 2)
    Image.fromarray(images[labels == 2][0]).save("one.png")
    return write_checkpoint(tmp_path / "net.pt")


def probe(checkpoint, *arguments, image="one.png", named=True):
    names = ("--class-names", NAMES) if named else ()
    return ("probe", image, checkpoint, *ARCH, *names, *arguments)


def probabilities(images):
    """The learnt network, on grey images (n, 8, 8) in [0, 1]."""
    weights = learnt()
    values = torch.as_tensor(images, dtype=torch.float64).flatten(1)
    layers = [name.removesuffix(".weight") for name in weights if name.endswith(".weight")]
    for number, name in enumerate(layers):
        values = values @ weights[f"{name}.weight"].double().T + weights[f"{name}.bias"].double()
        values = values if number == len(layers) - 1 else values.relu()
    return values.softmax(1).numpy()


def test_the_document_names_classes_and_its_numbers_are_the_networks(checkpoint):
    result = workbench(
        *probe(checkpoint, "--dial", "rotation", "--values", "0,90,180", "--label", "2", "--json")
    )
    assert result.code == 0, result.err
    document = result.document
    assert document["dial"] == {
        "name": "Rotation", "axis": "angle, degrees", "values": [0.0, 90.0, 180.0],
    }  # fmt: skip
    shown = document["shown"][0]
    assert shown["label"]["name"] == "lower left"
    pixels = np.asarray(Image.open("one.png")) / 255
    turned = np.stack([np.rot90(pixels, turns) for turns in range(3)])
    for answer, expected in zip(
        shown["models"][0]["draws"][0], probabilities(turned.copy()), strict=True
    ):
        assert answer["top"][0]["index"] == expected.argmax()
        assert answer["top"][0]["name"] == NAMES.split(",")[expected.argmax()]
        assert answer["true_confidence"] == pytest.approx(expected[2], rel=1e-4)
        assert answer["true_rank"] == (expected > expected[2]).sum()
        assert answer["right"] == (expected.argmax() == 2)
        assert answer["inside_superclass"] is None
        assert len(answer["top"]) == CLASSES
    assert document["superclass_source"] is None
    # The bright quadrant is turned from the lower left through the lower right to the upper right.
    guesses = [each["top"][0]["index"] for each in shown["models"][0]["draws"][0]]
    assert guesses == [2, 3, 1]


def test_the_record_holds_what_the_document_says_and_show_reads_it(checkpoint):
    found = workbench(
        *probe(checkpoint, "--limit", "8", "--draws", "2", "--output", "run", "--json",
               image="data.npz"),
    )  # fmt: skip
    assert found.code == 0, found.err
    record = read_sweep(checkpoint.parent / "run" / "record.h5")
    assert record.sweep.true_confidence.shape == (1, 8, 2, 10)
    assert record.sweep.values.tolist() == pytest.approx([0.2 * i for i in range(10)])
    assert record.config["source"]["data"].endswith("data.npz")
    summary = found.document["summary"]
    means = record.sweep.true_confidence[0].astype(float).mean((0, 1))
    assert [each["confidence"] for each in summary] == pytest.approx(means.tolist())
    shown = workbench("show", "run", "--json").document
    for key in ("summary", "shown", "dial", "models"):
        assert shown[key] == found.document[key]
    told = workbench("show", "run")
    assert "Gaussian noise, over 8 images of 2 draws each; net" in told.out
    assert workbench("show", "run", "--quiet").out.strip().endswith("record.h5")
    refused(workbench("compare", "run"), "workbench probe", "workbench show")
    refused(workbench("verify", "run"), "workbench show")


def test_exhibits_are_kept_for_the_report(checkpoint):
    found = workbench(*probe(checkpoint, "--values", "0,1", "--output", "run"))
    assert found.code == 0, found.err
    kept = json.loads((checkpoint.parent / "run" / "exhibits.json").read_text())
    names = [each["name"] for each in kept["exhibits"]]
    assert names == ["strip-1", "answers-1-1", "curve"]
    for name in ("strip-1", "curve"):
        for ending in ("svg", "png"):
            assert (checkpoint.parent / "run" / "figures" / f"{name}.{ending}").stat().st_size
    strip = (checkpoint.parent / "run" / "figures" / "strip-1.svg").read_text()
    assert strip.count("<image") == 2
    assert "unknown class" in strip
    curve = (checkpoint.parent / "run" / "figures" / "curve.svg").read_text()
    assert "Confidence in the first answer" in curve
    assert "true class" not in curve


def test_an_image_without_a_label_is_followed_by_its_first_answer(checkpoint):
    found = workbench(*probe(checkpoint, "--values", "0,1", "--json"))
    shown = found.document["shown"][0]
    assert shown["label"] is None
    assert shown["models"][0]["true_class"]["name"] == "lower left"
    assert "class is not known (--label)" in found.err
    assert shown["models"][0]["draws"][0][0]["right"]


def test_classes_of_an_image_without_a_label_are_refused(checkpoint):
    found = workbench(*probe(checkpoint, "--values", "0,1", "--classes", "2,3"))
    refused(found, "--classes 2,3", "say it with --label")


def test_a_label_may_be_a_name_and_superclasses_a_file(checkpoint):
    groups = checkpoint.parent / "groups.csv"
    lines = [f"{name},{name.split()[0]}" for name in NAMES.split(",")]
    groups.write_text("class,superclass\n" + "\n".join(lines) + "\n")
    found = workbench(
        *probe(checkpoint, "--dial", "rotation", "--values", "0,90,180", "--label", "Lower Left",
               "--superclasses", groups, "--json")
    )  # fmt: skip
    assert found.code == 0, found.err
    shown = found.document["shown"][0]
    assert shown["label"] == {"index": 2, "name": "lower left", "superclass": "lower"}
    inside = [each["inside_superclass"] for each in shown["models"][0]["draws"][0]]
    assert inside == [True, True, False]


def test_two_models_stand_side_by_side(checkpoint):
    other = checkpoint.parent / "other.pt"
    torch.save({name: 2 * tensor for name, tensor in learnt().items()}, other)
    found = workbench(
        "probe", "data.npz", checkpoint, other, *ARCH, "--class-names", NAMES, "--dial", "rotation",
        "--values", "0,45", "--limit", "4", "--show", "1", "--output", "run", "--json",
    )  # fmt: skip
    assert found.code == 0, found.err
    names = [each["name"] for each in found.document["exhibits"]]
    assert names == ["strip-1", "answers-1-1", "answers-1-2", "curve", "summary-1", "summary-2"]
    assert {each["model"] for each in found.document["summary"]} == {"net", "other"}
    strip = (checkpoint.parent / "run" / "figures" / "strip-1.svg").read_text()
    assert strip.count("<image") == 2  # both were given the same pictures: they stand there once


def test_the_same_command_again_gives_the_same_and_another_is_refused(checkpoint):
    line = probe(checkpoint, "--values", "0,0.5", "--output", "run", "--json")
    first, second = workbench(*line).document, workbench(*line).document
    assert first == second
    refused(workbench(*probe(checkpoint, "--values", "0,0.6", "--output", "run")), "another conf")


def test_an_attack_is_a_dial_of_steps(checkpoint):
    found = workbench(
        *probe(checkpoint, "--dial", "pgd(eps=0.3)", "--values", "0,1,8", "--label", "2", "--json")
    )
    assert found.code == 0, found.err
    confidences = [
        each["true_confidence"] for each in found.document["shown"][0]["models"][0]["draws"][0]
    ]
    assert confidences[0] > max(confidences[1:])
    assert found.document["dial"]["axis"] == "steps of the attack"


def test_a_dry_run_says_what_would_be_asked_and_makes_nothing(checkpoint):
    found = workbench(*probe(checkpoint, "--dry-run", "--draws", "3"))
    assert "30 answers" in found.out
    assert not (checkpoint.parent / "runs").exists()
    assert workbench(*probe(checkpoint, "--dry-run", "--json")).document["answers"] == 10


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--dial", "rotatoin"], "rotation"),
        (["--dial", "fgsm"], "no setting `steps`"),
        (["--dial", "pgd(eps=8)"], "Did you mean 8/255"),
        (["--dial", "pgd(epss=1)"], "epss"),
        (["--dial", "pgd", "--values", "0,1.5"], "whole numbers"),
        (["--dial", "pgd", "--values", "1,2"], "begin with 0"),
        (["--values", "one"], "write numbers with commas"),
        (["--values", "0:1:0"], "write numbers with commas"),
        (["--values", "0"], "2 to 200 positions"),
        (["--values", "0:1:0.0001"], "2 to 200 positions"),
        (["--values=-1,0"], "from 0"),
        (["--dial", "fog", "--values", "0,6"], "from 0 to 5"),
        (["--dial", "fog"], "too small"),
        (["--dial", "rotation", "--units", "pixel"], "--units pixel is of noise"),
        (["--units", "inches"], "pixel or normalised"),
        (["--dial", "rotation", "--draws", "2"], "nothing is drawn"),
        (["--label", "middle"], "no class 'middle'"),
        (["--label", "7"], "label 7"),
        (["--superclasses", "nowhere.csv"], "nowhere.csv"),
    ],
)
def test_what_cannot_be_done_is_told_in_two_lines(checkpoint, arguments, told):
    refused(workbench(*probe(checkpoint, *arguments)), told)


def test_values_of_dials():
    assert parse_values("0:1.8:0.2") == (0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8)
    assert parse_values("5,0,5,1") == (0, 1, 5)
    assert parse_values("-30:30:30") == (-30, 0, 30)
    assert parse_values("0:1:0.3") == (0, 0.3, 0.6, 0.9)
    with pytest.raises(UsageError):
        parse_values("nan,1")


def test_names_of_dials():
    assert make_dial("noise", None, None).normalised
    assert not make_dial("gaussian-noise", None, Units.PIXEL).normalised
    assert make_dial("gaussian_noise", None, None).axis == "severity"
    assert make_dial("Shot-Noise", None, None).values == (0, 1, 2, 3, 4, 5)
    assert make_dial("rotation", None, None).values == tuple(range(0, 181, 10))
    assert make_dial("torchattacks:PGD(eps=4/255)", "0,3", None).values == (0, 3)
    assert make_dial("pgd", None, None).values == (0, 1, 2, 5, 10, 20, 50)
