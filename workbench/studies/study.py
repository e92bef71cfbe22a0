"""What `workbench study` does, from the study's name to verdicts on its claims."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from workbench.console import Console, duration
from workbench.errors import UsageError, unknown
from workbench.run_directory import ROOT, open_run
from workbench.studies.definitions import (
    GIVEN,
    PRINTED,
    VERDICTS,
    Need,
    Study,
    check_value,
    read_study,
)
from workbench.studies.filling import fill_values
from workbench.studies.needs import data_folders, find, unpack
from workbench.studies.running import (
    RunVerb,
    filled_files,
    planned_steps,
    printing_to,
    run_steps,
    write_files,
)

UNPACKED = ROOT / "data"
ABOUT = "about"  # of a scale: a line for people


@dataclass(frozen=True)
class Asked:
    """A study as it was asked for.

    Attributes:
        name: of the study, or its folder.
        scale: one of its scales.
        data: folders to look for data in; none for the usual ones.
        changes: ``NAME=VALUE``, instead of the scale's values.
        download: whether what is missing may be fetched.
        output: the run directory, or None for one that goes by the study and the scale.
        dry_run: say what would be done.
        arguments: the command line as it was written.
    """

    name: str
    scale: str
    data: tuple[Path, ...]
    changes: tuple[str, ...]
    download: bool
    output: Path | None
    dry_run: bool
    arguments: tuple[str, ...]


def carry_out(asked: Asked, run_verb: RunVerb, console: Console) -> bool:
    """Carry out a study, or go on with it; whether every step was finished.

    Raises:
        UsageError: there is no such study or scale, or data are missing.
        Interrupted: Ctrl-C; says how to go on.
    """
    from workbench.studies.judging import judge
    from workbench.studies.verdict_tables import verdict_table

    study = read_study(asked.name)
    if asked.scale not in study.scales:
        raise unknown(f"scale of {study.name}", asked.scale, study.scales)
    settings = _settings(study, asked)
    output = asked.output or ROOT / f"study-{study.name}-{asked.scale}"
    title = _title(study, asked.scale, settings)
    given = dict(zip(GIVEN, (str(output), asked.scale, title), strict=True))
    needs = [need for need in study.needs if asked.scale in need.scales]
    folders = data_folders(asked.data)
    if asked.dry_run:
        _show_plan(study, asked, settings, given, needs, folders, console)
        return True
    found = find(needs, folders, download=asked.download)
    data = {key: str(unpack(Path(place), UNPACKED, console)) for key, place in found.items()}
    values = _values(study, asked.scale, settings, {**data, **given})
    steps = planned_steps(study, asked.scale, values)
    filled = filled_files(study, steps, values)
    config = {
        "study": study.name,
        "scale": asked.scale,
        "settings": settings,
        "data": data,
    }
    with open_run(
        output, verb="study", name=study.name, config=config, arguments=asked.arguments
    ) as run:
        console.note(title)
        write_files(study, run.path, filled)
        ended = run_steps(steps, run, title, study.digest, run_verb, console)
        verdicts = judge(study.claims, run.path, asked.scale)
        if verdicts:
            with printing_to(run.path / PRINTED / f"{VERDICTS}.txt", title, console):
                Console().show(verdict_table(verdicts, title, console.out.width))
    took = duration(sum(step["seconds"] for step in ended))
    console.note(f"\nThe steps took {took}; what they printed is kept in {run.path / PRINTED}.")
    if study.page:
        console.note(f"What came of it elsewhere, and what it means: {study.page}")
    console.document(
        {
            "title": title,
            **config,
            "run": run.path,
            "steps": ended,
            "claims": [asdict(each) for each in verdicts],
        }
    )
    console.essential(str(run.path))
    return all(step["code"] == 0 for step in ended)


def _settings(study: Study, asked: Asked) -> dict[str, Any]:
    """The values of a scale, changed as was asked for."""
    values = {key: value for key, value in study.scales[asked.scale].items() if key != ABOUT}
    for change in asked.changes:
        name, sign, text = change.partition("=")
        if not sign:
            raise UsageError(f"--set {change}: write NAME=VALUE.")
        if name.strip() not in values:
            raise unknown(f"name in --set {change}:", name.strip(), values)
        try:
            values[name.strip()] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            values[name.strip()] = text.strip()
        check_value(values[name.strip()], f"--set {change}: {name.strip()}")
    return values


def _values(
    study: Study, scale: str, settings: Mapping[str, Any], known: Mapping[str, Any]
) -> dict[str, Any]:
    """All names with their values; those of a scale may have other names in them."""
    return {**fill_values(settings, known, f"scale {scale!r} of {study.name}"), **known}


def _title(study: Study, scale: str, settings: Mapping[str, Any]) -> str:
    """A line that tells a study at its scale from any other."""
    names = study.told or tuple(settings)
    mine = {name: settings[name] for name in names if name in settings}
    told = [
        f"{name.replace('_', ' ')} {_short(value)}"
        for name, value in mine.items()
        if "$" not in str(value)  # a path
    ]
    return f"Study {study.name}, scale {scale}: {', '.join(told)}"


def _short(value: object) -> str:
    return " + ".join(map(str, value)) if isinstance(value, list) else str(value)


def _show_plan(
    study: Study,
    asked: Asked,
    settings: Mapping[str, Any],
    given: Mapping[str, str],
    needs: Sequence[Need],
    folders: Sequence[Path],
    console: Console,
) -> None:
    """Say what would be run, and which of the data are here."""
    title = given["title"]
    places: dict[str, str | None] = {}
    told = []
    for need in needs:
        try:
            places.update(find([need], folders, download=asked.download))
            told.append(f"  {need.key}: {places[need.key]}")
        except UsageError as missing:
            places[need.key] = None
            told.append(f"  {need.key}: {' '.join(str(missing).split())}")
    known = {key: place or f"${key}" for key, place in places.items()}
    values = _values(study, asked.scale, settings, {**known, **given})
    steps = planned_steps(study, asked.scale, values)
    filled_files(study, steps, values)  # for what is wrong in them
    console.show(study.summary, title, "", "scales:")
    console.show(*(f"  {name}: {each.get(ABOUT, '')}" for name, each in study.scales.items()))
    console.show("", "data:", *told)
    console.show("", "steps:", *(f"  {step.name}: {step.command}" for step in steps))
    console.document(
        {
            "dry_run": True,
            "title": title,
            "data": places,
            "steps": [step._asdict() for step in steps],
        }
    )
