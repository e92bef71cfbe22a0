"""Faults while a run is written: nothing half written stays, and what was finished survives."""

import errno
import itertools
import os
import random
import re
import signal
import subprocess
import sys

import pytest
import stress_kills
from killed_run import planned as killed_plan
from measuring_case import entry, finished, small_plan, swap

from benchmarks import CellStore, Condition, durable, merge, run, same_data


class FaultError(OSError):
    """What an injected fault raises."""


class Failing:
    """A function that raises at its n-th call, before or after doing its work."""

    def __init__(self, function, nth, *, after, error):
        self.function, self.left, self.after, self.error = function, nth, after, error

    def __call__(self, *args, **kwargs):
        self.left -= 1
        if self.left == 0 and not self.after:
            raise self.error
        result = self.function(*args, **kwargs)
        if self.left == 0:
            raise self.error
        return result


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return finished(tmp_path_factory.mktemp("whole"), plan_here())[2]


def plan_here():
    one = {"models": [entry()], "conditions": [Condition("swap", swap)]}
    return small_plan(keep_images=True, shard_size=10, **one)


def resume(folder):
    work, store = plan_here(), CellStore(folder / "cells")
    statuses = [outcome.status for outcome in run(work, store)]
    merge(work, store, folder / "record.h5")
    return statuses


def files(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


STEPS = {
    "replace": (os, "replace"),
    "fsync": (os, "fsync"),
    "checksum": (durable, "_write_checksum"),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_fault_at_any_step_of_any_write_loses_nothing_else(
    tmp_path, whole, monkeypatch, step, after
):
    module, name = STEPS[step]
    reached = 0
    errors = itertools.cycle([FaultError(errno.EIO, "I/O error"), KeyboardInterrupt()])
    for nth, error in zip(range(1 + after, 40, 3), errors, strict=False):
        folder = tmp_path / str(nth)
        with monkeypatch.context() as patch:
            failing = Failing(getattr(module, name), nth, after=after, error=error)
            patch.setattr(module, name, failing)
            try:
                resume(folder)
            except type(error):
                reached += 1
        if failing.left > 0:
            break
        assert [file for file in files(folder) if file.endswith(".tmp")] == []
        before = {
            cell.digest for cell in plan_here().cells if CellStore(folder / "cells").read(cell)
        }
        statuses = resume(folder)
        assert statuses.count("cached") == len(before)
        assert same_data(folder / "record.h5", whole) == []
    assert reached >= 2


def test_an_interrupt_at_each_yield_loses_nothing(tmp_path, whole):
    for stop in range(1, len(plan_here().cells) + 1):
        folder = tmp_path / str(stop)
        cells = run(plan_here(), CellStore(folder / "cells"))
        for _ in range(stop):
            next(cells)
        with pytest.raises(KeyboardInterrupt):
            cells.throw(KeyboardInterrupt())
        statuses = resume(folder)
        assert statuses == ["cached"] * stop + ["done"] * (len(statuses) - stop)
        assert same_data(folder / "record.h5", whole) == []


@pytest.mark.parametrize("content", [b"", b"\0" * 100])
def test_files_that_a_power_cut_emptied_are_made_again(tmp_path, whole, content):
    resume(tmp_path)
    for path in (tmp_path / "cells").iterdir():
        path.write_bytes(content)
    assert set(resume(tmp_path)) == {"done"}
    assert same_data(tmp_path / "record.h5", whole) == []


def test_a_full_disk_is_told_with_its_number_and_file(tmp_path, monkeypatch):
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(os, "fsync", Failing(os.fsync, 5, after=False, error=full))
    with pytest.raises(OSError, match="No space left") as caught:
        resume(tmp_path)
    assert caught.value.errno == errno.ENOSPC
    assert [file for file in files(tmp_path) if file.endswith(".tmp")] == []


LIMITED = """
import resource, signal, sys
from pathlib import Path
from killed_run import planned
from benchmarks import CellStore, merge
folder, limits = Path(sys.argv[1]), map(int, sys.argv[2:])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for limit in limits:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        merge(planned(), CellStore(folder / "cells"), folder / "record.h5")
    except OSError as error:
        sys.stdout.write(f"{error.errno} {error.filename}\\n")
"""


def test_a_record_that_does_not_fit_is_an_error_and_not_a_crash(tmp_path):
    _, _, path = finished(tmp_path, killed_plan())
    before = path.read_bytes()
    limits = [0, 5000, *(len(before) * k // 9 for k in range(1, 9)), len(before) - 1]
    found = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path), *map(str, limits)],
        capture_output=True,
        text=True,
        check=False,
        env=stress_kills.ENVIRONMENT,
    )
    # HDF5 itself, were it to meet a failed write, would die with signal 11.
    assert found.returncode == 0, found.stderr
    told = re.escape(f"{errno.EFBIG} {path.parent}/.record.h5.") + r"\d+\.tmp"
    lines = found.stdout.splitlines()
    assert [bool(re.fullmatch(told, line)) for line in lines] == [True] * len(limits), found.stdout
    assert path.read_bytes() == before
    assert [file for file in files(tmp_path) if file.endswith(".tmp")] == []


def test_an_interrupt_while_the_record_is_written_waits_for_a_safe_moment(tmp_path, monkeypatch):
    planned, store, path = finished(tmp_path)
    before = path.read_bytes()
    write = durable.Sink.write

    def interrupting(self, data, /):
        signal.raise_signal(signal.SIGINT)  # what Ctrl-C does, at the worst moment
        return write(self, data)

    monkeypatch.setattr(durable.Sink, "write", interrupting)
    with pytest.raises(KeyboardInterrupt):
        merge(planned, store, path)
    assert path.read_bytes() == before
    assert [file for file in files(tmp_path) if file.endswith(".tmp")] == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_previous_record_stays_until_the_new_one_is_whole(tmp_path, monkeypatch):
    planned, store, path = finished(tmp_path)
    before = path.read_bytes()
    monkeypatch.setattr(os, "replace", Failing(os.replace, 1, after=False, error=FaultError("no")))
    with pytest.raises(FaultError):
        merge(planned, store, path)
    assert path.read_bytes() == before


@pytest.mark.slow
def test_runs_killed_at_random_moments_end_with_the_same_record(tmp_path):
    tally, choose = stress_kills.Tally(), random.Random(1)
    with stress_kills.server() as process:
        whole, seconds = stress_kills.reference(process, tmp_path / "whole")
        delays = iter([seconds * share for share in (0.1, 0.3, 0.2)])
        killed = tmp_path / "killed"
        stress_kills.survives(process, killed, whole, delays, tally, limit=3, choose=choose)
    assert tally.kills >= 1
    assert tally.cuts >= 1
    assert tally.finished == 1


def test_what_is_no_file_is_not_replaced(tmp_path):
    """Moving a file over a device or a pipe would take it from everybody else."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="Not a file"), durable.atomically(pipe) as temporary:
        temporary.write_bytes(b"content")
    assert pipe.is_fifo()
    assert [entry.name for entry in tmp_path.iterdir()] == ["pipe"]
