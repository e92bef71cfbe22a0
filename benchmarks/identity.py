"""What decides a result, as text that can be compared: canonical JSON, digests, versions."""

import hashlib
import importlib.metadata
import json
import platform
from functools import cache
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
        "benchmarks": source_digest(Path(__file__).parent),
    }
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def source_digest(folder: Path) -> str:
    """A digest of a folder's Python files: an edited attack must not reuse an older result."""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        digest.update(f"{file.relative_to(folder).as_posix()}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]
