"""What `workbench export` does: a record's numbers as CSV, JSON or Parquet."""

import csv
import importlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from benchmarks import durable, read_record
from benchmarks.tidy import RESULT_COLUMNS, Table, image_columns, image_tables, result_rows
from workbench.console import Console
from workbench.errors import UsageError
from workbench.record_files import find_record

FORMATS = ("csv", "parquet", "json")


def export_record(
    path: Path, console: Console, *, form: str, output: Path | None, per_image: bool
) -> None:
    """Write a record's numbers as one tidy table.

    Args:
        path: the record, or the run directory it is in.
        console: where notes go; the table goes to stdout where there is no ``output``.
        form: one of `FORMATS`.
        output: a file, or a folder to put ``results.FORM`` or ``images.FORM`` in.
        per_image: a row for every example, not for every number.

    Raises:
        ValueError: the record is damaged, or the table cannot be made in this form.
        OSError: something cannot be read or written.
    """
    write = {"csv": _write_csv, "json": _write_json}.get(form)
    if write is None:
        if output is None:
            raise UsageError("--parquet writes a binary file: say where with --output FILE.")
        pyarrow = _pyarrow()
    record_file = find_record(path)
    target = _target(output, record_file, f"{'images' if per_image else 'results'}.{form}")
    record = read_record(record_file)
    kinds = image_columns(record) if per_image else RESULT_COLUMNS
    tables = image_tables(record) if per_image else iter([_as_table(result_rows(record), kinds)])
    if target is None:
        if write is not None:
            write(sys.stdout, kinds, tables)
            sys.stdout.flush()
        return
    with durable.atomically(target) as temporary:
        if write is None:
            _write_parquet(pyarrow, temporary, kinds, tables)
        else:
            with temporary.open("w", encoding="utf-8", newline="") as stream:
                write(stream, kinds, tables)
    console.note(f"written: {target}")
    console.essential(str(target))


def _target(output: Path | None, record: Path, name: str) -> Path | None:
    """The file to write.

    Raises:
        UsageError: it is the record, or in a folder that is not there.
    """
    if output is None:
        return None
    target = output / name if output.is_dir() else output
    if target.exists() and target.samefile(record):
        raise UsageError(f"--output {output} is the record itself; choose another file.")
    if not target.absolute().parent.is_dir():
        raise UsageError(f"--output {output}: there is no folder {target.parent}.")
    return target


def _as_table(rows: Iterable[Mapping[str, Any]], kinds: Mapping[str, type]) -> Table:
    listed = list(rows)
    return {name: [row[name] for row in listed] for name in kinds}


def _write_csv(stream: IO[str], kinds: Mapping[str, type], tables: Iterator[Table]) -> None:
    """As RFC 4180 but for line ends; what was not measured is an empty field."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(kinds)
    for table in tables:
        writer.writerows(zip(*table.values(), strict=True))


def _write_json(stream: IO[str], kinds: Mapping[str, type], tables: Iterator[Table]) -> None:
    """A list of objects, one a line; what was not measured is null."""
    before = "[\n"
    for table in tables:
        for row in zip(*table.values(), strict=True):
            text = json.dumps(dict(zip(kinds, row, strict=True)), ensure_ascii=False)
            stream.write(before + text)
            before = ",\n"
    stream.write("\n]\n" if before == ",\n" else "[]\n")


def _pyarrow() -> Any:
    """The package that writes Parquet, which is no dependency of ours.

    Raises:
        UsageError: it is not installed.
    """
    try:
        importlib.import_module("pyarrow.parquet")
        return importlib.import_module("pyarrow")
    except ImportError:
        raise UsageError(
            "--parquet needs pyarrow, which is not installed: pip install pyarrow, or use --csv."
        ) from None


def _write_parquet(
    pyarrow: Any, path: Path, kinds: Mapping[str, type], tables: Iterator[Table]
) -> None:
    types = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64()}
    schema = pyarrow.schema([(name, types[kind]) for name, kind in kinds.items()])
    with pyarrow.parquet.ParquetWriter(str(path), schema) as writer:
        for table in tables:
            writer.write_table(pyarrow.table(dict(table), schema=schema))
