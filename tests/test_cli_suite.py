"""`workbench benchmark --suite`: from a file to trained networks and a record of all of them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cli_case import CLASSES, refused, workbench
from test_cli_benchmark import SIDE, enlarged, learnt, write_network

from attacks.spec import resolve
from benchmarks import read_record, same_data
from workbench import benchmarking, training
from workbench.corruptions import parse_corruptions, parse_severities
from workbench.models import read_checkpoint
from workbench.suite_file import read_suite
from workbench.suites import suites

SUITE = """
# Two networks, plain and noisy
data = "data.npz"
attack = ["fgsm(eps=8/255)", "pgd(eps=8/255, steps=3)"]
corruptions = "brightness,contrast"
severities = "1,4"
threads = 1

[[models]]
architectures = ["mlp(width=8)"]
defenses = ["none", "noisy"]
seeds = [0, 1]
train = { epochs = 2, batch-size = 16, lr = 0.01, hold-out = 0.2 }
"""
NAMES = [
    "mlp(width=8), plain, seed 0",
    "mlp(width=8), plain, seed 1",
    "mlp(width=8), noisy, seed 0",
    "mlp(width=8), noisy, seed 1",
]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    images, labels = enlarged(40, seed=2)
    np.savez(tmp_path / "data.npz", images=images, labels=labels)


def suite(*arguments: object, text: str = SUITE, extra: str = "") -> Any:
    Path("suite.toml").write_text(text + extra, encoding="utf-8")
    return workbench("benchmark", "--suite", "suite.toml", *arguments)


def changed(old: str, new: str) -> str:
    assert old in SUITE
    return SUITE.replace(old, new)


@pytest.mark.slow
def test_a_suite_trains_what_is_missing_once_and_measures_all_of_it() -> None:
    first = suite("--output", "out")
    assert first.code == 0, first.err
    record = read_record(Path("out/record.h5"))
    assert list(record.models) == NAMES
    assert len(record.attacks) == 2
    assert record.axes.corruptions == ("brightness", "contrast")
    assert record.axes.severities == (1, 4)
    Path("before.h5").write_bytes(Path("out/record.h5").read_bytes())
    written = {path: path.stat().st_mtime_ns for path in Path("out").rglob("*.safetensors")}
    assert len(written) == 2 * len(NAMES)  # the best and the last epoch
    cells = {path: path.stat().st_mtime_ns for path in Path("out/cells").iterdir()}

    again = suite("--output", "out", "--json")
    assert again.code == 0, again.err
    assert {path: path.stat().st_mtime_ns for path in written} == written
    assert {path: path.stat().st_mtime_ns for path in Path("out/cells").iterdir()} == cells
    assert same_data(Path("before.h5"), Path("out/record.h5")) == []
    assert [each["model"] for each in again.document["corruption_results"]] == NAMES

    alone = ("--epochs", 2, "--batch-size", 16, "--lr", 0.01, "--hold-out", 0.2, "--seed", 1)
    told = workbench(
        *("train", "mlp(width=8)", "--data", "data.npz", "--defense", "noisy", *alone),
        *("--threads", 1, "--output", "alone"),
    )
    assert told.code == 0, told.err
    mine = read_checkpoint(Path("out/models/mlp-width-8-noisy-seed-1/model.safetensors")).tensors
    theirs = read_checkpoint(Path("alone/model.safetensors")).tensors
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_flags_win_over_the_suite_and_a_dry_run_writes_nothing() -> None:
    result = suite("--attack", "fgsm", "--eps", "1/255", "--severities", 2, "--dry-run", "--json")
    assert result.code == 0, result.err
    config = result.document["config"]
    assert [attack["spec"] for attack in config["attacks"]] == [
        "fgsm(eps=0.00392156862745098, loss='ce')"
    ]
    assert [each["severity"] for each in config["corruptions"]] == [2, 2]
    assert [model["name"] for model in config["models"]] == NAMES
    # Of each of the 40 images: clean; one step and what came of it; the result twice; corrupted.
    assert result.document["estimate"]["forwards"] == 4 * 40 * (1 + 2 + 2 + 2)
    assert result.document["estimate"]["backwards"] == 4 * 40
    assert result.document["estimate"]["training_seconds"] > 0
    told = suite("--dry-run").out
    assert "to be trained: mlp(width=8), plain, seed 0; " in told
    assert sorted(path.name for path in Path().iterdir()) == ["data.npz", "suite.toml"]


def test_checkpoints_stand_beside_networks_to_train() -> None:
    torch.save(learnt(8).state_dict(), "plain.pt")
    write_network(Path("ours.safetensors"))
    text = SUITE[: SUITE.index("[[models]]")] + (
        '[[models]]\ncheckpoint = "plain.pt"\nname = "theirs"\narch = "mlp(width=8)"\n'
        "mean = [0.0]\nstd = [1.0]\n"
    )
    result = suite("ours.safetensors", "--json", text=text)
    assert result.code == 0, result.err
    ours, theirs = result.document["corruption_results"]
    assert (ours["model"], theirs["model"]) == ("ours", "theirs")
    assert ours["clean_error"] == theirs["clean_error"]


def test_networks_to_train_can_be_named_and_built_by_a_file() -> None:
    Path("net.py").write_text(
        "from torch import nn\n\ndef net(num_classes, in_channels, input_size):\n"
        "    size = in_channels * input_size[0] * input_size[1]\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(size, num_classes))\n"
    )
    head = SUITE[: SUITE.index("[[models]]")].replace('"1,4"', '"1"')
    train = "{ epochs = 1, hold-out = 0, lr = 0.001, defense = ['noisy', 'geometric'] }"
    text = f"{head}[[models]]\narchitectures = ['net.py:net']\nname = 'ours, noisy'\n"
    text += f"train = {train}\n[[models]]\narchitectures = ['mlp', 'mlp(width=4)']\n"
    text += f"name = '{{arch}}, noisy'\ntrain = {train}\n"
    result = suite("--force", "--output", "out", "--json", text=text)
    assert result.code == 0, result.err
    named = [each["model"] for each in result.document["corruption_results"]]
    assert named == ["ours, noisy", "mlp, noisy", "mlp(width=4), noisy"]
    assert Path("out/models/ours-noisy/model.safetensors").is_file()


def test_published_weights_are_those_of_each_architecture() -> None:
    text = changed('["none", "noisy"]', '["none"]').replace(
        "train = { ", "train = { from = '{arch}', "
    )
    told = "There is no checkpoint mlp(width=8), and no published weights of that name"
    refused(suite("--output", "out", text=text), told)


def test_all_classes_win_over_those_of_the_suite() -> None:
    extra = 'classes = "0,1"\n'
    some = suite("--dry-run", "--json", text=extra + SUITE)
    every = suite("--dry-run", "--json", "--classes", "all", text=extra + SUITE)
    passes = [each.document["estimate"]["forwards"] for each in (some, every)]
    assert passes[1] == 2 * passes[0]  # two of four classes, as many images of each


def test_a_training_that_diverges_is_left_out_and_told() -> None:
    text = changed("lr = 0.01", "lr = 1e30").replace('["none", "noisy"]', '["none"]')
    lost = suite("--output", "out", text=text)
    assert lost.code == 2
    assert lost.err.splitlines()[-1] == (
        "error: Every training diverged: there is no model to measure."
    )
    write_network(Path("net.safetensors"))
    result = suite("net.safetensors", "--output", "out", "--json", text=text)
    assert result.code == 1
    assert "mlp(width=8), plain, seed 0 is left out" in result.err
    assert [each["model"] for each in result.document["corruption_results"]] == ["net"]


def test_an_interrupted_training_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "_train", stop)
    result = suite("--output", "out")
    assert result.code == 130
    assert "workbench benchmark --suite suite.toml --output out" in result.err
    monkeypatch.undo()
    monkeypatch.chdir(Path.cwd())


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("corruptions =", "corruption =", "Unknown setting 'corruption'. Did you mean"),
        ("architectures", "architecture", "Unknown setting 'architecture'. Did you mean"),
        ('["mlp(width=8)"]', '["mlp", "mpl(width=8)"]', "Did you mean 'mlp'"),
        ("noisy", "noisi", "did you mean noisy"),
        ("seeds = [0, 1]", "seeds = [0, 1]\nname = 3", "name is a text, not 3"),
        ("epochs = 2", "epoch = 2", "--epoch"),
        ("epochs = 2", "epochs = 0", "--epochs"),
        ("epochs = 2", "seed = 2", "seed is not set for each training"),
        ("fgsm(eps", "fgms(eps", "fgms"),
        ('data = "data.npz"', 'extends = "quik"\ndata = "data.npz"', "Did you mean 'quick'"),
        ('data = "data.npz"', 'baseline = "mlp, plian"\ndata = "data.npz"', "--baseline"),
        ("[[models]]", "[models]", "[[models]]"),
        ("seeds = [0, 1]", "seeds = [0, 0]", "two models"),
        ("seeds = [0, 1]", "seeds = 3", "a list of numbers, such as [0, 1, 2], not 3"),
        ("seeds = [0, 1]", "seeds = [0, true]", "a list of numbers"),
        ("seeds = [0, 1]", "seeds = []", "seeds is empty"),
        ('defenses = ["none", "noisy"]', "defenses = []", "defenses is empty"),
        ("train = {", "train = 3 # {", "train is a table"),
        ("# Two", "= Two", "is not valid TOML"),
        ('data = "data.npz"', 'extends = ["quick"]\ndata = "data.npz"', "Unknown suite"),
        ('["mlp(width=8)"]', "[3]", "architectures are texts, not 3"),
        ('["none", "noisy"]', '["none", [3]]', "defenses are texts, not 3"),
        ("epochs = 2", "help = true", "help is not set for each training"),
        ("seeds = [0, 1]", 'seeds = [0, 1]\nname = "mine"', "these are 1 with 2"),
    ],
)
def test_a_suite_that_is_wrong_is_refused_before_anything_is_trained(
    old: str, new: str, told: str
) -> None:
    refused(suite("--output", "out", text=changed(old, new)), told)
    assert not list(Path().rglob("*.safetensors"))


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("letter.txt", "Dear", "is not empty"),
        ("config.json", '{"verb": "attack", "config": {}}', "another configuration: verb"),
        (
            "config.json",
            '{"verb": "benchmark", "config": {"models": [{"name": "mlp(width=8), plain"}]}}',
            "mlp(width=8), plain, seed 1; mlp(width=8), noisy, seed 0",
        ),
    ],
)
def test_networks_are_not_trained_for_a_directory_that_is_refused_then(
    name: str, content: str, told: str
) -> None:
    Path("out").mkdir()
    Path("out", name).write_text(content, encoding="utf-8")
    refused(suite("--output", "out"), told)
    assert not list(Path().rglob("*.safetensors"))


def test_trainings_of_long_names_do_not_share_a_folder() -> None:
    """A folder's name ends before the seed does; two trainings in one would refuse each other."""
    stack = str(["noisy(std=0.001)"] * 7).replace("'", '"')
    text = changed('["none", "noisy"]', f"[{stack}]").replace("epochs = 2", "epochs = 1")
    result = suite("--output", "out", text=text)
    assert result.code == 0, result.err
    assert len(read_record(Path("out/record.h5")).models) == 2
    assert len(list(Path("out/models").iterdir())) == 2


