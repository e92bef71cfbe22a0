"""Options that several verbs share, and how their texts are read."""

import math
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from workbench.config_file import apply_config
from workbench.errors import UsageError

MODEL, DATA, RUN, OUTPUT = "Model", "Data", "Running", "Output"  # panels of --help
ATTACK, CORRUPTION = "Attack", "Corruptions"


class Precision(StrEnum):
    """What the attacks' gradients are computed in; every success is confirmed in float32."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


def parse_eps(text: str) -> float:
    """A budget written as a fraction or a number of the 0–1 scale.

    A budget above 1 is returned too: an L2 ball may be that wide. See `refuse_large`.

    >>> parse_eps("8/255") == 8 / 255, parse_eps("0.03")
    (True, 0.03)

    Raises:
        UsageError: it is no number, or not above 0.
    """
    top, slash, bottom = text.partition("/")
    try:
        value = float(top) / (float(bottom) if slash else 1.0)
    except (ValueError, ZeroDivisionError):
        raise UsageError(f"--eps {text}: write a fraction such as 8/255, or 0.03.") from None
    if not (math.isfinite(value) and value > 0):
        raise UsageError(f"--eps {text}: the budget must be above 0, such as 8/255.")
    return value


def refuse_large(value: float, where: str) -> None:
    """Refuse an L∞ budget above 1, which moves any image anywhere and is likely meant in 1/255.

    Raises:
        UsageError: ``value`` is above 1; the message proposes value/255.
    """
    if value > 1:
        hint = f"{value:g}/255" if value <= 255 else "8/255"
        raise UsageError(
            f"{where}: images are in [0, 1], so eps is at most 1. Did you mean {hint}?"
        )


def parse_thresholds(text: str) -> tuple[float, ...]:
    """Thresholds of pixel change such as ``0.01,0.1``: ascending, each above 0 and at most 1.

    Raises:
        UsageError: one of them is no such number.
    """
    try:
        values = sorted({float(part) for part in text.split(",") if part.strip()})
    except ValueError:
        values = []
    if not values or not all(0 < value <= 1 for value in values):
        raise UsageError(
            f"--thresholds {text}: write numbers above 0 and up to 1, such as 0.01,0.1."
        )
    return tuple(values)


def parse_numbers(text: str | None, flag: str) -> tuple[float, ...] | None:
    """Comma-separated numbers, one per channel, or None for None.

    Raises:
        UsageError: one of them is no number.
    """
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(
            f"{flag} {text}: write one number per channel, such as 0.5,0.5,0.5."
        ) from None


def arguments(ctx: typer.Context) -> list[str]:
    """The command line as it was written, without the program's name."""
    return list(ctx.obj) if isinstance(ctx.obj, list) else sys.argv[1:]


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
        "--trust", rich_help_panel=MODEL, help="Open files that can execute code (torch.export)."
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
        help="Only these: cat,dog or 3,5.",
    ),
]
Label = Annotated[
    str | None,
    typer.Option(
        "--label", metavar="CLASS", rich_help_panel=DATA, help="The class of a single image."
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
