"""`workbench train`: a checkpoint that can be attacked without any flags."""

from dataclasses import fields
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from workbench import options as o
from workbench.console import make_console
from workbench.option_texts import parse_numbers

if TYPE_CHECKING:
    from workbench.training_plan import Request

TRAINING = "Training"


class Optimizer(StrEnum):
    """What takes the steps."""

    SGD = "sgd"
    ADAM = "adam"
    ADAMW = "adamw"


class Schedule(StrEnum):
    """How the learning rate falls."""

    COSINE = "cosine"
    STEP = "step"
    CONSTANT = "constant"


def train(
    ctx: typer.Context,
    arch: Annotated[
        str,
        typer.Argument(
            metavar="ARCH",
            help="A name of `workbench list architectures`, with settings if you like: "
            "'mlp(width=100)', timm:NAME, file.py:function.",
        ),
    ],
    data: o.Data,
    defenses: Annotated[
        list[str] | None,
        typer.Option(
            "--defense",
            metavar="SPEC",
            rich_help_panel=TRAINING,
            help="Such as crop-flip, or 'crop-flip(padding=2)'; see `workbench list defenses`. "
            "Repeat for several: they are applied in order.",
        ),
    ] = None,
    epochs: Annotated[
        int,
        typer.Option(
            "--epochs", min=1, rich_help_panel=TRAINING, help="Passes over the training images."
        ),
    ] = 10,
    batch_size: Annotated[
        int,
        typer.Option("--batch-size", min=1, rich_help_panel=TRAINING, help="Images per step."),
    ] = 128,
    optimizer: Annotated[
        Optimizer,
        typer.Option("--optimizer", rich_help_panel=TRAINING, help="SGD has Nesterov's momentum."),
    ] = Optimizer.SGD,
    lr: Annotated[
        float | None,
        typer.Option(
            "--lr",
            rich_help_panel=TRAINING,
            help="Peak learning rate; else 0.1 for sgd and 0.001 for adam and adamw.",
        ),
    ] = None,
    momentum: Annotated[
        float,
        typer.Option("--momentum", min=0, max=0.999, rich_help_panel=TRAINING, help="Of sgd."),
    ] = 0.9,
    weight_decay: Annotated[
        float,
        typer.Option(
            "--weight-decay",
            min=0,
            rich_help_panel=TRAINING,
            help="An L2 term; decoupled from the gradient for adamw.",
        ),
    ] = 5e-4,
    schedule: Annotated[
        Schedule,
        typer.Option(
            "--schedule",
            rich_help_panel=TRAINING,
            help="Of the learning rate: cosine to 0; step: a tenth at 1/2 and again at 3/4.",
        ),
    ] = Schedule.COSINE,
    warmup: Annotated[
        float,
        typer.Option(
            "--warmup", min=0, rich_help_panel=TRAINING, help="Epochs of climbing to the peak."
        ),
    ] = 0.0,
    spare_norms: Annotated[
        bool,
        typer.Option(
            "--spare-norms",
            rich_help_panel=TRAINING,
            help="No weight decay for the weights of norms and for biases.",
        ),
    ] = False,
    label_smoothing: Annotated[
        float,
        typer.Option(
            "--label-smoothing",
            min=0,
            max=0.999,
            metavar="SHARE",
            rich_help_panel=TRAINING,
            help="Of each label, spread over all classes.",
        ),
    ] = 0.0,
    ema: Annotated[
        float,
        typer.Option(
            "--ema",
            min=0,
            max=0.99999,
            metavar="DECAY",
            rich_help_panel=TRAINING,
            help="Validate and keep a running mean of the weights that keeps this share of itself "
            "at each step, such as 0.999.",
        ),
    ] = 0.0,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="CHECKPOINT",
            rich_help_panel=TRAINING,
            help="Fine-tune: begin with the weights of this file, or with the published ones of "
            "ARCH where its name is given again.",
        ),
    ] = None,
    last_layer_only: Annotated[
        bool,
        typer.Option(
            "--last-layer-only",
            rich_help_panel=TRAINING,
            help="Freeze all layers but the last.",
        ),
    ] = False,
    hold_out: Annotated[
        float,
        typer.Option(
            "--hold-out",
            min=0,
            max=0.9,
            metavar="SHARE",
            rich_help_panel=TRAINING,
            help="Training images kept aside to choose the best epoch; the test images choose "
            "nothing. 0 keeps the last epoch.",
        ),
    ] = 0.1,
    mean: o.Mean = None,
    std: o.Std = None,
    input_size: o.InputSize = None,
    cifar_stem: Annotated[
        bool,
        typer.Option(
            "--cifar-stem",
            rich_help_panel=o.MODEL,
            help="Cut the first layers of a torchvision residual or dense net down for small "
            "images.",
        ),
    ] = False,
    limit: o.Limit = None,
    classes: o.Classes = None,
    download: o.Download = False,
    seed: o.Seed = 0,
    seeds: Annotated[
        int,
        typer.Option(
            "--seeds",
            min=1,
            metavar="N",
            rich_help_panel=o.RUN,
            help="Train N replicates, with the seed and the N - 1 that follow it, each in a "
            "directory seed-K of its own, and show their mean and spread.",
        ),
    ] = 1,
    device: o.Device = "auto",
    precision: Annotated[
        o.Precision,
        typer.Option(
            "--precision",
            rich_help_panel=TRAINING,
            help="Of the model's passes; weights and steps are float32. auto: bfloat16 where the "
            "hardware gains by it.",
        ),
    ] = o.Precision.AUTO,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=0,
            rich_help_panel=o.RUN,
            help="Processes that read images ahead where they do not fit in memory; else chosen.",
        ),
    ] = None,
    threads: o.Threads = None,
    config: o.Config = None,
    debug: o.Debug = False,
    output: o.Output = None,
    dry_run: o.DryRun = False,
    json_output: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Train a network, hardened if you like, to a checkpoint that knows its own preprocessing.

    The run directory gets model.safetensors (the best epoch on the held-out images),
    last.safetensors, history.h5 and a learning curve. Ctrl-C keeps what is good; the same command
    with --output DIR goes on from there and ends as if it had never been interrupted.
    """
    from workbench.replicates import train_replicates
    from workbench.training import train_checkpoint

    request = training_request(ctx)
    console = make_console(json_output=json_output, quiet=quiet)
    if seeds == 1:
        train_checkpoint(request, console)
    elif not train_replicates(request, seeds, console):
        raise typer.Exit(1)


def training_request(ctx: typer.Context) -> "Request":
    """What was asked for on a command line of `workbench train` that has been parsed."""
    from workbench.training_plan import Request

    parsed = o.options(ctx)
    given = {field.name: parsed[field.name] for field in fields(Request) if field.name in parsed}
    texts = {name: str(given[name]) for name in ("optimizer", "schedule", "precision")}
    return Request(
        **{
            **given,
            **texts,
            "defenses": tuple(given["defenses"] or ()),
            "mean": parse_numbers(given["mean"], "--mean"),
            "std": parse_numbers(given["std"], "--std"),
            "arguments": tuple(o.arguments(ctx)),
        }
    )
