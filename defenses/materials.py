"""What some defenses need beside numbers: images or networks that a setting names.

A defense says so by the type of its parameter. Where they come from is not known here: `resolve`
gets a function that opens them by name.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from inspect import signature
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints


@dataclass(frozen=True)
class Material:
    """Images or networks that a defense uses.

    Attributes:
        digest: SHA-256 of what decides the training, so that another file of the same name is
            told from it.
    """

    digest: str


Open = Callable[[type[Any], str], Material]
"""``open_material(kind, name)`` gives the material of this kind that a name stands for.

Raises a `ValueError` for a name that stands for none.
"""


def material_kinds(defense: Callable[..., object]) -> dict[str, type[Material]]:
    """The settings of a defense that name a material, and the kind of each."""
    try:
        hints = get_type_hints(defense.func if isinstance(defense, partial) else defense)
    except (NameError, TypeError):  # of others: types that are not there when it runs
        return {}
    kinds: dict[str, type[Material]] = {}
    for name in signature(defense).parameters:
        hint = hints.get(name)
        options = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        for option in options:
            if isinstance(option, type) and issubclass(option, Material):
                kinds[name] = option
    return kinds
