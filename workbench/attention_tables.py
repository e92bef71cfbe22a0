"""The drift of attention as tables for people: what stays where it was, beside the accuracy."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from workbench.corruption_tables import marked, marks
from workbench.tables import UNKNOWN, fitting, known

Result = Mapping[str, Any]


def attention_tables(
    results: Sequence[Result], width: int, trained_on: Mapping[str, Sequence[str]]
) -> Iterator[Table]:
    """A table of each of `benchmarks.attention_results`: corruptions down, severities across.

    Args:
        results: one for each model.
        width: of the terminal, in characters.
        trained_on: for each model, the test corruptions that it was trained on.
    """
    for result in results:
        variants = ((True, True), (False, True), (False, False))
        yield fitting(
            (_table(result, trained_on, roomy=roomy, ends=ends) for roomy, ends in variants), width
        )


def undefined_images(result: Result) -> int:
    """Over all cells, how many images had no map to compare."""
    return sum(
        count
        for each in result["corruptions"].values()
        for count in each["kept_mass"]["undefined"].values()
    )


def _table(
    result: Result, trained_on: Mapping[str, Sequence[str]], *, roomy: bool, ends: bool
) -> Table:
    """One model; with the intervals of the kept mass where there is room for their ``ends``."""
    layer = result["layer"]
    clean = result["clean_accuracy"]
    right = f", {_percent(clean)} % right when clean" if known(clean) else ""
    table = Table(
        title=Text(
            f"{marked(result, trained_on)}: Grad-CAM mass that stays in place, in %"
            f"{', 95 % interval' if ends else ''}; below it, accuracy in %{right}"
        ),
        title_justify="left",
        caption=Text("\n".join([_caption(result, layer), *marks([result], trained_on)])),
        caption_justify="left",
        header_style="bold",
        padding=(0, 1) if roomy else (0, 0, 0, 1),
    )
    severities = list(result["severities"]["kept_mass"]["value"])
    table.add_column("severity")
    for severity in severities:
        table.add_column(severity, justify="right", no_wrap=True)
    for name, each in result["corruptions"].items():
        table.add_row(Text(name), *_kept(each["kept_mass"], severities, ends))
        accuracy = each["accuracy"]["value"]
        table.add_row("  accuracy", *(_percent(accuracy[severity]) for severity in severities))
    if len(result["corruptions"]) > 1:
        over = result["severities"]["kept_mass"]
        table.add_row("mean", *_kept(over, severities, ends), style="bold")
    return table


def _caption(result: Result, layer: Mapping[str, Any]) -> str:
    mean = result["mean"]
    parts = [f"layer {layer['name']}, {layer['height']}x{layer['width']} cells"]
    if len(result["corruptions"]) > 1 and known(mean["centre_shift"]["value"]):
        parts.append(f"the centre moves {mean['centre_shift']['value']:.3f} of a side on average")
        if known(mean["rank_correlation"]["value"]):
            parts.append(f"rank correlation {mean['rank_correlation']['value']:.2f}")
    undefined = undefined_images(result)
    if undefined:
        parts.append(f"{undefined} pairs left out: a map of no mass")
    return "; ".join(parts)


def _kept(found: Mapping[str, Any], severities: Sequence[str], ends: bool) -> Iterator[str]:
    for severity in severities:
        text = _percent(found["value"][severity])
        low, high = found["interval"][severity]
        if ends and known(low) and known(high):
            text += f" [{_percent(low)}, {_percent(high)}]"
        yield text


def _percent(fraction: float | None) -> str:
    return UNKNOWN if fraction is None else f"{100 * fraction:.0f}"
