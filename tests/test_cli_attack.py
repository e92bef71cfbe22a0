"""`workbench attack` from the command line: the document, the record, shortcuts, exit codes."""

import json
import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from cli_case import ARCH, CLASSES, learnt, refused, task, workbench, write_checkpoint, write_data

from attacks import ATTACKS

FIELDS = {
    "model": str,
    "attack": str,
    "images": int,
    "clean_wrong": int,
    "attacked": int,
    "succeeded": int,
    "success_rate": float,
    "success_rate_8bit": float,
    "mean_pixel_change": float,
    "pixels_over_threshold": dict,
    "mean_steps": float,
    "forwards_per_image": float,
    "backwards_per_image": float,
    "seconds": float,
}


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint and `data.npz` in an empty current directory."""
    monkeypatch.chdir(tmp_path)
    write_data(tmp_path / "data.npz")
    return write_checkpoint(tmp_path / "net.pt")


def attack(checkpoint: Path, *arguments: object) -> tuple[object, ...]:
    return ("attack", checkpoint, *ARCH, "--data", "data.npz", *arguments)


def logits(images: np.ndarray) -> np.ndarray:
    """The learnt network on float images (n, 1, 8, 8), in float64 numpy."""
    weights = {name: tensor.double().numpy() for name, tensor in learnt().items()}
    values = images.reshape(len(images), -1).astype(np.float64)
    names = [name.removesuffix(".weight") for name in weights if name.endswith(".weight")]
    for number, name in enumerate(names):
        values = values @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]
        values = values if number == len(names) - 1 else np.maximum(values, 0)
    return values


def test_the_document_has_the_promised_fields_and_numbers_that_add_up(checkpoint: Path) -> None:
    result = workbench(
        *attack(checkpoint, "-a", "fgsm(eps=0.5)", "-a", "sign-ascent", "--json", "--keep-images")
    )
    assert result.code == 0, result.err
    document = result.document
    assert document["schema_version"] == 1
    assert len(document["results"]) == 2
    for entry in document["results"]:
        for field, kind in FIELDS.items():
            assert isinstance(entry[field], kind), field
        assert entry["images"] == 24
        assert entry["images"] - entry["clean_wrong"] == entry["attacked"]
        assert entry["success_rate"] == entry["succeeded"] / entry["attacked"]
        low, high = entry["success_rate_interval"]
        assert low <= entry["success_rate"] <= high
        assert set(entry["pixels_over_threshold"]) == {"0.01", "0.1"}
    assert document["results"][1]["success_rate"] == 1.0
    with h5py.File(document["record"]) as record:
        assert record.attrs["complete"] == 1
        success = record["attacked/success"][()]
        assert success.sum(axis=2)[0].tolist() == [e["succeeded"] for e in document["results"]]
        label = record["clean/label"][0]
        # A second implementation of the network must see every claimed success in the images.
        found = logits(record["images/result"][0, 1])
        kept = record["images/kept"][()]
        assert (found.argmax(axis=1) != label[kept]).all()
        chance = np.exp(found - found.max(axis=1, keepdims=True))
        assert ((chance / chance.sum(axis=1, keepdims=True)).max(axis=1) > 0.9 - 1e-4).all()


def test_people_get_a_table_the_worst_case_and_the_paths(checkpoint: Path) -> None:
    result = workbench(*attack(checkpoint, "-a", "fgsm(eps=0.5)", "-a", "fgsm", "--save-images", 2))
    assert result.code == 0, result.err
    assert "fgsm(eps=0.5)" in result.out
    assert "fgsm(eps=8/255)" in result.out
    assert re.search(r"reached the goal .*\d+/\d+ = [\d.]+% \[[\d.]+, [\d.]+\]", result.out)
    assert "per-image worst case over 2 attacks" in result.out
    record = Path("runs/attack-net-1/record.h5")
    assert f"record: {record}" in result.out
    assert record.exists()
    pictures = sorted(Path("runs/attack-net-1/images").iterdir())
    assert len(pictures) == 2
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in pictures)


def test_models_with_long_or_like_names_have_pictures_of_their_own(checkpoint: Path) -> None:
    long = "study-resnet123(width=8), noisy(std=0.7), seed"
    names = [f"{long} 0", f"{long} 1", "a(b)", "a, b"]
    files = [checkpoint.rename(f"{names[0]}.pt")]
    files += [Path(shutil.copy(files[0], f"{name}.pt")) for name in names[1:]]
    arguments = (*files, *ARCH, "--data", "data.npz", "-a", "fgsm", "--limit", 4)
    result = workbench("attack", *arguments, "--save-images", 1, "--output", "out")
    assert result.code == 0, result.err
    assert sorted(file.name for file in Path("out/images").iterdir()) == [
        "a-b-1-fgsm.png",
        "a-b-4-1-fgsm.png",
        "study-resnet123-width-8-noisy-std-0.7-seed-0-1-fgsm.png",
        "study-resnet123-width-8-noisy-std-0.7-seed-1-1-fgsm.png",
    ]


def test_quiet_prints_the_record_alone(checkpoint: Path) -> None:
    result = workbench(*attack(checkpoint, "-a", "fgsm", "--quiet", "--save-images", 0))
    assert result.out == "runs/attack-net-1/record.h5\n"
    assert "images" not in result.err


def test_progress_off_a_terminal_is_plain_lines(checkpoint: Path) -> None:
    result = workbench(*attack(checkpoint, "-a", "fgsm", "--json"))
    assert "24 of 24 images" in result.err
    assert "\x1b" not in result.err + result.out


def test_several_checkpoints_are_several_rows(checkpoint: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    again = write_checkpoint(other / "net.pt")
    result = workbench(
        *("attack", checkpoint, again, *ARCH, "--data", "data.npz", "-a", "fgsm", "--json")
    )
    assert result.code == 0, result.err
    models = [entry["model"] for entry in result.document["results"]]
    assert len(set(models)) == 2


def test_shortcuts_override_what_the_specs_say_where_they_have_it(checkpoint: Path) -> None:
    result = workbench(
        *attack(checkpoint, "-a", "fgsm(eps=0.5)", "-a", "pgd(steps=9)", "--json", "--dry-run"),
        *("--eps", "1/4", "--steps", 3),
    )
    specs = [entry["spec"] for entry in result.document["config"]["attacks"]]
    assert "eps=0.25" in specs[0]
    assert "eps=0.25" in specs[1]
    assert "steps=3" in specs[1]
    refused(workbench(*attack(checkpoint, "-a", "fgsm", "--steps", 3)), "--steps fits none", "fgsm")


def test_shrinking_wraps_each_attack(checkpoint: Path) -> None:
    plain, shrunk = (
        workbench(*attack(checkpoint, "-a", "fgsm(eps=0.5)", "--json", *more)).document
        for more in ([], ["--shrink"])
    )
    plain, shrunk = plain["results"][0], shrunk["results"][0]
    assert "shrink" in shrunk["attack"]
    assert shrunk["succeeded"] == plain["succeeded"]
    assert shrunk["mean_pixel_change"] < shrunk["mean_pixel_change_unshrunk"]
    assert shrunk["mean_pixel_change_unshrunk"] == pytest.approx(plain["mean_pixel_change"])


@pytest.mark.parametrize("target", ["2", "next"])
def test_targets(checkpoint: Path, target: str) -> None:
    result = workbench(
        *attack(checkpoint, "-a", "pgd(eps=0.6, steps=40)", "--targeted", target, "--json")
    )
    assert result.code == 0, result.err
    with h5py.File(result.document["record"]) as record:
        label, goal = record["clean/label"][0], record["attacked/target"][0, 0]
        attacked = record["attacked/attacked"][0, 0] == 1
        expected = (label + 1) % CLASSES if target == "next" else np.full_like(label, 2)
        assert (goal[attacked] == expected[attacked]).all()
        assert attacked.sum() == (24 if target == "next" else 18)


@pytest.mark.parametrize(
    "spec", ["fooling(target=2)", "fooling(strength=20)", "shrink(attack=fooling(strength=5))"]
)
def test_fooling_takes_a_target_or_a_strength_of_its_own(checkpoint: Path, spec: str) -> None:
    result = workbench(*attack(checkpoint, "-a", spec, "--json"))
    assert result.code == 0, result.err
    found = result.document["results"][0]
    assert found["attack"].startswith(spec.partition("(")[0])
    assert found["attacked"] > 0


def test_a_dry_run_writes_nothing(checkpoint: Path) -> None:
    result = workbench(*attack(checkpoint, "-a", "fgsm", "--dry-run"))
    assert result.code == 0
    assert "images: 24, in 1 cell for each model and attack" in result.out
    assert "cells: 2, of which 0 are finished" in result.out
    assert not Path("runs").exists()


def test_a_settings_file_gives_the_same_run_as_flags(checkpoint: Path) -> None:
    Path("s.toml").write_text(
        f'[attack]\ncheckpoints = ["{checkpoint}"]\ndata = "data.npz"\narch = "mlp(width=16)"\n'
        'attack = "fgsm"\neps = "1/2"\nthresholds = [0.05]\n'
    )
    by_file = workbench("attack", "--config", "s.toml", "--dry-run", "--json")
    by_flags = workbench(
        *attack(checkpoint, "-a", "fgsm", "--dry-run", "--json"),
        *("--eps", "1/2", "--thresholds", "0.05"),
    )
    assert by_file.code == 0, by_file.err
    assert by_file.document == by_flags.document


def test_a_model_near_chance_is_refused_until_forced(checkpoint: Path, tmp_path: Path) -> None:
    images, labels = task(24, seed=2)
    np.savez(tmp_path / "data.npz", images=images, labels=(labels + 1) % CLASSES)
    result = workbench(*attack(checkpoint, "-a", "fgsm"))
    refused(result, "near chance", "workbench check", "--force")
    assert not Path("runs").exists()
    forced = workbench(*attack(checkpoint, "-a", "fgsm", "--force", "--json"))
    assert forced.code == 0
    assert "near chance" in forced.err
    assert forced.document["results"][0]["clean_wrong"] == 24


def test_the_resolved_settings_are_stored(checkpoint: Path) -> None:
    result = workbench(*attack(checkpoint, "-a", "fgsm", "--limit", 8, "--seed", 3, "--quiet"))
    folder = Path(result.out.strip()).parent
    description = json.loads((folder / "config.json").read_text())
    assert description["verb"] == "attack"
    assert "--seed 3" in description["command"]
    assert description["config"]["seed"] == 3
    assert description["config"]["data"]["limit"] == 8
    assert description["config"]["attacks"][0]["spec"].startswith("fgsm(eps=0.0313")


def test_a_failed_cell_is_told_and_ends_in_1(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(
        model: object,
        images: object,
        labels: object,
        *,
        targets: object = None,
        seeds: object = None,
    ) -> object:
        raise RuntimeError("the attack broke")

    monkeypatch.setitem(ATTACKS, "failing", failing)  # type: ignore[arg-type]  # takes anything
    result = workbench(*attack(checkpoint, "-a", "failing", "-a", "fgsm", "--json"))
    assert result.code == 1, result.err
    assert "the attack broke" in result.err
    assert "1 cell failed" in result.err
    broken, whole = result.document["results"]
    assert (broken["images"], whole["images"]) == (0, 24)
