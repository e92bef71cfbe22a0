"""How a TOML file, of the person or a built-in recipe, fills in the options of a verb."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from workbench.errors import UsageError, unknown
from workbench.recipes import recipes


def apply_config(ctx: typer.Context, path: Path | None) -> Path | None:
    """Fill in the options of this verb from its table in a file or a recipe; flags win.

    Raises:
        UsageError: there is no such file or recipe, or it has an unknown table or key.
    """
    if path is None or ctx.resilient_parsing:
        return path
    try:
        tables = tomllib.loads(_text(path))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"--config {path} is not valid TOML: {error}") from None
    verb = ctx.info_name or ""
    verbs = list(getattr(ctx.parent.command, "commands", {})) if ctx.parent else [verb]
    for table, content in tables.items():
        if table not in verbs or not isinstance(content, dict):
            what = unknown("table", table, verbs)
            raise UsageError(f"{path}: {what} Settings of this verb stand under [{verb}].")
    if verb not in tables:
        raise UsageError(f"{path} has no table [{verb}], so it sets nothing here.")
    settings = option_values(ctx, tables[verb], f"{path}, [{verb}]")
    ctx.default_map = {**(ctx.default_map or {}), **settings}
    return path


def option_values(
    ctx: typer.Context, table: Mapping[str, Any], where: str, also: Sequence[str] = ()
) -> dict[str, Any]:
    """The values of this verb's options in a TOML table, by their parameters, as flags give them.

    Args:
        ctx: of the verb.
        table: options as they are written on the command line, without the dashes before them.
        where: what an error names as the place of the table.
        also: keys of the table that are no options.

    Raises:
        UsageError: a key is no option.
    """
    names = _names(ctx)
    settings: dict[str, Any] = {}
    for key, value in table.items():
        if key in also:
            continue
        if key.replace("-", "_") not in names:
            raise UsageError(f"{where}: {unknown('setting', key, [*names, *also])}")
        name, many = names[key.replace("-", "_")]
        settings[name] = _as_given(value, many=many)
    return settings


def _text(path: Path) -> str:
    """What stands in a file, or in the recipe of that name where there is no such file."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if path.suffix or path.name != str(path):
            raise UsageError(f"--config {path}: there is no such file.") from None
    known = recipes()
    if path.name not in known:
        what = unknown("recipe", path.name, known)
        raise UsageError(f"--config {path}: there is no such file. {what}")
    return known[path.name].text


def _names(ctx: typer.Context) -> dict[str, tuple[str, bool]]:
    """Each option as it is written (underscored), to its parameter and whether it repeats."""
    names: dict[str, tuple[str, bool]] = {}
    for parameter in ctx.command.params:
        if parameter.name in {None, "config", "suite", "help", "debug"}:
            continue
        many = bool(getattr(parameter, "multiple", False)) or parameter.nargs == -1
        names[str(parameter.name)] = (str(parameter.name), many)
        for written in getattr(parameter, "opts", []):
            if written.startswith("--"):
                names[written[2:].replace("-", "_")] = (str(parameter.name), many)
    return names


def _as_given(value: Any, *, many: bool) -> Any:
    """A TOML value as the command line would have given it."""
    if many:
        return [str(item) for item in (value if isinstance(value, list) else [value])]
    if isinstance(value, list):
        return ",".join(str(item) for item in value)
    return value if isinstance(value, bool) else str(value)
