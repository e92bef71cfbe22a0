"""`workbench train` under torchrun: one checkpoint, one voice, and one end."""

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
from cli_case import task, workbench
from processes_case import WORLD, free_port
from safetensors.torch import load_file

from workbench.models import read_checkpoint

TRAIN = (
    "train", "mlp(width=8)", "--data", "task.npz", "--batch-size", "16", "--lr", "0.05",
    "--device", "cpu", "--precision", "float32", "--epochs",
)  # fmt: skip
EPOCHS = "20"  # enough that a signal after the third of a run comes before the last

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (images, labels), (test_images, test_labels) = task(120, 1), task(61, 2)
    np.savez(
        "task.npz", train_images=images, train_labels=labels,
        test_images=test_images, test_labels=test_labels,
    )  # fmt: skip


def torchrun(*arguments: str) -> subprocess.Popen[str]:
    """Start a command line in two processes."""
    return subprocess.Popen(
        [
            sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(WORLD),
            "--master-port", str(free_port()), "-m", "workbench", *arguments,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def epochs(folder: str) -> int:
    file = Path(folder, "history.h5")
    if not file.exists():
        return 0
    with h5py.File(file) as history:
        return len(history["epoch"])


def workers_of(parent: int) -> list[int]:
    """The processes that torchrun started, in the order of their ranks."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii").split()
    ranks = {}
    for child in children:
        variables = Path(f"/proc/{child}/environ").read_text(encoding="utf-8").split("\0")
        ranks |= {int(each[5:]): int(child) for each in variables if each.startswith("RANK=")}
    return [ranks[rank] for rank in sorted(ranks)]


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds processes in /proc")
def test_interrupted_and_killed_it_ends_as_one_process_would() -> None:
    """Ctrl-C to all, a kill of one, and then one checkpoint, announced once."""
    for sign in (signal.SIGINT, signal.SIGKILL):
        running = torchrun(*TRAIN, EPOCHS, "--output", "two", "--quiet")
        before, until = epochs("two"), time.monotonic() + 300
        while epochs("two") < before + 3 and time.monotonic() < until:
            time.sleep(0.01)
        workers = workers_of(running.pid)
        if sign == signal.SIGINT:
            running.send_signal(sign)
        else:
            os.kill(workers[1], sign)
        out, err = running.communicate(timeout=300)
        assert running.returncode != 0
        assert out == ""
        assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
        assert err.count("error:") <= 1, err  # torchrun may end the first before it has spoken
        if sign == signal.SIGINT:
            assert f"torchrun --nproc-per-node {WORLD} -m workbench train" in err
        assert before < epochs("two") < int(EPOCHS)
    running = torchrun(*TRAIN, EPOCHS, "--output", "two", "--quiet")
    out, err = running.communicate(timeout=300)
    assert running.returncode == 0, err
    assert out == "two/model.safetensors\n"
    assert workbench(*TRAIN, EPOCHS, "--output", "one").code == 0
    one, two = (load_file(Path(folder, "last.safetensors")) for folder in ("one", "two"))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-4)
    said = read_checkpoint(Path("two/model.safetensors")).metadata
    assert said is not None
    assert said.training["processes"] == WORLD
    assert sorted(os.listdir("two")) == sorted(os.listdir("one"))


def test_what_one_process_finds_ends_all_with_its_words() -> None:
    """The run directory is looked at by the first alone."""
    Path("strange").mkdir()
    Path("strange/file").touch()
    running = torchrun(*TRAIN, "1", "--output", "strange")
    out, err = running.communicate(timeout=300)
    assert running.returncode != 0
    assert out == ""
    assert err.count("error:") == 1, err
    assert "strange is not empty (file)" in err
