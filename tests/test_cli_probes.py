"""Probes from the command line: measured, shown, compared, listed and refused."""

import csv
import io
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_case import ARCH, Result, learnt, refused, task, workbench, write_checkpoint, write_data
from torch import nn

from attacks.draws import image_seeds
from attacks.probes import resolve
from benchmarks import read_record
from workbench.datasets import load_dataset
from workbench.models import build

NOISE, TURN = "gaussian-noise(std=0.3)", "rotation(angle=90)"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_data(tmp_path / "data.npz", 40)
    write_checkpoint(tmp_path / "net.pt")


def benchmark(*arguments: object) -> Result:
    fixed = ("--data", "data.npz", "--corruptions", "none", "--threads", 1, "--output", "out")
    return workbench("benchmark", *arguments, *ARCH, *fixed)


def network() -> nn.Module:
    found = build("mlp(width=16)", channels=1, classes=4, input_size=(8, 8))
    found.load_state_dict(learnt())
    return found.eval()


def error_by_hand(spec: str, seed: int = 0) -> float:
    data = load_dataset("data.npz", split="test")
    seeds = image_seeds(seed, torch.from_numpy(data.ids(slice(None))))
    shown = resolve(spec).probe(data.shard(0, len(data)).images, seeds=seeds)
    with torch.no_grad():
        wrong = network()(shown).argmax(dim=1).numpy() != data.labels
    return float(wrong.mean())


def test_errors_are_those_of_the_network_on_the_probed_images() -> None:
    result = benchmark("net.pt", "--probe", NOISE, "--probe", TURN, "--seed", 3, "--json")
    assert result.code == 0, result.err
    found = result.document["probe_results"]
    assert [each["probe"] for each in found] == [NOISE, TURN]
    for each in found:
        assert each["error"] == pytest.approx(error_by_hand(each["probe"], 3))
        assert each["images"] == 40
    # A quarter turn moves every bright quadrant to the next: the network sees another class.
    assert found[1]["error"] > 0.9
    assert result.document["corruption_results"] == []


def test_people_get_a_table_of_probes_and_models() -> None:
    result = benchmark("net.pt", "--probe", NOISE, "--probe", TURN)
    assert result.code == 0, result.err
    percent = f"{error_by_hand(TURN):.1%}"
    line = rf"│ {re.escape(TURN)} +│ +{percent} \[[\d.]+, [\d.]+\] │"
    assert re.search(line, result.out), result.out
    assert re.search(r"│ clean +│ +0\.0% \[0\.0, [\d.]+\] │", result.out), result.out
    shown = workbench("show", "out")
    assert re.search(line, shown.out), shown.out
    assert f"probes: {NOISE}, {TURN}" in shown.out
    assert workbench("show", "out", "--json").document["probes"] == [NOISE, TURN]
    assert workbench("verify", "out").code == 0


def test_a_suite_names_probes_and_flags_win() -> None:
    text = f'data = "data.npz"\nprobe = ["{NOISE}", "{TURN}"]\nthreads = 1\n'
    Path("turned.toml").write_text(text, encoding="utf-8")
    run = ("benchmark", "net.pt", *ARCH, "--suite", "turned.toml", "--output")
    assert workbench(*run, "a").code == 0
    assert read_record(Path("a/record.h5")).probes == (NOISE, TURN)
    assert workbench(*run, "b", "--probe", "rotation(angle=10)").code == 0
    assert read_record(Path("b/record.h5")).probes == ("rotation(angle=10)",)


def test_a_dry_run_says_what_it_would_cost() -> None:
    result = benchmark("net.pt", "--probe", NOISE, "--probe", TURN, "--dry-run")
    assert result.code == 0, result.err
    assert f"probes: {NOISE}, {TURN}" in result.out
    assert "cells: 3, of which 0 are finished" in result.out
    assert "passes: up to 120 forward" in result.out  # 40 images, untouched and twice probed
    assert not Path("out").exists()


def test_models_are_compared_under_probes() -> None:
    noisy = {name: tensor + 0.3 * torch.ones_like(tensor) for name, tensor in learnt().items()}
    torch.save(noisy, "other.pt")
    probes = ("--probe", TURN, "--probe", "gaussian-noise(std=0.1)")
    result = benchmark("net.pt", "other.pt", "--force", *probes, "--attack", "fgsm")
    assert result.code == 0, result.err
    assert "error on probed images" in result.out
    told = workbench("compare", "out", "--columns", "probes", "--json").document
    (key,) = [m["key"] for m in told["measures"] if m["key"] == f"probe_error:{TURN}"]
    assert told["rows"][0]["numbers"][key]["value"] == pytest.approx(error_by_hand(TURN))
    assert workbench("compare", "out", "--columns", "probe-error:rotation").code == 0
    gate = workbench("compare", "out", "--fail-under", f"probe-error:{TURN}=5%")
    assert gate.code == 1
    classes = workbench("compare", "out", "--view", "classes", "--condition", "rotation", "--json")
    assert classes.document["condition"] == TURN


def test_an_export_has_them() -> None:
    assert benchmark("net.pt", "--probe", TURN).code == 0
    rows = list(csv.DictReader(io.StringIO(workbench("export", "out").out)))
    (row,) = [row for row in rows if row["kind"] == "probe"]
    assert (row["condition"], row["measure"], row["count"]) == (TURN, "probe_error", "40")
    assert float(row["value"]) == pytest.approx(error_by_hand(TURN))


def test_a_run_is_taken_up_and_nothing_is_probed_twice() -> None:
    assert benchmark("net.pt", "--probe", TURN).code == 0
    before = {path: path.stat().st_mtime_ns for path in Path("out/cells").iterdir()}
    assert benchmark("net.pt", "--probe", TURN).code == 0
    assert {path: path.stat().st_mtime_ns for path in Path("out/cells").iterdir()} == before


def test_probes_are_listed_with_their_settings() -> None:
    names = workbench("list", "probes", "--json").document["names"]
    assert list(names) == ["gaussian-noise", "rotation"]
    one = workbench("list", "probes", "rotation")
    assert "counter-clockwise" in one.out
    assert workbench("list", "probes", "rotation", "--json").document["settings"] == {"angle": 30}
    refused(workbench("list", "probes", "rotatoin"), "Did you mean 'rotation'")


@pytest.mark.parametrize(
    ("probes", "part"),
    [
        (["rotatoin"], "did you mean rotation"),
        (["rotation(angel=3)"], "did you mean angle"),
        (["gaussian-noise(std=-1)"], "std=-1 must be a number from 0"),
        (["rotation", "rotation(angle=30)"], "rotation(angle=30) is given twice"),
    ],
)
def test_a_misspelt_probe_is_refused_before_anything_is_loaded(
    probes: list[str], part: str
) -> None:
    Path("net.pt").unlink()
    flags = [word for probe in probes for word in ("--probe", probe)]
    refused(benchmark("net.pt", *flags), part)


def test_nothing_to_measure_is_refused() -> None:
    refused(benchmark("net.pt"), "give --attack, --corruptions or --probe")


def test_corrupted_images_alone_are_not_probed() -> None:
    images, labels = task(5 * 8, seed=2)
    Path("set").mkdir()
    np.save("set/brightness.npy", np.repeat(images[..., None], 3, axis=3))
    np.save("set/labels.npy", labels)
    alone = ("--data", "set", "--corruptions", "brightness", "--probe", TURN)
    refused(workbench("benchmark", "net.pt", *ARCH, *alone), "attacks and probes need clean ones")
