"""Joins records of the same data into one: other models, attacks, corruptions and probes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.identity import sha256_json
from benchmarks.joint_axes import (
    joint_attacks,
    joint_attention,
    joint_baseline,
    joint_corruptions,
    joint_judge,
    joint_models,
    joint_probes,
    joint_thresholds,
    record_name,
)
from benchmarks.joint_data import SETTINGS, JointData
from benchmarks.reading import Record
from benchmarks.record_numbers import record_numbers

Config = Mapping[str, Any]


def join(records: Sequence[Record], *, baseline: str | None = None) -> Record:
    """One record of several that measured the same examples.

    Its models, attacks, corruptions, severities and probes are all of theirs, in the order in which
    they first come; what none of them measured has fill values. Every aggregate is computed anew,
    with the seed of the first record. Pure: nothing is read or written; kept images stay in the
    files they are in.

    - Data are the same if the examples' digest (ids and labels) and the names of the classes are.
    - A model is the same if its digest is; it goes by the name it has in the first record. Other
      models of the same name get that of their record behind it: ``model (run-2)``.
    - An attack is the same if spec, target and seed are, a corruption at a severity if its
      description is, a probe if its spec is; another description of the same corruption, or
      another seed of the same probe, is refused. So is attention at another layer of a model.
    - What was measured twice must have the same outcome: bit for bit, or, where versions, device,
      precision, batch or shard size differ, the same classes and floats within 1e-4. The first is
      kept. Where one of them failed, the other is taken.
    - Records may lack a judge that others have; what they attacked is then not judged. Two
      different judges are refused.
    - Thresholds are those that all records with attacks have.
    - mCE counts the extra corruptions if every record with corruptions does.

    What the records do not share of their settings is None in the configuration (versions and
    devices: all of them); ``config["joined"]`` has each record's own.

    Args:
        records: at least one; a single one is returned as it is.
        baseline: what corruption errors are divided by, as `benchmarks.plan` takes it; None for
            that of the records.

    Raises:
        ValueError: if there is no record, the data differ, an outcome, a corruption or a probe
            contradicts another's, no threshold is shared, or the records name different baselines
            or judges.
    """
    if not records:
        raise ValueError("There is no record to join")
    if len(records) == 1 and baseline is None:
        return records[0]
    _check_same_data(records)
    models, attacks = joint_models(records), joint_attacks(records)
    axes, corruptions = joint_corruptions(records)
    thresholds = joint_thresholds(records)
    config = _config(records) | {
        "models": models.entries,
        "attacks": attacks.entries,
        "thresholds": thresholds.tolist(),
    }
    if corruptions:
        config |= {
            "corruptions": corruptions,
            "with_extra": axes.with_extra,
            "clean": any(record.config.get("clean", True) for record in records),
            "baseline": joint_baseline(records, models, axes, baseline),
        }
    attention = joint_attention(records, models)
    if attention:
        config["attention"] = attention
    probes = joint_probes(records)
    if probes:
        config["probes"] = probes
    judge = joint_judge(records)
    if judge is not None:
        config["judge"] = judge
    names = tuple(str(probe["spec"]) for probe in probes)
    data = JointData(records, models, attacks, axes, names, thresholds)
    for r in range(len(records)):
        data.take(r)
    first = records[0]
    joined = Record(
        path=first.path,
        config=config,
        seed=first.seed,
        device=_together(record.device for record in records),
        created=max(record.created for record in records),
        versions=config["versions"],
        models=models.names,
        attacks=attacks.names,
        ids=first.ids,
        thresholds=thresholds,
        clean=data.clean,
        attacked=data.attacked,
        axes=axes,
        corrupted=data.corrupted,
        aggregates={},
        timing=data.timing,
        cautions=_distinct(data.cautions),
        failures=tuple(each for each in _distinct(data.failures) if not data.made_good(each)),
        kept=np.unique(np.concatenate([record.kept for record in records])),
        places=data.places,
        probes=names,
        probed=data.probed,
        attention=data.attention,
        judged=data.judged,
    )
    return replace(joined, aggregates=record_numbers(joined))


# ── what must agree ────────────────────────────────────────────────────────────────────────────


def _check_same_data(records: Sequence[Record]) -> None:
    first = records[0]
    known = None
    for record in records:
        one: Any = first.config["examples"]
        other: Any = record.config["examples"]
        if one != other or not np.array_equal(first.ids, record.ids):
            raise ValueError(
                f"{first.path} and {record.path} are of other data: {_told(one)} and "
                f"{_told(other)}; {_how_ids_differ(first.ids, record.ids)}"
            )
        names: Any = record.config.get("class_names")
        if known is not None and names is not None and names != known:
            raise ValueError(
                f"{record.path} names the classes otherwise than the records before it: "
                f"{_first_difference(known, names)}"
            )
        known = names if known is None else known


def _told(examples: Config) -> str:
    return f"{examples['count']} examples (digest {str(examples['digest'])[:12]})"


def _how_ids_differ(one: NDArray[np.int64], other: NDArray[np.int64]) -> str:
    least = min(len(one), len(other))
    if np.array_equal(one, other):
        return "the images are the same, with other labels"
    if len(one) != len(other) and np.array_equal(one[:least], other[:least]):
        return f"the first {least} are the same images: run both with the same limit"
    shared = len(np.intersect1d(one, other))
    if shared == len(one) == len(other):
        return "the images are the same, in another order"
    return f"{shared} images are in both"


def _first_difference(one: Sequence[str], other: Sequence[str]) -> str:
    if len(one) != len(other):
        return f"{len(one)} and {len(other)} names"
    pairs = enumerate(zip(one, other, strict=True))
    return next(f"class {i} is {a} and {b}" for i, (a, b) in pairs if a != b)


# ── configuration ──────────────────────────────────────────────────────────────────────────────


_JOINED_APART = (
    "corruptions", "with_extra", "clean", "baseline", "attention", "probes", "judge", "joined",
)  # fmt: skip


def _config(records: Sequence[Record]) -> dict[str, Any]:
    """What the records share of their settings, and each one's own in ``joined``."""
    configs: list[Config] = [record.config for record in records]
    config = {
        key: value if all(each.get(key) == value for each in configs) else None
        for key, value in configs[0].items()
        if key not in _JOINED_APART
    }
    every: Sequence[Config] = [record.versions for record in records]
    names = dict.fromkeys(name for each in every for name in each)
    named = (each.get("class_names") for each in configs)
    sources = [each["source"] for each in configs if each.get("source")]
    return config | {
        "versions": {name: _together(e[name] for e in every if name in e) for name in names},
        "device": _together(record.device for record in records),
        "class_names": next((each for each in named if each is not None), None),
        "source": _source(sources),
        "keep_images": all(each.get("keep_images") for each in configs),
        "joined": list(_distinct([fact for record in records for fact in _facts(record)])),
    }


def _source(sources: Sequence[Config]) -> Config | None:
    """Where the data are: they are the same, so any of the places will do."""
    if not sources:
        return None
    found = dict(sources[0])
    corrupted = (each["corrupted"] for each in sources if each.get("corrupted") is not None)
    return found | {"corrupted": next(corrupted, None)}


def _facts(record: Record) -> list[Config]:
    """What a joined record keeps of one that it was joined from; of a joined one, of all."""
    known: Any = record.config.get("joined")
    if known is not None:
        return list(known)
    kept = {key: record.config.get(key) for key in (*SETTINGS, "seed", "thresholds")}
    return [
        {
            **kept,
            "name": record_name(record),
            "digest": sha256_json(record.config),
            "created": record.created,
            "models": list(record.models),
            "attacks": list(record.attacks),
            "corruptions": list(record.axes.corruptions),
            "severities": list(record.axes.severities),
            "probes": list(record.probes),
            "judge": record.judge,
        }
    ]


def _together(values: Iterable[object]) -> str:
    return ", ".join(dict.fromkeys(str(value) for value in values))


def _distinct(entries: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    found: list[Mapping[str, Any]] = []
    for entry in entries:
        if entry not in found:
            found.append(entry)
    return tuple(found)
