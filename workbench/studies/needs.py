"""Finds the data of a study on this machine."""

import gzip
import hashlib
import importlib.util
import lzma
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from workbench.console import Console
from workbench.datasets.named import EMBEDDED, data_root
from workbench.errors import UsageError
from workbench.studies.definitions import Need

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".zip")
DAMAGED = (
    *(tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError),
    RuntimeError,  # a password, or a compression that zipfile does not have
)
USUAL = ("data", "shared/data", "../data", "../shared/data")
"""Folders that are looked into where no other is named, after that of the named data sets."""


def data_folders(given: Sequence[Path]) -> list[Path]:
    """The folders to look into: those that are given, or the usual ones that exist.

    Raises:
        UsageError: one that is given is no folder.
    """
    for folder in given:
        if not folder.is_dir():
            raise UsageError(f"--data {folder}: there is no such folder.")
    return list(given) or [each for each in (data_root(), *map(Path, USUAL)) if each.is_dir()]


def find(needs: Iterable[Need], folders: Sequence[Path], *, download: bool) -> dict[str, str]:
    """Where each need is met: a path, or the name of a data set that the verbs will fetch.

    Raises:
        UsageError: some are met nowhere; the message names all of them, and says what to do.
    """
    met: dict[str, str] = {}
    missing: list[Need] = []
    for need in needs:
        place = _place(need, folders)
        if place is not None:
            met[need.key] = str(place)
        elif need.name == EMBEDDED or (need.name is not None and download):
            met[need.key] = need.name
        else:
            missing.append(need)
    if missing:
        raise UsageError(f"{_missing(missing, folders)}\n{_remedy(missing, download=download)}")
    return met


def unpack(path: Path, below: Path, console: Console) -> Path:
    """The folder that an archive holds, unpacked below a folder unless it is there already.

    Anything else is returned as it is.

    Raises:
        UsageError: the archive is damaged, or would write elsewhere.
    """
    if not path.name.endswith(ARCHIVES) or not path.is_file():
        return path
    stat = path.stat()
    mark = hashlib.sha256(f"{stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()[:8]
    target = below / f"{path.name.partition('.')[0]}-{mark}"
    if not target.exists():
        console.note(f"unpacking {path} to {target}")
        partial = target.with_name(f".{target.name}-{os.getpid()}")
        try:
            _extract(path, partial)
            partial.rename(target)
        except DAMAGED as error:
            raise UsageError(f"{path} cannot be unpacked: {error}") from error
        except OSError:
            if not target.is_dir():  # else another study has unpacked it meanwhile
                raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    inside = [each for each in target.iterdir() if each.name[0] != "."]
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else target


def _extract(path: Path, target: Path) -> None:
    target.mkdir(parents=True)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            archive.extractall(target)
    else:
        with tarfile.open(path) as archive:
            archive.extractall(target, filter="data")
            while archive.fileobj is not None and archive.fileobj.read(1 << 20):
                pass  # gzip compares its checksum at the end alone


def _place(need: Need, folders: Sequence[Path]) -> Path | None:
    roots = list(folders) if need.package is None else _package(need.package)
    candidates = (root / place for root in roots for place in need.places)
    return next((each for each in candidates if each.exists()), None)


def _package(name: str) -> list[Path]:
    """The folders of an installed package, which is not imported."""
    try:
        found = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        return []
    return [] if found is None else [Path(each) for each in found.submodule_search_locations or ()]


def _missing(needs: Sequence[Need], folders: Sequence[Path]) -> str:
    texts = [
        f"{need.what} (" + (f"Python package {need.package}" if need.package else _or(need)) + ")"
        for need in needs
    ]
    looked = f" Looked in {', '.join(map(str, folders)) or 'no folder: none of the usual exists'}."
    return f"Missing: {'; '.join(texts)}." + (looked if any(not n.package for n in needs) else "")


def _remedy(needs: Sequence[Need], *, download: bool) -> str:
    texts = []
    if any(need.package is None for need in needs):
        texts.append("name the folder that has it with --data DIR")
    fetched = [need.what for need in needs if need.name is not None]
    if fetched and not download:
        texts.append(f"--download fetches {', '.join(fetched)}")
    packages = [need.install for need in needs if need.package is not None]
    if packages:
        texts.append(f"pip install {' '.join(packages)}")
    text = "; ".join(texts)
    return f"{text[0].upper()}{text[1:]}."


def _or(need: Need) -> str:
    return " or ".join(need.places)
