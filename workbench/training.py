"""What `workbench train` does, from the request to checkpoints, a history and a table."""

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from attacks.execution import Execution
from benchmarks.history import best_epoch, write_history
from benchmarks.intervals import wilson
from defenses import DivergenceError, Epoch, Resume, evaluate, train
from defenses.defense import smoothed
from workbench.console import Console
from workbench.devices import resolve_device
from workbench.errors import Interrupted, UsageError, explain
from workbench.fine_tuning import Start
from workbench.learning_curve import Curve, save_learning_curve
from workbench.materials import check
from workbench.models import Classifier, save_checkpoint
from workbench.plugins import add_plugins
from workbench.processes import (
    from_first,
    is_first,
    joined,
    left_alone,
    local_device,
    one_first,
    restart_command,
)
from workbench.reading_ahead import labels, readable
from workbench.resume_state import forget, save_state, take_up
from workbench.run_directory import RunDirectory, open_run, write_atomically
from workbench.training_plan import (
    Request,
    Task,
    config,
    load_splits,
    make_start,
    make_task,
    metadata,
    versions,
)
from workbench.training_view import BEST, curve_title, line, setting_lines, show, watcher

LAST = "last.safetensors"
HISTORY, RESULTS = "history.h5", "results.json"


class Diverged(UsageError):  # noqa: N818  (as `Interrupted`)
    """The training diverged; the message says in which epoch, and what was kept."""


class Prepared(NamedTuple):
    """A request with its precision and device resolved, the device, and who hears of it."""

    request: Request
    device: torch.device
    console: Console


class Trained(NamedTuple):
    """What came of a training, and the run directory that holds it."""

    result: dict[str, Any]
    run: Path


def train_checkpoint(request: Request, console: Console) -> None:
    """Train a network, keep the best and the last epoch in a run directory, and show how it went.

    Raises:
        UsageError: for settings, data or an output directory that cannot be used.
        Diverged: the training diverged; what was kept is said.
        Interrupted: Ctrl-C; says what was kept and how to go on.
    """
    with prepared(request, console) as settled:
        _train_checkpoint(*settled)


def _train_checkpoint(request: Request, device: torch.device, console: Console) -> None:
    splits = one_first(lambda: load_splits(request, console))
    task = one_first(lambda: make_task(request, splits))
    start = one_first(lambda: make_start(request, task))
    count = announce(request, task, start, device, console)
    if request.dry_run:
        settings = config(request, task, start)
        console.show(*setting_lines(settings))
        console.document({"dry_run": True, "config": settings, "weights": count})
        return
    show(*train_one(request, task, start, device, console), console)


@contextmanager
def prepared(request: Request, console: Console) -> Iterator[Prepared]:
    """See what can be seen before any data are read, and be one of torchrun's processes, if any.

    Raises:
        UsageError: settings that cannot be trained with.
    """
    if not (math.isfinite(request.rate) and request.rate > 0):
        raise UsageError(f"--lr {request.rate:g}: the learning rate must be above 0.")
    console = replace(console, mute=not is_first())
    add_plugins(["defenses", "corruptions"], console)
    # A misspelt defense, or one with a loss that cannot be smoothed, is told before data are read.
    smoothed(check(request.defenses).loss, request.label_smoothing)
    device = resolve_device(local_device(request.device), request.threads)
    dtype = Execution(request.precision).dtype(device)
    with joined(device):
        precision = str(dtype).removeprefix("torch.")
        yield Prepared(replace(request, precision=precision, device=str(device)), device, console)


@contextmanager
def opened(request: Request, settings: Mapping[str, Any]) -> Iterator[RunDirectory]:
    """The run directory of a training, opened by the first process and known to all."""
    with ExitStack() as stack:

        def first() -> RunDirectory:
            run = stack.enter_context(
                open_run(
                    request.output,
                    verb="train",
                    name=request.arch,
                    config=settings,
                    arguments=request.arguments,
                )
            )
            return replace(run, command=restart_command(run.command))

        yield from_first(first)


def announce(
    request: Request, task: Task, start: Start, device: torch.device, console: Console
) -> int:
    """Say what will be trained on what; returns the number of weights."""
    for notice in start.notices:
        console.note(notice)
    count = sum(weight.numel() for weight in start.model.parameters())
    console.note(
        f"{request.arch} with {count:,} weights on {device}; {len(task.fitted):,} images of "
        f"{request.data}" + (f", {len(task.held_out):,} held out" if task.held_out else "")
    )
    return count


