"""The dials of `workbench probe`: from what was asked for to what is turned."""

import math
from collections.abc import Sequence
from enum import StrEnum

from attacks.corruptions import CORRUPTIONS
from attacks.spec import names as attack_names
from attacks.spec import parse, resolve
from benchmarks.sweeps import Dial, attack_dial, corruption_dial, noise_dial, rotation_dial
from workbench.conditions import make_conditions
from workbench.errors import UsageError, unknown

NOISE = ("noise", "gaussian-noise")
"""Names of the dial of standard deviations; ``gaussian_noise`` is the corruption."""
ROTATION = "rotation"
MOST = 200
"""Positions of a dial."""


class Units(StrEnum):
    """What noise is added to."""

    PIXEL = "pixel"
    NORMALISED = "normalised"


USUAL = {
    Units.NORMALISED: "0:1.8:0.2",  # study S0: 0.2·i, i = 0 … 9
    Units.PIXEL: "0:0.45:0.05",
    ROTATION: "0:180:10",
    "severity": "0:5:1",
    "steps": "0,1,2,5,10,20,50",
}
"""The values of each kind of dial where none are given."""


def make_dial(
    text: str,
    values: str | None,
    units: Units | None,
    *,
    batch_size: int | None = None,
) -> Dial:
    """The dial that a name or an attack's spec stands for.

    Args:
        text: ``noise``, ``rotation``, a corruption, or an attack with ``steps``.
        values: see `parse_values`; None for the usual ones.
        units: of noise; None for normalised ones.
        batch_size: images per pass of an attack.

    Raises:
        ValueError: there is no such dial, or it has no such values.
    """
    name = text.strip()
    corruption = name.lower()
    if corruption not in CORRUPTIONS and corruption not in NOISE:
        corruption = corruption.replace("-", "_")
    if units is not None and name.lower() not in NOISE:
        raise UsageError(f"--units {units} is of noise; {name} has no such units.")
    if name.lower() in NOISE:
        units = units or Units.NORMALISED
        stds = parse_values(values or USUAL[units], low=0)
        return noise_dial(stds, normalised=units is Units.NORMALISED)
    if name.lower() == ROTATION:
        return rotation_dial(parse_values(values or USUAL[ROTATION]))
    if corruption in CORRUPTIONS:
        severities = _whole(parse_values(values or USUAL["severity"], low=0, high=5), "severities")
        return corruption_dial(CORRUPTIONS[corruption], severities)
    return _attack(name, values, batch_size)


def parse_values(text: str, *, low: float = -math.inf, high: float = math.inf) -> tuple[float, ...]:
    """Values of a dial, ascending: a list ``0,0.5,1``, or ``START:STOP:STEP`` with both ends.

    Raises:
        UsageError: it is not written like that, has fewer than two values or more than `MOST`, or
            one of them is outside ``low`` … ``high``.

    >>> parse_values("0:0.6:0.2")
    (0.0, 0.2, 0.4, 0.6)
    """
    try:
        values = _span(text) if ":" in text else [float(part) for part in text.split(",")]
    except UsageError:
        raise
    except ValueError:
        values = [math.nan]
    if not all(map(math.isfinite, values)):
        raise UsageError(
            f"--values {text}: write numbers with commas, or START:STOP:STEP such as 0:1.8:0.2."
        )
    found = tuple(sorted(set(values)))
    if not 2 <= len(found) <= MOST:
        raise UsageError(f"--values {text}: a dial has 2 to {MOST} positions, not {len(found)}.")
    if found[0] < low or found[-1] > high:
        limit = f"from {low:g}" + (f" to {high:g}" if math.isfinite(high) else "")
        raise UsageError(f"--values {text}: the values of this dial are {limit}.")
    return found


def _span(text: str) -> list[float]:
    start, stop, step = (float(part) for part in text.split(":"))
    if not (math.isfinite(stop - start) and step > 0 and math.isfinite(step)):
        return [math.nan]
    count = math.floor((stop - start) / step + 1e-9) + 1
    if not 0 < count <= MOST:
        raise UsageError(f"--values {text}: a dial has 2 to {MOST} positions, not {max(count, 0)}.")
    return [float(f"{start + number * step:.10g}") for number in range(count)]


def _whole(values: Sequence[float], what: str) -> tuple[int, ...]:
    if any(value % 1 for value in values):
        raise UsageError(f"--values: {what} are whole numbers.")
    return tuple(int(value) for value in values)


def _attack(text: str, values: str | None, batch_size: int | None) -> Dial:
    spec = parse(text)
    known = attack_names()
    if spec.name not in known and ":" not in spec.name:
        raise unknown("dial", spec.name, [NOISE[0], ROTATION, *CORRUPTIONS, *known])
    if "steps" not in parse(resolve(text).spec).settings:
        raise UsageError(f"{spec.name} has no setting `steps` that could be turned.")
    counts = _whole(parse_values(values or USUAL["steps"], low=0), "step counts")
    runs = {count: make_conditions([text], steps=count)[0].attack for count in counts if count}
    if 0 not in counts:
        raise UsageError("--values: begin with 0, the untouched image, as in 0,1,2,5,10.")
    return attack_dial(text, runs, batch_size)
