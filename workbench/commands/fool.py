"""`workbench fool`: a fooling image of every image of a data set, to train on."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from workbench import options as o
from workbench.console import make_console

FOOLING = "Fooling"


class Start(StrEnum):
    """Where the ascent begins."""

    IMAGE = "image"
    NOISE = "noise"
    BLANK = "blank"


def fool(
    ctx: typer.Context,
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A name of `workbench list datasets`, or a path as for --data of other verbs.",
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            metavar="CHECKPOINT",
            rich_help_panel=o.MODEL,
            help="The file with the weights of the model that is fooled, or an architecture's name "
            "for published ones.",
        ),
    ],
    strengths: Annotated[
        str,
        typer.Option(
            "--strengths",
            metavar="LIST",
            rich_help_panel=FOOLING,
            help="Lengths of a step, in normalised units at 3x224x224; scaled to other sizes.",
        ),
    ] = "5,20,100",
    steps: Annotated[
        int, typer.Option("--steps", min=1, rich_help_panel=FOOLING, help="At most so many.")
    ] = 100,
    start: Annotated[
        Start,
        typer.Option("--start", rich_help_panel=FOOLING, help="Where the ascent begins."),
    ] = Start.IMAGE,
    arch: o.Arch = None,
    mean: o.Mean = None,
    std: o.Std = None,
    input_size: o.InputSize = None,
    channels: o.Channels = None,
    num_classes: o.NumClasses = None,
    class_names: o.ClassNames = None,
    cifar_stem: o.CifarStem = False,
    bgr: o.Bgr = False,
    scale255: o.Scale255 = False,
    probabilities: o.Probabilities = None,
    trust: o.Trust = False,
    split: o.Split = "train",
    limit: o.Limit = None,
    classes: o.Classes = None,
    label: o.Label = None,
    download: o.Download = False,
    seed: o.Seed = 0,
    device: o.Device = "auto",
    precision: o.PrecisionOption = o.Precision.AUTO,
    batch_size: o.BatchSize = None,
    threads: o.Threads = None,
    force: o.Force = False,
    config: o.Config = None,
    debug: o.Debug = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE.h5",
            rich_help_panel=o.OUTPUT,
            help="Where the images go; the same command resumes. Else a new folder in runs/.",
        ),
    ] = None,
    dry_run: o.DryRun = False,
    json_output: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Lead every image of a data set to a random wrong class, and keep the results in one file.

    They are hard negatives: `workbench train --defense "hard-negatives(source='FILE.h5')"` trains
    on them with their true labels. Each is made by steps along the gradient of the target's score.
    """
    from workbench.fooling_sets import make_fooling_set

    console = make_console(json_output=json_output, quiet=quiet)
    make_fooling_set(o.options(ctx), o.arguments(ctx), console)
