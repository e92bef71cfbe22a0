"""What `workbench show` does: say what a record holds, and show its numbers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from attacks.corruptions import strength_size
from benchmarks import (
    Record,
    attention_results,
    corruption_results,
    probe_results,
    read_record,
    results,
    worst_case,
)
from benchmarks.reading import Stored, checkpoints, stored
from benchmarks.sweep_files import is_sweep
from workbench.attention_tables import attention_tables
from workbench.console import Console
from workbench.corruption_tables import corruption_notes, corruption_tables
from workbench.probe_exhibits import show_sweep
from workbench.probe_tables import probe_tables
from workbench.record_files import descriptions, find_record, trained_on
from workbench.running import caution_lines, failure_lines
from workbench.tables import result_tables, short_defense, short_spec, worst_case_lines

DIGITS = 12  # of a digest: enough to tell two apart

BESIDE = ("_interval", "_images")  # datasets that belong to another

LIBRARIES = ("adversarial-workbench", "torch", "torchvision", "numpy", "python")
"""Versions that the summary names; the document has all of them."""


def show_record(path: Path, console: Console) -> None:
    """Say what is in a record.

    Args:
        path: the record, or the run directory it is in.
        console: where output goes.

    Raises:
        ValueError: it is damaged, incomplete or no record.
        OSError: it cannot be opened.
    """
    file = find_record(path)
    if is_sweep(file):
        show_sweep(file, console)
        return
    record, datasets = read_record(file), stored(file)
    summary = _summary(record)
    console.show(*_lines(record, summary))
    console.show(_models(summary["models"]))
    attacked, worst, corrupted = results(record), worst_case(record), corruption_results(record)
    width, trained = console.out.width, trained_on(record)
    measured = [each for each in attacked if each["images"] or each["failures"]]
    for table in result_tables(measured, width):
        console.show(table)
    console.show(*worst_case_lines(worst))
    if corrupted:
        for table in corruption_tables(corrupted, width, trained):
            console.show(table)
        console.show(*_notes(record))
    probed = probe_results(record)
    for table in probe_tables(probed, width, trained):
        console.show(table)
    looked = attention_results(record)
    for table in attention_tables(looked, width, trained):
        console.show(table)
    console.show(_datasets(datasets))
    console.show(*(f"caution: {line}" for line in caution_lines(record)))
    console.show(*(f"failed: {line}" for line in failure_lines(record)))
    console.essential(str(file))
    console.document(
        {
            "record": str(file),
            **summary,
            "datasets": [each._asdict() for each in datasets],
            "results": attacked,
            "worst_case": worst,
            "corruption_results": [
                {**result, "trained_on_corruptions": trained[str(result["model"])]}
                for result in corrupted
            ],
            "probe_results": probed,
            "attention_results": looked,
            "cautions": list(record.cautions),
            "failures": list(record.failures),
        }
    )


def _summary(record: Record) -> dict[str, Any]:
    """What a record holds, its numbers aside: JSON values."""
    config: Mapping[str, Any] = record.config
    described, digests = descriptions(record), checkpoints(record)
    return {
        "complete": True,  # it would not have been read otherwise
        "created": record.created,
        "device": record.device,
        "seed": record.seed,
        "versions": dict(record.versions),
        "data": {
            "examples": len(record.ids),
            "digest": config["examples"]["digest"],
            "class_names": config.get("class_names"),
            "source": config.get("source"),
        },
        "models": [_described(name, described[name], digest) for name, digest in digests.items()],
        "attacks": list(record.attacks),
        "thresholds": record.thresholds.tolist(),
        "corruptions": list(record.axes.corruptions),
        "severities": list(record.axes.severities),
        "probes": list(record.probes),
        "judge": _judge(config.get("judge")),
        "baseline": config.get("baseline"),
        "kept_images": len(record.kept),
        "joined": config.get("joined"),
    }


def _judge(entry: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if entry is None:
        return None
    return _described(entry["name"], entry.get("description") or {}, entry["digest"])


def _described(name: str, description: Mapping[str, Any], digest: str) -> dict[str, Any]:
    training = description.get("training")
    training = training if isinstance(training, Mapping) else {}
    return {
        "name": name,
        "arch": description.get("arch"),
        "parameters": description.get("parameters"),
        "defenses": training.get("defenses"),
        "training_seed": training.get("seed"),
        "trained_on_corruptions": training.get("trained_on_corruptions") or [],
        "digest": digest,
    }


def _lines(record: Record, summary: Mapping[str, Any]) -> list[str]:
    versions, data = record.versions, summary["data"]
    made_by = ", ".join(f"{name} {versions[name]}" for name in LIBRARIES if name in versions)
    classes = data["class_names"]
    named = f", {len(classes)} classes" if classes else ""
    source = data["source"] or {}
    of = f" of {source['data']}" if source.get("data") else ""
    lines = [
        f"made: {record.created}, on {record.device}, seed {record.seed}; complete",
        f"by: {made_by}",
        f"data: {data['examples']} images{of}{named}, digest {str(data['digest'])[:DIGITS]}",
        f"models: {len(record.models)}",
        f"attacks: {', '.join(map(short_spec, record.attacks)) or 'none'}",
    ]
    if summary["judge"] is not None:
        judge = summary["judge"]
        lines.append(f"judge of attacks: {judge['name']}, digest {judge['digest'][:DIGITS]}")
    if record.corrupted:
        severities = ", ".join(map(str, record.axes.severities))
        lines.append(
            f"corruptions: {', '.join(record.axes.corruptions)}; at severities {severities}"
        )
    if record.probes:
        lines.append(f"probes: {', '.join(record.probes)}")
    for each in summary["joined"] or ():
        lines.append(
            f"joined from: {each['name']}, made {each['created']} on {each['device']}, "
            f"seed {each['seed']}, configuration {str(each['digest'])[:DIGITS]}"
        )
    counts = (
        (len(record.kept), "images with kept results"),
        (len(record.cautions), "cautions"),
        (len(record.failures), "failed cells"),
    )
    return [*lines, ", ".join(f"{count} {what}" for count, what in counts)]


def _models(models: list[dict[str, Any]]) -> Table:
    table = Table(header_style="bold", title="models", title_justify="left")
    for name in ("model", "architecture", "defenses", "seed", "parameters", "digest"):
        table.add_column(name, justify="right" if name in ("seed", "parameters") else "left")
    for each in models:
        cells = (
            each["name"],
            each["arch"],
            ", ".join(map(short_defense, each["defenses"] or ())),
            each["training_seed"],
            f"{each['parameters']:,}" if isinstance(each["parameters"], int) else None,
            each["digest"][:DIGITS],
        )
        table.add_row(*(Text("-" if cell is None or cell == "" else str(cell)) for cell in cells))
    return table


def _datasets(datasets: list[Stored]) -> Table:
    """What lies in the file; intervals and counts of images stand behind their numbers."""
    table = Table(header_style="bold", title="in the file", title_justify="left")
    table.add_column("path", overflow="fold")
    for name in ("axes", "shape", "type"):
        table.add_column(name)
    paths = {each.path for each in datasets}
    for each in datasets:
        number = next(
            (each.path.removesuffix(end) for end in BESIDE if each.path.endswith(end)), ""
        )
        if number in paths:
            continue
        beside = [end for end in BESIDE if each.path + end in paths]
        path = " ".join([each.path, *(f"+{end}" for end in beside)])
        shape = " x ".join(map(str, each.shape))
        table.add_row(Text(path), Text(", ".join(each.dims)), shape, each.dtype)
    return table


def _notes(record: Record) -> list[str]:
    """How images were corrupted, as far as the record says at what size."""
    config: Mapping[str, Any] = record.config
    described = [each["description"] for each in config["corruptions"]]
    size = next((size for each in descriptions(record).values() if (size := _size(each))), None)
    known = described[0].get("strengths")
    if not isinstance(known, int):
        known = None if size is None else strength_size(*size)
    return [] if known is None else corruption_notes(described, known)


def _size(description: Mapping[str, Any]) -> tuple[int, int] | None:
    """Height and width of the images that a model met."""
    reload = description.get("reload")
    facts = reload.get("data") if isinstance(reload, Mapping) else None
    if not isinstance(facts, Mapping) or not {"height", "width"} <= set(facts):
        return None
    return int(facts["height"]), int(facts["width"])
