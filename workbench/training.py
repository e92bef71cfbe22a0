"""What `workbench train` does, from the request to checkpoints, a history and a table."""

import dataclasses
import io
import json
import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from attacks.execution import Execution
from benchmarks.intervals import wilson
from defenses import Epoch, Resume, evaluate, train
from defenses.defense import smoothed
from workbench.console import Console
from workbench.devices import resolve_device
from workbench.errors import Interrupted, UsageError
from workbench.fine_tuning import Start
from workbench.materials import check
from workbench.models import Classifier, save_checkpoint
from workbench.plugins import add_plugins
from workbench.processes import (
    command,
    from_first,
    is_first,
    joined,
    left_alone,
    local_device,
    one_first,
)
from workbench.reading_ahead import labels, readable
from workbench.run_directory import RunDirectory, open_run, write_atomically
from workbench.training_plan import (
    Request,
    Task,
    config,
    load_task,
    make_start,
    metadata,
)
from workbench.training_view import BEST, best_epoch, line, show, watcher

LAST, STATE = "last.safetensors", "state.pt"
HISTORY, RESULTS = "history.jsonl", "results.json"


def train_checkpoint(request: Request, console: Console) -> None:
    """Train a network, keep the best and the last epoch in a run directory, and show how it went.

    Raises:
        UsageError: for settings, data or an output directory that cannot be used.
        DivergenceError: the training diverged; what was kept is said.
        Interrupted: Ctrl-C; says what was kept and how to go on.
    """
    if not (math.isfinite(request.rate) and request.rate > 0):
        raise UsageError(f"--lr {request.rate:g}: the learning rate must be above 0.")
    console = replace(console, mute=not is_first())
    add_plugins(["defenses", "corruptions"], console)
    # A misspelt defense, or one with a loss that cannot be smoothed, is told before data are read.
    smoothed(check(request.defenses).loss, request.label_smoothing)
    device = resolve_device(local_device(request.device), request.threads)
    dtype = Execution(request.precision).dtype(device)
    request = replace(request, precision=str(dtype).removeprefix("torch."))
    with joined(device):
        _train_checkpoint(request, device, console)


def _train_checkpoint(request: Request, device: torch.device, console: Console) -> None:
    task = one_first(lambda: load_task(request, console))
    start = one_first(lambda: make_start(request, task))
    for notice in start.notices:
        console.note(notice)
    model = start.model
    count = sum(weight.numel() for weight in model.parameters())
    console.note(
        f"{request.arch} with {count:,} weights on {device}; {len(task.fitted):,} images of "
        f"{request.data}" + (f", {len(task.held_out):,} held out" if task.held_out else "")
    )
    if request.dry_run:
        console.document(
            {"dry_run": True, "config": config(request, task, start), "weights": count}
        )
        return
    with _opened(request, task, start) as run:
        results = run.path / RESULTS
        if from_first(results.exists):
            if not is_first():
                return
            console.note(f"{run.path} is finished; nothing to train.")
            (run.path / STATE).unlink(missing_ok=True)
            show(json.loads(results.read_text(encoding="utf-8")), run.path, console)
            return
        history = _train(request, task, start, device, run, console)
        result = _result(request, task, model, history, run, device)
        if not is_first():
            return
        write_atomically(results, (json.dumps(result, indent=2) + "\n").encode())
        (run.path / STATE).unlink(missing_ok=True)
        show(result, run.path, console)


@contextmanager
def _opened(request: Request, task: Task, start: Start) -> Iterator[RunDirectory]:
    """The run directory: opened by the first process, known to all."""
    with ExitStack() as stack:

        def opened() -> RunDirectory:
            run = stack.enter_context(
                open_run(
                    request.output,
                    verb="train",
                    name=request.arch,
                    config=config(request, task, start),
                    arguments=request.arguments,
                )
            )
            return replace(run, command=command(run.command))

        yield from_first(opened)


