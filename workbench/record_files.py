"""Records as people name them: a file, or the directory of the run that made it."""

from collections.abc import Mapping
from pathlib import Path

from benchmarks import Record
from workbench.errors import UsageError
from workbench.run_directory import read_description


def find_record(path: Path) -> Path:
    """The record's file.

    Raises:
        UsageError: the directory holds none.
    """
    record = path / "record.h5" if path.is_dir() else path
    if path.is_dir() and not record.is_file():
        raise UsageError(f"{path} holds no record.h5{_why(path)}")
    return record


def _why(folder: Path) -> str:
    """Why a directory holds no record, as far as it tells."""
    if (folder / "config.json").is_file():
        try:
            verb = str(read_description(folder)["verb"])
        except UsageError:
            verb = "attack"
        if verb == "explain":
            return ": it is a run of `workbench explain`; `report RECORD --with` shows it."
        if verb not in ("attack", "benchmark", "probe"):
            return f": it is a run of `workbench {verb}`, which measures nothing."
        return ": the run is not finished; run its command again."
    below = sorted(each.parent.name for each in folder.glob("*/record.h5"))
    return f", but {', '.join(below[:3])} in it does." if below else "."


def trained_on(record: Record) -> dict[str, list[str]]:
    """For each model the test corruptions that its checkpoint says it was trained on."""
    found: dict[str, list[str]] = {}
    for name, description in descriptions(record).items():
        training = description.get("training")
        told = training.get("trained_on_corruptions") if isinstance(training, Mapping) else None
        found[name] = list(told or ())
    return found


def descriptions(record: Record) -> dict[str, Mapping[str, object]]:
    """What the record says of each model."""
    found: dict[str, Mapping[str, object]] = {name: {} for name in record.models}
    entries = record.config.get("models")
    for entry in entries if isinstance(entries, list) else ():
        if entry["name"] in found and isinstance(entry.get("description"), Mapping):
            found[entry["name"]] = entry["description"]
    return found
