"""Errors under corruptions as tables for people, in the order of the literature."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from workbench.tables import known, told_corruptions, with_interval

Result = Mapping[str, Any]

LABEL_WIDTH, COLUMN_WIDTH = 36, 20  # characters; decide how many models stand side by side
WIDE = 90  # columns of a terminal from which cells have room on both sides
STANDARD, SEVERITIES = 15, 5  # what mCE is the mean over in the literature
PROCEDURAL = "procedural"  # textures of our own, as `workbench.corruptions` calls them
UNCOMPRESSED = 32  # CIFAR-C was released without compression; the larger sets as JPEG
MARK = " †"
INDENT = "  "


def corruption_tables(
    results: Sequence[Result], width: int, trained_on: Mapping[str, Sequence[str]]
) -> Iterator[Table]:
    """Tables of `benchmarks.corruption_results`.

    One model has its severities across, then a summary; several models stand side by side, as many
    in a table as fit.

    Args:
        results: one for each model.
        width: of the terminal, in characters.
        trained_on: for each model, the test corruptions that it was trained on.
    """
    if len(results) == 1:
        yield _severities(results[0], width, trained_on)
        yield _models(results, trained_on, corruptions=False)
        return
    side_by_side = max(1, (width - LABEL_WIDTH) // COLUMN_WIDTH)
    for start in range(0, len(results), side_by_side):
        yield _models(results[start : start + side_by_side], trained_on, corruptions=True)


def corruption_notes(descriptions: Sequence[Mapping[str, Any]], strengths: int) -> list[str]:
    """What else decides the numbers, each in a line.

    Args:
        descriptions: of each corruption at each severity, see `workbench.corruptions`.
        strengths: the size whose published strengths were taken, where images were corrupted here.
    """
    made = [each for each in descriptions if "seed" in each]
    if not made:
        sets = {f"{each['stored']} ({each['layout']})" for each in descriptions}
        return [f"corrupted images read from {', '.join(sets)}"]
    exact = ", in float64" if made[0]["exact"] else ""
    notes = [
        f"corrupted in memory: strengths for {strengths}x{strengths}, "
        f"draws of seed {made[0]['seed']}{exact}"
    ]
    textures = {str(each["textures"]) for each in made if "textures" in each}
    if PROCEDURAL in textures:
        notes.append("frost: our own textures, not the published photographs")
    elif textures:
        notes.append(f"frost: textures with digest {', '.join(textures)}")
    if made[0]["jpeg85"]:
        notes.append("JPEG of quality 85 after each corruption")
    elif strengths != UNCOMPRESSED:
        notes.append("without the JPEG of quality 85 that released ImageNet-C files have")
    return notes


def _severities(result: Result, width: int, trained_on: Mapping[str, Sequence[str]]) -> Table:
    """One model: corruptions down, severities across, then their mean and CE."""
    corruptions = dict(result["corruptions"])
    baseline = _baseline(result)
    severities = _severities_of(result)
    against = f"; CE in % of {baseline}" if baseline else ""
    title = f"{marked(result, trained_on)}: error in %, 95 % interval{against}"
    table = _table(title, "severity", trained_on, [result])
    table.padding = (0, 1) if width >= WIDE else (0, 0, 0, 1)
    for severity in severities:
        table.add_column(str(severity), justify="right")
    table.add_column("mean", justify="right", no_wrap=True)
    if baseline:
        table.add_column("CE", justify="right", no_wrap=True)
    empty = [""] * (len(severities) + 1 + bool(baseline))
    for family, names in _families(corruptions).items():
        table.add_row(Text(family, style="bold"), *empty)
        for name in names:
            entry = corruptions[name]
            cells = [_percent(entry["errors"].get(str(severity))) for severity in severities]
            cells.append(_percent(entry["mean_error"], entry.get("mean_error_interval")))
            if baseline:
                cells.append(_percent(entry.get("ce")))
            table.add_row(INDENT + name, *cells)
    return table


def _models(
    results: Sequence[Result], trained_on: Mapping[str, Sequence[str]], *, corruptions: bool
) -> Table:
    """Models across: the mean error of each corruption where asked for, then what sums them up."""
    table = _table(None, "error in %, 95 % interval", trained_on, results)
    for result in results:
        table.add_column(Text(marked(result, trained_on)), justify="right")
    if corruptions:
        entries = [dict(result["corruptions"]) for result in results]
        for family, names in _families(entries[0]).items():
            table.add_row(Text(family, style="bold"), *[""] * len(results))
            for name in names:
                row = [entry.get(name, {}) for entry in entries]
                table.add_row(INDENT + name, *(_mean(each, "mean_error") for each in row))
        table.add_section()
    rows = [dict(_summary(result)) for result in results]
    for label in dict.fromkeys(label for row in rows for label in row):
        table.add_row(label, *(Text(row.get(label, "")) for row in rows))
    return table


def _summary(result: Result) -> Iterator[tuple[str, str]]:
    """What sums a model up: each line's label and its value."""
    yield "clean", _mean(result, "clean_error")
    families, counts = dict(result["families"]), _families(dict(result["corruptions"]))
    for family, entry in families.items():
        yield f"{family}, mean of {len(counts[family])}", _mean(entry, "mean_error")
    baseline = _baseline(result)
    if any(known(entry.get("ratio")) for entry in families.values()):
        yield f"relative to {baseline}:", ""
        for family, entry in families.items():
            yield f"{INDENT}{family}", _ratio(entry.get("ratio"))
    of = _extent(result)
    yield f"mean corruption error{of}, unnormalised", _mean(result, "mean_corruption_error")
    if baseline:
        yield f"mCE{of} (baseline {baseline})", _mean(result, "mce")
        yield f"relative mCE{of} (baseline {baseline})", _mean(result, "relative_mce")


