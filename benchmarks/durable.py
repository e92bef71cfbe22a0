"""Files that are whole or absent, whatever happens while they are written.

Each is written under another name in the same folder, flushed to the disk, moved into place and
the folder flushed (os.replace is atomic only within a file system; without the folder's fsync the
move itself may be lost with the power). Of cells and records the SHA-256 stands beside the file in
``NAME.sha256``, in the form that ``sha256sum --check`` reads, and is written after it: without a
matching checksum they are not finished.
"""

import errno
import hashlib
import io
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any


def checksum_path(path: Path) -> Path:
    """Where the checksum of ``path`` is."""
    return path.with_name(path.name + ".sha256")


def write_bytes(path: Path, content: bytes) -> None:
    """Put ``content`` at ``path``, with its checksum beside it.

    Raises:
        OSError: if it cannot be written; then nothing of it is left behind.
    """
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(content)


@contextmanager
def atomically(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to; on leaving, flush it and move it to ``path``.

    If the block, or what follows it, raises, the temporary file is removed and the earlier file at
    ``path``, if any, stays. A kill may leave the temporary file; see `remove_leftovers`.

    Raises:
        OSError: what is at ``path`` is no file (a device, a pipe), which would be lost.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "Not a file that can be replaced", str(path))
    temporary = _temporary(path)
    try:
        yield temporary
        _flush(temporary)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _flush_folder(path.parent)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """As `atomically`, with the checksum put beside the file."""
    with atomically(path) as temporary:
        yield temporary
        _flush(temporary)  # before the old checksum goes: a full disk must not cost it
        digest = sha256_file(temporary)
        # At no moment does a checksum stand beside another content.
        checksum_path(path).unlink(missing_ok=True)
    _write_checksum(path, digest)


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def stored_checksum(path: Path) -> str | None:
    """The checksum that stands beside ``path``, or None if there is none that can be read."""
    try:
        words = checksum_path(path).read_text(encoding="ascii").split()
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    return words[0] if words else None


def read_checked(path: Path) -> bytes | None:
    """The content of a file whose checksum matches, or None."""
    expected = stored_checksum(path)
    if expected is None:
        return None
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    return content if hashlib.sha256(content).hexdigest() == expected else None


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files that a killed process left in ``folder``."""
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink(missing_ok=True)


class Sink(io.RawIOBase):
    """A new file for HDF5 to write into, whose writes never raise.

    HDF5 2.0 ends the process with a segmentation fault when a write fails (a full disk) and when
    Ctrl-C interrupts a Python function it has called. So an error is kept, later writes are
    dropped, and `check` raises it where HDF5 is not in the middle of something.
    """

    def __init__(self, path: Path) -> None:
        """Create or empty the file at ``path``."""
        self._file = open(path, "wb+", buffering=0)  # noqa: SIM115 -- closed in close()
        self._error: OSError | None = None
        self._path = path
        self.interrupted = False

    def check(self) -> None:
        """Raise what has gone wrong so far.

        Raises:
            OSError: if a write failed, with the file's name.
            KeyboardInterrupt: if Ctrl-C was pressed.
        """
        if self.interrupted:
            raise KeyboardInterrupt
        if self._error is not None:
            raise OSError(self._error.errno, self._error.strerror, str(self._path))

    def write(self, data: Any, /) -> int:
        """Write all of ``data``, or keep the error."""
        view = memoryview(data).cast("B")
        try:
            done = 0
            while self._error is None and done < len(view):
                done += self._file.write(view[done:])
        except OSError as error:
            self._error = error
        return len(view)

    def truncate(self, size: int | None = None, /) -> int:
        """Cut or extend the file, or keep the error."""
        try:
            return self._file.truncate(size)
        except OSError as error:
            self._error = self._error or error
            return size or 0

    def readinto(self, buffer: Any, /) -> int:
        """Fill ``buffer`` from the file."""
        return self._file.readinto(buffer)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move to ``offset``."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Where the file is."""
        return self._file.tell()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


@contextmanager
def sink(path: Path) -> Iterator[Sink]:
    """A `Sink` at ``path`` that holds Ctrl-C back until its next `check`, or the end."""
    target = Sink(path)
    in_main = threading.current_thread() is threading.main_thread()

    def hold(_signal: int, _frame: FrameType | None) -> None:
        target.interrupted = True

    before = signal.signal(signal.SIGINT, hold) if in_main else None
    try:
        yield target
        target.check()
    finally:
        if in_main:
            signal.signal(signal.SIGINT, before)
        target.close()


def _temporary(path: Path) -> Path:
    """Hidden, lest a leftover be taken for content; of this process, so that two can write."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def _write_checksum(path: Path, digest: str) -> None:
    target = checksum_path(path)
    temporary = _temporary(target)
    try:
        # Not flushed: a checksum lost with the power only has the file made again.
        temporary.write_text(f"{digest}  {path.name}\n", encoding="ascii")
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open a folder, and needs no flush of it
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
