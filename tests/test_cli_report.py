"""`workbench report`: from records and run directories to a page and figures."""

from pathlib import Path

import pytest
from cli_case import ARCH, refused, workbench, write_checkpoint, write_data
from report_case import entry, measured

from benchmarks import durable


@pytest.fixture(scope="module")
def run_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    write_data(folder / "data.npz", count=12)
    write_checkpoint(folder / "net.pt")
    result = workbench(
        "attack", folder / "net.pt", *ARCH, "--data", folder / "data.npz", "-a", "fgsm(eps=0.5)",
        "--output", folder / "out", "--quiet",
    )  # fmt: skip
    assert result.code == 0, result.err
    return folder / "out"


def test_a_run_directory_becomes_a_page(run_directory: Path, tmp_path: Path) -> None:
    page = tmp_path / "pages" / "r.html"
    result = workbench("report", run_directory, "-o", page, "--title", "My net", "--json")
    assert result.code == 0, result.err
    assert result.document["report"] == str(page)
    assert result.document["figures"] == []
    text = page.read_text(encoding="utf-8")
    assert "<h1>My net</h1>" in text
    assert f"workbench attack {run_directory.parent / 'net.pt'}" in text  # how to measure again
    assert f"workbench report {run_directory}" in text
    assert "of " + str(run_directory.parent / "data.npz") in text


def test_figures_are_written_beside_it(run_directory: Path, tmp_path: Path) -> None:
    figures = tmp_path / "figures"
    result = workbench(
        "report", run_directory, "-o", tmp_path / "r.html", "--png", figures, "--quiet"
    )
    assert result.code == 0, result.err
    assert result.out.strip() == str(tmp_path / "r.html")
    names = {file.name for file in figures.iterdir()}
    assert {"robust-accuracy.png", "robust-accuracy.svg", "pixel-change.png"} <= names
    assert {name[:-4] for name in names if name.endswith("png")} == {
        name[:-4] for name in names if name.endswith("svg")
    }


def test_the_page_of_one_record_is_the_same_but_for_its_time(tmp_path: Path) -> None:
    record = measured(tmp_path)
    pages = []
    for _ in range(2):
        assert workbench("report", record.path, "-o", tmp_path / "r.html").code == 0
        pages.append((tmp_path / "r.html").read_text(encoding="utf-8").partition("<footer>")[0])
    assert pages[0] == pages[1]


def test_several_records_become_one_page(tmp_path: Path) -> None:
    attacked = measured(tmp_path / "a", corruptions=())
    corrupted = measured(tmp_path / "b", [entry("one"), entry("three", 2.0)], attacks=())
    page = tmp_path / "r.html"
    result = workbench("report", attacked.path, corrupted.path, "-o", page, "--baseline", "three")
    assert result.code == 0, result.err
    text = page.read_text(encoding="utf-8")
    assert "3 models" in text
    assert 'id="attacks"' in text
    assert 'id="corruptions"' in text
    assert "to three" in text  # mCE names the baseline that was asked for


def test_what_cannot_be_done_is_told_in_a_line(run_directory: Path, tmp_path: Path) -> None:
    report = ("report", run_directory, "-o")
    refused(workbench(*report, tmp_path / "r.pdf"), "HTML", "r.pdf")
    refused(workbench(*report, tmp_path), "HTML")
    (tmp_path / "d.html").mkdir()
    refused(workbench(*report, tmp_path / "d.html"), "directory")
    (tmp_path / "file").write_text("")
    page = tmp_path / "r.html"
    refused(workbench(*report, page, "--png", tmp_path / "file"), "--png", "is a file")
    refused(workbench(*report, page, "--baseline", "nett"), "nett", "net")
    refused(workbench("report", tmp_path, "-o", page), "record.h5")
    refused(workbench("report", tmp_path / "none.h5", "-o", page), "none.h5")
    assert not page.exists()


def test_a_damaged_record_is_refused_and_an_old_page_stays(tmp_path: Path) -> None:
    record = measured(tmp_path)
    content = bytearray(record.path.read_bytes())
    content[len(content) // 2] ^= 1
    record.path.write_bytes(bytes(content))
    assert durable.stored_checksum(record.path)
    page = tmp_path / "r.html"
    page.write_text("old")
    refused(workbench("report", record.path, "-o", page), "damaged")
    assert page.read_text() == "old"
