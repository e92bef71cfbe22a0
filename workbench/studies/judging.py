"""Decides on the claims of a study, from the records that its steps made."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import Record
from benchmarks.claims import (
    NOT_TESTABLE,
    Curve,
    Pair,
    Shown,
    bounded,
    error_drop,
    ordered_corruptions,
    ordered_rows,
    row_interval,
    shaped,
    verdict,
)
from benchmarks.comparison import row_number
from benchmarks.comparison_measures import Measure
from benchmarks.replicates import Row, rows
from workbench.comparing import read_together
from workbench.errors import UsageError
from workbench.measure_names import of_what
from workbench.running import caution_lines
from workbench.studies.claim_measures import claimed_measure
from workbench.studies.claim_rows import find_row
from workbench.studies.claims import Best, Bound, Claim, Corruptions, Ordering, Shape

RECORD = "record.h5"


@dataclass(frozen=True)
class Verdict:
    """What a study's claim came to at some scale. `dataclasses.asdict` gives plain values.

    Attributes:
        claim, study: the claim, and what the study has to show for it.
        kind: one of `workbench.studies.claims.KEYS`.
        scale: at which the study was carried out.
        record: the directories that the numbers are from; none for the only one there is.
        verdict: one of `benchmarks.claims.VERDICTS`.
        reason: why it cannot be tested here, else an empty text.
        measure: what the numbers are: ``key``, ``title``, ``form``, ``better``, ``denominator``;
            for numbers of corruptions ``corruptions`` and ``severities``; else None.
        rows: the numbers: ``name``, ``value``, ``interval``, ``over``, ``count``, ``spread`` as in
            `benchmarks.compare`; ``corruption`` where it is what that costs.
        parts: what has to hold, one by one, with what the data show of it; see
            `benchmarks.claims`.
        cautions: of the record, about these models under these conditions.
        trained_on_corruptions: of each row that was, the test corruptions.
    """

    claim: str
    study: str
    kind: str
    scale: str
    record: tuple[str, ...]
    verdict: str
    reason: str = ""
    measure: Mapping[str, Any] | None = None
    rows: tuple[Mapping[str, Any], ...] = ()
    parts: tuple[Mapping[str, Any], ...] = ()
    cautions: tuple[str, ...] = ()
    trained_on_corruptions: Mapping[str, tuple[str, ...]] | None = None


class _Untestable(Exception):  # noqa: N818  (it is an outcome, and no error)
    """Why a claim cannot be tested on what there is."""


@dataclass(frozen=True)
class _Data:
    """A record, its rows, and the seed of what is drawn again."""

    record: Record
    rows: tuple[Row, ...]
    seed: int

    def named(self, texts: Sequence[str]) -> list[Row]:
        """The rows of these names, each once."""
        found: dict[str, Row] = {}
        lacking = []
        for text in texts:
            try:
                row = find_row(text, self.record, self.rows)
                found[row.name] = row
            except UsageError as error:
                lacking.append(str(error))
        if lacking:
            there = ", ".join(row.name for row in self.rows)
            raise _Untestable(f"{'; '.join(lacking)} (it has {there})")
        return list(found.values())

    def measure(self, text: str, of: Sequence[Row]) -> Measure:
        """The measure of this name, that was taken of all of these rows."""
        try:
            measure = claimed_measure(self.record, text)
        except UsageError as error:
            raise _Untestable(f"the record does not have it: {error}") from None
        lacking = [row.name for row in of if not row_number(measure, row)["count"]]
        if lacking:
            raise _Untestable(f"{text} was not measured of {', '.join(lacking)}")
        return measure

    def corruptions(self, names: Sequence[str]) -> list[int]:
        """The places of corruptions on the record's axis."""
        there = self.record.axes.corruptions
        lacking = [name for name in names if name not in there]
        if lacking:
            raise _Untestable(f"the record does not have {', '.join(lacking)}")
        return [there.index(name) for name in names]

    def severities(self, asked: int | None) -> list[int]:
        """The place of a severity on the record's axis, or all of them."""
        there = self.record.axes.severities
        if asked is not None and asked not in there:
            raise _Untestable(f"the record does not have severity {asked}")
        return [s for s, each in enumerate(there) if asked in (None, each)]

    def cautions(
        self, models: Sequence[str], is_meant: Callable[[Mapping[str, Any]], bool]
    ) -> tuple[str, ...]:
        """Those about some models, untouched or under conditions that are meant, in words.

        What several models have in common is told of the first of them.
        """
        alike: dict[tuple[object, ...], list[Mapping[str, Any]]] = {}
        for each in self.record.cautions:
            if each["model"] in models and (_is_clean(each) or is_meant(each)):
                alike.setdefault((each["code"], each["attack"], each.get("probe")), []).append(each)
        lines = []
        for group in alike.values():
            (line,) = caution_lines(replace(self.record, cautions=(group[0],)))
            more = len({each["model"] for each in group}) - 1
            models_more = "1 more model" if more == 1 else f"{more} more models"
            lines.append(f"{line} (and the like of {models_more})" if more else line)
        return tuple(lines)