def _train(
    request: Request,
    task: Task,
    start: Start,
    device: torch.device,
    run: RunDirectory,
    console: Console,
) -> list[dict[str, Any]]:
    """Train, or go on training, and keep what is good after each epoch; returns the history."""
    model = start.model
    history, resume, weights = from_first(lambda: _taken_up(run, model))
    if not is_first() and weights is not None:
        model.network.load_state_dict(weights)
    validation = None
    if task.held_out is not None:
        validation = (readable(task.held_out, device, request.workers), labels(task.held_out))
    total = (request.epochs - len(history)) * len(task.fitted)
    try:
        with console.progress(total, unit="images", description="training") as progress:
            watch = watcher(progress.advance, request.epochs)
            epochs = train(
                model,
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
                if is_first():
                    _keep(request, task, start, epoch, history, run)
                console.note(line(history[-1]))
    except KeyboardInterrupt:
        raise Interrupted(f"Interrupted {_kept(history, run)}\nGo on with: {run.command}") from None
    except ValueError as error:
        raise UsageError(f"{error}\nStopped {_kept(history, run)}") from error
    except RuntimeError as error:
        if not left_alone(error):
            raise
        raise UsageError(
            f"Another process has ended. Stopped {_kept(history, run)}\nGo on with: {run.command}"
        ) from error
    return history


def _taken_up(
    run: RunDirectory, model: Classifier
) -> tuple[list[dict[str, Any]], Resume | None, dict[str, Tensor] | None]:
    """Load what an interrupted run left; the epochs so far, how to go on, and the weights."""
    file = run.path / STATE
    if not file.exists():
        return [], None, None
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        model.network.load_state_dict(state["weights"])
        resume = Resume(state["epoch"], state["optimizer"], state.get("beside_the_average"))
        return list(state["history"]), resume, dict(state["weights"])
    # torch reports a damaged file with whatever its unpickler or zip reader stumbled on
    except Exception as error:
        raise UsageError(
            f"{file} is damaged; delete it to train from the start, or choose another --output."
        ) from error


def _keep(
    request: Request,
    task: Task,
    start: Start,
    epoch: Epoch,
    history: list[dict[str, Any]],
    run: RunDirectory,
) -> None:
    """Write the last and, if it is, the best checkpoint; then the state that builds on them."""
    network = start.model.network
    described = metadata(request, task, start, history[-1])
    save_checkpoint(run.path / LAST, network, described)
    if best_epoch(history) == len(history):
        save_checkpoint(run.path / BEST, network, described)
    if epoch.number < epoch.epochs:
        buffer = io.BytesIO()
        state = {
            "epoch": epoch.number,
            "weights": network.state_dict(),
            "optimizer": epoch.resume.optimizer,
            "beside_the_average": epoch.resume.weights,
            "history": history,
        }
        torch.save(state, buffer)
        write_atomically(run.path / STATE, buffer.getvalue())
    lines = "".join(json.dumps(entry) + "\n" for entry in history)
    write_atomically(run.path / HISTORY, lines.encode())


def _result(
    request: Request,
    task: Task,
    model: Classifier,
    history: list[dict[str, Any]],
    run: RunDirectory,
    device: torch.device,
) -> dict[str, Any]:
    from safetensors.torch import load_file

    best = history[best_epoch(history) - 1]
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


def _entry(epoch: Epoch) -> dict[str, Any]:
    fields = {item.name for item in dataclasses.fields(epoch)} - {"number", "epochs", "resume"}
    values = {name: getattr(epoch, name) for name in sorted(fields)}
    return {"epoch": epoch.number, **values, "images_per_second": epoch.images_per_second}


def _kept(history: list[dict[str, Any]], run: RunDirectory) -> str:
    if not history:
        return "before the first epoch was finished; there is no checkpoint yet."
    return f"after epoch {len(history)}; the best so far is kept in {run.path / BEST}."
