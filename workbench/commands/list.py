"""`workbench list`: the names that other verbs understand."""

import inspect
import re
import tomllib
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from workbench.console import Console, make_console
from workbench.errors import unknown
from workbench.options import Debug, Json, Quiet
from workbench.recipes import recipes
from workbench.studies.definitions import studies
from workbench.suites import suites


class Kind(StrEnum):
    """What can be listed."""

    ATTACKS = "attacks"
    DEFENSES = "defenses"
    CORRUPTIONS = "corruptions"
    PROBES = "probes"
    MODELS = "models"
    ARCHITECTURES = "architectures"
    DATASETS = "datasets"
    RECIPES = "recipes"
    SUITES = "suites"
    STUDIES = "studies"
    VIEWS = "views"
    CLASSES = "classes"


SINGULAR = {Kind.CLASSES: "set of classes", Kind.STUDIES: "study"}
FILES = {Kind.RECIPES: recipes, Kind.STUDIES: studies, Kind.SUITES: suites}
"""What comes as files, which are shown as they stand."""


def list_names(
    kind: Annotated[Kind, typer.Argument(help="What to list; models and architectures are one.")],
    name: Annotated[
        str | None,
        typer.Argument(
            help="Only names with this text; the full name of an attack, a defense, a corruption, "
            "a probe, a recipe, a study or a suite shows its settings or strengths, that of a set "
            "of classes its superclasses."
        ),
    ] = None,
    json_output: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """List what other verbs know by name: attacks, defenses, corruptions, suites and so on."""
    console = make_console(json_output=json_output, quiet=quiet)
    _add_plugins(kind, console)
    known = _names(kind, name)
    if name in known and kind is Kind.CORRUPTIONS:
        _show_strengths(console, name, known[name])
        return
    if name in known and kind in FILES:
        _show_file(console, kind, name)
        return
    if name in known and kind in (Kind.ATTACKS, Kind.DEFENSES, Kind.PROBES):
        _show_settings(console, kind, name, known[name])
        return
    if name in known and kind is Kind.CLASSES:
        _show_classes(console, name, known[name])
        return
    part = (name or "").lower()
    found = {key: text for key, text in known.items() if part in key.lower()}
    if not found:
        raise unknown(SINGULAR.get(kind, kind.value.removesuffix("s")), name or "", known)
    title = "sets of classes" if kind is Kind.CLASSES else kind.value
    console.show(_table(title, found))
    console.document({"kind": kind.value, "names": found})
    console.essential("\n".join(found))


def _add_plugins(kind: Kind, console: Console) -> None:
    from workbench.plugins import KINDS, add_plugins

    add_plugins([each for each in KINDS if each == kind], console)


def settings_of(kind: Kind, name: str) -> dict[str, tuple[object, str]]:
    """Settings of an attack, a defense or a probe: the default and, where told, the meaning."""
    from attacks.spec import defaults, parse, resolve

    functions = _functions(kind)
    meanings = _argument_texts(functions[name].__doc__ or "") if name in functions else {}
    if kind in (Kind.DEFENSES, Kind.PROBES):
        settings: Mapping[str, object] = defaults(functions[name])
    else:  # those of other libraries too
        settings = parse(resolve(name).spec).settings
    return {key: (value, meanings.get(key, "")) for key, value in settings.items()}


def strengths_of(name: str) -> dict[int, list[dict[str, object]]]:
    """A corruption's strengths: for each size of images, the values at severities 1 to 5."""
    from attacks.corruptions import CORRUPTIONS

    return {
        size: [
            each._asdict() if hasattr(each, "_asdict") else {"strength": each} for each in strengths
        ]
        for size, strengths in CORRUPTIONS[name].strengths.items()
    }


def _functions(kind: Kind) -> Mapping[str, Callable[..., object]]:
    if kind is Kind.DEFENSES:
        from defenses import DEFENSES

        return DEFENSES
    if kind is Kind.PROBES:
        from attacks.probes import PROBES

        return PROBES
    if kind is Kind.VIEWS:
        from workbench.explain import VIEWS

        return VIEWS
    from attacks import ATTACKS

    return ATTACKS


def _names(kind: Kind, name: str | None) -> dict[str, str]:
    if kind is Kind.ATTACKS:
        from attacks.spec import names

        return {key: text.replace("``", "") for key, text in names().items()}
    if kind in (Kind.DEFENSES, Kind.PROBES, Kind.VIEWS):
        return {
            key: (inspect.getdoc(function) or "").partition("\n")[0].replace("``", "")
            for key, function in _functions(kind).items()
        }
    if kind is Kind.CORRUPTIONS:
        from attacks.corruptions import CORRUPTIONS, STANDARD

        return {
            key: f"{each.family}; one of the standard 15" if key in STANDARD else each.family
            for key, each in CORRUPTIONS.items()
        }
    if kind in FILES:
        return {key: each.summary for key, each in FILES[kind]().items()}
    if kind in (Kind.CLASSES, Kind.DATASETS):
        from workbench.class_names import superclass_sources
        from workbench.datasets import datasets

        return datasets() if kind is Kind.DATASETS else superclass_sources()
    from workbench.models import architectures, timm_names

    known = architectures()
    if name is not None:  # timm has more than a thousand: shown where they are asked for
        known |= {f"timm:{each}": "timm" for each in timm_names()}
    return known


def _show_settings(console: Console, kind: Kind, name: str, summary: str) -> None:
    from rich.text import Text

    settings = settings_of(kind, name)
    table = _titled(f"{name}: {summary}")
    table.add_column("setting", no_wrap=True)
    table.add_column("default", no_wrap=True)
    table.add_column("meaning")
    for key, (default, meaning) in settings.items():
        table.add_row(key, Text(_plain(default)), Text(meaning))
    console.show(table)
    content: dict[str, Any] = {key: default for key, (default, _) in settings.items()}
    console.document({"kind": kind.value, "name": name, "summary": summary, "settings": content})
    console.essential("\n".join(settings))


def _show_strengths(console: Console, name: str, summary: str) -> None:
    strengths = strengths_of(name)
    table = _titled(f"{name}: {summary}")
    table.add_column("images of", justify="right", no_wrap=True)
    table.add_column("severity", no_wrap=True)
    for severity in range(1, 6):
        table.add_column(str(severity), justify="right", no_wrap=True)
    for size, levels in strengths.items():
        for key in dict.fromkeys(key for level in levels for key in level):
            values = [_plain(level[key]) if key in level else "" for level in levels]
            table.add_row(f"{size} pixels", key, *values)
        table.add_section()
    console.show(table)
    content = {str(size): levels for size, levels in strengths.items()}
    console.document(
        {"kind": "corruptions", "name": name, "summary": summary, "strengths": content}
    )
    console.essential(name)


def _show_classes(console: Console, name: str, summary: str) -> None:
    from rich.text import Text

    from workbench.class_names import SOURCES

    known = SOURCES[name]()
    table = _titled(f"{name}: {summary}")
    for heading in ("index", "class", "superclass"):
        table.add_column(heading)
    for index, (each, above) in enumerate(zip(known.names, known.superclasses, strict=True)):
        table.add_row(str(index), Text(each), Text(above))
    console.show(table)
    content = {
        "classes": known.names,
        "superclasses": known.superclasses,
        **({} if known.keys is None else {"wordnet_ids": known.keys}),
    }
    console.document({"kind": "classes", "name": name, "summary": summary, **content})
    console.essential("\n".join(known.names))


def _show_file(console: Console, kind: Kind, name: str) -> None:
    """The file as it stands: its comments say what its values leave open."""
    file = FILES[kind]()[name]
    console.show(file.text.rstrip())
    console.document(
        {
            "kind": kind.value,
            "name": name,
            "summary": file.summary,
            "settings": tomllib.loads(file.text),
        }
    )
    console.essential(file.text.rstrip())


def _titled(title: str) -> Any:
    from rich.table import Table
    from rich.text import Text

    return Table(title=Text(title), title_justify="left", header_style="bold")


def _table(title: str, rows: Mapping[str, str]) -> Any:
    from rich.text import Text

    table = _titled(f"{len(rows)} {title}")
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
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_plain, value))}]"
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)
