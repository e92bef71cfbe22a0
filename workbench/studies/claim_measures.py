"""The measures that claims are about, by the names that `workbench compare --columns` takes."""

import math
from dataclasses import replace

from attacks import probes, spec
from attacks.corruptions import CORRUPTIONS
from benchmarks import Record
from benchmarks.comparison_measures import Measure, measures
from workbench.errors import UsageError, unknown
from workbench.gates import ACCURACIES
from workbench.measure_names import SECTIONS, find_measure
from workbench.tables import SUFFIX

NAMES = tuple(name for section in SECTIONS.values() for name in section)
OF_ATTACKS = (
    "robust_accuracy",
    *(name for key in ("success", "ended", "believed", "moved") for name in SECTIONS[key]),
)
AT_THRESHOLDS = "pixels_over_threshold"


def check_measure(text: str) -> None:
    """Refuse a measure that no record can have, whatever was measured.

    Raises:
        UsageError: there is no such measure, attack, family or probe.
    """
    name, colon, what = text.partition(":")
    name, at, threshold = name.strip().lower().replace("-", "_").partition("@")
    wanted = SECTIONS.get(name, (name,))
    if len(wanted) > 1:
        names = ", ".join(each.replace("_", "-") for each in wanted)
        raise UsageError(f"measure {text} is several measures: say which of {names}.")
    (name,) = wanted
    if name not in (*NAMES, *ACCURACIES):
        known = [each.replace("_", "-") for each in (*NAMES, *ACCURACIES)]
        raise unknown("measure", text.partition(":")[0], known)
    if at and (name != AT_THRESHOLDS or not _is_number(threshold)):
        raise UsageError(f"measure {text}: a threshold is of pixels-over-threshold, as in @0.1.")
    if colon:
        try:
            _check_of_what(name, what.strip())
        except ValueError as error:
            raise UsageError(f"measure {text}: {error}") from None


def _check_of_what(name: str, what: str) -> None:
    if name in OF_ATTACKS:
        attack = SUFFIX.fullmatch(what)
        spec.resolve(what if attack is None else attack.group(1))
    elif name == "probe_error":
        probes.resolve(what)
    elif name == "family_mean_error":
        families = dict.fromkeys(each.family for each in CORRUPTIONS.values())
        if what not in families:
            raise unknown("family", what, families)
    else:
        raise UsageError(f"{name.replace('_', '-')} is of no attack, family or probe.")


def claimed_measure(record: Record, text: str) -> Measure:
    """The measure of a record that a claim names; an accuracy is 1 less the error.

    Raises:
        UsageError: the record has none of that name, or several.
    """
    found = measures(record)
    name = text.strip().lower().replace("-", "_")
    described = [each.as_json() for each in found]
    key = find_measure(ACCURACIES.get(name, text), described, "measure")["key"]
    measure = next(each for each in found if each.key == key)
    return _accuracy(measure, name) if name in ACCURACIES else measure


def _accuracy(error: Measure, name: str) -> Measure:
    images = None if error.images is None else 1 - error.images
    return replace(
        error,
        key=name,
        title=error.title.replace("error", "accuracy"),
        better="higher",
        values=1 - error.values,
        intervals=1 - error.intervals[:, ::-1],
        images=images,
    )


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
