"""`workbench train`: what it keeps, how it is interrupted, and what it refuses."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from cli_case import refused, task, workbench
from safetensors.torch import load_file

import workbench.training as training
from benchmarks.history import read_history
from defenses import train
from workbench.datasets import load_dataset
from workbench.datasets.dataset import image_ids
from workbench.models import ModelOptions, build, load_model
from workbench.training_plan import held_out_rows

QUICK = ("--epochs", 4, "--batch-size", 16, "--lr", 0.05, "--device", "cpu")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The quadrant task with 120 training and 60 other test images."""
    file = tmp_path / "task.npz"
    (images, labels), (test_images, test_labels) = task(120, 1), task(60, 2)
    np.savez(
        file, train_images=images, train_labels=labels,
        test_images=test_images, test_labels=test_labels,
    )  # fmt: skip
    return file


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_checkpoint_needs_no_flags_and_is_as_good_as_was_said(data: Path) -> None:
    result = workbench("train", "mlp(width=8)", "--data", data, *QUICK, "--json")
    assert result.code == 0, result.err
    found = result.document
    assert found["checkpoint"] == "runs/train-mlp-width-8-1/model.safetensors"
    assert (found["training_images"], found["validation_images"], found["test_images"]) == (
        108, 12, 60,
    )  # fmt: skip
    test = load_dataset(str(data), split="test")
    model = load_model(found["checkpoint"], ModelOptions(), data=test.facts).model
    images, labels = task(60, 2)
    with torch.no_grad():
        logits = model(torch.from_numpy(images / 255).float().unsqueeze(1))
    wrong = (logits.argmax(1).numpy() != labels).mean()
    assert found["test_error"] == pytest.approx(wrong)
    assert wrong < 0.2  # chance is 0.75
    low, high = found["test_error_interval"]
    assert low <= wrong <= high


def test_it_is_plain_training_on_all_but_the_held_out(data: Path) -> None:
    """The last checkpoint, trained again by hand from the same first weights."""
    workbench("train", "mlp(width=8)", "--data", data, *QUICK, "--output", "run", "--seed", 3)
    images, labels = task(120, 1)
    aside = held_out_rows(labels, image_ids(images[..., None]), 0.1, 3)
    assert np.bincount(labels[aside]).tolist() == [3, 3, 3, 3]
    x = torch.from_numpy(np.delete(images, aside, axis=0)).float().div(255).unsqueeze(1)
    y = torch.from_numpy(np.delete(labels, aside))
    torch.manual_seed(3)
    network = build("mlp(width=8)", channels=1, classes=4, input_size=(8, 8))
    normalised = (x - x.double().mean()) / x.double().std(correction=0)
    for _ in train(network, normalised.float(), y, epochs=4, batch_size=16, lr=0.05, seed=3):
        pass
    kept = load_file("run/last.safetensors")
    for name, value in network.state_dict().items():
        torch.testing.assert_close(kept[name], value, rtol=1e-4, atol=1e-5)


def test_the_best_epoch_on_held_out_images_is_kept(data: Path) -> None:
    found = workbench(
        "train", "mlp", "--data", data, *QUICK, "--epochs", 6, "--lr", 0.5, "--hold-out", 0.4,
        "--output", "run", "--json",
    ).document  # fmt: skip
    errors = [(e["validation_error"], e["validation_loss"]) for e in found["history"]]
    best = errors.index(min(errors)) + 1
    assert found["best_epoch"] == best
    text = Path("run/model.safetensors").read_bytes()
    length = int.from_bytes(text[:8], "little")
    said = json.loads(json.loads(text[8 : 8 + length])["__metadata__"]["workbench"])
    assert said["training"]["epoch"] == best
    history = read_history(Path("run/history.h5"))
    assert history.epoch.tolist() == [1, 2, 3, 4, 5, 6]
    assert history.complete
    kept = [(e["validation_error"], e["loss"], e["lr"]) for e in found["history"]]
    columns = [history.columns[name].tolist() for name in ("validation_error", "loss", "lr")]
    assert list(zip(*columns, strict=True)) == kept


