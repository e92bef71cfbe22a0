"""`workbench study`: a published question, answered on real data by one command."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from workbench import options as o
from workbench.console import hushed, make_console


def study(
    ctx: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            metavar="STUDY", help="A name of `workbench list studies`, or a folder with study.toml."
        ),
    ],
    scale: Annotated[
        str,
        typer.Option("--scale", metavar="NAME", help="How much of it: one of the study's scales."),
    ] = "small",
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data",
            "-d",
            metavar="DIR",
            help="A folder to look for the data in. Repeat for several. Else $WORKBENCH_DATA (or "
            "the cache), data, shared/data, and both in the folder above.",
        ),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Another value than the scale's, such as epochs=3 or seeds=[0,1]. May be given "
            "several times.",
        ),
    ] = None,
    download: o.Download = False,
    device: o.Device = "auto",
    threads: o.Threads = None,
    debug: o.Debug = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            rich_help_panel=o.OUTPUT,
            help="Run directory; the same command resumes in it. Else runs/study-NAME-SCALE.",
        ),
    ] = None,
    dry_run: o.DryRun = False,
    json_output: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Carry out a study on real data, step by step, and say of each of its claims what came of it.

    The steps are ordinary commands of the workbench, and what they print and write is kept in the
    run directory. The same command goes on where an earlier one was stopped.
    """
    from workbench.studies.study import Asked, carry_out

    console = make_console(json_output=json_output, quiet=quiet)
    asked = Asked(
        name=name,
        scale=scale,
        data=tuple(data or ()),
        changes=tuple(changes or ()),
        download=download,
        output=output,
        dry_run=dry_run,
        arguments=tuple(o.arguments(ctx)),
    )
    workbench = ctx.find_root().command
    asked_for = {"device": device, "threads": threads, "download": download}
    # What was left at its default here is for a step's own suite or recipe to say.
    shared = {key: value for key, value in asked_for.items() if value not in ("auto", None, False)}
    defaults = dict.fromkeys(getattr(workbench, "commands", {}), shared)

    def run_verb(arguments: Sequence[str]) -> int:
        with hushed() if quiet else nullcontext():  # what a step prints is kept all the same
            code = workbench.main(
                list(arguments),
                prog_name="workbench",
                standalone_mode=False,
                obj=list(arguments),
                default_map=defaults,
            )
        return code if isinstance(code, int) else 0

    if not carry_out(asked, run_verb, console):
        raise typer.Exit(1)
