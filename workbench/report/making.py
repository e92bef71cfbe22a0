"""What `workbench report` does: read records, compare their models, write the page and figures."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import Record, compare
from workbench.comparing import read_together
from workbench.console import Console
from workbench.drawing.marks import save
from workbench.drawing.panels import chart_drawing
from workbench.errors import UsageError
from workbench.record_files import find_record
from workbench.report.exhibitions import Exhibition, exhibitions, other_colours
from workbench.report.page import Report, render, report_of
from workbench.report.provenance import Provenance, provenance
from workbench.run_directory import write_atomically

SUFFIXES = (".html", ".htm")
LARGE = 20_000_000  # bytes: about what mail servers take


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
        besides: run directories of `probe` and `explain` whose exhibits are shown too.
    """

    output: Path
    png: Path | None = None
    baseline: str | None = None
    title: str | None = None
    fold: bool = True
    seed: int = 0
    command: str = ""
    besides: tuple[Path, ...] = ()


def make_report(paths: Sequence[Path], asked: Asked, console: Console) -> None:
    """Write the report of one record, or of several of the same data.

    Raises:
        ValueError: a record cannot be read or they do not belong together, there is no such
            baseline, or the output is no place for a page.
        OSError: something cannot be read or written.
    """
    _check(asked)
    shown_besides = exhibitions(asked.besides)
    files = [find_record(path) for path in paths]
    record = read_together(files, asked.baseline)
    comparison = compare(record, baseline=asked.baseline, fold=asked.fold, seed=asked.seed)
    report = report_of(record, comparison)
    origin = _with_commands(provenance(record, files, asked.command), shown_besides)
    _say_colours(shown_besides, report, console)
    title = asked.title or _title(record, origin.data)
    page = render(report, origin, title, datetime.now(UTC), shown_besides).encode()
    if asked.output.parent != Path():
        asked.output.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(asked.output, page)
    figures: list[Path] = []
    if asked.png is not None:
        asked.png.mkdir(parents=True, exist_ok=True)
        for chart in report.charts:
            figures += save(chart_drawing(chart, report.rows), asked.png / chart.name)
        console.show(f"figures: {len(figures)} in {asked.png}")
    console.show(f"report: {asked.output} ({len(page) / 1e6:.1f} MB)")
    if len(page) > LARGE:
        console.warn(
            f"{asked.output} has {len(page) / 1e6:.0f} MB, more than many mail servers take; make "
            "runs for --with that show fewer images or layers."
        )
    console.essential(str(asked.output))
    console.document(
        {
            "report": str(asked.output),
            "records": [str(file) for file in files],
            "baseline": comparison["baseline"],
            "with": [str(each.directory) for each in shown_besides],
            "figures": [str(file) for file in figures],
        }
    )


def _with_commands(origin: Provenance, shown_besides: Sequence[Exhibition]) -> Provenance:
    """The commands that made the exhibits come before the one that makes the report."""
    made = [
        (f"Make what {each.directory} shows again", each.command)
        for each in shown_besides
        if each.command
    ]
    return replace(origin, commands=(*origin.commands[:-1], *made, *origin.commands[-1:]))


def _say_colours(shown_besides: Sequence[Exhibition], report: Report, console: Console) -> None:
    places = {report.record.models[m]: row.place for row in report.rows for m in row.models}
    for each in shown_besides:
        names = other_colours(each, places)
        if names:
            console.note(
                f"{', '.join(names)}: other colours in the figures of {each.directory} than in the "
                "report's; give its command the checkpoints in the order of the record."
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
