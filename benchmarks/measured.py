"""The arrays of a record, before anything is measured."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from benchmarks import columns
from benchmarks.columns import Array
from benchmarks.corruption_axes import CorruptionAxes


class Measured(NamedTuple):
    """What a record holds of its models, by the names of `benchmarks.reading.Record`."""

    clean: dict[str, Array]
    attacked: dict[str, Array]
    corrupted: dict[str, Array]
    probed: dict[str, Array]
    attention: dict[str, Array]
    timing: dict[str, Array]
    judged: dict[str, Array]


def nothing_measured(
    models: int,
    attacks: int,
    axes: CorruptionAxes,
    probes: int,
    examples: int,
    thresholds: int,
    *,
    attention: bool = False,
    judged: bool = False,
) -> Measured:
    """Arrays of so many models, attacks, probes, examples and thresholds, ready to write into.

    Columns are at their fills, seconds are 0. Without corruptions, probes, attention or
    a judge there are no such arrays.
    """
    by_attack = (models, attacks)
    by_corruption = (models, len(axes.corruptions), len(axes.severities))
    seconds = {
        "attack_seconds": by_attack,
        "evaluation_seconds": by_attack,
        "clean_seconds": (models,),
    }
    if axes.corruptions:
        seconds |= dict.fromkeys(
            ("corruption_seconds", "corrupted_evaluation_seconds"), by_corruption
        )
    if probes:
        seconds |= dict.fromkeys(("probe_seconds", "probed_evaluation_seconds"), (models, probes))
    kinds = {name: kind for name, kind in columns.CORRUPTED.items() if name != "label"}
    return Measured(
        _filled(columns.CLEAN, (models, examples)),
        _filled(columns.ATTACK, (*by_attack, examples), thresholds)
        | {"goal_confidence": np.full(by_attack, np.nan)},
        _filled(kinds, (*by_corruption, examples)) if axes.corruptions else {},
        _filled(kinds, (models, probes, examples)) if probes else {},
        _filled(columns.ATTENTION, (*by_corruption, examples)) if attention else {},
        {name: np.zeros(shape) for name, shape in seconds.items()},
        _filled(columns.JUDGED, (*by_attack, examples)) if judged else {},
    )


def _filled(
    kinds: Mapping[str, str], shape: tuple[int, ...], thresholds: int = 0
) -> dict[str, Array]:
    return {
        name: np.full(
            (*shape, thresholds) if name == "pixels_over_threshold" else shape,
            columns.fill(kind),
            "<" + kind,
        )
        for name, kind in kinds.items()
    }
