"""Published errors that corruption errors are divided by, and where they were published.

A baseline need not be a published one: any model that is measured in the same record can be it.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attacks.corruptions import SEVERITIES
from benchmarks.corruption_axes import CorruptionAxes


@dataclass(frozen=True)
class Baseline:
    """The top-1 errors of a model on corrupted images, as published: fractions from 0 to 1.

    Attributes:
        name: what tables call it.
        source: where the numbers are from, and on which images they were measured.
        clean: the error on untouched images.
        errors: for each corruption the errors at severities 1 to 5.
        means: for the corruptions of which no more was published, the mean of the five.
    """

    name: str
    source: str
    clean: float
    errors: Mapping[str, Sequence[float]]
    means: Mapping[str, float]

    def mean_errors(
        self, corruptions: Sequence[str], severities: Sequence[int]
    ) -> NDArray[np.float64]:
        """Each corruption's error, averaged over some severities: (K,), NaN where unpublished."""
        return np.array([self._mean_error(name, severities) for name in corruptions], np.float64)

    def _mean_error(self, corruption: str, severities: Sequence[int]) -> float:
        if corruption in self.errors:
            at = self.errors[corruption]
            return sum(at[severity - 1] for severity in severities) / len(severities)
        if corruption in self.means and sorted(severities) == list(SEVERITIES):
            return self.means[corruption]
        return float("nan")


def _fractions(percent: Sequence[float]) -> tuple[float, ...]:
    # The published figures are whole numbers of images out of 50,000: five digits are exact.
    return tuple(round(value / 100, 5) for value in percent)


_ALEXNET = {
    "gaussian_noise": (69.528, 82.542, 93.554, 98.138, 99.452),
    "shot_noise": (71.224, 85.108, 93.574, 98.182, 99.146),
    "impulse_noise": (78.374, 89.808, 94.870, 98.720, 99.548),
    "defocus_blur": (65.624, 73.202, 85.036, 91.364, 94.714),
    "glass_blur": (64.308, 75.054, 88.806, 91.622, 93.344),
    "motion_blur": (58.430, 70.048, 82.108, 89.750, 92.638),
    "zoom_blur": (70.008, 76.992, 80.784, 84.198, 87.198),
    "snow": (71.726, 88.392, 86.468, 91.870, 94.952),
    "frost": (61.390, 79.734, 88.790, 89.942, 93.430),
    "fog": (67.474, 76.050, 84.378, 87.260, 94.500),
    "brightness": (45.140, 48.502, 54.048, 62.166, 72.440),
    "contrast": (64.548, 76.150, 88.874, 97.760, 99.270),
    "elastic_transform": (52.596, 70.116, 55.686, 64.076, 80.554),
    "pixelate": (52.218, 54.620, 73.728, 87.092, 91.262),
    "jpeg_compression": (51.002, 54.718, 57.294, 65.458, 74.778),
}

ALEXNET = Baseline(
    name="alexnet",
    source=(
        "torchvision's pretrained AlexNet on ImageNet-C (Hendrycks & Dietterich, ICLR 2019; "
        "by severity: github.com/hendrycks/robustness, issue 10)"
    ),
    clean=0.4348,
    errors=MappingProxyType({name: _fractions(at) for name, at in _ALEXNET.items()}),
    # The severities of the extra four were not published.
    means=MappingProxyType(
        {
            "speckle_noise": 0.845388,
            "gaussian_blur": 0.787108,
            "spatter": 0.717512,
            "saturate": 0.658248,
        }
    ),
)

BASELINES: Mapping[str, Baseline] = MappingProxyType({ALEXNET.name: ALEXNET})
"""The published baselines by name."""


MEASURED = "measured in this record, on the same images"
"""The source of a baseline that is one of the record's own models."""


def baseline_of(config: Mapping[str, Any]) -> Baseline | str | None:
    """The baseline of a run's configuration: published, the name of one of its models, or none.

    Raises:
        ValueError: if it is described otherwise than `describe_baseline` does.
    """
    described = config.get("baseline")
    if described is None:
        return None
    try:
        if described["measured"]:
            return str(described["name"])
        return Baseline(
            described["name"],
            described["source"],
            float(described["clean_error"]),
            {name: tuple(map(float, at)) for name, at in described["errors"].items()},
            {name: float(mean) for name, mean in described["mean_errors"].items()},
        )
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise ValueError(f"The baseline is not described as it should be: {error}") from error


def describe_baseline(name: str, models: Sequence[str], axes: CorruptionAxes) -> dict[str, object]:
    """A baseline as JSON values, for a record: with its numbers if it is a published one.

    A model of the run goes before a published baseline of the same name: it met the same images.

    Args:
        name: of one of the models, or of one of `BASELINES`.
        models: the names of the run's models.
        axes: what is measured.

    Raises:
        ValueError: if there is no such baseline, or it does not cover the corruptions that count.
    """
    if not axes.corruptions:
        raise ValueError(f"A baseline ({name}) is for corruptions, and there are none")
    if name in models:
        return {"name": name, "source": MEASURED, "measured": True}
    if name not in BASELINES:
        close = difflib.get_close_matches(name, [*models, *BASELINES], 1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ValueError(
            f"The baseline is one of the models or {', '.join(BASELINES)}, not {name!r}{hint}"
        )
    published = BASELINES[name]
    means = published.mean_errors(axes.corruptions, axes.severities)
    if np.isnan(means[axes.counted]).any():
        raise ValueError(
            f"The errors of {name} on the extra corruptions are published as means over all five "
            "severities: measure all five, or leave the extra ones out of mCE"
        )
    return {
        "name": name,
        "source": published.source,
        "measured": False,
        "clean_error": published.clean,
        "errors": {key: list(values) for key, values in published.errors.items()},
        "mean_errors": dict(published.means),
    }
