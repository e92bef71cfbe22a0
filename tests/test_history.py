"""Training histories: what is written is read back by us, by h5py alone and by xarray."""

import json
import math
import os
from datetime import datetime, timedelta
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray

from benchmarks import durable
from benchmarks.history import COLUMNS, FORMAT, best_epoch, read_history, write_history

ABOUT = {
    "config": {"arch": "mlp", "lr": 0.1, "defenses": ["noisy(std=0.1)"]},
    "seed": 7,
    "device": "cpu",
    "checkpoint": "model.safetensors",
    "versions": {"torch": "2.11"},
}


def entries(count: int, *, held_out: bool = True) -> list[dict[str, float | None]]:
    """Every value of every column another one."""
    rows: list[dict[str, float | None]] = []
    for number in range(1, count + 1):
        row: dict[str, float | None] = {"epoch": number}
        row |= {name: number + place / 10 for place, name in enumerate(COLUMNS)}
        if not held_out:
            row |= {"validation_loss": None, "validation_error": None}
        rows.append(row)
    return rows


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "history.h5"
    write_history(path, entries(3), **ABOUT, complete=True)
    return path


def test_what_was_written_is_read(written: Path) -> None:
    found = read_history(written)
    assert found.epoch.tolist() == [1, 2, 3]
    for place, name in enumerate(COLUMNS):
        assert found.columns[name].tolist() == [row + place / 10 for row in (1, 2, 3)]
    read = {name: getattr(found, name) for name in ABOUT}
    assert read == ABOUT
    assert found.complete
    age = datetime.now().astimezone() - datetime.fromisoformat(found.created)
    assert timedelta() <= age + timedelta(seconds=1) < timedelta(minutes=1)
    assert durable.stored_checksum(written) == durable.sha256_file(written)


def test_h5py_alone_reads_it(written: Path) -> None:
    with h5py.File(written) as file:
        assert set(file) == {"epoch", *COLUMNS}
        assert file["epoch"].is_scale
        for name in COLUMNS:
            column = file[name]
            assert column.dtype == np.float64
            assert column.dims[0][0] == file["epoch"]
            assert column.attrs["units"]
            assert len(column.attrs["description"]) > 20
        assert json.loads(file.attrs["config"]) == ABOUT["config"]
        assert (file.attrs["format"], file.attrs["complete"]) == (FORMAT, 1)


def test_xarray_reads_it_with_the_epochs_as_an_axis(written: Path) -> None:
    with xarray.open_dataset(written, engine="h5netcdf") as data:
        assert data.validation_error.dims == ("epoch",)
        assert float(data.validation_error.sel(epoch=2)) == 2.3
        assert data.seconds.attrs["units"] == "s"
        assert data.attrs["seed"] == 7


def test_what_was_not_measured_is_nan_and_an_unfinished_training_is_marked(tmp_path: Path) -> None:
    path = tmp_path / "h.h5"
    write_history(path, entries(1, held_out=False), **ABOUT, complete=False)
    found = read_history(path)
    assert math.isnan(found.columns["validation_error"][0])
    assert found.columns["error"][0] == 1.1
    assert not found.complete


def test_each_writing_replaces_the_last_as_a_whole(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = written.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            write_history(written, entries(4), **ABOUT, complete=True)
    assert written.read_bytes() == before
    assert len(read_history(written).epoch) == 3
    write_history(written, entries(4), **ABOUT, complete=True)
    assert len(read_history(written).epoch) == 4


def test_a_changed_byte_is_told(written: Path) -> None:
    content = bytearray(written.read_bytes())
    content[len(content) // 2] ^= 1
    written.write_bytes(content)
    with pytest.raises(ValueError, match=r"does not match the checksum in history\.h5\.sha256"):
        read_history(written)


def test_without_a_checksum_no_cut_is_read_nor_crashes(written: Path) -> None:
    content = written.read_bytes()
    durable.checksum_path(written).unlink()
    for length in range(0, len(content) - 1, 97):
        written.write_bytes(content[:length])
        with pytest.raises(ValueError, match="is not a whole training history"):
            read_history(written)


def _other_format(file: h5py.File) -> None:
    file.attrs["format"] = "another"


def _newer(file: h5py.File) -> None:
    file.attrs["format_version"] = 99


def _no_column(file: h5py.File) -> None:
    del file["loss"]


def _short_column(file: h5py.File) -> None:
    del file["loss"]
    file["loss"] = np.zeros(2)


def _no_config(file: h5py.File) -> None:
    del file.attrs["config"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_other_format, "not a training history of this program"),
        (_newer, "format version 99; this release reads 1"),
        (_no_column, "not a whole training history"),
        (_short_column, r"loss has shape \(2,\), epoch \(3,\)"),
        (_no_config, "not a whole training history"),
    ],
)
def test_what_is_no_history_is_told(written: Path, change: object, message: str) -> None:
    durable.checksum_path(written).unlink()
    with h5py.File(written, "a") as file:
        change(file)  # type: ignore[operator]  # one of the above
    with pytest.raises(ValueError, match=message):
        read_history(written)


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_history(tmp_path / "none.h5")


@pytest.mark.parametrize(
    ("errors", "losses", "best"),
    [
        ([0.3, 0.1, 0.2], [1.0, 1.0, 1.0], 2),
        ([0.1, 0.1, 0.2], [1.0, 0.5, 0.1], 2),
        ([None, None, None], [None, None, None], 3),
    ],
)
def test_the_best_epoch_is_by_error_then_loss(errors: list, losses: list, best: int) -> None:
    entries = [
        {"epoch": n, "validation_error": error, "validation_loss": loss}
        for n, (error, loss) in enumerate(zip(errors, losses, strict=True), 1)
    ]
    assert best_epoch(entries) == best
