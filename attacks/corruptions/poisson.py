"""Poisson counts by inversion, from uniform words and in integers: alike on every device."""

from decimal import Decimal, localcontext
from functools import lru_cache

import torch
from torch import Tensor

_WORDS = 2**32


def poisson_counts(levels: Tensor, words: Tensor, rate: float) -> Tensor:
    """Poisson counts of the means ``rate * levels / 255``, int64 and of the shape of ``levels``.

    The count is the least k with P(count <= k) >= (u + 1/2) / 2³², where u is a word without sign.

    Args:
        levels: integers from 0 to 255.
        words: uniform int32 words of the same shape, see `attacks.draws.words`.
        rate: the mean at level 255.
    """
    keys, before = _thresholds(rate, words.device)
    levels = levels.to(torch.int64)
    reached = torch.searchsorted(
        keys, levels * _WORDS + (words.to(torch.int64) & 0xFFFFFFFF), right=True
    )
    return reached - before[levels]


@lru_cache(maxsize=8)
def _thresholds(rate: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """Where counts go up, level * 2³² + word and sorted, and how many of them precede each level.

    At one level, the count is how many thresholds are at or below the word.
    """
    levels = [_level_thresholds(rate, level) for level in range(256)]
    keys = [level * _WORDS + word for level, words in enumerate(levels) for word in words]
    before = torch.tensor([0, *map(len, levels[:-1])]).cumsum(0)
    return torch.tensor(keys, dtype=torch.int64, device=device), before.to(device)


def _level_thresholds(rate: float, level: int) -> list[int]:
    """The least word whose count is above k, for k = 0, 1, ... as long as a word has such a count.

    In decimal arithmetic, which is the same on every machine: an exponential function of another
    library could move a threshold.
    """
    with localcontext(prec=40):  # probabilities of 1e-217 and sums of 650 terms, to 2⁻³² and better
        mean = Decimal(rate) * level / 255
        term = total = (-mean).exp()
        thresholds: list[int] = []
        while (word := int(total * _WORDS + Decimal("0.5"))) < _WORDS:
            thresholds.append(word)
            term *= mean / len(thresholds)
            total += term
        return thresholds
