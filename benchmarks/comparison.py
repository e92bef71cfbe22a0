"""Comparing the models of a record: every number with its interval, and whether rows differ."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.baselines import baseline_of
from benchmarks.comparison_measures import Measure, measures
from benchmarks.corruption_aggregates import Verdicts, baseline_errors
from benchmarks.corruption_differences import Resampling, corruption_differences
from benchmarks.intervals import resampled_medians, student_mean
from benchmarks.reading import Record
from benchmarks.replicates import Row, rows
from benchmarks.significance import (
    LEVEL,
    Difference,
    bootstrapped_mean,
    holm,
    paired_rates,
    percentile_p,
    welch,
)

JSON = dict[str, object]

# Of resamples for tests: enough that the smallest p times the size of the family stays below 0.02,
# few enough that the counts of all draws stay below 400 MB.
_PER_TEST, _LEAST, _MOST, _MOST_DRAWS = 100, 2000, 20_000, 4 * 10**8


def compare(
    record: Record, *, baseline: str | None = None, seed: int = 0, fold: bool = True
) -> JSON:
    """The models of a record beside each other, each number with its 95 % interval and a verdict.

    Models that are one training with several seeds are one row (`benchmarks.replicates`), with the
    mean over the seeds, their standard deviation and Student's interval of the mean; two seeds
    have a wide one, and seeds that do not differ have none. All other rows have the stored numbers
    of their model.

    Each row is compared with the baseline row. Where both have several seeds, that is a question
    about training: Welch's t-test between the values of the seeds. Else it is one about the images,
    which are the same for both: McNemar's exact test for a rate of two single models, and a
    bootstrap that draws the images again for everything else. What each test was, and over what, is
    in its ``test``. All of them are one family for Holm's correction, which is named in ``family``.

    Args:
        record: see `benchmarks.read_record`.
        baseline: the name of a row, or of a model in it; the row of the record's own baseline
            where that is one of its models, else the first one.
        seed: of the bootstrap.
        fold: whether replicates are one row; else every model is, and tests are over images.

    Returns:
        plain JSON values: ``baseline``, ``family``, ``measures`` and ``rows``; a number that is
        not known is None. ``versus`` is None in the baseline's own row, for a measure with no
        better direction, and where nothing can be tested.

    Raises:
        ValueError: if there is no such row.
    """
    found, lines = measures(record), rows(record, fold=fold)
    against = _baseline_row(record, lines, baseline)
    others = [row for row in lines if row is not against]
    judged = [measure for measure in found if measure.better is not None]
    draws = resampling(seed, len(others) * len(judged), len(record.ids))
    tests = {
        (row.name, measure.key): test
        for row in others
        for measure, test in _tests(record, row, against, judged, draws)
    }
    adjusted = holm([test.difference.p for test in tests.values()])
    better = {measure.key: measure.better for measure in judged}
    versus = {
        place: _versus(test, p, better[place[1]])
        for (place, test), p in zip(tests.items(), adjusted.tolist(), strict=True)
    }
    return {
        "baseline": against.name if others else None,
        "family": _family(len(tests), others, against),
        "measures": [measure.as_json() for measure in found],
        "rows": [
            _row(record, row, found, versus) | {"is_baseline": bool(others) and row is against}
            for row in lines
        ],
    }


@dataclass(frozen=True)
class Tested:
    """A difference, and in words how it was tested."""

    difference: Difference
    words: str


def differences(
    record: Record, measure: Measure, pairs: Sequence[tuple[Row, Row]], *, seed: int = 0
) -> list[Tested | None]:
    """How much larger a measure is in the first row of each pair, tested as `compare` does.

    Args:
        record: see `benchmarks.read_record`.
        measure: one of `benchmarks.comparison_measures.measures`, with a better direction or none.
        pairs: of rows of `benchmarks.replicates.rows`.
        seed: of the bootstrap.

    Returns:
        None for a pair where nothing can be tested. Each p is of that test alone.
    """
    draws = resampling(seed, len(pairs), len(record.ids))
    return [
        next((test for _, test in _tests(record, first, second, [measure], draws)), None)
        for first, second in pairs
    ]


def _baseline_row(record: Record, lines: Sequence[Row], asked: str | None) -> Row:
    by_name = {record.models[m]: row for row in lines for m in row.models}
    by_name |= {row.name: row for row in lines}
    if asked is None:
        own = baseline_of(record.config)
        return by_name[own] if isinstance(own, str) and own in by_name else lines[0]
    if asked not in by_name:
        close = difflib.get_close_matches(asked, by_name, 1)
        hint = f"Did you mean {close[0]!r}?" if close else f"Rows: {', '.join(by_name)}."
        raise ValueError(
            f"The baseline of a comparison is one of its models, and {asked!r} is none. {hint}"
        )
    return by_name[asked]


def resampling(seed: int, tests: int, examples: int) -> Resampling:
    """How often to draw the examples again for a family of so many tests."""
    affordable = max(_LEAST, min(_MOST, _MOST_DRAWS // max(1, examples)))
    return Resampling(seed, min(affordable, max(_LEAST, _PER_TEST * tests)))


def _tests(
    record: Record, row: Row, against: Row, judged: Sequence[Measure], draws: Resampling
) -> Iterator[tuple[Measure, Tested]]:
    """The tests of a row against the baseline row, as far as there is something to test."""
    over_images: list[Measure] = []
    for measure in judged:
        between = _between_seeds(measure, row, against)
        if between is None:
            over_images.append(measure)
        else:
            yield measure, between
    corrupted = [measure for measure in over_images if measure.kind == "corruptions"]
    over_cells = _over_cells(record, row, against, draws) if corrupted else {}
    for measure in over_images:
        if measure.kind == "corruptions":
            test = over_cells.get(measure.key)
        else:
            test = _over_images(measure, row, against, draws)
        if test is not None and np.isfinite([test.difference.value, test.difference.p]).all():
            yield measure, test


def _between_seeds(measure: Measure, row: Row, against: Row) -> Tested | None:
    """Welch's test, where both rows have several seeds that differ."""
    values = [measure.values[list(each.models)] for each in (row, against)]
    if not all(np.isfinite(each).all() for each in values):
        return None
    found = welch(*values)
    if found is None:
        return None
    counts = " and ".join(str(len(each)) for each in values)
    return Tested(found, f"Welch's t-test between seeds ({counts})")


