"""What the command-line tests share: a tiny task, a network that has learnt it, and a runner."""

import contextlib
import io
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from workbench.app import run
from workbench.models import build

CLASSES = 4
SIDE = 8


@dataclass(frozen=True)
class Result:
    """How one command line ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document on stdout."""
        found: dict[str, Any] = json.loads(self.out)
        return found


def workbench(*arguments: object) -> Result:
    """Run a command line in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run([str(argument) for argument in arguments])
    return Result(code, out.getvalue(), err.getvalue())


def refused(result: Result, *parts: str) -> None:
    """Assert that a command line was refused by code 2 and two lines, no traceback."""
    assert result.code == 2, result.err
    error = result.err[result.err.index("error:") :].strip().splitlines()
    assert len(error) <= 2, result.err
    assert "Traceback" not in result.err
    assert result.out == ""
    for part in parts:
        assert part in " ".join(error), result.err


def task(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy grey 8×8 images, one bright quadrant a class: uint8 (N, 8, 8), int64 (N,)."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    images = generator.integers(40, 120, (count, SIDE, SIDE))
    for image, label in zip(images, labels, strict=True):
        row, column = divmod(int(label), 2)
        image[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 90
    return images.astype(np.uint8), labels.astype(np.int64)


@cache
def learnt() -> dict[str, torch.Tensor]:
    """The weights of an `mlp(width=16)` that has learnt the task; names as `mlp` has them."""
    network = build("mlp(width=16)", channels=1, classes=CLASSES, input_size=(SIDE, SIDE))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.uniform_(-0.1, 0.1, generator=generator)
    images, labels = task(256, seed=1)
    x = torch.from_numpy(images).float().div(255).unsqueeze(1)
    y = torch.from_numpy(labels)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x), y).backward()
        optimizer.step()
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def write_data(path: Path, count: int = 24, seed: int = 2) -> Path:
    """The task as an `.npz` file."""
    images, labels = task(count, seed)
    np.savez(path, images=images, labels=labels)
    return path


def write_checkpoint(path: Path) -> Path:
    """The learnt network as a plain state dict."""
    torch.save(learnt(), path)
    return path


ARCH = ("--arch", "mlp(width=16)")
