"""Run directories: create, describe, lock, resume."""

import fcntl
import json
import os
import re
import shlex
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import durable
from workbench.errors import UsageError

FORMAT_VERSION = 1
ROOT = Path("runs")


@dataclass(frozen=True)
class RunDirectory:
    """One run's folder, locked by this process while it is open.

    Attributes:
        path: the folder.
        resumed: whether an earlier process had begun here.
        command: the command line that resumes it, ready for a shell.
    """

    path: Path
    resumed: bool
    command: str

    @property
    def record(self) -> Path:
        """The merged record."""
        return self.path / "record.h5"

    @property
    def cells(self) -> Path:
        """The folder of finished cells."""
        return self.path / "cells"

    @property
    def images(self) -> Path:
        """The folder of pictures."""
        return self.path / "images"


@contextmanager
def open_run(
    output: Path | None,
    *,
    verb: str,
    name: str,
    config: Mapping[str, Any],
    arguments: Sequence[str],
    root: Path = ROOT,
    besides: Sequence[str] = (),
) -> Iterator[RunDirectory]:
    """Make a new run directory, or take up the one in ``output``; locked until the end.

    Args:
        output: the directory, or None for the next free ``root/<verb>-<name>-<n>``.
        verb: the verb, such as ``attack``.
        name: what the run is called, such as the checkpoint's name.
        config: every resolved setting that decides the results; JSON-able.
        arguments: the command line without the program's name, kept for the reader and to resume.
        root: where new directories are made.
        besides: what may be in the directory before it is made a run's.

    Raises:
        UsageError: another process is at work there, or it holds a run with another
            configuration, or something that is no run.
        OSError: it cannot be written.

    Where the work is refused before anything came of it, the directory is as it was: the command
    with its settings put right would be another configuration.
    """
    new = output is None or not output.exists()
    path = next_directory(verb, name, root) if output is None else output
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UsageError(f"{path} is a file, not a directory; choose another --output.") from None
    with _locked(path):
        resumed = _take_up(path, verb, config) if (path / "config.json").exists() else False
        if not resumed:
            _refuse_strangers(path, besides)
            _describe(path, verb, config, arguments)
        durable.remove_leftovers(path)
        (path / "cells").mkdir(exist_ok=True)
        try:
            yield RunDirectory(path, resumed, resume_command(arguments, path))
        except ValueError as error:
            if not isinstance(error.__cause__, OSError):  # a full disk is no wrong setting
                _forget(path, new=new)
            raise


def refuse_in_vain(path: Path, verb: str, besides: Sequence[str] = ()) -> dict[str, Any] | None:
    """What a directory says of the run that it holds, before long work is done for it; or None.

    Raises:
        UsageError: `open_run` would refuse the directory whatever the configuration.
    """
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path} is a file, not a directory; choose another --output.")
    if (path / "config.json").exists():
        found = read_description(path)
        refuse_other(path, {"verb": found["verb"]}, {"verb": verb})
        return found
    if path.exists():
        _refuse_strangers(path, besides)
    return None


def next_directory(verb: str, name: str, root: Path = ROOT) -> Path:
    """Create and return the first free ``root/<verb>-<name>-<n>``, n from 1; safe against races."""
    root.mkdir(parents=True, exist_ok=True)
    stem = f"{verb}-{slug(name)}-"
    taken = [
        int(match.group(1))
        for entry in root.iterdir()
        if (match := re.fullmatch(re.escape(stem) + r"(\d+)", entry.name))
    ]
    number = max(taken, default=0) + 1
    while True:
        path = root / f"{stem}{number}"
        try:
            path.mkdir()
        except FileExistsError:
            number += 1
        else:
            return path


def slug(name: str, limit: int = 40) -> str:
    """The name as a part of a file name: letters, digits, dots, dashes, underscores.

    >>> slug("timm:resnet18 (a)/b")
    'timm-resnet18-a-b'
    """
    return re.sub(r"[^A-Za-z0-9._]+", "-", name).strip("-.")[:limit] or "run"


def differences(there: Any, here: Any, where: str = "") -> list[str]:
    """How two JSON values differ, one line each: ``seed: 0 there, 1 here``.

    >>> differences({"seed": 0, "data": {"limit": 5}}, {"seed": 1, "data": {"limit": 5}})
    ['seed: 0 there, 1 here']
    """
    if isinstance(there, dict) and isinstance(here, dict):
        lines = []
        for key in {**there, **here}:
            path = f"{where}.{key}" if where else str(key)
            lines += differences(there.get(key), here.get(key), path)
        return lines
    if isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        return [
            line
            for index, (one, other) in enumerate(zip(there, here, strict=True))
            for line in differences(one, other, f"{where}[{index}]")
        ]
    return [] if there == here else [f"{where}: {_short(there)} there, {_short(here)} here"]


