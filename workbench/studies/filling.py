"""Names such as ``$epochs`` in the files and commands of a study, filled in."""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from string import Template
from typing import Any

from workbench.errors import UsageError, unknown

_WHOLE = re.compile(r'"\$(?:(\w+)|\{(\w+)\})"')  # a quoted name and nothing else


def fill_values(values: Mapping[str, Any], known: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The values of a scale with those of names in them: data, the run directory and the like.

    Raises:
        UsageError: a name has no value.

    >>> fill_values({"images": ["$tiny/train"], "epochs": 3}, {"tiny": "/data/tiny"}, "")
    {'images': ['/data/tiny/train'], 'epochs': 3}
    """
    return {key: _filled(value, known, where) for key, value in values.items()}


def fill_file(text: str, values: Mapping[str, Any], where: str) -> str:
    """A TOML file with the values of names in it.

    A text that is a name alone becomes the value, of whatever type; a name within a text becomes
    text. ``$$`` is a dollar sign.

    Raises:
        UsageError: a name has no value.

    >>> fill_file('seeds = "$seeds" # of $what', {"seeds": [0, 1], "what": "digits"}, "")
    'seeds = [0, 1] # of digits'
    """

    def value(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if name not in values:
            raise unknown(f"name in {where}:", f"${name}", [f"${each}" for each in values])
        return json.dumps(values[name], ensure_ascii=False).replace("$", "$$")  # as TOML has it

    return _fill(_WHOLE.sub(value, text), values, where)


def fill_command(command: str, values: Mapping[str, Any], where: str) -> list[str]:
    """The arguments of a command line with the values of names in them; a list is joined by commas.

    Raises:
        UsageError: a name has no value, or the line is not written as for a shell.

    >>> fill_command("train mlp --output '$out/m l'", {"out": "a b"}, "")
    ['train', 'mlp', '--output', 'a b/m l']
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"{where} is no command line: {error}") from None
    return [_fill(word, values, where) for word in words]


def _filled(value: Any, known: Mapping[str, Any], where: str) -> Any:
    if isinstance(value, list):
        return [_filled(each, known, where) for each in value]
    return _fill(value, known, where) if isinstance(value, str) else value


def _fill(text: str, values: Mapping[str, Any], where: str) -> str:
    texts = {name: _text(value) for name, value in values.items()}
    try:
        return Template(text).substitute(texts)
    except KeyError as error:
        raise unknown(f"name in {where}:", f"${error.args[0]}", [f"${n}" for n in values]) from None
    except ValueError as error:
        raise UsageError(f"{where}: {error}; a dollar sign is written as $$.") from None


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(map(_text, value))
    return str(value)
