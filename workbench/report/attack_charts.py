"""Figures of attacks and probes: what is left, how far pixels moved, how many steps it took."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks import Record
from workbench.drawing.charts import Bar, Bars, Chart, Line, Lines, has_values
from workbench.drawing.numbers import finite, with_interval_text
from workbench.report.rows import Row, measures_of, robust_measures
from workbench.tables import short_spec

MOST_POINTS = 120  # of a distribution of steps
CEILINGS = (5.0, 10.0, 25.0, 50.0, 100.0)  # % of images, that all panels end at
WORST_CASE = "worst_case_robust_accuracy"

Comparison = Mapping[str, Any]


def robust_chart(comparison: Comparison, rows: Sequence[Row]) -> Chart | None:
    """Accuracy that is left: a panel for each attack, and one for the worst of them."""
    panels = [
        bars_of(each["key"], short_spec(attack), "percent", rows)
        for each, attack in robust_measures(comparison, rows)
    ]
    worst = bars_of(WORST_CASE, "Worst case, per image", "percent", rows)
    panels += [worst] if len(panels) > 1 and worst.bars else []
    if not panels:
        return None
    note = (
        "Share of images that are right untouched and still right after the attack. One attack "
        "alone only bounds robustness from above; the worst case is taken image by image, over the "
        "attacks with a budget where some have one."
    )
    return Chart("robust-accuracy", "Robust accuracy", note, tuple(_on_one_scale(panels)))


def change_chart(comparison: Comparison, rows: Sequence[Row]) -> Chart | None:
    """Average per-pixel change, a panel for each attack (study S2)."""
    panels = [
        bars_of(each["key"], short_spec(attack), "number", rows)
        for each, attack in measures_of(comparison, "mean_pixel_change", rows)
    ]
    if not panels:
        return None
    note = (
        "Mean over pixels of the change summed over colour channels, then over the images on "
        "which the attack succeeded: more is harder to fool. A model that the attack rarely fools "
        "shows its easiest images alone, so read this beside robust accuracy."
    )
    return Chart("pixel-change", "Average change per pixel", note, tuple(panels))


def threshold_chart(comparison: Comparison, rows: Sequence[Row]) -> Chart | None:
    """Pixels over threshold, a panel for each attack and threshold (study S2)."""
    keys = dict.fromkeys(str(each["key"]).partition(":")[0] for each in comparison["measures"])
    panels: list[Bars] = []
    none: list[Bars] = []
    for name in keys:
        measure, _, threshold = name.partition("@")
        if measure != "pixels_over_threshold":
            continue
        for each, attack in measures_of(comparison, name, rows):
            title = f"{short_spec(attack)}, over {100 * float(threshold):g} %"
            panel = bars_of(each["key"], title, "number", rows)
            (panels if any(bar.value for bar in panel.bars) else none).append(panel)
    if not panels:
        return None
    note = (
        "Mean number of pixels that changed by more than the threshold, in % of the range of one "
        "channel, over the images on which the attack succeeded."
    )
    if none:
        note += f" No pixel at all changed by more: {'; '.join(panel.title for panel in none)}."
    return Chart("pixels-over-threshold", "Pixels over threshold", note, tuple(panels))


def belief_chart(record: Record, comparison: Comparison, rows: Sequence[Row]) -> Chart | None:
    """How often a judge that was not attacked reads the new class too, a panel for each attack."""
    panels = [
        replace(bars_of(each["key"], short_spec(attack), "percent", rows), label="% of successes")
        for each, attack in measures_of(comparison, "believed_rate", rows)
    ]
    if not panels:
        return None
    note = (
        f"Share of the attack's successes in which {record.judge}, a model that was not attacked, "
        "reads the new class too. Either the images have come to mean that class, or the judge "
        "shares the models' weakness: look at them."
    )
    return Chart("believability", "Believability", note, tuple(_on_one_scale(panels)))


def probe_chart(comparison: Comparison, rows: Sequence[Row]) -> Chart | None:
    """Error under each probe, a panel a probe: one dial turned, without a look at the model."""
    panels = [
        bars_of(each["key"], probe, "percent", rows)
        for each, probe in measures_of(comparison, "probe_error", rows)
    ]
    if not panels:
        return None
    note = "Share of images that are wrong when one dial is turned on every image."
    return Chart("probe-error", "Error under probes", note, tuple(_on_one_scale(panels)))


def _on_one_scale(panels: Sequence[Bars]) -> list[Bars]:
    """Percentages on an axis that ends where all of them fit."""
    longest = max(max(bar.interval or (0, bar.value)) for panel in panels for bar in panel.bars)
    ceiling = next((end for end in CEILINGS if longest <= end), CEILINGS[-1])
    return [replace(panel, ceiling=ceiling) for panel in panels]


def bars_of(key: str, title: str, form: str, rows: Sequence[Row]) -> Bars:
    """One number of the comparison as bars; rows without it have none."""
    bars = []
    scale = 100 if form == "percent" else 1
    for row in rows:
        value = row.value(key)
        if value is None:
            continue
        ends = [finite(end) for end in row.number(key).get("interval") or ()]
        interval = None
        if len(ends) == 2 and ends[0] is not None and ends[1] is not None:
            interval = (scale * ends[0], scale * ends[1])
        bars.append(
            Bar(row.place, scale * value, interval, with_interval_text(row.number(key), form))
        )
    label = "% of images" if form == "percent" else "mean over successes"
    return Bars(title, label, tuple(bars))


def steps_chart(record: Record, rows: Sequence[Row]) -> Chart | None:
    """Share of the attacked images that were fooled within so many steps, a panel an attack.

    Attacks that take the same number of steps for every image have none.
    """
    given, steps = record.attacked["attacked"] == 1, record.attacked["steps"]
    success = given & (record.attacked["success"] == 1)
    panels = []
    for a, attack in enumerate(record.attacks):
        taken = steps[:, a][success[:, a]]
        if not len(taken) or taken.min() == taken.max():
            continue
        lines = []
        for row in rows:
            mine = list(row.models)
            attacked = int(given[mine, a].sum())
            if attacked:
                lines.append(_distribution(row.place, steps[mine, a][success[mine, a]], attacked))
        longest = max(x for line in lines for x in line.x)
        lines = [
            Line(
                line.row, (*line.x, longest), (*line.y, line.y[-1])
            )  # all end where the longest does
            for line in lines
        ]
        panel = Lines(
            short_spec(attack), "steps", "fooled (%)", tuple(lines), " %", steps=True, ceiling=100
        )
        panels += [panel] if has_values(panel) else []
    if not panels:
        return None
    note = (
        "Share of the attacked images on which the attack had succeeded after so many steps; what "
        "is missing to 100 % withstood it."
    )
    return Chart("attack-steps", "Steps to success", note, tuple(panels))


def _distribution(row: int, taken: Any, attacked: int) -> Line:
    values, counts = np.unique(taken, return_counts=True)
    share = 100 * np.cumsum(counts) / attacked
    if len(values) > MOST_POINTS:
        kept = np.unique(np.linspace(0, len(values) - 1, MOST_POINTS).round().astype(int))
        values, share = values[kept], share[kept]
    return Line(row, (0.0, *map(float, values)), (0.0, *map(float, share)))
