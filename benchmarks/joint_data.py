"""The data of several records put together, row by row, and refused where they contradict."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import columns
from benchmarks.columns import Array
from benchmarks.corruption_axes import CorruptionAxes
from benchmarks.joint_axes import Axis
from benchmarks.measured import nothing_measured
from benchmarks.reading import ImagePlace, Record

SETTINGS = ("versions", "device", "precision", "batch_size", "shard_size")
"""What can change the last bits of an outcome, and is no part of what is measured."""

_FROM_LAST_BITS = ("rank", "least_likely")
"""Columns in which last bits decide between classes that the model holds for equally unlikely."""

_CLOSE = 1e-4  # of float columns, between other settings; as `benchmarks.verify` has it


class JointData:
    """The data of the joined record, filled in record by record."""

    def __init__(
        self,
        records: Sequence[Record],
        models: Axis,
        attacks: Axis,
        axes: CorruptionAxes,
        probes: Sequence[str],
        thresholds: NDArray[np.float64],
    ) -> None:
        self._records, self._models, self._attacks = records, models, attacks
        self._axes, self._probes, self._thresholds = axes, list(probes), thresholds
        found = nothing_measured(
            len(models.entries),
            len(attacks.entries),
            axes,
            len(probes),
            len(records[0].ids),
            len(thresholds),
            judged=any(record.judged for record in records),
            attention=any(record.attention for record in records),
        )
        self.clean, self.attacked, self.corrupted, self.probed = found[:4]
        self.attention, self.timing, self.judged = found.attention, found.timing, found.judged
        self.cautions: list[dict[str, Any]] = []
        self.failures: list[dict[str, Any]] = []
        self.places: dict[tuple[int, int], ImagePlace] = {}

    def take(self, r: int) -> None:
        """Fill in what record ``r`` measured and none before it.

        Raises:
            ValueError: if it measured something before it with another outcome.
        """
        record = self._records[r]
        models, attacks = self._models.places[r], self._attacks.places[r]
        for m, joined in enumerate(models):
            label = self.clean["label"][joined]
            label[label < 0] = record.clean["label"][m][label < 0]
            theirs = {name: record.clean[name][m] for name in columns.CLEAN}
            taken = self._take(self.clean, (joined,), theirs, "right", r, "clean images")
            self._spend((joined,), record, (m,), taken, "clean_seconds")
            for a, place in enumerate(attacks):
                self._take_attack(r, (m, a), (joined, place))
            for k, corruption in enumerate(record.axes.corruptions):
                for s, severity in enumerate(record.axes.severities):
                    there = (joined, *self._axes.place(corruption, severity))
                    theirs = {name: data[m, k, s] for name, data in record.corrupted.items()}
                    what = f"{corruption} at severity {severity}"
                    taken = self._take(self.corrupted, there, theirs, "right", r, what)
                    seen = {name: data[m, k, s] for name, data in record.attention.items()}
                    if seen:
                        told = f"{what}, attention"
                        self._take(self.attention, there, seen, "defined", r, told)
                    parts = ("corruption_seconds", "corrupted_evaluation_seconds")
                    self._spend(there, record, (m, k, s), taken, *parts)
            for p, probe in enumerate(record.probes):
                at = (joined, self._probes.index(probe))
                theirs = {name: data[m, p] for name, data in record.probed.items()}
                taken = self._take(self.probed, at, theirs, "right", r, probe)
                parts = ("probe_seconds", "probed_evaluation_seconds")
                self._spend(at, record, (m, p), taken, *parts)
        named = dict(zip(record.models, (self._models.names[m] for m in models), strict=True))
        called = dict(zip(record.attacks, (self._attacks.names[a] for a in attacks), strict=True))
        for source, target in (
            (record.cautions, self.cautions),
            (record.failures, self.failures),
        ):
            for each in source:
                attack = each["attack"]
                target.append(
                    {
                        **each,
                        "model": named[str(each["model"])],
                        "attack": None if attack is None else called[str(attack)],
                    }
                )

    def made_good(self, failure: Mapping[str, Any]) -> bool:
        """Whether what failed in one record is there from another."""
        m = self._models.names.index(failure["model"])
        rows = slice(failure["start"], failure["stop"])
        if failure["attack"] is not None:
            a = self._attacks.names.index(failure["attack"])
            found = self.attacked["attacked"][m, a, rows]
        elif failure.get("corruption") is not None:
            place = self._axes.place(failure["corruption"], failure["severity"])
            found = self.corrupted["right"][(m, *place)][rows]
        elif failure.get("probe") is not None:
            found = self.probed["right"][m, self._probes.index(failure["probe"]), rows]
        else:
            found = self.clean["right"][m, rows]
        return bool((found != 255).all())

    def _take_attack(self, r: int, own: tuple[int, int], there: tuple[int, int]) -> None:
        record = self._records[r]
        theirs = {name: record.attacked[name][own] for name in columns.ATTACK}
        known = record.thresholds.tolist()
        chosen = [known.index(threshold) for threshold in self._thresholds.tolist()]
        theirs["pixels_over_threshold"] = theirs["pixels_over_threshold"][:, chosen]
        what = self._attacks.names[there[1]]
        goal, other = self.attacked["goal_confidence"], record.attacked["goal_confidence"][own]
        if np.isfinite([goal[there], other]).all() and goal[there] != other:
            self._refuse(there[0], what, r, "goal_confidence", 1)
        taken = self._take(self.attacked, there, theirs, "attacked", r, what)
        if record.judged:
            readings = {name: values[own] for name, values in record.judged.items()}
            self._take(self.judged, there, readings, "prediction", r, f"{what}, judged")
        if np.isnan(goal[there]):
            goal[there] = other
        self._spend(there, record, own, taken, "attack_seconds", "evaluation_seconds")
        place = record.image_place(*own)
        if place is not None and (theirs["attacked"] == 1).any():
            self.places.setdefault(there, place)

    def _take(
        self,
        joined: Mapping[str, Array],
        place: tuple[int, ...],
        theirs: Mapping[str, Array],
        mark: str,
        r: int,
        what: str,
    ) -> bool:
        """Take the rows that are finished there and not here yet; whether there were any."""
        unknown = columns.fill(theirs[mark].dtype.kind)
        finished, here = theirs[mark] != unknown, joined[mark][place] != unknown
        both, new = finished & here, finished & ~here
        if both.any():
            bits = self._same_settings(r)
            for name, values in theirs.items():
                differ = _differ(joined[name][place][both], values[both], name, bits=bits)
                if differ:
                    self._refuse(place[0], what, r, name, differ)
        for name, values in theirs.items():
            joined[name][place][new] = values[new]
        return bool(new.any())

    def _spend(
        self,
        there: tuple[int, ...],
        record: Record,
        own: tuple[int, ...],
        taken: bool,
        *parts: str,
    ) -> None:
        """Add the seconds of what was taken."""
        for part in parts:
            if taken or not self.timing[part][there]:
                self.timing[part][there] += record.timing[part][own]

    def _same_settings(self, r: int) -> bool:
        """Whether record ``r`` and those before it were made in the same way, to the last bit."""
        own = [self._records[r].config.get(key) for key in SETTINGS]
        return all(
            [record.config.get(key) for key in SETTINGS] == own for record in self._records[:r]
        )

    def _refuse(self, m: int, what: str, r: int, name: str, differ: int) -> None:
        before = [
            record
            for record, places in zip(self._records[:r], self._models.places, strict=False)
            if m in places
        ]
        record = self._records[r]
        settings = [key for key in SETTINGS if record.config.get(key) != before[0].config.get(key)]
        how = f" (they differ in {', '.join(settings)})" if settings else ""
        raise ValueError(
            f"{self._models.names[m]}, {what}: {before[0].path} and {record.path} both measured "
            f"it, and {name} differs on {differ} images{how}. Leave one of them out."
        )


def _differ(one: Array, other: Array, name: str, *, bits: bool) -> int:
    """On how many images a column differs."""
    if not bits and name in _FROM_LAST_BITS:
        return 0
    if one.dtype.kind != "f":
        same = one == other
    elif bits:
        same = (one == other) | (np.isnan(one) & np.isnan(other))
    else:
        same = np.isclose(one, other, rtol=_CLOSE, atol=_CLOSE, equal_nan=True)
    return int((~same.reshape(len(same), -1).all(axis=1)).sum())
