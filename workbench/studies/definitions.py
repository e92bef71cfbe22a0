"""A study as its folder says it, read and checked."""

import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from workbench.described_files import Described
from workbench.errors import UsageError, unknown
from workbench.studies.claims import Claim, read_claims

FILE = "study.toml"
OF_STUDY = ("page", "told", "data", "scales", "steps", "claims")
OF_NEED = ("what", "places", "name", "package", "install", "scales")
OF_STEP = ("name", "run", "scales")
GIVEN = ("out", "scale", "title")
"""Names that have a value without the study's saying so."""


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
        """sha256 over the names and contents of all files."""
        digest = hashlib.sha256()
        for file in study_files(self.folder):
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
    _refuse_others(content, OF_STUDY, where)
    scales = _tables(content, "scales", where)
    if not scales or not content.get("steps"):
        raise UsageError(f"{where}: a study has [scales.NAME] and [[steps]].")
    every = tuple(scales)
    return Study(
        name=folder.resolve().name,
        summary=_summary(text),
        page=str(content.get("page", "")),
        folder=folder,
        needs=tuple(
            _need(key, table, every, f"{where}, [data.{key}]")
            for key, table in _tables(content, "data", where).items()
        ),
        told=_told(content.get("told", []), scales, where),
        scales=scales,
        steps=tuple(
            _step(table, every, f"{where}, step {number}")
            for number, table in enumerate(content["steps"], 1)
        ),
        claims=read_claims(content.get("claims", []), where, every),
    )


def _need(key: str, table: Mapping[str, Any], every: Sequence[str], where: str) -> Need:
    _refuse_others(table, OF_NEED, where)
    if not isinstance(table.get("places"), list):
        raise UsageError(f"{where}: places is a list of paths.")
    return Need(
        key=key,
        what=str(table.get("what", key)),
        places=tuple(map(str, table["places"])),
        name=table.get("name"),
        package=table.get("package"),
        install=str(table.get("install", table.get("package", ""))),
        scales=_scales(table, every, where),
    )


def _step(table: Mapping[str, Any], every: Sequence[str], where: str) -> Step:
    _refuse_others(table, OF_STEP, where)
    if not (isinstance(table.get("name"), str) and isinstance(table.get("run"), str)):
        raise UsageError(f"{where}: a step has a name and a command line to run.")
    return Step(table["name"], table["run"], _scales(table, every, where))


def _scales(table: Mapping[str, Any], every: Sequence[str], where: str) -> tuple[str, ...]:
    chosen = tuple(map(str, table.get("scales", every)))
    for each in chosen:
        if each not in every:
            raise UsageError(f"{where}: {unknown('scale', each, every)}")
    return chosen


def _told(names: Any, scales: Mapping[str, Mapping[str, Any]], where: str) -> tuple[str, ...]:
    known = dict.fromkeys(name for values in scales.values() for name in values)
    if not isinstance(names, list):
        raise UsageError(f"{where}: told is a list of names.")
    for name in names:
        if name not in known:
            raise UsageError(f"{where}, told: {unknown('name', str(name), known)}")
    return tuple(names)


def _tables(content: Mapping[str, Any], key: str, where: str) -> dict[str, Mapping[str, Any]]:
    found = content.get(key, {})
    if not (isinstance(found, dict) and all(isinstance(each, dict) for each in found.values())):
        raise UsageError(f"{where}: {key} are tables, [{key}.NAME].")
    return found


def _refuse_others(table: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in table:
        if key not in known:
            raise UsageError(f"{where}: {unknown('setting', key, known)}")


def _summary(text: str) -> str:
    return text.partition("\n")[0].lstrip("# ")


def _ours() -> Path:
    return Path(str(files("benchmarks.studies")))
