"""`workbench merge`: records of the same data as one."""

from pathlib import Path
from typing import Annotated

import typer

from workbench import options as o
from workbench.console import make_console


def merge(
    records: o.Records,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="The record to write."),
    ],
    baseline: Annotated[
        str | None,
        typer.Option(
            "--baseline",
            metavar="alexnet|MODEL",
            help="What mCE is relative to, where the records do not name the same.",
        ),
    ] = None,
    debug: o.Debug = False,
    json_output: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Join records of the same data into one: other models, other attacks, other corruptions.

    What none of them measured stays unmeasured; what two of them measured must agree.
    """
    from workbench.merging import merge_records

    console = make_console(json_output=json_output, quiet=quiet)
    merge_records(records, output, console, baseline=baseline)
