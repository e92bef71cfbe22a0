"""Kill a small run at random moments, again and again: ``python stress_kills.py [KILLS] [SEED]``.

After each kill, the cells that were reported as stored must be read back unchanged. Runs are
killed and resumed until they finish; each finished record must equal an uninterrupted one.
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
    finished: int = 0


def reference(folder: Path) -> tuple[Path, float]:
    """The record of a run that nobody disturbs, and its seconds from the first cell to the end."""
    process = start(folder)
    assert process.stdout is not None
    process.stdout.readline()
    began = time.perf_counter()
    process.communicate()
    return folder / "record.h5", time.perf_counter() - began


def start(folder: Path) -> "subprocess.Popen[str]":
    """Start, or resume, a run in another process."""
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=ENVIRONMENT,
    )


def kill_once(folder: Path, delay: float) -> tuple[set[str], bool]:
    """Run for ``delay`` seconds after the first cell is dealt with, then SIGKILL.

    Returns the digests of the cells that were reported as stored, and whether it had finished.
    """
    process = start(folder)
    assert process.stdout is not None
    first = process.stdout.readline()
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    lines = [first, *process.stdout.read().splitlines()]
    process.wait()
    stored = {line.split()[1] for line in lines if line.startswith(("done", "cached"))}
    return stored, "merged" in lines


def survives(folder: Path, whole: Path, delays: Iterator[float], tally: Tally, limit: int) -> None:
    """Kill and resume one run until it finishes, or ``limit`` kills are reached.

    Raises:
        RuntimeError: if a stored cell is lost or the record differs.
    """
    done = False
    while not done and tally.kills < limit:
        stored, done = kill_once(folder, next(delays))
        tally.kills += not done
        store = CellStore(folder / "cells")
        there = {cell.digest for cell in planned().cells if store.read(cell) is not None}
        if stored - there:
            raise RuntimeError(f"{len(stored - there)} stored cells are lost in {folder}")
        if (folder / "record.h5").exists():
            read_record(folder / "record.h5")
    process = start(folder)
    process.communicate()
    if process.returncode:
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
    with tempfile.TemporaryDirectory() as folder:
        whole, seconds = reference(Path(folder, "whole"))
        delays = (choose.uniform(0, 0.7 * seconds) for _ in itertools.count())
        while tally.kills < kills:
            survives(Path(folder, str(tally.finished)), whole, delays, tally, kills)
            sys.stdout.write(f"{tally.kills} kills, {tally.finished} records equal\n")
            sys.stdout.flush()
    return tally


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
