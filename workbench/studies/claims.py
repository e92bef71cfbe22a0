"""Claims of a study, as its file has them: read and checked.

The form for authors is in docs/studies/README.md. `workbench.studies.judging` decides on them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from workbench.errors import UsageError, unknown
from workbench.studies.checked import Checked

COMMON = ("says", "study", "scales", "record")
KEYS = {
    "untestable": ("untestable",),
    "best": ("best", "measure", "among"),
    "corruption_higher": ("corruption_higher", "corruption_lower", "rows", "severity"),
    "shape": ("shape", "rows", "corruption"),
    "at_least": ("at_least", "at_most", "rows", "measure", "corruption", "severity"),
    "higher": ("higher", "lower", "measure"),
}
"""The keys of each kind of claim, by the one that tells the kind."""

TELLING = {**{key: key for key in KEYS}, "corruption_lower": "corruption_higher"} | {
    "at_most": "at_least",
    "lower": "higher",
}
"""Keys that tell a kind, and the kind."""


@dataclass(frozen=True)
class Ordering:
    """A measure is larger in each of some rows than in each of others."""

    measure: str
    higher: tuple[str, ...]
    lower: tuple[str, ...]


@dataclass(frozen=True)
class Best:
    """A row is better in a measure than each of others."""

    measure: str
    best: str
    among: tuple[str, ...]


@dataclass(frozen=True)
class Bound:
    """A number of each row is within bounds: a measure, or what corruptions cost.

    Attributes:
        rows: names of rows.
        at_least, at_most: the bounds, None where there is none.
        measure: or None where ``corruptions`` are named.
        corruptions: whose drop, error less error on untouched images, is bounded.
        severity: of the corruptions; None for the mean over those measured.
    """

    rows: tuple[str, ...]
    at_least: float | None
    at_most: float | None
    measure: str | None
    corruptions: tuple[str, ...]
    severity: int | None


@dataclass(frozen=True)
class Corruptions:
    """Each of some corruptions costs every model of the rows more than each of others."""

    rows: tuple[str, ...]
    higher: tuple[str, ...]
    lower: tuple[str, ...]
    severity: int | None


@dataclass(frozen=True)
class Shape:
    """The error of every model of the rows has a shape over the severities of corruptions."""

    rows: tuple[str, ...]
    corruptions: tuple[str, ...]
    shape: str


@dataclass(frozen=True)
class Claim:
    """One claim.

    Attributes:
        says: the claim in words.
        study: what the study has to show for it, or an empty text.
        kind: one of `KEYS`.
        scales: at which it is decided; None for all.
        record: directories below the study's output whose records are read together; none for the
            only one there is.
        asks: what is tested; None where it cannot be.
        untestable: why it cannot be tested, or an empty text.
    """

    says: str
    study: str
    kind: str
    scales: tuple[str, ...] | None
    record: tuple[str, ...]
    asks: Ordering | Best | Bound | Corruptions | Shape | None
    untestable: str = ""


def read_claims(
    tables: Sequence[Any], where: str, scales: Sequence[str] | None = None
) -> tuple[Claim, ...]:
    """The claims that stand in tables ``[[claims]]``.

    Args:
        tables: what TOML made of them.
        where: their file, for errors.
        scales: those of the study; None where they are not known.

    Raises:
        UsageError: one is not written as a claim is, or names a measure, an attack, a corruption
            or a shape that there is not. What is wrong, where, and what there is.
    """
    if not isinstance(tables, list | tuple):
        raise UsageError(f"{where}: write each claim under a heading of its own, [[claims]].")
    named = [_Table(table, f"{where}, claim {number}") for number, table in enumerate(tables, 1)]
    found = tuple(map(_claim, named))
    for table, claim in zip(named, found, strict=True):
        for scale in claim.scales or ():
            if scales is not None and scale not in scales:
                raise table.wrong(unknown("scale", scale, scales))
    return found


class _Table(Checked):
    """The table of a claim."""

    def severity(self) -> int | None:
        value = self.content.get("severity")
        if value is not None and (type(value) is not int or not 1 <= value <= 5):
            raise self.wrong(f"severity is 1, 2, 3, 4 or 5, not {value!r}.")
        return value

    def corruptions(self, key: str) -> tuple[str, ...]:
        from attacks.corruptions import CORRUPTIONS

        found = tuple(each.replace("-", "_") for each in self.texts(key))
        for each in found:
            if each not in CORRUPTIONS:
                raise self.wrong(unknown("corruption", each, CORRUPTIONS))
        return found

    def measure(self) -> str:
        from workbench.studies.claim_measures import check_measure

        text = self.text("measure")
        try:
            check_measure(text)
        except UsageError as error:
            raise self.wrong(error) from None
        return text

    def apart(self, one: str, other: str, read: Callable[[str], tuple[str, ...]]) -> "_Sides":
        """Two lists of names; what stands in both is refused."""
        first, second = read(one), read(other)
        both = sorted(set(first) & set(second))
        if both:
            raise self.wrong(f"{', '.join(both)} stands in both {one} and {other}.")
        return first, second


_Sides = tuple[tuple[str, ...], tuple[str, ...]]


def _claim(table: _Table) -> Claim:
    kind = _kind(table)
    for each in table.content:
        if each in (*COMMON, *KEYS[kind]):
            continue
        if any(each in keys for keys in KEYS.values()):
            raise table.wrong(f"{each} says nothing to a claim with {kind}; leave it out.")
        raise table.wrong(unknown("setting", each, [*COMMON, *KEYS[kind]]))
    record = table.texts("record", needed=False)
    for each in record:
        if PurePosixPath(each).is_absolute() or ".." in PurePosixPath(each).parts:
            raise table.wrong(f"record {each}: name a directory below the study's output.")
    return Claim(
        says=table.text("says"),
        study=table.text("study", needed=False),
        kind=kind,
        scales=table.texts("scales") if "scales" in table.content else None,
        record=record,
        asks=_asks(table, kind),
        untestable=table.text("untestable") if kind == "untestable" else "",
    )


def _kind(table: _Table) -> str:
    """The kind of a claim, by the first of its keys that tells one."""
    for key, kind in TELLING.items():
        if key in table.content:
            return kind
    raise table.wrong(
        "it does not say what is tested: higher and lower, best and among, at_least or at_most, "
        "corruption_higher and corruption_lower, shape, or untestable with the reason."
    )


def _asks(table: _Table, kind: str) -> Ordering | Best | Bound | Corruptions | Shape | None:
    if kind == "higher":
        return Ordering(table.measure(), *table.apart("higher", "lower", table.texts))
    if kind == "best":
        best = table.text("best")
        among = tuple(each for each in table.texts("among") if each != best)
        if not among:
            raise table.wrong("among names no other row than best.")
        return Best(table.measure(), best, among)
    if kind == "corruption_higher":
        sides = table.apart("corruption_higher", "corruption_lower", table.corruptions)
        return Corruptions(table.texts("rows"), *sides, table.severity())
    if kind == "shape":
        return Shape(table.texts("rows"), table.corruptions("corruption"), _shape(table))
    return _bound(table) if kind == "at_least" else None


def _shape(table: _Table) -> str:
    from benchmarks.severity_curves import SHAPES

    shape = table.text("shape")
    if shape not in SHAPES:
        raise table.wrong(unknown("shape", shape, SHAPES))
    return shape


def _bound(table: _Table) -> Bound:
    of_corruptions = "corruption" in table.content
    if of_corruptions == ("measure" in table.content):
        raise table.wrong("a bound is on a measure or on the drop under a corruption: name one.")
    if "severity" in table.content and not of_corruptions:
        raise table.wrong("severity says nothing to a measure; leave it out.")
    low, high = table.number("at_least"), table.number("at_most")
    measure = None if of_corruptions else table.measure()
    if low is not None and high is not None and low > high:
        raise table.wrong(f"nothing is at least {low:g} and at most {high:g}.")
    if of_corruptions or _is_share(str(measure)):
        for key, value in (("at_least", low), ("at_most", high)):
            if value is not None and abs(value) > 1:
                raise table.wrong(f"{key} is a share of images, such as 0.5, not {value:g}.")
    return Bound(
        rows=table.texts("rows"),
        at_least=low,
        at_most=high,
        measure=measure,
        corruptions=table.corruptions("corruption") if of_corruptions else (),
        severity=table.severity(),
    )


def _is_share(measure: str) -> bool:
    name = measure.partition(":")[0].lower().replace("-", "_")
    return name.endswith(("_error", "_accuracy", "_rate"))
