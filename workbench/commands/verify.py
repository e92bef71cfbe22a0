"""`workbench verify`: is every claim of a record true?"""

from pathlib import Path
from typing import Annotated

import typer

from workbench import options as o
from workbench.console import make_console


def verify(
    record: o.RecordPath,
    look_in: Annotated[
        Path | None,
        typer.Option(
            "--look-in",
            metavar="DIR",
            help="Where checkpoints and data lie that were moved.",
        ),
    ] = None,
    trust: Annotated[
        bool,
        typer.Option(
            "--trust",
            help="Load models that the record says need code to be run: file.py:function, "
            "torch.export programs.",
        ),
    ] = False,
    device: o.Device = "auto",
    batch_size: o.BatchSize = None,
    threads: o.Threads = None,
    debug: o.Debug = False,
    json_output: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Check a record: its checksums, its sums, its kept images and a sample of its other claims.

    Checkpoints and data are loaded again; what they are not there for is said to be unchecked.

    Exit code 0: every claim that could be checked holds. 1: a claim fails, or a model could not
    be loaded. 2: the record cannot be read.
    """
    from workbench.verifying import verify_record

    console = make_console(json_output=json_output, quiet=quiet)
    holds = verify_record(
        record,
        console,
        look_in=look_in,
        trust=trust,
        device=device,
        batch_size=batch_size,
        threads=threads,
    )
    if not holds:
        raise typer.Exit(1)
