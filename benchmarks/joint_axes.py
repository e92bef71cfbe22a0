"""What several records have on their axes together: models, conditions, thresholds."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.baselines import describe_baseline
from benchmarks.corruption_axes import CorruptionAxes
from benchmarks.plans import told_apart
from benchmarks.reading import Record

Config = Mapping[str, Any]


def record_name(record: Record) -> str:
    """What tells a record from others: its file's stem, or its folder's where it is ``record``."""
    path = Path(record.path).absolute()
    return path.parent.name if path.stem == "record" and path.parent.name else path.stem


@dataclass(frozen=True)
class Axis:
    """The models, or the attacks, of all records.

    Attributes:
        entries: their configurations, with the joined names.
        places: for each record, where each of its own lies on the axis.
    """

    entries: list[dict[str, Any]]
    places: list[list[int]]

    @property
    def names(self) -> tuple[str, ...]:
        """The joined names, in order."""
        return tuple(entry["name"] for entry in self.entries)


def _entries(record: Record, key: str, names: Sequence[str]) -> list[dict[str, Any]]:
    found: Any = record.config.get(key)
    if not isinstance(found, list) or [each.get("name") for each in found] != list(names):
        raise ValueError(f"{record.path} is damaged: its configuration has other {key}")
    return found


def joint_models(records: Sequence[Record]) -> Axis:
    """Every model once; those of one name and different digests get their records' names.

    Raises:
        ValueError: if that does not tell them apart, or a record is damaged.
    """
    entries: list[dict[str, Any]] = []
    held_by: list[Record] = []
    places: list[list[int]] = []
    for record in records:
        mine = _entries(record, "models", record.models)
        own: list[int] = []
        for entry in mine:
            same = _same_model(entry, entries, mine, own)
            if same is not None:
                own.append(same)
            else:
                own.append(len(entries))
                entries.append(dict(entry))
                held_by.append(record)
        places.append(own)
    for shown in (record_name, lambda record: str(record.path)):
        count = Counter(entry["name"] for entry in entries)
        for entry, record in zip(entries, held_by, strict=True):
            if count[entry["name"]] > 1:
                entry["name"] = f"{entry['name']} ({shown(record)})"
    count = Counter(entry["name"] for entry in entries)
    twice = next((name for name, times in count.items() if times > 1), None)
    if twice is not None:
        raise ValueError(f"Two different models are called {twice}: move one of the records")
    return Axis(entries, places)


def _same_model(
    entry: Config,
    known: Sequence[Config],
    mine: Sequence[Config],
    taken: Sequence[int],
) -> int | None:
    """Which of the known models a record's is, if any: by its digest.

    A record may hold one model under two names: those whose names agree belong together.
    """
    same = [i for i, other in enumerate(known) if other["digest"] == entry["digest"]]
    named = [i for i in same if known[i]["name"] == entry["name"]]
    own_names = {each["name"] for each in mine}
    others = [i for i in same if i not in taken and known[i]["name"] not in own_names]
    return next(iter(named + others), None)


def joint_attacks(records: Sequence[Record]) -> Axis:
    """Every attack once: those of the same spec, target and seed are the same."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    places: list[list[int]] = []
    for record in records:
        mine = _entries(record, "attacks", record.attacks)
        keys = [(each["spec"], each["target"], each["seed"]) for each in mine]
        for key, each in zip(keys, mine, strict=True):
            found.setdefault(key, dict(each))
        order = list(found)
        places.append([order.index(key) for key in keys])
    names = [spec if target is None else f"{spec} target={target}" for spec, target, _ in found]
    entries = [
        each | {"name": name}
        for each, name in zip(
            found.values(), told_apart(names, [seed for _, _, seed in found]), strict=True
        )
    ]
    return Axis(entries, places)


def joint_corruptions(records: Sequence[Record]) -> tuple[CorruptionAxes, list[dict[str, Any]]]:
    """The axes of all corruptions, and the configuration of each at each severity.

    Raises:
        ValueError: if two of the same name and severity are described differently.
    """
    having = [record for record in records if record.corrupted]
    found: dict[tuple[str, int], tuple[dict[str, Any], Record]] = {}
    for record in having:
        listed: Any = record.config.get("corruptions")
        if not isinstance(listed, list):
            raise ValueError(f"{record.path} is damaged: its configuration has no corruptions")
        for each in listed:
            other, held_by = found.setdefault(
                (each["corruption"], each["severity"]), (dict(each), record)
            )
            if other["description"] != each["description"]:
                difference = _difference(other["description"], each["description"])
                raise ValueError(
                    f"{each['corruption']} at severity {each['severity']} is not the same in "
                    f"{held_by.path} and {record.path}: {difference}"
                )
    names = dict.fromkeys(name for record in having for name in record.axes.corruptions)
    severities = sorted({level for record in having for level in record.axes.severities})
    with_extra = bool(having) and all(record.axes.with_extra for record in having)
    axes = CorruptionAxes(tuple(names), tuple(severities), with_extra)
    ordered = [
        found[name, severity][0]
        for name in names
        for severity in severities
        if (name, severity) in found
    ]
    return axes, ordered