@pytest.mark.parametrize("step", ["resolve", "refuse_near_chance", "draw_pictures"])
def test_ctrl_c_between_the_steps_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(benchmarking, step, stop)
    write_network(Path("net.safetensors"))
    result = suite("net.safetensors", "--output", "out", text=SUITE[: SUITE.index("[[models]]")])
    assert result.code == 130
    assert "benchmark --suite suite.toml net.safetensors --output out" in result.err


def test_what_is_no_suite_is_told() -> None:
    refused(workbench("benchmark", "--suite", "quik", "--data", "data.npz"), "'quick'")
    refused(workbench("benchmark", "--suite", "no.toml", "--data", "data.npz"), "no such file")
    refused(workbench("benchmark", "--suite", "quick", "--data", "data.npz"), "CHECKPOINT")
    refused(workbench("benchmark", "--data", "data.npz", "--corruptions", "none"), "nothing")


def test_a_baseline_without_a_seed_is_the_first_of_its_replicates() -> None:
    result = suite("--baseline", "mlp(width=8), noisy", "--dry-run", "--json")
    assert result.document["config"]["baseline"]["name"] == "mlp(width=8), noisy, seed 0"


def test_a_training_is_called_as_the_suite_says() -> None:
    text = changed('["none", "noisy"]', '[["noisy"]]\nname = "mine"')
    config = suite("--baseline", "mine", "--dry-run", "--json", text=text).document["config"]
    assert [model["name"] for model in config["models"]] == ["mine, seed 0", "mine, seed 1"]
    assert config["baseline"]["name"] == "mine, seed 0"


