"""Run directories: numbering, description, locking, resuming."""

import json
import os
import shlex
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from workbench.errors import UsageError
from workbench.run_directory import (
    RunDirectory,
    differences,
    next_directory,
    open_run,
    resume_command,
    slug,
    write_atomically,
)

CONFIG = {"seed": 0, "attacks": ["fgsm(eps=0.03)"], "data": {"limit": 5, "digest": "ab"}}
HOLDER = """
import sys
from pathlib import Path
from workbench.run_directory import open_run
with open_run(Path(sys.argv[1]), verb="attack", name="m", config={"seed": 0}, arguments=["attack"]):
    print("held", flush=True)
    sys.stdin.read()
"""


def start(path: Path | None, root: Path, config: dict[str, object] = CONFIG) -> RunDirectory:
    with open_run(
        path, verb="attack", name="net a/b", config=config, arguments=["attack", "x y"], root=root
    ) as run:
        return run


def test_directories_are_numbered_from_one_and_described(tmp_path: Path) -> None:
    first, second = start(None, tmp_path), start(None, tmp_path)
    assert [first.path.name, second.path.name] == ["attack-net-a-b-1", "attack-net-a-b-2"]
    description = json.loads((first.path / "config.json").read_text())
    assert description["config"] == CONFIG
    assert shlex.split(description["command"]) == ["workbench", "attack", "x y"]
    assert first.cells.is_dir()
    assert not first.resumed


def test_numbers_go_on_after_the_highest(tmp_path: Path) -> None:
    for name in ["attack-m-2", "attack-m-10", "attack-m-x", "attack-mm-40", "check-m-30"]:
        (tmp_path / name).mkdir()
    assert next_directory("attack", "m", tmp_path).name == "attack-m-11"


def test_many_at_once_get_a_directory_each(tmp_path: Path) -> None:
    paths: list[Path] = []
    threads = [
        threading.Thread(target=lambda: paths.append(next_directory("attack", "m", tmp_path)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(paths)) == 8


def test_the_same_configuration_resumes_and_keeps_what_is_there(tmp_path: Path) -> None:
    first = start(None, tmp_path)
    (first.cells / "one.h5").write_bytes(b"cell")
    again = start(first.path, tmp_path)
    assert again.resumed
    assert (again.cells / "one.h5").read_bytes() == b"cell"


def test_another_configuration_is_refused_naming_what_differs(tmp_path: Path) -> None:
    first = start(None, tmp_path)
    other = {**CONFIG, "seed": 1, "data": {"limit": 5, "digest": "cd"}}
    with pytest.raises(UsageError, match=r"seed: 0 there, 1 here; data.digest: ab there, cd here"):
        start(first.path, tmp_path, other)
    assert json.loads((first.path / "config.json").read_text())["config"] == CONFIG


def test_a_run_of_another_verb_is_refused(tmp_path: Path) -> None:
    first = start(None, tmp_path)
    with (
        pytest.raises(UsageError, match="verb: attack there, train here"),
        open_run(first.path, verb="train", name="m", config=CONFIG, arguments=[]),
    ):
        pass


def test_a_folder_with_other_things_and_a_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(b"")
    with pytest.raises(UsageError, match=r"not empty \(photo.png\)"):
        start(tmp_path, tmp_path)
    with pytest.raises(UsageError, match="is a file"):
        start(tmp_path / "photo.png", tmp_path)


def test_a_directory_left_before_its_description_was_written_is_taken_up(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".config.json.1.tmp").write_bytes(b"{")
    assert not start(tmp_path / "run", tmp_path).resumed


def test_what_a_killed_process_left_half_written_is_removed(tmp_path: Path) -> None:
    run = start(tmp_path / "run", tmp_path)
    (run.path / ".record.h5.123.tmp").write_bytes(b"half")
    (run.path / "notes.tmp").write_bytes(b"a person's own")
    assert start(run.path, tmp_path).resumed
    assert not (run.path / ".record.h5.123.tmp").exists()
    assert (run.path / "notes.tmp").exists()


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"{}", b"\xff\xfe", b'{"config": 3}'])
def test_a_damaged_description_is_refused_and_kept(tmp_path: Path, damage: bytes) -> None:
    first = start(None, tmp_path)
    (first.path / "config.json").write_bytes(damage)
    with pytest.raises(UsageError, match="is damaged"):
        start(first.path, tmp_path)
    assert (first.path / "config.json").read_bytes() == damage


def test_a_second_process_is_refused_until_the_first_has_gone(tmp_path: Path) -> None:
    path = tmp_path / "run"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UsageError, match=f"in use by process {holder.pid} on "):
            start(path, tmp_path, {"seed": 0})
    finally:
        holder.kill()  # SIGKILL: nothing is cleaned up, and the lock must go all the same
        holder.communicate()
    assert start(path, tmp_path, {"seed": 0}).resumed


def test_differences_name_paths_and_missing_settings() -> None:
    there = {"a": [1, {"b": 2}], "gone": "x" * 60, "same": 0.5}
    here = {"a": [1, {"b": 3}], "new": None, "same": 0.5}
    assert differences(there, here) == [
        "a[1].b: 2 there, 3 here",
        f"gone: {'x' * 39}… there, nothing here",
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ["attack", "a b.pt", "--eps", "8/255"],
        ["attack", "a b.pt", "--output", "old", "--eps", "8/255"],
        ["attack", "a b.pt", "-o", "old", "--eps", "8/255"],
        ["attack", "a b.pt", "--output=old", "--eps", "8/255"],
    ],
)
def test_the_resume_command_differs_only_in_the_output(arguments: list[str]) -> None:
    assert shlex.split(resume_command(arguments, Path("runs/x 1"))) == [
        *["workbench", "attack", "a b.pt", "--eps", "8/255"],
        *["--output", "runs/x 1"],
    ]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "f"
    write_atomically(file, b"old")

    def no_space(_: int) -> None:
        raise OSError(28, "No space left on device", str(file))

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space"):
        write_atomically(file, b"new")
    assert file.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["f"]


def test_slugs_are_safe_and_never_empty() -> None:
    assert slug("../..") == "run"
    assert slug("a" * 100) == "a" * 40
    assert "/" not in slug("file.py:make/net")


def refuse(path: Path | None, root: Path, made: str | None = None) -> Path:
    """Begin a run whose work is refused, after a file was made or before."""
    begun: list[Path] = []

    def work() -> None:
        with open_run(
            path, verb="explain", name="m", config=CONFIG, arguments=[], root=root
        ) as run:
            begun.append(run.path)
            if made is not None:
                (run.path / made).write_text("done")
            raise UsageError("no such layer")

    with pytest.raises(UsageError, match="no such layer"):
        work()
    return begun[0]


def test_refused_work_leaves_no_directory_and_the_next_may_have_other_settings(
    tmp_path: Path,
) -> None:
    assert not refuse(tmp_path / "new", tmp_path).exists()
    assert not refuse(None, tmp_path).exists()
    assert refuse(None, tmp_path).name == "explain-m-1"
    (tmp_path / "mine").mkdir()
    assert refuse(tmp_path / "mine", tmp_path).is_dir()
    assert not start(tmp_path / "mine", tmp_path, {"seed": 1}).resumed


@pytest.mark.parametrize("made", ["record.h5", "cells/first.h5"])
def test_what_was_made_before_a_refusal_is_kept(tmp_path: Path, made: str) -> None:
    path = refuse(tmp_path / "run", tmp_path, made)
    assert (path / made).read_text() == "done"
    assert (path / "config.json").is_file()
