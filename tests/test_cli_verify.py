"""`workbench verify`: confirms a true record, and says which claim of a false one fails."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from cli_case import ARCH, learnt, refused, workbench, write_checkpoint, write_data

from workbench.errors import UsageError
from workbench.subjects import load_described


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A record with all its images, beside its checkpoint `net.pt`."""
    monkeypatch.chdir(tmp_path)
    write_data(tmp_path / "data.npz", count=12)
    write_checkpoint(tmp_path / "net.pt")
    data = ("--data", "data.npz", "-a", "fgsm(eps=0.5)", "--keep-images", "--save-images", 0)
    result = workbench("attack", "net.pt", *ARCH, *data, "--quiet")
    assert result.code == 0, result.err
    return Path(result.out.strip())


def forged(record: Path, name: str, value: object) -> Path:
    """The record with one dataset overwritten, and without the checksum that would tell."""
    path = record.with_name("forged.h5")
    shutil.copy(record, path)
    with h5py.File(path, "r+") as file:
        file[name][...] = value
    return path


def test_a_true_record_is_confirmed(record: Path) -> None:
    for path in (record, record.parent):
        result = workbench("verify", path, "--json")
        assert result.code == 0, result.err
        assert result.document["holds"] is True
        assert result.document["counts"]["fails"] == 0
        claims = {finding["claim"] for finding in result.document["findings"]}
        assert {"success as float", "the model is the one that was measured"} <= claims
    assert workbench("verify", record, "--quiet").out == "holds\n"


def test_images_that_do_not_fool_are_found_out(record: Path) -> None:
    with h5py.File(record) as file:
        original = file["images/original"][()]
    path = forged(record, "images/result", original[np.newaxis, np.newaxis])
    result = workbench("verify", path, "--json")
    assert result.code == 1
    failing = {f["claim"] for f in result.document["findings"] if f["verdict"] == "fails"}
    assert {"success as float", "the average pixel change", "the linf"} <= failing
    assert "success as float" in result.err


def test_a_better_rate_than_the_images_give_is_found_out(record: Path) -> None:
    result = workbench("verify", forged(record, "aggregates/success_rate", 0.5), "--json")
    assert result.code == 1
    assert "the aggregates follow from the per-image data" in result.err


def test_another_model_of_that_name_is_found_out(record: Path) -> None:
    changed = {name: tensor * 1.01 for name, tensor in learnt().items()}
    torch.save(changed, "net.pt")
    result = workbench("verify", record)
    assert result.code == 1
    assert "the model is the one that was measured" in result.err


def test_a_moved_model_is_not_confirmed_until_it_is_found(record: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    Path("net.pt").rename(tmp_path / "elsewhere" / "net.pt")
    result = workbench("verify", record)
    assert result.code == 1
    assert "not confirmed" in result.err
    assert workbench("verify", record, "--look-in", "elsewhere").code == 0


def test_code_that_a_record_names_is_not_run_unless_trusted(tmp_path: Path) -> None:
    (tmp_path / "evil.py").write_text("from pathlib import Path\nPath('run').mkdir()\n")
    write_checkpoint(tmp_path / "net.pt")
    description = {
        "reload": {
            "checkpoint": str(tmp_path / "net.pt"),
            "options": {"arch": f"{tmp_path / 'evil.py'}:make"},
            "data": {"channels": 1, "height": 8, "width": 8, "classes": 4},
        }
    }
    with pytest.raises(UsageError, match="--trust"):
        load_described(description, trust=False)
    assert not (tmp_path / "run").exists()


def test_a_run_that_is_not_finished_is_called_that(record: Path) -> None:
    record.unlink()
    refused(workbench("verify", record.parent), "no record.h5", "not finished")


@pytest.mark.parametrize("damage", ["cut", "flipped", "text", "nothing"])
def test_a_damaged_record_is_refused(record: Path, damage: str) -> None:
    whole = record.read_bytes()
    middle = len(whole) // 2
    record.write_bytes(
        {
            "cut": whole[:middle],
            "flipped": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
            "text": b"no record",
            "nothing": b"",
        }[damage]
    )
    refused(workbench("verify", record), "record.h5")
    record.with_name("record.h5.sha256").unlink()
    if damage != "flipped":
        refused(workbench("verify", record), "record.h5")
