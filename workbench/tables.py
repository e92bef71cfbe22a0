"""Results as tables for people: one table a model, measures down the side, attacks across."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from benchmarks.budgets import has_budget
from workbench.console import duration

Result = Mapping[str, Any]

UNKNOWN = "-"  # for what nothing was counted

SUFFIX = re.compile(r"(.*?)((?: target=\S+)?(?: seed=\d+)?)", re.DOTALL)
"""A canonical spec, and what a condition adds to it: fits any text."""

LABEL_WIDTH, COLUMN_WIDTH = 34, 32  # characters; decide how many attacks stand side by side


def result_tables(results: Sequence[Result], width: int) -> Iterator[Table]:
    """Tables of `benchmarks.results.results`, so many attacks in each as fit the width."""
    side_by_side = max(1, (width - LABEL_WIDTH) // COLUMN_WIDTH)
    for model in dict.fromkeys(str(result["model"]) for result in results):
        mine = [result for result in results if result["model"] == model]
        for start in range(0, len(mine), side_by_side):
            yield _table(model, mine[start : start + side_by_side])


def _table(model: str, results: Sequence[Result]) -> Table:
    table = Table(title=Text(model), title_justify="left", header_style="bold")
    table.add_column(Text("mean over images, 95 % interval"), max_width=LABEL_WIDTH)
    for result in results:
        table.add_column(Text(short_spec(str(result["attack"]))), justify="right")
    rows = [dict(_rows(result)) for result in results]
    for label in dict.fromkeys(label for row in rows for label in row):
        table.add_row(label, *(Text(row.get(label, "")) for row in rows))
    return table


def _rows(result: Result) -> Iterator[tuple[str, str]]:
    """Each line of a result: its label and its value."""
    images, attacked = int(result["images"]), int(result["attacked"])
    yield "images", str(images)
    if result["failures"]:
        lost = sum(int(each["stop"]) - int(each["start"]) for each in result["failures"])
        yield "images lost to failures", str(lost)
    yield "wrong before any attack", str(result["clean_wrong"])
    yield "attacked (right when clean)", str(attacked)
    yield "reached the goal", _rate(result, "success_rate", "succeeded", "attacked")
    yield (
        "  after rounding to 8 bits",
        _rate(result, "success_rate_8bit", "succeeded_8bit", "attacked"),
    )
    yield "misclassified at all", _rate(result, "misclassified_rate", "misclassified", "attacked")
    if result.get("random_state"):
        yield "ended in the random state", str(result["random_state"])
    yield "still right, of all images", _rate(result, "robust_accuracy")
    yield "of the successes:", ""
    yield "  change per pixel", _mean(result, "mean_pixel_change", ".4f")
    if known(result.get("mean_pixel_change_unshrunk")):
        yield "  change before shrinking", _mean(result, "mean_pixel_change_unshrunk", ".4f")
    for threshold, count in dict(result["pixels_over_threshold"]).items():
        interval = dict(result.get("pixels_over_threshold_interval") or {}).get(threshold)
        yield f"  pixels moved over {float(threshold):.3g}", with_interval(count, interval, ".1f")
    yield "  largest change (L∞)", _mean(result, "mean_linf", ".4f")
    yield "  median confidence", _number(result.get("median_confidence"), ".3f")
    if result.get("judge"):
        yield from _judged_rows(result)
    yield "of the attacked:", ""
    yield "  steps", _mean(result, "mean_steps", ".1f")
    yield "  forward passes", _mean(result, "forwards_per_image", ".1f")
    yield "  backward passes", _mean(result, "backwards_per_image", ".1f")
    yield "time", duration(float(result["seconds"] or 0))


def _judged_rows(result: Result) -> Iterator[tuple[str, str]]:
    """What the judge reads in the successes."""
    whole = "judged_successes"
    yield f"read by {result['judge']}:", ""
    yield "  as the new class (believed)", _rate(result, "believed_rate", "believed", whole)
    yield (
        "    and so before the attack",
        _rate(result, "believed_before_rate", "believed_before", whole),
    )
    yield "  as the true class", _rate(result, "judge_keeps_rate", "judge_keeps", whole)
    yield (
        "  wrongly before the attack",
        _rate(result, "judge_wrong_before_rate", "judge_wrong_before", whole),
    )


def worst_case_lines(worst: Sequence[Result]) -> list[str]:
    """What is left of each model under the worst of its attacks, image by image."""
    return [
        f"{each['model']}: right when clean and under every attack: "
        f"{with_interval(each['robust_accuracy'], each.get('robust_accuracy_interval'), '.1%')} "
        f"of {each['images']} images (per-image worst case over {_attacks(each['attacks'])})"
        for each in worst
        if len(each["attacks"]) > 1
    ]


def _attacks(attacks: Sequence[str]) -> str:
    budget = " with a budget" if any(map(has_budget, attacks)) else ""
    return f"{len(attacks)} attacks{budget}"


def short_spec(canonical: str) -> str:
    """A canonical spec without the settings that stand at their defaults, budgets in 1/255.

    >>> short_spec("fgsm(eps=0.03137254901960784, loss='ce')")
    'fgsm(eps=8/255)'
    """
    from attacks.spec import Spec, parse, resolve

    text, rest = SUFFIX.fullmatch(canonical).groups()  # type: ignore[union-attr]  # fits any text
    try:
        spec = parse(text)
        usual = parse(resolve(spec.name).spec).settings
    except ValueError:
        return canonical
    kept = []
    for key, value in spec.settings.items():
        if (key == "eps" and value is not None) or value != usual.get(key):
            inner = short_spec(value) if isinstance(value, str) and "(" in value else value
            written = plain_number(inner) if isinstance(inner, float) else str(inner)
            kept.append(f"{key}={written}")
    short = f"{spec.name}({', '.join(kept)})" if kept else str(Spec(spec.name))
    return short + rest


def short_defense(canonical: str) -> str:
    """The same for a defense; of the files that it takes, the names alone.

    >>> short_defense("noisy(std=0.1)"), short_defense("crop-flip(padding=2, flip=True)")
    ('noisy', 'crop-flip(padding=2)')
    >>> short_defense("hard-negatives(source='runs/a/fooling.h5', strengths=5)")
    "hard-negatives(source='fooling.h5', strengths=5)"
    >>> short_defense("adversarial(attack='pgd(eps=8/255)')")
    "adversarial(attack='pgd(eps=8/255)')"
    """
    from attacks.spec import Spec, defaults, parse
    from defenses import DEFENSES

    try:
        spec = parse(canonical)
    except ValueError:
        return canonical
    if spec.name not in DEFENSES:
        return canonical
    usual = defaults(DEFENSES[spec.name])
    own = {key: value for key, value in spec.settings.items() if value != usual.get(key)}
    return str(Spec(spec.name, {key: _file_name(value) for key, value in own.items()}))


def _file_name(value: Any) -> Any:
    """Of a path, what comes last."""
    return value.rpartition("/")[2] if isinstance(value, str) and "(" not in value else value


def short_arch(arch: str) -> str:
    """An architecture; of a file that makes it, the name alone.

    >>> short_arch("nets/my.py:make(width=3)"), short_arch("resnet20(width=8)")
    ('my.py:make(width=3)', 'resnet20(width=8)')
    """
    from workbench.models.factories import is_factory

    return arch.rpartition("/")[2] if is_factory(arch) else arch


def told_corruptions(names: Sequence[str]) -> str:
    """Test corruptions in words: their names, or that they are all there are.

    >>> told_corruptions(["fog", "snow"])
    'fog, snow'
    """
    from attacks.corruptions import CORRUPTIONS

    return f"all {len(CORRUPTIONS)}" if set(names) == set(CORRUPTIONS) else ", ".join(names)


def fitting(variants: Iterable[Table], width: int) -> Table:
    """The first of several tables that fits a width without a line broken, else the last."""
    wide = Console(width=10_000)
    table = Table()
    for table in variants:
        if Measurement.get(wide, wide.options, table).maximum <= width:
            break
    return table


def plain_number(value: float) -> str:
    """A number as people write it, multiples of 1/255 as such.

    >>> plain_number(8 / 255), plain_number(0.1)
    ('8/255', '0.1')
    """
    if float(f"{value:.3g}") == value:
        return f"{value:g}"
    near = round(value * 255, 1)
    return f"{near:g}/255" if near > 0 and abs(value * 255 - near) < 1e-9 else f"{value:g}"


def _rate(result: Result, name: str, part: str = "", whole: str = "") -> str:
    text = with_interval(result.get(name), result.get(f"{name}_interval"), ".1%")
    return f"{result[part]}/{result[whole]} = {text}" if part and text != UNKNOWN else text


def _mean(result: Result, name: str, form: str) -> str:
    return with_interval(result.get(name), result.get(f"{name}_interval"), form)


def with_interval(value: object, interval: Sequence[object] | None, form: str) -> str:
    """A value with its interval behind it, in one format.

    >>> with_interval(0.25, (0.2, 0.31), ".0%")
    '25% [20, 31]'
    """
    text = _number(value, form)
    if interval is None or not all(known(end) for end in interval):
        return text
    low, high = (_number(end, form).removesuffix("%") for end in interval)
    return f"{text} [{low}, {high}]"


def known(value: object) -> bool:
    """Whether a value of a result is a number: what nothing was counted for is None."""
    return isinstance(value, int | float) and math.isfinite(value)


def _number(value: object, form: str) -> str:
    return format(value, f"z{form}") if known(value) else UNKNOWN  # z: no -0.0