def train_one(
    request: Request,
    task: Task,
    start: Start,
    device: torch.device,
    console: Console,
    command: str | None = None,
) -> Trained:
    """Train in a run directory, or take up what is there; a finished training is only read.

    Args:
        request: what was asked for.
        task: its data.
        start: its network, trained in place.
        device: where.
        console: hears of every epoch.
        command: what goes on after an interruption, if not the command of this run.

    Raises:
        UsageError: the directory cannot be used, or something failed; what was kept is said.
        Diverged: the training diverged.
        Interrupted: Ctrl-C.
    """
    with opened(request, config(request, task, start)) as run:
        results = run.path / RESULTS
        if from_first(results.exists):
            console.note(f"{run.path} is finished; nothing to train.")
            found = from_first(lambda: json.loads(results.read_text(encoding="utf-8")))
            if is_first():
                forget(run)
            return Trained(found, run.path)
        history, resume, weights = from_first(lambda: _taken_up(run, start.model))
        if weights is not None:
            if not is_first():
                start.model.network.load_state_dict(weights)
            else:
                _keep_rest(request, task, start, history, run)
        go_on = f"Go on with: {command or run.command}"
        with _telling(request, task, history, run, go_on):
            _train(request, task, start, device, run, console, history, resume)
            result = _result(request, task, start.model, history, run, device)
            if is_first():
                _draw(request, task, history, run)
                write_atomically(results, (json.dumps(result, indent=2) + "\n").encode())
        if is_first():
            forget(run)
        return Trained(result, run.path)