def _over_images(measure: Measure, row: Row, against: Row, draws: Resampling) -> Tested | None:
    """A test over the images that count for every model of both rows."""
    if measure.images is None:
        return None
    mine, its = (measure.images[list(each.models)] for each in (row, against))
    counted = ~np.isnan(np.concatenate([mine, its])).any(axis=0)
    count = int(counted.sum())
    where = f"the {count} images that count for both ({measure.denominator})"
    if measure.kind == "mean":
        where = f"the {count} common successes"
    if measure.kind == "rate" and len(mine) == len(its) == 1:
        found = paired_rates(mine[0, counted] == 1, its[0, counted] == 1)
        return Tested(found, f"McNemar's exact test over {where}")
    fixed = _fixed_seeds(row, against)
    if measure.kind == "median":
        known = [np.where(counted, each, np.nan) for each in (mine, its)]
        medians = _median_difference(known[0], known[1], draws)
        words = f"{_drawn(draws)} of the difference of medians over {where}"
        return None if medians is None else Tested(medians, words + fixed)
    found = bootstrapped_mean(mine.mean(axis=0) - its.mean(axis=0), counted, *draws)
    return Tested(found, f"{_drawn(draws)} of the mean difference over {where}{fixed}")


def _median_difference(
    mine: NDArray[np.float64], its: NDArray[np.float64], draws: Resampling
) -> Difference | None:
    """The difference of the (means over models of the) medians; None where one is infinite."""
    value, again = 0.0, np.zeros(draws.resamples)
    with np.errstate(invalid="ignore"):  # infinite on both sides: that resample says nothing
        for sign, row in ((1, mine), (-1, its)):
            for each in row:
                median, resampled = resampled_medians(each, *draws)
                value += sign * median / len(row)
                again = again + sign * resampled / len(row)
        differing = int((mine.mean(axis=0) != its.mean(axis=0))[~np.isnan(mine[0])].sum())
    if not np.isfinite(value):
        return None
    again = again[~np.isnan(again)]
    if not len(again):
        return None
    low, high = np.quantile(again, (0.025, 0.975), method="inverted_cdf").tolist()
    return Difference(value, low, high, percentile_p(again, differing))


