"""`workbench attack`: how far must each image move before the model is wrong?"""

from typing import Annotated

import typer

from workbench import options as o
from workbench.console import make_console

ATTACK = "Attack"


def attack(
    ctx: typer.Context,
    checkpoints: o.Checkpoints,
    data: o.Data,
    attacks: Annotated[
        list[str],
        typer.Option(
            "--attack",
            "-a",
            metavar="SPEC",
            rich_help_panel=ATTACK,
            help="Such as fgsm, or 'pgd(eps=8/255, steps=20)'; see `workbench list attacks`. "
            "Repeat for several.",
        ),
    ],
    eps: o.Eps = None,
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps", min=1, rich_help_panel=ATTACK, help="Steps of every attack that has them."
        ),
    ] = None,
    targeted: o.Targeted = None,
    judge: o.Judge = None,
    judge_options: o.JudgeOptions = None,
    shrink: Annotated[
        bool,
        typer.Option(
            "--shrink",
            rich_help_panel=ATTACK,
            help="Move each success back toward its original while it stays one.",
        ),
    ] = False,
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
    precision: o.PrecisionOption = o.Precision.AUTO,
    batch_size: o.BatchSize = None,
    threads: o.Threads = None,
    shard_size: o.ShardSize = None,
    force: o.Force = False,
    config: o.Config = None,
    debug: o.Debug = False,
    thresholds: o.Thresholds = "0.01,0.1",
    save_images: o.SaveImages = 8,
    keep_images: o.KeepImages = False,
    output: o.Output = None,
    dry_run: o.DryRun = False,
    json_output: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Attack checkpoints on a data set: a table, a record and pictures.

    Every success is confirmed in float32, as it is and after rounding to 8 bits. Results are kept
    cell by cell in a run directory; the same command with --output DIR resumes it.
    """
    from workbench.attacking import attack_checkpoints

    console = make_console(json_output=json_output, quiet=quiet)
    if not attack_checkpoints(o.options(ctx), o.arguments(ctx), console):
        raise typer.Exit(1)
