"""`workbench report`: a page to mail, from a record alone."""

from pathlib import Path
from typing import Annotated

import typer

from workbench import options as o
from workbench.console import make_console


def report(
    ctx: typer.Context,
    records: o.Records,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE.html", help="The page; it is replaced."),
    ] = Path("report.html"),
    png: Annotated[
        Path | None,
        typer.Option(
            "--png", metavar="DIR", help="Write every figure there too, as PNG (200 dpi) and SVG."
        ),
    ] = None,
    besides: Annotated[
        list[Path] | None,
        typer.Option(
            "--with",
            metavar="DIR",
            help="Take in the figures and tables of a run of `probe` or `explain`. Repeat for "
            "several.",
        ),
    ] = None,
    baseline: o.ComparedWith = None,
    title: Annotated[
        str | None, typer.Option("--title", metavar="TEXT", help="The heading of the page.")
    ] = None,
    fold: o.Fold = True,
    seed: o.Seed = 0,
    debug: o.Debug = False,
    json_output: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Write a report of a record: one HTML file with all it needs in it, to mail and to print.

    It has a summary in plain words, the comparison, figures, calibration, the worst classes, kept
    images, warnings, and where every number comes from. What was not measured is left out.
    """
    from workbench.report.making import Asked, command_line, make_report

    command = command_line(o.arguments(ctx))
    asked = Asked(output, png, baseline, title, fold, seed, command, tuple(besides or ()))
    make_report(records, asked, make_console(json_output=json_output, quiet=quiet))
