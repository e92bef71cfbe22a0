"""Kill a small run at random moments, again and again: ``python stress_kills.py [KILLS] [SEED]``.

After each kill, the cells that were reported as stored must be read back unchanged. After every
other one the newest file is cut short, as if the power had gone with its last pages unwritten: its
cell, and no other, must be gone. Runs of attacks and corruptions are killed and resumed until they
finish; each finished record must equal an uninterrupted one.
"""

import itertools
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from killed_run import planned

from benchmarks import CellStore, read_record, same_data

SCRIPT = Path(__file__).with_name("killed_run.py")

ENVIRONMENT = os.environ | {
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": os.pathsep.join([str(SCRIPT.parents[1]), str(SCRIPT.parent)]),
}


@dataclass
class Tally:
    """What was done so far."""

    kills: int = 0
    cuts: int = 0
    finished: int = 0


@contextmanager
def server() -> Iterator["subprocess.Popen[str]"]:
    """The process that starts runs."""
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=ENVIRONMENT,
    )
    try:
        yield process
    finally:
        process.communicate()


class Run:
    """A run that was started, or resumed, in a process of its own."""

    def __init__(self, process: "subprocess.Popen[str]", folder: Path) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{folder}\n")
        process.stdin.flush()
        self.said = process.stdout
        self.number = int(self.said.readline())
        self.first = self.said.readline().rstrip("\n")

    def end(self) -> list[str]:
        """All that it said, once it has ended; the last line is ``ended STATUS``."""
        lines = [self.first]
        while not lines[-1].startswith("ended"):
            lines.append(self.said.readline().rstrip("\n"))
        return lines


def reference(process: "subprocess.Popen[str]", folder: Path) -> tuple[Path, float]:
    """The record of a run that nobody disturbs, and its seconds from the first cell to the end."""
    run = Run(process, folder)
    began = time.perf_counter()
    run.end()
    return folder / "record.h5", time.perf_counter() - began


def kill_once(
    process: "subprocess.Popen[str]", folder: Path, delay: float
) -> tuple[set[str], bool]:
    """Run for ``delay`` seconds after the first cell is dealt with, then SIGKILL.

    Returns the digests of the cells that were reported as stored, and whether it had finished.
    """
    run = Run(process, folder)
    time.sleep(delay)
    with suppress(ProcessLookupError):  # it has ended
        os.kill(run.number, signal.SIGKILL)
    lines = run.end()
    stored = {line.split()[1] for line in lines if line.startswith(("done", "cached"))}
    return stored, "merged" in lines


def readable(folder: Path) -> set[str]:
    """The digests of the cells that the store gives back."""
    store = CellStore(folder / "cells")
    return {cell.digest for cell in planned().cells if store.read(cell) is not None}


def cut_newest(cells: Path, choose: random.Random) -> str | None:
    """Cut the newest cell, or its images, at a random length; returns the cell's digest."""
    files = [path for path in cells.glob("*.h5") if path.stat().st_size]
    if not files:
        return None
    newest = max(files, key=lambda path: path.stat().st_mtime_ns)
    os.truncate(newest, choose.randrange(newest.stat().st_size))
    return newest.name.partition(".")[0]


def survives(
    process: "subprocess.Popen[str]",
    folder: Path,
    whole: Path,
    delays: Iterator[float],
    tally: Tally,
    limit: int,
    choose: random.Random,
) -> None:
    """Kill and resume one run until it finishes, or ``limit`` kills are reached.

    Raises:
        RuntimeError: if a stored cell is lost or the record differs.
    """
    done = False
    while not done and tally.kills < limit:
        stored, done = kill_once(process, folder, next(delays))
        tally.kills += not done
        expected = stored
        if not done and tally.kills % 2:
            cut = cut_newest(folder / "cells", choose)
            tally.cuts += cut is not None
            expected = stored - {cut}
            if cut in readable(folder):
                raise RuntimeError(f"a cell that was cut short is read in {folder}")
        if lost := expected - readable(folder):
            raise RuntimeError(f"{len(lost)} stored cells are lost in {folder}")
        if (folder / "record.h5").exists():
            read_record(folder / "record.h5")
    if Run(process, folder).end()[-1] != "ended 0":
        raise RuntimeError(f"the resumed run in {folder} failed")
    differences = same_data(folder / "record.h5", whole)
    if differences:
        raise RuntimeError(f"the record in {folder} differs: {differences}")
    if list((folder / "cells").glob("*.tmp")):
        raise RuntimeError(f"half files are left in {folder}")
    tally.finished += 1


def main(kills: int = 50, seed: int = 0) -> Tally:
    """Kill ``kills`` times in all."""
    choose, tally = random.Random(seed), Tally()
    with tempfile.TemporaryDirectory() as folder, server() as process:
        whole, seconds = reference(process, Path(folder, "whole"))
        delays = (choose.uniform(0, 0.9 * seconds) for _ in itertools.count())
        while tally.kills < kills:
            survives(
                process, Path(folder, str(tally.finished)), whole, delays, tally, kills, choose
            )
            sys.stdout.write(
                f"{tally.kills} kills, {tally.cuts} files cut short, "
                f"{tally.finished} records equal\n"
            )
            sys.stdout.flush()
    return tally


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
