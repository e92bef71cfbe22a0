"""Every aggregate of a whole record, computed from its per-image columns."""

from collections.abc import Mapping
from functools import partial

import numpy as np

from benchmarks import columns
from benchmarks.aggregates import aggregate, error_numbers
from benchmarks.attention_aggregates import attention_aggregates, attention_dims
from benchmarks.baselines import Baseline
from benchmarks.believability import belief_numbers
from benchmarks.budgets import worst_case_attacks
from benchmarks.columns import Array
from benchmarks.corruption_aggregates import (
    NUMBERS,
    Verdicts,
    baseline_errors,
    corruption_aggregates,
    corruption_dims,
)
from benchmarks.reading import Record

PROBE_ERROR = "probe_error"
"""The error under each probe, (model, probe), with its interval and images."""


def record_numbers(record: Record) -> dict[str, Array]:
    """What a record's ``aggregates`` are, by name, models first; those it holds are not looked at.

    Raises:
        ValueError: if its configuration names a baseline that is none of its models.
    """
    verdicts = partial(_verdicts, record)
    baseline = baseline_errors(record.config, record.models, verdicts) if record.corrupted else None
    each = [_of_model(record, m, baseline) for m in range(len(record.models))]
    return {name: np.stack([numbers[name] for numbers in each]) for name in each[0]}


def number_dims(name: str) -> tuple[str, ...]:
    """The axes of an aggregate in the record, ``model`` first."""
    if name == "robust":
        return ("model", "example")
    bound = ("bound",) if name.endswith("_interval") else ()
    if name.removesuffix("_interval").removesuffix("_images") in NUMBERS:
        return ("model", *corruption_dims(name), *bound)
    attention = attention_dims(name)
    if attention is not None:
        return ("model", *attention, *bound)
    if name.startswith(PROBE_ERROR):
        return ("model", "probe", *bound)
    attack = () if name.startswith("worst_case") else ("attack",)
    threshold = ("threshold",) if name.startswith("pixels_over_threshold") else ()
    return ("model", *attack, *threshold, *bound)


def _of_model(record: Record, m: int, baseline: Baseline | Verdicts | None) -> Mapping[str, Array]:
    numbers = aggregate(
        {name: record.clean[name][m] for name in columns.CLEAN},
        {name: record.attacked[name][m] for name in columns.ATTACK},
        record.seed,
        worst_case_attacks(record.attacks),
    )
    found = {**numbers.by_attack, **numbers.worst_case, "robust": numbers.robust}
    if record.corrupted:
        mine = _verdicts(record, m)
        found |= corruption_aggregates(record.axes, mine, baseline, record.seed)
    if record.attention:
        own = {name: values[m] for name, values in record.attention.items()}
        found |= attention_aggregates(record.axes, own, record.seed)
    if record.judged:
        attacked = {name: values[m] for name, values in record.attacked.items()}
        judged = {name: values[m] for name, values in record.judged.items()}
        found |= belief_numbers(record.clean["label"][m], attacked, judged)
    if record.probed:
        found |= error_numbers(PROBE_ERROR, record.probed["right"][m])
    return found


def _verdicts(record: Record, m: int) -> Verdicts:
    return Verdicts(record.clean["right"][m], record.corrupted["right"][m])
