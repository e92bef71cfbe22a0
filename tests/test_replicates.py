"""`workbench train --seeds`: each replicate is a training of its own, and no other is lost."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from cli_case import refused, task, workbench

import workbench.training as training
from benchmarks.history import read_history
from defenses import DivergenceError
from workbench.models import read_checkpoint
from workbench.replicates import over_seeds

QUICK = (
    "mlp(width=8)", "--data", "task.npz", "--epochs", 2, "--batch-size", 16, "--lr", 0.05,
    "--device", "cpu",
)  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (images, labels), (test_images, test_labels) = task(120, 1), task(60, 2)
    np.savez(
        "task.npz", train_images=images, train_labels=labels,
        test_images=test_images, test_labels=test_labels,
    )  # fmt: skip


def train(*options: object, to: str = "group") -> dict:
    result = workbench("train", *QUICK, *options, "--output", to, "--json")
    assert result.code == 0, result.err
    return result.document


def test_each_replicate_is_the_training_of_its_seed_alone() -> None:
    group = train("--seed", 3, "--seeds", 2)
    assert [each["seed"] for each in group["replicates"]] == [3, 4]
    for seed, replicate in zip((3, 4), group["replicates"], strict=True):
        alone = train("--seed", seed, to=f"alone-{seed}")
        folders = Path(f"group/seed-{seed}"), Path(f"alone-{seed}")
        assert sorted(os.listdir(folders[0])) == sorted(os.listdir(folders[1]))
        for name in ("model.safetensors", "last.safetensors"):
            assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()
        one, other = (json.loads((each / "config.json").read_text()) for each in folders)
        assert one["config"] == other["config"]
        assert one["command"].endswith(f"--seed {seed} --seeds 1")
        for key in ("best_epoch", "validation_error", "test_error", "test_error_interval"):
            assert replicate[key] == alone[key]
        assert replicate["checkpoint"] == f"group/seed-{seed}/model.safetensors"
    errors = np.array([each["test_error"] for each in group["replicates"]])
    found = group["summary"]["test_error"]
    assert (found["seeds"], found["mean"]) == (2, pytest.approx(errors.mean()))
    half = abs(errors[0] - errors[1]) / 2
    assert found["standard_deviation"] == pytest.approx(half * 2**0.5)
    wide = errors.mean() + 12.7062 * half * np.array([-1, 1])  # t(0.975; 1), any table
    assert found["interval"] == pytest.approx(np.clip(wide, 0, 1), abs=1e-4)
    for name in ("learning-curve.png", "learning-curve.svg", "results.json"):
        assert Path("group", name).stat().st_size > 100


def test_checkpoints_of_replicates_say_so_by_all_but_what_the_seed_decides() -> None:
    """What later code folds replicates by: all else is equal, also where a limit chose images."""
    group = train("--seeds", 2, "--limit", 80, "--defense", "noisy")
    said = [
        read_checkpoint(Path(each["checkpoint"])).metadata.to_dict() for each in group["replicates"]
    ]
    assert [each["seed"] for each in said] == [0, 1]
    by_seed = {"seed", "mean", "std"}  # of the images that are not held out
    measured = {"epoch", "loss", "error", "validation_loss", "validation_error", "images"}
    for each in said:
        assert set(each["data"]) == {"name", "split", "digest", "whole_digest"}
        assert each["data"].pop("digest")
        assert each["training"]["lr"] == 0.05
        each["training"] = {k: v for k, v in each["training"].items() if k not in measured}
    one, other = ({k: v for k, v in each.items() if k not in by_seed} for each in said)
    assert one == other


def test_an_interrupted_group_says_what_is_finished_and_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = ("train", *QUICK, "--seeds", 3, "--output")
    keep, kept = training._keep, []

    def keep_three(*given: object) -> None:
        keep(*given)  # type: ignore[arg-type]  # passed on as they came
        kept.append(given)
        if len(kept) == 3:  # the first epoch of the second replicate
            raise KeyboardInterrupt

    monkeypatch.setattr(training, "_keep", keep_three)
    stopped = workbench(*command, "cut")
    assert stopped.code == 130
    assert "Interrupted in seed 1, after epoch 1" in stopped.err
    assert "Finished seeds: 0." in stopped.err
    assert "--seeds 3 --output cut\n" in stopped.err
    first = Path("cut/seed-0/model.safetensors").stat().st_mtime_ns
    kept.clear()
    monkeypatch.setattr(training, "_keep", lambda *given: (kept.append(given), keep(*given)))
    assert workbench(*command, "cut").code == 0
    assert len(kept) == 1 + 2
    assert Path("cut/seed-0/model.safetensors").stat().st_mtime_ns == first
    assert workbench(*command, "whole").code == 0
    for seed in range(3):
        one, other = (Path(each, f"seed-{seed}/model.safetensors") for each in ("cut", "whole"))
        assert one.read_bytes() == other.read_bytes()


def test_a_larger_number_of_seeds_adds_to_a_group_and_other_settings_are_refused() -> None:
    train("--seeds", 2)
    before = Path("group/seed-1/model.safetensors").stat().st_mtime_ns
    assert len(train("--seeds", 3)["replicates"]) == 3
    assert Path("group/seed-1/model.safetensors").stat().st_mtime_ns == before
    command = ("train", *QUICK, "--output", "group")
    refused(workbench(*command, "--seeds", 2, "--momentum", 0.5), "momentum: 0.9 there, 0.5 here")
    refused(workbench(*command), "replicates: true there, nothing here")


def test_one_that_diverges_does_not_lose_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    real = training.train

    def diverging(*given: object, **settings: object) -> object:
        for epoch in real(*given, **settings):  # type: ignore[arg-type]  # passed on
            if settings["seed"] == 1 and epoch.number == 2:
                raise DivergenceError("training diverged in epoch 2: the loss is not finite.")
            yield epoch

    monkeypatch.setattr(training, "train", diverging)
    result = workbench("train", *QUICK, "--seeds", 3, "--output", "group", "--json")
    assert result.code == 1
    assert "warning: seed 1: training diverged in epoch 2" in result.err
    found = result.document
    assert [each["seed"] for each in found["replicates"]] == [0, 2]
    assert [each["seed"] for each in found["diverged"]] == [1]
    assert found["summary"]["test_error"]["seeds"] == 2
    history = read_history(Path("group/seed-1/history.h5"))
    assert (history.epoch.tolist(), history.complete) == ([1], False)
    assert Path("group/seed-1/model.safetensors").exists()
    assert Path("group/seed-1/learning-curve.png").exists()
    monkeypatch.setattr(training, "train", real)
    assert len(train("--seeds", 3)["replicates"]) == 3


def test_all_that_diverge_are_no_result() -> None:
    result = workbench("train", *QUICK[:-4], "--lr", 1e38, "--seeds", 2, "--json")
    assert result.code == 1, result.err
    assert result.document["replicates"] == []
    assert result.document["summary"]["test_error"] is None
    assert "diverged" in workbench("train", *QUICK[:-4], "--lr", 1e38, "--seeds", 2).out


def test_what_is_printed() -> None:
    human = workbench("train", *QUICK, "--seeds", 2, "--output", "group").out
    for text in ("held-out error", "test error", "mean", "st. deviation", "over seeds"):
        assert text in human
    quiet = workbench("train", *QUICK, "--seeds", 2, "--output", "group", "--quiet")
    assert quiet.out.split() == [f"group/seed-{seed}/model.safetensors" for seed in (0, 1)]


def test_a_dry_run_names_the_seeds_and_leaves_nothing() -> None:
    found = workbench("train", *QUICK, "--seed", 5, "--seeds", 2, "--dry-run", "--json").document
    assert found["seeds"] == [5, 6]
    assert not Path("runs").exists()
    refused(workbench("train", *QUICK, "--seeds", 0), "--seeds")


def test_one_value_has_no_spread_and_an_error_stays_a_share() -> None:
    assert over_seeds([None, None]) is None
    assert over_seeds([0.25, None]) == {
        "seeds": 1, "mean": 0.25, "standard_deviation": None, "interval": None,
    }  # fmt: skip
    assert over_seeds([0.0, 0.5])["interval"] == [0.0, 1.0]
