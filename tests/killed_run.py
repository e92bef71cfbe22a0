"""Small runs in processes of their own, to be killed: ``python killed_run.py``.

Reads folders from stdin, one a line; for each it starts a process (by forking, which spares the
imports), prints its number, what it says, and ``ended`` with its exit status. A run says a line
when each cell is stored, and ``merged`` at the end.
"""

import os
import sys
import time
from pathlib import Path
from unittest import mock

from measuring_case import conditions, small_plan, swap

from benchmarks import CellStore, Condition, Corrupted, Plan, merge, planning, run


def slow(model, images, labels, *, targets=None, seeds=None):
    """Take some time, so that a kill may fall into the attack too."""
    time.sleep(0.01)
    return swap(model, images, labels, targets=targets, seeds=seeds)


def inverted(shard, rows):
    """A corruption that takes some time too."""
    time.sleep(0.01)
    return 1 - shard.images


def planned() -> Plan:
    """What is run, and what an uninterrupted run is compared with.

    The versions are fixed, so that an edit of the source between two kills does not change it.
    """
    attacks = [Condition("slow", slow), *conditions()]
    corruptions = [
        Corrupted(name, severity, {"made": "inverted"}, inverted)
        for name in ("fog", "contrast")
        for severity in (1, 3)
    ]
    with mock.patch.object(planning, "library_versions", return_value={"all": "fixed"}):
        return small_plan(conditions=attacks, corruptions=corruptions, keep_images=True)


def say(line: str) -> None:
    """Tell the process that will kill this one."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def work(folder: Path) -> None:
    """Run what is left and merge."""
    todo, store = planned(), CellStore(folder / "cells")
    for outcome in run(todo, store):
        say(f"{outcome.status} {outcome.cell.digest}")
    merge(todo, store, folder / "record.h5")
    say("merged")


def main() -> None:
    """Start a run for each line."""
    for line in sys.stdin:
        child = os.fork()
        if not child:
            say(str(os.getpid()))
            work(Path(line.rstrip("\n")))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        say(f"ended {status}")


if __name__ == "__main__":
    main()
