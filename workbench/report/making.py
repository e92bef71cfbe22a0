"""What `workbench report` does: read records, compare their models, write the page and figures."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import Record, compare
from workbench.comparing import read_together
from workbench.console import Console
from workbench.drawing.marks import save
from workbench.drawing.panels import chart_drawing
from workbench.errors import UsageError
from workbench.record_files import find_record
from workbench.report.page import render, report_of
from workbench.report.provenance import provenance
from workbench.run_directory import write_atomically

SUFFIXES = (".html", ".htm")


@dataclass(frozen=True)
class Asked:
    """What the command line asks for beside the records.

    Attributes:
        output: the HTML file.
        png: the folder of figures, None for none.
        baseline: the row or model that others are compared with.
        title: the heading, None for one that says what was measured.
        fold: whether replicates are one row.
        seed: of the bootstrap.
        command: the command line, ready for a shell.
    """

    output: Path
    png: Path | None = None
    baseline: str | None = None
    title: str | None = None
    fold: bool = True
    seed: int = 0
    command: str = ""


def make_report(paths: Sequence[Path], asked: Asked, console: Console) -> None:
    """Write the report of one record, or of several of the same data.

    Raises:
        ValueError: a record cannot be read or they do not belong together, there is no such
            baseline, or the output is no place for a page.
        OSError: something cannot be read or written.
    """
    _check(asked)
    files = [find_record(path) for path in paths]
    record = read_together(files, asked.baseline)
    comparison = compare(record, baseline=asked.baseline, fold=asked.fold, seed=asked.seed)
    report = report_of(record, comparison)
    origin = provenance(record, files, asked.command)
    title = asked.title or _title(record, origin.data)
    page = render(report, origin, title, datetime.now(UTC))
    if asked.output.parent != Path():
        asked.output.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(asked.output, page.encode())
    figures: list[Path] = []
    if asked.png is not None:
        asked.png.mkdir(parents=True, exist_ok=True)
        for chart in report.charts:
            figures += save(chart_drawing(chart, report.rows), asked.png / chart.name)
        console.show(f"figures: {len(figures)} in {asked.png}")
    console.show(f"report: {asked.output} ({len(page.encode()) / 1e6:.1f} MB)")
    console.essential(str(asked.output))
    console.document(
        {
            "report": str(asked.output),
            "records": [str(file) for file in files],
            "baseline": comparison["baseline"],
            "figures": [str(file) for file in figures],
        }
    )


def command_line(arguments: Sequence[str]) -> str:
    """The command as a person can paste it."""
    return shlex.join(["workbench", *arguments])


def _check(asked: Asked) -> None:
    if asked.output.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"--output {asked.output}: a report is an HTML file; name it like report.html."
        )
    if asked.output.is_dir():
        raise UsageError(f"--output {asked.output} is a directory; name a file in it.")
    if asked.png is not None and asked.png.exists() and not asked.png.is_dir():
        raise UsageError(f"--png {asked.png} is a file; name a directory.")


def _title(record: Record, data: str | None) -> str:
    count = len(record.models)
    what = f"{count} models" if count > 1 else record.models[0]
    return f"How {what} break{'' if count > 1 else 's'}" + (f" on {data}" if data else "")
