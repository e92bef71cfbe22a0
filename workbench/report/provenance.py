"""Where a report's numbers come from: data, versions, checkpoints, and how to measure again."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import Record
from workbench.errors import UsageError
from workbench.run_directory import read_description

SHORT = 16  # digits of a digest that a table shows; the configuration has them all


@dataclass(frozen=True)
class Checkpoint:
    """A model of the record."""

    name: str
    file: str
    digest: str
    trained: str


@dataclass(frozen=True)
class Provenance:
    """What a report says of its origin.

    Attributes:
        data: the data's name, None where only its digest is known.
        facts: pairs of a name and a text.
        checkpoints: one for each model.
        commands: that measure, check and report again, each with what it does.
        config: the resolved configuration as JSON.
    """

    data: str | None
    facts: tuple[tuple[str, str], ...]
    checkpoints: tuple[Checkpoint, ...]
    commands: tuple[tuple[str, str], ...]
    config: str


def provenance(record: Record, paths: Sequence[Path], command: str) -> Provenance:
    """What is known of where a record is from.

    Args:
        record: the record, or the join of several.
        paths: of the record files.
        command: the command line that makes the report.
    """
    runs = {path: _run(path) for path in paths}
    data = list(dict.fromkeys(name for run in runs.values() if (name := _data(run))))
    config: Any = record.config
    facts = [
        ("data", ", ".join(data)),
        ("data digest", str(config["examples"]["digest"])),
        ("images", f"{len(record.ids):,}"),
        ("measured", record.created),
        ("device", record.device),
        ("precision", str(config.get("precision") or "")),
        ("seed", str(record.seed)),
        ("versions", ", ".join(f"{name} {each}" for name, each in _versions(record.versions))),
        ("corruptions relative to", _baseline(config.get("baseline"))),
        ("record" if len(paths) == 1 else "records", ", ".join(map(str, paths))),
    ]
    commands = []
    for path, run in runs.items():
        told = "Measure again" if len(paths) == 1 else f"Measure {path} again"
        if run is None:
            told += ": no config.json lies beside the record, so its command is not known; the "
            told += "configuration below has every setting"
            commands.append((told, ""))
        else:
            commands.append((told, str(run["command"])))
    commands += [
        (f"Check every claim of {path} against the checkpoints",
         shlex.join(["workbench", "verify", str(path)])) for path in paths
    ]  # fmt: skip
    commands.append(("Make this report again", command))
    return Provenance(
        ", ".join(data) or None,
        tuple((name, text) for name, text in facts if text),
        (*(_checkpoint(entry) for entry in config["models"]), *_judge(config)),
        tuple(commands),
        json.dumps(config, indent=1, ensure_ascii=False, sort_keys=True, default=str),
    )


def _run(path: Path) -> Mapping[str, Any] | None:
    """What the run directory says, where the record still lies in it."""
    if not (path.parent / "config.json").is_file():
        return None
    try:
        run = read_description(path.parent)
    except (UsageError, OSError):
        return None
    return run if isinstance(run.get("command"), str) else None


def _data(run: Mapping[str, Any] | None) -> str:
    """The data as the run names them: ``cifar10, test``."""
    found = run["config"].get("data") if run and isinstance(run["config"], Mapping) else None
    if not isinstance(found, Mapping):
        return ""
    parts = [found.get("data"), found.get("split")]
    return ", ".join(str(part) for part in parts if part)


def _versions(versions: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Libraries; digests of our own code are in the configuration."""
    return [
        (name, each) for name, each in versions.items() if name not in ("attacks", "benchmarks")
    ]


def _baseline(baseline: object) -> str:
    if not isinstance(baseline, Mapping):
        return ""
    return f"{baseline['name']} ({baseline['source']})"


def _judge(config: Mapping[str, Any]) -> list[Checkpoint]:
    entry = config.get("judge")
    return [] if entry is None else [_checkpoint({**entry, "name": f"{entry['name']} (judge)"})]


def _checkpoint(entry: Mapping[str, Any]) -> Checkpoint:
    description = entry.get("description") or {}
    training = description.get("training") or {}
    told = []
    if training:
        data = training.get("data") or {}
        told += [f"on {data['name']}"] if data.get("name") else []
        told += [f"seed {training['seed']}"] if training.get("seed") is not None else []
        defenses = training.get("defenses") or []
        told.append(", ".join(map(str, defenses)) or "no defense")
        epochs = (training.get("training") or {}).get("epochs")
        told += [f"{epochs} epochs"] if epochs else []
    return Checkpoint(
        str(entry["name"]),
        str(description.get("file") or description.get("name") or ""),
        str(entry["digest"]),
        ", ".join(told),
    )