def judge(claims: Sequence[Claim], output: Path, scale: str, *, seed: int = 0) -> list[Verdict]:
    """What each claim comes to, by the records that the study's steps left.

    A claim that lacks a record, a model, a measure or a corruption is not testable, and says so.

    Args:
        claims: see `workbench.studies.claims.read_claims`.
        output: the study's directory.
        scale: at which it was carried out.
        seed: of what is drawn again.

    Raises:
        ValueError: a record is damaged, or several do not belong together.
    """
    known: dict[tuple[str, ...], _Data | None] = {}
    found = []
    for claim in claims:
        blank = Verdict(claim.says, claim.study, claim.kind, scale, claim.record, NOT_TESTABLE)
        try:
            asks = _testable(claim, scale)
            if claim.record not in known:
                known[claim.record] = _read(output, claim, seed)
            data = known[claim.record]
            if data is None:
                steps = ", ".join(claim.record) or "the study"
                raise _Untestable(f"{steps} left no record: not finished, or not at this scale")
            found.append(replace(blank, **_decided(asks, data)))
        except _Untestable as why:
            found.append(replace(blank, reason=str(why)))
    return found


def _testable(claim: Claim, scale: str) -> Ordering | Best | Bound | Corruptions | Shape:
    if claim.asks is None:
        raise _Untestable(claim.untestable)
    if claim.scales is not None and scale not in claim.scales:
        raise _Untestable(f"not at scale {scale}; decided at {', '.join(claim.scales)}")
    return claim.asks


def _read(output: Path, claim: Claim, seed: int) -> _Data | None:
    """The record of a claim; None where some of it is missing."""
    files = [output / name / RECORD for name in claim.record]
    if not claim.record:
        below = sorted(output.glob(f"*/{RECORD}"))
        files = [output / RECORD] if (output / RECORD).is_file() else below
        if len(files) > 1:
            names = ", ".join(file.parent.name for file in files)
            raise _Untestable(f"the claim does not say which record: {names}")
    if not files or not all(file.is_file() for file in files):
        return None
    record = read_together(files)
    return _Data(record, rows(record), seed)


def _decided(asks: Ordering | Best | Bound | Corruptions | Shape, data: _Data) -> dict[str, Any]:
    """What a verdict says beside its claim."""
    match asks:
        case Ordering():
            return _ordered(data, asks.measure, asks.higher, asks.lower)
        case Best():
            return _best(data, asks)
        case Corruptions():
            return _costs(data, asks)
        case Shape():
            return _shapes(data, asks)
        case Bound(measure=str()):
            return _bounded_measure(data, asks)
        case Bound():
            return _bounded_drops(data, asks)


def _ordered(data: _Data, text: str, higher: Sequence[str], lower: Sequence[str]) -> dict[str, Any]:
    over, under = (data.named(names) for names in (higher, lower))
    both = {row.name for row in over} & {row.name for row in under}
    if both:
        raise _Untestable(f"{', '.join(sorted(both))}: one row of the record is on both sides")
    measure = data.measure(text, [*over, *under])
    pairs = ordered_rows(data.record, measure, over, under, data.seed)
    return _with_numbers(data, measure, [*over, *under], pairs)


def _best(data: _Data, asks: Best) -> dict[str, Any]:
    better = data.measure(asks.measure, data.named([asks.best, *asks.among])).better
    if better is None:
        raise _Untestable(f"neither direction of {asks.measure} is better")
    best = ([asks.best], asks.among)
    return _ordered(data, asks.measure, *(best if better == "higher" else best[::-1]))


def _bounded_measure(data: _Data, asks: Bound) -> dict[str, Any]:
    mine = data.named(asks.rows)
    measure = data.measure(str(asks.measure), mine)
    found = _with_numbers(data, measure, mine, [])
    return found | _within(asks, [row | {"corruption": None} for row in found["rows"]])


def _bounded_drops(data: _Data, asks: Bound) -> dict[str, Any]:
    found = _with_drops(data, asks.rows, asks.corruptions, asks.severity)
    return found | _within(asks, found["rows"])


