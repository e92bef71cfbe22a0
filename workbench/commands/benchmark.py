"""`workbench benchmark`: how often is a model wrong on corrupted images?"""

from pathlib import Path
from typing import Annotated

import typer

from workbench import options as o
from workbench.console import make_console


def benchmark(
    ctx: typer.Context,
    checkpoints: o.Checkpoints,
    data: o.Data,
    corruptions: o.Corruptions = "standard",
    severities: o.Severities = "1-5",
    baseline: Annotated[
        str | None,
        typer.Option(
            "--baseline",
            metavar="alexnet|MODEL",
            rich_help_panel=o.CORRUPTION,
            help="What mCE is relative to: alexnet, whose errors on ImageNet-C are published, or "
            "one of the checkpoints. Without it, errors are not normalised.",
        ),
    ] = None,
    with_extra: Annotated[
        bool,
        typer.Option(
            "--with-extra",
            rich_help_panel=o.CORRUPTION,
            help="Take mCE over the four extra corruptions too; else over the standard 15 alone.",
        ),
    ] = False,
    corrupted: Annotated[
        Path | None,
        typer.Option(
            "--corrupted",
            metavar="DIR",
            rich_help_panel=o.CORRUPTION,
            help="Stored corrupted images of the same --data (CIFAR-C, ImageNet-C, HDF5); else "
            "they are made in memory.",
        ),
    ] = None,
    strengths: o.Strengths = None,
    frost_textures: o.FrostTextures = None,
    exact: o.Exact = False,
    jpeg_85: o.Jpeg85 = False,
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
    shard_size: o.ShardSize = None,
    engine: o.Engine = o.EngineName.LOCAL,
    ray_address: o.RayAddress = None,
    cpus_per_task: o.CpusPerTask = None,
    gpus_per_task: o.GpusPerTask = None,
    force: o.Force = False,
    config: o.Config = None,
    debug: o.Debug = False,
    output: o.Output = None,
    dry_run: o.DryRun = False,
    json_output: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Measure checkpoints under common corruptions: errors, and mCE against a named baseline.

    Images are corrupted in memory, or read from a released set. Results are kept cell by cell in a
    run directory; the same command with --output DIR resumes it, with another --baseline too.
    """
    from workbench.benchmarking import benchmark_checkpoints

    console = make_console(json_output=json_output, quiet=quiet)
    if not benchmark_checkpoints(ctx.params, o.arguments(ctx), console):
        raise typer.Exit(1)
