"""`workbench compare`: which model is better, and how sure is that?"""

from typing import Annotated

import typer

from workbench import options as o
from workbench.console import make_console


def compare(
    records: o.Records,
    baseline: o.ComparedWith = None,
    fold: o.Fold = True,
    columns: Annotated[
        str | None,
        typer.Option(
            "--columns",
            metavar="LIST",
            help="What tables show: clean, robust, success, moved, corruptions, all, or measures "
            "such as mce,robust-accuracy:pgd. Tests and JSON are of everything all the same.",
        ),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option("--sort", metavar="MEASURE", help="Rows by this measure, the best first."),
    ] = None,
    fail_under: Annotated[
        list[str] | None,
        typer.Option(
            "--fail-under",
            metavar="METRIC=VALUE",
            help="Exit with 1 if a row is worse than VALUE (0.3 or 30%): below it where higher is "
            "better, above it for errors and mCE. May be given several times.",
        ),
    ] = None,
    view: Annotated[
        str,
        typer.Option(
            "--view",
            metavar="NAME",
            help="table; curves: errors over severity and the shape of the curve; classes: the "
            "worst classes and what they are taken for; calibration: whether confidence can be "
            "trusted; attention: how much of what a model looks at stays in place.",
        ),
    ] = "table",
    condition: Annotated[
        str | None,
        typer.Option(
            "--condition",
            metavar="NAME",
            help="Of a view: clean, an attack, a corruption, or one at a severity (fog@3).",
        ),
    ] = None,
    class_name: Annotated[
        str | None,
        typer.Option("--class", metavar="NAME", help="The class that --view classes is about."),
    ] = None,
    seed: o.Seed = 0,
    debug: o.Debug = False,
    json_output: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Compare the models of records, with intervals, paired tests and Holm's correction.

    Under each number stands whether it is better or worse than the baseline's, or no difference is
    shown. Models that differ in the training seed alone are one row, with their spread.

    Exit code 0: done. 1: a row is worse than --fail-under allows. 2: a record cannot be read.
    """
    from workbench.comparing import Asked, compare_records

    asked = Asked(
        baseline=baseline,
        fold=fold,
        fail_under=tuple(fail_under or ()),
        sort=sort,
        columns=columns,
        seed=seed,
        view=view,
        condition=condition,
        class_name=class_name,
    )
    if not compare_records(records, asked, make_console(json_output=json_output, quiet=quiet)):
        raise typer.Exit(1)
