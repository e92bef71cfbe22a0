"""`workbench corrupt`: the common corruptions, on the disk or as a picture."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from workbench import options as o
from workbench.console import make_console
from workbench.errors import UsageError


class LayoutName(StrEnum):
    """How the images lie on the disk."""

    CIFAR_C = "cifar-c"
    IMAGENET_C = "imagenet-c"
    HDF5 = "hdf5"


def corrupt(
    ctx: typer.Context,
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A name of `workbench list datasets`, or a path as for --data of other verbs; for "
            "--sheet also any image file.",
        ),
    ],
    layout: Annotated[
        LayoutName | None,
        typer.Option(
            "--layout",
            rich_help_panel=o.OUTPUT,
            help="cifar-c: NAME.npy, severity after severity, and labels.npy. imagenet-c: "
            "NAME/SEVERITY/CLASS/IMAGE.JPEG. hdf5: NAME.h5, nothing lost, any severities.",
        ),
    ] = None,
    sheet: Annotated[
        Path | None,
        typer.Option(
            "--sheet",
            metavar="FILE.png",
            rich_help_panel=o.OUTPUT,
            help="Draw the first image under every corruption and severity, and stop.",
        ),
    ] = None,
    corruptions: o.Corruptions = "standard",
    severities: o.Severities = "1-5",
    strengths: o.Strengths = None,
    frost_textures: o.FrostTextures = None,
    exact: o.Exact = False,
    jpeg_85: o.Jpeg85 = False,
    split: o.Split = "test",
    limit: o.Limit = None,
    classes: o.Classes = None,
    label: o.Label = None,
    input_size: Annotated[
        int | None,
        typer.Option(
            "--input-size",
            metavar="PIXELS",
            min=1,
            rich_help_panel=o.DATA,
            help="Image files: resize the shorter side to 256/224 of this, cut the centre square.",
        ),
    ] = None,
    channels: Annotated[
        int | None,
        typer.Option("--channels", rich_help_panel=o.DATA, help="1: as grey. 3: as colour."),
    ] = None,
    download: o.Download = False,
    seed: o.Seed = 0,
    device: o.Device = "auto",
    threads: o.Threads = None,
    config: o.Config = None,
    debug: o.Debug = False,
    output: o.Output = None,
    dry_run: o.DryRun = False,
    json_output: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Write corrupted copies of a data set, as CIFAR-10-C and ImageNet-C are laid out.

    Each image's randomness depends on the seed and the image alone. What is written can be named
    as --data of every verb: DIR/gaussian_noise/3. The same command with --output DIR resumes.
    To measure models, nothing needs to be written: see `workbench benchmark`.
    """
    from workbench.corrupting import Request, corrupt_data
    from workbench.corruption_sheet import draw_sheet

    if (layout is None) == (sheet is None):
        raise UsageError(
            "Give --layout cifar-c, imagenet-c or hdf5 to write a data set, or --sheet FILE.png to "
            "draw one image; one of them."
        )
    if sheet is not None and (output is not None or dry_run):
        raise UsageError(
            "--sheet FILE.png writes that file alone: leave out --output and --dry-run."
        )
    request = Request(
        data=data,
        layout="hdf5" if layout is None else layout.value,
        corruptions=corruptions,
        severities=severities,
        strengths=strengths,
        frost_textures=frost_textures,
        exact=exact,
        jpeg_85=jpeg_85,
        split=split,
        limit=limit,
        classes=classes,
        label=label,
        input_size=input_size,
        channels=channels,
        download=download,
        seed=seed,
        device=device,
        threads=threads,
        output=output,
        dry_run=dry_run,
        arguments=tuple(o.arguments(ctx)),
    )
    console = make_console(json_output=json_output, quiet=quiet)
    if sheet is not None:
        draw_sheet(request, sheet, console)
    else:
        corrupt_data(request, console)
