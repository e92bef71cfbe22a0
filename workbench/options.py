"""Options that several verbs share."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from workbench.config_file import apply_config

MODEL, DATA, RUN, OUTPUT = "Model", "Data", "Running", "Output"  # panels of --help
ATTACK, CORRUPTION = "Attack", "Corruptions"


class Precision(StrEnum):
    """What the attacks' gradients are computed in; every success is confirmed in float32."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class EngineName(StrEnum):
    """Where cells are computed."""

    LOCAL = "local"
    RAY = "ray"


PATHS = ("output", "corrupted", "frost_textures", "config")
"""Parameters of verbs that work from all their options at once, and that are paths."""


def arguments(ctx: typer.Context) -> list[str]:
    """The command line as it was written, without the program's name."""
    return list(ctx.obj) if isinstance(ctx.obj, list) else sys.argv[1:]


def options(ctx: typer.Context) -> dict[str, Any]:
    """The parsed command line by its parameters.

    typer before 0.28 converts paths only for the verb's function, and leaves texts in the context.
    """
    return {
        name: Path(value) if name in PATHS and isinstance(value, str) else value
        for name, value in ctx.params.items()
    }


Records = Annotated[
    list[Path],
    typer.Argument(
        metavar="RECORD...",
        help="Records, or the run directories that they are in; several are of the same data.",
    ),
]

ComparedWith = Annotated[
    str | None,
    typer.Option(
        "--baseline",
        metavar="MODEL|ROW",
        help="The row that all others are tested against and, where it is a model's name, what "
        "mCE is relative to; else the record's own baseline, or the first row.",
    ),
]
Fold = Annotated[
    bool,
    typer.Option(
        "--fold/--no-fold",
        help="Put models that are the same training with other seeds into one row.",
    ),
]

Checkpoints = Annotated[
    list[str],
    typer.Argument(
        metavar="CHECKPOINT...",
        help="Files with weights, or an architecture's name for published weights (timm:resnet18).",
    ),
]
Checkpoint = Annotated[
    str,
    typer.Argument(metavar="CHECKPOINT", help="A file with weights, or an architecture's name."),
]

Arch = Annotated[
    str | None,
    typer.Option(
        "--arch",
        metavar="NAME",
        rich_help_panel=MODEL,
        help="Architecture: a name of `workbench list architectures`, timm:NAME, or "
        "file.py:function. Checkpoints of our own know theirs.",
    ),
]
Mean = Annotated[
    str | None,
    typer.Option(
        "--mean",
        metavar="NUMBERS",
        rich_help_panel=MODEL,
        help="Per channel: 0.49,0.48,0.45.",
    ),
]
Std = Annotated[
    str | None,
    typer.Option("--std", metavar="NUMBERS", rich_help_panel=MODEL, help="Like --mean."),
]
InputSize = Annotated[
    int | None,
    typer.Option(
        "--input-size",
        metavar="PIXELS",
        min=1,
        rich_help_panel=MODEL,
        help="Side that the network wants; images are resized inside the model.",
    ),
]
Channels = Annotated[
    int | None,
    typer.Option("--channels", min=1, rich_help_panel=MODEL, help="Channels the network wants."),
]
NumClasses = Annotated[
    int | None,
    typer.Option("--num-classes", min=2, rich_help_panel=MODEL, help="Classes the network tells."),
]
ClassNames = Annotated[
    str | None,
    typer.Option(
        "--class-names",
        metavar="LIST|FILE",
        rich_help_panel=MODEL,
        help="Names of the network's outputs in their order: cat,dog, or a file with one a line. "
        "Data with the same names in another order are matched by them.",
    ),
]
CifarStem = Annotated[
    bool,
    typer.Option(
        "--cifar-stem",
        rich_help_panel=MODEL,
        help="torchvision net whose first layers were cut down for small images.",
    ),
]
Bgr = Annotated[
    bool, typer.Option("--bgr", rich_help_panel=MODEL, help="The network wants channels as BGR.")
]
Scale255 = Annotated[
    bool,
    typer.Option("--scale255", rich_help_panel=MODEL, help="The network wants 0 to 255."),
]
Probabilities = Annotated[
    bool | None,
    typer.Option(
        "--probabilities/--logits",
        rich_help_panel=MODEL,
        help="The network ends in a softmax, or does not; found out when not said.",
    ),
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        rich_help_panel=MODEL,
        help="Open files that can execute code (torch.export), and run the file that a checkpoint "
        "was built with.",
    ),
]

