"""`workbench list`: the names that other verbs understand."""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from workbench.console import Console, make_console
from workbench.errors import unknown
from workbench.options import Debug, Json, Quiet


class Kind(StrEnum):
    """What can be listed."""

    ATTACKS = "attacks"
    MODELS = "models"
    ARCHITECTURES = "architectures"
    DATASETS = "datasets"


def list_names(
    kind: Annotated[Kind, typer.Argument(help="What to list; models and architectures are one.")],
    name: Annotated[
        str | None,
        typer.Argument(help="Only names with this text; an attack's full name shows its settings."),
    ] = None,
    json_output: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """List the attacks, architectures (or models, the same) or data sets that there are."""
    console = make_console(json_output=json_output, quiet=quiet)
    known = _names(kind, name)
    if kind is Kind.ATTACKS and name in known:
        _show_attack(console, name, known[name])
        return
    part = (name or "").lower()
    found = {key: text for key, text in known.items() if part in key.lower()}
    if not found:
        raise unknown(kind.value.removesuffix("s"), name or "", known)
    console.show(_table(kind.value, found))
    console.document({"kind": kind.value, "names": found})
    console.essential("\n".join(found))


def settings_of(name: str) -> dict[str, tuple[object, str]]:
    """An attack's settings: the default of each, and what it means where the attack says so."""
    from attacks import ATTACKS
    from attacks.spec import parse, resolve

    meanings = _argument_texts(ATTACKS[name].__doc__ or "") if name in ATTACKS else {}
    settings = parse(resolve(name).spec).settings
    return {key: (value, meanings.get(key, "")) for key, value in settings.items()}


def _names(kind: Kind, name: str | None) -> dict[str, str]:
    if kind is Kind.ATTACKS:
        from attacks.spec import names

        return {key: text.replace("``", "") for key, text in names().items()}
    if kind is Kind.DATASETS:
        from workbench.datasets import datasets

        return datasets()
    from workbench.models import architectures, timm_names

    known = architectures()
    if name is not None:  # timm has more than a thousand: shown where they are asked for
        known |= {f"timm:{each}": "timm" for each in timm_names()}
    return known


def _show_attack(console: Console, name: str, summary: str) -> None:
    from rich.table import Table
    from rich.text import Text

    settings = settings_of(name)
    table = Table(title=Text(f"{name}: {summary}"), title_justify="left", header_style="bold")
    table.add_column("setting", no_wrap=True)
    table.add_column("default", no_wrap=True)
    table.add_column("meaning")
    for key, (default, meaning) in settings.items():
        table.add_row(key, _plain(default), Text(meaning))
    console.show(table)
    content: dict[str, Any] = {key: default for key, (default, _) in settings.items()}
    console.document({"kind": "attacks", "name": name, "summary": summary, "settings": content})
    console.essential("\n".join(settings))


def _table(title: str, rows: Mapping[str, str]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"{len(rows)} {title}", title_justify="left", header_style="bold")
    table.add_column("name", no_wrap=True)
    table.add_column("what it is")
    for name, summary in rows.items():
        table.add_row(Text(name), Text(summary))
    return table


def _argument_texts(doc: str) -> dict[str, str]:
    """What a docstring's ``Args:`` section says of each argument."""
    section = re.search(r"\n( *)Args:\n(.*?)(?:\n\s*\n|\Z)", doc, re.DOTALL)
    if section is None:
        return {}
    entries = re.findall(
        rf"^{section[1]}    (\w+)[^:\n]*: (.*(?:\n{section[1]}     .*)*)",
        section[2],
        re.MULTILINE,
    )
    return {key: " ".join(text.replace("``", "").split()) for key, text in entries}


def _plain(value: object) -> str:
    from workbench.tables import plain_number

    if isinstance(value, float):
        return plain_number(value)
    return "none" if value is None else str(value)
