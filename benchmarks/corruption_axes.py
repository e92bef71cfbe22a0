"""The corruptions of a run as axes: which there are, in which families, and which mCE counts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.corruptions import CORRUPTIONS, EXTRA, SEVERITIES, STANDARD


@dataclass(frozen=True)
class CorruptionAxes:
    """The axes that errors on corrupted images lie on.

    Attributes:
        corruptions: their names, in order.
        severities: ascending, the same of every corruption.
        with_extra: whether mCE and the mean corruption error are taken over the four extra
            corruptions too, or over the standard 15 alone.
    """

    corruptions: tuple[str, ...] = ()
    severities: tuple[int, ...] = ()
    with_extra: bool = False

    @property
    def families(self) -> tuple[str, ...]:
        """The families of the corruptions, in order."""
        return tuple(dict.fromkeys(map(family, self.corruptions)))

    @property
    def in_family(self) -> NDArray[np.bool_]:
        """Which corruption is of which family: (families, corruptions)."""
        own = [[family(name) == one for name in self.corruptions] for one in self.families]
        return np.array(own, np.bool_).reshape(len(self.families), len(self.corruptions))

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Which corruptions mCE and the mean corruption error are taken over: (corruptions,)."""
        over = STANDARD + EXTRA if self.with_extra else STANDARD
        return np.array([name in over for name in self.corruptions], np.bool_)

    def place(self, corruption: str, severity: int) -> tuple[int, int]:
        """Where a corruption at a severity lies on the axes."""
        return self.corruptions.index(corruption), self.severities.index(severity)


def family(corruption: str) -> str:
    """The family of a corruption; ``other`` for one that this project does not know."""
    known = CORRUPTIONS.get(corruption)
    return "other" if known is None else known.family


def corruption_axes(
    cells: Sequence[tuple[str, int]], *, with_extra: bool = False
) -> CorruptionAxes:
    """The axes of (corruption, severity) pairs, which must be every corruption at every severity.

    Raises:
        ValueError: if a severity is none, a pair is there twice, or one is missing.
    """
    for name, severity in cells:
        if severity not in SEVERITIES:
            raise ValueError(f"A severity is 1, 2, 3, 4 or 5, not {severity} ({name})")
        if cells.count((name, severity)) > 1:
            raise ValueError(f"{name} at severity {severity} is there twice")
    names = tuple(dict.fromkeys(name for name, _ in cells))
    severities = tuple(sorted({severity for _, severity in cells}))
    for name in names:
        for severity in severities:
            if (name, severity) not in cells:
                raise ValueError(
                    f"Every corruption is measured at the same severities: {name} is missing at "
                    f"severity {severity}"
                )
    return CorruptionAxes(names, severities, with_extra)
