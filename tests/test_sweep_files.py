"""Records of sweeps: written whole, read back by us, h5py and xarray; damage is told in a line."""

import json
from dataclasses import fields, replace

import h5py
import numpy as np
import pytest
import xarray
from measuring_case import forged
from sweep_case import swept

from benchmarks import durable, read_record
from benchmarks.sweep_files import is_sweep, read_sweep, write_sweep
from benchmarks.sweeps import noise_dial, rotation_dial

ABOUT = {"config": {"name": "é"}, "seed": 5, "device": "cpu", "versions": {"torch": "2"}}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("sweep") / "record.h5"
    found = swept(noise_dial([0, 0.5, 1], normalised=True), draws=2, shown=2)
    write_sweep(path, found, **ABOUT)
    return path, found


def test_what_was_written_is_read(written):
    path, found = written
    record = read_sweep(path)
    for each in fields(found):
        one, other = getattr(found, each.name), getattr(record.sweep, each.name)
        assert np.array_equal(one, other), each.name
    assert {name: getattr(record, name) for name in ABOUT} == ABOUT
    assert durable.stored_checksum(path) == durable.sha256_file(path)
    assert is_sweep(path)


def test_xarray_and_h5py_read_it(written):
    path, found = written
    with xarray.open_datatree(path, engine="h5netcdf") as tree:
        confidence = tree["answers"]["true_confidence"]
        assert confidence.dims == ("model", "image", "draw", "position")
        chosen = confidence.sel(model="model 1", position=0.5, draw=1)
        assert np.array_equal(chosen, found.true_confidence[1, :, 1, 1])
        assert tree["images"]["shown_images"].dims[:3] == ("model", "shown", "position")
    with h5py.File(path) as file:
        assert json.loads(file.attrs["config"]) == ABOUT["config"]
        assert file.attrs["complete"] == 1
        assert file["aggregates/confidence"].shape == (2, 3)
        assert file["answers/top"].dims[4][0] == file["place"]


def test_without_superclasses_or_pictures_it_is_read_too(tmp_path):
    found = replace(swept(rotation_dial([0, 10])), superclasses=None)
    write_sweep(tmp_path / "r.h5", found, **ABOUT)
    assert read_sweep(tmp_path / "r.h5").sweep.superclasses is None


def set_to(name, value, at=()):
    def change(file):
        file[name][at or ...] = value

    return change


def attribute(name, value):
    def change(file):
        file.attrs[name] = value

    return change


def remove(name):
    def change(file):
        del file[name]

    return change


def reshaped(file):
    del file["answers/true_rank"]
    file["answers/true_rank"] = np.zeros((2, 6, 2, 4), np.int32)


def linked(file):
    del file["label"]
    file["label"] = h5py.ExternalLink("/etc/passwd", "/")


def huge(file):
    del file["images/shown_images"]
    file.create_dataset("images/shown_images", (2, 6, 3, 2**14, 2**14, 3), "u1", chunks=True)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (attribute("format_version", 9), "format version 9"),
        (attribute("complete", 0), "incomplete"),
        (attribute("config", "{"), "damaged"),
        (attribute("config", "[]"), "not what they should be"),
        (attribute("format", "other"), "no record of `workbench probe`"),
        (set_to("answers/top", 70), "top holds no class"),
        (set_to("answers/probability", np.nan), "probabilities"),
        (set_to("answers/true_rank", 6), "of other answers"),
        (set_to("answers/inside", 0), "inside is not what"),
        (set_to("aggregates/confidence", 0.5), "aggregates/confidence is not what"),
        (set_to("position", 0.0), "not ascending"),
        (set_to("label", 3), "true_class is not the label"),
        (remove("answers/top"), "not a whole sweep"),
        (remove("aggregates/peaks"), "not a whole sweep"),
        (reshaped, "true_rank is"),
        (linked, "link"),
        (huge, "not stored in it"),
    ],
)
def test_damage_and_lies_are_told_in_one_line(written, tmp_path, change, told):
    copy = forged(written[0], tmp_path, change)
    with pytest.raises(ValueError, match=told) as error:
        read_sweep(copy)
    assert "\n" not in str(error.value)


def test_a_changed_byte_is_told(written, tmp_path):
    content = bytearray(written[0].read_bytes())
    content[len(content) // 2] ^= 1
    copy = tmp_path / "record.h5"
    copy.write_bytes(content)
    sums = durable.checksum_path(written[0]).read_text()
    durable.checksum_path(copy).write_text(sums)
    with pytest.raises(ValueError, match="does not match the checksum"):
        read_sweep(copy)


def test_a_cut_file_is_told(written, tmp_path):
    content = written[0].read_bytes()
    copy = tmp_path / "record.h5"
    for length in range(0, len(content), len(content) // 40):
        copy.write_bytes(content[:length])
        with pytest.raises(ValueError, match="is not a whole sweep"):
            read_sweep(copy)
        assert not is_sweep(copy)


def test_what_reads_benchmark_records_says_what_it_is(written):
    with pytest.raises(ValueError, match="record of `workbench probe`: `workbench show"):
        read_record(written[0])
