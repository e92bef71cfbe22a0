"""`workbench benchmark` from the command line: errors and mCE, resuming, what is refused."""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from cli_case import CLASSES, refused, task, workbench
from PIL import Image
from torch import Tensor, nn

from attacks.corruptions import CORRUPTIONS, corrupt
from attacks.draws import image_seeds
from benchmarks import same_data
from workbench.console import Console
from workbench.datasets import load_dataset
from workbench.models import CheckpointMetadata, build, save_checkpoint
from workbench.running import say_troubles

SIDE = 16  # the least that can be corrupted
CHOSEN = "gaussian_noise,fog,contrast"


def enlarged(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The task of `cli_case`, faint and each pixel four times: uint8 (N, 16, 16), int64 (N,)."""
    images, labels = task(count, seed)
    faint = images // 8 + 90  # else no noise misleads a network
    return faint.repeat(2, axis=1).repeat(2, axis=2), labels


@cache
def learnt(width: int) -> nn.Module:
    """A small network that has learnt the task more or less."""
    network = build(f"mlp(width={width})", channels=1, classes=CLASSES, input_size=(SIDE, SIDE))
    generator = torch.Generator().manual_seed(width)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.uniform_(-0.1, 0.1, generator=generator)
    images, labels = enlarged(256, seed=1)
    x, y = torch.from_numpy(images).float().div(255).unsqueeze(1), torch.from_numpy(labels)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x), y).backward()
        optimizer.step()
    return network


def write_network(path: Path, width: int = 8, **said: Any) -> Path:
    """A checkpoint as training writes it."""
    metadata = CheckpointMetadata(f"mlp(width={width})", 1, CLASSES, (SIDE, SIDE), **said)
    save_checkpoint(path, learnt(width), metadata)
    return path


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint and `data.npz` in an empty current directory."""
    monkeypatch.chdir(tmp_path)
    images, labels = enlarged(40, seed=2)
    np.savez(tmp_path / "data.npz", images=images, labels=labels)
    return write_network(tmp_path / "net.safetensors")


def benchmark(*arguments: object, corruptions: str = CHOSEN) -> Any:
    return workbench(
        "benchmark", *arguments, "--data", "data.npz", "--corruptions", corruptions, "--threads", 1
    )


def errors_by_hand(name: str, severity: int) -> float:
    """The share of wrong answers of the network of width 8 on corrupted test images."""
    data = load_dataset("data.npz", split="test")
    images, ids = data.images(slice(None)), torch.from_numpy(data.ids())
    shown = corrupt(images, CORRUPTIONS[name], severity, seeds=image_seeds(0, ids))
    with torch.no_grad():
        wrong = learnt(8)(shown).argmax(dim=1) != torch.from_numpy(data.labels)
    return wrong.double().mean().item()


def test_errors_are_those_of_the_network_on_the_corrupted_images(checkpoint: Path) -> None:
    result = benchmark(checkpoint, "--json")
    assert result.code == 0, result.err
    (found,) = result.document["corruption_results"]
    assert list(found["corruptions"]) == CHOSEN.split(",")  # the order of the literature
    for name, entry in found["corruptions"].items():
        by_hand = {str(severity): errors_by_hand(name, severity) for severity in range(1, 6)}
        assert entry["errors"] == pytest.approx(by_hand)
        assert entry["mean_error"] == pytest.approx(np.mean(list(by_hand.values())))
        low, high = entry["mean_error_interval"]
        assert low <= entry["mean_error"] <= high
        assert entry["ce"] is None
    means = [entry["mean_error"] for entry in found["corruptions"].values()]
    assert found["mean_corruption_error"] == pytest.approx(np.mean(means))
    assert found["over"] == 3
    assert found["mce"] is None
    assert max(means) > found["clean_error"]
    assert result.document["images"] == 40
    assert result.document["notes"][0].startswith("corrupted in memory")


def test_images_that_cannot_be_corrupted_are_refused_before_any_cell(checkpoint: Path) -> None:
    Path("frost").mkdir()
    Image.new("RGB", (70, 70)).save("frost/small.png")  # 14 pixels at the scale for small images
    refused(
        benchmark(checkpoint, "--frost-textures", "frost", corruptions="frost"),
        *("--frost-textures", "14x14", "16x16"),
    )
    images, labels = task(40, 2)
    np.savez("data.npz", images=images, labels=labels)
    refused(benchmark(checkpoint), "8x8", "16 pixels")
    assert not Path("runs").exists()


def test_people_get_the_severities_the_summary_and_what_decides_them(checkpoint: Path) -> None:
    result = benchmark(checkpoint, "--severities", "2,4", "--seed", 3)
    assert result.code == 0, result.err
    assert re.search(r"severity +┃ +2 +┃ +4 +┃ +mean ┃", result.out)
    assert re.search(r"│ +contrast +│ +[\d.]+ │ +[\d.]+ │ +[\d.]+ \[[\d.]+, [\d.]+\] │", result.out)
    assert "mean corruption error of 3 at severities" in result.out
    assert "CE" not in result.out
    assert "corrupted in memory: strengths for 32x32, draws of seed 3" in result.out
    assert "record: runs/benchmark-net-1/record.h5" in result.out
    assert workbench("verify", "runs/benchmark-net-1").code == 0


def test_quiet_prints_the_record_alone(checkpoint: Path) -> None:
    result = benchmark(checkpoint, "--quiet", corruptions="contrast")
    assert result.out == "runs/benchmark-net-1/record.h5\n"
    assert result.err == ""


def test_a_model_of_the_run_can_be_the_baseline(checkpoint: Path, tmp_path: Path) -> None:
    write_network(tmp_path / "small.safetensors", width=4)
    arguments = (checkpoint, "small.safetensors", "--baseline", "small")
    document = benchmark(*arguments, "--json").document
    net, small = document["corruption_results"]
    assert small["mce"] == pytest.approx(1.0)
    assert small["relative_mce"] == pytest.approx(1.0)
    ratios = [
        net["corruptions"][name]["mean_error"] / small["corruptions"][name]["mean_error"]
        for name in CHOSEN.split(",")
    ]
    assert net["mce"] == pytest.approx(np.mean(ratios))
    shown = benchmark(*arguments)
    assert "mCE of 3 (baseline small)" in shown.out
    assert "relative to small:" in shown.out


def test_the_baseline_may_change_when_a_run_is_taken_up(checkpoint: Path, tmp_path: Path) -> None:
    write_network(tmp_path / "small.safetensors", width=4)
    start = (checkpoint, "small.safetensors", "--output", "run", "--json")
    assert benchmark(*start).document["corruption_results"][0]["mce"] is None
    written = {path: path.stat().st_mtime_ns for path in Path("run/cells").iterdir()}
    found = benchmark(*start, "--baseline", "net").document["corruption_results"]
    assert found[0]["mce"] == pytest.approx(1.0)
    assert found[0]["baseline"]["name"] == "net"
    assert {path: path.stat().st_mtime_ns for path in Path("run/cells").iterdir()} == written
    refused(benchmark(*start, "--seed", 1), "another configuration", "seed: 0 there, 1 here")
    refused(benchmark(*start, "--exact"), "another configuration", "exact")


def test_a_dry_run_counts_and_writes_nothing(checkpoint: Path) -> None:
    result = benchmark(checkpoint, "--dry-run", "--shard-size", 24)
    assert result.code == 0, result.err
    assert "corruptions: gaussian_noise, fog, contrast\nseverities: 1, 2, 3, 4, 5\n" in result.out
    assert "passes: up to 640 forward\n" in result.out  # 40 images, clean and 15 times
    assert "in 2 cells for each model and condition" in result.out
    assert "cells: 32, of which 0 are finished" in result.out
    assert not Path("runs").exists()


def test_a_model_near_chance_is_refused_until_forced(checkpoint: Path) -> None:
    images, labels = enlarged(40, seed=2)
    np.savez("data.npz", images=images, labels=(labels + 1) % CLASSES)
    refused(benchmark(checkpoint), "near chance", "workbench check", "--force")
    forced = benchmark(checkpoint, "--force", "--json", corruptions="contrast")
    assert forced.code == 0, forced.err
    assert forced.document["corruption_results"][0]["clean_error"] > 0.9


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--corruptions", "fogg", "Did you mean 'fog'"),
        ("--severities", "0", "--severities"),
        ("--baseline", "nett", "Did you mean 'net'"),
        ("--baseline", "alexnet", "ImageNet-C"),
        ("--strengths", "48", "--strengths"),
        ("--corrupted", "nowhere", "nowhere"),
    ],
)
def test_what_is_asked_for_wrongly_is_told(
    checkpoint: Path, option: str, value: str, told: str
) -> None:
    result = workbench("benchmark", checkpoint, "--data", "data.npz", option, value)
    refused(result, told)
    assert not Path("runs").exists()


