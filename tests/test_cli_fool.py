"""`workbench fool` and training on what it makes: resuming, leaving out, refusing."""

import json
import os
import shlex
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_case import ARCH, refused, task, workbench, write_checkpoint

import workbench.fooling_sets as fooling_sets
from benchmarks.fooling_sets import read_fooling_set
from workbench.datasets import load_dataset
from workbench.hard_negatives import fooling_images

STRENGTHS = (5.0, 100.0)


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The quadrant task and a network that has learnt it, in an empty current directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fooling_sets, "LARGEST_PART", 20)
    (images, labels), (others, other_labels) = task(50, 2), task(20, 3)
    np.savez(
        "data.npz", train_images=images, train_labels=labels,
        test_images=others, test_labels=other_labels,
    )  # fmt: skip
    write_checkpoint(tmp_path / "net.pt")
    given = ["--strengths", "100,5", "--threads", "1"]
    return ["fool", "data.npz", "--model", "net.pt", *ARCH, *given]


def train(*more: str) -> list[str]:
    return ["train", "mlp(width=8)", "--data", "data.npz", "--epochs", "1", "--threads", "1", *more]


def same(one: Path, other: Path) -> bool:
    a, b = read_fooling_set(one), read_fooling_set(other)
    return all(
        np.array_equal(x, y)
        for index in range(len(STRENGTHS))
        for x, y in zip(a.outcome(index), b.outcome(index), strict=True)
    )


def test_the_training_split_is_fooled_and_the_table_says_how_well(command: list[str]) -> None:
    result = workbench(*command, "--json")
    assert result.code == 0, result.err
    file = Path(result.document["fooling_set"])
    assert file == Path("runs/fool-net-1/fooling.h5")
    assert sorted(path.name for path in file.parent.iterdir()) == [
        "fooling.h5", "fooling.h5.sha256",
    ]  # fmt: skip
    found = read_fooling_set(file)
    data = load_dataset("data.npz", split="train")
    assert found.strengths == STRENGTHS
    assert (found.ids == data.ids()).all()
    assert (found.labels == data.labels).all()
    for index, row in enumerate(result.document["strengths"]):
        outcome = found.outcome(index)
        assert row["strength"] == STRENGTHS[index]
        assert row["reached"] == outcome.reached.sum() > 25
        assert row["mean_l2"] == pytest.approx(outcome.l2.mean())
        low, high = row["reached_interval"]
        assert low <= row["reached"] / 50 <= high
    # Where one step was enough and nothing was clipped, the change is the step itself.
    far = found.outcome(1)
    once = (far.steps == 1) & (far.clipped == 0)
    assert once.sum() > 10
    np.testing.assert_allclose(far.l2[once], 100 * (64 / 150528) ** 0.5, rtol=0.01)
    assert "hard-negatives" in workbench(*command, "--output", file).out


def test_what_is_missing_or_damaged_is_made_again_and_nothing_else(
    command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert workbench(*command, "--output", "whole.h5").code == 0
    made = []

    def counted(*given, **settings):
        made.append(settings["strength"])
        if len(made) == 4:
            raise KeyboardInterrupt
        return fool(*given, **settings)

    fool = fooling_sets.fool
    monkeypatch.setattr(fooling_sets, "fool", counted)
    stopped = workbench(*command, "--output", "set.h5")
    assert stopped.code == 130
    assert "3 of 6 parts are finished and kept" in stopped.err
    assert not Path("set.h5").exists()
    parts = sorted(Path("set.h5.parts/cells").glob("*.h5"))
    assert len(parts) == 3
    content = bytearray(parts[0].read_bytes())
    content[len(content) // 2] ^= 1
    parts[0].write_bytes(content)
    made[:] = [0.0] * 4
    again = stopped.err.strip().splitlines()[-1]
    assert shlex.split(again)[-2:] == ["--output", "set.h5"]
    assert workbench(*shlex.split(again)[1:]).code == 0
    assert len(made) - 4 == 4
    assert same(Path("whole.h5"), Path("set.h5"))
    assert not Path("set.h5.parts").exists()


def test_a_kill_costs_the_part_in_work(command: list[str], monkeypatch) -> None:
    assert workbench(*command, "--output", "whole.h5").code == 0
    child = os.fork()
    if child == 0:  # the process that is killed in its third part

        def killed(*given, **settings):
            if len(list(Path("set.h5.parts/cells").glob("*.h5"))) == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            return fool(*given, **settings)

        fool, fooling_sets.fool = fooling_sets.fool, killed
        workbench(*command, "--output", "set.h5")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert len(list(Path("set.h5.parts/cells").glob("*.h5"))) == 2
    assert workbench(*command, "--output", "set.h5").code == 0
    assert same(Path("whole.h5"), Path("set.h5"))


def test_a_full_disk_is_told_and_gone_on_after(
    command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write, calls = fooling_sets.write_fooling_set, []

    def full(path, *given, **settings):
        calls.append(path)
        if len(calls) == 2:
            raise OSError(28, "No space left on device", str(path))
        write(path, *given, **settings)

    monkeypatch.setattr(fooling_sets, "write_fooling_set", full)
    refused(workbench(*command, "--output", "set.h5"), "No space left", "1 of 6 parts")
    assert workbench(*command, "--output", "set.h5").code == 0
    assert read_fooling_set(Path("set.h5")).shape[:2] == (2, 50)


def test_other_settings_and_other_files_are_refused(command: list[str]) -> None:
    assert workbench(*command, "--output", "set.h5").code == 0
    refused(workbench(*command, "--seed", 1, "--output", "set.h5"), "seed: 0 there, 1 here")
    Path("notes.txt").write_text("mine")
    refused(workbench(*command, "--output", "notes.txt"), "is no set of fooling images")
    assert Path("notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--strengths", "5,x"], "--strengths 5,x: write numbers above 0"),
        (["--strengths", "-5"], "--strengths -5: write numbers above 0"),
        (["--start", "nowhere"], "nowhere"),
        (["--steps", "0"], "--steps"),
        (["--model", "none.pt"], "none.pt"),
    ],
)
def test_bad_input(command: list[str], more: list[str], told: str) -> None:
    refused(workbench(*command, *more), told)
    assert not Path("runs").exists()