def joint_probes(records: Sequence[Record]) -> list[dict[str, Any]]:
    """The configuration of every probe once.

    Raises:
        ValueError: if two of the same spec differ otherwise, or a record is damaged.
    """
    found: dict[str, tuple[dict[str, Any], Record]] = {}
    for record in records:
        listed: Any = record.config.get("probes", []) if record.probes else []
        if [each.get("spec") for each in listed] != list(record.probes):
            raise ValueError(f"{record.path} is damaged: its configuration has other probes")
        for each in listed:
            other, held_by = found.setdefault(each["spec"], (dict(each), record))
            if other != each:
                raise ValueError(
                    f"{each['spec']} is not the same in {held_by.path} and {record.path}: "
                    f"{_difference(other, each)}"
                )
    return [each for each, _ in found.values()]


def _difference(one: Config, other: Config) -> str:
    """How two descriptions differ: ``seed 0 and 1``."""
    keys = [key for key in {**one, **other} if one.get(key) != other.get(key)]
    return ", ".join(f"{key} {one.get(key)} and {other.get(key)}" for key in keys)


def joint_thresholds(records: Sequence[Record]) -> NDArray[np.float64]:
    """The thresholds that all records with attacks have: (T,).

    Raises:
        ValueError: if there is none.
    """
    having = [record for record in records if record.attacks] or records[:1]
    shared = [
        threshold
        for threshold in having[0].thresholds.tolist()
        if all(threshold in record.thresholds for record in having)
    ]
    if not shared:
        told = " and ".join(f"{r.thresholds.tolist()} in {r.path}" for r in having)
        raise ValueError(f"The records share no threshold of changed pixels: {told}")
    return np.array(shared, np.float64)


def joint_judge(records: Sequence[Record]) -> dict[str, Any] | None:
    """The judge of the records that have one.

    Raises:
        ValueError: if there are two: what one believes says nothing of what the other would.
    """
    found: dict[str, tuple[dict[str, Any], Record]] = {}
    for record in records:
        described: Any = record.config.get("judge")
        if described is not None:
            found.setdefault(described["digest"], (dict(described), record))
    if len(found) > 1:
        (one, held_by), (other, its) = list(found.values())[:2]
        raise ValueError(
            f"{held_by.path} was judged by {one['name']} and {its.path} by {other['name']}: what "
            "is believed compares under one judge alone. Leave one of them out, or judge both alike"
        )
    return next((described for described, _ in found.values()), None)


def joint_baseline(
    records: Sequence[Record], models: Axis, axes: CorruptionAxes, asked: str | None
) -> dict[str, Any] | None:
    """The baseline that was asked for, or else the one that the records name.

    Raises:
        ValueError: if there is no such baseline, or they name different ones.
    """
    if asked is not None:
        return describe_baseline(asked, models.names, axes)
    found: list[dict[str, Any]] = []
    for record, places in zip(records, models.places, strict=True):
        described: Any = record.config.get("baseline") if record.corrupted else None
        if described is None:
            continue
        described = dict(described)
        if described["measured"] and described["name"] in record.models:
            place = places[record.models.index(described["name"])]
            described["name"] = models.names[place]
        if described not in found:
            found.append(described)
    if len(found) > 1:
        names = " and ".join(str(each["name"]) for each in found)
        raise ValueError(
            f"The records divide by different baselines, {names}: name a model as the --baseline"
        )
    return found[0] if found else None


def joint_attention(records: Sequence[Record], models: Axis) -> dict[str, Config]:
    """The layer of each model at which attention was measured, by the joined names.

    Raises:
        ValueError: if two records read different layers of one model.
    """
    found: dict[str, Config] = {}
    for record, places in zip(records, models.places, strict=True):
        layers: Any = record.config.get("attention") or {}
        for name, place in zip(record.models, places, strict=True):
            if name not in layers:
                continue
            layer = found.setdefault(models.names[place], layers[name])
            if layer != layers[name]:
                raise ValueError(
                    f"{record.path} measured the attention of {name} at layer "
                    f"{layers[name]['name']}, another record at {layer['name']}: leave one out"
                )
    return found
