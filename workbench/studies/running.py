"""Carries out the steps of a study, each once, and keeps what they print."""

import io
import json
import re
import shlex
import shutil
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from workbench.console import Console, duration
from workbench.errors import Interrupted, UsageError
from workbench.run_directory import RunDirectory, slug, write_atomically
from workbench.studies.definitions import FILE, PRINTED, PROGRESS, Study, study_files
from workbench.studies.filling import fill_command, fill_file

INTERRUPTED = 130  # what typer makes of Ctrl-C in a verb that says nothing of it itself
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

RunVerb = Callable[[Sequence[str]], int]
"""Runs a command line of the workbench and returns its exit code; errors are raised."""


class Planned(NamedTuple):
    """A step with its names filled in."""

    name: str
    arguments: list[str]

    @property
    def command(self) -> str:
        """As it is written for a shell."""
        return shlex.join(["workbench", *self.arguments])


@dataclass
class _Copy:
    """Text for a stream that also goes to a file, there without the terminal's colours.

    A heading comes before it, so that no table is without its study and scale.
    """

    stream: TextIO
    file: TextIO
    heading: str
    begun: bool = False

    @property
    def encoding(self) -> str:
        return self.stream.encoding

    def write(self, text: str) -> int:
        if text and not self.begun:
            self.begun = True
            self.write(f"\n{self.heading}\n")
        self.file.write(_ESCAPE.sub("", text))
        return self.stream.write(text)

    def flush(self) -> None:
        self.stream.flush()
        self.file.flush()

    def isatty(self) -> bool:
        return self.stream.isatty()

    def fileno(self) -> int:
        return self.stream.fileno()


def planned_steps(study: Study, scale: str, values: Mapping[str, Any]) -> list[Planned]:
    """The steps of a scale as command lines.

    Raises:
        UsageError: a step has a name without a value.
    """
    return [
        Planned(step.name, fill_command(step.run, values, f"step {step.name!r} of {study.name}"))
        for step in study.steps
        if scale in step.scales
    ]


def filled_files(
    study: Study, steps: Sequence[Planned], values: Mapping[str, Any]
) -> dict[str, str]:
    """The TOML files that steps name, with the values of names in them, by their file names.

    Raises:
        UsageError: a file has a name without a value, or is not valid TOML.
    """
    texts = {}
    named = {Path(word).name for step in steps for word in step.arguments}
    for file in study_files(study.folder):
        if file.suffix == ".toml" and file.name in named - {FILE}:
            try:
                text = file.read_text(encoding="utf-8")
            except UnicodeDecodeError as error:
                raise UsageError(f"{file} is not valid TOML: {error}") from None
            texts[file.name] = fill_file(text, values, str(file))
            try:
                tomllib.loads(texts[file.name])
            except tomllib.TOMLDecodeError as error:
                what = f"{file}, with its names filled in, is not valid TOML: {error}"
                raise UsageError(what) from None
    return texts


def write_files(study: Study, folder: Path, filled: Mapping[str, str]) -> None:
    """Write the study's files to a folder, those of `filled_files` as they are there."""
    for file in study_files(study.folder):
        if file.name in filled:
            (folder / file.name).write_text(filled[file.name], encoding="utf-8")
        else:
            shutil.copyfile(file, folder / file.name)


def run_steps(
    steps: Sequence[Planned],
    run: RunDirectory,
    title: str,
    files: str,
    run_verb: RunVerb,
    console: Console,
) -> list[dict[str, Any]]:
    """Run the steps that have not been finished here; what is known of each afterwards.

    A step that fails in part is told, and tried again by the next run; the others go on.

    Args:
        steps: of the study.
        run: its run directory, which keeps what is finished and what was printed.
        title: a line before what a step prints.
        files: the digest of the study's files: a step that was finished with others is run again,
            and its own run directory says what that changes.
        run_verb: see `RunVerb`.
        console: hears which step is at work.

    Raises:
        Interrupted: Ctrl-C; says how to go on.
        Exception: a step ended with it.
    """
    done = _finished(run.path)
    (run.path / PRINTED).mkdir(exist_ok=True)
    for number, step in enumerate(steps, 1):
        where = f"step {number} of {len(steps)}, {step.name}"
        before = done.get(step.name, {})
        if before | {"command": step.command, "files": files, "code": 0} == before:
            console.note(f"{where}: finished before, in {duration(before['seconds'])}")
            continue
        console.note(f"\n{where}: {step.command}")
        began = time.monotonic()
        try:
            with printing_to(run.path / PRINTED / f"{slug(step.name)}.txt", title, console):
                code = run_verb(step.arguments)
            if code == INTERRUPTED:
                raise KeyboardInterrupt
        except (Interrupted, KeyboardInterrupt) as stop:
            told = str(stop).partition("\n")[0] or "Interrupted."
            raise Interrupted(f"In {where}: {told}\nGo on with: {run.command}") from None
        except Exception:
            console.note(f"That was {where}. Once it is mended, go on with: {run.command}")
            raise
        seconds = time.monotonic() - began
        if code != 0:
            console.warn(f"{where} ended with exit code {code}: a part of it failed.")
        done[step.name] = {
            "command": step.command,
            "files": files,
            "seconds": seconds,
            "code": code,
        }
        write_atomically(run.path / PROGRESS, (json.dumps(done, indent=2) + "\n").encode())
    return [{"name": step.name, **done[step.name]} for step in steps]


@contextmanager
def printing_to(file: Path, title: str, console: Console) -> Iterator[None]:
    """What is printed goes to a file below a title and, for people, on to stdout."""
    with file.open("w", encoding="utf-8") as stream:
        shown = sys.stdout if console.mode == "human" else io.StringIO()
        with redirect_stdout(_Copy(shown, stream, title)):
            yield


def _finished(path: Path) -> dict[str, dict[str, Any]]:
    try:
        found: dict[str, dict[str, Any]] = json.loads((path / PROGRESS).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # a damaged note costs a look at every step
        return {}
    return found
