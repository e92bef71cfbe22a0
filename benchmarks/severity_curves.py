"""How a model falls as a corruption gets worse: curves over severity, and names for their shapes.

The names are those of studies of CIFAR-10-C: contrast hurts near-linearly, fog by a collapse at a
threshold, motion blur by an early drop that then flattens, JPEG hardly. Here they are decided by
rules on numbers that are reported beside the name, so that it can be checked with a pencil.

A curve is the *drop*, error at a severity less error on the untouched images, over severity
0 (untouched), and those measured; all on the same images. Its end is the drop at the highest. Drops
are *shares* of that. Between severities the curve is taken as straight. The rules, in this order:

1. ``flat``: no drop and no gain reaches 5 points (`FLAT`). On 1,000 images the 95 % interval of a
   difference of two errors is ± 2 to 3 points where 10 to 20 % of the answers differ: half of 5.
2. ``irregular``: the end is under 5 points, so the curve returned, or it was gained back on the way
   by over 30 % of the end (`GAINED_BACK`), so that it does not fall.
3. Two neighbouring fifths of the scale hold 70 % of the drop or more (`CONCENTRATED`), of which a
   straight line has 40 %: 70 % is half-way from there to all. ``early drop then flat`` where those
   fifths begin at severity 0, ``threshold collapse`` where they begin later.
4. ``near-linear``: the least-squares line through all points explains 85 % of their variance or
   more (`LINEAR`). At severities 1 to 5 this leaves no gap to rule 3: curves bent once, as x^p,
   exponentials and ramps, reach 0.85 as long as no two fifths hold 70 %.
5. ``irregular``: everything else.

``unclear`` means that the data do not tell: fewer than three severities beside the untouched
images, or fewer than half the resamples of the images have the name that the curve has. The share
of them that do is told beside every name.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchmarks.corruption_axes import family
from benchmarks.intervals import RESAMPLES, resampled, wilson
from benchmarks.reading import Record
from benchmarks.significance import newcombe

JSON = dict[str, object]
Floats = NDArray[np.float64]

FLAT = 0.05
GAINED_BACK = 0.30
CONCENTRATED = 0.70
LINEAR = 0.85
AGREED = 0.5
FEWEST = 3  # severities beside the untouched images: two fit a line, or any bend, too well

SHAPES = ("near-linear", "threshold collapse", "early drop then flat", "flat", "irregular")
"""The names that the rules give; ``unclear`` is for curves that the data do not decide."""

UNCLEAR = "unclear"

_ROUNDING = 1e-9  # of sums of float64: a drop of 5 points on paper is one here

MEANINGS = {
    "images": "images that were answered to untouched and at every severity",
    "errors": "wrong / images, by severity, 0 for untouched; intervals are Wilson's",
    "drop": "error at the highest severity less error untouched: the end",
    "largest_drop": "the largest of the drops at all severities",
    "first_share": "share of the end that the first two fifths of the scale hold",
    "last_share": "share of the end that the last two fifths of the scale hold",
    "steepest": "the two fifths of the scale that hold most, and their share",
    "largest_step": "the largest drop from one measured severity to the next",
    "gained_back": "the largest gain from any severity to a later one, as share of the end",
    "line": "least squares over all points: drop per severity, and R²",
    "shape_share": "share of resamples of the images that have the same name",
}
"""What each number of `severity_curves` is."""


def severity_curves(record: Record, *, seed: int = 0) -> list[JSON]:
    """Every model's error over severity, by corruption; one object per model.

    ``corruptions`` maps each to its curve: the numbers of `MEANINGS`, errors and drops as fractions
    of images, and the ``shape``. ``shape_shares`` has all names that resamples of the images got. A
    number that nothing was counted for is None, and so is a share of an end under 5 points.

    Args:
        record: one without corruptions gives an empty list.
        seed: of the bootstrap over images, 1000 resamples. Intervals of drops are Newcombe's, of
            paired proportions.
    """
    models = range(len(record.models)) if record.corrupted else ()
    return [
        {
            "model": record.models[m],
            "corruptions": {
                name: {"family": family(name)} | severity_curve(record, m, k, seed)
                for k, name in enumerate(record.axes.corruptions)
            },
        }
        for m in models
    ]


def name_shapes(errors: ArrayLike, severities: Sequence[float]) -> NDArray[np.str_]:
    """The names of curves by the rules of this module.

    Args:
        errors: (..., S), fractions of images wrong, on the untouched images first.
        severities: (S,), ascending, 0 first.

    Returns:
        One of `SHAPES`, or `UNCLEAR` for fewer than three severities beside 0: (...).

    >>> str(name_shapes([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], range(6)))
    'near-linear'
    """
    values = np.asarray(errors, np.float64)
    if len(severities) <= FEWEST:
        return np.full(values.shape[:-1], UNCLEAR)
    numbers = _Numbers(values, severities)
    flat = np.abs(numbers.drops).max(axis=-1) < FLAT - _ROUNDING
    returned = (numbers.end < FLAT - _ROUNDING) | (numbers.gained_back > GAINED_BACK + _ROUNDING)
    concentrated = numbers.steepest_share >= CONCENTRATED - _ROUNDING
    linear = numbers.r2 >= LINEAR - _ROUNDING
    return np.select(
        [
            flat,
            returned,
            concentrated & (numbers.steepest_from == 0),
            concentrated,
            linear,
        ],
        ["flat", "irregular", "early drop then flat", "threshold collapse", "near-linear"],
        "irregular",
    )


class _Numbers:
    """The numbers that the rules are about, each over the leading axes of the errors (..., S)."""

    def __init__(self, errors: Floats, severities: Sequence[float]) -> None:
        places = np.asarray(severities, np.float64)
        self.drops = errors - errors[..., :1]
        self.end = self.drops[..., -1]
        self.steps = np.diff(errors, axis=-1)
        centred = places - places.mean()
        deviations = self.drops - self.drops.mean(axis=-1, keepdims=True)
        self.slope = (deviations * centred).sum(axis=-1) / (centred**2).sum()
        # The lowest drop later than each severity, to find what was gained back.
        later = np.minimum.accumulate(self.drops[..., ::-1], axis=-1)[..., ::-1]
        explained, squares = self.slope**2 * (centred**2).sum(), (deviations**2).sum(axis=-1)
        self.r2 = explained / np.where(squares > 0, squares, np.nan)
        whole = np.where(
            self.end < FLAT - _ROUNDING, np.nan, self.end
        )  # shares of nothing are none
        self.gained_back = (self.drops - later).max(axis=-1) / whole
        shares = self.drops / whole[..., None]
        fifths = np.arange(6) * places[-1] / 5
        until = _between(shares, places, fifths)
        held, starts = until[..., 2:] - until[..., :-2], fifths[:-2]
        # A window that starts later must hold more, not by rounding alone.
        most = (held >= held.max(axis=-1, keepdims=True) - _ROUNDING).argmax(axis=-1)
        self.first_share, self.last_share = held[..., 0], held[..., -1]
        self.steepest_from = starts[most]
        self.steepest_share = np.take_along_axis(held, most[..., None], axis=-1)[..., 0]


def _between(curves: Floats, places: Floats, at: Floats) -> Floats:
    """Curves (..., S) known at ``places``, read at others by straight lines: (..., len(at))."""
    after = np.clip(np.searchsorted(places, at), 1, len(places) - 1)
    part = (at - places[after - 1]) / (places[after] - places[after - 1])
    return curves[..., after - 1] * (1 - part) + curves[..., after] * part


def severity_curve(record: Record, m: int, k: int, seed: int = 0) -> JSON:
    """The curve of one model under one corruption, by their places; see `severity_curves`."""
    right = np.concatenate([record.clean["right"][m][None], record.corrupted["right"][m, k]])
    measured = (right != 255).all(axis=0)
    wrong = (right[:, measured] == 0).T  # (images, severities)
    severities = [0, *record.axes.severities]
    count = len(wrong)
    curve: JSON = {"images": count, "severities": severities}
    if not count:
        return curve | _NOTHING | {"shape": UNCLEAR}
    errors = wrong.mean(axis=0)
    clean, end = wrong[:, 0], wrong[:, -1]
    pairs = [(end & clean).sum(), (end & ~clean).sum(), (~end & clean).sum(), (~end & ~clean).sum()]
    drop = np.array(newcombe(*map(int, pairs)))  # a bootstrap has no width where few images moved
    intervals = wilson(wrong.sum(axis=0), count)
    curve |= {
        "errors": [float(error) for error in errors],
        "errors_interval": [_interval(ends) for ends in intervals],
    }
    numbers = _Numbers(errors, severities)
    step = int(numbers.steps.argmax())
    begins, share = float(numbers.steepest_from), _number(numbers.steepest_share)
    curve |= {
        "drop": float(numbers.end),
        "drop_interval": _interval(drop),
        "largest_drop": float(numbers.drops.max()),
        "first_share": _number(numbers.first_share),
        "last_share": _number(numbers.last_share),
        "steepest": None
        if share is None
        else {"from": begins, "to": begins + 2 * severities[-1] / 5, "share": share},
        "largest_step": {
            "from": severities[step],
            "to": severities[step + 1],
            "drop": float(numbers.steps[step]),
        },
        "gained_back": _number(numbers.gained_back),
        "line": {"per_severity": float(numbers.slope), "r2": _number(numbers.r2)},
    }
    return curve | _named(
        wrong, errors, severities, resampled(len(measured), seed, RESAMPLES)[:, measured]
    )


_NOTHING: JSON = dict.fromkeys(
    (
        *("errors", "errors_interval", "drop", "drop_interval", "largest_drop"),
        *("first_share", "last_share", "steepest", "largest_step", "gained_back", "line"),
        *("shape_share", "shape_shares"),
    )
)


def _named(
    wrong: NDArray[np.bool_], errors: Floats, severities: Sequence[int], drawn: NDArray[np.uint8]
) -> JSON:
    """The shape, and how many resamples (R, images) agree."""
    name = str(name_shapes(errors, severities))
    if name == UNCLEAR:
        return {"shape": name, "shape_share": None, "shape_shares": None}
    sizes = drawn.sum(axis=1, dtype=np.int64)
    found = drawn[sizes > 0].astype(np.float32) @ wrong.astype(np.float32)
    names = name_shapes(found / sizes[sizes > 0, None], severities)
    shares = {shape: float((names == shape).mean()) for shape in SHAPES}
    told = {shape: share for shape, share in shares.items() if share}
    agreed = shares[name] >= AGREED
    return {
        "shape": name if agreed else UNCLEAR,
        "shape_share": shares[name] if agreed else None,
        "shape_shares": told,
    }


def _number(value: float | Floats) -> float | None:
    return float(value) if math.isfinite(value) else None


def _interval(ends: Floats) -> list[float] | None:
    return [float(end) for end in ends] if np.isfinite(ends).all() else None