def _extent(result: Result) -> str:
    """What the means are over, unless it is what the literature takes: 15 at five severities."""
    over, severities = int(result["over"]), _severities_of(result)
    some = "" if over == STANDARD == len(result["corruptions"]) else f" of {over}"
    if len(severities) == SEVERITIES:
        return some
    word = "severity" if len(severities) == 1 else "severities"
    return f"{some} at {word} {', '.join(map(str, severities))}"


def _severities_of(result: Result) -> list[int]:
    corruptions = dict(result["corruptions"])
    return sorted({int(each) for entry in corruptions.values() for each in entry["errors"]})


def _table(
    title: str | None,
    first: str,
    trained_on: Mapping[str, Sequence[str]],
    results: Sequence[Result],
) -> Table:
    """A table without rows; models that were trained on test corruptions are told below it."""
    told = marks(results, trained_on)
    table = Table(
        title=None if title is None else Text(title),
        title_justify="left",
        caption=Text("\n".join(told)) if told else None,
        caption_justify="left",
        header_style="bold",
    )
    table.add_column(first, max_width=LABEL_WIDTH + 6)
    return table


def marks(results: Sequence[Result], trained_on: Mapping[str, Sequence[str]]) -> list[str]:
    """What `marked` means, a line for each model that was trained on test corruptions."""
    return [
        f"† {model}: trained on test corruptions ({told_corruptions(trained_on[model])})"
        for model in (str(result["model"]) for result in results)
        if trained_on.get(model)
    ]


def marked(result: Result, trained_on: Mapping[str, Sequence[str]]) -> str:
    """The name of a result's model, marked if it was trained on test corruptions."""
    model = str(result["model"])
    return model + MARK if trained_on.get(model) else model


def _baseline(result: Result) -> str | None:
    baseline = result.get("baseline")
    return None if baseline is None else str(baseline["name"])


def _families(corruptions: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """The corruptions by family, both in the order they come in."""
    families: dict[str, list[str]] = {}
    for name, entry in corruptions.items():
        families.setdefault(str(entry["family"]), []).append(name)
    return families


def _mean(entry: Mapping[str, Any], name: str) -> str:
    return _percent(entry.get(name), entry.get(f"{name}_interval"))


def _percent(value: float | None, interval: Sequence[float | None] | None = None) -> str:
    ends = [None if end is None else 100 * end for end in interval or ()] or None
    text = with_interval(None if value is None else 100 * value, ends, ".1f")
    return text.replace("100.0", "100")  # so that severities fit a narrow terminal


def _ratio(value: float | None) -> str:
    return with_interval(value, None, ".2f")
