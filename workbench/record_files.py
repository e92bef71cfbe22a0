"""Where a record is that a person names."""

from pathlib import Path

from workbench.errors import UsageError


def find_record(path: Path) -> Path:
    """The record at ``path``, which may be the run directory that it is in.

    Raises:
        UsageError: a directory without a record.
    """
    if not path.is_dir():
        return path
    record = path / "record.h5"
    if not record.is_file():
        unfinished = (path / "config.json").is_file()
        raise UsageError(
            f"{path} holds no record.h5"
            + (": the run is not finished; run its command again." if unfinished else ".")
        )
    return record
