"""The one sink for output: what goes where in each mode, and how progress is told."""

import json
import os
import pty
import subprocess
import sys

import numpy as np
import pytest
from rich.table import Table
from rich.text import Text

from workbench import console as module
from workbench.console import Console, duration, make_console


@pytest.mark.parametrize(
    ("flags", "out", "err"),
    [
        ((False, False), "shown\n", ["noted", "warning: careful", "error: wrong"]),
        (
            (True, False),
            '{"schema_version": 1, "a": 1}',
            ["noted", "warning: careful", "error: wrong"],
        ),
        ((False, True), "essential\n", ["warning: careful", "error: wrong"]),
        ((True, True), '{"schema_version": 1, "a": 1}', ["warning: careful", "error: wrong"]),
    ],
    ids=["human", "json", "quiet", "json and quiet"],
)
def test_what_goes_where(
    capsys: pytest.CaptureFixture[str], flags: tuple[bool, bool], out: str, err: list[str]
) -> None:
    console = make_console(json_output=flags[0], quiet=flags[1])
    console.show("shown")
    console.essential("essential")
    console.document({"a": 1})
    console.note("noted")
    console.warn("careful")
    console.error("wrong")
    found = capsys.readouterr()
    assert found.err.splitlines() == err
    if flags[0]:
        assert json.loads(found.out) == json.loads(out)
    else:
        assert found.out == out


def test_json_has_no_nan_and_takes_numpy_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    values = {"nan": float("nan"), "list": [np.float32(0.5), np.int64(3), np.nan], "none": None}
    Console("json").document(values)
    document = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert document == {"schema_version": 1, "nan": None, "list": [0.5, 3, None], "none": None}


def test_text_is_never_taken_for_markup(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    console.show("a [bold]b[/bold] " + "x" * 300)
    console.warn("[red]c[/red]")
    console.error("[/]")
    found = capsys.readouterr()
    assert found.out == "a [bold]b[/bold] " + "x" * 300 + "\n"
    assert found.err == "warning: [red]c[/red]\nerror: [/]\n"


def test_control_characters_do_not_reach_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "net\x1b]0;title\x07 \x9b2Jé end"
    table = Table("model")
    table.add_row(Text(hostile))
    Console().show(hostile, table)
    Console().essential(hostile)
    Console().warn(hostile)
    Console(mode="json").document({"name": hostile})
    shown = capsys.readouterr()
    assert not set(shown.out + shown.err) & {"\x1b", "\x07", "\x9b"}
    assert shown.out.count("net]0;title 2Jé end") == 2
    assert json.loads(shown.out[shown.out.index("{") :])["name"] == hostile


def test_progress_without_a_terminal_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    with Console().progress(100, unit="images", description="net, fgsm") as progress:
        progress.started = progress.said = 0.0
        for _ in range(8):
            now[0] += 2
            progress.advance(10, detail="cell 1 of 2")
        progress.skip(20)
    assert capsys.readouterr().err.splitlines() == [
        "net, fgsm: 30 of 100 images, cell 1 of 2, 6.0 s elapsed, about 14 s left",
        "net, fgsm: 60 of 100 images, cell 1 of 2, 12 s elapsed, about 8.0 s left",
        "net, fgsm: 80 of 80 images, cell 1 of 2, 16 s elapsed",
    ]


def test_quiet_progress_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with make_console(json_output=False, quiet=True).progress(2, unit="cells") as progress:
        progress.advance(2)
    assert capsys.readouterr().err == ""


SHOW = """
from workbench.console import Console
console = Console()
with console.progress(2, unit="images", description="[net]") as progress:
    progress.advance(1, detail="cell 1 of 2")
    progress.advance(1)
console.warn("careful")
"""


@pytest.mark.parametrize("no_color", [False, True])
def test_a_terminal_gets_a_bar_and_colours_unless_refused(no_color: bool) -> None:
    leader, follower = pty.openpty()
    environment = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "FORCE_COLOR"}}
    environment |= {"TERM": "xterm-256color", "COLUMNS": "100"}
    environment |= {"NO_COLOR": "1"} if no_color else {}
    process = subprocess.Popen(
        [sys.executable, "-c", SHOW], stdout=follower, stderr=follower, env=environment
    )
    assert process.wait(timeout=300) == 0
    os.close(follower)
    text = os.read(leader, 100_000).decode()
    os.close(leader)
    assert "2/2" in text
    assert "[net]" in text
    assert ("\x1b[33m" in text) != no_color


TRAIN = """
from workbench.console import Console
with Console().progress(72000, unit="images", description="epoch 1/8") as progress:
    progress.advance(1)
    progress.advance(5999, detail="loss 0.902, accuracy 68.6 %, 36,280 images/s")
"""


@pytest.mark.parametrize("columns", [80, 120])
def test_the_bar_shows_everything_at_any_usual_width(columns: int) -> None:
    leader, follower = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "NO_COLOR": "1", "COLUMNS": str(columns)}
    process = subprocess.Popen(
        [sys.executable, "-c", TRAIN], stdout=follower, stderr=follower, env=environment
    )
    assert process.wait(timeout=300) == 0
    os.close(follower)
    text = os.read(leader, 100_000).decode()
    os.close(leader)
    assert "6000/72000" in text
    for word in ("0.902", "68.6", "36,280", "images/s", "left:", "0:00:0"):
        assert word in text
    assert "…" not in text


def test_durations() -> None:
    assert [duration(s) for s in (0, 9.96, 59.4, 60, 3599, 3600)] == [
        *["0.0 s", "10.0 s", "59 s", "1 min 0 s", "59 min 59 s", "1 h 0 min"]
    ]
