import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray
from measuring_case import entry, examples, finished, small_plan, swap

from attacks import Caution
from benchmarks import (
    CellResult,
    CellStore,
    Condition,
    ModelEntry,
    columns,
    durable,
    merge,
    read_record,
    run,
    same_data,
)


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    return finished(tmp_path_factory.mktemp("whole"), small_plan(keep_images=True))


def copy_of(path: Path, folder: Path, *, checksum: bool) -> Path:
    target = folder / "copy.h5"
    target.write_bytes(path.read_bytes())
    if checksum:
        digest = hashlib.sha256(target.read_bytes()).hexdigest()
        durable.checksum_path(target).write_text(f"{digest}  copy.h5\n")
    return target


# ── files that are whole or absent ─────────────────────────────────────────────────────────────


def test_a_written_file_has_the_checksum_that_sha256sum_reads(tmp_path):
    durable.write_bytes(tmp_path / "x.bin", b"content")
    found = subprocess.run(
        ["sha256sum", "--check", "x.bin.sha256"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout == "x.bin: OK\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.bin", "x.bin.sha256"]
    assert durable.read_checked(tmp_path / "x.bin") == b"content"


def test_a_file_without_its_checksum_is_not_there(tmp_path):
    path = tmp_path / "x.bin"
    durable.write_bytes(path, b"content")
    durable.checksum_path(path).unlink()
    assert durable.read_checked(path) is None
    durable.checksum_path(path).write_bytes(b"\xff\xfe")
    assert durable.read_checked(path) is None
    assert durable.read_checked(tmp_path / "never") is None


def test_what_a_killed_run_left_is_removed(tmp_path):
    planned, store, _ = finished(tmp_path)
    left = store.folder / ".half.h5.1.tmp"
    left.write_bytes(b"half")
    assert {o.status for o in run(planned, store)} == {"cached"}
    assert not left.exists()


# ── cells ──────────────────────────────────────────────────────────────────────────────────────


def test_a_cell_is_read_as_it_was_written(tmp_path):
    planned = small_plan()
    rows = columns.empty_rows(columns.ATTACK, 8, 2)
    rows["steps"] = np.arange(8)
    rows["pixels_over_threshold"] = np.arange(16).reshape(8, 2)
    cautions = (Caution("zero-gradient", "flach, ∂ = 0"), Caution("x", "{} of {}", (1, 2)))
    written = CellResult(rows, None, cautions, 0.9, {"attack": 1.25, "evaluation": 0.5})
    store = CellStore(tmp_path)
    store.write(planned.cells[1], written)
    found = store.read(planned.cells[1])
    assert found.rows.tobytes() == rows.tobytes()
    assert found.rows.dtype == rows.dtype
    assert (found.cautions, found.confidence, found.failure) == (cautions, 0.9, None)
    assert found.seconds == written.seconds
    assert store.read(planned.cells[2]) is None


def test_a_failed_cell_keeps_its_reason(tmp_path):
    store, cell = CellStore(tmp_path), small_plan().cells[1]
    store.write(cell, CellResult(failure="out of luck"))
    assert store.read(cell).failure == "out of luck"
    assert store.read(cell).rows is None


def test_every_flipped_bit_of_a_cell_is_noticed(record):
    planned, store, _ = record
    cell = planned.cells[1]
    generator = np.random.default_rng(0)
    for path in (store.folder / f"{cell.digest}.h5", store.folder / f"{cell.digest}.images.h5"):
        content = path.read_bytes()
        for place in generator.integers(0, 8 * len(content), 80).tolist():
            flipped = bytearray(content)
            flipped[place // 8] ^= 1 << place % 8
            path.write_bytes(flipped)
            assert store.read(cell) is None
        path.write_bytes(content[:-1])
        assert store.read(cell) is None
        path.unlink()
        assert store.read(cell) is None
        path.write_bytes(content)
        assert store.read(cell) is not None


def test_a_flipped_bit_in_a_cells_checksum_never_gives_another_result(record):
    planned, store, _ = record
    cell = planned.cells[1]
    whole = store.read(cell)
    path = durable.checksum_path(store.folder / f"{cell.digest}.h5")
    content = path.read_bytes()
    for place in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        found = store.read(cell)
        assert found is None or found.rows.tobytes() == whole.rows.tobytes()
        if place < 8 * 64:  # the checksum itself; after it comes the file's name
            assert found is None
    path.write_bytes(content)


def test_damaged_cells_are_made_again(tmp_path):
    planned, store, path = finished(tmp_path)
    before = path.read_bytes()
    damaged = [planned.cells[0], planned.cells[6]]
    for cell in damaged:
        file = store.folder / f"{cell.digest}.h5"
        file.write_bytes(file.read_bytes()[:-100])
    statuses = {o.cell.digest: o.status for o in run(planned, store)}
    assert {d for d, status in statuses.items() if status == "done"} == {c.digest for c in damaged}
    merge(planned, store, tmp_path / "again.h5")
    (tmp_path / "before.h5").write_bytes(before)
    assert same_data(tmp_path / "before.h5", tmp_path / "again.h5") == []


def test_a_cell_under_another_cells_name_is_not_believed(tmp_path):
    planned, store, _ = finished(tmp_path)
    first, second = planned.cells[1], planned.cells[2]
    content = (store.folder / f"{first.digest}.h5").read_bytes()
    durable.write_bytes(store.folder / f"{second.digest}.h5", content)
    assert store.read(second) is None


def test_a_foreign_file_with_a_good_checksum_is_made_again(tmp_path):
    planned, store, _ = finished(tmp_path)
    durable.write_bytes(store.folder / f"{planned.cells[1].digest}.h5", b"not HDF5")
    assert store.read(planned.cells[1]) is None


# ── the record ─────────────────────────────────────────────────────────────────────────────────


def test_h5py_alone_reads_it(record):
    planned, store, path = record
    with h5py.File(path, "r") as file:
        assert file.attrs["format"] == "adversarial-workbench"
        assert (file.attrs["format_version"], file.attrs["complete"]) == (2, 1)
        assert json.loads(file.attrs["config"]) == planned.config
        assert json.loads(file.attrs["checkpoints"])["one"] == "digest of one"
        assert "torch" in json.loads(file.attrs["versions"])
        assert file.attrs["created"].endswith("+00:00")
        assert [d.decode() for d in file["attack"][()]] == ["swap", "jitter", "stay"]
        assert (file["example"][()] == examples().ids(slice(0, 20))).all()
        success = file["attacked/success"]
        assert success.shape == (2, 3, 20)
        assert (success.dtype, success.compression, success.shuffle, success.fletcher32) == (
            np.uint8,
            "gzip",
            True,
            True,
        )
        assert [success.dims[i][0].name for i in range(3)] == ["/model", "/attack", "/example"]
        over = file["attacked/pixels_over_threshold"]
        assert over.dims[3][0][()].tolist() == [0.01, 0.1]
        for m in range(2):
            for c in range(3):
                rows = np.concatenate(
                    [store.read(planned.cell(m, c, start)).rows for start in (0, 8, 16)]
                )
                for name in columns.ATTACK:
                    found = file[f"attacked/{name}"][m, c]
                    np.testing.assert_array_equal(found, rows[name], err_msg=name)


def test_xarray_reads_it_as_a_tree(record):
    _, _, path = record
    with xarray.open_datatree(path, engine="h5netcdf") as tree:
        one = tree["attacked"].to_dataset().sel(model="one", attack="swap")
        assert one["success"].dims == ("example",)
        assert int(one["success"].sum()) == 16
        assert tree["clean/confidence"].dims == ("model", "example")
        assert tree["attacked/pixels_over_threshold"].sel(threshold=0.1).dims == (
            "model",
            "attack",
            "example",
        )
        rate = tree["aggregates/success_rate_interval"].sel(model="one", attack="swap", bound="low")
        assert 0.5 < float(rate) < 1
        assert tree["images/result"].dims == ("model", "attack", "kept", "channel", "y", "x")


@pytest.mark.parametrize("settings", [{"conditions": []}, {"shard_size": 1}])
def test_xarray_reads_records_with_empty_axes(tmp_path, settings):
    _, _, path = finished(tmp_path, small_plan(**settings))
    with xarray.open_datatree(path, engine="h5netcdf") as tree:
        assert tree["clean/right"].shape == (2, 20)
    assert read_record(path).clean["right"].sum() == 32


def test_kept_images_are_those_that_were_attacked(record):
    _, _, path = record
    found = read_record(path)
    data = examples()
    right = np.arange(20) % 5 != 0
    for m in range(2):
        swapped, stayed = found.images(m, 0), found.images(m, 2)
        assert swapped.rows.tolist() == np.flatnonzero(right).tolist()
        np.testing.assert_array_equal(swapped.original, data.images.numpy()[right])
        np.testing.assert_array_equal(stayed.result, stayed.original)
        assert not np.array_equal(swapped.result, swapped.original)


def test_saving_a_few_images_spreads_them_over_each_shard(tmp_path):
    _, _, path = finished(tmp_path, small_plan(save_images=2))
    found = read_record(path)
    assert found.images(1, 1).rows.tolist() == [1, 4, 8, 12, 16, 18]
    assert read_record(finished(tmp_path / "none")[2]).images(0, 0).rows.tolist() == []


def test_two_runs_of_one_configuration_give_the_same_bits(record, tmp_path):
    _, _, path = record
    _, _, again = finished(tmp_path, small_plan(keep_images=True))
    assert same_data(path, again) == []


def test_same_data_sees_every_other_value(record, tmp_path):
    _, _, path = record
    other = copy_of(path, tmp_path, checksum=False)
    with h5py.File(other, "r+") as file:
        file["attacked/steps"][1, 2, 19] += 1
        file["timing/attack_seconds"][0, 0] += 1
        file.attrs["created"] = "later"
        file.attrs["seed"] = np.int64(5)
        wider = file["clean/least_likely"][()].astype("i8")
        del file["clean/least_likely"]
        file["clean/least_likely"] = wider
        file["attacked/steps"].attrs["note"] = "x"
        file["extra"] = 1
    found = same_data(path, other)
    assert [text.split(":")[0] for text in found] == [
        "/ @seed",
        "attacked/steps @note",
        "attacked/steps",
        "clean/least_likely @DIMENSION_LABELS",
        "clean/least_likely",
        "extra",
    ]
    assert found[2] == "attacked/steps: 1 of 120 values differ"


def test_long_descriptions_fit(tmp_path):
    long = ModelEntry("long", "d", {"layers": ["ä" * 100] * 2000}, entry().get)
    _, _, path = finished(tmp_path, small_plan(models=[long]))
    assert read_record(path).config["models"][0]["description"] == long.description


def test_names_are_utf8(tmp_path):
    named = ModelEntry("réseau ∂", "d", {}, entry().get)
    _, _, path = finished(tmp_path, small_plan(models=[named]))
    assert read_record(path).models == ("réseau ∂",)


def test_shards_that_ask_for_different_confidences_are_not_merged(tmp_path):
    planned, store, path = finished(tmp_path, small_plan(conditions=[Condition("s", swap)]))
    cell = planned.cell(0, 0, 8)
    result = store.read(cell)
    store.write(cell, CellResult(result.rows, confidence=0.5))
    before = path.read_bytes()
    with pytest.raises(ValueError, match="different confidences"):
        merge(planned, store, path)
    assert path.read_bytes() == before
    assert list(path.parent.glob("*.tmp")) == []


# ── reading what should not be trusted ─────────────────────────────────────────────────────────


def test_every_flipped_bit_of_a_record_is_noticed(record, tmp_path):
    content = record[2].read_bytes()
    path = copy_of(record[2], tmp_path, checksum=True)
    read_record(path)
    for place in np.random.default_rng(1).integers(0, 8 * len(content), 200).tolist():
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        with pytest.raises(ValueError, match="damaged"):
            read_record(path)


FLIPS = """
import sys, numpy as np
from pathlib import Path
from benchmarks import read_record
path, content = Path(sys.argv[1]), Path(sys.argv[1]).read_bytes()
for place in np.random.default_rng(2).integers(0, 8 * len(content), 80).tolist():
    flipped = bytearray(content)
    flipped[place // 8] ^= 1 << place % 8
    path.write_bytes(flipped)
    try:
        read_record(path)
    except ValueError as error:
        assert len(str(error).splitlines()) == 1, error
print("survived")
"""


def test_without_a_checksum_damage_is_an_error_of_one_line_or_harmless(record, tmp_path):
    path = copy_of(record[2], tmp_path, checksum=False)
    found = subprocess.run(
        [sys.executable, "-c", FLIPS, str(path)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"},
    )
    assert found.stdout == "survived\n", found.stderr


@pytest.mark.parametrize("size", [0, 1, 100, 2048, -1000])
def test_truncated_records_are_told(record, tmp_path, size):
    path = copy_of(record[2], tmp_path, checksum=False)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match="not a whole record"):
        read_record(path)


def altered(path, change):
    with h5py.File(path, "r+") as file:
        change(file)


ALTERATIONS = {
    "foreign": (lambda f: f.attrs.__delitem__("format"), "not a record of this program"),
    "newer": (lambda f: f.attrs.__setitem__("format_version", 99), "a newer release"),
    "older": (lambda f: f.attrs.__setitem__("format_version", 0), "an older release"),
    "incomplete": (lambda f: f.attrs.__delitem__("complete"), "incomplete"),
    "unfinished": (lambda f: f.attrs.__setitem__("complete", 0), "incomplete"),
    "column": (lambda f: f.__delitem__("attacked/steps"), "not a whole record"),
    "config": (lambda f: f.attrs.__setitem__("config", "{"), "Expecting"),
    "external": (lambda f: f.__setitem__("x", h5py.ExternalLink("/etc/passwd", "/")), "link"),
    "soft": (lambda f: f.__setitem__("x", h5py.SoftLink("/nowhere")), "link"),
    "huge": (
        lambda f: f.create_dataset("x", shape=(10**7, 10**6), dtype="f8", chunks=(1, 1000)),
        "not stored",
    ),
    "shape": (
        lambda f: (f.__delitem__("clean/label"), f.__setitem__("clean/label", np.zeros((2, 3)))),
        "has shape",
    ),
}


@pytest.mark.parametrize("case", ALTERATIONS)
def test_what_is_not_a_record_is_told_in_a_line(record, tmp_path, case):
    change, message = ALTERATIONS[case]
    path = copy_of(record[2], tmp_path, checksum=False)
    altered(path, change)
    with pytest.raises(ValueError, match=message) as caught:
        read_record(path)
    assert "\n" not in str(caught.value)


def test_a_missing_record_stays_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_record(tmp_path / "none.h5")


def test_random_bytes_and_folders_are_no_records(tmp_path):
    (tmp_path / "noise.h5").write_bytes(np.random.default_rng(0).bytes(5000))
    with pytest.raises(ValueError, match="not a whole record"):
        read_record(tmp_path / "noise.h5")
    with pytest.raises(OSError, match=r"irectory"):
        read_record(tmp_path)
