"""How far corruptions move what models look at, measured over all images (study S3)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import Plan, Record, attention_results, plan, read_record
from benchmarks.attention import SAMPLE
from benchmarks.layers import find_layers
from workbench.benchmark_plan import LARGEST_CELL, VALUES_PER_CELL
from workbench.corruptions import check_images, make_recipes
from workbench.drawing.charts import words
from workbench.drawing.numbers import UNKNOWN, interval_text, number_text
from workbench.drawing.panels import chart_drawing
from workbench.errors import UsageError
from workbench.exhibits import Exhibit, Table
from workbench.explain.viewed import Viewed
from workbench.report.attention_views import attention_chart, undefined_note
from workbench.run_directory import RunDirectory
from workbench.running import cell_size, run_cells

MOVES = {"centre_shift": "centre shift", "rank_correlation": "rank correlation"}


@dataclass(frozen=True)
class _Row:
    """A model of the record in a figure."""

    place: int
    models: tuple[int, ...]


def drift(viewed: Viewed) -> Sequence[Exhibit]:
    """How much of what a model looks at stays in place under corruptions, beside its accuracy.

    The record is kept in the run directory as ``record.h5``.
    """
    todo = _plan(viewed)
    directory = RunDirectory(viewed.directory, resumed=False, command=viewed.command)
    run_cells(todo, directory, viewed.console)
    record = read_record(directory.record)
    if record.failures:
        raise UsageError(
            f"{len(record.failures)} cells failed; the first: {record.failures[0]['reason']}.\n"
            f"Try again with:\n{viewed.command}"
        )
    rows = [_Row(model.place, (m,)) for m, model in enumerate(viewed.models)]
    chart, found = attention_chart(record, rows), attention_results(record)
    if chart is None:
        raise UsageError(
            "No image has a Grad-CAM map of any mass: nothing speaks for the true class."
        )
    return (
        Exhibit(
            chart.name,
            chart.title,
            chart.note,
            drawing=chart_drawing(chart, viewed.models),
            words=" ".join(words(panel, viewed.models) for panel in chart.panels),
            table=_kept(viewed, record, found),
            numbers={"record": "record.h5", "models": found},
        ),
        Exhibit(
            "attention-moves",
            "Shift of the centre of attention, and rank correlation of the maps",
            "The shift is in sides of the image, the correlation from \u22121 to 1. "
            + undefined_note(record),
            table=_moves(viewed, record, found),
            numbers={"models": [{"model": each["model"], **each["mean"]} for each in found]},
        ),
    )


def _plan(viewed: Viewed) -> Plan:
    asked, data = viewed.asked, viewed.dataset
    if not asked.corruptions:
        raise UsageError(
            "--view drift measures how corruptions move what models look at: give --corruptions."
        )
    recipes = make_recipes(
        asked.corruptions, asked.severities, seed=viewed.seed, device=viewed.device
    )
    check_images(recipes, data)
    values = data.channels * data.size[0] * data.size[1]
    return plan(
        viewed.entries,
        (),
        data,
        corruptions=[recipe.corrupted for recipe in recipes],
        attention=_layers(viewed) or True,
        shard_size=cell_size(values, together=VALUES_PER_CELL, largest=LARGEST_CELL),
        seed=viewed.seed,
        device=viewed.device.type,
        batch_size=viewed.batch_size,
        class_names=viewed.class_names,
        source=viewed.source,
    )


def _layers(viewed: Viewed) -> dict[str, str]:
    """The last layer that was asked for of each model that has one of the name.

    Raises:
        UsageError: a pattern names a layer of no model.
    """
    if not viewed.asked.layers:
        return {}
    sample = viewed.dataset.images(slice(0, SAMPLE)).to(viewed.device)
    found: dict[str, str] = {}
    missing: list[str] = []
    for entry, model in zip(viewed.entries, viewed.models, strict=True):
        for pattern in viewed.asked.layers:
            try:
                found[entry.name] = find_layers(model.classifier, [pattern], sample)[-1]
            except ValueError as error:
                missing.append(f"{model.label}: {error}")
    if len(found) < len(viewed.models):
        raise UsageError(f"--layers: {missing[0]}.")
    return found


def _kept(viewed: Viewed, record: Record, found: Sequence[dict[str, Any]]) -> Table:
    """Kept mass with its interval and, on the line below, the accuracy."""

    def lines() -> Iterator[tuple[str, ...]]:
        for model, each in zip(viewed.models, found, strict=True):
            for name, numbers in each["corruptions"].items():
                for what, label in (("kept_mass", "kept mass, %"), ("accuracy", "accuracy, %")):
                    told = numbers[what]
                    yield (model.label, name, label, *_across(told))
            told = each["severities"]["kept_mass"]
            yield (model.label, "mean", "kept mass, %", *_across(told))

    severities = [f"severity {severity}" for severity in record.axes.severities]
    return Table(("model", "corruption", "", *severities), tuple(lines()))


def _moves(viewed: Viewed, record: Record, found: Sequence[dict[str, Any]]) -> Table:
    """The other two measures at the highest severity, and their means over everything."""
    last = str(record.axes.severities[-1])

    def lines() -> Iterator[tuple[str, ...]]:
        for model, each in zip(viewed.models, found, strict=True):
            for name, numbers in each["corruptions"].items():
                cells = [
                    _told(numbers[measure]["value"][last], numbers[measure]["interval"][last])
                    for measure in MOVES
                ]
                yield (model.label, name, *cells)
            means = [each["mean"][measure] for measure in MOVES]
            yield (model.label, "mean", *(_told(mean["value"], mean["interval"]) for mean in means))

    return Table(("model", "corruption", *MOVES.values()), tuple(lines()))


def _across(told: dict[str, Any]) -> Iterator[str]:
    """Fractions in whole percent, so that five severities stand side by side."""
    for severity, value in told["value"].items():
        if value is None:
            yield UNKNOWN
            continue
        low, high = told["interval"][severity]
        ends = "" if low is None or high is None else f" [{100 * low:.0f}, {100 * high:.0f}]"
        yield f"{100 * value:.0f}{ends}"


def _told(value: object, interval: Sequence[object]) -> str:
    return f"{number_text(value, 'number')} {interval_text(interval, 'number')}".rstrip()