Data = Annotated[
    str,
    typer.Option(
        "--data",
        "-d",
        metavar="SOURCE",
        rich_help_panel=DATA,
        help="A name of `workbench list datasets`, or a path: folder of images by class, IDX, "
        ".npz, HDF5, CIFAR batches, one image, CIFAR-10-C/fog/3.",
    ),
]
Split = Annotated[
    str, typer.Option("--split", rich_help_panel=DATA, help="Which part of the data.")
]
Limit = Annotated[
    int | None,
    typer.Option(
        "--limit",
        "-n",
        min=1,
        rich_help_panel=DATA,
        help="At most this many images.",
    ),
]
Classes = Annotated[
    str | None,
    typer.Option(
        "--classes",
        metavar="LIST",
        rich_help_panel=DATA,
        callback=lambda text: None if text == "all" else text,
        help="Only these: cat,dog or 3,5; or all.",
    ),
]
Label = Annotated[
    str | None,
    typer.Option(
        "--label",
        metavar="CLASS",
        rich_help_panel=DATA,
        help="The class of a single image: its name or its index.",
    ),
]
Download = Annotated[
    bool, typer.Option("--download", rich_help_panel=DATA, help="Fetch the data set if missing.")
]

Eps = Annotated[
    str | None,
    typer.Option(
        "--eps",
        metavar="FRACTION",
        rich_help_panel=ATTACK,
        help="Budget, such as 8/255, of every attack that has one.",
    ),
]
Targeted = Annotated[
    str | None,
    typer.Option(
        "--targeted",
        metavar="RULE|CLASS",
        rich_help_panel=ATTACK,
        help="Aim at random, least-likely or next, or at one class for all.",
    ),
]

Judge = Annotated[
    str | None,
    typer.Option(
        "--judge",
        metavar="CHECKPOINT",
        rich_help_panel=ATTACK,
        help="A model that is not attacked and reads what attacks make: how often does it, too, "
        "see the new class?",
    ),
]
JudgeOptions = Annotated[
    str | None,
    typer.Option(
        "--judge-options",
        metavar="NAME=VALUE,...",
        rich_help_panel=ATTACK,
        help="What the judge is, in place of the flags of the models, which else hold for it too: "
        "'arch=timm:resnet18, mean=0.5,0.5,0.5, std=0.2,0.2,0.2'.",
    ),
]

Thresholds = Annotated[
    str,
    typer.Option(
        "--thresholds",
        metavar="LIST",
        rich_help_panel=OUTPUT,
        help="Count the pixels that changed by more than these shares of their range.",
    ),
]
SaveImages = Annotated[
    int,
    typer.Option(
        "--save-images",
        min=0,
        rich_help_panel=OUTPUT,
        help="Pictures for each model and attack: original, result, difference.",
    ),
]
KeepImages = Annotated[
    bool,
    typer.Option(
        "--keep-images",
        rich_help_panel=OUTPUT,
        help="Keep every attacked image in the record, so that `workbench verify` can "
        "confirm each claim.",
    ),
]

