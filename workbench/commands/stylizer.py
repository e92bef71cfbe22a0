"""`workbench stylizer`: what the defense `stylized` paints with."""

from enum import StrEnum
from typing import Annotated

import typer

from workbench import options as o
from workbench.console import make_console
from workbench.option_texts import parse_numbers

TRAINING = "Training"


class Depth(StrEnum):
    """Where the encoder ends: behind the first convolution of a block."""

    RELU1_1 = "relu1_1"
    RELU2_1 = "relu2_1"
    RELU3_1 = "relu3_1"
    RELU4_1 = "relu4_1"


def stylizer(
    ctx: typer.Context,
    encoder: Annotated[
        str,
        typer.Option(
            "--encoder",
            metavar="CHECKPOINT",
            rich_help_panel=o.MODEL,
            help="A plain VGG: a file with weights, such as one that `workbench train vgg11` "
            "wrote; a name for published weights (vgg19); or vgg_normalised.pth.",
        ),
    ],
    paintings: Annotated[
        str | None,
        typer.Argument(metavar="PAINTINGS", help="A folder of any pictures, its folders included."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            "-d",
            metavar="SOURCE",
            rich_help_panel=o.DATA,
            help="The images to stylise, as for `workbench train`; the training split is used.",
        ),
    ] = None,
    decoder: Annotated[
        str | None,
        typer.Option(
            "--decoder",
            metavar="FILE",
            rich_help_panel=o.MODEL,
            help="Take over a published decoder.pth, with --encoder vgg_normalised.pth; nothing is "
            "trained.",
        ),
    ] = None,
    depth: Annotated[
        Depth,
        typer.Option(
            "--depth",
            rich_help_panel=o.MODEL,
            help="Layer that styles are taken from. relu4_1 is the published one, for images of "
            "256 pixels.",
        ),
    ] = Depth.RELU3_1,
    arch: o.Arch = None,
    mean: o.Mean = None,
    std: o.Std = None,
    steps: Annotated[
        int, typer.Option("--steps", min=1, rich_help_panel=TRAINING, help="Of the decoder.")
    ] = 20_000,
    batch_size: Annotated[
        int,
        typer.Option(
            "--batch-size", min=1, rich_help_panel=TRAINING, help="Images, and paintings, per step."
        ),
    ] = 8,
    lr: Annotated[
        float,
        typer.Option(
            "--lr",
            rich_help_panel=TRAINING,
            help="Adam's first rate; half of it at step 20000.",
        ),
    ] = 1e-4,
    content_weight: Annotated[
        float,
        typer.Option(
            "--content-weight", min=0, rich_help_panel=TRAINING, help="Of keeping the content."
        ),
    ] = 1.0,
    style_weight: Annotated[
        float,
        typer.Option(
            "--style-weight", min=0, rich_help_panel=TRAINING, help="Of matching the style."
        ),
    ] = 10.0,
    limit: o.Limit = None,
    classes: o.Classes = None,
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
    """Train a decoder that turns features back into images, for --defense stylized.

    The run directory gets stylizer.safetensors, which holds the encoder too. After Ctrl-C or a kill
    the same command with --output DIR goes on and ends as if it had never been interrupted.
    """
    from workbench.stylizing import Request, make

    request = Request(
        paintings=paintings,
        data=data,
        encoder=encoder,
        decoder=decoder,
        depth=depth.value,
        arch=arch,
        mean=parse_numbers(mean, "--mean"),
        std=parse_numbers(std, "--std"),
        steps=steps,
        batch_size=batch_size,
        lr=lr,
        content_weight=content_weight,
        style_weight=style_weight,
        limit=limit,
        classes=classes,
        download=download,
        seed=seed,
        device=device,
        threads=threads,
        output=output,
        dry_run=dry_run,
        arguments=tuple(o.arguments(ctx)),
    )
    make(request, make_console(json_output=json_output, quiet=quiet))