def resume_command(arguments: Sequence[str], path: Path) -> str:
    """The same command with ``--output`` set to the directory."""
    kept = without_options(arguments, "--output", "-o")
    return shlex.join(["workbench", *kept, "--output", str(path)])


def without_options(arguments: Sequence[str], *options: str) -> list[str]:
    """A command line without some of its options and their values.

    >>> without_options(["train", "--seed", "3", "--output=x", "-d", "y"], "--seed", "--output")
    ['train', '-d', 'y']
    """
    kept: list[str] = []
    skip = False
    for argument in arguments:
        if skip:
            skip = False
        elif argument in options:
            skip = True
        elif argument.partition("=")[0] not in options:
            kept.append(argument)
    return kept


def read_description(path: Path) -> dict[str, Any]:
    """What `config.json` in a run directory says: ``verb``, ``command``, ``config`` and more.

    Raises:
        UsageError: it is damaged.
    """
    file = path / "config.json"
    try:
        description = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        description = None
    if not isinstance(description, dict) or not {"verb", "config"} <= set(description):
        raise UsageError(f"{file} is damaged; choose another --output.")
    return description


def write_atomically(file: Path, content: bytes) -> None:
    """Write a file so that after a crash it is there as a whole or not at all."""
    with durable.atomically(file) as temporary:
        temporary.write_bytes(content)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the directory's lock; the kernel drops it when the process ends, however it ends."""
    with (path / ".lock").open("a+", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.seek(0)
            holder = stream.read().strip() or "another process"
            raise UsageError(
                f"{path} is in use by {holder}; wait for it, or choose another --output."
            ) from None
        stream.truncate(0)
        stream.write(f"process {os.getpid()} on {socket.gethostname()}")
        stream.flush()
        yield


def _take_up(path: Path, verb: str, config: Mapping[str, Any]) -> bool:
    found = read_description(path)
    refuse_other(path, {"verb": found["verb"], **found["config"]}, {"verb": verb, **config})
    return True


def refuse_other(path: Path, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Refuse to go on in a place that was begun with another configuration.

    Raises:
        UsageError: the two JSON values differ; it says where.
    """
    lines = differences(dict(there), json.loads(json.dumps(here)))
    if lines:
        # A digest says that something differs; whatever says what is told first.
        lines.sort(key=lambda line: "digest" in line.partition(":")[0])
        more = f" (and {len(lines) - 3} more)" if len(lines) > 3 else ""
        raise UsageError(
            f"{path} holds a run with another configuration: {'; '.join(lines[:3])}{more}.\n"
            "Give the same settings to resume it, or choose another --output."
        )


def _forget(path: Path, *, new: bool) -> None:
    """Take a run back that has nothing yet but its description."""
    cells = path / "cells"
    visible = {entry.name for entry in path.iterdir() if entry.name[0] != "."}
    if visible != {"config.json", cells.name} or any(cells.iterdir()):
        return
    cells.rmdir()
    (path / "config.json").unlink()
    if new:
        (path / ".lock").unlink()
        with suppress(OSError):  # something else is in it by now
            path.rmdir()


def _refuse_strangers(path: Path, besides: Sequence[str]) -> None:
    known = set(besides)
    found = sorted(entry.name for entry in path.iterdir() if entry.name[0] != ".")
    strangers = [name for name in found if name not in known]
    if strangers:
        raise UsageError(
            f"{path} is not empty ({strangers[0]}) and holds no run; choose another --output."
        )


def _describe(path: Path, verb: str, config: Mapping[str, Any], arguments: Sequence[str]) -> None:
    from workbench import __version__

    description = {
        "format": "workbench-run",
        "format_version": FORMAT_VERSION,
        "verb": verb,
        "command": shlex.join(["workbench", *arguments]),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "workbench": __version__,
        "python": sys.version.split()[0],
        "config": config,
    }
    text = json.dumps(description, indent=2, ensure_ascii=False) + "\n"
    write_atomically(path / "config.json", text.encode())


def _short(value: Any, limit: int = 40) -> str:
    text = "nothing" if value is None else value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