def test_a_model_that_guesses_is_refused(command: list[str]) -> None:
    weights = torch.load("net.pt")
    torch.save({name: torch.zeros_like(value) for name, value in weights.items()}, "net.pt")
    refused(workbench(*command), "near chance")


def test_held_out_images_are_left_out_and_labels_are_those_of_the_data(command: list[str]) -> None:
    assert workbench(*command, "--output", "set.h5").code == 0
    data = load_dataset("data.npz", split="train")
    chosen = data.subset(np.array([40, 3, 17]))
    material = fooling_images("set.h5", chosen)
    whole = read_fooling_set(Path("set.h5"))
    rows = torch.arange(len(material.labels))
    expected = np.concatenate([whole.outcome(i).images[[3, 17, 40]] for i in (0, 1)])
    images = material.images[rows].permute(0, 2, 3, 1)
    assert (images.numpy() == expected).all()
    assert material.labels.tolist() == data.labels[[3, 17, 40]].tolist() * 2
    assert material.strengths.tolist() == [5.0] * 3 + [100.0] * 3


def test_a_checkpoint_names_the_set_it_was_trained_on(command: list[str]) -> None:
    assert workbench(*command, "--output", "set.h5").code == 0
    spec = "hard-negatives(source='set.h5', strengths=[5])"
    result = workbench(*train("--defense", spec, "--output", "out"))
    assert result.code == 0, result.err
    config = json.loads(Path("out/config.json").read_text())["config"]
    digest = Path("set.h5.sha256").read_text().split()[0]
    assert config["materials"] == {"set.h5": digest}
    # A set of the same name with other images is another training.
    Path("set.h5").unlink()
    assert workbench(*command, "--seed", 1, "--output", "set.h5").code == 0
    refused(workbench(*train("--defense", spec, "--output", "out")), "materials.set.h5")


def test_a_set_of_other_data_is_refused(command: list[str], tmp_path: Path) -> None:
    assert workbench(*command, "--output", "set.h5").code == 0
    spec = "hard-negatives(source='set.h5')"
    images, labels = task(50, 9)
    np.savez("data.npz", images=images, labels=labels)
    refused(workbench(*train("--defense", spec)), "none of its 50 images is one of the")
    np.savez("data.npz", images=np.zeros((50, 9, 9), np.uint8), labels=labels)
    refused(workbench(*train("--defense", spec)), "its images are 8x8 with 1 channels")
    refused(workbench(*train("--defense", "hard-negatives(source='no.h5')")), "no file or folder")
    refused(workbench(*train("--defense", "hard-negatives(source='data.npz')")), "is no set of")


def test_a_damaged_set_is_not_trained_on(command: list[str]) -> None:
    assert workbench(*command, "--output", "set.h5").code == 0
    content = bytearray(Path("set.h5").read_bytes())
    content[len(content) // 2] ^= 1
    Path("set.h5").write_bytes(content)
    refused(workbench(*train("--defense", "hard-negatives(source='set.h5')")), "is damaged")


def test_what_a_kill_left_beside_a_finished_set_goes_and_damage_is_told(
    command: list[str],
) -> None:
    assert workbench(*command, "--output", "set.h5").code == 0
    Path("set.h5.parts/cells").mkdir(parents=True)
    assert workbench(*command, "--output", "set.h5").code == 0
    assert not Path("set.h5.parts").exists()
    content = bytearray(Path("set.h5").read_bytes())
    content[len(content) // 2] ^= 1
    Path("set.h5").write_bytes(content)
    refused(workbench(*command, "--output", "set.h5"), "set.h5 does not match its checksum")


def test_the_same_set_made_again_is_the_same_file(command: list[str]) -> None:
    for name in ("one.h5", "two.h5"):
        assert workbench(*command, "--output", name).code == 0
    assert Path("one.h5").read_bytes() == Path("two.h5").read_bytes()


def test_a_disk_that_fills_at_the_end_loses_no_part(
    command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write = fooling_sets.write_fooling_set

    def full(path, *given, **settings):
        if path == Path("set.h5"):
            raise OSError(28, "No space left on device", str(path))
        write(path, *given, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(fooling_sets, "write_fooling_set", full)
        refused(workbench(*command, "--output", "set.h5"), "No space left", "6 of 6 parts")
    assert workbench(*command, "--output", "set.h5").code == 0
