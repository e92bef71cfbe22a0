"""What decides a result, as text that can be compared: canonical JSON, digests, versions."""

import hashlib
import importlib.metadata
import importlib.util
import json
import platform
import sys
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path

import attacks

_LIBRARIES = (
    "adversarial-workbench",
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "torchattacks",
    "foolbox",
    "h5py",
)


def canonical_json(value: object) -> str:
    """JSON with sorted keys and no spaces; equal values give equal text.

    Raises:
        ValueError: for what JSON cannot hold, NaN and infinities included.
    """
    try:
        return json.dumps(
            value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        )
    except TypeError as error:
        raise ValueError(f"A description holds a value that JSON cannot: {error}") from error


def sha256_json(value: object) -> str:
    """SHA-256 of the canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


@cache
def library_versions() -> dict[str, str]:
    """Versions of everything that decides results, this project's own code by its digest."""
    found = {
        "python": platform.python_version(),
        "attacks": source_digest(Path(attacks.__path__[0])),
        "benchmarks": source_digest(Path(__file__).parent, besides=("speed", "studies")),
    }
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found | added_packages(("attacks", "corruptions"))


def added_packages(kinds: Sequence[str]) -> dict[str, str]:
    """The packages whose entry points add attacks, defenses or corruptions: version and digest.

    Whether their entries are used is not asked: an attack may be hidden in another one's settings.
    """
    found: dict[str, str] = {}
    for kind in kinds:
        for entry in _entry_points(kind, _folders()):
            if entry.dist is None:
                continue
            code = _code_digest(entry)
            found[f"package {entry.dist.name}"] = f"{entry.dist.version} {code}".rstrip()
    return found


@lru_cache(maxsize=8)
def _entry_points(
    kind: str, folders: tuple[tuple[str, int], ...]
) -> Sequence[importlib.metadata.EntryPoint]:
    """Ours of all that is installed: to look takes longer than to train a small epoch."""
    return tuple(importlib.metadata.entry_points(group=f"workbench.{kind}"))


def _folders() -> tuple[tuple[str, int], ...]:
    """Where packages are looked for, and when something was last installed there."""
    folders = [Path(folder).absolute() for folder in sys.path]
    return tuple((str(each), each.stat().st_mtime_ns) for each in folders if each.exists())


def source_digest(folder: Path, besides: Sequence[str] = ()) -> str:
    """A digest of a folder's Python files: an edited attack must not reuse an older result.

    Those in the subfolders ``besides`` decide no result.
    """
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        name = file.relative_to(folder).as_posix()
        if name.partition("/")[0] not in besides:
            digest.update(f"{name}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def _code_digest(entry: importlib.metadata.EntryPoint) -> str:
    """Of the package, or the module of one file, that an entry is in; empty if there is none."""
    try:
        spec = importlib.util.find_spec(entry.module.partition(".")[0])  # imports nothing
    except (
        ImportError,
        ValueError,
        AttributeError,
    ):  # malformed, and no use to anyone
        return ""
    if spec is None or spec.origin is None or not spec.has_location:
        return ""
    origin = Path(spec.origin)
    if origin.name == "__init__.py":
        return source_digest(origin.parent)
    return hashlib.sha256(origin.read_bytes()).hexdigest()[:16]
