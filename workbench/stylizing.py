"""What `workbench stylizer` does: a decoder is trained, or a published pair of files taken over."""

import json
import math
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from defenses.adain import Stylizer, mirrored
from defenses.decoder_training import Step, train_decoder
from defenses.stylized import Paintings
from workbench.console import Console
from workbench.datasets import Dataset, load_dataset
from workbench.devices import resolve_device
from workbench.encoders import FoundEncoder, load_encoder, load_published_pair
from workbench.errors import Interrupted, UsageError
from workbench.models import ModelOptions
from workbench.reading_ahead import readable
from workbench.resume_state import forget, save_state, take_up
from workbench.run_directory import RunDirectory, open_run, write_atomically
from workbench.stylizers import check_size, make_stylizer, read_paintings, save_stylizer
from workbench.training_plan import versions

STYLIZER, RESULTS = "stylizer.safetensors", "results.json"
SECONDS_BETWEEN_STATES = 20.0  # what a kill costs at most, and the step that it falls into
_STEPS_SHOWN = 100  # whose mean loss is shown

Losses = list[tuple[float, float]]


@dataclass(frozen=True)
class Request:
    """A stylizer as it was asked for; every field is an option of `workbench stylizer`."""

    paintings: str | None
    data: str | None
    encoder: str
    decoder: str | None
    depth: str
    arch: str | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    steps: int
    batch_size: int
    lr: float
    content_weight: float
    style_weight: float
    limit: int | None
    classes: str | None
    download: bool
    seed: int
    device: str
    threads: int | None
    output: Path | None
    dry_run: bool
    arguments: tuple[str, ...]


def make(request: Request, console: Console) -> None:
    """Write a stylizer to a run directory.

    Raises:
        UsageError: for settings, files or an output directory that cannot be used.
        DivergenceError: the training diverged.
        Interrupted: Ctrl-C; says what was kept and how to go on.
    """
    if request.decoder is not None:
        _take_over(request, request.decoder, console)
    elif request.paintings is None or request.data is None:
        raise UsageError(
            "To train a decoder takes PAINTINGS, a folder of any pictures, and --data, the images "
            "to stylise.\nWith a published --encoder and --decoder neither is needed."
        )
    else:
        _train(request, request.paintings, request.data, console)


def _take_over(request: Request, decoder: str, console: Console) -> None:
    if request.paintings is not None or request.data is not None:
        raise UsageError("With --decoder nothing is trained: leave out PAINTINGS and --data.")
    found, network = load_published_pair(request.encoder, decoder)
    stylizer = make_stylizer(found.encoder, network)
    config = {"encoder": found.description, "digest": stylizer.digest}
    if request.dry_run:
        _say_dry_run(stylizer, config, console)
        return
    with _opened(request, config) as run:
        _finish(run, stylizer, config, {}, console)


def _train(request: Request, folder: str, source: str, console: Console) -> None:
    if not (math.isfinite(request.lr) and request.lr > 0):
        raise UsageError(f"--lr {request.lr:g}: the learning rate must be above 0.")
    device = resolve_device(request.device, request.threads)
    data = load_dataset(
        source, split="train", classes=request.classes, download=request.download
    ).take(request.limit)
    options = ModelOptions(arch=request.arch, mean=request.mean, std=request.std)
    found = load_encoder(request.encoder, request.depth, data.facts, options)
    for notice in (*data.notices, *found.notices):
        console.note(notice)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(request.seed)
        stylizer = make_stylizer(found.encoder, mirrored(found.encoder.widths))
    check_size(stylizer, data, request.encoder)
    paintings = read_paintings(folder, data)
    config = _config(request, found, data, paintings)
    console.note(
        f"a decoder with {_weights(stylizer):,} weights on {device}; {len(data):,} images of "
        f"{source}, {len(paintings.images):,} paintings"
    )
    if request.dry_run:
        _say_dry_run(stylizer, config, console)
        return
    with _opened(request, config) as run:
        if (run.path / RESULTS).exists():
            console.note(f"{run.path} is finished; nothing to train.")
            forget(run)
            _show(run, json.loads((run.path / RESULTS).read_text(encoding="utf-8")), console)
            return
        losses = _steps(request, stylizer, data, paintings, device, run, console)
        trained = make_stylizer(stylizer.encoder, stylizer.decoder)
        results = {"steps": len(losses), **_means(losses)}
        _finish(run, trained, config, results, console)
        forget(run)


