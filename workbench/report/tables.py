"""The tables of a report as cells of text, ready for the page."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.drawing.charts import Heat
from workbench.drawing.numbers import (
    MINUS,
    PERCENT,
    UNKNOWN,
    finite,
    interval_text,
    number_text,
    plain,
)
from workbench.drawing.panels import heat_strength
from workbench.report.rows import Row, measures_of, robust_measures
from workbench.tables import short_arch, short_defense, short_spec, told_corruptions

OVERVIEW = (
    "clean_error",
    "clean_top5_error",
    "worst_case_robust_accuracy",
    "mean_corruption_error",
    "mce",
)
FEW_ATTACKS = 2  # that the first table has room for
SYMBOLS = {"better": "▲", "worse": "▼", "no difference": "≈"}
WORDS = {
    "success_rate": "reached the goal",
    "robust_accuracy": "robust accuracy",
    "believed_rate": "judge reads the new class",
    "judge_keeps_rate": "judge reads the true class",
    "mean_pixel_change": "change per pixel, mean",
    "median_pixel_change": "change per pixel, median",
    "pixels_over_threshold": "pixels over {}",
    "family_mean_error": "{} family",
    "probe_error": "{}",
}
"""Short headings under one that names the attack."""

RELATIVE = "relative to "

Comparison = Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        detail: smaller, below the text: an interval, or what a row is.
        verdict: ``better``, ``worse``, ``no difference`` or nothing, said in words too.
        hint: more of it, for who points at the cell.
        sort: what it is sorted by; None comes last.
        row: the place of the row that it names, which has a look; None for others.
        heat: whether it is worse than the baseline, and how far, 0 to 1.
    """

    text: str
    detail: str = ""
    verdict: str = ""
    hint: str = ""
    sort: float | str | None = None
    row: int | None = None
    heat: tuple[bool, float] | None = None

    @property
    def symbol(self) -> str:
        """A sign of the verdict, for those who do not tell its colour."""
        return SYMBOLS.get(self.verdict, "")


@dataclass(frozen=True)
class Heading:
    """A column's: its text, what it is taken over, which way is better, and of what it is."""

    text: str
    hint: str = ""
    better: str = ""
    under: str = ""
    sorts: bool = True


@dataclass(frozen=True)
class Table:
    """A table; the first cell of each line names it."""

    caption: str
    headings: tuple[Heading, ...]
    lines: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    sortable: bool = True
    tight: bool = False


def overview(comparison: Comparison, rows: Sequence[Row]) -> Table:
    """What sums the models up: clean, attacks, worst case, corruptions.

    Of many attacks there is the worst case alone, and how far images moved where nothing else
    bounds it: the others have tables of their own.
    """
    keys = [str(each["key"]) for each in comparison["measures"]]
    robust = [str(each["key"]) for each, _ in robust_measures(comparison, rows)]
    moved = [
        str(each["key"])
        for each, _ in measures_of(comparison, "mean_pixel_change", rows)
        if each["better"]
    ]
    shown = moved + (robust if len(robust) <= FEW_ATTACKS else [])
    chosen = [key for key in keys if key in OVERVIEW or key in shown]
    notes = [] if len(rows) < 2 else [_verdict_note(comparison)]
    if any(len(row.models) > 1 for row in rows):
        notes.append(
            "A row of several seeds has their mean; ± is their standard deviation, and its "
            "interval tells how well the mean over trainings is known."
        )
    return _table("Models compared", comparison, rows, chosen, notes=notes, told=True)


def attack_tables(comparison: Comparison, rows: Sequence[Row]) -> Iterator[Table]:
    """One table for each attack: success, robust accuracy, how far images moved."""
    by_attack: dict[str, list[str]] = {}
    for each in comparison["measures"]:
        _, _, attack = str(each["key"]).partition(":")
        if each["group"] == "attacks" and attack:
            by_attack.setdefault(attack, []).append(str(each["key"]))
    for attack, keys in by_attack.items():
        table = _table(short_spec(attack), comparison, rows, keys)
        if len(table.headings) > 1:
            yield table


def corruption_table(comparison: Comparison, rows: Sequence[Row]) -> Table | None:
    """Families and means over corruptions."""
    keys = [str(each["key"]) for each in comparison["measures"] if each["group"] == "corruptions"]
    table = _table("Errors under corruptions", comparison, rows, keys)
    return table if len(table.headings) > 1 else None


def probe_table(comparison: Comparison, rows: Sequence[Row]) -> Table | None:
    """Errors on probed images."""
    keys = [str(each["key"]) for each in comparison["measures"] if each["group"] == "probes"]
    table = _table("Errors under probes", comparison, rows, keys)
    return table if len(table.headings) > 1 else None


