"""Finds the measures of a comparison by the names that a person gives them."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from workbench.errors import UsageError, unknown
from workbench.tables import SUFFIX, short_spec

Measure = Mapping[str, Any]

SECTIONS = {
    "clean": ("clean_error", "clean_top5_error"),
    "robust": ("worst_case_robust_accuracy", "robust_accuracy"),
    "success": ("success_rate",),
    "ended": ("random_state_rate",),
    "believed": ("believed_rate", "judge_keeps_rate"),
    "moved": ("mean_pixel_change", "median_pixel_change", "pixels_over_threshold"),
    "corruptions": ("mean_corruption_error", "mce", "relative_mce", "family_mean_error"),
    "probes": ("probe_error",),
}
"""What stands together in tables, by the names of its measures."""

ALL = "all"


def measure_name(measure: Measure) -> str:
    """The name of a measure without its attack, family, probe or threshold."""
    return str(measure["key"]).partition(":")[0].partition("@")[0]


def of_what(measure: Measure) -> str:
    """The attack, family or probe of a measure, as the record calls it; empty where it has none."""
    return str(measure["key"]).partition(":")[2]


def short_title(measure: Measure) -> str:
    """The title with its attack as people write it."""
    attack = of_what(measure)
    return str(measure["title"]).replace(attack, short_spec(attack)) if attack else measure["title"]


def find_measures(text: str, measures: Sequence[Measure], flag: str) -> list[Measure]:
    """The measures that a name stands for.

    ``robust-accuracy`` is that of every attack, ``robust-accuracy:pgd`` that of one: the name of
    the attack is enough where it says which, and settings may be written in any way that means the
    same. A section of the tables is all that stands in it.

    Args:
        text: what the person wrote; dashes are underscores.
        measures: those of the comparison.
        flag: the option that it was written for.

    Raises:
        UsageError: the name fits none; the message proposes one.
    """
    name, _, what = text.strip().partition(":")
    name, _, threshold = name.lower().replace("-", "_").partition("@")
    if name == ALL:
        return list(measures)
    wanted = SECTIONS.get(name, (name,))
    found = [
        each
        for each in measures
        if measure_name(each) in wanted and (not threshold or _is_at(each, threshold))
    ]
    if what:
        ways = {what, _canonical(what)}
        fitting = [each for each in found if ways & _names(of_what(each))]
        if found and not fitting:
            known = dict.fromkeys(short_spec(of_what(each)) for each in found if of_what(each))
            raise unknown(f"attack, family or probe in {flag} {text}:", what, known)
        found = fitting
    if not found:
        names = dict.fromkeys(measure_name(each).replace("_", "-") for each in measures)
        raise unknown(f"measure in {flag}:", text, [*names, *SECTIONS])
    return found


def find_measure(text: str, measures: Sequence[Measure], flag: str) -> Measure:
    """The one measure that a name stands for.

    Raises:
        UsageError: it stands for none, or for several.
    """
    found = find_measures(text, measures, flag)
    if len(found) > 1:
        some = ", ".join(_written(each) for each in found[:4])
        more = ", ..." if len(found) > 4 else ""
        raise UsageError(f"{flag} {text} can be several measures: say which of {some}{more}.")
    return found[0]


def _written(measure: Measure) -> str:
    """A measure as it can be written on the command line."""
    key, _, what = str(measure["key"]).partition(":")
    return key.replace("_", "-") + (f":{short_spec(what)}" if what else "")


def _is_at(measure: Measure, threshold: str) -> bool:
    """Whether a measure is over a threshold: ``0.1`` is ``0.10``, and not ``0.15``."""
    mine = str(measure["key"]).partition(":")[0].partition("@")[2]
    try:
        return bool(mine) and float(mine) == float(threshold)
    except ValueError:
        return False


def _names(what: str) -> set[str]:
    """What an attack, a family or a probe may be called."""
    return {what, short_spec(what), what.partition("(")[0], _canonical(what)}


def _canonical(what: str) -> str:
    """An attack or a probe as the record calls it, however it is written; other text as it is."""
    from attacks import probes, spec

    parts = SUFFIX.fullmatch(what)
    name, rest = parts.groups() if parts else (what, "")
    with contextlib.suppress(ValueError):
        return spec.resolve(name).spec + rest
    with contextlib.suppress(ValueError):
        return probes.resolve(name).spec + rest
    return what
