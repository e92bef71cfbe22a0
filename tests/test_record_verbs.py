"""`workbench show`, `export`, `merge`: what is in a record, for people and for other programs."""

import csv
import hashlib
import io
import json
import shutil
import sys
import types
from pathlib import Path

import h5py
import numpy as np
import pytest
from cli_case import ARCH, Result, refused, workbench, write_checkpoint, write_data
from measuring_case import conditions, finished
from test_corruption_cells import corrupted_plan

from benchmarks import read_record, same_data
from benchmarks.columns import ATTACK, CLEAN, CORRUPTED
from benchmarks.tidy import RESULT_COLUMNS, image_tables, result_rows


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    planned = corrupted_plan(conditions=conditions(), baseline="one", save_images=3)
    return finished(folder, planned)[2]


def rows_of(result: Result) -> list[dict[str, str]]:
    assert result.code == 0, result.err
    return list(csv.DictReader(io.StringIO(result.out)))


# ── show ───────────────────────────────────────────────────────────────────────────────────────


def test_show_says_what_is_inside(record: Path) -> None:
    shown = workbench("show", record.parent)
    assert shown.code == 0, shown.err
    for part in ("20 images", "swap, jitter, stay", "gaussian_noise, frost, spatter", "1, 3"):
        assert part in shown.out
    assert "corrupted/right" in shown.out
    assert "2 x 3 x 2 x 20" in shown.out
    assert workbench("show", record, "--quiet").out == f"{record}\n"
    told = workbench("show", record, "--json").document
    with h5py.File(record) as file:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if hasattr(item, "shape") else None)
        assert [each["path"] for each in told["datasets"]] == sorted(names)
        assert told["versions"] == json.loads(file.attrs["versions"])
        assert told["created"] == file.attrs["created"]
    assert [each["name"] for each in told["models"]] == ["one", "two"]
    assert [each["digest"] for each in told["models"]] == ["digest of one", "digest of two"]
    assert (told["device"], told["seed"], told["complete"]) == ("cpu", 0, True)
    assert told["baseline"]["name"] == "one"
    assert len(told["results"]) == 6
    by_path = {each["path"]: each for each in told["datasets"]}
    assert by_path["attacked/pixels_over_threshold"] == {
        "path": "attacked/pixels_over_threshold",
        "dims": ["model", "attack", "example", "threshold"],
        "shape": [2, 3, 20, 2],
        "dtype": "int32",
    }


# ── export ─────────────────────────────────────────────────────────────────────────────────────


def test_every_number_of_the_record_is_in_the_table(record: Path) -> None:
    rows = rows_of(workbench("export", record))
    assert list(rows[0]) == list(RESULT_COLUMNS)
    found = {
        (r["model"], r["condition"], r["severity"], r["threshold"], r["measure"]): r for r in rows
    }
    assert len(found) == len(rows)
    with h5py.File(record) as file:
        numbers = {name: data[()] for name, data in file["aggregates"].items()}
        said = {"robust", "worst_case_images"}
        said |= {name for name in numbers if name.endswith(("_interval", "_images"))}
        assert len(rows) == sum(v.size for name, v in numbers.items() if name not in said)
        rate = found["two", "jitter", "", "", "success_rate"]
        assert float(rate["value"]) == file["aggregates/success_rate"][1, 1]
        ends = file["aggregates/success_rate_interval"][1, 1].tolist()
        assert [float(rate["low"]), float(rate["high"])] == ends
        assert int(rate["count"]) == file["aggregates/attacked"][1, 1]
        over = found["one", "swap", "", "0.1", "pixels_over_threshold"]
        assert float(over["value"]) == file["aggregates/pixels_over_threshold"][0, 0, 1]
        cell = found["two", "frost", "3", "", "cell_error"]
        right = file["corrupted/right"][1, 1, 1]
        assert float(cell["value"]) == (right == 0).mean()
        assert found["one", "", "", "", "mce"]["value"] == "1.0"
    assert {r["denominator"] for r in rows} >= {"succeeded / attacked, in float32"}


