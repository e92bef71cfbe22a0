"""Verdicts on the claims of a study as a table for people."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from benchmarks.claims import (
    AS_CLAIMED,
    NOT_REPRODUCED,
    NOT_TESTABLE,
    NOTHING,
    OPEN,
    OTHERWISE,
    REPRODUCED,
    UNDECIDED,
)
from workbench.comparison_tables import DAGGER, number_form
from workbench.curve_tables import sparkline
from workbench.measure_names import short_title
from workbench.studies.judging import Verdict
from workbench.tables import UNKNOWN, told_corruptions, with_interval

STYLES = {REPRODUCED: "green", NOT_REPRODUCED: "red", UNDECIDED: "yellow", NOT_TESTABLE: "dim"}
VERDICT_WIDTH = len(NOT_REPRODUCED)
MOST_PARTS = 3  # of those that failed are told one by one
LEGEND = (
    "[low, high]: 95 % interval. reproduced: every part was shown as claimed; not reproduced: one "
    "was shown the other way; undecided: neither, at this scale. Pairs: p < 0.05 as claimed, where "
    "each has to hold; the other way after Holm's correction over the pairs of the claim."
)


def verdict_table(verdicts: Sequence[Verdict], caption: str, width: int) -> Table:
    """Claims down; what the study has, what is here and the verdict across.

    Args:
        verdicts: of `workbench.studies.judging.judge`.
        caption: the scale, in words.
        width: of the terminal, in characters.
    """
    trained = {
        f"† {name}: trained on test corruptions ({told_corruptions(corruptions)})": None
        for each in verdicts
        for name, corruptions in (each.trained_on_corruptions or {}).items()
        if any(row["name"] == name for row in each.rows)
    }
    table = Table(
        caption=Text("\n".join([caption, LEGEND, *trained])),
        caption_justify="left",
        header_style="bold",
        width=width,
    )
    table.add_column("claim", ratio=3)
    table.add_column("the study", ratio=2)
    table.add_column("here", ratio=5)
    table.add_column("verdict", no_wrap=True, min_width=VERDICT_WIDTH)
    for each in verdicts:
        table.add_row(
            Text(each.claim),
            Text(each.study or UNKNOWN),
            Text("\n".join(here_lines(each))),
            Text(each.verdict, style=STYLES[each.verdict]),
        )
        table.add_section()
    return table


def here_lines(verdict: Verdict) -> list[str]:
    """What is behind a verdict, in lines: the numbers with intervals, then what decided."""
    lines = list(_numbers(verdict))
    lines += _deciding(verdict)
    if verdict.reason:
        lines.append(verdict.reason)
    return [*lines, *(f"caution: {caution}" for caution in verdict.cautions)]


def _numbers(verdict: Verdict) -> Iterator[str]:
    measure, trained = verdict.measure, verdict.trained_on_corruptions or {}
    if measure is None:
        return
    if "shape" in measure:
        yield f"error over severity 0 to {measure['severities'][-1]} (0: untouched)"
        for part in verdict.parts:
            yield f"{part['model']}, {part['corruption']}: {_curve(part, measure['shape'])}"
        yield f"claimed: {measure['shape']}"
        return
    yield _heading(measure)
    drops: dict[str, list[str]] = {}
    for row in verdict.rows:
        name = str(row["name"]) + (DAGGER if row["name"] in trained else "")
        if "corruptions" in measure:
            told = f"{row['corruption']} {_points(row['value'], row['interval'])}"
            drops.setdefault(name, []).append(told)
        else:
            seeds = _seeds(row["count"]) if row["over"] == "seeds" else ""
            number = with_interval(row["value"], row["interval"], number_form(measure))
            yield f"{name}: {number}{seeds}"
    yield from (f"{name}: {', '.join(told)}" for name, told in drops.items())


def _seeds(count: int) -> str:
    return " (1 seed)" if count == 1 else f" ({count} seeds)"


def _heading(measure: Mapping[str, Any]) -> str:
    if "corruptions" in measure:
        levels = measure["severities"]
        each = f"severity {levels[0]}"
        mean = f"mean of severities {', '.join(map(str, levels))}"
        return f"accuracy lost, in points ({each if len(levels) == 1 else mean})"
    extent = f" over {measure['denominator']}" if measure["group"] == "corruptions" else ""
    return f"{short_title(measure).partition(', relative')[0]}{extent}"


def _curve(part: Mapping[str, Any], claimed: str) -> str:
    """A curve and its name, and how many of the resamples have that and the claimed one."""
    errors, shape, shares = part["errors"], part["shape"], part["shares"]
    if errors is None:
        return UNKNOWN
    told = [] if shape not in (shares or {}) else [f"{100 * shares[shape]:.0f} % of resamples"]
    if shares and shape != claimed:
        told.append(f"{100 * shares.get(claimed, 0):.0f} % {claimed}")
    of = f" ({', '.join(told)})" if told else ""
    return f"{sparkline(errors)} {100 * errors[0]:.1f}→{100 * errors[-1]:.1f} % {shape}{of}"


def _deciding(verdict: Verdict) -> Iterator[str]:
    """The weakest of the parts that were shown, or those that were not."""
    if verdict.measure is None or "shape" in verdict.measure or not verdict.parts:
        return
    if "larger" not in verdict.parts[0]:
        yield from _out_of_bounds(verdict)
        return
    if verdict.verdict == REPRODUCED:
        weakest = max(verdict.parts, key=lambda part: (part["p"], -part["difference"]))
        least = "least sure" if len(verdict.parts) > 1 else "difference"
        yield f"{least}: {_pair(verdict, weakest)}"
        return
    for shown, words in (
        (OTHERWISE, "the other way"),
        (OPEN, "not shown"),
        (NOTHING, "nothing to test"),
    ):
        found = [part for part in verdict.parts if part["shown"] == shown]
        yield from (f"{words}: {_pair(verdict, part)}" for part in found[:MOST_PARTS])
        if len(found) > MOST_PARTS:
            more = len(found) - MOST_PARTS
            yield f"{words}: {more} more pair{'s' if more > 1 else ''}"
    shown = sum(part["shown"] == AS_CLAIMED for part in verdict.parts)
    if len(verdict.parts) > 1:
        yield f"as claimed: {shown} of {len(verdict.parts)} pairs"


def _out_of_bounds(verdict: Verdict) -> Iterator[str]:
    """The bounds, and whose number is not shown to be within."""
    measure, first = verdict.measure or {}, verdict.parts[0]

    def written(bound: float) -> str:
        if "corruptions" in measure:
            return f"{100 * bound:g} points"
        return f"{100 * bound:g} %" if measure["form"] == "percent" else f"{bound:g}"

    bounds = {"at least": first["at_least"], "at most": first["at_most"]}
    told = [f"{word} {written(bound)}" for word, bound in bounds.items() if bound is not None]
    yield f"claimed: {' and '.join(told)}"
    for shown, words in ((OTHERWISE, "outside"), (OPEN, "not shown"), (NOTHING, "no interval")):
        names = [
            ", ".join(filter(None, (part["name"], part["corruption"])))
            for part in verdict.parts
            if part["shown"] == shown
        ]
        if names:
            yield f"{words}: {'; '.join(names)}"


def _pair(verdict: Verdict, part: Mapping[str, Any]) -> str:
    where = f"{part['model']}, " if part["model"] else ""
    names = f"{where}{part['larger']} less {part['smaller']}"
    if part["test"] is None:
        return names
    measure = verdict.measure or {}
    if "corruptions" in measure or measure["form"] == "percent":
        text = f"{_points(part['difference'], part['interval'])} points"
    else:
        text = with_interval(part["difference"], part["interval"], number_form(measure))
    sign = "+" if part["difference"] > 0 else ""
    over = " on common successes" if "common successes" in part["test"] else ""
    p = part["p" if part["difference"] > 0 else "p_holm"]
    return f"{names} {sign}{text}{over}, {_p(p)}"


def _points(value: float, interval: Sequence[float] | None) -> str:
    """A share in points, with its interval."""
    ends = None if interval is None else [100 * end for end in interval]
    return with_interval(100 * value, ends, ".1f")


def _p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p {p:.3f}"
