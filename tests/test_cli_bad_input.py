"""Whatever is wrong with the input: two lines at most, exit code 2, no traceback, nothing run."""

import os
import pickle
import signal
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_case import ARCH, refused, task, workbench, write_checkpoint, write_data
from PIL import Image

from benchmarks import durable
from workbench import attacking
from workbench.run_directory import open_run


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory with `net.pt` and `data.npz`."""
    monkeypatch.chdir(tmp_path)
    write_data(tmp_path / "data.npz")
    write_checkpoint(tmp_path / "net.pt")
    return tmp_path


def attack(*arguments: object, checkpoint: str = "net.pt", data: str = "data.npz") -> object:
    given = ("attack", checkpoint, *ARCH, "--data", data, "-a", "fgsm", *arguments)
    return workbench(*given)


class Bomb:
    """Pickles into a call that leaves a file behind when it is executed."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("exploded",)


def damaged(kind: str, whole: bytes) -> bytes:
    generator = np.random.default_rng(0)
    if kind == "half":
        return whole[: len(whole) // 2]
    if kind == "all but the end":
        return whole[:-20]
    if kind == "random bytes":
        return generator.bytes(5000)
    if kind == "a bomb":
        return pickle.dumps({"state_dict": Bomb()})
    if kind == "text":
        return b"<html>404</html>"
    return b""


@pytest.mark.parametrize(
    "kind", ["half", "all but the end", "random bytes", "a bomb", "text", "nothing"]
)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_damaged_checkpoints(here: Path, kind: str, suffix: str) -> None:
    file = here / f"bad{suffix}"
    file.write_bytes(damaged(kind, (here / "net.pt").read_bytes()))
    refused(attack(checkpoint=file.name), f"bad{suffix}")
    assert not (here / "exploded").exists()
    assert not (here / "runs").exists()


def test_a_bomb_inside_a_torch_archive_is_not_executed(here: Path) -> None:
    torch.save({"state_dict": Bomb()}, here / "bomb.pt")
    refused(attack(checkpoint="bomb.pt"), "bomb.pt")
    assert not (here / "exploded").exists()


def test_a_checkpoint_of_another_architecture_names_the_first_keys(here: Path) -> None:
    tensors = OrderedDict([("conv.weight", torch.zeros(3, 1, 3, 3)), ("head.bias", torch.zeros(4))])
    torch.save(tensors, here / "other.pt")
    refused(attack(checkpoint="other.pt"), "conv.weight", "missing")


def save(path: Path, images: np.ndarray, labels: np.ndarray) -> str:
    np.savez(path, images=images, labels=labels)
    return path.name


IMAGES, LABELS = task(8, seed=3)
FLOATS = (IMAGES / 255).astype(np.float32)
WRONG_DATA = {
    "NaN": (np.where(FLOATS > 0.5, np.nan, FLOATS), LABELS, "NaN"),
    "range": (FLOATS * 2 - 1, LABELS, "[-1, 1]"),
    "channels": (np.zeros((8, 8, 8, 3), np.uint8), LABELS, "colours"),
    "dimensions": (np.zeros((8, 64), np.uint8), LABELS, "images"),
    "labels too high": (IMAGES, LABELS + 3, "label"),
    "labels below 0": (IMAGES, LABELS - 1, "-1"),
    "labels of floats": (IMAGES, LABELS + 0.5, "integers"),
    "fewer labels": (IMAGES, LABELS[:5], "5"),
    "no images": (IMAGES[:0], LABELS[:0], "bad.npz: there are no images"),
    "objects": (np.array([Bomb()], dtype=object), LABELS, "bad.npz"),
}


@pytest.mark.parametrize("name", WRONG_DATA)
def test_wrong_data(here: Path, name: str) -> None:
    images, labels, part = WRONG_DATA[name]
    refused(attack(data=save(here / "bad.npz", images, labels)), part)
    assert not (here / "exploded").exists()
    assert not (here / "runs").exists()


def test_folders_without_images_and_with_broken_ones(here: Path) -> None:
    (here / "empty").mkdir()
    refused(attack(data="empty"), "empty")
    (here / "photos" / "cat").mkdir(parents=True)
    (here / "photos" / "cat" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    Image.new("L", (8, 8)).save(here / "photos" / "cat" / "b.png")
    refused(attack(data="photos"), "a.png")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["attak", "x"], ["'attak'", "'attack'"]),
        (["attack", "net.pt", "--dat", "x"], ["--dat"]),
        (["attack", "net.pt", "-d", "data.npz"], ["--attack"]),
        (["attack", "-d", "data.npz", "-a", "fgsm"], ["CHECKPOINT"]),
        (["attack", "net.pt", "-d", "data.npz", "-a", "fgms"], ["fgms", "fgsm"]),
        (["attack", "net.pt", "-d", "data.npz", "-a", "pgd(stepz=3)"], ["stepz", "steps"]),
        (["attack", "net.pt", "-d", "data.npz", "-a", "pgd(steps=)"], ["pgd(steps=)"]),
        (["attack", "net.pt", "-d", "data.npz", "-a", "pgd(steps=-1)"], ["pgd: steps=-1"]),
        (["attack", "net.pt", "-d", "data.npz", "-a", "apgd(eps=nan)"], ["apgd: eps='nan'"]),
        (["attack", "net.pt", "-d", "data.npz", "-a", "pgd(norm=l7)"], ["pgd", "'l7'", "l2"]),
        (
            ["attack", "net.pt", "-d", "data.npz", "--shrink", "-a", "sign-ascent(confidence=2)"],
            ["confidence=2", "[0, 1)"],
        ),
        (["attack", "net.pt", "-d", "data.npz", "-a", "torchattacks:PGDD"], ["PGDD", "PGD"]),
        (["attack", "net.pt", "-d", "data.npz", "-a", "fgsm(eps=8)"], ["eps=8", "8/255"]),
        (["attack", "net.pt", "-d", "data.npz", "-a", "fgsm", "--eps", "8"], ["8/255"]),
        (["attack", "net.pt", "-d", "data.npz", "-a", "fgsm", "--eps", "x"], ["--eps x"]),
        (["attack", "net.pt", "-d", "data.npz", "-a", "fgsm", "--arch", "mpl"], ["mpl", "mlp"]),
        (["attack", "net.pt", "-d", "minst", "-a", "fgsm"], ["minst", "mnist"]),
        (["attack", "no.pt", "-d", "data.npz", "-a", "fgsm"], ["no.pt"]),
        (["attack", "net.pt", "-d", "no.npz", "-a", "fgsm"], ["no.npz"]),
        (["attack", "net.pt", "-d", "data.npz", "-a", "fgsm", "--device", "gpu"], ["gpu", "cuda"]),
        (["attack", "net.pt", "-d", "data.npz", "-a", "fgsm", "--mean", "a"], ["--mean a"]),
        (["attack", "net.pt", "-d", "data.npz", "-a", "fgsm", "--limit", "0"], ["--limit"]),
        (["attack", "net.pt", "-d", "data.npz", "-a", "fgsm", "--thresholds", "2"], ["--thresh"]),
        (["attack", "net.pt", "-d", "data.npz", "-a", "fgsm", "--precision", "x"], ["precision"]),
        (["list", "atacks"], ["atacks", "attacks"]),
        (["list", "attacks", "qqqq"], ["qqqq"]),
        (["verify", "no.h5"], ["no.h5"]),
        (["check", "no.pt", "-d", "data.npz"], ["no.pt"]),
        ([], ["Missing command"]),
    ],
    ids=lambda value: " ".join(value[-3:]),
)
def test_wrong_use(here: Path, arguments: list[str], parts: list[str]) -> None:
    refused(workbench(*arguments), *parts)
    assert not (here / "runs").exists()


