"""A record as tidy tables: every row one observation, every column one variable."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product

import numpy as np

from benchmarks import columns
from benchmarks.aggregates import COUNTS, MEANS_OVER_ATTACKED, MEANS_OVER_SUCCESSES, RATES
from benchmarks.attention_aggregates import MEASURES
from benchmarks.attention_aggregates import NUMBERS as ATTENTION
from benchmarks.attention_results import ATTENTION_DENOMINATORS
from benchmarks.believability import BELIEF_RATES, JUDGED_SUCCESSES
from benchmarks.columns import Array
from benchmarks.intervals import wilson
from benchmarks.reading import Record
from benchmarks.record_numbers import number_dims
from benchmarks.results import CORRUPTION_DENOMINATORS, DENOMINATORS, PROBE_DENOMINATORS

Row = Mapping[str, str | int | float | None]
Table = Mapping[str, Sequence[str | int | float | None]]

KINDS = ("clean", "attack", "worst case", "corruption", "family", "corruptions", "probe")
"""What a row of `result_rows` may be about: ``corruptions`` are all that count."""

RESULT_COLUMNS: Mapping[str, type] = {
    "model": str,
    "kind": str,
    "condition": str,
    "severity": int,
    "threshold": float,
    "measure": str,
    "value": float,
    "low": float,
    "high": float,
    "count": int,
    "denominator": str,
}
"""The columns of `result_rows`, and what they hold."""

_OVER = {
    **{name: whole for name, (_, whole) in RATES.items()},
    **dict.fromkeys(MEANS_OVER_SUCCESSES, "succeeded"),
    **dict.fromkeys(MEANS_OVER_ATTACKED, "attacked"),
    "pixels_over_threshold": "succeeded",
    "median_confidence": "succeeded",
    "median_pixel_change": "attacked",
    "max_linf": "attacked",
    **dict.fromkeys((*BELIEF_RATES, *BELIEF_RATES.values()), JUDGED_SUCCESSES),
    JUDGED_SUCCESSES: "succeeded",
}
"""Which count each number of an attack is taken over."""

_WORDS = {
    "cell_error": CORRUPTION_DENOMINATORS["errors"],
    "family_mean_error": CORRUPTION_DENOMINATORS["families"],
    "family_ratio": CORRUPTION_DENOMINATORS["families"],
    "probe_error": PROBE_DENOMINATORS["error"],
    "worst_case_robust_accuracy": "right untouched and under every attack with a budget / images",
    **{
        name: ATTENTION_DENOMINATORS[("mean", "severities", "corruptions")[len(dims)]]
        for name, dims in ATTENTION.items()
    },
    **{f"{name}_undefined": ATTENTION_DENOMINATORS["undefined"] for name in MEASURES},
    **{name: DENOMINATORS.get(name, f"{name.replace('_', ' ')} among images") for name in COUNTS},
    **{name: f"{name.replace('_', ' ')} among the successes" for name in BELIEF_RATES.values()},
    JUDGED_SUCCESSES: "successes that the judge has read",
}
_ALL_WORDS = {**DENOMINATORS, **CORRUPTION_DENOMINATORS, **_WORDS}
_NOT_NUMBERS = ("robust", "worst_case_images")


def result_rows(record: Record) -> Iterator[Row]:
    """One row for each model, condition and measure: the record's aggregates.

    ``kind`` is one of `KINDS`, ``condition`` the attack, corruption, family or probe. ``low`` and
    ``high`` bound the 95 % interval, ``count`` is how many images the value is taken over,
    ``denominator`` says which. What was not measured, or has no such thing, is None.
    """
    conditions = (
        *record.attacks,
        *record.axes.corruptions,
        *record.axes.families,
        *record.probes,
    )

    def place(row: Row) -> tuple[int, int]:
        told = row["condition"]
        return KINDS.index(str(row["kind"])), -1 if told is None else conditions.index(str(told))

    for m in range(len(record.models)):
        yield from sorted(_rows_of(record, m), key=place)


def _rows_of(record: Record, m: int) -> Iterator[Row]:
    if not record.corrupted:
        yield _clean_error(record, m)
    for name, values in record.aggregates.items():
        if name in _NOT_NUMBERS or name.endswith(("_interval", "_images")):
            continue
        dims = number_dims(name)[1:]
        interval = record.aggregates.get(f"{name}_interval")
        for place in product(*(range(size) for size in values.shape[1:])):
            at = (m, *place)
            low, high = (None, None) if interval is None else map(_number, interval[at])
            yield {
                "model": record.models[m],
                **_condition(record, name, dims, place),
                "measure": name,
                "value": _number(values[at]),
                "low": low,
                "high": high,
                "count": _count(record, name, at),
                "denominator": _ALL_WORDS[name],
            }


def image_columns(record: Record) -> dict[str, type]:
    """The columns of `image_tables` for a record, and what they hold."""
    measured = {**columns.CLEAN, **columns.attack_columns(judged=bool(record.judged))}
    if record.attention:
        measured |= columns.ATTENTION
    measured.pop("pixels_over_threshold")
    found: dict[str, type] = {
        "model": str,
        "kind": str,
        "condition": str,
        "severity": int,
        "row": int,
        "example": int,
    }
    found |= {name: float if kind[0] == "f" else int for name, kind in measured.items()}
    return found | {_over(threshold): int for threshold in record.thresholds.tolist()}


def image_tables(record: Record, rows: int = 5000) -> Iterator[Table]:
    """One row for each model, condition and example that was measured, with every column.

    ``row`` is the place in the data, ``example`` the stable id. A column that the condition does
    not have, or that was not measured, is None. Tables come condition by condition and hold at
    most ``rows`` rows, so that a large record need not be in memory as Python objects at once.
    """
    kinds = image_columns(record)
    for m, model in enumerate(record.models):
        for head, mark, found in _conditions(record, m):
            finished = np.flatnonzero(found[mark] != 255)
            for start in range(0, len(finished), rows):
                chosen = finished[start : start + rows]
                data = {name: _known(values[chosen]) for name, values in found.items()}
                data |= {"row": chosen.tolist(), "example": record.ids[chosen].tolist()}
                blank = [None] * len(chosen)
                same = {name: [value] * len(chosen) for name, value in head.items()}
                same["model"] = [model] * len(chosen)
                yield {name: same.get(name, data.get(name, blank)) for name in kinds}


def _conditions(
    record: Record, m: int
) -> Iterator[tuple[dict[str, str | int | None], str, dict[str, Array]]]:
    """Each condition of a model, the column that says what is finished, and its columns (E,)."""
    clean = {name: record.clean[name][m] for name in columns.CLEAN}
    yield {"kind": "clean", "condition": None, "severity": None}, "right", clean
    for a, attack in enumerate(record.attacks):
        found = {name: record.attacked[name][m, a] for name in columns.ATTACK}
        over = found.pop("pixels_over_threshold")
        found |= {_over(t): over[:, i] for i, t in enumerate(record.thresholds.tolist())}
        found |= {f"judge_{name}": values[m, a] for name, values in record.judged.items()}
        found["label"] = clean["label"]
        yield {"kind": "attack", "condition": attack, "severity": None}, "attacked", found
    for k, corruption in enumerate(record.axes.corruptions):
        for s, severity in enumerate(record.axes.severities):
            measured = {**record.corrupted, **record.attention}
            found = {name: values[m, k, s] for name, values in measured.items()}
            found["label"] = clean["label"]
            yield (
                {"kind": "corruption", "condition": corruption, "severity": severity},
                "right",
                found,
            )
    for p, probe in enumerate(record.probes):
        found = {name: values[m, p] for name, values in record.probed.items()}
        found["label"] = clean["label"]
        yield {"kind": "probe", "condition": probe, "severity": None}, "right", found


def _over(threshold: float) -> str:
    return f"pixels_over_threshold@{threshold:g}"


def _known(values: Array) -> list[int | float | None]:
    """The values as Python numbers, None for those that were not measured."""
    fill = columns.fill(values.dtype.kind)
    missing = np.isnan(values) if values.dtype.kind == "f" else values == fill
    known: list[int | float | None] = np.ma.masked_array(values, missing).tolist()
    return known


def _condition(
    record: Record, name: str, dims: Sequence[str], place: Sequence[int]
) -> dict[str, str | int | float | None]:
    at = dict(zip(dims, place, strict=True))
    head: dict[str, str | int | float | None] = dict.fromkeys(
        ("kind", "condition", "severity", "threshold")
    )
    if "attack" in at:
        head |= {"kind": "attack", "condition": record.attacks[at["attack"]]}
    elif "corruption" in at:
        head |= {"kind": "corruption", "condition": record.axes.corruptions[at["corruption"]]}
    elif "family" in at:
        head |= {"kind": "family", "condition": record.axes.families[at["family"]]}
    elif "probe" in at:
        head |= {"kind": "probe", "condition": record.probes[at["probe"]]}
    elif name.startswith("worst_case"):
        head["kind"] = "worst case"
    else:
        head["kind"] = "clean" if name == "clean_error" else "corruptions"
    if "severity" in at:
        head["severity"] = record.axes.severities[at["severity"]]
    if "threshold" in at:
        head["threshold"] = float(record.thresholds[at["threshold"]])
    return head


def _count(record: Record, name: str, at: tuple[int, ...]) -> int | None:
    numbers = record.aggregates
    if name.startswith("worst_case"):
        return int(numbers["worst_case_images"][at])
    if f"{name}_images" in numbers:
        return int(numbers[f"{name}_images"][at])
    at = at[:2]  # without the threshold
    whole = "images" if name in COUNTS else _OVER.get(name)
    if whole == "judged":
        return int(numbers["attacked"][at] + numbers["clean_wrong"][at])
    return None if whole is None else int(numbers[whole][at])


def _clean_error(record: Record, m: int) -> Row:
    """The error on untouched images, which records of attacks alone do not store."""
    right = record.clean["right"][m]
    images, wrong = int((right != 255).sum()), int((right == 0).sum())
    low, high = map(_number, wilson(wrong, images))
    return {
        "model": record.models[m],
        "kind": "clean",
        "condition": None,
        "severity": None,
        "threshold": None,
        "measure": "clean_error",
        "value": wrong / images if images else None,
        "low": low,
        "high": high,
        "count": images,
        "denominator": CORRUPTION_DENOMINATORS["clean_error"],
    }


def _number(value: object) -> float | None:
    number = float(np.asarray(value, np.float64))
    return number if np.isfinite(number) else None
