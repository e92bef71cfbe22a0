"""Errors class by class as tables for people."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from workbench.tables import short_spec, with_interval

FEW = 10  # classes that one table has room for, whatever it is ordered by
LISTED = 20  # wrong answers of a class that are listed
WITH_INTERVALS = 96  # columns of a terminal from which both errors have room for their intervals


def worst_class_tables(models: Sequence[Mapping[str, Any]], width: int) -> Iterator[RenderableType]:
    """The worst classes of each model, by top-1 and by top-5, from `benchmarks.class_tables`.

    Args:
        models: one object for each.
        width: of the terminal, in characters.
    """
    for model in models:
        classes = {each["class"]: each for each in model["classes"]}
        many = len(classes) > FEW
        tables = {"top-1": model["worst_top1"]} | ({"top-5": model["worst_top5"]} if many else {})
        for kind, worst in tables.items():
            where = f"{model['model']}, {_condition(model)}"
            if not worst:
                yield Text(f"{where}: no {kind} errors in {len(classes)} classes")
                continue
            of = f"the {len(worst)} worst of {len(classes)} classes" if many else "classes"
            yield _worst(f"{where}: {of} by {kind} error", [classes[k] for k in worst], width)
            if not many and len(worst) < len(classes):
                right = [each["name"] for k, each in classes.items() if k not in worst]
                yield Text(f"without an error: {', '.join(right)}")


def breakdown_tables(models: Sequence[Mapping[str, Any]], width: int) -> Iterator[RenderableType]:
    """One class in detail, model by model, from `benchmarks.class_breakdown`.

    Args:
        models: one object for each.
        width: of the terminal, in characters.
    """
    for model in models:
        where = f"{model['model']}, {_condition(model)}: {model['name']}"
        if not model["images"]:
            yield Text(f"{where}: no images")
            continue
        yield _worst(where, [model], width)
        yield Text(f"taken for it: {_mistakes(model['taken_for_it'], 8) or 'nothing'}")
        yield from _listed(model)


def _worst(title: str, classes: Sequence[Mapping[str, Any]], width: int) -> Table:
    wide = width >= WITH_INTERVALS
    table = _table(title)
    table.add_column("class", max_width=24, overflow="fold")
    table.add_column("images", justify="right")
    table.add_column("top-1 error %", justify="right", no_wrap=True)
    table.add_column("top-5 error %" if wide else "top-5", justify="right", no_wrap=True)
    table.add_column("loss", justify="right", no_wrap=True)
    table.add_column("mistaken for (times)")
    for each in classes:
        table.add_row(
            Text(str(each["name"])),
            str(each["images"]),
            _percent(each, "top1_error"),
            _percent(each, "top5_error", interval=wide),
            f"{each['mean_loss']:.2f}",
            Text(_mistakes(each["mistaken_for"], 3)),
        )
    return table


def _listed(model: Mapping[str, Any]) -> Iterator[RenderableType]:
    """The most confident wrong answers, and which images miss the first five."""
    wrong = model["wrong"]
    if not wrong:
        yield Text("no wrong answers")
        return
    severities = any(each["severity"] is not None for each in wrong)
    table = _table(f"wrong answers, the most confident first{_of(wrong)}")
    table.caption = Text("place: of the class among the guesses, 1 is the first")
    table.caption_justify = "left"
    for name in ("image id", *(["severity"] if severities else [])):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("taken for", overflow="fold")
    for name in ("confidence", "place", "loss"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in wrong[:LISTED]:
        severity = [str(each["severity"])] if severities else []
        table.add_row(
            *(str(each["id"]), *severity),
            Text(str(each["name"])),
            f"{each['confidence']:.3f}",
            str(each["rank"] + 1),
            f"{each['loss']:.2f}",
        )
    yield table
    misses = model["top5_misses"]
    if misses:
        ids = ", ".join(str(each["id"]) for each in misses[:LISTED])
        more = ", …" if len(misses) > LISTED else ""
        yield Text(f"not among the first five in {len(misses)} of {len(wrong)}: {ids}{more}")


def _of(wrong: Sequence[object]) -> str:
    return f" ({LISTED} of {len(wrong)}; all with --json)" if len(wrong) > LISTED else ""


def _mistakes(counted: Sequence[Mapping[str, Any]], most: int) -> str:
    text = ", ".join(f"{each['name']} ({each['count']})" for each in counted[:most])
    return text + (", …" if len(counted) > most else "")


def _percent(entry: Mapping[str, Any], name: str, *, interval: bool = True) -> str:
    ends = [100 * end for end in entry[f"{name}_interval"]] if interval else None
    return with_interval(100 * entry[name], ends, ".1f")


def _condition(model: Mapping[str, Any]) -> str:
    """The condition for a title, with the severities that are taken together."""
    condition, severities = short_spec(str(model["condition"])), model["severities"]
    if len(severities) < 2:
        return condition
    return f"{condition} at severities {', '.join(map(str, severities))} together"


def _table(title: str) -> Table:
    return Table(title=Text(title), title_justify="left", header_style="bold", padding=(0, 0, 0, 1))
