"""The drift of attention as plain JSON values: what tables and ``--json`` show."""

import math
from typing import Any

import numpy as np

from benchmarks.attention_aggregates import MEASURES
from benchmarks.columns import Array
from benchmarks.reading import Record

ATTENTION_DENOMINATORS = {
    "corruptions": "mean over the images whose maps of the label have mass, clean and corrupted",
    "severities": "mean over the corruptions that count, at one severity",
    "mean": "mean over the corruptions that count and all severities",
    "accuracy": "right / images of the finished cell",
    "undefined": "images of finished cells of which a map is empty, or constant, so not compared",
}
"""What each number of `attention_results` is taken over."""


def attention_results(record: Record) -> list[dict[str, Any]]:
    """One object per model whose attention was measured; empty if none was.

    ``kept_mass``, ``centre_shift`` and ``rank_correlation`` as of `benchmarks.attention`, of each
    corruption by severity (with the accuracy), of each severity over corruptions, and over all.
    Every mean has its ``interval`` (BCa bootstrap over images, 95 %, 1000 resamples); a number
    of which nothing was measured is None. See `ATTENTION_DENOMINATORS`.
    """
    layers: Any = record.config.get("attention") or {}
    return [
        {"model": name, "layer": dict(layers[name]), **_numbers(record, m)}
        for m, name in enumerate(record.models)
        if record.attention and name in layers
    ]


def _numbers(record: Record, m: int) -> dict[str, Any]:
    axes, numbers = record.axes, record.aggregates
    keys = list(map(str, axes.severities))

    def over(name: str, *place: int) -> dict[str, Any]:
        values, ends = numbers[name][(m, *place)], numbers[f"{name}_interval"][(m, *place)]
        return {
            "value": dict(zip(keys, _list(values), strict=True)),
            "interval": dict(zip(keys, map(_list, ends), strict=True)),
        }

    def counts(name: str, k: int) -> dict[str, int]:
        return dict(zip(keys, map(int, numbers[name][m, k]), strict=True))

    def accuracy(k: int) -> dict[str, Any]:
        values = 1 - numbers["cell_error"][m, k]
        ends = 1 - numbers["cell_error_interval"][m, k][:, ::-1]
        return {
            "value": dict(zip(keys, _list(values), strict=True)),
            "interval": dict(zip(keys, map(_list, ends), strict=True)),
        }

    return {
        "clean_accuracy": _number(1 - numbers["clean_error"][m]),
        "corruptions": {
            corruption: {"accuracy": accuracy(k)}
            | {
                measure: over(measure, k)
                | {what: counts(f"{measure}_{what}", k) for what in ("images", "undefined")}
                for measure in MEASURES
            }
            for k, corruption in enumerate(axes.corruptions)
        },
        "severities": {measure: over(f"severity_{measure}") for measure in MEASURES},
        "mean": {
            measure: {
                "value": _number(numbers[f"mean_{measure}"][m]),
                "interval": _list(numbers[f"mean_{measure}_interval"][m]),
            }
            for measure in MEASURES
        },
    }


def _number(value: object) -> float | None:
    number = float(np.asarray(value, np.float64))
    return number if math.isfinite(number) else None


def _list(values: Array) -> list[float | None]:
    return [_number(value) for value in values]
