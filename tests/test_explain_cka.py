"""The view ``cka`` on networks whose layers are known to be alike, or not."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_case import ARCH, CLASSES, SIDE, learnt, refused, workbench, write_checkpoint, write_data

from workbench.models import build


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path / "data.npz", count=160)


def explained(tmp_path: Path, data: Path, *more: object) -> list[dict]:
    """The exhibits of a run."""
    done = workbench(
        "explain", *more, *ARCH, "--data", data, "--view", "cka", "--output", tmp_path / "out",
        "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    found: list[dict] = done.document["exhibits"]
    return found


def turned(path: Path) -> Path:
    """The learnt network with its hidden units in another order: the same in other words."""
    weights = learnt()
    order = torch.randperm(16, generator=torch.Generator().manual_seed(1))
    torch.save(
        {
            name: tensor[order]
            if name.startswith("hidden")
            else tensor[:, order]
            if tensor.dim() == 2
            else tensor
            for name, tensor in weights.items()
        },
        path,
    )
    return path


def other(path: Path) -> Path:
    torch.manual_seed(5)
    network = build(ARCH[1], channels=1, classes=CLASSES, input_size=(SIDE, SIDE))
    torch.save(network.state_dict(), path)
    return path


def test_a_network_in_other_words_is_the_same_and_another_is_not(
    tmp_path: Path, data: Path
) -> None:
    same, again, not_same = (
        write_checkpoint(tmp_path / "one.pt"),
        turned(tmp_path / "turned.pt"),
        other(tmp_path / "other.pt"),
    )
    exhibits = explained(tmp_path, data, same, again, not_same)
    assert [each["name"] for each in exhibits] == ["cka-1-2", "cka-1-3", "cka-2-3"]
    first, second, third = (np.array(each["numbers"]["cka"]) for each in exhibits)
    np.testing.assert_allclose(np.diag(first), 1, atol=1e-6)
    assert (np.diag(second) < 0.98).all()
    np.testing.assert_allclose(second, third, atol=1e-6)
    numbers = exhibits[0]["numbers"]
    assert numbers["layers"][0] == numbers["layers"][1]
    assert (numbers["images"], numbers["batches"], numbers["batch_size"]) == (160, 8, 20)
    low, high = np.array(exhibits[1]["numbers"]["intervals"])[0, 0]
    assert low < second[0, 0] < high
    for kind in ("svg", "png"):
        assert (tmp_path / "out" / "figures" / f"cka-1-3.{kind}").is_file()


def test_one_model_is_compared_with_itself_and_its_table_leaves_out_the_layer(
    tmp_path: Path, data: Path
) -> None:
    exhibit = explained(tmp_path, data, write_checkpoint(tmp_path / "one.pt"))[0]
    values = np.array(exhibit["numbers"]["cka"])
    np.testing.assert_allclose(values, values.T, atol=1e-9)
    np.testing.assert_allclose(np.diag(values), 1, atol=1e-9)
    kept = json.loads((tmp_path / "out" / "exhibits.json").read_text(encoding="utf-8"))
    lines = kept["exhibits"][0]["table"]["lines"]
    assert len(lines) == len(values) > 1
    assert all(line[0] != line[1] for line in lines)


def test_of_one_batch_it_is_said_that_there_are_no_intervals(tmp_path: Path, data: Path) -> None:
    model = write_checkpoint(tmp_path / "one.pt")
    exhibit = explained(tmp_path, data, model, "--limit", 8)[0]
    assert exhibit["numbers"]["batches"] == 1
    assert "8 images in one batch: too few for intervals" in exhibit["note"]
    assert "jackknife" not in exhibit["note"]


def test_images_that_are_sorted_by_class_give_what_shuffled_ones_give(
    tmp_path: Path, data: Path
) -> None:
    """In batches of one class, what tells classes apart would not be seen."""
    arrays = np.load(data)
    order = np.argsort(arrays["labels"], kind="stable")
    np.savez(tmp_path / "s.npz", images=arrays["images"][order], labels=arrays["labels"][order])
    models = write_checkpoint(tmp_path / "one.pt"), other(tmp_path / "other.pt")
    plain, by_class = (
        np.array(explained(tmp_path / name, each, *models)[0]["numbers"]["cka"])
        for name, each in (("a", data), ("b", tmp_path / "s.npz"))
    )
    np.testing.assert_allclose(plain, by_class, atol=0.1)


def test_layers_are_taken_by_name_and_a_dead_one_is_told(tmp_path: Path, data: Path) -> None:
    dead = {name: tensor.clone() for name, tensor in learnt().items()}
    hidden = next(name for name in dead if name.startswith("hidden") and name.endswith("weight"))
    dead[hidden].zero_()
    torch.save(dead, tmp_path / "dead.pt")
    layer = hidden.removesuffix(".weight")
    models = write_checkpoint(tmp_path / "one.pt"), tmp_path / "dead.pt"
    exhibit = explained(tmp_path, data, *models, "--layers", layer)[0]
    assert exhibit["numbers"]["layers"] == [[layer], [layer]]
    assert exhibit["numbers"]["cka"] == [[None]]
    assert exhibit["numbers"]["intervals"] == [[[None, None]]]
    assert f"{layer} of dead: no images are more alike" in exhibit["note"]


@pytest.mark.parametrize(
    ("more", "texts"),
    [
        (("--limit", 3), ("4 images or more", "there are 3")),
        (("--batch-size", 2), ("4 images or more", "--batch-size")),
        (("--layers", "hiden*"), ("--layers", "hiden*", "hidden")),
    ],
)
def test_what_cannot_be_compared_is_refused(
    tmp_path: Path, data: Path, more: tuple[object, ...], texts: tuple[str, ...]
) -> None:
    model = write_checkpoint(tmp_path / "one.pt")
    done = workbench("explain", model, *ARCH, "--data", data, "--view", "cka", "--output",
                     tmp_path / "out", *more)  # fmt: skip
    refused(done, *texts)


def test_a_script_that_hides_its_layers_is_refused_and_told_why(tmp_path: Path, data: Path) -> None:
    network = build(ARCH[1], channels=1, classes=CLASSES, input_size=(SIDE, SIDE))
    network.load_state_dict(learnt())
    traced = torch.jit.trace(network.eval(), torch.rand(1, 1, SIDE, SIDE))
    traced.save(tmp_path / "script.pt")
    done = workbench("explain", tmp_path / "script.pt", "--data", data, "--view", "cka",
                     "--output", tmp_path / "out", "--trust")  # fmt: skip
    refused(done, "TorchScript", "state dict")
