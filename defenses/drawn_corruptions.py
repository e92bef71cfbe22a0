"""Common corruptions drawn for each image of a batch, for the defenses that train on them."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from attacks.corruptions import CORRUPTIONS, GROUPS, SEVERITIES, corrupt
from attacks.draws import Stream, integers
from attacks.spec import unknown
from defenses.shares import check_share, chosen


class DrawnCorruptions:
    """Corrupts each image by one of several corruptions at one of several severities.

    Args:
        defense: whose settings these are, for its name in errors.
        corruptions: standard (15), extra (4), all (19), a family such as noise, a name such as
            fog, or a list of these.
        severities: a severity from 1 to 5, or a list of them; drawn evenly.
        share: chance of an image to be corrupted; the others stay as they are.

    Attributes:
        names: of the corruptions, in the order of the literature.

    Raises:
        ValueError: an unknown corruption or severity, or a share outside of (0, 1].
    """

    def __init__(
        self,
        defense: str,
        corruptions: str | Sequence[str],
        severities: int | Sequence[int],
        share: float,
    ) -> None:
        self.names = _names(defense, _listed(corruptions))
        levels = _listed(severities)
        if not levels or not all(type(level) is int and level in SEVERITIES for level in levels):
            raise ValueError(f"{defense}: severities={severities} must be of 1, 2, 3, 4 and 5")
        check_share(defense, share)
        self._share = share
        self._pairs = [
            (CORRUPTIONS[name], level) for name in self.names for level in sorted(set(levels))
        ]

    def __call__(self, images: Tensor, seeds: Tensor) -> Tensor:
        """The images (n, C, H, W) in [0, 1], corrupted; int64 seeds (n,) decide by what."""
        drawn = integers(seeds, len(self._pairs), stream=Stream.DEFENSE, step=0)
        spared = ~chosen(seeds, self._share, step=1)
        groups: dict[int, list[int]] = defaultdict(list)
        for row, number in enumerate(drawn.masked_fill(spared, -1).tolist()):
            groups[number].append(row)
        groups.pop(-1, None)
        changed = images.clone()
        for number, members in groups.items():
            corruption, level = self._pairs[number]
            rows = torch.tensor(members, device=images.device)
            changed[rows] = corrupt(images[rows], corruption, level, seeds=seeds[rows])
        return changed


def _listed(value: object) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _names(defense: str, words: Sequence[object]) -> tuple[str, ...]:
    """The corruptions that words stand for, in the order of the literature."""
    chosen: set[str] = set()
    for word in (str(word).lower().replace("-", "_") for word in words):
        if word not in GROUPS and word not in CORRUPTIONS:
            raise ValueError(unknown("corruption", word, [*CORRUPTIONS, *GROUPS]))
        chosen.update(GROUPS.get(word, (word,)))
    if not chosen:
        raise ValueError(f"{defense}: corruptions=[] names none")
    return tuple(name for name in CORRUPTIONS if name in chosen)
