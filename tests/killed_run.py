"""A small run in a process of its own, to be killed: ``python killed_run.py FOLDER``.

Prints a line when each cell is stored, and ``merged`` at the end.
"""

import sys
import time
from pathlib import Path
from unittest import mock

from measuring_case import conditions, small_plan, swap

from benchmarks import CellStore, Condition, Plan, merge, planning, run


def slow(model, images, labels, *, targets=None, seeds=None):
    """Take some time, so that a kill may fall into the attack too."""
    time.sleep(0.01)
    return swap(model, images, labels, targets=targets, seeds=seeds)


def planned() -> Plan:
    """What is run, and what an uninterrupted run is compared with.

    The versions are fixed, so that an edit of the source between two kills does not change it.
    """
    attacks = [Condition("slow", slow), *conditions()]
    with mock.patch.object(planning, "library_versions", return_value={"all": "fixed"}):
        return small_plan(conditions=attacks, keep_images=True)


def say(line: str) -> None:
    """Tell the process that will kill this one."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(folder: Path) -> None:
    """Run what is left and merge."""
    work, store = planned(), CellStore(folder / "cells")
    for outcome in run(work, store):
        say(f"{outcome.status} {outcome.cell.digest}")
    merge(work, store, folder / "record.h5")
    say("merged")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
