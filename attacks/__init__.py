"""Functions that move images. A new attack is one file and one line in `ATTACKS`."""

import importlib
from collections.abc import Callable
from types import ModuleType

from attacks.apgd import apgd
from attacks.attacked import Attack, Attacked, Caution, Ended
from attacks.execution import engine
from attacks.fgsm import fgsm
from attacks.fooling import fooling
from attacks.objectives import Goal
from attacks.pgd import pgd
from attacks.shrink import shrink
from attacks.sign_ascent import sign_ascent

ATTACKS: dict[str, Attack] = {
    "fgsm": fgsm,
    "pgd": pgd,
    "apgd": apgd,
    "sign-ascent": sign_ascent,
    "fooling": fooling,
    "shrink": shrink,
}

ADAPTERS: dict[str, Callable[[], ModuleType]] = {
    # Imported when asked for: these libraries take seconds to load.
    "torchattacks": lambda: importlib.import_module("attacks.torchattacks_adapter"),
    "foolbox": lambda: importlib.import_module("attacks.foolbox_adapter"),
}

__all__ = [
    "ADAPTERS",
    "ATTACKS",
    "Attack",
    "Attacked",
    "Caution",
    "Ended",
    "Goal",
    "apgd",
    "engine",
    "fgsm",
    "fooling",
    "pgd",
    "shrink",
    "sign_ascent",
]