def test_without_held_out_images_the_last_epoch_is_kept(data: Path) -> None:
    found = workbench(
        "train", "mlp", "--data", data, *QUICK, "--hold-out", 0, "--output", "run", "--json"
    ).document
    assert (found["best_epoch"], found["training_images"]) == (4, 120)
    assert Path("run/model.safetensors").read_bytes() == Path("run/last.safetensors").read_bytes()


def test_equal_trainings_give_equal_files_and_other_seeds_others(data: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        workbench("train", "mlp", "--data", data, *QUICK, "--seed", seed, "--output", name)
    a, b, c = (Path(name, "model.safetensors").read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_an_interrupted_training_ends_as_if_it_never_was(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("train", "resnet20(width=2)", "--data", data, *QUICK, "--output")
    assert workbench(*command, "whole").code == 0
    keep = training._keep

    def keep_two(*given: object) -> None:
        keep(*given)  # type: ignore[arg-type]  # passed on as they came
        if len(read_history(Path("cut/history.h5")).epoch) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(training, "_keep", keep_two)
    stopped = workbench(*command, "cut")
    assert stopped.code == 130
    assert "after epoch 2" in stopped.err
    assert "--output cut" in stopped.err
    assert "Traceback" not in stopped.err
    load_model("cut/model.safetensors", ModelOptions(), data=None)
    assert not read_history(Path("cut/history.h5")).complete
    monkeypatch.setattr(training, "_keep", keep)
    assert workbench(*command, "cut").code == 0
    for name in ("model.safetensors", "last.safetensors"):
        assert Path("cut", name).read_bytes() == Path("whole", name).read_bytes()
    assert sorted(os.listdir("cut")) == sorted(os.listdir("whole"))


def test_a_finished_run_is_shown_again_and_another_configuration_refused(data: Path) -> None:
    command = ("train", "mlp", "--data", data, *QUICK, "--output", "run")
    first = workbench(*command, "--json").document
    before = Path("run/model.safetensors").stat().st_mtime_ns
    assert workbench(*command, "--json").document == first
    assert Path("run/model.safetensors").stat().st_mtime_ns == before
    refused(workbench(*command, "--seed", 1), "run", "seed: 0 there, 1 here")


@pytest.mark.slow
def test_real_signals(data: Path) -> None:
    """Ctrl-C, then a kill in the resumed run; what is kept loads, and the end is the same."""
    command = (
        "train", "mlp", "--data", str(data), "--epochs", "24", "--lr", "0.05", "--batch-size",
        "4", "--device", "cpu", "--output",
    )  # fmt: skip

    def epochs() -> int:
        file = Path("cut/history.h5")  # replaced as a whole, its checksum a moment later
        if not file.exists():
            return 0
        with h5py.File(file) as history:
            return len(history["epoch"])

    for sign in (signal.SIGINT, signal.SIGKILL):
        running = subprocess.Popen(
            [sys.executable, "-m", "workbench", *command, "cut"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        before, until = epochs(), time.monotonic() + 300
        while epochs() < before + 3 and time.monotonic() < until:
            time.sleep(0.005)
        running.send_signal(sign)
        _, err = running.communicate(timeout=300)
        assert running.returncode == (130 if sign == signal.SIGINT else -sign), err
        assert ("--output cut" in err) == (sign == signal.SIGINT)
        assert "Traceback" not in err
        assert before < epochs() < 24
        load_model("cut/model.safetensors", ModelOptions(), data=None)
    assert workbench(*command, "cut").code == 0
    assert workbench(*command, "whole").code == 0
    for name in ("model.safetensors", "last.safetensors"):
        assert Path("cut", name).read_bytes() == Path("whole", name).read_bytes()


def test_data_without_a_test_split_of_their_own_give_no_test_error(tmp_path: Path) -> None:
    images, labels = task(80, 1)
    np.savez(tmp_path / "one.npz", images=images, labels=labels)
    result = workbench("train", "mlp", "--data", "one.npz", *QUICK, "--json")
    assert result.document["test_error"] is None
    assert "no test error" in result.err


def test_what_is_printed(data: Path) -> None:
    command = ("train", "mlp", "--data", data, *QUICK)
    human = workbench(*command)
    assert "Test accuracy" in human.out
    assert "Checkpoint: runs/train-mlp-1/model.safetensors" in human.out
    assert "epoch 4" in human.err
    quiet = workbench(*command, "--quiet")
    assert quiet.out == "runs/train-mlp-2/model.safetensors\n"
    assert quiet.err == ""


def test_a_dry_run_leaves_nothing(data: Path) -> None:
    result = workbench("train", "mlp", "--data", data, *QUICK, "--dry-run", "--json")
    assert result.document["weights"] == 64 * 50 + 50 + 50 * 4 + 4
    assert not Path("runs").exists()


def test_divergence_keeps_the_good_epochs_and_says_so(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = workbench(
        "train", "resnet20(width=2)", "--data", data, *QUICK, "--lr", 1e30, "--output", "run"
    )
    refused(result, "diverged in epoch 1", "smaller learning rate", "no checkpoint yet")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (("rsnet20",), "resnet20"),
        (("mlp(widht=3)",), "width"),
        (("mlp", "--data", "fashion-mnist-mni"), "fashion-mnist-mini"),
        (("mlp", "--lr", "-1"), "--lr -1"),
        (("mlp", "--lr", "nan"), "--lr nan"),
        (("mlp", "--momentum", "1"), "--momentum"),
        (("mlp", "--hold-out", "1"), "--hold-out"),
        (("mlp", "--epochs", "0"), "--epochs"),
        (("mlp", "--optimizer", "sdg"), "--optimizer"),
        (("mlp", "--device", "tpu9"), "--device tpu9"),
        (("mlp", "--cifar-stem"), "stem"),
    ],
)
def test_wrong_use_is_two_lines(data: Path, changes: tuple[str, ...], message: str) -> None:
    refused(workbench("train", changes[0], "--data", data, *QUICK, *changes[1:]), message)
    assert not Path("runs").exists()


def test_a_damaged_state_is_told(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep = training._keep

    def keep_once(*given: object) -> None:
        keep(*given)  # type: ignore[arg-type]  # passed on as they came
        raise KeyboardInterrupt

    command = ("train", "mlp", "--data", data, *QUICK, "--output", "run")
    monkeypatch.setattr(training, "_keep", keep_once)
    assert workbench(*command).code == 130
    state = Path("run/state.pt")
    state.write_bytes(state.read_bytes()[: state.stat().st_size // 2])
    refused(workbench(*command), "run/state.pt is damaged", "delete it")


def test_another_version_of_a_package_that_adds_defenses_is_another_training(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("train", "mlp(width=8)", "--data", data, *QUICK, "--output", "run")

    def added(version: str) -> None:
        packages = {"package theirs": version}
        monkeypatch.setattr("workbench.training_plan.added_packages", lambda kinds: packages)

    added("1.0 abc")
    assert workbench(*command).code == 0
    assert workbench(*command).code == 0
    added("1.1 def")
    refused(workbench(*command), "packages.package theirs: 1.0 abc there, 1.1 def here")


def test_interrupted_after_the_last_epoch_only_the_test_is_left(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing is held out, so the last epoch is the one that is kept.
    command = ("train", "mlp(width=8)", "--data", data, *QUICK, "--hold-out", 0)
    assert workbench(*command, "--output", "whole").code == 0

    def interrupted(*given: object, **settings: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training, "_result", interrupted)
        assert workbench(*command, "--output", "run").code == 130
    Path("run/model.safetensors").unlink()  # as if killed before it was written
    result = workbench(*command, "--output", "run")
    assert result.code == 0, result.err
    assert "epoch 4:" not in result.err
    whole, run = (json.loads(Path(each, "results.json").read_text()) for each in ("whole", "run"))
    for name in ("model", "last"):
        one, other = (Path(each, f"{name}.safetensors") for each in ("whole", "run"))
        assert one.read_bytes() == other.read_bytes()
    assert run["test_error"] == whole["test_error"]


def test_another_factory_file_is_another_training(data: Path) -> None:
    source = (
        "from torch import nn\n\n\ndef make():\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 4))\n"
    )
    Path("net.py").write_text(source)
    command = ("train", "net.py:make", "--data", data, *QUICK, "--output", "run")
    assert workbench(*command).code == 0
    Path("net.py").write_text(source.replace("nn.Flatten()", "nn.Dropout(0.5), nn.Flatten()"))
    refused(workbench(*command), "source:")
