"""Exhibits of `probe` and `explain` in a report: figures, tables, hostile texts, bad folders."""

import base64
import json
import re
from html import unescape
from pathlib import Path

import pytest
from cli_case import refused, workbench
from report_case import HOSTILE, entry, measured

from workbench.drawing.marks import Drawing, Text
from workbench.exhibits import Exhibit, Table, keep_exhibits
from workbench.report import making
from workbench.report.exhibitions import exhibitions, other_colours


def run_of(folder: Path, verb: str = "explain", models: tuple[str, ...] = ("one",)) -> Path:
    """A run directory with a figure and a table, all its texts hostile."""
    folder.mkdir()
    table = Table((HOSTILE, "number"), ((HOSTILE, "1.5"), ("plain", "-")))
    drawing = Drawing(321.0, 40.0, (Text(10, 10, HOSTILE, 8, "#1b1c1e"),))
    keep_exhibits(
        [
            Exhibit("with-figure", f"Title {HOSTILE}", HOSTILE, drawing, f"Words {HOSTILE}", table),
            Exhibit("table-alone", "Table", table=table),
        ],
        folder,
    )
    config = {
        "verb": verb,
        "command": f"workbench {verb} '{HOSTILE}'",
        "config": {"models": [{"name": name} for name in models]},
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("record")
    return measured(folder, [entry("one"), entry("two", 6.0)], images=12).path


def page(record: Path, *runs: Path) -> str:
    output = record.parent / "report.html"
    with_runs = [text for run in runs for text in ("--with", run)]
    result = workbench("report", record, "--output", output, *with_runs, "--json")
    assert result.code == 0, result.err
    assert result.document["with"] == [str(run) for run in runs]
    return output.read_text(encoding="utf-8")


def test_figures_are_pictures_with_words_and_tables_have_their_lines(
    record: Path, tmp_path: Path
) -> None:
    run = run_of(tmp_path / "run")
    html = page(record, run)
    assert '<a href="#exhibits-1">Inside the models</a>' in html
    (figure,) = re.findall(r'<div class="scroll card".*?</div>', html)
    source = re.search(r'src="data:image/svg\+xml;base64,([^"]+)"', figure)
    assert source is not None
    assert base64.b64decode(source[1]) == (run / "figures" / "with-figure.svg").read_bytes()
    alt = re.search(r'alt="([^"]+)"', figure)
    assert alt is not None
    assert unescape(alt[1]) == f"Words {HOSTILE}"
    assert "--wide:321pt" in figure
    section = html[html.index('id="exhibits-1"') : html.index('id="provenance"')]
    assert section.count("<tbody>") == 2
    assert section.count(">1.5<") == 2


def test_hostile_texts_are_texts(record: Path, tmp_path: Path) -> None:
    html = page(record, run_of(tmp_path / "run"))
    assert html.count("<script") == 1  # the page's own
    assert "alert(&#34;1&#34;)" in html


def test_the_page_still_asks_for_nothing(record: Path, tmp_path: Path) -> None:
    html = page(record, run_of(tmp_path / "run"))
    sources = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert all(source.startswith(("data:", "#")) for source in sources)
    assert "default-src 'none'; img-src data:;" in html


def test_several_runs_are_parts_of_their_own(record: Path, tmp_path: Path) -> None:
    runs = [run_of(tmp_path / "a"), run_of(tmp_path / "b"), run_of(tmp_path / "c", "probe")]
    html = page(record, *runs)
    for number, title in enumerate(
        ("Inside the models: a", "Inside the models: b", "One image at a time"), start=1
    ):
        assert f'<h2 id="exhibits-{number}-title">{title}</h2>' in html
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert html.count("shows again") == 3  # the commands that made them


def test_other_colours_are_told(record: Path, tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", models=("two", "one"))
    (found,) = exhibitions([run])
    assert other_colours(found, {"one": 0, "two": 1}) == ["two", "one"]
    assert other_colours(found, {"two": 0, "three": 1}) == []
    told = workbench("report", record, "-o", tmp_path / "r.html", "--with", run)
    assert "two, one: other colours" in told.err


def test_a_large_page_is_told(
    record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(tmp_path / "run")
    command = ["report", record, "-o", tmp_path / "r.html", "--with", run]
    assert "mail" not in workbench(*command).err
    monkeypatch.setattr(making, "LARGE", 1000)
    assert "more than many mail servers take" in workbench(*command).err


def test_a_file_in_place_of_a_directory_is_refused(record: Path) -> None:
    refused(workbench("report", record, "--with", record), "holds nothing that")


def test_directories_without_exhibits_are_refused(record: Path, tmp_path: Path) -> None:
    run = run_of(tmp_path / "run")
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "exhibits.json").write_text('{"format_version": 1, "exhibits": [{}]}')

    def asked(*runs: Path) -> list[object]:
        texts = [text for each in runs for text in ("--with", each)]
        return ["report", record, "-o", tmp_path / "report.html", *texts]

    refused(workbench(*asked(tmp_path / "empty")), "holds nothing that")
    refused(workbench(*asked(tmp_path / "none")), "holds nothing that")
    refused(workbench(*asked(tmp_path / "damaged")), "damaged")
    refused(workbench(*asked(run, run)), "given twice")
    (run / "figures" / "with-figure.svg").unlink()
    refused(workbench(*asked(run)), "with-figure.svg is missing", "run its command again")
    assert not (tmp_path / "report.html").exists()


def test_a_note_is_told_once_and_a_table_alone_has_one_heading(
    record: Path, tmp_path: Path
) -> None:
    run = run_of(tmp_path / "run")
    long = Table(("std", "then, %"), (("0.1", "Dress 0.1, Coat 0.1, T-shirt/top 0.1"),))
    keep_exhibits(
        [
            Exhibit("first", "First", "What brackets mean.", table=long),
            Exhibit("second", "Second", table=long),
            Exhibit("third", "Third", "What brackets mean.", table=long),
        ],
        run,
    )
    html = page(record, run)
    assert html.count("What brackets mean.") == 1
    # Beside seven short columns it would be squeezed to a word a line.
    assert html.count(' class="long"><span class="value">Dress') == 3
