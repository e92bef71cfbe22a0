"""The models of a suite: checkpoints, and networks that are trained where they are missing.

A table ``[[models]]`` of a suite is one of two. ``checkpoint`` names a file, or an architecture
with published weights; ``name`` and the options of a model (``arch``, ``mean``, ``std``, ...) stand
beside it where they are needed. ``architectures`` × ``defenses`` × ``seeds`` are networks to train:
a defense is a spec, a list of specs, or ``none``; ``train`` holds options of `workbench train`, and
``name`` is what the networks are called in place of architecture and defenses. In ``name`` and in
texts of ``train``, ``{arch}`` stands for the architecture.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, product
from pathlib import Path
from typing import Any, cast

import typer

from workbench.commands.train import train, training_request
from workbench.console import Console
from workbench.errors import UsageError, unknown
from workbench.estimating import TO_TRAIN
from workbench.materials import check
from workbench.models import LoadedModel, ModelOptions
from workbench.models.architectures import read_arch
from workbench.models.factories import is_factory
from workbench.run_directory import read_description, refuse_other, slug
from workbench.subjects import MODEL_SETTINGS, Options, Wanted, model_options
from workbench.tables import short_spec
from workbench.training import RESULTS, Diverged, prepared, train_one
from workbench.training_plan import Request, Splits, load_splits, make_start, make_task
from workbench.training_view import BEST

UNDEFENDED = ("none", "plain", "")
MODELS = "models"  # the folder of a run directory that the trainings are in
OF_CHECKPOINT = ("checkpoint", "name", *MODEL_SETTINGS)
OF_TRAINING = ("architectures", "defenses", "seeds", "train", "name")
ARCH = "{arch}"  # in texts of a table that names trainings: the architecture
TOLD = (
    *("arch", "data", "seed", "limit", "classes", "epochs", "batch_size", "momentum"),
    *("weight_decay", "optimizer", "schedule", "hold_out"),
)
"""Settings of a training that its run directory tells, and that need no data to be known."""
DECIDED = (
    "output",
    "seed",
    "seeds",
    "dry-run",
    "json",
    "quiet",
    "debug",
    "device",
    "threads",
    "help",
)


@dataclass(frozen=True)
class Training:
    """A network that the suite names by how it is trained.

    Attributes:
        name: what tables call it.
        request: of the training; its output is where the run directory is or will be.
    """

    name: str
    request: Request

    @property
    def checkpoint(self) -> Path:
        """Where the trained network is or will be."""
        return Path(self.request.output or "") / BEST

    @property
    def is_finished(self) -> bool:
        """Whether the training has ended, as far as the files there say."""
        return (Path(self.request.output or "") / RESULTS).is_file()

    @property
    def wanted(self) -> Wanted:
        """The trained network; the suite itself names the code that builds it, if there is any."""
        arch = self.request.arch
        options = ModelOptions(arch=arch if is_factory(arch) else None)
        return Wanted(str(self.checkpoint), self.name, options)


def suite_models(
    tables: Sequence[Mapping[str, Any]], options: Options, output: Path
) -> list[Wanted | Training]:
    """The models that a suite names, in its order.

    Args:
        tables: the suite's ``[[models]]``.
        options: of `workbench benchmark`: data, device and the like.
        output: the run directory.

    Raises:
        UsageError: a table is not written as it should be, or two models are the same.
    """
    found: list[Wanted | Training] = []
    for number, table in enumerate(tables, 1):
        where = f"[[models]] number {number} of the suite"
        keys = OF_CHECKPOINT if "checkpoint" in table else OF_TRAINING
        for key in table:
            if key.replace("-", "_") not in keys:
                raise UsageError(f"{where}: {unknown('setting', key, keys)}")
        if "checkpoint" in table:
            found.append(_checkpoint(table, options, where))
        else:
            found += _trainings(table, options, output / MODELS, where)
    names = [each.name for each in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"The suite names two models {twice!r}; give one another name.")
    return _told_apart(found)


def train_missing(
    models: Iterable[Wanted | Training], console: Console, command: str
) -> Iterator[Wanted]:
    """The checkpoints of the models, those that are missing trained first; a finished one is read.

    A training that diverges is told and left out.

    Args:
        models: of the suite.
        console: hears of every epoch.
        command: the command line that goes on after an interruption.

    Raises:
        UsageError: a training cannot be begun or gone on with.
        Interrupted: Ctrl-C.
    """
    known: dict[object, Splits] = {}
    for each in models:
        if isinstance(each, Wanted):
            yield each
            continue
        try:
            with prepared(each.request, console) as (request, device, listener):
                key = (request.data, request.classes, request.limit)
                if key not in known:
                    known[key] = load_splits(request, listener)
                if not each.is_finished:
                    console.note(f"training {each.name}:")
                task = make_task(request, known[key])
                train_one(request, task, make_start(request, task), device, listener, command)
        except Diverged as error:
            console.error(f"{each.name} is left out: {' '.join(str(error).split())}")
            continue
        yield each.wanted


def refuse_other_training(training: Training) -> None:
    """Refuse a folder in which the network was trained with other settings, before long work.

    Raises:
        UsageError: some of the settings that are known without the data differ.
    """
    folder, request = Path(training.request.output or ""), training.request
    if not (folder / "config.json").exists():
        return
    there = read_description(folder)["config"]
    here = {name: getattr(request, name) for name in TOLD} | {"lr": request.rate}
    refuse_other(folder, {name: there.get(name) for name in here}, here)


def untrained(training: Training, console: Console) -> Wanted:
    """The network of a training before it has learned, to see what measuring it would cost."""
    request = training.request
    task = make_task(request, load_splits(request, console))
    model = make_start(request, task).model.eval()
    parameters = sum(weight.numel() for weight in model.parameters())
    learned = request.epochs * len(task.fitted)
    description = {"arch": request.arch, "parameters": parameters, TO_TRAIN: learned}
    loaded = LoadedModel(training.name, model, f"untrained: {request}", description)
    return replace(training.wanted, loaded=loaded)


def _checkpoint(table: Mapping[str, Any], options: Options, where: str) -> Wanted:
    given = {key.replace("-", "_"): value for key, value in table.items()}
    checkpoint = given.pop("checkpoint")
    name = given.pop("name", checkpoint)
    for key, value in given.items():
        if not isinstance(value, MODEL_SETTINGS[key]):
            kind = " or ".join(each.__name__ for each in MODEL_SETTINGS[key])
            raise UsageError(f"{where}: {key} is a {kind}, not {value!r}.")
    texts = {
        key: ",".join(map(str, value)) if isinstance(value, list) else value
        for key, value in given.items()
    }
    if not isinstance(checkpoint, str) or not isinstance(name, str):
        raise UsageError(f"{where}: checkpoint and name are texts.")
    return Wanted(checkpoint, name, model_options({**options, **texts}))


def _trainings(
    table: Mapping[str, Any], options: Options, folder: Path, where: str
) -> Iterator[Training]:
    if "architectures" not in table:
        raise UsageError(f"{where} has neither a checkpoint nor architectures.")
    architectures = _listed(table["architectures"])
    defenses = [_listed(each) for each in _listed(table.get("defenses", ["none"]))]
    for key, texts in (("architectures", architectures), ("defenses", chain(*defenses))):
        other = next((each for each in texts if not isinstance(each, str)), None)
        if other is not None:
            raise UsageError(f"{where}: {key} are texts, not {other!r}.")
    seeds = table.get("seeds", [options["seed"]])
    if not isinstance(seeds, list) or not all(type(seed) is int for seed in seeds):
        # `workbench train --seeds 3` trains three; here it might be one of seed 3.
        raise UsageError(f"{where}: seeds are a list of numbers, such as [0, 1, 2], not {seeds!r}.")
    for key, given in (("architectures", architectures), ("defenses", defenses), ("seeds", seeds)):
        if not given:
            raise UsageError(f"{where}: {key} is empty, so there is nothing to train.")
    called = table.get("name")
    if called is not None and not (isinstance(called, str) and called.strip()):
        raise UsageError(f"{where}: name is a text, not {called!r}.")
    told_apart = len(architectures) if ARCH in (called or "") else 1
    if called is not None and len(architectures) * len(defenses) > told_apart:
        raise UsageError(
            f"{where}: a name is for one network with one defense, whatever the seeds "
            f"({ARCH} in it stands for the architecture); "
            f"these are {len(architectures)} with {len(defenses)}."
        )
    settings = table.get("train", {})
    if not isinstance(settings, dict):
        raise UsageError(f"{where}: train is a table of options, such as {{ epochs = 10 }}.")
    refused = next((key for key in settings if key.replace("_", "-") in DECIDED), None)
    if refused is not None:
        raise UsageError(f"{where}: {refused} is not set for each training, but for the run.")
    for arch, specs, seed in product(architectures, defenses, seeds):
        mine = [spec for spec in specs if spec not in UNDEFENDED]
        name = ", ".join([short_spec(arch), *(mine or ["plain"])])
        if called is not None:
            name = called.replace(ARCH, short_spec(arch))
        name += f", seed {seed}" if len(seeds) > 1 else ""
        flags = ["--data", options["data"], "--seed", seed, "--device", options["device"]]
        flags += ["--threads", options["threads"]] if options["threads"] else []
        flags += ["--download"] if options["download"] else []
        flags += ["--classes", options["classes"]] if options["classes"] else []
        flags += [flag for key, value in settings.items() for flag in _flags(key, value, arch)]
        flags += [flag for spec in mine for flag in ("--defense", spec)]
        arguments = [str(each) for each in (arch, *flags)]
        request = replace(_request(arguments, where), output=folder / slug(name, limit=100))
        _refuse_misspelt(request)
        yield Training(name, request)


def _told_apart(models: Sequence[Wanted | Training]) -> list[Wanted | Training]:
    """The models, each training in a folder of its own: a long name is cut off before its seed."""
    count = Counter(each.request.output for each in models if isinstance(each, Training))
    apart: list[Wanted | Training] = []
    for each in models:
        output = each.request.output if isinstance(each, Training) else None
        if isinstance(each, Training) and output is not None and count[output] > 1:
            digest = hashlib.sha256(each.name.encode()).hexdigest()[:8]
            request = replace(each.request, output=output.with_name(f"{output.name}-{digest}"))
            apart.append(replace(each, request=request))
        else:
            apart.append(each)
    return apart


def _request(arguments: Sequence[str], where: str) -> Request:
    """The training that a command line of `workbench train` asks for."""
    app = typer.Typer()
    app.command("train")(train)
    command = typer.main.get_command(app)
    problem: type[Exception] = typer.BadParameter.__mro__[1]  # typer gives its base no public name
    try:
        context = command.make_context("train", list(arguments), obj=["train", *arguments])
    except problem as error:
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        raise UsageError(f"{where}, train: {' '.join(message.split())}") from error
    return training_request(cast("typer.Context", context))


def _refuse_misspelt(request: Request) -> None:
    """Tell a wrong name now, and not when the networks before it have been trained."""
    check(request.defenses)
    if not is_factory(request.arch):
        read_arch(request.arch)


def _flags(key: str, value: object, arch: str) -> list[object]:
    """An option as flags: ``epochs = 3`` is ``--epochs 3``, ``true`` a flag alone."""
    flag = "--" + key.replace("_", "-")
    if isinstance(value, bool):
        return [flag] if value else []
    texts = [one.replace(ARCH, arch) if isinstance(one, str) else one for one in _listed(value)]
    return [each for one in texts for each in (flag, one)]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
