"""The examples in the documentation run, in order, and print what they say they print."""

import contextlib
import doctest
import io
import re
import shlex
from pathlib import Path

import pytest
from cli_case import workbench

DOCS = Path(__file__).parent.parent / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```(?:\n+```text\n(.*?)^```)?", re.MULTILINE | re.DOTALL)

SHELL = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(file: Path) -> list[tuple[str, str | None]]:
    """Each python block of a page, with the text block right behind it: its expected output."""
    return [(code, text) for code, text in BLOCK.findall(file.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("page", ["api.md", "comparing.md", "training.md", "record.md"])
def test_examples(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = blocks(DOCS / page)
    assert found, f"{page} has no examples"
    names: dict[str, object] = {"__name__": "example"}
    checker = doctest.OutputChecker()
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    for number, (code, expected) in enumerate(found, 1):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, f"{page}, example {number}", "exec"), names)
        if expected:
            assert checker.check_output(expected, printed.getvalue(), flags), (
                f"{page}, example {number} printed:\n{printed.getvalue()}"
            )
    if page == "record.md":
        for command in commands(DOCS / page, {"weak", "weak/record.h5", "both.h5"}):
            result = workbench(*command)
            assert result.code == 0, f"{page}: workbench {shlex.join(command)}: {result.err}"


def commands(file: Path, made: set[str]) -> list[list[str]]:
    """The command lines of a page about records that its examples, or earlier ones, have made."""
    text = "".join(SHELL.findall(file.read_text(encoding="utf-8")))
    lines = [shlex.split(line, comments=True)[1:] for line in text.splitlines()]
    return [words for words in lines if words[1] in made and words[0] != "verify"]
