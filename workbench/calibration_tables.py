"""Calibration and failure prediction as tables for people."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from workbench.corruption_tables import marked, marks
from workbench.tables import fitting, known, short_spec, with_interval

Show = Callable[[Mapping[str, Any]], str]
"""How a column shows the numbers of a condition."""

_CAPTION = (
    "ECE: mean |accuracy - confidence| in 15 bins, upwards biased; chance: what it would be of a "
    "calibrated model on these images. AURC: error left when the least confident are rejected. "
    "AUROC: of telling wrong from right by confidence, 0.5 is chance. See docs/views.md"
)


def calibration_tables(
    models: Sequence[Mapping[str, Any]], width: int, trained_on: Mapping[str, Sequence[str]]
) -> Iterator[Table]:
    """The tables of `benchmarks.calibration`: models beneath each other by condition.

    Single cells of corruptions are left out where their mean is told.

    Args:
        models: one object for each.
        width: of the terminal, in characters.
        trained_on: for each model, the test corruptions that it was trained on.
    """
    yield fitting(
        (
            _table(models, trained_on, _columns(losses, intervals))
            for losses, intervals in ((True, True), (True, False), (False, False))
        ),
        width,
    )


def _table(
    models: Sequence[Mapping[str, Any]],
    trained_on: Mapping[str, Sequence[str]],
    columns: Sequence[tuple[str, Show]],
) -> Table:
    alone = len(models) == 1
    table = Table(
        title=Text(f"{marked(models[0], trained_on)}: calibration" if alone else "calibration"),
        title_justify="left",
        caption=Text("\n".join([_CAPTION, *marks(models, trained_on)])),
        caption_justify="left",
        header_style="bold",
        padding=(0, 0, 0, 1),
    )
    table.add_column("condition" if alone else "model", max_width=24, overflow="fold")
    for name, _ in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for heading, entries in _rows(models):
        if not alone:
            table.add_row(Text(heading, style="bold"), *[""] * len(columns))
        for model, entry in zip(models, entries, strict=True):
            label = heading if alone else f" {marked(model, trained_on)}"
            table.add_row(Text(label), *(shown(entry) for _, shown in columns))
    return table


def _rows(
    models: Sequence[Mapping[str, Any]],
) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """What each line is about, and its numbers of every model."""
    summed = models[0]["mean_over_corruptions"]
    for place, condition in enumerate(models[0]["conditions"]):
        if condition["kind"] == "corruption" and summed is not None:
            continue
        name = str(condition["condition"])
        heading = short_spec(name) if condition["kind"] == "attack" else name
        yield heading, [each["conditions"][place] for each in models]
    if summed is not None:
        yield "mean over corruptions", [each["mean_over_corruptions"] for each in models]


def _columns(losses: bool, intervals: bool) -> list[tuple[str, Show]]:
    """The titles of the columns, and how each shows an entry."""

    def percent(name: str, interval: bool = False) -> Show:
        return lambda entry: _scaled(entry, name, interval, 100, ".1f")

    def plain(name: str, interval: bool = False) -> Show:
        return lambda entry: _scaled(entry, name, interval, 1, ".2f")

    return [
        ("error %", percent("error")),
        *([("confidence", percent("mean_confidence"))] if losses else []),
        ("ECE % [95 %]", percent("ece", interval=True)),
        ("chance", percent("ece_if_calibrated")),
        ("Brier", plain("brier")),
        *([("loss", plain("mean_loss"))] if losses else []),
        ("AURC %", percent("aurc", intervals)),
        ("AUROC", plain("failure_auroc", intervals)),
    ]


def _scaled(entry: Mapping[str, Any], name: str, interval: bool, scale: float, form: str) -> str:
    value, ends = entry[name], entry.get(f"{name}_interval") if interval else None
    shown = [scale * end for end in ends] if ends else None
    return with_interval(scale * value if known(value) else None, shown, form)
