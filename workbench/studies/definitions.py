"""A study as its folder says it, read and checked."""

import hashlib
import re
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from workbench.described_files import Described
from workbench.errors import UsageError, unknown
from workbench.studies.checked import Checked
from workbench.studies.claims import Claim, read_claims

FILE = "study.toml"
OF_STUDY = ("page", "told", "data", "scales", "steps", "claims")
OF_NEED = ("what", "places", "name", "package", "install", "scales")
OF_STEP = ("name", "run", "scales")
GIVEN = ("out", "scale", "title")
"""Names that have a value without the study's saying so."""
PROGRESS, PRINTED, VERDICTS = "steps.json", "printed", "claims"
OF_RUN = ("config.json", "cells", PROGRESS, PRINTED)
"""What a run directory holds besides the study's files."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Need:
    """Data that a study cannot do without.

    Attributes:
        key: the name that steps call them by.
        what: for people.
        places: paths below a folder with data, the best first; an archive is unpacked.
        name: of a named data set that can be fetched in their place, or None.
        package: the installed Python package below which the places are instead, or None.
        install: what to give to pip where the package is missing.
        scales: at which they are needed.
    """

    key: str
    what: str
    places: tuple[str, ...]
    name: str | None
    package: str | None
    install: str
    scales: tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """A command of the workbench, with names to be filled in, and the scales that have it."""

    name: str
    run: str
    scales: tuple[str, ...]


@dataclass(frozen=True)
class Study:
    """A study.

    Attributes:
        name: of its folder.
        summary: a line about it.
        page: where what came of it is written down, or an empty text.
        folder: where its files are.
        needs: the data.
        told: the names that a heading tells the values of; none for all.
        scales: the values of its names at each scale.
        steps: in their order.
        claims: what is to be judged by the records of the steps.
    """

    name: str
    summary: str
    page: str
    folder: Path
    needs: tuple[Need, ...]
    told: tuple[str, ...]
    scales: Mapping[str, Mapping[str, Any]]
    steps: tuple[Step, ...]
    claims: tuple[Claim, ...]

    @property
    def digest(self) -> str:
        """sha256 over the names and contents of the files beside study.toml.

        What that one says is in the settings, the data and the command lines, or decides nothing.
        """
        digest = hashlib.sha256()
        for file in (each for each in study_files(self.folder) if each.name != FILE):
            digest.update(f"{file.name}\0".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
        return digest.hexdigest()


def studies() -> dict[str, Described]:
    """The studies that come with the workbench, by their names."""
    texts = {
        folder.name: (folder / FILE).read_text(encoding="utf-8")
        for folder in sorted(_ours().iterdir())
        if (folder / FILE).is_file()
    }
    return {name: Described(_summary(text), text) for name, text in texts.items()}


def study_files(folder: Path) -> list[Path]:
    """The files of a study, in the order of their names."""
    return sorted(file for file in folder.iterdir() if file.is_file() and file.name[0] != ".")


def read_study(name: str) -> Study:
    """One of our studies, or the one in a folder.

    Raises:
        UsageError: there is none, or it is not written as a study is.
    """
    folder = Path(name).expanduser()
    if name in studies():
        folder = _ours() / name
    elif not (folder / FILE).is_file():
        if folder.is_dir() or folder.name != name:
            raise UsageError(f"There is no study in {name}: a study is a folder with {FILE}.")
        raise unknown("study", name, studies())
    where = str(folder / FILE)
    try:
        text = (folder / FILE).read_text(encoding="utf-8")
        content = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{where} is not valid TOML: {error}") from None
    table = Checked(content, where)
    table.refuse_others(OF_STUDY)
    scales = _tables(content, "scales", where)
    listed = content.get("steps")
    if not (scales and listed and isinstance(listed, list)):
        raise UsageError(f"{where}: a study has [scales.NAME] and [[steps]].")
    every = tuple(scales)
    needs = tuple(
        _need(key, Checked(each, f"{where}, [data.{key}]"), every)
        for key, each in _tables(content, "data", where).items()
    )
    _check_names(scales, needs, where)
    steps = tuple(
        _step(Checked(each, f"{where}, step {number}"), every)
        for number, each in enumerate(listed, 1)
    )
    _refuse_alike(steps, every, where)
    for file in study_files(folder):
        if file.name in OF_RUN:
            raise UsageError(f"{file}: the run directory has a {file.name} of its own; rename it.")
    return Study(
        name=folder.resolve().name,
        summary=_summary(text),
        page=table.text("page", needed=False),
        folder=folder,
        needs=needs,
        told=_told(table, scales),
        scales=scales,
        steps=steps,
        claims=read_claims(content.get("claims", []), where, every),
    )


def check_value(value: Any, where: str) -> None:
    """Refuse what has no form both on a command line and in a TOML file.

    Raises:
        UsageError: it is no text, number, true or false, nor a list of these.
    """
    if isinstance(value, list):
        for each in value:
            check_value(each, where)
    elif not isinstance(value, str | int | float) or str(value) in ("nan", "inf", "-inf"):
        raise UsageError(f"{where} is a text, a number, true or false, or a list of these.")


def _check_names(
    scales: Mapping[str, Mapping[str, Any]], needs: Sequence[Need], where: str
) -> None:
    """Refuse names that `$NAME` could not stand for, or for two values at once."""
    for scale, values in scales.items():
        here = f"{where}, [scales.{scale}]"
        data = [need.key for need in needs if scale in need.scales]
        for key, value in values.items():
            check_value(value, f"{here}: {key}")
            if key in data:
                raise UsageError(f"{here}: {key} is a name of data already; choose another.")
        for key in (*data, *values):
            if not _NAME.fullmatch(key):
                raise UsageError(f"{here}: write {key!r} in letters, digits and underscores alone.")
            if key in GIVEN:
                raise UsageError(f"{here}: ${key} is the workbench's own; choose another name.")


def _refuse_alike(steps: Sequence[Step], every: Sequence[str], where: str) -> None:
    """Refuse steps of one scale that would be taken for each other."""
    from workbench.run_directory import slug

    for scale in every:
        mine = [step.name for step in steps if scale in step.scales]
        count = Counter([VERDICTS, *map(slug, mine)])  # what they print goes by it
        alike = [name for name in mine if count[slug(name)] > 1]
        if alike:
            both = " and ".join(f"'{name}'" for name in alike[:2])
            raise UsageError(f"{where}: the steps {both} need names that tell them apart.")


def _need(key: str, table: Checked, every: Sequence[str]) -> Need:
    table.refuse_others(OF_NEED)
    package = table.text("package", needed=False) or None
    return Need(
        key=key,
        what=table.text("what", needed=False) or key,
        places=table.texts("places"),
        name=table.text("name", needed=False) or None,
        package=package,
        install=table.text("install", needed=False) or package or "",
        scales=_scales(table, every),
    )


def _step(table: Checked, every: Sequence[str]) -> Step:
    table.refuse_others(OF_STEP)
    return Step(table.text("name"), table.text("run"), _scales(table, every))


def _scales(table: Checked, every: Sequence[str]) -> tuple[str, ...]:
    chosen = table.texts("scales") if "scales" in table.content else tuple(every)
    for each in chosen:
        if each not in every:
            raise table.wrong(unknown("scale", each, every))
    return chosen


def _told(table: Checked, scales: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    known = dict.fromkeys(name for values in scales.values() for name in values)
    names = table.texts("told", needed=False)
    for name in names:
        if name not in known:
            raise table.wrong(f"told: {unknown('name', name, known)}")
    return names


def _tables(content: Mapping[str, Any], key: str, where: str) -> dict[str, Mapping[str, Any]]:
    found = content.get(key, {})
    if not (isinstance(found, dict) and all(isinstance(each, dict) for each in found.values())):
        raise UsageError(f"{where}: {key} are tables, [{key}.NAME].")
    return found


def _summary(text: str) -> str:
    return text.partition("\n")[0].lstrip("# ")


def _ours() -> Path:
    """The folder of the studies that come with the workbench; nothing is imported to find it."""
    package = find_spec("benchmarks")
    places = package.submodule_search_locations if package is not None else None
    return Path(next(iter(places or ()), "")) / "studies"
