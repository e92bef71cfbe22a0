"""What `workbench compare` does: read records, compare their models, show it, check the limits."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import Record, compare, read_record
from benchmarks.joining import join
from workbench.comparison_tables import comparison_tables, legend
from workbench.console import Console
from workbench.errors import UsageError, unknown
from workbench.gates import parse_gate
from workbench.measure_names import SECTIONS, Measure, find_measure, find_measures, measure_name
from workbench.option_texts import between_commas
from workbench.record_files import find_record
from workbench.record_views import VIEWS, tables_of, view_results
from workbench.running import caution_lines

TABLE = "table"


@dataclass(frozen=True)
class Asked:
    """What the command line asks for beside the records.

    Attributes:
        baseline: the row or model that all others are tested against.
        fold: whether replicates are one row.
        fail_under: limits, each METRIC=VALUE.
        sort: the measure that rows are sorted by, best first.
        columns: the measures that tables show.
        seed: of the bootstrap.
        view: ``table``, or one of `workbench.record_views.VIEWS`.
        condition, class_name: what a view is of.
    """

    baseline: str | None = None
    fold: bool = True
    fail_under: tuple[str, ...] = ()
    sort: str | None = None
    columns: str | None = None
    seed: int = 0
    view: str = TABLE
    condition: str | None = None
    class_name: str | None = None


def compare_records(paths: Sequence[Path], asked: Asked, console: Console) -> bool:
    """Show how the models of records compare, or a view of them; whether every limit is kept.

    Raises:
        ValueError: a record cannot be read or they do not belong together, or there is no such
            baseline, measure or limit.
        OSError: a record cannot be opened.
    """
    _check(asked)
    files = [find_record(path) for path in paths]
    record = read_together(files, asked.baseline)
    if asked.view == TABLE:
        return _compare(files, record, asked, console)
    told = view_results(
        record,
        asked.view,
        condition=asked.condition,
        class_name=asked.class_name,
        seed=asked.seed,
    )
    for table in tables_of(told, console.out.width):
        console.show(table)
    console.essential("\n".join(record.models))
    console.document({"records": [str(file) for file in files], **told})
    return True


def _check(asked: Asked) -> None:
    """Refuse a view that there is not, and options that say nothing to what is shown."""
    if asked.view not in (TABLE, *VIEWS):
        raise unknown("view", asked.view, [TABLE, *VIEWS])
    table = asked.view == TABLE
    of_views = {"--condition": asked.condition, "--class": asked.class_name}
    of_table = {
        "--baseline": asked.baseline,
        "--fail-under": asked.fail_under,
        "--sort": asked.sort,
        "--columns": asked.columns,
    }
    for flag, given in (of_views if table else of_table).items():
        if given:
            raise UsageError(f"{flag} says nothing to --view {asked.view}; leave it out.")


def _compare(files: Sequence[Path], record: Record, asked: Asked, console: Console) -> bool:
    """Show the comparison, and check the limits."""
    comparison = compare(record, baseline=asked.baseline, fold=asked.fold, seed=asked.seed)
    measures: list[Measure] = list(comparison["measures"])  # type: ignore[call-overload]
    described = record.config.get("baseline")
    relative = described.get("name") if isinstance(described, dict) else None
    gates = [parse_gate(text, measures, relative) for text in asked.fail_under]
    shown = shown_measures(measures, asked.columns)
    if asked.sort is not None:
        rows = _sorted(comparison["rows"], find_measure(asked.sort, measures, "--sort"))
        comparison = {**comparison, "rows": rows}
    for table in comparison_tables(comparison, shown, console.out.width):
        console.show(table)
    console.show(*legend(comparison))
    if asked.columns is None and len(shown) < len(measures):
        console.show(
            "not shown: success and change of images under attacks with a budget, and what holds "
            "under those without one; --columns all shows them"
        )
    for line in caution_lines(record):
        console.warn(line)
    if record.failures:
        cells = "1 cell" if len(record.failures) == 1 else f"{len(record.failures)} cells"
        console.warn(f"{cells} of the record failed; numbers are over what finished.")
    checked = [gate.check(row) for gate in gates for row in comparison["rows"]]  # type: ignore[attr-defined]
    missed = [each for each in checked if not each["passed"]]
    for each in missed:
        console.error(str(each["message"]))
    if gates and not missed:
        console.show(f"every row keeps {', '.join(asked.fail_under)}")
    names = "\n".join(str(row["name"]) for row in comparison["rows"])  # type: ignore[attr-defined]
    console.essential(("missed" if missed else "kept") if gates else names)
    console.document(
        {
            "records": [str(file) for file in files],
            **comparison,
            "cautions": list(record.cautions),
            "failures": list(record.failures),
            "gates": checked,
        }
    )
    return not missed


def read_together(files: Sequence[Path], baseline: str | None = None) -> Record:
    """One record, or several joined into one.

    Args:
        files: the records.
        baseline: where it names a model with corrupted images, mCE is relative to it, whatever it
            was when the record was made.

    Raises:
        ValueError: one cannot be read, or they do not belong together.
        OSError: one cannot be opened.
    """
    records = [read_record(file) for file in files]
    models = {model for record in records for model in record.models}
    wanted = baseline if baseline in models else None
    record = records[0] if len(records) == 1 else join(records, baseline=wanted)
    own = record.config.get("baseline")
    known = isinstance(own, dict) and own.get("name") == wanted
    if wanted is None or not record.corrupted or known:
        return record
    return join([record], baseline=wanted)


def shown_measures(measures: Sequence[Measure], columns: str | None = None) -> list[Measure]:
    """The measures that tables show: those asked for, or all that can be better or are believed."""
    if columns is None:
        return [
            each
            for each in measures
            if each["better"] is not None or measure_name(each) in SECTIONS["believed"]
        ]
    parts = [part for part in between_commas(columns) if part]
    if not parts:
        raise UsageError("--columns names no measure; leave it out, or write all.")
    found = [each for part in parts for each in find_measures(part, measures, "--columns")]
    return list({each["key"]: each for each in found}.values())


def _sorted(rows: Any, measure: Measure) -> list[Any]:
    """Rows by a measure, the best first; those without a number last."""
    sign = 1 if measure["better"] == "lower" else -1

    def place(row: Any) -> tuple[bool, float]:
        value = row["numbers"][measure["key"]]["value"]
        return value is None, 0.0 if value is None else sign * value

    return sorted(rows, key=place)
