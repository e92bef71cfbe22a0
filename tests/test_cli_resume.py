"""Ctrl-C and SIGKILL: finished cells survive, the same command resumes, the record is the same."""

import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli_case import ARCH, workbench, write_checkpoint, write_data

from benchmarks import same_data

SLOW = "pgd(eps=0.1, steps=200, stop=never)"  # some tenths of a second for each cell


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A command line that takes a few seconds, in an empty current directory."""
    monkeypatch.chdir(tmp_path)
    write_data(tmp_path / "data.npz")
    checkpoint = write_checkpoint(tmp_path / "net.pt")
    data = ["--data", "data.npz", "--shard-size", "4", "--save-images", "2", "--threads", "1"]
    return ["attack", str(checkpoint), *ARCH, *data, "--attack", SLOW]


def finished(folder: Path) -> set[Path]:
    """The finished cells of a run directory: those with their checksum beside them."""
    cells = {path for path in folder.glob("cells/*.h5") if not path.name.endswith(".images.h5")}
    return {path for path in cells if path.with_name(f"{path.name}.sha256").exists()}


def stopped(command: list[str], folder: Path, cells: int, sign: signal.Signals) -> tuple[int, str]:
    """Start the command, signal it once so many cells are finished; exit code and stderr."""
    process = subprocess.Popen(
        [sys.executable, "-m", "workbench", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        end = time.monotonic() + 300
        while len(finished(folder)) < cells:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end, "the first cells took too long"
            time.sleep(0.01)
        process.send_signal(sign)
        _, err = process.communicate(timeout=300)
    finally:
        process.kill()
        process.wait()
    return process.returncode, err


def times(paths: set[Path]) -> dict[Path, int]:
    """When each file was last written."""
    return {path: path.stat().st_mtime_ns for path in paths}


def test_killed_then_interrupted_then_resumed_equals_uninterrupted(command: list[str]) -> None:
    folder = Path("runs/attack-net-1")
    code, _ = stopped(command, folder, 2, signal.SIGKILL)
    assert code == -signal.SIGKILL
    survived = times(finished(folder))

    code, err = stopped([*command, "--output", str(folder)], folder, 4, signal.SIGINT)
    assert code == 130, err
    assert "Traceback" not in err
    assert not (folder / "record.h5").exists()
    assert times(set(survived)) == survived  # what was finished was not made anew
    line = err.strip().splitlines()[-1]
    assert line == shlex.join(["workbench", *command, "--output", str(folder)])

    resumed = workbench(*shlex.split(line)[1:], "--quiet")
    assert resumed.code == 0, resumed.err
    assert times(set(survived)) == survived
    whole = workbench(*command, "--quiet")
    assert whole.out == "runs/attack-net-2/record.h5\n"
    assert same_data(folder / "record.h5", Path(whole.out.strip())) == []
