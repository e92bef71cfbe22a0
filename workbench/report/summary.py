"""The summary of a report in plain words, by rules from the numbers."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks import Record
from workbench.drawing.numbers import interval_text, number_text
from workbench.report.corruption_charts import title_of
from workbench.report.rows import Row, baseline_row, robust_measures
from workbench.report.tables import p_text
from workbench.tables import short_spec

FEW_IMAGES = 500  # a rate of 50 % of so many has an interval of ±4.4 points
FEW_SEEDS = 5
SHOWN = ("better", "worse")
MOST_NAMED = 2  # of further measures, in a sentence

Comparison = Mapping[str, Any]


def what_was_measured(record: Record, rows: Sequence[Row], data: str | None) -> str:
    """Models, images and conditions in a sentence."""
    count = len(record.models)
    models = f"{count} models" if count > 1 else f"One model, {_named(rows[0])},"
    if len(rows) < count:
        trainings = "training, repeated" if len(rows) == 1 else "trainings, some repeated"
        models += f" ({len(rows)} {trainings} with other seeds)"
    where = f" of {data}" if data else ""
    conditions = ["untouched"] if (record.clean["right"] != 255).any() else []
    if record.attacks:
        attacks = ", ".join(map(short_spec, record.attacks)) if len(record.attacks) <= 4 else ""
        number = len(record.attacks)
        told = f"{number} attack{'s' if number > 1 else ''}"
        conditions.append(f"under {told} ({attacks})" if attacks else f"under {told}")
    if record.corrupted:
        number, severities = len(record.axes.corruptions), record.axes.severities
        whole = severities == tuple(range(severities[0], severities[-1] + 1))
        at = f"{severities[0]} to {severities[-1]}" if whole and len(severities) > 2 else ""
        at = at or _listed([str(severity) for severity in severities])
        word = "severities" if len(severities) > 1 else "severity"
        told = f"{number} corruptions" if number > 1 else title_of(record.axes.corruptions[0])
        conditions.append(f"under {told} at {word} {at}")
    if record.probes:
        number = len(record.probes)
        conditions.append(f"under {number} probe{'s' if number > 1 else ''}")
    verb = "were" if count > 1 else "was"
    return f"{models} {verb} measured on {len(record.ids):,} images{where}: {_listed(conditions)}."


def findings(record: Record, comparison: Comparison, rows: Sequence[Row]) -> list[str]:
    """The main numbers: best and worst, and whether their difference is shown."""
    headlines = _headlines(comparison, rows)
    told = [_extremes(measure, comparison, rows) for measure in headlines]
    told += _beyond(comparison, rows, {str(measure["key"]) for measure in headlines})
    return [*told, *_hardest(record, rows), *_easiest_attack(comparison, rows)]


def cautions(record: Record, rows: Sequence[Row]) -> list[str]:
    """What a reader must not overlook, the most serious first."""
    told = []
    if record.failures:
        number = len(record.failures)
        told.append(
            f"{number} part{'s' if number > 1 else ''} of the run failed; what they would have "
            "measured is missing (see Warnings)."
        )
    if record.cautions:
        distinct = len(
            {(each["code"], each["model"], each.get("attack")) for each in record.cautions}
        )
        verb = "s were" if distinct > 1 else " was"
        told.append(
            f"{distinct} warning{verb} raised while measuring: some numbers may mean "
            "something else than they seem to (see Warnings)."
        )
    marked = [_named(row) for row in rows if row.trained_on]
    if marked and record.corrupted:
        verb = "were" if len(marked) > 1 else "was"
        told.append(
            f"{_listed(marked)} {verb} trained on corruptions of this very test: a low error "
            "under them is no sign of robustness to others."
        )
    if len(record.ids) < FEW_IMAGES:
        told.append(
            f"{len(record.ids)} images are few: intervals are wide, small differences hidden."
        )
    repeated = [len(row.models) for row in rows if len(row.models) > 1]
    if len(repeated) > 1 and min(repeated) < FEW_SEEDS:
        told.append(
            f"Of some models there are {min(repeated)} trainings: tests between so few find large "
            "differences alone (--no-fold compares single models over the images)."
        )
    if len(rows) > 1 and all(len(row.models) == 1 for row in rows) and not _repeated(rows):
        told.append(
            "Each model was trained once: intervals are over images, and training again with "
            "another seed may change more than they say."
        )
    return told


def _repeated(rows: Sequence[Row]) -> bool:
    """Whether some rows differ in the seed of their training alone, as far as they tell."""
    told = [
        (row.entry["architecture"], tuple(row.entry["defenses"]))
        for row in rows
        if row.entry["seeds"]
    ]
    return len(set(told)) < len(told)


def _headlines(comparison: Comparison, rows: Sequence[Row]) -> list[Mapping[str, Any]]:
    """Clean error, robust accuracy and corruption error, as far as they were measured."""
    measures = {str(each["key"]): each for each in comparison["measures"]}
    robust = [str(each["key"]) for each, _ in robust_measures(comparison, rows)]
    attack = robust[:1] if len(robust) == 1 else ["worst_case_robust_accuracy"]
    normalised = any(row.value("mce") is not None for row in rows)
    corruption = "mce" if normalised else "mean_corruption_error"
    return [
        measures[key]
        for key in ("clean_error", *attack, corruption)
        if key in measures and any(row.value(key) is not None for row in rows)
    ]


def _extremes(measure: Mapping[str, Any], comparison: Comparison, rows: Sequence[Row]) -> str:
    key, form = str(measure["key"]), str(measure["form"])
    title = _sentence_title(measure)
    known = sorted(
        (row for row in rows if row.value(key) is not None), key=lambda row: row.value(key) or 0.0
    )
    if measure["better"] != "lower":
        known.reverse()
    best, worst = known[0], known[-1]
    if len(known) == 1:
        return f"{title} of {_named(best)}: {_told(best, key, form)}."
    if best.value(key) == worst.value(key):
        return f"{title} is {number_text(best.value(key), form)} for all of them."
    text = (
        f"{title} is best for {_named(best)}, {_told(best, key, form)}, and worst for "
        f"{_named(worst)}, {_told(worst, key, form)}."
    )
    return f"{text} {_whether_shown(key, best, worst, comparison, rows)}".rstrip()


def _whether_shown(
    key: str, best: Row, worst: Row, comparison: Comparison, rows: Sequence[Row]
) -> str:
    """What tests say: of the two where one is the baseline, else of each against it."""
    base = baseline_row(rows)
    if base is None:
        return "Without a baseline, whether this is more than chance was not tested."
    for one in (best, worst):
        versus = one.number(key).get("versus")
        if base in (best, worst) and one is not base and isinstance(versus, Mapping):
            p = versus.get("p_holm")
            level = f" (corrected p {p_text(p)})" if isinstance(p, float | int) else ""
            if versus["verdict"] in SHOWN:
                return f"The difference is shown{level}."
            return f"A difference is not shown{level}."
    groups: dict[str, list[str]] = {}
    for row in rows:
        versus = row.number(key).get("versus")
        if isinstance(versus, Mapping):
            groups.setdefault(str(versus["verdict"]), []).append(_named(row))
    told = [
        f"{_listed(groups[verdict])} {'is' if len(groups[verdict]) == 1 else 'are'} {words}"
        for verdict, words in (
            ("better", "shown to be better"),
            ("worse", "shown to be worse"),
            ("no difference", "not shown to differ"),
        )
        if verdict in groups and len(groups[verdict]) <= 4
    ]
    told += [
        f"{len(groups[verdict])} others {words}"
        for verdict, words in (
            ("better", "are shown to be better"),
            ("worse", "are shown to be worse"),
            ("no difference", "are not shown to differ"),
        )
        if len(groups.get(verdict, ())) > 4
    ]
    return f"Against {_named(base)}: {'; '.join(told)}." if told else ""


def _hardest(record: Record, rows: Sequence[Row]) -> list[str]:
    """Which corruption costs most, on average over the models."""
    if not record.corrupted or len(record.axes.corruptions) < 2:
        return []
    errors = record.aggregates["mean_error"]
    known = np.isfinite(errors).all(axis=0)
    if not known.any():
        return []
    means = np.where(known, np.where(known, errors, 0).mean(axis=0), np.nan)
    hard, mild = int(np.nanargmax(means)), int(np.nanargmin(means))
    if hard == mild:
        return []
    names = record.axes.corruptions
    over = " on average over the models" if len(rows) > 1 else ""
    return [
        f"The hardest corruption is {title_of(names[hard])} ({number_text(means[hard], 'percent')} "
        f"mean error{over}), the mildest {title_of(names[mild])} "
        f"({number_text(means[mild], 'percent')})."
    ]


def _easiest_attack(comparison: Comparison, rows: Sequence[Row]) -> list[str]:
    """Which attack leaves least, on average over the models."""
    left: dict[str, float] = {}
    for each, attack in robust_measures(comparison, rows):
        values = [row.value(str(each["key"])) for row in rows]
        if all(value is not None for value in values):
            left[attack] = float(np.mean([value for value in values if value is not None]))
    if len(left) < 2:
        return []
    strongest = min(left, key=lambda attack: left[attack])
    over = " on average over the models" if len(rows) > 1 else ""
    return [
        f"The strongest single attack is {short_spec(strongest)}: it leaves "
        f"{number_text(left[strongest], 'percent')} robust accuracy{over}."
    ]


def _beyond(comparison: Comparison, rows: Sequence[Row], told: set[str]) -> Iterator[str]:
    """In what else a row is shown to differ from the baseline."""
    others = [each for each in comparison["measures"] if str(each["key"]) not in told]
    for row in rows:
        parts = []
        for verdict in SHOWN:
            titles = [
                _sentence_title(each)
                for each in others
                if (row.number(str(each["key"])).get("versus") or {}).get("verdict") == verdict
            ]
            if titles:
                more = [f"{len(titles) - MOST_NAMED} more"] if len(titles) > MOST_NAMED else []
                names = [f"{title[:1].lower()}{title[1:]}" for title in titles[:MOST_NAMED]]
                parts.append(f"{verdict} in {_listed([*names, *more])}")
        if parts:
            yield f"Beyond that, {_named(row)} is {'; '.join(parts)}."


def _sentence_title(measure: Mapping[str, Any]) -> str:
    key, title = str(measure["key"]), str(measure["title"])
    name, _, attack = key.partition(":")
    if attack:
        title = f"{name.replace('_', ' ')} under {short_spec(attack)}"
    return title if title.startswith("mCE") else title[:1].upper() + title[1:]


def _told(row: Row, key: str, form: str) -> str:
    number = row.number(key)
    interval = interval_text(number.get("interval"), form)
    return f"{number_text(number.get('value'), form)} {interval}".rstrip()


def _named(row: Row) -> str:
    """The row in a sentence: in quotes where its name has a comma."""
    return f"“{row.label}”" if "," in row.name else row.label


def _listed(items: Sequence[str]) -> str:
    """Words joined as in a sentence.

    >>> _listed(["a", "b", "c"])
    'a, b and c'
    """
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"
