"""What a finished cell holds."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from attacks.attacked import Caution


@dataclass(frozen=True)
class KeptImages:
    """Images that are kept with their originals.

    Attributes:
        rows: int64 (k,), positions in the data set, ascending.
        original: float32 (k, C, H, W) in [0, 1].
        result: float32 (k, C, H, W), what the attack returned.
    """

    rows: NDArray[np.int64]
    original: NDArray[np.float32]
    result: NDArray[np.float32]


@dataclass(frozen=True)
class CellResult:
    """The per-image outcome of a cell, or why it has none.

    Attributes:
        rows: structured array (n,) with the columns of `benchmarks.columns`; None if it failed.
        failure: why the cell failed, in a line; None if it did not.
        cautions: reasons to distrust the numbers.
        confidence: the softmax probability that the attack's goal asks for; NaN where no attack
            was run.
        seconds: what each part took: ``evaluation``, and ``attack``, ``corruption`` or ``probe``.
            Corrupted and probed images are made once for all models, on the time of the first that
            needs them.
        maps: float32 (n, h, w), what the model looks at on the untouched images, where that is
            measured; see `benchmarks.attention`.
        images: the kept images, before they are written; see `CellStore.images` for later.
    """

    rows: NDArray[np.void] | None = None
    failure: str | None = None
    cautions: tuple[Caution, ...] = ()
    confidence: float = float("nan")
    seconds: Mapping[str, float] = field(default_factory=dict)
    maps: NDArray[np.float32] | None = None
    images: KeptImages | None = None


def without_clean(clean: CellResult) -> CellResult:
    """What comes of a cell whose clean pass failed. It is nowhere stored: it follows."""
    return CellResult(failure=f"the clean pass failed: {clean.failure}")