def _steps(
    request: Request,
    stylizer: Stylizer,
    data: Dataset,
    paintings: Paintings,
    device: torch.device,
    run: RunDirectory,
    console: Console,
) -> Losses:
    """Train the decoder, or go on training it; returns the losses of all steps."""
    resume, losses = _taken_up(run, stylizer)
    kept = len(losses)
    saved = time.monotonic()
    try:
        with console.progress(
            request.steps - kept, unit="steps", description="decoder"
        ) as progress:
            for step in train_decoder(
                stylizer,
                readable(data, device),
                paintings.images,
                steps=request.steps,
                batch_size=request.batch_size,
                lr=request.lr,
                content_weight=request.content_weight,
                style_weight=request.style_weight,
                seed=request.seed,
                device=device,
                resume=resume,
            ):
                losses.append((step.content_loss, step.style_loss))
                shown = [f"{name} {mean:.3g}" for name, mean in _means(losses).items()]
                progress.advance(1, detail=", ".join(shown).replace("_", " "))
                if time.monotonic() - saved >= SECONDS_BETWEEN_STATES:
                    _keep(run, stylizer, step, losses)
                    kept, saved = step.number, time.monotonic()
    except KeyboardInterrupt:
        raise Interrupted(
            f"Interrupted; {kept} of {request.steps} steps are kept.\nGo on with: {run.command}"
        ) from None
    return losses


def _taken_up(run: RunDirectory, stylizer: Stylizer) -> tuple[Step | None, Losses]:
    """Load the state that an interrupted run left into the decoder; where to go on, what was."""

    def use(state: dict[str, Any]) -> tuple[Step, Losses]:
        stylizer.decoder.load_state_dict(state["decoder"])
        losses = [(first, second) for first, second in state["losses"].tolist()]
        return Step(len(losses), *losses[-1], state["optimizer"]), losses

    return take_up(run, use) or (None, [])


def _keep(run: RunDirectory, stylizer: Stylizer, step: Step, losses: Losses) -> None:
    state = {
        "decoder": stylizer.decoder.state_dict(),
        "optimizer": step.optimizer,
        "losses": torch.tensor(losses, dtype=torch.float64),
    }
    save_state(run, state)


def _means(losses: Losses) -> dict[str, float]:
    """Of the last steps, by what is told of them."""
    columns = zip(*losses[-_STEPS_SHOWN:], strict=True)
    return dict(zip(("content_loss", "style_loss"), map(fmean, columns), strict=True))


def _finish(
    run: RunDirectory,
    stylizer: Stylizer,
    config: Mapping[str, Any],
    results: Mapping[str, Any],
    console: Console,
) -> None:
    """Write the stylizer, then that it is finished, and show it."""
    save_stylizer(run.path / STYLIZER, stylizer, {**config, **results, "versions": versions()})
    result = {"depth": stylizer.depth, "digest": stylizer.digest, **results}
    write_atomically(run.path / RESULTS, (json.dumps(result, indent=2) + "\n").encode())
    _show(run, result, console)


def _show(run: RunDirectory, result: Mapping[str, Any], console: Console) -> None:
    file = run.path / STYLIZER
    if "steps" in result:
        console.show(
            f"Trained a decoder from {result['depth']} in {result['steps']:,} steps; in the last "
            f"of them the content loss was {result['content_loss']:.3g} and the style loss "
            f"{result['style_loss']:.3g}."
        )
    use = f"--defense \"stylized(stylizer='{file}', paintings='FOLDER')\""
    console.show(f"Stylizer: {file}", f"Train with it: {use}")
    console.document({"stylizer": str(file), "run": str(run.path), **result})
    console.essential(str(file))


def _say_dry_run(stylizer: Stylizer, config: Mapping[str, Any], console: Console) -> None:
    console.show(f"A decoder from {stylizer.depth} with {_weights(stylizer):,} weights.")
    console.document({"dry_run": True, "config": config, "weights": _weights(stylizer)})


def _opened(request: Request, config: Mapping[str, Any]) -> AbstractContextManager[RunDirectory]:
    return open_run(
        request.output,
        verb="stylizer",
        name=Path(request.encoder).stem,
        config=config,
        arguments=request.arguments,
    )


def _config(
    request: Request, found: FoundEncoder, data: Dataset, paintings: Paintings
) -> dict[str, Any]:
    """Everything that decides the weights, for the run directory to compare."""
    return {
        "encoder": found.description,
        "data": {"name": request.data, "split": "train", "digest": data.digest},
        "paintings": {"count": len(paintings.images), "digest": paintings.digest},
        "training": {
            "steps": request.steps,
            "batch_size": request.batch_size,
            "lr": request.lr,
            "content_weight": request.content_weight,
            "style_weight": request.style_weight,
        },
        "seed": request.seed,
    }


def _weights(stylizer: Stylizer) -> int:
    return sum(weight.numel() for weight in stylizer.decoder.parameters())
