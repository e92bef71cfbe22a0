"""A comparison as tables for people: models down, measures across, a verdict under each number."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from workbench.measure_names import SECTIONS, Measure, measure_name, of_what, short_title
from workbench.tables import (
    UNKNOWN,
    known,
    short_arch,
    short_defense,
    short_spec,
    told_corruptions,
    with_interval,
)

Comparison = Mapping[str, Any]
Row = Mapping[str, Any]

MARKS = {
    "better": ("▲ better", "green"),
    "worse": ("▼ worse", "red"),
    "no difference": ("= no difference", "dim"),
}
DAGGER = " †"
NAME_WIDTH, FACT_WIDTH, COLUMN_WIDTH = 26, 24, 22  # characters; decide what stands side by side
TITLES = {
    "clean": "on clean images",
    "robust": "robust accuracy",
    "success": "success of attacks",
    "ended": "how attacks ended",
    "believed": "what the judge reads in the successes of attacks",
    "moved": "change of images",
    "corruptions": "corrupted images",
    "probes": "error on probed images",
}
TESTS = {
    "Welch": "Welch's t-test between the values of the seeds, where both rows have several",
    "McNemar": "McNemar's exact test on the same images, for rates of two models",
    "bootstrap": "a bootstrap by image for all else, all cells, models and the baseline of mCE "
    "drawn together",
}


def comparison_tables(
    comparison: Comparison, measures: Sequence[Measure], width: int
) -> Iterator[Table]:
    """Tables of `benchmarks.compare`: one or more for each section, as many columns as fit.

    Args:
        comparison: what is to be shown.
        measures: those of its measures that are.
        width: of the terminal, in characters.
    """
    rows = comparison["rows"]
    yield _facts(rows)
    first = min(NAME_WIDTH, max(len(_name(row).plain.partition("\n")[0]) for row in rows))
    most = max(1, (width - first - 4) // (COLUMN_WIDTH + 3))
    for section, names in SECTIONS.items():
        mine = [each for name in names for each in measures if measure_name(each) == name]
        tables = -(-len(mine) // most)
        for i in range(tables):  # as even as they can be
            start, stop = (len(mine) * n // tables for n in (i, i + 1))
            yield _numbers(rows, section, mine[start:stop])


def legend(comparison: Comparison) -> list[str]:
    """What the marks mean and how they were found, each in a line."""
    rows, baseline = comparison["rows"], comparison["baseline"]
    lines = ["[low, high]: 95 % interval, over images; where there is sd, of the mean over seeds"]
    if baseline is not None:
        lines.append(
            f"▲ better, ▼ worse than {baseline}; = no difference shown "
            "(p < 0.05 after Holm's correction)"
        )
        lines.append(f"family of tests: {comparison['family']}")
    tests = {
        str(number["versus"]["test"])
        for row in rows
        for number in row["numbers"].values()
        if number["versus"] is not None
    }
    kinds = [words for kind, words in TESTS.items() if any(each.startswith(kind) for each in tests)]
    if kinds:
        lines.append(f"tests: {'; '.join(kinds)}")
    if any("common successes" in each for each in tests):
        lines.append(
            "change per pixel is tested on common successes; medians count a failure as infinite"
        )
    if any("seeds, says nothing" in each for each in tests):
        lines.append(
            "where one row has one seed, or seeds do not differ at all, means of seeds are tested "
            "over images: that says nothing of other seeds"
        )
    few = any(len(row["models"]) == 2 for row in rows)
    if few:
        lines.append(
            "two seeds show little between trainings; --no-fold compares the models themselves, "
            "on the images"
        )
    if any(measure_name(each) in SECTIONS["believed"] for each in comparison["measures"]):
        lines.append(
            "believed, read rightly: of each model's own successes; neither way is better, so they "
            "are not tested"
        )
    lines += _gaps(comparison)
    relative = next((m for m in comparison["measures"] if m["key"] == "mce"), None)
    if relative is not None:
        lines.append(f"mCE: over {relative['denominator']}")
    return lines + [
        f"† {row['name']}: trained on test corruptions "
        f"({told_corruptions(row['trained_on_corruptions'])})"
        for row in rows
        if row["trained_on_corruptions"]
    ]


def _gaps(comparison: Comparison) -> Iterator[str]:
    """What some rows have no number of, while others have."""
    rows = comparison["rows"]
    for row in rows:
        lacking = [
            _heading(measure)
            for measure in comparison["measures"]
            if measure["better"] is not None
            and row["numbers"][measure["key"]]["count"] == 0
            and any(other["numbers"][measure["key"]]["count"] for other in rows)
        ]
        if lacking:
            more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
            yield f"-: {row['name']} was not measured on all of: {'; '.join(lacking[:3])}{more}"


def _facts(rows: Sequence[Row]) -> Table:
    table = _table(None)
    table.add_column("architecture, defenses", max_width=FACT_WIDTH, overflow="fold")
    for name in ("parameters", "seeds", "clean error"):
        table.add_column(name, justify="right")
    for row in rows:
        defenses = [short_defense(spec) for spec in row["defenses"]]
        parameters = row["parameters"]
        clean = row["numbers"].get("clean_error")
        seeds = row["seeds"]
        table.add_row(
            _name(row),
            Text("\n".join([short_arch(str(row["architecture"] or UNKNOWN)), *defenses])),
            UNKNOWN if parameters is None else f"{parameters:,}",
            ", ".join(map(str, seeds)) or UNKNOWN,
            UNKNOWN if clean is None else with_interval(clean["value"], None, ".1%"),
        )
    return table


def _numbers(rows: Sequence[Row], section: str, measures: Sequence[Measure]) -> Table:
    table = _table(TITLES[section])
    for measure in measures:
        table.add_column(Text(_heading(measure)), justify="right", max_width=COLUMN_WIDTH + 2)
    for row in rows:
        table.add_row(_name(row), *(_cell(row["numbers"][m["key"]], m) for m in measures))
        table.add_section()
    return table


def _table(title: str | None) -> Table:
    """A table with the models' column."""
    table = Table(title=title, title_justify="left", header_style="bold")
    table.add_column("model", max_width=NAME_WIDTH, overflow="fold")
    return table


def _name(row: Row) -> Text:
    text = Text(str(row["name"]) + (DAGGER if row["trained_on_corruptions"] else ""))
    if row["is_baseline"]:
        text.append("\n(baseline)", style="dim")
    return text


def _heading(measure: Measure) -> str:
    """The title, without what the section says already."""
    title, attack = short_title(measure), short_spec(of_what(measure))
    if title in (f"robust accuracy, {attack}", f"success, {attack}", f"error, {attack}"):
        return attack
    return title.replace("worst-case robust accuracy", "worst case, per image")


def _cell(number: Mapping[str, Any], measure: Measure) -> Text:
    """A number with its interval; its spread over seeds; its verdict."""
    form = number_form(measure)
    text = Text(with_interval(number["value"], number["interval"], form))
    if known(number["spread"]):
        spread = format(number["spread"], form).removesuffix("%")
        text.append(f"\nsd {spread}, {number['count']} seeds")
    if number["versus"] is not None:
        mark, style = MARKS[number["versus"]["verdict"]]
        text.append(f"\n{mark}", style=style)
    return text


def number_form(measure: Measure) -> str:
    """How a measure's numbers are written."""
    if measure["form"] == "percent":
        return ".1%"
    return ".1f" if measure_name(measure) == "pixels_over_threshold" else ".4f"
