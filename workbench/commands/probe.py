"""`workbench probe`: turn one dial on an image, and watch what models see in it."""

from typing import Annotated

import typer

from workbench import options as o
from workbench.console import make_console

DIAL = "Dial"


def probe(
    ctx: typer.Context,
    data: Annotated[
        str,
        typer.Argument(
            metavar="IMAGE",
            help="An image file; or whatever --data takes elsewhere: a folder of images by class, "
            "a data set's name.",
        ),
    ],
    checkpoints: o.Checkpoints,
    dial: Annotated[
        str,
        typer.Option(
            "--dial",
            metavar="noise|rotation|CORRUPTION|ATTACK",
            rich_help_panel=DIAL,
            help="What is turned: the standard deviation of noise, an angle, the severity of a "
            "corruption, the steps of an attack such as 'pgd(eps=4/255)'.",
        ),
    ] = "noise",
    values: Annotated[
        str | None,
        typer.Option(
            "--values",
            metavar="LIST|START:STOP:STEP",
            rich_help_panel=DIAL,
            help="Its positions; else the usual ones of its kind.",
        ),
    ] = None,
    units: Annotated[
        str | None,
        typer.Option(
            "--units",
            metavar="pixel|normalised",
            rich_help_panel=DIAL,
            help="Noise on the image, clipped to [0, 1], or (the usual) behind the model's "
            "normalisation, not clipped.",
        ),
    ] = None,
    draws: Annotated[
        int,
        typer.Option("--draws", min=1, rich_help_panel=DIAL, help="Repeat with other noise."),
    ] = 1,
    show: Annotated[
        int,
        typer.Option("--show", min=1, rich_help_panel=o.OUTPUT, help="Images that get a strip."),
    ] = 3,
    superclasses: Annotated[
        str | None,
        typer.Option(
            "--superclasses",
            metavar="FILE|NAME",
            rich_help_panel=o.DATA,
            help="Superclass of each class: a file, or a known set; else found by the names.",
        ),
    ] = None,
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
    split: o.Split = "test",
    limit: o.Limit = None,
    classes: o.Classes = None,
    label: o.Label = None,
    download: o.Download = False,
    seed: o.Seed = 0,
    device: o.Device = "auto",
    batch_size: o.BatchSize = None,
    threads: o.Threads = None,
    config: o.Config = None,
    debug: o.Debug = False,
    output: o.Output = None,
    dry_run: o.DryRun = False,
    json_output: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Turn one dial on images, and watch what models see in them.

    Of each image a strip of pictures and a table of the answers; over all images, and all models,
    the confidence in the true class along the dial. The numbers are kept in a record.
    """
    from workbench.probing import probe_checkpoints

    console = make_console(json_output=json_output, quiet=quiet)
    probe_checkpoints(o.options(ctx), o.arguments(ctx), console)
