"""Data that do not fit in memory: read by workers, the same to the last bit."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from cli_case import refused, task, workbench
from PIL import Image

from defenses.evaluation import ReadAhead
from workbench import reading_ahead
from workbench.datasets import load_dataset
from workbench.reading_ahead import OnDemand, readable

QUICK = ("--epochs", 2, "--batch-size", 16, "--lr", 0.05, "--device", "cpu")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The quadrant task as files, a folder a class, none of which are kept in memory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reading_ahead, "_IN_MEMORY", 0)
    monkeypatch.setattr("workbench.datasets.photographs.MEMORY_LIMIT", 0)
    for number, (image, label) in enumerate(zip(*task(80, 1), strict=True)):
        file = tmp_path / "data" / str(label) / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
    return tmp_path / "data"


def test_workers_read_what_asking_gives(folder: Path) -> None:
    data = load_dataset(folder, split="train")
    order = torch.randperm(80, generator=torch.Generator().manual_seed(0)).split(7)
    ahead = readable(data, torch.device("cpu"), 2)
    assert isinstance(ahead, OnDemand)
    assert isinstance(ahead, ReadAhead)
    whole = torch.from_numpy(data.pixels.read(slice(None))).permute(0, 3, 1, 2)
    torch.manual_seed(3)
    read = list(ahead.batches(order))
    after = torch.rand(1)
    for rows, images in zip(order, read, strict=True):
        assert images.dtype == torch.uint8
        assert images.is_contiguous()
        assert torch.equal(images, whole[rows])
    torch.manual_seed(3)
    assert torch.equal(torch.rand(1), after)  # draws of the model are not used up
    assert not multiprocessing.active_children()


def test_training_is_the_same_however_images_are_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("train", "resnet20(width=2)", "--data", folder, *QUICK, "--defense", "crop-flip")
    for name in ("0", "2"):
        result = workbench(*command, "--workers", name, "--output", name)
        assert result.code == 0, result.err
    monkeypatch.setattr(reading_ahead, "_IN_MEMORY", 2**30)
    assert workbench(*command, "--output", "memory").code == 0
    files = {Path(name, "last.safetensors").read_bytes() for name in ("0", "2", "memory")}
    assert len(files) == 1


def test_the_number_of_workers_is_chosen_where_it_is_not_given(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = load_dataset(folder, split="train")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    assert vars(readable(data, torch.device("cpu")))["_workers"] == 3
    monkeypatch.setattr(reading_ahead, "_IN_MEMORY", 2**30)
    assert isinstance(readable(data, torch.device("cpu")), torch.Tensor)


def test_a_damaged_file_ends_training_with_its_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Damaged after it was looked at: the whole file is read once before the first epoch."""
    start = OnDemand.batches

    def damaged(self: OnDemand, order: object) -> object:
        (folder / "2" / "22.png").write_bytes(b"no image")
        return start(self, order)  # type: ignore[arg-type]  # passed on as it came

    monkeypatch.setattr(OnDemand, "batches", damaged)
    monkeypatch.setattr("workbench.training_plan.channel_statistics", lambda _: ((0.5,), (0.2,)))
    result = workbench(
        "train", "mlp", "--data", folder, *QUICK, "--workers", 2, "--hold-out", 0, "--output", "run"
    )
    refused(result, "22.png cannot be decoded", "before the first epoch")
    assert not multiprocessing.active_children()


SLOW_READING = """
import sys, time
from workbench import reading_ahead
from workbench.__main__ import main
from workbench.datasets.photographs import Photographs
reading_ahead._IN_MEMORY = 0
read = Photographs.read
def slow(self, rows):
    time.sleep(0.02)
    return read(self, rows)
Photographs.read = slow
sys.exit(main())
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")
def test_ctrl_c_leaves_no_worker(folder: Path) -> None:
    running = subprocess.Popen(
        [sys.executable, "-c", SLOW_READING, "train", "mlp", "--data", str(folder), "--epochs",
         "500", "--batch-size", "4", "--workers", "2", "--output", "run"],
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    until = time.monotonic() + 300
    while not Path("run/history.h5").exists() and time.monotonic() < until:
        time.sleep(0.02)
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does: to the workers too
    _, err = running.communicate(timeout=300)
    assert running.returncode == 130, err
    assert "Traceback" not in err
    assert err.count("Interrupted") == 1
    left = [
        stat
        for stat in Path("/proc").glob("[0-9]*/stat")
        if f" {running.pid} {running.pid} " in _text(stat)  # process group and session
    ]
    assert left == []


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
