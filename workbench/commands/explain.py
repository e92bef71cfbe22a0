"""`workbench explain`: what models look at, and what is inside them."""

from typing import Annotated

import typer

from workbench import options as o
from workbench.console import make_console

VIEW, ATTRIBUTIONS = "What is shown", "Attributions"


def explain(
    ctx: typer.Context,
    data: o.Data,
    checkpoints: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CHECKPOINT...]",
            help="Files with weights, or an architecture's name for published weights "
            "(timm:resnet18). None is needed for --view data.",
        ),
    ] = None,
    view: Annotated[
        str,
        typer.Option(
            "--view",
            "-v",
            metavar="LIST",
            rich_help_panel=VIEW,
            help="With commas; `workbench list views` says what there is.",
        ),
    ] = "attributions",
    layers: Annotated[
        str | None,
        typer.Option(
            "--layers",
            metavar="LIST",
            rich_help_panel=VIEW,
            help="Modules by name, or patterns such as 'layer4.*'; else a view chooses.",
        ),
    ] = None,
    show: Annotated[
        int,
        typer.Option("--show", min=1, rich_help_panel=VIEW, help="Images in a figure, at most."),
    ] = 4,
    of_class: Annotated[
        str | None,
        typer.Option(
            "--class", metavar="CLASS", rich_help_panel=VIEW, help="The class to look into."
        ),
    ] = None,
    superclasses: Annotated[
        str | None,
        typer.Option(
            "--superclasses",
            metavar="FILE|NAME",
            rich_help_panel=VIEW,
            help="Superclass of each class: a file, or a known set; else found by the names.",
        ),
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            "--methods",
            metavar="LIST",
            rich_help_panel=ATTRIBUTIONS,
            help="Of attributions: saliency, integrated-gradients (needs captum), grad-cam; else "
            "all.",
        ),
    ] = None,
    ig_steps: Annotated[
        int,
        typer.Option(
            "--ig-steps",
            min=1,
            rich_help_panel=ATTRIBUTIONS,
            help="Steps of integrated gradients, which start from black.",
        ),
    ] = 50,
    explained: Annotated[
        str,
        typer.Option(
            "--explain",
            metavar="guess|label",
            rich_help_panel=ATTRIBUTIONS,
            help="Whose logit is followed: the model's guess, or the true class.",
        ),
    ] = "guess",
    corruptions: o.Corruptions = "none",
    severities: o.Severities = "1-5",
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
    force: o.Force = False,
    config: o.Config = None,
    debug: o.Debug = False,
    output: o.Output = None,
    dry_run: o.DryRun = False,
    json_output: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Look inside models: what they look at, what their layers hold, what they get wrong.

    Figures are kept as SVG and PNG in a run directory, with the numbers behind them; `workbench
    report RECORD --with DIR` takes them into a report.
    """
    from workbench.explaining import explain_checkpoints

    console = make_console(json_output=json_output, quiet=quiet)
    if not explain_checkpoints(o.options(ctx), o.arguments(ctx), console):
        raise typer.Exit(1)