@contextmanager
def _telling(
    request: Request,
    task: Task,
    history: list[dict[str, Any]],
    run: RunDirectory,
    go_on: str,
) -> Iterator[None]:
    """Whatever ends a training, say what of it is kept and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(f"Interrupted {_kept(history, run)}\n{go_on}") from None
    except DivergenceError as error:
        if history and is_first():
            _draw(request, task, history, run)
        raise Diverged(f"{error}\nStopped {_kept(history, run)}") from error
    except ValueError as error:
        raise UsageError(f"{error}\nStopped {_kept(history, run)}") from error
    except OSError as error:
        what = explain(error).partition("\n")[0]
        raise UsageError(f"{what}\nStopped {_kept(history, run)} {go_on}") from error
    except RuntimeError as error:
        if "Expected to have finished reduction" in str(error):
            raise UsageError(
                f"{request.arch} has weights that its loss does not use, which several "
                "processes cannot train; train it in one."
            ) from error
        if not left_alone(error):
            raise
        raise UsageError(
            f"Another process has ended. Stopped {_kept(history, run)}\n{go_on}"
        ) from error


def _train(
    request: Request,
    task: Task,
    start: Start,
    device: torch.device,
    run: RunDirectory,
    console: Console,
    history: list[dict[str, Any]],
    resume: Resume | None,
) -> None:
    """Train what is left, add each epoch to the history, and keep what is good after it."""
    validation = None
    if task.held_out is not None:
        validation = (readable(task.held_out, device, request.workers), labels(task.held_out))
    total = (request.epochs - len(history)) * len(task.fitted)
    with console.progress(total, unit="images", description="training") as progress:
        watch = watcher(progress.advance, request.epochs)
        epochs = train(
            start.model,
            readable(task.fitted, device, request.workers),
            labels(task.fitted),
            epochs=request.epochs,
            batch_size=request.batch_size,
            lr=request.rate,
            momentum=request.momentum,
            weight_decay=request.weight_decay,
            optimizer=request.optimizer,
            schedule=request.schedule,
            warmup=request.warmup,
            spare_norms=request.spare_norms,
            label_smoothing=request.label_smoothing,
            ema=request.ema,
            seed=request.seed,
            device=device,
            precision=request.precision,
            defense=task.defense,
            ids=torch.from_numpy(task.fitted.ids()),
            validation=validation,
            watch=watch,
            resume=resume,
        )
        for epoch in epochs:
            history.append(_entry(epoch))
            try:
                if is_first():
                    _keep(request, task, start, epoch, history, run)
            except OSError:
                history.pop()  # this epoch was not kept: it will be trained again
                raise
            console.note(line(history[-1]))


def _taken_up(
    run: RunDirectory, model: Classifier
) -> tuple[list[dict[str, Any]], Resume | None, dict[str, Tensor] | None]:
    """Load what an interrupted run left; the epochs so far, how to go on, and the weights."""

    def use(state: dict[str, Any]) -> tuple[list[dict[str, Any]], Resume, dict[str, Tensor]]:
        model.network.load_state_dict(state["weights"])
        resume = Resume(state["epoch"], state["optimizer"], state.get("beside_the_average"))
        return list(state["history"]), resume, dict(state["weights"])

    return take_up(run, use) or ([], None, None)


def _keep(
    request: Request,
    task: Task,
    start: Start,
    epoch: Epoch,
    history: list[dict[str, Any]],
    run: RunDirectory,
) -> None:
    """Write the last checkpoint, the state to go on from and, if it is, the best checkpoint."""
    network = start.model.network
    save_checkpoint(run.path / LAST, network, metadata(request, task, start, history[-1]))
    state = {
        "epoch": epoch.number,
        "weights": network.state_dict(),
        "optimizer": epoch.resume.optimizer,
        "beside_the_average": epoch.resume.weights,
        "history": history,
    }
    # Before the rest, which it makes again: an epoch that was the best, trained anew because the
    # state did not hold it, might be none, and the best would be lost.
    save_state(run, state)
    _keep_rest(request, task, start, history, run)


def _keep_rest(
    request: Request, task: Task, start: Start, history: list[dict[str, Any]], run: RunDirectory
) -> None:
    """Write the best checkpoint if the last epoch is it, and the history.

    The network holds the weights of that epoch.
    """
    if best_epoch(history, last=task.last_counts) == len(history):
        described = metadata(request, task, start, history[-1])
        save_checkpoint(run.path / BEST, start.model.network, described)
    write_history(
        run.path / HISTORY,
        history,
        config=config(request, task, start),
        seed=request.seed,
        device=str(next(start.model.parameters()).device),
        checkpoint=BEST,
        versions=versions(),
        complete=len(history) == request.epochs,
    )


def _result(
    request: Request,
    task: Task,
    model: Classifier,
    history: list[dict[str, Any]],
    run: RunDirectory,
    device: torch.device,
) -> dict[str, Any]:
    from safetensors.torch import load_file

    best = history[best_epoch(history, last=task.last_counts) - 1]
    model.network.load_state_dict(from_first(lambda: load_file(run.path / BEST)))
    result = {
        "arch": request.arch,
        "data": request.data,
        "best_epoch": best["epoch"],
        "training_images": len(task.fitted),
        "validation_images": len(task.held_out) if task.held_out else 0,
        "validation_error": best["validation_error"],
        "test_images": 0,
        "test_error": None,
        "test_error_interval": None,
        "seconds": sum(entry["seconds"] for entry in history),
        "history": history,
    }
    if task.test is not None:
        _, error = evaluate(
            model.to(device),
            readable(task.test, device, request.workers),
            labels(task.test),
            device=device,
        )
        wrong = round(error * len(task.test))
        result["test_images"] = len(task.test)
        result["test_error"] = error
        result["test_error_interval"] = wilson(wrong, len(task.test)).tolist()
    return result


def _draw(request: Request, task: Task, history: list[dict[str, Any]], run: RunDirectory) -> None:
    curve = Curve(history, best_epoch(history, last=task.last_counts))
    save_learning_curve(run.path, [curve], curve_title(request, task))


def _entry(epoch: Epoch) -> dict[str, Any]:
    fields = {item.name for item in dataclasses.fields(epoch)} - {"number", "epochs", "resume"}
    values = {name: getattr(epoch, name) for name in sorted(fields)}
    return {"epoch": epoch.number, **values, "images_per_second": epoch.images_per_second}


def _kept(history: list[dict[str, Any]], run: RunDirectory) -> str:
    if not history or not (run.path / BEST).exists():
        return "before the first epoch was finished; there is no checkpoint yet."
    return f"after epoch {len(history)}; the best so far is kept in {run.path / BEST}."