def _over_cells(record: Record, row: Row, against: Row, draws: Resampling) -> dict[str, Tested]:
    """The bootstrap of everything that is over many corrupted cells."""

    def verdicts(m: int) -> Verdicts:
        return Verdicts(record.clean["right"][m], record.corrupted["right"][m])

    base = baseline_errors(record.config, record.models, verdicts)
    found = corruption_differences(
        record.axes,
        [verdicts(m) for m in row.models],
        [verdicts(m) for m in against.models],
        base,
        draws,
    )
    drawn = "both rows and the baseline of mCE" if isinstance(base, Verdicts) else "both rows"
    words = f"images, all cells of {drawn} drawn together{_fixed_seeds(row, against)}"
    return {
        key: Tested(each.difference, f"{_drawn(draws)} over {each.images} {words}")
        for key, each in found.items()
    }


def _drawn(draws: Resampling) -> str:
    return f"bootstrap ({draws.resamples} resamples)"


def _fixed_seeds(row: Row, against: Row) -> str:
    """What is to be said of rows of several models that are tested over images."""
    several = len(row.models) > 1 or len(against.models) > 1
    return "; means of these seeds, says nothing of others" if several else ""


def _versus(test: Tested, p_holm: float, better: str | None) -> JSON:
    value, low, high, p = test.difference
    verdict = "no difference"
    if p_holm < LEVEL and value:
        verdict = "better" if (value > 0) == (better == "higher") else "worse"
    return {
        "verdict": verdict,
        "difference": value,
        "interval": _interval(low, high),
        "p": p,
        "p_holm": p_holm,
        "test": test.words,
    }


def _family(tests: int, others: Sequence[Row], against: Row) -> str:
    if not others:
        return "no tests: there is one row"
    many = "1 test" if tests == 1 else f"{tests} tests"
    return (
        f"all {many} of this comparison: every measure with a better direction of each of "
        f"{len(others)} other row{'s' if len(others) > 1 else ''}, against {against.name}"
    )


def _row(
    record: Record,
    row: Row,
    found: Sequence[Measure],
    versus: Mapping[tuple[str, str], JSON],
) -> JSON:
    return {
        "name": row.name,
        "models": [record.models[m] for m in row.models],
        "seeds": list(row.seeds),
        "architecture": row.architecture,
        "defenses": list(row.defenses),
        "parameters": row.parameters,
        "trained_on_corruptions": list(row.trained_on),
        "numbers": {
            measure.key: row_number(measure, row) | {"versus": versus.get((row.name, measure.key))}
            for measure in found
        },
    }


def row_number(measure: Measure, row: Row) -> JSON:
    """A row's number: its model's, or the mean over its seeds; None for an infinite median."""
    models = list(row.models)
    values = measure.values[models]
    if len(models) == 1:
        known = bool(np.isfinite(values[0]))
        return {
            "value": float(values[0]) if known else None,
            "interval": _interval(*measure.intervals[models[0]].tolist()) if known else None,
            "over": "images",
            "count": int(measure.counts[models[0]]),
            "spread": None,
        }
    values = values[~np.isnan(values)]  # of the seeds for which something was counted
    known = bool(len(values) and np.isfinite(values).all())
    several = known and len(values) > 1
    varied = several and np.ptp(values) > 0  # else Student's interval would claim to be exact
    return {
        "value": float(values.mean()) if known else None,
        "interval": student_mean(values).clip(*measure.bounds).tolist() if varied else None,
        "over": "seeds",
        "count": len(values),
        "spread": float(values.std(ddof=1)) if several else None,
    }


def _interval(low: float, high: float) -> list[float] | None:
    return [low, high] if np.isfinite([low, high]).all() else None
