"""`workbench explain` from the command line: views, refusals, resuming, JSON."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_case import ARCH, learnt, refused, task, workbench, write_checkpoint, write_data

from workbench.datasets.dataset import InMemory
from workbench.explain import VIEWS


@pytest.fixture
def given(tmp_path: Path) -> list[object]:
    """A command line without views and places."""
    data = write_data(tmp_path / "data.npz")
    net = write_checkpoint(tmp_path / "net.pt")
    return ["explain", net, *ARCH, "--data", data, "--show", 2]


def test_the_default_view_is_quick_and_keeps_its_figures(
    given: list[object], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    result = workbench(*given, "--output", run, "--json")
    assert result.code == 0, result.err
    (exhibit,) = result.document["exhibits"]
    assert exhibit["name"] == "attributions"
    assert [Path(file).suffix for file in exhibit["figures"]] == [".svg", ".png"]
    assert all(Path(file).stat().st_size for file in exhibit["figures"])
    assert len(exhibit["numbers"]["answers"]) == 2
    assert result.document["models"] == ["net"]
    assert json.loads((run / "exhibits.json").read_text("utf-8"))["exhibits"]


def test_the_data_are_summed_up_without_a_checkpoint(given: list[object], tmp_path: Path) -> None:
    data = ("--data", given[given.index("--data") + 1], "--view", "data", "--json")
    alone = workbench("explain", *data, "--classes", "3,1", "--output", tmp_path / "alone")
    assert alone.code == 0, alone.err
    beside = workbench(*given[:2], *ARCH, *data, "--classes", "3,1", "--output", tmp_path / "model")
    numbers = [each.document["exhibits"][0]["numbers"] for each in (alone, beside)]
    assert numbers[0] == numbers[1]
    assert alone.document["models"] == []
    refused(workbench("explain", *data, "--view", "data,weights"), "There is no checkpoint")


def test_every_view_is_listed_with_what_it_is() -> None:
    result = workbench("list", "views", "--json")
    assert set(result.document["names"]) == set(VIEWS)
    assert {"attributions", "kernels", "features", "weights"} <= set(VIEWS)
    assert all(text.endswith(".") for text in result.document["names"].values())


def test_tables_go_to_stdout_and_each_note_is_told_once(
    given: list[object], tmp_path: Path
) -> None:
    result = workbench(*given, "--view", "kernels,weights", "--output", tmp_path / "run")
    assert result.code == 0, result.err
    assert "first" in result.out.lower()
    assert result.err.count("Bins are the same for all models") == 1


def test_the_same_command_goes_on_in_its_directory_and_another_is_refused(
    given: list[object], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    command = [*given, "--view", "weights", "--output", run]
    assert workbench(*command).code == 0
    stale = run / "figures" / "of-before.svg"
    stale.write_text("old")
    assert workbench(*command, "-q").out.strip() == str(run)
    assert not stale.exists()
    refused(workbench(*command, "--seed", 1), "seed: 0 there, 1 here", "another --output")
    refused(workbench("show", run), "run of `workbench explain`", "report RECORD --with")


def test_other_images_or_labels_are_another_run_and_few_images_are_read(
    given: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    ids = InMemory.ids
    monkeypatch.setattr(
        InMemory, "ids", lambda self, rows: read.append(self.shape[0]) or ids(self, rows)
    )
    run, file = tmp_path / "run", tmp_path / "many.npz"
    images, labels = task(400, seed=3)
    command = [*given[:-3], file, "--view", "kernels", "--output", run]
    np.savez(file, images=images, labels=labels)
    assert workbench(*command).code == 0
    assert read == [200]
    np.savez(file, images=255 - images, labels=labels)
    refused(workbench(*command), "examples.sample", "another --output")
    np.savez(file, images=images, labels=labels[::-1])
    refused(workbench(*command), "examples.labels", "another --output")


def test_a_model_near_chance_is_refused_unless_forced(given: list[object], tmp_path: Path) -> None:
    inverted = {name: -tensor for name, tensor in learnt().items()}
    bad = tmp_path / "bad.pt"
    torch.save(inverted, bad)
    command = [given[0], bad, *given[2:], "--output", tmp_path / "run", "--methods", "saliency"]
    refused(workbench(*command), "near chance", "--force")
    assert not (tmp_path / "run").exists()
    forced = workbench(*command, "--force")
    assert forced.code == 0
    assert "near chance" in forced.err
    # What a model holds can be looked at whatever it answers.
    assert workbench(*command[:-4], "-v", "weights", "--output", tmp_path / "other").code == 0


def test_a_dry_run_looks_at_nothing(given: list[object], tmp_path: Path) -> None:
    run = tmp_path / "run"
    result = workbench(*given, "--dry-run", "--output", run, "--json")
    assert result.code == 0
    assert result.document["views"] == ["attributions"]
    assert result.document["images"] == 24
    assert not run.exists()


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--view", "attribution"], ["Did you mean 'attributions'?"]),
        (["--view", ","], ["names no view", "attributions"]),
        (["--methods", "gradcam"], ["Did you mean 'grad-cam'?"]),
        (["--methods", "grad-cam"], ["net has no Grad-CAM", "--methods saliency"]),
        (["--explain", "truth"], ["guess", "label"]),
        (
            ["--view", "weights", "--layers", "fz1"],
            ["no layer is called 'fz1'", "there are hidden.0"],
        ),
        (["--view", "kernels", "--layers", "nothing.*"], ["no layer is called"]),
        (["--class", "7"], ["no class 7", "0 … 3"]),
        (["--corruptions", "fogg"], ["Did you mean 'fog'?"]),
        (["--severities", "0"], ["severities are 1, 2, 3, 4 and 5"]),
        (["--num-classes", "7"], ["net"]),
    ],
    ids=lambda value: " ".join(map(str, value)),
)
def test_what_cannot_be_is_told_in_two_lines(
    given: list[object], tmp_path: Path, more: list[str], told: list[str]
) -> None:
    refused(workbench(*given, *more, "--output", tmp_path / "run"), *told)


def test_captum_that_is_missing_is_asked_for(
    given: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    named = [*given, "--methods", "integrated-gradients", "--output", tmp_path / "run"]
    refused(workbench(*named), "pip install 'adversarial-workbench[explain]'")
    rest = workbench(*given, "--output", tmp_path / "other", "--json")
    assert rest.code == 0
    assert "captum" in rest.err
    (exhibit,) = rest.document["exhibits"]
    assert list(exhibit["numbers"]["answers"][0]["half_mass_share"]) == ["saliency"]


def test_a_view_that_cannot_be_shown_leaves_the_others(given: list[object], tmp_path: Path) -> None:
    run = tmp_path / "run"
    # Nothing is said of corruptions, without which there is no drift to measure.
    result = workbench(*given, "--view", "drift,weights", "--output", run, "--json")
    assert result.code == 1, result.err
    assert "the view drift is left out" in result.err
    assert "give --corruptions" in result.err
    assert [exhibit["name"] for exhibit in result.document["exhibits"]] == ["weights"]
    assert set(result.document["refused"]) == {"drift"}
    assert (run / "exhibits.json").is_file()


def test_where_nothing_can_be_shown_the_corrected_command_may_have_the_directory(
    given: list[object], tmp_path: Path
) -> None:
    command = [*given, "--view", "weights", "--output", tmp_path / "run"]
    refused(workbench(*command, "--layers", "nothing"), "no layer is called 'nothing'")
    assert not (tmp_path / "run").exists()
    assert workbench(*command).code == 0


def test_a_misspelt_class_is_corrected_as_the_data_write_it(
    given: list[object], tmp_path: Path
) -> None:
    data = tmp_path / "named.npz"
    with np.load(given[given.index("--data") + 1]) as arrays:
        np.savez(data, **arrays, class_names=np.array(["Shirt", "Coat", "Bag", "Boot"]))
    command = [data if text == given[given.index("--data") + 1] else text for text in given]
    refused(workbench(*command, "--class", "Shrt"), "Did you mean 'Shirt'?")


def test_a_grey_network_beside_one_of_colours_is_named(tmp_path: Path) -> None:
    images, labels = task(8, seed=0)
    data = tmp_path / "colour.npz"
    np.savez(data, images=np.repeat(images[..., None], 3, axis=3), labels=labels)
    net = write_checkpoint(tmp_path / "grey.pt")
    refused(
        workbench("explain", net, *ARCH, "--channels", 1, "--data", data, "--view", "weights"),
        "grey takes grey images",
    )
