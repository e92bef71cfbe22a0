"""What models are compared by: each measure's numbers, and the same image by image."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.believability import BELIEF_DENOMINATORS, beliefs
from benchmarks.budgets import has_budget, worst_case_attacks
from benchmarks.columns import Array
from benchmarks.intervals import wilson
from benchmarks.reading import Record

Kind = Literal["rate", "mean", "median", "corruptions"]

_TOP = 5  # answers that count as right for the top-5 error
_CORRUPTIONS = {
    "mean_corruption_error": ("mean corruption error", (0.0, 1.0)),
    "mce": ("mCE", (0.0, np.inf)),
    "relative_mce": ("relative mCE", (-np.inf, np.inf)),
}


@dataclass(frozen=True)
class Measure:
    """One number of each model, and what it is taken from.

    Attributes:
        key: names it in files and on the command line.
        title: names it in tables.
        group: ``clean``, ``attacks``, ``corruptions`` or ``probes``.
        form: ``percent`` for shares and ratios, ``number`` for what has another unit.
        better: which direction is better; None where neither is.
        denominator: what it is taken over, in words.
        kind: how it is tested: rates and means by their images, medians likewise, and numbers over
            many corrupted cells by name.
        bounds: between which a number of this kind lies.
        values: float64 (M,), as stored in the record; NaN where nothing was counted.
        intervals: float64 (M, 2).
        counts: int64 (M,), of images.
        images: float64 (M, E), what each image contributes, NaN where it does not count and
            infinite where the attack failed; None for numbers over corrupted cells.
    """

    key: str
    title: str
    group: str
    form: str
    better: str | None
    denominator: str
    kind: Kind
    bounds: tuple[float, float]
    values: NDArray[np.float64]
    intervals: NDArray[np.float64]
    counts: NDArray[np.int64]
    images: NDArray[np.float64] | None = None

    def as_json(self) -> dict[str, object]:
        """What it is, without its numbers."""
        return {
            "key": self.key,
            "title": self.title,
            "group": self.group,
            "form": self.form,
            "better": self.better,
            "denominator": self.denominator,
        }


def measures(record: Record) -> tuple[Measure, ...]:
    """Everything that a record knows of at least one of its models, in the order of tables."""
    every = (
        *_clean(record),
        *_attacked(record),
        *_worst_case(record),
        *_believed(record),
        *_corrupted(record),
        *_probed(record),
    )
    return tuple(measure for measure in every if np.isfinite(measure.values).any())


def _clean(record: Record) -> Iterator[Measure]:
    right, rank = record.clean["right"], record.clean["rank"]
    wrong = np.where(right == 255, np.nan, right == 0)
    yield _rate("clean_error", "clean error", "clean", "lower", "images, untouched", wrong)
    if _classes(record) > _TOP:
        missed = np.where(rank < 0, np.nan, rank >= _TOP)
        title = "clean top-5 error"
        yield _rate("clean_top5_error", title, "clean", "lower", "images, untouched", missed)


def _attacked(record: Record) -> Iterator[Measure]:
    columns, numbers = record.attacked, record.aggregates
    right = record.clean["right"] == 1
    for a, attack in enumerate(record.attacks):
        given, known = columns["attacked"][:, a] == 1, columns["attacked"][:, a] != 255
        judged = known & (given | ~right)
        robust = np.where(judged, given & (columns["misclassified"][:, a] == 0), np.nan)
        # Within a budget the question is what holds; without one, how far images had to move.
        within = has_budget(attack)
        yield _stored(
            record,
            ("robust_accuracy", a),
            f"robust accuracy, {attack}",
            better="higher" if within else None,
            denominator="images wrong untouched or attacked",
            images=robust,
        )
        success = given & (columns["success"][:, a] == 1)
        goal = columns["goal_confidence"][:, a]
        sure = f" to {np.nanmax(goal):.0%}" if np.isfinite(goal).any() and np.nanmax(goal) else ""
        yield _stored(
            record,
            ("success_rate", a),
            f"success{sure.replace('%', ' %')}, {attack}",
            better=None if within else "lower",
            denominator="images attacked: those right untouched",
            images=np.where(given, success, np.nan),
        )
        better = None if within else "higher"
        change = columns["average_pixel_change"][:, a].astype(np.float64)
        yield _stored(
            record,
            ("mean_pixel_change", a),
            f"mean change per pixel, {attack}",
            better=better,
            denominator="images on which the attack succeeded",
            images=np.where(success, change, np.nan),
        )
        moved = np.where(given, np.where(success, change, np.inf), np.nan)
        yield Measure(
            key=f"median_pixel_change:{attack}",
            title=f"median change per pixel, {attack}",
            group="attacks",
            form="number",
            better=better,
            denominator="images attacked, a failure counted as infinite",
            kind="median",
            bounds=(0.0, np.inf),
            values=numbers["median_pixel_change"][:, a],
            intervals=np.array([median_interval(each[~np.isnan(each)]) for each in moved]),
            counts=given.sum(axis=1),
            images=moved,
        )
        for t, threshold in enumerate(record.thresholds.tolist()):
            over = columns["pixels_over_threshold"][:, a, :, t].astype(np.float64)
            yield _stored(
                record,
                ("pixels_over_threshold", a, t),
                f"pixels moved over {threshold:.3g}, {attack}",
                better=better,
                denominator="images on which the attack succeeded",
                images=np.where(success, over, np.nan),
            )


def _worst_case(record: Record) -> Iterator[Measure]:
    robust = record.aggregates["robust"]
    over = worst_case_attacks(record.attacks)
    within = " with a budget" if not over.all() else ""
    yield _rate(
        "worst_case_robust_accuracy",
        "worst-case robust accuracy",
        "attacks",
        "higher",
        f"images judged under every attack{within} ({int(over.sum())})",
        np.where(robust == 255, np.nan, robust),
    )


def _believed(record: Record) -> Iterator[Measure]:
    """No direction is better: a judge may see a new meaning, or share the model's weakness."""
    if not record.judged:
        return
    labels = record.clean["label"][:, None]
    found = beliefs(labels, record.attacked, record.judged)
    for a, attack in enumerate(record.attacks):
        for name, title in (
            ("believed_rate", f"believed by {record.judge}"),
            ("judge_keeps_rate", f"read rightly by {record.judge}"),
        ):
            yield _stored(
                record,
                (name, a),
                f"{title}, {attack}",
                better=None,
                denominator=BELIEF_DENOMINATORS[name],
                images=found[name][:, a],
            )