def _within(asks: Bound, numbers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    parts = tuple(
        {
            "name": each["name"],
            "corruption": each["corruption"],
            "at_least": asks.at_least,
            "at_most": asks.at_most,
            "shown": bounded(each["interval"], asks.at_least, asks.at_most),
        }
        for each in numbers
    )
    return {"parts": parts} | _decision([part["shown"] for part in parts])


def _costs(data: _Data, asks: Corruptions) -> dict[str, Any]:
    found = _with_drops(data, asks.rows, [*asks.higher, *asks.lower], asks.severity)
    over, under = (data.corruptions(names) for names in (asks.higher, asks.lower))
    models = [m for row in data.named(asks.rows) for m in row.models]
    severities = data.severities(asks.severity)
    pairs = ordered_corruptions(data.record, models, over, under, severities, data.seed)
    return found | _of_parts(pairs)


def _shapes(data: _Data, asks: Shape) -> dict[str, Any]:
    mine = data.named(asks.rows)
    places = data.corruptions(asks.corruptions)
    curves = [
        shaped(data.record, m, k, asks.shape, data.seed)
        for row in mine
        for m in row.models
        for k in places
    ]
    found = _about(data, mine, lambda each: each.get("corruption") in asks.corruptions)
    told = {"corruptions": list(asks.corruptions), "severities": list(data.record.axes.severities)}
    return found | {"measure": told | {"shape": asks.shape}} | _of_parts(curves)


def _with_numbers(
    data: _Data, measure: Measure, mine: Sequence[Row], pairs: Sequence[Pair]
) -> dict[str, Any]:
    """The numbers of rows in a measure, and what pairs of them came to."""

    def is_meant(caution: Mapping[str, Any]) -> bool:
        if measure.key == "worst_case_robust_accuracy":
            return caution["attack"] is not None
        if measure.group == "corruptions":
            return caution.get("corruption") is not None
        return of_what(measure.as_json()) in (caution["attack"], caution.get("probe"))

    numbers = tuple(
        {"name": row.name, **row_number(measure, row), "interval": row_interval(measure, row)}
        for row in mine
    )
    told = {"measure": measure.as_json(), "rows": numbers}
    return _about(data, mine, is_meant) | told | _of_parts(pairs)


def _with_drops(
    data: _Data, texts: Sequence[str], corruptions: Sequence[str], severity: int | None
) -> dict[str, Any]:
    """What corruptions cost each model of some rows."""
    mine = data.named(texts)
    severities = data.severities(severity)
    numbers = []
    for m in (m for row in mine for m in row.models):
        for k in data.corruptions(corruptions):
            drop = error_drop(data.record, m, k, severities, data.seed)
            name, corruption = data.record.models[m], data.record.axes.corruptions[k]
            if drop is None:
                raise _Untestable(f"{corruption} was not measured of {name}")
            value, low, high, _ = drop.difference
            numbers.append(
                {
                    "name": name,
                    "corruption": corruption,
                    "value": value,
                    "interval": (low, high),
                    "over": "images",
                    "test": drop.words,
                }
            )
    levels = [data.record.axes.severities[s] for s in severities]
    told = {"corruptions": list(corruptions), "severities": levels}
    found = _about(data, mine, lambda each: each.get("corruption") in corruptions)
    return found | {"measure": told, "rows": tuple(numbers)}


def _about(
    data: _Data, mine: Sequence[Row], is_meant: Callable[[Mapping[str, Any]], bool]
) -> dict[str, Any]:
    models = [data.record.models[m] for row in mine for m in row.models]
    trained = {row.name: row.trained_on for row in mine if row.trained_on}
    trained |= {data.record.models[m]: r.trained_on for r in mine if r.trained_on for m in r.models}
    return {"cautions": data.cautions(models, is_meant), "trained_on_corruptions": trained}


def _of_parts(parts: Sequence[Pair] | Sequence[Curve]) -> dict[str, Any]:
    return {"parts": tuple(asdict(part) for part in parts)} | _decision([p.shown for p in parts])


def _decision(shown: Sequence[Shown]) -> dict[str, Any]:
    found = verdict(shown)
    reason = "there is nothing to go by: no interval and no test" if found == NOT_TESTABLE else ""
    return {"verdict": found, "reason": reason}


def _is_clean(caution: Mapping[str, Any]) -> bool:
    places = (caution["attack"], caution.get("corruption"), caution.get("probe"))
    return all(place is None for place in places)
