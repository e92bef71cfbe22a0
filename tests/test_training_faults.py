"""`workbench train` on a full disk, and where it diverges: nothing finished is lost."""

import errno
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_case import refused, task, workbench

from benchmarks import durable
from benchmarks.history import read_history
from defenses import DEFENSES, Defense
from workbench.models import ModelOptions, load_model

COMMAND = (
    "train", "mlp(width=8)", "--data", "task.npz", "--epochs", 3, "--batch-size", 16, "--lr", 0.05,
    "--device", "cpu",
)  # fmt: skip
CHECKPOINTS = ("model.safetensors", "last.safetensors")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (images, labels), (test_images, test_labels) = task(120, 1), task(60, 2)
    np.savez(
        "task.npz", train_images=images, train_labels=labels,
        test_images=test_images, test_labels=test_labels,
    )  # fmt: skip


class FullDisk:
    """`os.fsync` that finds the disk full when the n-th file of a name is flushed."""

    def __init__(self, name: str, nth: int) -> None:
        self.name, self.left, self.flush = name, nth, durable._flush

    def __call__(self, path: Path) -> None:
        self.left -= path.name.startswith(f".{self.name}.")
        if self.left == 0:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        self.flush(path)


@pytest.mark.parametrize(
    ("name", "nth", "kept"),
    [
        ("last.safetensors", 1, "before the first epoch"),
        ("last.safetensors", 2, "after epoch 1"),
        ("model.safetensors", 1, "before the first epoch"),
        ("state.pt", 2, "after epoch 1"),
        # Each is flushed twice: before its checksum is renewed, and before it is moved.
        ("history.h5", 3, "after epoch 1"),
        ("history.h5", 5, "after epoch 2"),
        ("learning-curve.png", 1, "after epoch 3"),
        ("results.json", 1, "after epoch 3"),
    ],
)
def test_a_full_disk_is_two_lines_and_the_same_command_goes_on(
    name: str, nth: int, kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(durable, "_flush", FullDisk(name, nth))
        stopped = workbench(*COMMAND, "--output", "run")
    refused(stopped, "No space left on device", f"Stopped {kept}", "Go on with: ", "--output run")
    assert not list(Path().rglob("run/*.tmp"))  # a directory with nothing in it is gone
    if "before" not in kept:
        load_model("run/model.safetensors", ModelOptions(), data=None)
        assert len(read_history(Path("run/history.h5")).epoch) >= 1
    assert workbench(*COMMAND, "--output", "run").code == 0
    assert workbench(*COMMAND, "--output", "whole").code == 0
    for file in CHECKPOINTS:
        assert Path("run", file).read_bytes() == Path("whole", file).read_bytes()
    assert sorted(os.listdir("run")) == sorted(os.listdir("whole"))
    assert read_history(Path("run/history.h5")).complete


def test_a_full_disk_in_one_replicate_keeps_the_finished_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(durable, "_flush", FullDisk("state.pt", 5))
        stopped = workbench(*COMMAND, "--seeds", 2, "--output", "group")
    refused(stopped, "No space left", "after epoch 1", "--seeds 2 --output group")
    assert Path("group/seed-0/results.json").exists()
    assert workbench(*COMMAND, "--seeds", 2, "--output", "group").code == 0


def test_a_loss_that_is_no_number_keeps_what_was_before(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def spoiling(images: torch.Tensor, labels: torch.Tensor, seeds: torch.Tensor) -> object:
        seen.append(len(images))
        return images * (1 if sum(seen) <= 2 * 108 else math.nan), labels

    monkeypatch.setitem(DEFENSES, "spoiling", lambda: Defense(spoiling))  # type: ignore[arg-type]
    result = workbench(*COMMAND, "--defense", "spoiling", "--output", "run")
    refused(
        result, "training diverged in epoch 3: the training loss is not finite", "after epoch 2",
        "kept in run/model.safetensors",
    )  # fmt: skip
    history = read_history(Path("run/history.h5"))
    assert history.epoch.tolist() == [1, 2]
    assert np.isfinite(history.columns["loss"]).all()
    assert not history.complete
    assert Path("run/learning-curve.svg").exists()
    model = load_model("run/last.safetensors", ModelOptions(), data=None).model
    assert all(bool(torch.isfinite(value).all()) for value in model.state_dict().values())


def test_held_out_images_are_never_changed_and_never_trained_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[bytes] = []

    def blackening(images: torch.Tensor, labels: torch.Tensor, seeds: torch.Tensor) -> object:
        seen.extend((255 * image).round().byte().numpy().tobytes() for image in images)
        return torch.zeros_like(images), labels

    monkeypatch.setitem(DEFENSES, "blackening", lambda: Defense(blackening))  # type: ignore[arg-type]
    options = ("--defense", "blackening", "--hold-out", 0.4, "--json", "--output", "run")
    found = workbench(*COMMAND, *options).document
    images, labels = task(120, 1)
    fitted = set(seen)
    held_out = [row for row, image in enumerate(images) if image.tobytes() not in fitted]
    assert (len(fitted), len(held_out)) == (72, 48)
    assert len(seen) == 3 * 72
    model = load_model("run/last.safetensors", ModelOptions(), data=None).model
    with torch.no_grad():
        logits = model(torch.from_numpy(images[held_out] / 255).float().unsqueeze(1))
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels[held_out]))
    assert found["history"][-1]["validation_loss"] == pytest.approx(float(loss), rel=1e-4)
