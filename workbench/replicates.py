"""One training with several seeds: a run directory for each, and what they come to together."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.intervals import student_mean
from workbench.console import Console
from workbench.errors import Interrupted
from workbench.learning_curve import PICTURES, Curve, save_learning_curve
from workbench.processes import is_first, one_first
from workbench.run_directory import RunDirectory, without_options, write_atomically
from workbench.training import RESULTS, Diverged, Trained, announce, opened, prepared, train_one
from workbench.training_plan import Request, config, load_splits, make_start, make_task
from workbench.training_view import BEST, curve_title, setting_lines

MEASURES = {"validation_error": "held-out error", "test_error": "test error"}


def train_replicates(request: Request, count: int, console: Console) -> bool:
    """Train with ``count`` seeds from the request's on, each in ``seed-K`` of one directory.

    Each is what a training with that seed alone gives. One that diverges is told and left out.

    Returns:
        Whether all of them were trained.

    Raises:
        UsageError: for settings, data or an output directory that cannot be used.
        Interrupted: Ctrl-C; says which are finished and how to go on.
    """
    with prepared(request, console) as settled:
        return _train_replicates(*settled, count)


def _train_replicates(request: Request, device: torch.device, console: Console, count: int) -> bool:
    splits = one_first(lambda: load_splits(request, console))
    seeds = range(request.seed, request.seed + count)
    task = one_first(lambda: make_task(request, splits))
    start = one_first(lambda: make_start(request, task))
    shared = {**config(request, task, start), "replicates": True}
    title = curve_title(request, task)
    if request.dry_run:
        weights = announce(request, task, start, device, console)
        console.show(*setting_lines(shared), f"seeds: {', '.join(map(str, seeds))}")
        console.document(
            {"dry_run": True, "config": shared, "weights": weights, "seeds": list(seeds)}
        )
        return True
    trained: dict[int, Trained] = {}
    lost: dict[int, str] = {}
    with opened(request, shared) as group:
        try:
            for seed in seeds:
                one = _with_seed(request, seed, group)
                task = make_task(one, splits)
                start = make_start(one, task)
                console.note(f"seed {seed}, {len(trained) + len(lost) + 1} of {count}:")
                announce(one, task, start, device, console)
                try:
                    trained[seed] = train_one(one, task, start, device, console, group.command)
                except Diverged as error:
                    lost[seed] = " ".join(str(error).split())
                    console.warn(f"seed {seed}: {lost[seed]}")
            result = _summary(request, trained, lost)
            if is_first():
                _keep(group, result, trained, title)
        except Interrupted as stop:
            told = str(stop).replace("Interrupted", f"Interrupted in seed {seed},", 1)
            what, _, how = told.partition("\n")
            raise Interrupted(f"{what} {_finished(trained)}\n{how}") from None
        except KeyboardInterrupt:
            told = f"Interrupted. {_finished(trained)}"
            raise Interrupted(f"{told}\nGo on with: {group.command}") from None
        _show(result, group.path, console)
    return not lost


def _keep(
    group: RunDirectory, result: Mapping[str, Any], trained: Mapping[int, Trained], title: str
) -> None:
    """Draw all learning curves in one figure, and write what the table shows."""
    if trained:
        curves = [Curve(one["history"], one["best_epoch"]) for one, _ in trained.values()]
        save_learning_curve(group.path, curves, title)
    content = json.dumps(result, indent=2) + "\n"
    write_atomically(group.path / RESULTS, content.encode())


def _with_seed(request: Request, seed: int, group: RunDirectory) -> Request:
    """The training of one seed, as it would be asked for on its own."""
    arguments = without_options(request.arguments, "--seed", "--seeds", "--output", "-o")
    return replace(
        request,
        seed=seed,
        output=group.path / f"seed-{seed}",
        # --seeds too, because a file of settings may hold another number.
        arguments=(*arguments, "--seed", str(seed), "--seeds", "1"),
    )


def _finished(trained: Mapping[int, Trained]) -> str:
    return f"Finished seeds: {', '.join(map(str, trained)) or 'none yet'}."


def _summary(
    request: Request, trained: Mapping[int, Trained], lost: Mapping[int, str]
) -> dict[str, Any]:
    """Everything that the table shows, and the whole result of each replicate."""
    replicates = [
        {"seed": seed, "run": str(run), "checkpoint": str(run / BEST), **result}
        for seed, (result, run) in trained.items()
    ]
    return {
        "arch": request.arch,
        "data": request.data,
        "summary": {name: over_seeds([each[name] for each in replicates]) for name in MEASURES},
        "replicates": replicates,
        "diverged": [{"seed": seed, "reason": reason} for seed, reason in lost.items()],
    }


def over_seeds(errors: Sequence[float | None]) -> dict[str, Any] | None:
    """Mean, standard deviation and 95 % interval of the mean over seeds; None if not measured.

    The interval is Student's, cut at 0 and 1, which no error can leave. With one seed there is
    neither a deviation nor an interval.
    """
    values = np.array([error for error in errors if error is not None], np.float64)
    if not len(values):
        return None
    several = len(values) > 1
    return {
        "seeds": len(values),
        "mean": float(values.mean()),
        "standard_deviation": float(values.std(ddof=1)) if several else None,
        "interval": student_mean(values).clip(0, 1).tolist() if several else None,
    }


def _show(result: Mapping[str, Any], group: Path, console: Console) -> None:
    """A row for each replicate, their mean and spread, and where the checkpoints are."""
    from rich.table import Table

    replicates, summary = result["replicates"], result["summary"]
    measures = {name: title for name, title in MEASURES.items() if summary[name] is not None}
    table = Table(
        title=f"{result['arch']} on {result['data']}, {len(replicates)} seeds",
        title_justify="left",
        header_style="bold",
    )
    for title in ("seed", "kept epoch", *measures.values()):
        table.add_column(title, justify="right")
    for each in replicates:
        errors = (_percent(each[name]) for name in measures)
        table.add_row(str(each["seed"]), str(each["best_epoch"]), *errors)
    for each in result["diverged"]:
        table.add_row(str(each["seed"]), "diverged", *("" for _ in measures))
    table.add_section()
    for label, key in (("mean", "mean"), ("st. deviation", "standard_deviation")):
        values = [summary[name][key] for name in measures]
        table.add_row(label, "", *("" if v is None else _percent(v) for v in values))
    if len(replicates) > 1:
        table.add_row(
            "95 % interval", "", *(_range(summary[name]["interval"]) for name in measures)
        )
    words = "The deviation and the interval of the mean (Student's) are over seeds, not images."
    picture = str(group / PICTURES[0]) if replicates else None
    console.show(table, words)
    if picture is not None:
        console.show(f"Learning curves: {picture}", f"Checkpoints: {group}/seed-*/{BEST}")
    console.document({"run": str(group), "learning_curve": picture, **result})
    console.essential("\n".join(each["checkpoint"] for each in replicates))


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _range(interval: Sequence[float]) -> str:
    return f"{100 * interval[0]:.2f} to {100 * interval[1]:.2f} %"