def heat_table(heat: Heat, rows: Sequence[Row]) -> Table:
    """A heat map as a table, a line for each row."""
    lines = []
    for place, values in zip(heat.rows, heat.values, strict=True):
        cells = [name_cell(rows[place])]
        for value in values:
            known = math.isfinite(value)
            text = f"{value:.0f}" if known else UNKNOWN
            cells.append(Cell(text, sort=value if known else None, heat=heat_strength(heat, value)))
        lines.append(tuple(cells))
    headings = (Heading("model"), *(Heading(name, better="lower") for name in heat.columns))
    return Table(heat.title, headings, tuple(lines), tight=True)


def _table(
    caption: str,
    comparison: Comparison,
    rows: Sequence[Row],
    keys: Sequence[str],
    *,
    notes: Sequence[str] = (),
    told: bool = False,
) -> Table:
    measures = {str(each["key"]): each for each in comparison["measures"]}
    shown = [key for key in keys if any(row.value(key) is not None for row in rows)]
    headings = [Heading("model")]
    headings += [_heading(measures[key], told=told) for key in shown]
    lines = [
        (name_cell(row, told=told), *(_number_cell(row, measures[key]) for key in shown))
        for row in rows
    ]
    marked = [
        f"† {row.name}: trained on test corruptions ({told_corruptions(row.trained_on)}), so its "
        "errors under them say nothing about corruptions it has not seen."
        for row in rows
        if row.trained_on
    ]
    return Table(caption, tuple(headings), tuple(lines), (*notes, *(marked if told else ())))


def _heading(measure: Mapping[str, Any], *, told: bool) -> Heading:
    """Of a measure; ``told`` where the attack is to be named, which else the caption does."""
    before, _, behind = str(measure["key"]).partition(":")
    name, _, threshold = before.partition("@")
    text = str(measure["title"])
    if name in WORDS:
        text = WORDS[name].format(f"{100 * float(threshold):g}\u00a0%" if threshold else behind)
    denominator = str(measure["denominator"])
    under = short_spec(behind) if told and measure["group"] == "attacks" and behind else ""
    if RELATIVE in denominator:  # an error that is normalised names its baseline
        under = "to " + denominator.partition(RELATIVE)[2]
    return Heading(text, denominator, measure["better"] or "", under)


def name_cell(row: Row, *, told: bool = False) -> Cell:
    """The cell that names a row; ``told``: with what it is."""
    return Cell(row.label, detail=about(row) if told else "", sort=row.name.lower(), row=row.place)


def about(row: Row) -> str:
    """What a row is, in a line: architecture, defenses, parameters, seeds."""
    entry = row.entry
    architecture = short_arch(str(entry["architecture"] or ""))
    parts = [architecture] if architecture not in row.name else []
    parts += map(short_defense, entry["defenses"])
    if entry["parameters"]:
        parts.append(f"{entry['parameters']:,} parameters")
    if len(entry["seeds"]) > 1:
        parts.append(f"seeds {', '.join(map(str, entry['seeds']))}")
    return " · ".join(parts)


def _number_cell(row: Row, measure: Mapping[str, Any]) -> Cell:
    number, form = row.number(str(measure["key"])), str(measure["form"])
    value = finite(number.get("value"))
    if value is None and number.get("count") and str(measure["key"]).startswith("median"):
        return Cell("∞", hint="the attack failed on half of the images or more", sort=math.inf)
    if value is None:
        return Cell(UNKNOWN, hint="not measured")
    detail = interval_text(number.get("interval"), form)
    spread = finite(number.get("spread"))
    if spread is not None:
        detail = f"± {number_text(spread, form).removesuffix(PERCENT)} {detail}".rstrip()
    versus = number.get("versus")
    verdict = hint = ""
    if row.is_baseline:
        hint = "the baseline"
    elif isinstance(versus, Mapping):
        verdict = str(versus["verdict"])
        hint = versus_text(versus, form)
    return Cell(number_text(value, form), detail, verdict, hint, sort=value)


def versus_text(versus: Mapping[str, Any], form: str) -> str:
    """A difference to the baseline with its interval, its p and its test."""
    difference, p = finite(versus.get("difference")), finite(versus.get("p_holm"))
    parts = []
    if difference is not None:
        text = number_text(abs(difference), form).replace("\u00a0%", " points")
        sign = MINUS if difference < 0 else "+"
        parts.append(f"difference {sign}{text} {interval_text(versus.get('interval'), form)}")
    if p is not None:
        parts.append(f"corrected p {p_text(p)}")
    return ", ".join((*(part.rstrip() for part in parts), str(versus["test"])))


def p_text(p: float) -> str:
    """A p value behind its sign.

    >>> p_text(0.03), p_text(1e-9)
    ('= 0.03', '< 0.001')
    """
    return "< 0.001" if p < 0.001 else f"= {plain(round(p, 3))}"


def _verdict_note(comparison: Comparison) -> str:
    baseline = comparison["baseline"]
    if baseline is None:
        return "No baseline: rows are not compared by tests."
    return (
        f"“better” and “worse” are against {baseline}, on the same images, where the difference "
        f"is larger than chance explains (5 %, corrected for the number of tests by Holm over "
        f"{comparison['family']}). “no difference”: none was shown, "
        "which is not to say that there is none."
    )
