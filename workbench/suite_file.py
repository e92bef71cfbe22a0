"""Suites: files that say what models are put through and, if they like, which models.

A suite is a TOML file of options of `workbench benchmark`, written without their dashes, such as
``attack``, ``corruptions``, ``severities``, ``limit``, ``data`` and ``baseline``. Besides these,

- ``extends`` names a built-in suite whose settings hold where the file has none of its own, and
- each ``[[models]]`` names a model, see `workbench.suite_models`.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from workbench.config_file import option_values
from workbench.errors import UsageError, unknown
from workbench.suites import suites

NOTHING = "none"  # corrupted, unless the suite says what


@dataclass(frozen=True)
class Suite:
    """A suite as its file says it.

    Attributes:
        name: of the built-in suite, or the file's without its ending.
        settings: options of `workbench benchmark`.
        models: the tables ``[[models]]``.
    """

    name: str
    settings: Mapping[str, Any]
    models: tuple[Mapping[str, Any], ...] = ()


def apply_suite(ctx: typer.Context, name: str | None) -> str | None:
    """Fill in the options of this verb from a suite; flags win, and so does ``--config``.

    Raises:
        UsageError: there is no such suite, or it has an unknown key.
    """
    if name is None or ctx.resilient_parsing:
        return name
    suite = read_suite(name)
    settings = option_values(ctx, suite.settings, f"--suite {name}", ("extends", "models"))
    ctx.default_map = {"corruptions": NOTHING, **settings, **(ctx.default_map or {})}
    return name


def read_suite(name: str) -> Suite:
    """A built-in suite, or the one in a file.

    Raises:
        UsageError: there is none, or it is not written as a suite is.
    """
    known = suites()
    path = Path(name).expanduser()
    if name in known:
        text = known[name].text
    elif path.is_file():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise UsageError(f"--suite {name} is not valid TOML: {error}") from None
    elif path.suffix or path.name != name:
        raise UsageError(f"--suite {name}: there is no such file.")
    else:
        raise unknown("suite", name, known)
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"--suite {name} is not valid TOML: {error}") from None
    models = content.pop("models", [])
    if not (isinstance(models, list) and all(isinstance(each, dict) for each in models)):
        raise UsageError(
            f"--suite {name}: write each model under a heading of its own, [[models]]."
        )
    suite = Suite(path.stem, content, tuple(models))
    return _extended(suite, name)


def _extended(suite: Suite, name: str) -> Suite:
    base = suite.settings.get("extends")
    if base is None:
        return suite
    if str(base) not in suites():
        what = unknown("suite", str(base), suites())
        raise UsageError(f"--suite {name}, extends: {what}")
    settings = {**read_suite(str(base)).settings, **suite.settings}
    del settings["extends"]
    return Suite(suite.name, settings, suite.models)
