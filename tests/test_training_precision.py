"""Training with passes in bfloat16: what is, and what stays in float32."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cli_case import refused, task, workbench
from processes_case import images_and_labels
from safetensors.torch import load_file
from torch import Tensor, nn

from attacks import execution
from defenses import Defense, composed, resolve, train
from defenses.defense import cross_entropy


class Spied(nn.Module):
    """A small convolutional net that remembers what its layers gave."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.last = nn.Linear(4 * 64, 3)
        self.training_dtypes: set[torch.dtype] = set()
        self.other_dtypes: set[torch.dtype] = set()

    def forward(self, images: Tensor) -> Tensor:
        features = self.conv(images)
        (self.training_dtypes if self.training else self.other_dtypes).add(features.dtype)
        logits: Tensor = self.last(self.norm(features).relu().flatten(1))
        return logits


def trained(precision: str, defense: Defense | None = None) -> tuple[Spied, list[Any]]:
    model, (images, labels) = Spied(), images_and_labels(60)
    given: dict[str, Any] = {
        "epochs": 4,
        "batch_size": 10,
        "lr": 0.02,
        "validation": (images, labels),
    }
    return model, list(train(model, images, labels, **given, precision=precision, defense=defense))


def test_passes_are_in_bfloat16_and_all_that_is_kept_in_float32() -> None:
    seen: list[torch.dtype] = []

    def loss(model: nn.Module, *given: Tensor) -> tuple[Tensor, Tensor]:
        found = cross_entropy(model, *given)
        seen.extend(each.dtype for each in found)
        return found

    model, epochs = trained("bfloat16", Defense(loss=loss))
    assert model.training_dtypes == {torch.bfloat16}
    assert torch.float32 in model.other_dtypes  # validation
    assert set(seen[::2]) == {torch.float32}  # the loss, whatever the logits are
    state = epochs[-1].resume.optimizer["state"]
    kept = [*model.parameters(), *model.buffers(), *(v["momentum_buffer"] for v in state.values())]
    assert {value.dtype for value in kept} == {torch.float32, torch.int64}  # batches are counted
    assert epochs[-1].validation_error == 0
    exact = trained("float32")[0]
    assert exact.training_dtypes == {torch.float32}
    assert not torch.equal(exact.conv.weight, model.conv.weight)


@pytest.mark.parametrize("spec", ["augmix", "adversarial(steps=2)", "mixup"])
def test_defenses_with_a_loss_of_their_own_train_in_it(spec: str) -> None:
    model, epochs = trained("bfloat16", composed([resolve(spec)]))
    assert torch.bfloat16 in model.training_dtypes
    assert epochs[-1].validation_error is not None
    assert epochs[-1].validation_error < 0.2  # chance is 2/3


def test_auto_is_what_the_hardware_gains_by(monkeypatch: pytest.MonkeyPatch) -> None:
    for gains, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(execution, "faster_in_bfloat16", lambda device, gains=gains: gains)
        assert trained("auto")[0].training_dtypes == {dtype}
    with pytest.raises(ValueError, match="unknown precision 'float16'"):
        trained("float16")


def test_the_resolved_precision_is_a_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    images, labels = task(80, 1)
    np.savez("task.npz", images=images, labels=labels)
    command = ("train", "mlp(width=8)", "--data", "task.npz", "--epochs", 1, "--device", "cpu")
    for given in ("float32", "bfloat16"):
        result = workbench(*command, "--precision", given, "--output", given)
        assert result.code == 0, result.err
    said = {
        name: json.loads(Path(name, "config.json").read_text(encoding="utf-8"))["config"]
        for name in ("float32", "bfloat16")
    }
    assert "precision" not in said["float32"]
    assert said["bfloat16"]["precision"] == "bfloat16"
    assert {value.dtype for value in load_file("bfloat16/last.safetensors").values()} == {
        torch.float32
    }
    monkeypatch.setattr(execution, "faster_in_bfloat16", lambda device: False)
    assert workbench(*command, "--output", "float32").code == 0  # auto is float32 here
    refused(workbench(*command, "--output", "bfloat16"), "precision: bfloat16 there, nothing here")
