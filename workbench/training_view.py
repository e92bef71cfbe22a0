"""How a training run looks: the progress, a line for each epoch, the table at the end."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from defenses import Batch
from workbench.console import Console, duration
from workbench.learning_curve import PICTURES
from workbench.tables import short_arch, short_defense
from workbench.training_plan import Request, Task

BEST = "model.safetensors"

Entry = Mapping[str, Any]


def show(result: Mapping[str, Any], run: Path, console: Console) -> None:
    """The epochs, what came of them, and where the checkpoint is."""
    from rich.table import Table

    path = run / BEST
    table = Table(
        title=f"{result['arch']} on {result['data']}", title_justify="left", header_style="bold"
    )
    for name in ("epoch", "loss", "accuracy", "held-out accuracy", "rate", "images/s"):
        table.add_column(name, justify="right")
    for entry in result["history"]:
        mark = " *" if entry["epoch"] == result["best_epoch"] else ""
        table.add_row(
            f"{entry['epoch']}{mark}",
            f"{entry['loss']:.4f}",
            _percent(1 - entry["error"]),
            "" if entry["validation_error"] is None else _percent(1 - entry["validation_error"]),
            f"{entry['lr']:.2g}",
            f"{entry['images_per_second']:,.0f}",
        )
    words = [f"Trained in {duration(result['seconds'])}; kept epoch {result['best_epoch']} (*)."]
    if result["test_error"] is not None:
        low, high = (_percent(1 - value) for value in reversed(result["test_error_interval"]))
        words.append(
            f"Test accuracy {_percent(1 - result['test_error'])} ({low} to {high}) "
            f"on {result['test_images']:,} images."
        )
    picture = run / PICTURES[0]
    console.show(table, " ".join(words), f"Learning curve: {picture}", f"Checkpoint: {path}")
    console.document(
        {"checkpoint": str(path), "run": str(run), "learning_curve": str(picture), **result}
    )
    console.essential(str(path))


def curve_title(request: Request, task: Task) -> str:
    """What stands above a learning curve; of paths the names alone."""
    parts = [f"{short_arch(request.arch)} on {Path(request.data).name}"]
    return ", ".join([*parts, *(short_defense(each.spec) for each in task.bound)])


def watcher(advance: Callable[..., None], epochs: int) -> Callable[..., None]:
    """A function that turns counts within an epoch into steps of a progress display."""
    epoch, seen, behind, began = 0, 0, 0, 0.0

    def watch(batch: Batch) -> None:
        nonlocal epoch, seen, behind, began
        if batch.epoch != epoch:  # the first batch only starts the clock
            epoch, seen, behind, began = batch.epoch, 0, batch.images, time.monotonic()
        fast = (batch.images - behind) / max(time.monotonic() - began, 1e-9)
        parts = [f"loss {batch.loss:.3f}", f"accuracy {_percent(1 - batch.error)}"]
        if batch.images > behind:
            parts.append(f"{fast:,.0f} images/s")
        where = f"epoch {batch.epoch}/{epochs}"
        advance(batch.images - seen, description=where, detail=", ".join(parts))
        seen = batch.images

    return watch


def setting_lines(settings: Mapping[str, Any]) -> list[str]:
    """The resolved settings, a line each; what there is not is left out."""
    said = {name: value for name, value in settings.items() if value not in (None, [], {})}
    return [
        f"{name}: {', '.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in said.items()
    ]


def line(entry: Entry) -> str:
    """One epoch as a line of text."""
    held_out = entry["validation_error"]
    return (
        f"epoch {entry['epoch']}: loss {entry['loss']:.4f}, "
        f"accuracy {_percent(1 - entry['error'])}"
        + ("" if held_out is None else f", held out {_percent(1 - held_out)}")
        + f", {entry['images_per_second']:,.0f} images/s"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