Corruptions = Annotated[
    str,
    typer.Option(
        "--corruptions",
        metavar="LIST",
        rich_help_panel=CORRUPTION,
        help="standard (15), extra (4), all, families (noise, blur, weather, digital) or names, "
        "with commas.",
    ),
]
Severities = Annotated[
    str,
    typer.Option(
        "--severities", metavar="LIST", rich_help_panel=CORRUPTION, help="1-5, 3 or 1,3,5."
    ),
]
Strengths = Annotated[
    int | None,
    typer.Option(
        "--strengths",
        metavar="32|64|224",
        rich_help_panel=CORRUPTION,
        help="Strengths published for images of this size; else those nearest to the images'.",
    ),
]
FrostTextures = Annotated[
    Path | None,
    typer.Option(
        "--frost-textures",
        metavar="DIR",
        rich_help_panel=CORRUPTION,
        help="Pictures of frost to use in place of the built-in textures.",
    ),
]
Exact = Annotated[
    bool,
    typer.Option(
        "--exact",
        rich_help_panel=CORRUPTION,
        help="Compute in float64 as published: slower, one grey level different in few values.",
    ),
]
Jpeg85 = Annotated[
    bool,
    typer.Option(
        "--jpeg-85",
        rich_help_panel=CORRUPTION,
        help="JPEG of quality 85 after each corruption, as ImageNet-C was stored.",
    ),
]

Seed = Annotated[
    int, typer.Option("--seed", min=0, rich_help_panel=RUN, help="Same seed, same result.")
]
Device = Annotated[
    str,
    typer.Option("--device", rich_help_panel=RUN, help="auto, cpu, cuda, cuda:1, mps."),
]
PrecisionOption = Annotated[
    Precision,
    typer.Option(
        "--precision", rich_help_panel=RUN, help="Of gradients; successes are confirmed in float32."
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option("--batch-size", min=1, rich_help_panel=RUN, help="Images at once; else chosen."),
]
Threads = Annotated[
    int | None,
    typer.Option("--threads", min=1, rich_help_panel=RUN, help="CPU threads; else torch's choice."),
]
ShardSize = Annotated[
    int | None,
    typer.Option(
        "--shard-size",
        min=1,
        rich_help_panel=RUN,
        help="Images per cell; a kill costs at most one cell. Else chosen by image size.",
    ),
]
Engine = Annotated[
    EngineName,
    typer.Option(
        "--engine",
        rich_help_panel=RUN,
        help="Compute cells in this process, or several at once on Ray: on this machine, or on a "
        "cluster with --ray-address.",
    ),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray-address",
        metavar="auto|HOST:PORT",
        rich_help_panel=RUN,
        help="A running Ray cluster; else one is started on this machine.",
    ),
]
CpusPerTask = Annotated[
    float | None,
    typer.Option(
        "--cpus-per-task",
        metavar="NUMBER",
        rich_help_panel=RUN,
        help="Cores that Ray keeps for a cell; else as many as --threads.",
    ),
]
GpusPerTask = Annotated[
    float | None,
    typer.Option(
        "--gpus-per-task",
        metavar="NUMBER",
        rich_help_panel=RUN,
        help="GPUs, or the share of one, that Ray keeps for a cell; else 1 with --device cuda.",
    ),
]
Force = Annotated[
    bool,
    typer.Option("--force", rich_help_panel=RUN, help="Go on with a model that is near chance."),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE.toml|RECIPE",
        is_eager=True,
        callback=apply_config,
        rich_help_panel=RUN,
        help="Settings from a table named like the verb, or from a recipe of `workbench list "
        "recipes`; flags win.",
    ),
]
RecordPath = Annotated[
    Path, typer.Argument(metavar="RECORD", help="A record.h5, or the run directory it is in.")
]
Debug = Annotated[
    bool, typer.Option("--debug", rich_help_panel=RUN, help="Show the traceback of an error.")
]

Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="DIR",
        rich_help_panel=OUTPUT,
        help="Run directory; the same command resumes in it. Else a new one in runs/.",
    ),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", rich_help_panel=OUTPUT, help="Say what would be done, and stop."),
]
Json = Annotated[
    bool, typer.Option("--json", rich_help_panel=OUTPUT, help="One JSON document on stdout.")
]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet", "-q", rich_help_panel=OUTPUT, help="On stdout only what a script needs next."
    ),
]