def _corrupted(record: Record) -> Iterator[Measure]:
    if not record.corrupted:
        return
    numbers, axes = record.aggregates, record.axes
    described = record.config.get("baseline")
    name = described.get("name") if isinstance(described, Mapping) else None
    of = f"{int(axes.counted.sum())} corruptions at {len(axes.severities)} severities"
    for key, (title, bounds) in _CORRUPTIONS.items():
        against = "" if key == "mean_corruption_error" else f", relative to {name}"
        yield Measure(
            key=key,
            title=title,
            group="corruptions",
            form="percent",
            better="lower",
            denominator=f"images, {of}{against}",
            kind="corruptions",
            bounds=bounds,
            values=numbers[key],
            intervals=numbers[f"{key}_interval"],
            counts=numbers[f"{key}_images"],
        )
    for f, family in enumerate(axes.families):
        yield Measure(
            key=f"family_mean_error:{family}",
            title=f"{family} error",
            group="corruptions",
            form="percent",
            better="lower",
            denominator=f"images, {int(axes.in_family[f].sum())} corruptions",
            kind="corruptions",
            bounds=(0.0, 1.0),
            values=numbers["family_mean_error"][:, f],
            intervals=numbers["family_mean_error_interval"][:, f],
            counts=numbers["family_mean_error_images"][:, f],
        )


def _probed(record: Record) -> Iterator[Measure]:
    for p, probe in enumerate(record.probes):
        right = record.probed["right"][:, p]
        yield _rate(
            f"probe_error:{probe}",
            f"error, {probe}",
            "probes",
            "lower",
            "images, probed",
            np.where(right == 255, np.nan, right == 0),
        )


def _rate(
    key: str, title: str, group: str, better: str, denominator: str, images: NDArray[np.float64]
) -> Measure:
    """A share of images, from what each contributes: 1, 0, or NaN where it does not count."""
    counts = np.isfinite(images).sum(axis=1)
    ones = np.nansum(images, axis=1)
    return Measure(
        key=key,
        title=title,
        group=group,
        form="percent",
        better=better,
        denominator=denominator,
        kind="rate",
        bounds=(0.0, 1.0),
        values=ones / np.where(counts, counts, np.nan),
        intervals=wilson(ones, counts),
        counts=counts,
        images=images,
    )


def _stored(
    record: Record,
    place: tuple[str, int] | tuple[str, int, int],
    title: str,
    *,
    better: str | None,
    denominator: str,
    images: Array,
) -> Measure:
    """A number of an attack as the record has it: name, attack and, where it has one, threshold."""
    name, a = place[:2]
    at: tuple[slice | int, ...] = (slice(None), *place[1:])
    threshold = f"@{float(record.thresholds[place[2]])!r}" if len(place) == 3 else ""
    rate = name.endswith("_rate") or name == "robust_accuracy"
    return Measure(
        key=f"{name}{threshold}:{record.attacks[a]}",
        title=title,
        group="attacks",
        form="percent" if rate else "number",
        better=better,
        denominator=denominator,
        kind="rate" if rate else "mean",
        bounds=(0.0, 1.0 if rate else np.inf),
        values=record.aggregates[name][at],
        intervals=record.aggregates[f"{name}_interval"][at],
        counts=np.isfinite(images).sum(axis=1),
        images=images,
    )


def median_interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """The 95 % interval of a median that holds whatever the distribution: two of the values.

    The k-th smallest and the k-th largest, k as large as a binomial distribution with probability
    1/2 allows; infinite values are the largest. NaN where there are fewer than 6 values.
    Source: David & Nagaraja, Order Statistics (2003), section 7.1.

    >>> median_interval(np.arange(1.0, 11.0))
    (2.0, 9.0)
    """
    count = len(values)
    below = term = 1  # ways to have fewer than k values under the median, for k = 1
    k, most = 0, 2**count // 40  # 2.5 % of all ways
    while below <= most:
        k += 1
        term = term * (count - k + 1) // k
        below += term
    if not k:
        return float("nan"), float("nan")
    ordered = np.sort(values)
    return float(ordered[k - 1]), float(ordered[count - k])


def _classes(record: Record) -> int:
    """How many classes there are, as far as the record tells."""
    names = record.config.get("class_names")
    if isinstance(names, list):
        return len(names)
    return 1 + max(int(record.clean[name].max(initial=-1)) for name in ("rank", "label"))
