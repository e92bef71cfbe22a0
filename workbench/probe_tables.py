"""Errors under probes as tables for people: probes down, models across."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from workbench.corruption_tables import marked, marks
from workbench.tables import with_interval

LABEL_WIDTH, COLUMN_WIDTH = 36, 20  # characters; decide how many models stand side by side


def probe_tables(
    results: Sequence[Mapping[str, Any]], width: int, trained_on: Mapping[str, Sequence[str]]
) -> Iterator[Table]:
    """Tables of `benchmarks.probe_results`, as many models side by side as fit.

    Args:
        results: one for each model and probe.
        width: of the terminal, in characters.
        trained_on: for each model, the test corruptions that it was trained on.
    """
    models: dict[str, list[Mapping[str, Any]]] = {}
    for result in results:
        models.setdefault(str(result["model"]), []).append(result)
    columns = list(models.values())
    side_by_side = max(1, (width - LABEL_WIDTH) // COLUMN_WIDTH)
    for start in range(0, len(columns), side_by_side):
        shown = columns[start : start + side_by_side]
        first = [own[0] for own in shown]
        table = Table(
            header_style="bold",
            caption=Text("\n".join(marks(first, trained_on))),
            caption_justify="left",
        )
        table.add_column("error on probed images, 95 % interval")
        for each in first:
            table.add_column(Text(marked(each, trained_on)), justify="right")
        table.add_row("clean", *(_error(each, "clean_error") for each in first))
        for row in zip(*shown, strict=True):
            table.add_row(Text(str(row[0]["probe"])), *(_error(each, "error") for each in row))
        yield table


def _error(result: Mapping[str, Any], name: str) -> str:
    return with_interval(result[name], result[f"{name}_interval"], ".1%")
