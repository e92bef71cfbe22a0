"""`workbench list` and `workbench check` from the command line."""

import shlex
from pathlib import Path

import numpy as np
import pytest
from cli_case import CLASSES, refused, task, workbench, write_checkpoint, write_data

from attacks import ATTACKS
from attacks.corruptions import CORRUPTIONS
from defenses import DEFENSES
from workbench.commands.list import Kind, settings_of


def test_attacks_of_ours_and_of_both_libraries_are_listed() -> None:
    names = workbench("list", "attacks", "--json").document["names"]
    assert set(ATTACKS) <= set(names)
    assert "torchattacks:PGD" in names
    assert "foolbox:LinfPGD" in names
    assert all(isinstance(text, str) and text for text in names.values())


def test_an_attack_shows_its_settings_with_defaults_and_meanings() -> None:
    document = workbench("list", "attacks", "pgd", "--json").document
    assert document["settings"]["eps"] == 8 / 255
    assert document["settings"]["steps"] == 20
    text = workbench("list", "attacks", "pgd").out
    assert "8/255" in text
    assert "radius of the ball" in text
    settings = workbench("list", "attacks", "torchattacks:PGD", "--json").document["settings"]
    assert "alpha" in settings


def test_defenses_are_listed_and_show_their_settings() -> None:
    names = workbench("list", "defenses", "--json").document["names"]
    assert set(names) == set(DEFENSES)
    assert all(len(text) > 20 and text.endswith(".") for text in names.values())
    document = workbench("list", "defenses", "corrupted", "--json").document
    assert document["settings"] == {
        "corruptions": "standard", "severities": [1, 2, 3, 4, 5], "share": 1.0,
    }  # fmt: skip
    text = workbench("list", "defenses", "crop-flip").out
    assert "padding" in text
    assert "pixels on each side" in text
    assert workbench("list", "defenses", "geometric", "--quiet").out.split()[:2] == [
        "rotate", "flip",
    ]  # fmt: skip
    refused(workbench("list", "defenses", "geometrik"), "Did you mean 'geometric'")


@pytest.mark.parametrize("name", sorted(DEFENSES))
def test_every_setting_of_a_defense_says_what_it_means(name: str) -> None:
    for setting, (_, meaning) in settings_of(Kind.DEFENSES, name).items():
        assert len(meaning) > 10, setting


def test_corruptions_are_listed_and_show_the_published_strengths() -> None:
    names = workbench("list", "corruptions", "--json").document["names"]
    assert list(names) == list(CORRUPTIONS)
    assert [text.partition(";")[0] for text in names.values()].count("weather") == 4
    assert sum("standard 15" in text for text in names.values()) == 15
    assert workbench("list", "corruptions", "blur", "--quiet").out.split() == [
        "defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "gaussian_blur",
    ]  # fmt: skip
    plain = workbench("list", "corruptions", "contrast", "--json").document["strengths"]
    # Hendrycks & Dietterich 2019, their generator for ImageNet-C
    assert [each["strength"] for each in plain["224"]] == [0.4, 0.3, 0.2, 0.1, 0.05]
    glass = workbench("list", "corruptions", "glass_blur", "--json").document["strengths"]
    assert glass["224"][4] == {"sigma": 1.5, "max_delta": 4, "sweeps": 2}
    rows = workbench("list", "corruptions", "spatter").out.splitlines()
    mud = next(row for row in rows if "224" in row and "outline" in row)
    assert [cell.strip() for cell in mud.split("│")[3:8]] == ["", "", "", "1.5", "1.5"]


def test_names_can_be_filtered_and_piped() -> None:
    lines = workbench("list", "datasets", "fashion", "--quiet").out.split()
    assert lines == ["fashion-mnist-mini", "fashion-mnist"]
    models = workbench("list", "models", "vit_tiny", "--quiet").out.split()
    assert "timm:vit_tiny_patch16_224" in models
    assert "resnet20" in workbench("list", "architectures", "--quiet").out.split()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_checkpoint(tmp_path / "net.pt")
    write_data(tmp_path / "data.npz", count=200)
    return tmp_path


def test_check_undoes_a_wrong_normalisation(here: Path) -> None:
    wrong = ("--mean", "0.9", "--std", "0.1")
    result = workbench("check", "net.pt", "-d", "data.npz", *wrong, "--json")
    assert result.code == 0, result.err
    document = result.document
    assert document["configured"]["accuracy"] < 0.8
    assert document["best"]["accuracy"] > 0.95
    low, high = document["best"]["interval"]
    assert low <= document["best"]["accuracy"] <= high
    flags = document["flags"].split()
    again = workbench("check", "net.pt", "-d", "data.npz", *flags, "--json").document
    assert again["configured"]["accuracy"] == document["best"]["accuracy"]
    assert workbench("check", "net.pt", "-d", "data.npz", *wrong, "-q").out.split() == flags


def test_no_flag_is_cut_short_on_a_narrow_terminal(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    result = workbench("check", "net.pt", "-d", "data.npz", "--mean", "0.9", "--std", "0.1")
    assert result.code == 0, result.err
    rows = [line.split("│") for line in result.out.splitlines() if line.startswith("│")]
    assert "--scale255" in "".join(row[4].strip() for row in rows)


def test_check_shows_a_table_and_the_recommendation(here: Path) -> None:
    result = workbench("check", "net.pt", "-d", "data.npz", "--limit", 40)
    assert "net: clean accuracy on 40 images" in result.out
    assert "as configured" in result.out
    assert "--mean 0.5 --std 0.5" in result.out


def test_check_suspects_the_class_order(here: Path) -> None:
    images, labels = task(200, seed=5)
    np.savez(here / "turned.npz", images=images, labels=(labels + 1) % CLASSES)
    document = workbench("check", "net.pt", "-d", "turned.npz", "--json").document
    assert document["configured"]["accuracy"] < 0.1
    assert document["class_order"]["correct"] > 0.95 * document["class_order"]["images"]
    again = workbench(
        "check", "net.pt", "-d", "turned.npz", "--json", *shlex.split(document["flags"])
    )
    assert again.document["configured"]["accuracy"] > 0.95


def test_the_order_of_named_classes_is_told_by_their_names(here: Path) -> None:
    images, labels = task(200, seed=5)
    names = ["upper left", "upper right", "lower left", "lower right"]  # of the model's outputs
    order = sorted(names)
    turned = np.array([order.index(names[label]) for label in labels])
    np.savez(here / "named.npz", images=images, labels=turned, class_names=order)
    command = ("check", "net.pt", "-d", "named.npz", "--json")
    assert workbench(*command).document["configured"]["accuracy"] < 0.6
    right = workbench(*command, "--class-names", ",".join(names)).document
    assert right["configured"]["accuracy"] > 0.95
    (here / "names.txt").write_text("\n".join(names))
    from_file = workbench(*command, "--class-names", "names.txt").document
    assert from_file["configured"] == right["configured"]
    flags = shlex.split(workbench(*command).document["flags"])
    assert workbench(*command, *flags).document["configured"]["accuracy"] > 0.95
