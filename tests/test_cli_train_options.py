"""`workbench train`: averaged weights, smoothing, spared norms, and going on from a checkpoint."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cli_case import refused, task, workbench
from safetensors.torch import load_file
from torch import nn

import workbench.training as training
from defenses import DEFENSES, Defense
from defenses.defense import cross_entropy
from workbench.fine_tuning import _last_layer, _replace_last_layer
from workbench.models import ModelOptions, load_model, read_checkpoint
from workbench.training_view import curve_title

QUICK = ("--epochs", 3, "--batch-size", 16, "--lr", 0.05, "--device", "cpu", "--threads", 1)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (images, labels), (test_images, test_labels) = task(120, 1), task(60, 2)
    for name, kept in (("task", 4), ("pair", 2)):
        rows, test_rows = labels < kept, test_labels < kept
        np.savez(
            f"{name}.npz",
            train_images=images[rows], train_labels=labels[rows],
            test_images=test_images[test_rows], test_labels=test_labels[test_rows],
        )  # fmt: skip


def train(arch: str, *options: object, data: str = "task.npz", to: str = "run") -> dict:
    result = workbench("train", arch, "--data", data, *QUICK, *options, "--output", to, "--json")
    assert result.code == 0, result.err
    return result.document


def test_averaged_weights_are_measured_and_kept() -> None:
    found = train("mlp(width=8)", "--ema", 0.9)
    said = read_checkpoint(Path("run/last.safetensors")).metadata
    assert said is not None
    assert said.training["ema"] == 0.9
    test = task(60, 2)
    model = load_model("run/model.safetensors", ModelOptions(), data=None).model
    with torch.no_grad():
        logits = model(torch.from_numpy(test[0] / 255).float().unsqueeze(1))
    assert found["test_error"] == pytest.approx((logits.argmax(1).numpy() != test[1]).mean())
    train("mlp(width=8)", to="plain")
    kept, plain = (load_file(f"{name}/last.safetensors") for name in ("run", "plain"))
    assert kept.keys() == plain.keys()
    assert not any(torch.equal(kept[name], plain[name]) for name in kept)


@pytest.mark.parametrize(
    "options",
    [
        ("--ema", 0.9, "--label-smoothing", 0.1, "--spare-norms"),
        ("--from", "start/last.safetensors", "--last-layer-only", "--ema", 0.5),
    ],
    ids=["scratch", "fine-tuned"],
)
def test_an_interrupted_training_ends_as_if_it_never_was(
    options: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    train("resnet20(width=2)", data="pair.npz", to="start")
    train("resnet20(width=2)", *options, to="whole")
    keep = training._keep

    def keep_one(*given: object) -> None:
        keep(*given)  # type: ignore[arg-type]  # passed on as they came
        raise KeyboardInterrupt

    command = ("train", "resnet20(width=2)", "--data", "task.npz", *QUICK, *options)
    monkeypatch.setattr(training, "_keep", keep_one)
    assert workbench(*command, "--output", "cut").code == 130
    monkeypatch.setattr(training, "_keep", keep)
    assert workbench(*command, "--output", "cut").code == 0
    for name in ("model.safetensors", "last.safetensors"):
        assert Path("cut", name).read_bytes() == Path("whole", name).read_bytes()


def test_options_that_are_off_leave_no_trace() -> None:
    train("mlp(width=8)")
    config = json.loads(Path("run/config.json").read_text(encoding="utf-8"))["config"]
    assert not {"ema", "label_smoothing", "spare_norms", "from", "last_layer_only"} & set(config)


def test_fine_tuning_begins_with_the_weights_and_their_preprocessing() -> None:
    train("mlp(width=8)", to="first", data="pair.npz")
    train("mlp(width=8)", "--from", "first/last.safetensors", "--lr", 1e-12, data="pair.npz")
    before, after = (load_file(f"{name}/last.safetensors") for name in ("first", "run"))
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, atol=1e-6, rtol=0)
    first, said = (
        read_checkpoint(Path(name, "last.safetensors")).metadata for name in ("first", "run")
    )
    assert first is not None
    assert said is not None
    assert (said.mean, said.std) == (first.mean, first.std)
    assert said.training["from"] == "first/last.safetensors"


def test_weights_of_others_can_be_told_their_preprocessing() -> None:
    train("mlp(width=8)", to="first")
    torch.save(load_file("first/last.safetensors"), "plain.pt")
    train("mlp(width=8)", "--from", "plain.pt", "--mean", 0.3, "--std", 0.2)
    said = read_checkpoint(Path("run/last.safetensors")).metadata
    assert said is not None
    assert (said.mean, said.std) == ((0.3,), (0.2,))


def test_other_classes_get_a_last_layer_of_their_own_and_that_is_told() -> None:
    train("resnet20(width=2)", to="first", data="pair.npz")
    command = (
        "train", "resnet20(width=2)", "--data", "task.npz", *QUICK, "--lr", 1e-12,
        "--from", "first/last.safetensors", "--output", "run",
    )  # fmt: skip
    result = workbench(*command, "--json")
    assert result.code == 0, result.err
    assert "first/last.safetensors has 2 classes and the data 4: its last layer is" in result.err
    before, after = (load_file(f"{name}/last.safetensors") for name in ("first", "run"))
    assert after["linear.weight"].shape == (4, before["linear.weight"].shape[1])
    torch.testing.assert_close(after["conv1.weight"], before["conv1.weight"], atol=1e-6, rtol=0)
    assert load_model("run/model.safetensors", ModelOptions(), data=None).model.classes == 4


def test_a_function_that_cannot_build_what_is_trained_is_refused_before_training() -> None:
    for name, classes in (("fixed", 2), ("free", "num_classes")):
        Path(f"{name}.py").write_text(
            "from torch import nn\n\n"
            f"def net({'num_classes' if name == 'free' else ''}):\n"
            f"    return nn.Sequential(nn.Flatten(), nn.Linear(64, {classes}))\n"
        )
    train("free.py:net", to="first", data="pair.npz")
    command = ("--data", "task.npz", *QUICK, "--from", "first/last.safetensors")
    refused(workbench("train", "fixed.py:net", *command), "could not be read again", "num_classes")
    Path("other.py").write_text(
        "from torch import nn\n\n"
        "def net(num_classes):\n"
        "    last = nn.Linear(64, num_classes)\n"
        "    last = last if num_classes == 2 else nn.Sequential(last)\n"
        "    return nn.Sequential(nn.Flatten(), last)\n"
    )
    refused(workbench("train", "other.py:net", *command), "could not be read again", "num_classes")
    train("free.py:net", *command[2:], to="four")
    refused(workbench("check", "four/model.safetensors", "--data", "task.npz"), "add --trust, or")
    result = workbench("check", "four/model.safetensors", "--data", "task.npz", "--trust")
    assert result.code == 0, result.err


def test_the_last_layer_alone_can_be_trained() -> None:
    train("resnet20(width=2)", to="first", data="pair.npz")
    train("resnet20(width=2)", "--from", "first/last.safetensors", "--last-layer-only")
    before, after = (load_file(f"{name}/last.safetensors") for name in ("first", "run"))
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert moved == {"linear.weight", "linear.bias"}


def test_weights_that_saw_test_corruptions_pass_the_mark_on() -> None:
    train("mlp(width=8)", "--defense", "noisy", to="noisy", data="pair.npz")
    train("mlp(width=8)", "--from", "noisy/last.safetensors")
    said = read_checkpoint(Path("run/last.safetensors")).metadata
    assert said is not None
    assert said.trained_on_corruptions == ("gaussian_noise",)


def test_a_convolution_at_the_end_is_replaced_too() -> None:
    network = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Conv2d(5, 7, 1), nn.Flatten())
    assert _last_layer(network, 7) == "1"
    _replace_last_layer(network, 7, 3, seed=0)
    assert network(torch.zeros(2, 3, 3, 3)).shape == (2, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--last-layer-only",), "--last-layer-only needs --from"),
        (("--mean", 0.5, "--std", 0.5), "--mean and --std need --from"),
        (("--from", "nowhere.pt"), "there is no such file"),
        (("--from", "mlp(width=8)"), "no published weights"),
        (("--from", "other/last.safetensors"), "does not fit mlp(width=8)"),
        (("--ema", "1"), "--ema"),
        (("--label-smoothing", "-1"), "--label-smoothing"),
    ],
)
def test_wrong_use_is_two_lines(options: tuple[object, ...], message: str) -> None:
    train("mlp(width=9)", to="other")
    refused(workbench("train", "mlp(width=8)", "--data", "task.npz", *QUICK, *options), message)
    assert not Path("runs").exists()


def test_a_defenses_own_loss_is_not_smoothed(monkeypatch: pytest.MonkeyPatch) -> None:
    def loss(*given: object) -> object:
        return cross_entropy(*given)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setitem(DEFENSES, "own", lambda: Defense(loss=loss))  # type: ignore[arg-type]
    result = workbench(
        "train", "mlp", "--data", "task.npz", *QUICK, "--label-smoothing", 0.1, "--defense", "own"
    )
    refused(result, "label_smoothing is for plain training's loss")
    assert not Path("runs").exists()


def test_the_title_of_a_learning_curve_names_no_folders() -> None:
    request = SimpleNamespace(arch="nets/my.py:make(width=3)", data="a/b/photographs")
    bound = [SimpleNamespace(spec="hard-negatives(source='runs/a/fooling.h5', strengths=5)")]
    title = curve_title(request, SimpleNamespace(bound=bound))
    assert title == (
        "my.py:make(width=3) on photographs, hard-negatives(source='fooling.h5', strengths=5)"
    )