def test_every_value_of_every_image_is_in_the_table(record: Path) -> None:
    rows = rows_of(workbench("export", record, "--per-image"))
    assert len(rows) == 2 * (1 + 3 + 6) * 20
    at = {(r["model"], r["condition"], r["severity"], int(r["row"])): r for r in rows}

    def same(text: str, value: np.generic) -> bool:
        missing = np.isnan(value) if value.dtype.kind == "f" else value in (-1, 255)
        return text == "" if missing else value.dtype.type(text) == value

    with h5py.File(record) as file:
        ids = file["example"][()]
        for m, model in enumerate(("one", "two")):
            for i in range(20):
                row = at[model, "", "", i]
                assert int(row["example"]) == ids[i]
                assert all(same(row[name], file[f"clean/{name}"][m, i]) for name in CLEAN)
                row = at[model, "jitter", "", i]
                for name in ATTACK:
                    if name != "pixels_over_threshold":
                        assert same(row[name], file[f"attacked/{name}"][m, 1, i]), name
                row = at[model, "spatter", "3", i]
                for name in CORRUPTED:
                    if name != "label":
                        assert same(row[name], file[f"corrupted/{name}"][m, 2, 1, i]), name
                assert row["label"] == str(file["clean/label"][m, i])
                assert row["steps"] == ""


def test_json_is_a_list_of_the_same_rows(record: Path) -> None:
    for flags in ([], ["--per-image"]):
        listed = json.loads(workbench("export", record, "--json", *flags).out)
        rows = rows_of(workbench("export", record, "--csv", *flags))
        as_text = [
            {name: "" if value is None else str(value) for name, value in each.items()}
            for each in listed
        ]
        assert as_text == rows


def test_large_tables_come_in_parts(record: Path) -> None:
    parts = list(image_tables(read_record(record), rows=7))
    assert {len(part["row"]) for part in parts} == {7, 6}
    whole = list(image_tables(read_record(record)))
    for name in whole[0]:
        joined = [value for part in parts for value in part[name]]
        assert joined == [value for part in whole for value in part[name]]


def test_a_record_of_attacks_alone_has_its_clean_error(tmp_path: Path) -> None:
    planned = corrupted_plan(conditions=conditions()[:1], corruptions=[])
    rows = list(result_rows(read_record(finished(tmp_path, planned)[2])))
    clean = next(row for row in rows if row["measure"] == "clean_error")
    assert (clean["model"], clean["value"], clean["count"]) == ("one", 0.2, 20)


def test_exports_go_to_files_and_folders(record: Path, tmp_path: Path) -> None:
    printed = workbench("export", record).out
    assert workbench("export", record, "-o", tmp_path, "--quiet").out == f"{tmp_path}/results.csv\n"
    assert workbench("export", record, "-o", tmp_path / "my.csv").code == 0
    assert (tmp_path / "results.csv").read_text() == (tmp_path / "my.csv").read_text() == printed
    assert workbench("export", record, "-o", tmp_path, "--per-image", "--json").code == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["images.json", "my.csv", "results.csv"]


def test_exports_that_cannot_be_are_refused(record: Path, tmp_path: Path) -> None:
    before = record.read_bytes()
    refused(workbench("export", record, "-o", record), "the record itself")
    assert record.read_bytes() == before
    refused(workbench("export", record, "-o", tmp_path / "no" / "x.csv"), "no folder")
    refused(workbench("export", record, "--csv", "--json"), "--csv, --json")
    refused(workbench("export", record, "--parquet"), "--output")


