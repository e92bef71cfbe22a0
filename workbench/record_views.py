"""What else a record tells: curves over severity, classes, calibration."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from workbench.errors import UsageError, suggestion, unknown
from workbench.record_files import trained_on

if TYPE_CHECKING:
    from rich.console import RenderableType

    from benchmarks.reading import Record

VIEWS = {
    "curves": "each model's error over severity, and the name of the curve's shape",
    "classes": "the worst classes, and what they are mistaken for",
    "calibration": "whether confidence can be trusted, and whether it tells failures",
    "attention": "how much of what a model looks at stays in place, beside its accuracy",
}
"""The views by their names, each in a line for help texts."""


def view_results(
    record: "Record",
    view: str,
    *,
    condition: str | None = None,
    class_name: str | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """The numbers of a view as one JSON object.

    Args:
        record: the record.
        view: one of `VIEWS`.
        condition: for ``classes``, which answers: ``clean`` (the default), an attack, a
            probe, a corruption, or a corruption at a severity as in ``fog@3``. For ``calibration``
            the same, instead of all; for ``curves`` and ``attention`` a corruption.
        class_name: for ``classes``, the one that is told in detail: its name or number.
        seed: of the bootstrap.

    Returns:
        ``view``, ``condition`` and ``class`` as they were resolved, ``trained_on_corruptions`` (of
        each model, the test corruptions), ``denominators`` (what each number is taken over), and
        ``models``, one object for each model: see `benchmarks.severity_curves`,
        `benchmarks.class_tables`, `benchmarks.calibration`, `benchmarks.attention_results`.

    Raises:
        UsageError: for what the record does not have, or an option that says nothing to the view.
    """
    if view not in VIEWS:
        raise unknown("view", view, VIEWS)
    if class_name is not None and view != "classes":
        raise UsageError(f"--class is for --view classes, not for --view {view}")
    chosen = None if condition is None else find_condition(record, condition)
    told: dict[str, Any] = {
        "view": view,
        "condition": chosen,
        "class": None,
        "trained_on_corruptions": trained_on(record),
    }
    if view == "curves":
        return told | _curves(record, chosen, seed)
    if view == "calibration":
        return told | _calibration(record, chosen, seed)
    if view == "attention":
        return told | _attention(record, chosen)
    return told | _classes(record, chosen or "clean", class_name)


def _curves(record: "Record", chosen: str | None, seed: int) -> dict[str, Any]:
    from benchmarks.severity_curves import MEANINGS, severity_curves

    if not record.axes.corruptions:
        raise UsageError(
            "Nothing was corrupted in this record, so there are no curves over severity.\n"
            "Measure with `workbench benchmark` first."
        )
    _require_corruption(record, chosen)
    models: Any = severity_curves(record, seed=seed)
    if chosen is not None:
        models = [each | {"corruptions": {chosen: each["corruptions"][chosen]}} for each in models]
    return {"denominators": MEANINGS, "models": models}


def _require_corruption(record: "Record", chosen: str | None) -> None:
    from workbench.tables import short_spec

    corruptions = record.axes.corruptions
    if chosen is not None and chosen not in corruptions:
        raise UsageError(
            f"A curve is of a corruption over severities, which '{short_spec(chosen)}' is not.\n"
            f"In this record: {', '.join(corruptions)}."
        )


def _attention(record: "Record", chosen: str | None) -> dict[str, Any]:
    from benchmarks import ATTENTION_DENOMINATORS, attention_results

    models = attention_results(record)
    if not models:
        raise UsageError(
            "What the models look at was not measured in this record.\n"
            "Measure with `workbench benchmark --attention` first."
        )
    _require_corruption(record, chosen)
    if chosen is not None:
        models = [each | {"corruptions": {chosen: each["corruptions"][chosen]}} for each in models]
    return {"denominators": ATTENTION_DENOMINATORS, "models": models}


def _calibration(record: "Record", chosen: str | None, seed: int) -> dict[str, Any]:
    from benchmarks.calibration import DENOMINATORS, calibration

    models: Any = calibration(record, seed=seed)
    if chosen is not None:  # a corruption at each of its severities
        for each in models:
            each["conditions"] = [
                entry
                for entry in each["conditions"]
                if chosen in (entry["condition"], entry["corruption"])
            ]
            each["mean_over_corruptions"] = None
    return {"denominators": DENOMINATORS, "models": models}


def _classes(record: "Record", condition: str, class_name: str | None) -> dict[str, Any]:
    from benchmarks import class_tables as tables

    told = {"condition": condition, "denominators": tables.DENOMINATORS}
    if class_name is None:
        return told | {"models": tables.class_tables(record, condition)}
    names = tables.class_names(record)
    try:
        name = names[tables.class_number(names, class_name)]
    except ValueError as error:
        raise unknown("class", class_name, names) from error
    return told | {
        "class": name,
        "models": tables.class_breakdown(record, class_name, condition),
    }


def view_tables(
    record: "Record",
    view: str,
    width: int,
    *,
    condition: str | None = None,
    class_name: str | None = None,
    seed: int = 0,
) -> "Iterator[RenderableType]":
    """The tables of a view for a terminal of ``width`` characters; see `view_results`.

    Raises:
        UsageError: as `view_results`, at once.
    """
    told = view_results(record, view, condition=condition, class_name=class_name, seed=seed)
    return tables_of(told, width)


def tables_of(told: dict[str, Any], width: int) -> "Iterator[RenderableType]":
    """The tables of what `view_results` gave."""
    if told["view"] == "curves":
        from workbench.curve_tables import curve_tables

        return curve_tables(told["models"], width, told["trained_on_corruptions"])
    if told["view"] == "calibration":
        from workbench.calibration_tables import calibration_tables

        return calibration_tables(told["models"], width, told["trained_on_corruptions"])
    if told["view"] == "attention":
        from workbench.attention_tables import attention_tables

        return attention_tables(told["models"], width, told["trained_on_corruptions"])
    from workbench.class_view import breakdown_tables, worst_class_tables

    if told["class"] is None:
        return worst_class_tables(told["models"], width)
    return breakdown_tables(told["models"], width)


def find_condition(record: "Record", text: str) -> str:
    """The name of a condition in the record from what a person wrote.

    Attacks may be written as in the tables, without the settings that are at their defaults, and
    they and probes by name alone where the record has one of the name.

    Raises:
        UsageError: if there is none, or several.
    """
    from workbench.tables import short_spec

    axes = record.axes
    corrupted = [f"{name}@{severity}" for name in axes.corruptions for severity in axes.severities]
    exact = ["clean", *record.attacks, *axes.corruptions, *corrupted, *record.probes]
    if text in exact:
        return text
    shown = [short_spec(attack) for attack in record.attacks]
    for alike in (
        [a for a, short in zip(record.attacks, shown, strict=True) if short == text],
        [a for a in (*record.attacks, *record.probes) if a.partition("(")[0] == text],
    ):
        if len(alike) == 1:
            return alike[0]
        if alike:
            some = ", ".join(f"'{short_spec(attack)}'" for attack in alike)
            raise UsageError(f"The record has {len(alike)} conditions '{text}': {some}. Write one.")
    hint = suggestion(text, ["clean", *shown, *axes.corruptions, *corrupted, *record.probes])
    told = ["clean", *shown, *record.probes, *axes.corruptions]
    at = f" (with @{axes.severities[0]} and so on for one severity)" if axes.severities else ""
    raise UsageError(f"The record has no condition '{text}'.{hint}\nIt has {', '.join(told)}{at}.")
