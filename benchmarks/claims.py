"""Whether a record bears out what somebody claims of its models.

A claim is a list of parts, each of which has to hold: that one row's number is larger than
another's, that it lies beyond a bound, that a corruption costs more than another, that a curve
has a shape. A part was shown as claimed, or shown otherwise, or neither; together they decide on
the claim.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.comparison import Tested, differences, resampling, row_number
from benchmarks.comparison_measures import Measure
from benchmarks.corruption_differences import Resampling
from benchmarks.reading import Record
from benchmarks.replicates import Row
from benchmarks.severity_curves import UNCLEAR, severity_curve
from benchmarks.significance import LEVEL, bootstrapped_mean, holm, paired_rates

Shown = Literal["as claimed", "otherwise", "open", "nothing to go by"]
AS_CLAIMED: Shown = "as claimed"
OTHERWISE: Shown = "otherwise"
OPEN: Shown = "open"
NOTHING: Shown = "nothing to go by"

REPRODUCED, NOT_REPRODUCED = "reproduced", "not reproduced"
UNDECIDED, NOT_TESTABLE = "undecided", "not testable"
VERDICTS = (REPRODUCED, NOT_REPRODUCED, UNDECIDED, NOT_TESTABLE)


def verdict(parts: Sequence[Shown]) -> str:
    """What the parts of a claim come to: it is reproduced where every one was shown as claimed.

    One that was shown otherwise refutes it. Where there is nothing to go by for any part, it
    cannot be tested.

    >>> verdict(["as claimed", "open"]), verdict(["as claimed", "otherwise", "open"])
    ('undecided', 'not reproduced')
    """
    found = set(parts)
    if found <= {NOTHING}:
        return NOT_TESTABLE
    if OTHERWISE in found:
        return NOT_REPRODUCED
    return REPRODUCED if found == {AS_CLAIMED} else UNDECIDED


@dataclass(frozen=True)
class Pair:
    """A part of a claim: the first of two is claimed to be larger.

    Attributes:
        larger, smaller: what is claimed to be so: names of rows, or of corruptions.
        model: in which both were measured, for corruptions.
        shown: whether the data show it: as claimed by ``p``, since all pairs have to hold (an
            intersection-union test); otherwise by ``p_holm``, since one is enough to refute.
        difference, interval: the larger less the smaller, and its 95 % interval; None where it
            has none.
        p, p_holm: two-sided, of the test alone, and after Holm's correction over the claim's pairs.
        test: in words; None where nothing could be tested.
    """

    larger: str
    smaller: str
    model: str | None
    shown: Shown
    difference: float | None = None
    interval: tuple[float, float] | None = None
    p: float | None = None
    p_holm: float | None = None
    test: str | None = None


def ordered_rows(
    record: Record, measure: Measure, larger: Sequence[Row], smaller: Sequence[Row], seed: int = 0
) -> list[Pair]:
    """Whether a measure is larger in each of some rows than in each of some others.

    The tests are those of `benchmarks.compare`, and all of them are the family for Holm's
    correction.

    Args:
        record: see `benchmarks.read_record`.
        measure: of the record.
        larger, smaller: rows of `benchmarks.replicates.rows`.
        seed: of the bootstrap.
    """
    pairs = [(first, second) for first in larger for second in smaller]
    tests = differences(record, measure, pairs, seed=seed)
    return _pairs([(first.name, second.name, None) for first, second in pairs], tests)


def ordered_corruptions(
    record: Record,
    models: Sequence[int],
    larger: Sequence[int],
    smaller: Sequence[int],
    severities: Sequence[int],
    seed: int = 0,
) -> list[Pair]:
    """Whether each of some corruptions costs each of some models more than each of some others.

    What a corruption costs is the drop: the error under it less the error on the untouched images,
    averaged over severities. Both corruptions met the same images, so the tests are paired, image
    by image: McNemar's at one severity, else a bootstrap. All of them are the family for Holm's
    correction. Models of one training with several seeds are tested one by one.

    Args:
        record: see `benchmarks.read_record`.
        models: their places in the record.
        larger, smaller: places of corruptions on the record's axis.
        severities: places on the record's axis.
        seed: of the bootstrap.
    """
    triples = [(m, first, second) for m in models for first in larger for second in smaller]
    draws = resampling(seed, len(triples), len(record.ids))
    tests = []
    for m, first, second in triples:
        clean, one, other = (_wrong(record, m, k, severities) for k in (None, first, second))
        known = ~np.isnan(clean)  # so that it is the difference of two drops
        tests.append(_paired(np.where(known, one, np.nan), other, draws))
    names = record.axes.corruptions
    return _pairs([(names[a], names[b], record.models[m]) for m, a, b in triples], tests)


def error_drop(
    record: Record, m: int, k: int, severities: Sequence[int], seed: int = 0
) -> Tested | None:
    """What a corruption costs a model: see `ordered_corruptions`. None without any image."""
    draws = resampling(seed, 1, len(record.ids))
    return _paired(_wrong(record, m, k, severities), _wrong(record, m, None, severities), draws)


def bounded(
    interval: Sequence[float] | None, at_least: float | None, at_most: float | None
) -> Shown:
    """Whether a number is within bounds, as far as its 95 % interval tells.

    >>> [bounded((0.4, 0.6), at_least, None) for at_least in (0.3, 0.5, 0.7)]
    ['as claimed', 'open', 'otherwise']
    """
    if interval is None:
        return NOTHING
    low, high = interval
    least = -np.inf if at_least is None else at_least
    most = np.inf if at_most is None else at_most
    if least <= low and high <= most:
        return AS_CLAIMED
    return OTHERWISE if high < least or low > most else OPEN


def row_interval(measure: Measure, row: Row) -> tuple[float, float] | None:
    """The 95 % interval of a row's number, as `benchmarks.compare` has it; None where it has none.

    Seeds that do not differ at all have no interval there. Here they have the one that spans those
    of their models, over images.
    """
    number = row_number(measure, row)
    found = number["interval"]
    if isinstance(found, list):
        return found[0], found[1]
    own = measure.intervals[list(row.models)]
    if number["value"] is None or not np.isfinite(own).all():
        return None
    return float(own[:, 0].min()), float(own[:, 1].max())


@dataclass(frozen=True)
class Curve:
    """A part of a claim: a model's error over severity has a shape.

    Attributes:
        model, corruption: whose curve it is.
        shown: as claimed where the curve has that name; otherwise where it has another one and
            fewer than 5 % of the resamples of the images have the one that was claimed.
        shape: the name that it has.
        shares: of the resamples, by the names that they have; None where no name was looked for.
        errors: by severity, 0 for untouched; None where nothing was counted.
    """

    model: str
    corruption: str
    shown: Shown
    shape: str
    shares: dict[str, float] | None
    errors: list[float] | None


def shaped(record: Record, m: int, k: int, shape: str, seed: int = 0) -> Curve:
    """Whether a model's error has a shape over the severities of a corruption.

    Args:
        record: see `benchmarks.read_record`.
        m, k: places of the model and the corruption.
        shape: one of `benchmarks.severity_curves.SHAPES`.
        seed: of the resamples.
    """
    curve = severity_curve(record, m, k, seed)
    shares, name = curve["shape_shares"], str(curve["shape"])
    shown = OPEN
    if not isinstance(shares, dict):
        shown = NOTHING
    elif name == shape:
        shown = AS_CLAIMED
    elif name != UNCLEAR and shares.get(shape, 0.0) < LEVEL:
        shown = OTHERWISE
    errors = curve["errors"]
    return Curve(
        model=record.models[m],
        corruption=record.axes.corruptions[k],
        shown=shown,
        shape=name,
        shares=shares if isinstance(shares, dict) else None,
        errors=errors if isinstance(errors, list) else None,
    )


def _pairs(
    names: Sequence[tuple[str, str, str | None]], tests: Sequence[Tested | None]
) -> list[Pair]:
    """Pairs with what their tests showed, corrected over all of them."""
    adjusted = iter(holm([test.difference.p for test in tests if test is not None]).tolist())
    return [
        Pair(*name, shown=NOTHING) if test is None else _pair(name, test, next(adjusted))
        for name, test in zip(names, tests, strict=True)
    ]


def _pair(name: tuple[str, str, str | None], test: Tested, p_holm: float) -> Pair:
    value, low, high, p = test.difference
    shown = OPEN
    if value > 0 and p < LEVEL:  # all pairs have to hold, so none needs a correction
        shown = AS_CLAIMED
    elif value < 0 and p_holm < LEVEL:  # one of them is enough to refute the claim
        shown = OTHERWISE
    known = bool(np.isfinite([low, high]).all())
    return Pair(
        *name,
        shown=shown,
        difference=value,
        interval=(low, high) if known else None,
        p=p,
        p_holm=p_holm,
        test=test.words,
    )


def _wrong(record: Record, m: int, k: int | None, severities: Sequence[int]) -> NDArray[np.float64]:
    """At what share of severities a model is wrong, image by image: (E,), NaN if not all finished.

    Where ``k`` is None, whether it is on the untouched images.
    """
    cells = record.clean["right"][m][None]
    if k is not None:
        cells = record.corrupted["right"][m, k, list(severities)]
    finished = (cells != 255).all(axis=0)
    return np.where(finished, (cells == 0).mean(axis=0), np.nan)


def _paired(
    first: NDArray[np.float64], second: NDArray[np.float64], draws: Resampling
) -> Tested | None:
    """The mean difference of values of the same images; None without any."""
    counted = ~np.isnan(first) & ~np.isnan(second)
    if not counted.any():
        return None
    ones, others = first[counted], second[counted]
    where = f"{int(counted.sum())} images"
    if np.isin([ones, others], (0, 1)).all():
        return Tested(paired_rates(ones == 1, others == 1), f"McNemar's exact test over {where}")
    found = bootstrapped_mean(first - second, counted, *draws)
    words = f"bootstrap ({draws.resamples} resamples) of the mean difference over {where}"
    return Tested(found, words) if np.isfinite([found.value, found.p]).all() else None
