"""Which attacks may move an image only so far, and so which of them robust accuracy is about.

Without a budget any attack that is worth its name is right in the end about every image; what it
tells is how far it had to go. The per-image worst case is over the attacks that have one, or over
all of them where none has.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from attacks.spec import parse

BUDGETS = ("eps", "epsilon", "epsilons")
"""What the attacks and both libraries call it."""


def has_budget(attack: str) -> bool:
    """Whether an attack may move images only so far, by its name in a record.

    >>> has_budget("pgd(eps=0.03)"), has_budget("shrink(attack='fgsm(eps=0.03)') target=next")
    (True, True)
    >>> has_budget("sign-ascent(eps=none)")
    False
    """
    try:
        settings = parse(attack.partition(" target=")[0].partition(" seed=")[0]).settings
    except ValueError:
        return False
    if any(settings.get(name) is not None for name in BUDGETS):
        return True
    inner = settings.get("attack")  # of an attack that changes what another one found
    return isinstance(inner, str) and has_budget(inner)


def worst_case_attacks(attacks: Sequence[str]) -> NDArray[np.bool_]:
    """Which attacks the per-image worst case is over: bool (A,)."""
    within = np.array([has_budget(attack) for attack in attacks], np.bool_)
    return within if within.any() else np.ones(len(attacks), np.bool_)