def test_a_model_trained_on_test_corruptions_is_marked(checkpoint: Path, tmp_path: Path) -> None:
    write_network(tmp_path / "told.safetensors", trained_on_corruptions=("fog", "snow"))
    shown = benchmark("told.safetensors", corruptions="contrast")
    assert shown.out.count("† told: trained on test corruptions (fog, snow)") == 2
    both = benchmark("told.safetensors", checkpoint, "--json", corruptions="contrast").document
    marks = [entry["trained_on_corruptions"] for entry in both["corruption_results"]]
    assert marks == [["fog", "snow"], []]


Apply = Callable[[Tensor, Any, Any, torch.dtype], Tensor]


def replaced(monkeypatch: pytest.MonkeyPatch, name: str, apply: Apply) -> None:
    """Let a corruption be made by another function."""
    monkeypatch.setitem(CORRUPTIONS, name, replace(CORRUPTIONS[name], apply=apply))


def test_a_failed_cell_is_told_and_ends_in_1(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(pixels: Tensor, strength: Any, draws: Any, dtype: torch.dtype) -> Tensor:
        raise RuntimeError("the lens broke")

    replaced(monkeypatch, "fog", broken)
    result = benchmark(checkpoint, "--severities", "1,2", "--json")
    assert result.code == 1, result.err
    assert "net, fog 2, images 0 to 40: RuntimeError: the lens broke" in result.err
    assert "2 cells failed" in result.err
    entries = result.document["corruption_results"][0]["corruptions"]
    assert entries["fog"]["mean_error"] is None
    assert entries["contrast"]["mean_error"] is not None


def test_interrupted_then_resumed_equals_uninterrupted(checkpoint: Path) -> None:
    usual = CORRUPTIONS["contrast"].apply

    def interrupted(pixels: Tensor, strength: Any, draws: Any, dtype: torch.dtype) -> Tensor:
        if strength == CORRUPTIONS["contrast"].strengths[32][2]:
            raise KeyboardInterrupt
        return usual(pixels, strength, draws, dtype)

    with pytest.MonkeyPatch.context() as monkeypatch:
        replaced(monkeypatch, "contrast", interrupted)
        stopped = benchmark(checkpoint, "--output", "run")
    assert stopped.code == 130
    assert "13 of 16 cells are finished and kept" in stopped.err  # clean, noise, fog, 1 and 2
    assert not Path("run/record.h5").exists()
    command = stopped.err.strip().splitlines()[-1].split()
    assert command[:2] == ["workbench", "benchmark"]
    written = {path: path.stat().st_mtime_ns for path in Path("run/cells").iterdir()}
    assert workbench(*command[1:], "--quiet").code == 0
    for path, when in written.items():
        assert path.stat().st_mtime_ns == when
    whole = benchmark(checkpoint, "--quiet")
    assert same_data(Path("run/record.h5"), Path(whole.out.strip())) == []


def write_set(layout: str) -> Path:
    """The test images under two corruptions, as `workbench corrupt` writes them."""
    folder = Path(f"set-{layout}")
    made = workbench(
        *("corrupt", "data.npz", "--corruptions", "fog,contrast", "--layout", layout),
        *("--output", folder, "--quiet"),
    )
    assert made.code == 0, made.err
    return folder


def errors(result: dict[str, Any]) -> dict[str, Any]:
    """The errors of a result by corruption and severity."""
    return {name: entry["errors"] for name, entry in result["corruptions"].items()}


@pytest.mark.parametrize("layout", ["cifar-c", "hdf5"])
def test_a_stored_set_gives_the_errors_of_the_same_images_in_memory(
    checkpoint: Path, layout: str
) -> None:
    folder = write_set(layout)
    in_memory = benchmark(checkpoint, "--json", corruptions="fog,contrast").document[
        "corruption_results"
    ]
    stored = benchmark(
        checkpoint, "--corrupted", folder, "--limit", 40, "--json", corruptions="fog,contrast"
    )
    assert stored.code == 0, stored.err
    (found,) = stored.document["corruption_results"]
    assert errors(found) == errors(in_memory[0])
    assert found["clean_error"] == in_memory[0]["clean_error"]
    assert stored.document["notes"] == [f"corrupted images read from {folder.name} ({layout})"]


def test_home_is_understood_where_a_settings_file_names_it(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell writes ~ out on the command line, and nothing does in a file."""
    folder = write_set("cifar-c")
    monkeypatch.setenv("HOME", str(Path.cwd()))
    arguments = ("benchmark", checkpoint, "--dry-run", "--json", "--config")
    for settings in (f"data = '~/{folder}'", f"data = 'data.npz'\ncorrupted = '~/{folder}'"):
        Path("settings.toml").write_text(f"[benchmark]\ncorruptions = 'fog'\n{settings}\n")
        result = workbench(*arguments, "settings.toml")
        assert result.code == 0, result.err
        (first, *_) = result.document["config"]["corruptions"]
        assert first["description"]["stored"] == folder.name
    Path("settings.toml").write_text("[benchmark]\ndata = 'data.npz'\nfrost-textures = '~/none'\n")
    refused(workbench(*arguments, "settings.toml"), str(Path.cwd() / "none"), "is not a folder")


def test_a_stored_set_alone_does_without_clean_images(checkpoint: Path) -> None:
    folder = write_set("cifar-c")
    arguments = ("benchmark", checkpoint, "--data", folder, "--corruptions", "fog,contrast")
    result = workbench(*arguments, "--baseline", "net", "--json")
    assert result.code == 0, result.err
    (found,) = result.document["corruption_results"]
    in_memory = benchmark(checkpoint, "--json", corruptions="fog,contrast").document[
        "corruption_results"
    ]
    assert errors(found) == errors(in_memory[0])
    assert found["clean_error"] is None
    assert found["mce"] == pytest.approx(1.0)
    assert found["relative_mce"] is None
    assert "no clean images: their error and relative mCE are unknown" in result.document["notes"]
    refused(workbench(*arguments, "--exact"), "--exact", "corrupted already")
    refused(workbench(*arguments, "--corrupted", folder), "leave out --corrupted")


def test_a_caution_is_told_once_with_where_it_was_raised(
    capsys: pytest.CaptureFixture[str],
) -> None:
    fog = [{"attack": None, "corruption": "fog", "severity": severity} for severity in (1, 2, 3)]
    fgsm, clean = {"attack": "fgsm"}, {"attack": None}
    raised = [(place, "memory") for place in fog] + [(fgsm, "flat"), (clean, "odd"), (fgsm, "odd")]
    cautions = [{"model": "net", "message": text, **place} for place, text in raised]
    record: Any = SimpleNamespace(cautions=cautions, failures=())
    assert say_troubles(record, "", Console())
    assert capsys.readouterr().err.splitlines() == [
        "warning: net, fog 1, fog 2 and 1 more: memory",
        "warning: net, fgsm: flat",
        "warning: net: odd",
    ]