def test_an_unknown_target(here: Path) -> None:
    refused(attack("--targeted", "leest-likely"), "leest-likely", "least-likely")
    refused(attack("--targeted", "7"), "7")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_output_directory_without_permission(here: Path) -> None:
    (here / "sealed").mkdir(mode=0o500)
    refused(attack("-o", "sealed/run"), "Permission denied", "--output")


def test_an_output_that_is_a_file_or_holds_something_else(here: Path) -> None:
    refused(attack("-o", "net.pt"), "is a file")
    (here / "thesis").mkdir()
    (here / "thesis" / "chapter.tex").write_text("")
    refused(attack("-o", "thesis"), "chapter.tex")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_error_and_keeps_the_finished_cells(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = durable.write_bytes
    written: list[Path] = []

    def filling_up(path: Path, content: bytes) -> None:
        if len(written) >= 2:
            with open("/dev/full", "wb", buffering=0) as full:
                full.write(content)  # a real ENOSPC from the kernel
        written.append(path)
        whole(path, content)

    monkeypatch.setattr(durable, "write_bytes", filling_up)
    command = ("-o", "run", "--save-images", 0, "--shard-size", 8)
    refused(attack(*command), "No space left on device", "2 of 6 cells", "resume with: workbench")
    monkeypatch.setattr(durable, "write_bytes", whole)
    assert "cells: 6, of which 2 are finished" in attack(*command, "--dry-run").out
    assert attack(*command).code == 0


def test_a_second_process_in_the_same_directory(here: Path) -> None:
    with open_run(Path("run"), verb="attack", name="x", config={}, arguments=[]):
        refused(attack("-o", "run"), "in use by process", "--output")


def test_another_configuration_in_the_same_directory_says_what_differs(here: Path) -> None:
    assert attack("-o", "run").code == 0
    before = (here / "run" / "record.h5").read_bytes()
    refused(attack("-o", "run", "--seed", 1), "another configuration", "seed: 0 there, 1 here")
    refused(attack("-o", "run", "--mean", "0.5", "--std", "0.5"), "another configuration")
    assert (here / "run" / "record.h5").read_bytes() == before
    assert attack("-o", "run").code == 0


def test_the_traceback_only_with_debug(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> object:
        raise KeyError("unforeseen")

    monkeypatch.setattr(attacking, "resolve", broken)
    refused(attack(), "KeyError: 'unforeseen'", "--debug")
    told = attack("--debug")
    assert told.code == 2
    assert "Traceback (most recent call last)" in told.err


def test_a_reader_that_leaves_early_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "workbench", "list", "datasets"],
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)
    assert done.stderr == b""
    assert done.returncode == 128 + signal.SIGPIPE


@pytest.mark.parametrize("verb", ["corrupt", "fool"])
def test_a_verb_that_takes_data_as_an_argument_says_so(verb: str) -> None:
    refused(workbench(verb, "--data", "fashion-mnist-mini"), "without --data", f"{verb} DATA")
