"""Which images of a batch a defense changes: a share of them, by chance."""

from typing import Any

from torch import Tensor

from attacks.draws import Stream, uniform


def check_share(defense: str, share: Any) -> None:
    """Raise a `ValueError` unless a share is a number above 0 and at most 1."""
    number = isinstance(share, int | float) and not isinstance(share, bool)
    if not (number and 0 < share <= 1):
        raise ValueError(f"{defense}: share={share} must be above 0 and at most 1")


def chosen(seeds: Tensor, share: float, *, step: int = 0) -> Tensor:
    """Which images are changed, bool (n,), each with a chance of ``share``.

    Args:
        seeds: int64 (n,).
        share: in (0, 1].
        step: tells this draw from the others of a defense.
    """
    return uniform(seeds, (), stream=Stream.DEFENSE, step=step) < share
