"""Attacks, defenses and corruptions that other packages add, by entry points.

A package declares ``name = "module:object"`` in the group ``workbench.attacks``,
``workbench.defenses`` or ``workbench.corruptions``; the object is what an entry of `ATTACKS`,
`DEFENSES` or `CORRUPTIONS` is. `add_plugins` puts it there. The commands that look names up in one
of these call it first, for that one alone, so nothing else waits for other people's imports.
"""

import inspect
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal, get_args

from workbench.console import Console

Kind = Literal["attacks", "defenses", "corruptions"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_ATTACKED = {"model", "images", "labels", "targets", "seeds"}


def add_plugins(kinds: Iterable[Kind], console: Console) -> None:
    """Put what installed packages add into the registries of these kinds; warn of what cannot be.

    Left out, each with a warning of one line: what cannot be imported or is not what its group
    says; a name that is taken by an entry of our own; and a name that two packages add, both, so
    that no result depends on which was installed first.
    """
    for kind in kinds:
        registry = _registry(kind)
        for name, found in _entries(kind).items():
            if len(found) > 1:
                packages = " and ".join(_package(entry) for entry in found)
                console.warn(f"{packages} both add {kind[:-1]} {name!r}: neither is taken.")
                continue
            try:
                added = _loaded(kind, found[0])
            except (Exception, SystemExit) as error:  # noqa: BLE001  (other people's imports)
                console.warn(_left_out(kind, found[0], error))
                continue
            # An entry that is there already is ours, unless an earlier call has put it there.
            if registry.setdefault(name, added) != added:
                why = ValueError("the name is taken by one of our own")
                console.warn(_left_out(kind, found[0], why))


def _entries(kind: Kind) -> dict[str, list[EntryPoint]]:
    by_name: dict[str, list[EntryPoint]] = defaultdict(list)
    for entry in sorted(entry_points(group=f"workbench.{kind}"), key=_package):
        by_name[entry.name].append(entry)
    return dict(sorted(by_name.items()))


def _registry(kind: Kind) -> dict[str, Any]:
    if kind == "attacks":
        from attacks import ATTACKS

        return ATTACKS
    if kind == "defenses":
        from defenses import DEFENSES

        return DEFENSES
    from attacks.corruptions import CORRUPTIONS

    return CORRUPTIONS


def _loaded(kind: Kind, entry: EntryPoint) -> Any:
    """Import what an entry names.

    Raises:
        ValueError: it is not what an entry of this kind is.
        Exception: whatever the import raises.
    """
    added = entry.load()
    if kind == "corruptions":
        return _corruption(entry.name, added)
    if not re.fullmatch(r"[A-Za-z][\w.-]*", entry.name):
        raise ValueError("a name is a letter, then letters, digits, and any of . _ -")
    if not callable(added):
        raise ValueError("it is no function")
    _check_signature(kind, added)
    return added


def _corruption(name: str, added: object) -> Any:
    from attacks.corruptions import Corruption

    if not isinstance(added, Corruption):
        raise ValueError("it is no attacks.corruptions.Corruption")
    if added.name != name or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ValueError(f"it calls itself {added.name!r}; names are lower case and the same")
    # The published families and groups mean the same whatever is installed, and a record that was
    # read without the package says the same as with it.
    return replace(added, family="other")


def _check_signature(kind: Kind, function: Callable[..., object]) -> None:
    parameters = inspect.signature(function).parameters
    given = _ATTACKED if kind == "attacks" else set()
    if missing := given - set(parameters):
        raise ValueError(f"it is no attack: it does not take {', '.join(sorted(missing))}")
    for name, parameter in parameters.items():
        if name not in given and parameter.default is parameter.empty:
            raise ValueError(f"its setting {name!r} has no default")


def _left_out(kind: Kind, entry: EntryPoint, error: BaseException) -> str:
    said = " ".join(str(error).split())
    # Our own findings explain themselves; of others' errors the type is half of what they say.
    why = said if type(error) is ValueError else f"{type(error).__name__}: {said}"
    return f"{kind[:-1]} {entry.name!r} of {_package(entry)} is left out: {why[:300]}."


def _package(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value
