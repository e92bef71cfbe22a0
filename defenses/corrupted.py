"""Training on the very corruptions that models are tested with."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from attacks.corruptions import CORRUPTIONS, GROUPS, SEVERITIES, corrupt
from attacks.draws import Stream, integers, uniform
from attacks.spec import unknown
from defenses.defense import Defense


def corrupted(
    corruptions: str | Sequence[str] = "standard",
    severities: int | Sequence[int] = SEVERITIES,
    share: float = 1.0,
) -> Defense:
    """Corrupt each image by one of the common corruptions, drawn anew in each epoch.

    A model trained so is marked in every table of errors on corruptions.

    Args:
        corruptions: standard (15), extra (4), all (19), a family such as noise, a name such as
            fog, or a list of these.
        severities: a severity from 1 to 5, or a list of them; drawn evenly.
        share: chance of an image to be corrupted; the others stay as they are.

    Raises:
        ValueError: an unknown corruption or severity, or a share outside of (0, 1].
    """
    names = _names(_listed(corruptions))
    levels = _listed(severities)
    if not levels or not all(type(level) is int and level in SEVERITIES for level in levels):
        raise ValueError(f"corrupted: severities={severities} must be of 1, 2, 3, 4 and 5")
    if type(share) not in (int, float) or not 0 < share <= 1:
        raise ValueError(f"corrupted: share={share} must be above 0 and at most 1")
    pairs = [(CORRUPTIONS[name], level) for name in names for level in sorted(set(levels))]

    def transform(images: Tensor, labels: Tensor, seeds: Tensor) -> tuple[Tensor, Tensor]:
        drawn = integers(seeds, len(pairs), stream=Stream.DEFENSE, step=0)
        spared = uniform(seeds, (), stream=Stream.DEFENSE, step=1) >= share
        groups: dict[int, list[int]] = defaultdict(list)
        for row, number in enumerate(drawn.masked_fill(spared, -1).tolist()):
            groups[number].append(row)
        groups.pop(-1, None)
        changed = images.clone()
        for number, members in groups.items():
            corruption, level = pairs[number]
            rows = torch.tensor(members, device=images.device)
            changed[rows] = corrupt(images[rows], corruption, level, seeds=seeds[rows])
        return changed, labels

    return Defense(transform, corruptions=names)


def _listed(value: object) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _names(words: Sequence[object]) -> tuple[str, ...]:
    """The corruptions that words stand for, in the order of the literature."""
    chosen: set[str] = set()
    for word in (str(word).lower().replace("-", "_") for word in words):
        if word not in GROUPS and word not in CORRUPTIONS:
            raise ValueError(unknown("corruption", word, [*CORRUPTIONS, *GROUPS]))
        chosen.update(GROUPS.get(word, (word,)))
    if not chosen:
        raise ValueError("corrupted: corruptions=[] names none")
    return tuple(name for name in CORRUPTIONS if name in chosen)
