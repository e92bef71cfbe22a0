"""`workbench export`: a record's numbers for other programs."""

from pathlib import Path
from typing import Annotated

import typer

from workbench import options as o
from workbench.console import make_console
from workbench.errors import UsageError


def export(
    record: o.RecordPath,
    csv: Annotated[bool, typer.Option("--csv", help="As CSV; this is the default.")] = False,
    parquet: Annotated[
        bool, typer.Option("--parquet", help="As Parquet, if pyarrow is installed.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="As a JSON list of objects.")] = False,
    per_image: Annotated[
        bool,
        typer.Option(
            "--per-image",
            help="A row for every model, condition and image; else for every model, condition and "
            "measure.",
        ),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE|DIR", help="Where to write it; else to stdout."
        ),
    ] = None,
    debug: o.Debug = False,
    quiet: o.Quiet = False,
) -> None:
    """Write a record's numbers as a tidy table: CSV, JSON or Parquet."""
    chosen = [
        name for name, is_set in (("csv", csv), ("parquet", parquet), ("json", json)) if is_set
    ]
    if len(chosen) > 1:
        raise UsageError(f"Choose one form: {', '.join('--' + form for form in chosen)}.")
    from workbench.exporting import export_record

    console = make_console(json_output=False, quiet=quiet)
    form = chosen[0] if chosen else "csv"
    export_record(record, console, form=form, output=output, per_image=per_image)
