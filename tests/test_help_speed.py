"""Help, the version and completion answer without loading torch or anything as slow."""

import json
import os
import subprocess
import sys

import pytest

SLOW = ["torch", "torchvision", "timm", "matplotlib", "h5py", "numpy", "foolbox", "scipy", "PIL"]
PROBE = f"""
import json, sys
from workbench.app import run
code = run(sys.argv[1:])
loaded = [name for name in {SLOW!r} if name in sys.modules]
sys.stderr.write("\\n" + json.dumps({{"code": code, "loaded": loaded}}))
"""


def probe(arguments: list[str], **environment: str) -> tuple[str, dict[str, object]]:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "NO_COLOR": "1", **environment},
    )
    report: dict[str, object] = json.loads(done.stderr.strip().splitlines()[-1])
    return done.stdout, report


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--help"], "attack"),
        (["attack", "--help"], "--save-images"),
        (["check", "-h"], "--data"),
        (["train", "--help"], "--epochs"),
        (["probe", "--help"], "--dial"),
        (["stylizer", "--help"], "--encoder"),
        (["list", "--help"], "datasets"),
        (["list", "studies"], "s4"),
        (["study", "--help"], "--scale"),
        (["verify", "--help"], "RECORD"),
        (["show", "--help"], "RECORD"),
        (["export", "--help"], "--per-image"),
        (["merge", "--help"], "--baseline"),
        (["--version"], "workbench "),
    ],
    ids=" ".join,
)
def test_help_loads_nothing_slow(arguments: list[str], expected: str) -> None:
    out, report = probe(arguments, COLUMNS="120")
    assert report == {"code": 0, "loaded": []}
    assert expected in out


def test_wrong_use_loads_nothing_slow() -> None:
    assert probe(["attak"])[1] == {"code": 2, "loaded": []}


def test_completion_loads_nothing_slow() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-X",
            "importtime",
            "-m",
            "workbench",
        ],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "_WORKBENCH_COMPLETE": "complete_bash",
            "COMP_WORDS": "workbench at",
            "COMP_CWORD": "1",
        },
    )
    assert done.stdout.split() == ["attack"]
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not imported & set(SLOW)
