"""Errors under probes as tables for people: probes down, models across."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from workbench.tables import with_interval

LABEL_WIDTH, COLUMN_WIDTH = 36, 20  # characters; decide how many models stand side by side


def probe_tables(results: Sequence[Mapping[str, Any]], width: int) -> Iterator[Table]:
    """Tables of `benchmarks.probe_results`, as many models side by side as fit the width."""
    found = {(str(each["model"]), str(each["probe"])): each for each in results}
    models, probes = (list(dict.fromkeys(key[i] for key in found)) for i in (0, 1))
    side_by_side = max(1, (width - LABEL_WIDTH) // COLUMN_WIDTH)
    for start in range(0, len(models), side_by_side):
        shown = models[start : start + side_by_side]
        table = Table(header_style="bold")
        table.add_column("error on probed images, 95 % interval")
        for model in shown:
            table.add_column(Text(model), justify="right")
        for probe in probes:
            table.add_row(Text(probe), *(_error(found[model, probe]) for model in shown))
        yield table


def _error(result: Mapping[str, Any]) -> str:
    return with_interval(result["error"], result["error_interval"], ".1%")
