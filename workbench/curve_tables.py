"""Errors over severity as tables for people: a small curve, its shape and why it is called so."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from benchmarks.severity_curves import GAINED_BACK
from workbench.corruption_tables import marked, marks
from workbench.tables import UNKNOWN, fitting, known, with_interval

BLOCKS = "▁▂▃▄▅▆▇█"  # an error of 0 to one of 100 %
SHORT = {"near-linear": "linear", "threshold collapse": "collapse", "early drop then flat": "early"}


def curve_tables(
    models: Sequence[Mapping[str, Any]], width: int, trained_on: Mapping[str, Sequence[str]]
) -> Iterator[Table]:
    """The tables of `benchmarks.severity_curves`: models beneath each other by corruption.

    Args:
        models: one object for each.
        width: of the terminal, in characters.
        trained_on: for each model, the test corruptions that it was trained on.
    """
    yield fitting(
        (
            _table(models, trained_on, drop=drop, roomy=roomy)
            for drop, roomy in ((True, True), (True, False), (False, False))
        ),
        width,
    )


def _table(
    models: Sequence[Mapping[str, Any]],
    trained_on: Mapping[str, Sequence[str]],
    *,
    drop: bool,
    roomy: bool,
) -> Table:
    """All curves: with drops and their intervals, and with room on both sides of cells."""
    severities = next(
        (curve["severities"] for each in models for curve in each["corruptions"].values()), [0]
    )
    alone = len(models) == 1
    title = f"{marked(models[0], trained_on)}: " if alone else ""
    table = Table(
        title=Text(f"{title}error over severity {', '.join(map(str, severities))} (0: untouched)"),
        title_justify="left",
        caption=Text("\n".join([_CAPTION, *marks(models, trained_on)])),
        caption_justify="left",
        header_style="bold",
        padding=(0, 1) if roomy else (0, 0, 0, 1),
    )
    table.add_column(
        "corruption" if alone else "model", max_width=24, no_wrap=alone, overflow="fold"
    )
    table.add_column("curve", no_wrap=True)
    table.add_column("error %", no_wrap=True, justify="right")
    if drop:
        table.add_column("drop in points", no_wrap=True, justify="right")
    table.add_column("shape", no_wrap=True)
    table.add_column("because", max_width=None if roomy else 11)  # "100% in 0-2"
    heading = ""
    for corruption in models[0]["corruptions"]:
        for each in models:
            curve = each["corruptions"][corruption]
            over = str(curve["family"]) if alone else corruption
            if over != heading:
                table.add_row(Text(over, style="bold"), *[""] * (len(table.columns) - 1))
                heading = over
            name = corruption if alone else marked(each, trained_on)
            table.add_row(Text(f" {name}"), *_cells(curve, drop))
    return table


_CAPTION = (
    f"curve: {BLOCKS[0]} 0 % to {BLOCKS[-1]} 100 % error. shape: with the share of resamples of "
    "the images that have the same. because: the number that decided, see docs/views.md"
)


def _cells(curve: Mapping[str, Any], drop: bool) -> list[str]:
    errors = curve["errors"]
    if errors is None:
        return [UNKNOWN] * (5 if drop else 4)
    cells = [sparkline(errors), f"{100 * errors[0]:.1f}→{100 * errors[-1]:.1f}"]
    if drop:
        ends = curve["drop_interval"]
        shown = None if ends is None else [100 * end for end in ends]
        cells.append(with_interval(100 * curve["drop"], shown, ".1f"))
    share = curve["shape_share"]
    agreed = f" {100 * share:.0f}%" if known(share) else ""
    return [*cells, f"{curve['shape']}{agreed}", because(curve)]


def sparkline(errors: Sequence[float]) -> str:
    """Errors as blocks, the lowest for none wrong, the highest for all.

    >>> sparkline([0.0, 0.5, 1.0])
    '▁▅█'
    """
    return "".join(BLOCKS[min(int(error * len(BLOCKS)), len(BLOCKS) - 1)] for error in errors)


def because(curve: Mapping[str, Any]) -> str:
    """The number that decided on the name of a curve's shape."""
    shape, steepest, shares = curve["shape"], curve["steepest"], curve["shape_shares"]
    if shape == "unclear":
        likely = sorted((shares or {}).items(), key=lambda item: -item[1])[:2]
        named = [f"{SHORT.get(name, name)} {100 * share:.0f}%" for name, share in likely]
        return ", ".join(named) or "too few severities"
    if shape == "flat":
        return f"at most {100 * curve['largest_drop']:.1f}"
    if steepest is None:  # the end is nearly where it began
        return f"{100 * curve['largest_drop']:.1f}, then {100 * curve['drop']:.1f}"
    if shape == "irregular" and curve["gained_back"] > GAINED_BACK:
        return f"{100 * curve['gained_back']:.0f}% regained"
    if shape in ("near-linear", "irregular"):
        return f"R² {curve['line']['r2']:.2f}"
    return f"{100 * steepest['share']:.0f}% in {steepest['from']:.2g}-{steepest['to']:.2g}"
