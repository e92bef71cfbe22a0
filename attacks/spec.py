"""An attack and its settings in one string: ``"pgd(eps=8/255, steps=20)"``, and back.

The same text works in the terminal, in a settings file and in the record. It is read with `ast`;
nothing in it is ever evaluated.
"""

import ast
import difflib
import functools
import inspect
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from attacks.attacked import Attack

_NAME = re.compile(r"[A-Za-z][\w.:-]*")
_WORDS = {"true": True, "false": False, "none": None, "inf": float("inf")}
_ARITHMETIC: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Div: operator.truediv,
    ast.Mult: operator.mul,
    ast.Add: operator.add,
    ast.Sub: operator.sub,
}
_NOT_SETTINGS = {"model", "images", "labels", "targets", "seeds"}


@dataclass(frozen=True)
class Spec:
    """A name and its settings, as written."""

    name: str
    settings: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        """Write the spec in the form that `parse` reads back to an equal one."""
        if not self.settings:
            return self.name
        settings = ", ".join(f"{key}={_written(value)}" for key, value in self.settings.items())
        return f"{self.name}({settings})"


@dataclass(frozen=True)
class Bound:
    """An attack ready to run.

    Attributes:
        spec: the canonical text, every setting filled in; equal texts mean equal attacks.
        attack: the function with its settings bound.
        name: the attack's name without settings.
    """

    spec: str
    attack: "Attack"
    name: str


def parse(text: str) -> Spec:
    """Read ``NAME`` or ``NAME(setting=value, ...)``.

    Values are numbers, fractions such as ``8/255``, words, quoted strings, ``true``, ``false``,
    ``none``, lists and tuples, or another spec.

    Raises:
        ValueError: if the text is anything else.

    >>> parse("pgd(eps=1/4, norm=l2)")
    Spec(name='pgd', settings={'eps': 0.25, 'norm': 'l2'})
    """
    text = text.strip()
    match = _NAME.match(text)
    if match is None:
        raise ValueError(f"{text!r} is not NAME or NAME(setting=value, ...)")
    name, rest = match.group(), text[match.end() :].strip()
    if not rest:
        return Spec(name)
    try:
        call = ast.parse("_" + rest, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"cannot read the settings in {text!r}: {rest}") from error
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        raise ValueError(f"{text!r} is not NAME or NAME(setting=value, ...)")
    if call.args:
        raise ValueError(f"settings in {text!r} must be written as setting=value")
    settings: dict[str, object] = {}
    for keyword in call.keywords:
        if keyword.arg is None or keyword.arg in settings:
            raise ValueError(f"a setting in {text!r} is given twice or has no name")
        settings[keyword.arg] = _value(keyword.value, "_" + rest)
    return Spec(name, settings)


def resolve(text: str) -> Bound:
    """Find the attack that a spec names and bind its settings, defaults included.

    ``torchattacks:NAME(...)`` and ``foolbox:NAME(...)`` reach those libraries.

    Raises:
        ValueError: for an unknown name or setting, with the nearest known one.
    """
    from attacks import ADAPTERS, ATTACKS  # here, because that package imports this file

    spec = parse(text)
    library, colon, name = spec.name.partition(":")
    if colon:
        if library not in ADAPTERS:
            raise ValueError(unknown("attack library", library, ADAPTERS))
        settings, attack = ADAPTERS[library]().bind(name, dict(spec.settings))
        return Bound(str(Spec(spec.name, settings)), attack, spec.name)
    if spec.name not in ATTACKS:
        raise ValueError(unknown("attack", spec.name, [*ATTACKS, *(f"{a}:" for a in ADAPTERS)]))
    function = ATTACKS[spec.name]
    settings = filled_in(spec, function)
    attack = cast("Attack", functools.partial(cast(Callable[..., object], function), **settings))
    return Bound(str(Spec(spec.name, settings)), attack, spec.name)


def filled_in(spec: Spec, function: Callable[..., object]) -> dict[str, object]:
    """The settings of a spec, and the function's defaults for those that it does not name.

    Raises:
        ValueError: for a setting that the function does not have.
    """
    settings = defaults(function)
    for key in spec.settings:
        if key not in settings:
            raise ValueError(unknown(f"setting of {spec.name}", key, settings))
    return settings | dict(spec.settings)


def names() -> dict[str, str]:
    """Every attack's name with a line about it, those of torchattacks and foolbox included."""
    from attacks import ADAPTERS, ATTACKS  # here, because that package imports this file

    ours = {
        name: (inspect.getdoc(function) or "").partition("\n")[0]
        for name, function in ATTACKS.items()
    }
    theirs = {
        f"{library}:{name}": summary
        for library, adapter in ADAPTERS.items()
        for name, summary in adapter().names().items()
    }
    return ours | theirs


def defaults(function: Callable[..., object]) -> dict[str, object]:
    """The settings of an attack and their default values, in the order of its signature."""
    return {
        name: parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in _NOT_SETTINGS
    }


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """An error line for a name that is not known, with the nearest ones that are."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
    return f"unknown {kind} {name!r}; {hint}"


def _value(node: ast.expr, source: str) -> object:
    match node:
        case ast.Constant(value=bool() | int() | float() | str() | None):
            return node.value
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_number(operand, source)
        case ast.BinOp(op=op) if type(op) in _ARITHMETIC and not _is_spec(node, source):
            left, right = _number(node.left, source), _number(node.right, source)
            try:
                return _ARITHMETIC[type(op)](left, right)
            except ZeroDivisionError:
                raise ValueError(f"division by zero in {source[1:]!r}") from None
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_value(item, source) for item in items]
        case ast.Name(id=word) if word.lower() in _WORDS:
            return _WORDS[word.lower()]
        case _ if _is_spec(node, source):
            return ast.get_source_segment(source, node)
    written = ast.get_source_segment(source, node)
    raise ValueError(f"cannot read {written!r} in {source[1:]!r}; text goes in quotes")


def _number(node: ast.expr, source: str) -> float:
    value = _value(node, source)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} in {source[1:]!r} is not a number; text goes in quotes")
    return value


def _is_spec(node: ast.expr, source: str) -> bool:
    """Whether the text is a bare word, or an attack such as ``sign-ascent(steps=9)``."""
    text = ast.get_source_segment(source, node) or ""
    return re.fullmatch(r"[A-Za-z]\w*(-[A-Za-z]\w*)*(\(.*\))?", text, re.DOTALL) is not None


def _written(value: object) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_written(item) for item in value) + "]"
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return "inf" if value > 0 else "-inf"
    return repr(value)
