"""`workbench check`: is this checkpoint given its images the way it wants them?"""

import typer

from workbench import options as o
from workbench.console import make_console


def check(
    ctx: typer.Context,
    checkpoint: o.Checkpoint,
    data: o.Data,
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
    limit: o.Limit = 500,
    classes: o.Classes = None,
    label: o.Label = None,
    download: o.Download = False,
    seed: o.Seed = 0,
    device: o.Device = "auto",
    batch_size: o.BatchSize = None,
    threads: o.Threads = None,
    config: o.Config = None,
    debug: o.Debug = False,
    json_output: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Measure clean accuracy as configured and under what is usually wrong; recommend flags.

    Tried are the usual normalisations, BGR order, the 0 to 255 range, input sizes and orders of
    the classes; a softmax at the end and layers left in train mode are looked for.
    """
    from workbench.checking import check_checkpoint

    check_checkpoint(o.options(ctx), make_console(json_output=json_output, quiet=quiet))
