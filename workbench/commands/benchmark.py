"""`workbench benchmark`: models through a suite of attacks, corruptions and probes."""

from pathlib import Path
from typing import Annotated

import typer

from workbench import options as o
from workbench.console import make_console
from workbench.suite_file import apply_suite

SUITE = "Suite"


def benchmark(
    ctx: typer.Context,
    data: o.Data,
    checkpoints: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CHECKPOINT...]",
            help="Files with weights, or an architecture's name for published weights; none where "
            "the suite names models.",
        ),
    ] = None,
    suite: Annotated[
        str | None,
        typer.Option(
            "--suite",
            "-s",
            metavar="NAME|FILE.toml",
            is_eager=True,
            callback=apply_suite,
            rich_help_panel=SUITE,
            help="What the models are put through, and maybe which models: quick, standard, full "
            "(`workbench list suites`), or a file. Flags win.",
        ),
    ] = None,
    attacks: Annotated[
        list[str] | None,
        typer.Option(
            "--attack",
            "-a",
            metavar="SPEC",
            rich_help_panel=SUITE,
            help="Such as fgsm, or 'pgd(eps=8/255, steps=20)'; repeat for several. In place of "
            "the suite's.",
        ),
    ] = None,
    eps: o.Eps = None,
    targeted: o.Targeted = None,
    judge: o.Judge = None,
    judge_options: o.JudgeOptions = None,
    probes: Annotated[
        list[str] | None,
        typer.Option(
            "--probe",
            metavar="SPEC",
            rich_help_panel=SUITE,
            help="One dial turned on every image, such as 'rotation(angle=30)' or "
            "'gaussian-noise(std=0.1)'; repeat for several. In place of the suite's.",
        ),
    ] = None,
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
    attention: Annotated[
        bool,
        typer.Option(
            "--attention",
            rich_help_panel=o.CORRUPTION,
            help="Measure too how far each corruption moves what the models look at (Grad-CAM).",
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
    precision: o.PrecisionOption = o.Precision.AUTO,
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
    thresholds: o.Thresholds = "0.01,0.1",
    save_images: o.SaveImages = 8,
    keep_images: o.KeepImages = False,
    output: o.Output = None,
    dry_run: o.DryRun = False,
    json_output: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Put models through attacks, corruptions and probes, and keep every number with its images.

    Without a suite these are the 15 standard corruptions at 5 severities, and the attacks and
    probes you name; --corruptions none leaves the first out. A suite in a file may name models by
    architecture, defense and seed: they are trained where they are missing.

    Results are kept cell by cell in a run directory; the same command with --output DIR resumes it,
    with another --baseline too.
    """
    from workbench.benchmarking import benchmark_checkpoints

    console = make_console(json_output=json_output, quiet=quiet)
    if not benchmark_checkpoints(o.options(ctx), o.arguments(ctx), console):
        raise typer.Exit(1)