def test_parquet_needs_pyarrow(
    record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    refused(
        workbench("export", record, "--parquet", "-o", tmp_path / "x.parquet"),
        "pip install pyarrow",
    )
    assert list(tmp_path.iterdir()) == []


def test_parquet_has_the_same_rows(
    record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a stand-in for pyarrow that keeps what it is given."""
    written: list[dict[str, list[object]]] = []

    class Writer:
        def __init__(self, path: str, schema: list[tuple[str, str]]) -> None:
            Path(path).write_bytes(b"PAR1")
            assert schema[:4] == [
                ("model", "text"),
                ("kind", "text"),
                ("condition", "text"),
                ("severity", "whole"),
            ]

        def __enter__(self) -> "Writer":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def write_table(self, table: dict[str, list[object]]) -> None:
            written.append(table)

    stand_in = types.ModuleType("pyarrow")
    members = {
        "string": lambda: "text",
        "int64": lambda: "whole",
        "float64": lambda: "real",
        "schema": list,
        "table": lambda table, schema: table,
        "parquet": types.SimpleNamespace(ParquetWriter=Writer),
    }
    vars(stand_in).update(members)
    monkeypatch.setitem(sys.modules, "pyarrow", stand_in)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", members["parquet"])
    result = workbench("export", record, "--parquet", "--per-image", "-o", tmp_path / "x.parquet")
    assert result.code == 0, result.err
    assert (tmp_path / "x.parquet").read_bytes() == b"PAR1"
    assert written == [dict(table) for table in image_tables(read_record(record))]


def test_parquet_is_read_by_pyarrow(record: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    assert workbench("export", record, "--parquet", "-o", tmp_path / "x.parquet").code == 0
    listed = json.loads(workbench("export", record, "--json").out)
    assert parquet.read_table(tmp_path / "x.parquet").to_pylist() == listed


# ── merge ──────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """An attack and a benchmark of one checkpoint on the same data."""
    monkeypatch.chdir(tmp_path)
    images = write_data(tmp_path / "small.npz", count=12)
    with np.load(images) as data:  # corruptions need 16 pixels
        pixels, labels = data["images"].repeat(2, axis=1).repeat(2, axis=2), data["labels"]
    np.savez(tmp_path / "data.npz", images=pixels, labels=labels)
    write_checkpoint(tmp_path / "net.pt")
    common = ("net.pt", *ARCH, "--input-size", 8, "--data", "data.npz", "--quiet", "--force")
    first = workbench("attack", *common, "-a", "fgsm(eps=0.5)", "--output", "a")
    assert first.code == 0, first.err
    options = ("--corruptions", "fog,contrast", "--severities", "1,3", "--output", "b")
    second = workbench("benchmark", *common, *options)
    assert second.code == 0, second.err
    return tmp_path / "a", tmp_path / "b"


def test_an_attack_and_a_benchmark_merge_and_are_confirmed(runs: tuple[Path, Path]) -> None:
    merged = workbench("merge", *runs, "--output", "both.h5", "--json")
    assert merged.code == 0, merged.err
    assert merged.document["corruptions"] == ["fog", "contrast"]
    assert [each["name"] for each in merged.document["joined"]] == ["a", "b"]
    confirmed = workbench("verify", "both.h5", "--json")
    assert confirmed.code == 0, confirmed.err
    findings = confirmed.document["findings"]
    claims = {each["claim"]: each["verdict"] for each in findings}
    assert claims["the data are those that were measured"] == "holds"
    assert claims["the clean answers"] == "holds"
    assert sum(claim.startswith("the answers under") for claim in claims) == 3
    assert "fail" not in {each["verdict"] for each in findings}
    assert "joined from: b" in workbench("show", "both.h5").out
    assert rows_of(workbench("export", "both.h5"))


def test_merging_needs_two_records_and_a_new_file(runs: tuple[Path, Path]) -> None:
    first, second = runs
    before = (first / "record.h5").read_bytes()
    refused(workbench("merge", first, "--output", "x.h5"), "two records")
    refused(workbench("merge", first, second, "--output", "x.csv"), "NAME.h5")
    refused(workbench("merge", first, second, "--output", first / "record.h5"), "exists already")
    refused(workbench("merge", first, second, "--output", "no/x.h5"), "no folder")
    refused(workbench("merge", first, second, "--output", "x.h5", "--baseline", "resnet"), "resnet")
    assert (first / "record.h5").read_bytes() == before
    assert not Path("x.h5").exists()


def test_a_changed_answer_or_other_data_are_found_out(runs: tuple[Path, Path]) -> None:
    path = runs[1] / "forged.h5"
    shutil.copy(runs[1] / "record.h5", path)
    with h5py.File(path, "r+") as file:
        places = file["corrupted/confidence"]
        places[...] = np.clip(places[()] - 0.2, 0.3, 1)
    result = workbench("verify", path, "--json")
    assert result.code == 1
    failing = {f["claim"] for f in result.document["findings"] if f["verdict"] == "fails"}
    assert sum(claim.startswith("the answers under") for claim in failing) == 3
    assert "the clean answers" not in failing

    cell = sorted((runs[1] / "cells").glob("*.h5"))[0]
    cell.write_bytes(cell.read_bytes()[:-1])
    result = workbench("verify", runs[1], "--json")
    assert result.code == 1
    assert "cells beside it" in result.err

    with np.load("data.npz") as data:
        np.savez("data.npz", images=255 - data["images"], labels=data["labels"])
    result = workbench("verify", runs[0], "--json")
    assert result.code == 1
    assert "the data there are others now" in result.err
    Path("data.npz").unlink()
    result = workbench("verify", runs[0], "--json")
    assert result.code == 0
    claims = {f["claim"]: f["verdict"] for f in result.document["findings"]}
    assert claims["the data are those that were measured"] == "unchecked"


# ── bad records ────────────────────────────────────────────────────────────────────────────────


def changed(content: bytes, folder: Path, how: str) -> Path:
    path = folder / "copy.h5"
    path.write_bytes(content)
    if how == "cut":
        path.write_bytes(content[:-3000])
    elif how == "text":
        path.write_text("no record")
    else:
        with h5py.File(path, "r+") as file:
            if how == "older":
                file.attrs["format_version"] = 1
            elif how == "foreign":
                del file.attrs["format"]
            elif how == "incomplete":
                file.attrs["complete"] = 0
            elif how == "link":
                file["x"] = h5py.ExternalLink("/etc/passwd", "/")
            elif how == "bomb":
                file.create_dataset("x", shape=(10**7, 10**6), dtype="f8", chunks=(1, 1000))
    return path


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("older", "format version 1"),
        ("foreign", "not a record"),
        ("incomplete", "incomplete"),
        ("cut", "not a whole record"),
        ("text", "not a whole record"),
        ("link", "holds a link"),
        ("bomb", "not stored in it"),
    ],
)
@pytest.mark.parametrize("verb", ["show", "export", "merge"])
def test_what_is_no_record_is_refused(
    record: Path, tmp_path: Path, how: str, told: str, verb: str
) -> None:
    path = changed(record.read_bytes(), tmp_path, how)
    arguments = [record, path, "-o", tmp_path / "out.h5"] if verb == "merge" else [path]
    refused(workbench(verb, *arguments), told)
    assert not (tmp_path / "out.h5").exists()
    empty = tmp_path / "empty"
    empty.mkdir()
    refused(workbench("show", empty), "holds no record.h5")


def test_a_flipped_bit_anywhere_is_noticed_by_verify(record: Path, tmp_path: Path) -> None:
    """With its checksum the file is refused; without, damage is told or changes nothing."""
    content = record.read_bytes()
    path = tmp_path / "copy.h5"
    digest = hashlib.sha256(content).hexdigest()
    (tmp_path / "copy.h5.sha256").write_text(f"{digest}  copy.h5\n")
    for place in np.random.default_rng(5).integers(0, 8 * len(content), 30).tolist():
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        refused(workbench("verify", path), "damaged")
    path.write_bytes(content)
    assert same_data(record, path) == []