def test_a_suite_extends_another() -> None:
    text = 'extends = "quick"\nlimit = 7\n'
    Path("mine.toml").write_text(text, encoding="utf-8")
    mine, quick = read_suite("mine.toml"), read_suite("quick")
    assert mine.settings == {**quick.settings, "limit": 7}


@pytest.mark.parametrize("name", sorted(suites()))
def test_built_in_suites_name_what_there_is(name: str) -> None:
    settings = read_suite(name).settings
    specs = [resolve(text).spec for text in settings["attack"]]
    assert len(set(specs)) == len(specs) >= 3
    assert len(parse_corruptions(settings["corruptions"])) in (6, 15, 19)
    assert parse_severities(settings["severities"]) == (1, 2, 3, 4, 5)
    shown = json.loads(workbench("list", "suites", name, "--json").out)
    assert shown["settings"] == settings
    assert shown["summary"]


def test_the_learnt_network_fits() -> None:
    assert learnt(8)(torch.zeros(1, 1, SIDE, SIDE)).shape == (1, CLASSES)


def test_a_dry_run_refuses_what_the_run_would() -> None:
    write_network(Path("net.safetensors"))
    text = SUITE[: SUITE.index("[[models]]")]
    assert suite("net.safetensors", "--output", "out", text=text).code == 0
    left = suite("net.safetensors", "--output", "out", "--dry-run", "--json", text=text).document
    assert (left["finished"], left["estimate"]["forwards"]) == (left["cells"], 0)
    for arguments in (("--seed", 1), ("--eps", "4/255")):
        for more in ((), ("--dry-run",)):
            result = suite("net.safetensors", "--output", "out", *arguments, *more, text=text)
            refused(result, "another configuration")
    write_network(Path("other.safetensors"), width=4)
    both = ("net.safetensors", "other.safetensors", "--output", "out")
    refused(suite(*both, text=text), "other models (new: other)", "workbench merge")
    refused(suite(*both, "--dry-run", text=text), "other models (new: other)")


def test_a_network_that_was_trained_otherwise_is_refused_at_once() -> None:
    text = changed('["none", "noisy"]', '["none"]').replace("seeds = [0, 1]", "seeds = [0]")
    assert suite("--output", "out", text=text).code == 0
    longer = text.replace("epochs = 2", "epochs = 3")
    for more in ((), ("--dry-run",)):
        refused(suite("--output", "out", *more, text=longer), "epochs: 2 there, 3 here")
