"""Recipes: each can be run, is what the studies tell, and gives way to flags."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_case import refused, workbench

from workbench.recipes import recipes

ARCHITECTURES = {"s1": "resnet20", "s2": "mlp(width=50)", "s3": "resnet18", "s4": "resnet20"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Colour images of 32 pixels, which every defense can be given."""
    generator = np.random.default_rng(0)
    file = tmp_path_factory.mktemp("data") / "colour.npz"
    images = generator.integers(0, 256, (20, 32, 32, 3)).astype(np.uint8)
    np.savez(file, images=images, labels=np.arange(20) % 2)
    return file


def resolved(name: str, data: Path, *options: object) -> dict[str, Any]:
    arch = ARCHITECTURES.get(name[:2], "resnet20")
    result = workbench(
        "train", arch, "--data", data, "--config", name, "--dry-run", "--json", *options
    )
    assert result.code == 0, result.err
    config: dict[str, Any] = result.document["config"]
    return config


# What the studies tell, spelt as a run directory keeps it.
TOLD: dict[str, dict[str, object]] = {
    "s1-clean": {
        "epochs": 10, "optimizer": "sgd", "lr": 0.001, "momentum": 0.9, "schedule": "constant",
        "input_size": 224,
        "defenses": ["geometric(rotate=15, flip=0.5, shear=0, zoom=0, translate=0)"],
    },
    "s1-corrupted": {
        "epochs": 10, "lr": 0.001, "input_size": 224,
        "defenses": [
            "corrupted(corruptions='all', severities=[1, 2, 3, 4, 5], share=1)",
            "geometric(rotate=15, flip=0.5, shear=0, zoom=0, translate=0)",
        ],
    },
    "s2-plain": {"defenses": []},
    "s2-noisy-mnist": {"defenses": ["noisy(std=0.1)"]},
    "s2-noisy-cifar": {
        "defenses": ["geometric(rotate=15, flip=0.5, shear=10, zoom=0.1, translate=0)"]
    },
    "s3": {"cifar_stem": True, "defenses": ["crop-flip(padding=4, flip=True)"]},
    "s4-scratch": {"lr": 0.001, "weight_decay": 0.001, "defenses": []},
    "s4-fine-tune": {"lr": 0.005, "defenses": []},
    "augmix-cifar": {
        "epochs": 100, "batch_size": 128, "lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4,
        "schedule": "cosine",
        "defenses": [
            "crop-flip(padding=4, flip=True)",
            "augmix(width=3, depth=-1, alpha=1, severity=3, jsd=12, all_ops=False)",
        ],
    },
}  # fmt: skip


@pytest.mark.parametrize("name", recipes())
def test_every_recipe_resolves_to_what_the_studies_tell(name: str, data: Path) -> None:
    config = resolved(name, data)
    told = TOLD.get(name, {})
    assert {key: config[key] for key in told} == told


def test_the_studies_are_all_there() -> None:
    assert set(TOLD) <= set(recipes())


def test_flags_win_over_a_recipe(data: Path) -> None:
    config = resolved("augmix-cifar", data, "--epochs", 3, "--defense", "noisy")
    assert config["epochs"] == 3
    assert config["defenses"] == ["noisy(std=0.1)"]
    assert config["schedule"] == "cosine"


def test_a_file_comes_before_a_recipe_of_its_name(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s3").write_text("[train]\nepochs = 77\n", encoding="utf-8")
    assert resolved("s3", data)["epochs"] == 77


def test_recipes_are_listed_and_show_their_settings() -> None:
    names = workbench("list", "recipes", "--json").document["names"]
    assert list(names) == list(recipes())
    assert all(20 < len(summary) < 100 for summary in names.values())
    document = workbench("list", "recipes", "s4-scratch", "--json").document
    assert document["settings"]["train"]["weight-decay"] == 0.001
    assert "lr = 0.001" in workbench("list", "recipes", "s4-scratch").out
    refused(workbench("list", "recipes", "zzz"), "Unknown recipe 'zzz'", "s1-clean")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("s1-claen", "Unknown recipe 's1-claen'. Did you mean 's1-clean'?"),
        ("s3.toml", "--config s3.toml: there is no such file."),
        ("nowhere/s3", "--config nowhere/s3: there is no such file."),
    ],
)
def test_an_unknown_recipe_is_two_lines(name: str, message: str) -> None:
    refused(workbench("train", "mlp", "--data", "mnist", "--config", name), message)


def test_a_recipe_for_another_verb_says_so() -> None:
    refused(workbench("attack", "m.pt", "--data", "mnist", "--config", "s3"), "no table [attack]")
