"""Reading options: budgets, thresholds, settings files; telling errors in a line or two."""

import doctest
import errno
from pathlib import Path

import pytest
import typer

import workbench.app
import workbench.console
import workbench.errors
import workbench.option_texts
import workbench.run_directory
from workbench import running, subjects, tables
from workbench.errors import UNEXPECTED, UsageError, explain, unknown
from workbench.option_texts import parse_eps, parse_numbers, parse_thresholds, refuse_large
from workbench.options import Config, Quiet, options


@pytest.mark.parametrize(
    "module",
    [
        workbench.console,
        workbench.errors,
        workbench.option_texts,
        workbench.run_directory,
        subjects,
        tables,
        running,
    ],
    ids=lambda module: module.__name__,
)
def test_examples_in_docstrings(module: object) -> None:
    result = doctest.testmod(module)  # type: ignore[arg-type]  # a module
    assert result.attempted
    assert not result.failed


@pytest.mark.parametrize(
    ("text", "value"),
    [("8/255", 8 / 255), ("0.03", 0.03), (" 1 / 4 ", 0.25), ("1e-2", 0.01), ("1", 1.0), ("3", 3.0)],
)
def test_eps_is_a_number_or_a_fraction(text: str, value: float) -> None:
    assert parse_eps(text) == value


@pytest.mark.parametrize("text", ["", "eight", "8/", "8/0", "0", "-0.1", "nan", "inf", "8/255/2"])
def test_eps_that_is_no_budget_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--eps"):
        parse_eps(text)


@pytest.mark.parametrize(("value", "hint"), [(8.0, "8/255"), (1.5, "1.5/255"), (300.0, "8/255")])
def test_eps_above_one_is_refused_with_the_fraction(value: float, hint: str) -> None:
    with pytest.raises(UsageError, match=f"Did you mean {hint}\\?"):
        refuse_large(value, "--eps")


def test_thresholds_come_sorted_and_once() -> None:
    assert parse_thresholds("0.1,0.01,0.1") == (0.01, 0.1)


@pytest.mark.parametrize("text", ["", ",", "0", "1.5", "-0.1", "a", "nan"])
def test_thresholds_out_of_range_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--thresholds"):
        parse_thresholds(text)


def test_numbers_per_channel() -> None:
    assert parse_numbers("0.5, .25,1", "--mean") == (0.5, 0.25, 1.0)
    assert parse_numbers(None, "--mean") is None
    with pytest.raises(UsageError, match="--std a"):
        parse_numbers("a", "--std")


app = typer.Typer()
seen: dict[str, object] = {}


@app.command("attack")
def sample(
    files: list[str],
    eps: str = typer.Option("1/255", "--eps"),
    spec: list[str] = typer.Option([], "--attack"),  # noqa: B008 -- typer reads it there
    steps: int | None = typer.Option(None, "--steps"),
    thresholds: str = typer.Option("0.01", "--thresholds"),
    quiet: Quiet = False,
    config: Config = None,
) -> None:
    seen.clear()
    seen.update(files=files, eps=eps, spec=spec, steps=steps, thresholds=thresholds, quiet=quiet)


@app.command("check")
def other() -> None:
    pass


def invoke(tmp_path: Path, toml: str, *arguments: str) -> dict[str, object]:
    file = tmp_path / "s.toml"
    file.write_text(toml)
    code = app(["attack", *arguments, "--config", str(file)], standalone_mode=False)
    assert code is None
    return dict(seen)


def test_a_settings_file_fills_in_and_flags_win(tmp_path: Path) -> None:
    toml = """
        [attack]
        files = ["a.pt"]
        attack = ["fgsm", "pgd(steps=3)"]
        eps = 0.25
        steps = 7
        thresholds = [0.01, 0.1]
        quiet = true
        [check]
        data = "unused here"
    """
    assert invoke(tmp_path, toml, "--steps", "9") == {
        "files": ["a.pt"],
        "eps": "0.25",
        "spec": ["fgsm", "pgd(steps=3)"],
        "steps": 9,
        "thresholds": "0.01,0.1",
        "quiet": True,
    }
    assert invoke(tmp_path, toml, "b.pt", "--attack", "apgd")["files"] == ["b.pt"]
    assert seen["spec"] == ["apgd"]


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("[attack]\nstep = 3", "Unknown setting 'step'. Did you mean 'steps'?"),
        ("[atack]\nsteps = 3", "Unknown table 'atack'. Did you mean 'attack'?"),
        ("steps = 3", "Settings of this verb stand under \\[attack\\]"),
        ("[check]\n", "has no table \\[attack\\]"),
        ("[attack", "not valid TOML"),
    ],
)
def test_a_settings_file_with_a_mistake_is_refused(tmp_path: Path, toml: str, message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("?", "\\?")):
        invoke(tmp_path, toml, "a.pt")


def test_a_settings_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        app(["attack", "a", "--config", str(tmp_path / "x")], standalone_mode=False)


def test_unknown_names_get_the_nearest_or_the_list() -> None:
    assert "Did you mean 'PGD'?" in str(unknown("attack", "pdg", ["PGD", "FGSM"]))
    assert "Known: PGD, FGSM." in str(unknown("attack", "zzz", ["PGD", "FGSM"]))


@pytest.mark.parametrize(
    ("error", "lines"),
    [
        (UsageError("one\ntwo\nthree"), ["one", "two"]),
        (ValueError("bad\nvalue"), ["bad", "value"]),
        (ValueError(), ["ValueError: ", UNEXPECTED]),
        (RuntimeError("a\n b\n\nc"), ["RuntimeError: a b c", UNEXPECTED]),
        (KeyError("k"), ["KeyError: 'k'", UNEXPECTED]),
        (
            OSError(errno.ENOSPC, "No space left on device", "runs/x"),
            [
                "No space left on device: runs/x",
                "Free some space, or choose another place with --output.",
            ],
        ),
        (OSError("odd"), ["odd"]),
    ],
    ids=repr,
)
def test_every_error_is_told_in_two_lines_at_most(error: Exception, lines: list[str]) -> None:
    assert explain(error).split("\n") == lines


def test_paths_are_paths_whatever_typer_leaves_in_its_context() -> None:
    command = typer.main.get_command(workbench.app.app).commands["benchmark"]  # type: ignore[attr-defined]
    context = command.make_context("benchmark", ["a.pt", "--output", "out", "--data", "mnist"])
    context.params["output"] = "out"  # as typer 0.27 does
    parsed = options(context)
    assert parsed["output"] == Path("out")
    assert isinstance(parsed["output"], Path)
    assert isinstance(parsed["data"], str)
    assert parsed["corrupted"] is None
