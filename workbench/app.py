"""The command line: which verbs there are, and how every error ends. Wiring only."""

import inspect
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from workbench.commands.attack import attack
from workbench.commands.benchmark import benchmark
from workbench.commands.check import check
from workbench.commands.compare import compare
from workbench.commands.corrupt import corrupt
from workbench.commands.explain import explain
from workbench.commands.export import export
from workbench.commands.fool import fool
from workbench.commands.list import list_names
from workbench.commands.merge import merge
from workbench.commands.probe import probe
from workbench.commands.report import report
from workbench.commands.show import show
from workbench.commands.study import study
from workbench.commands.stylizer import stylizer
from workbench.commands.train import train
from workbench.commands.verify import verify
from workbench.console import Console
from workbench.errors import Interrupted
from workbench.errors import explain as explain_error
from workbench.processes import speaks

DONE, FAILED, WRONG_USE, INTERRUPTED = 0, 1, 2, 130
BROKEN_PIPE = 141  # what a shell reports for a program that SIGPIPE ended

UsageProblem: type[Exception] = typer.BadParameter.__mro__[1]  # typer gives its base no public name

app = typer.Typer(
    name="workbench",
    help="Find out how image classifiers break, and make them break less.",
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
VERBS: dict[str, Callable[..., None]] = {
    "attack": attack,
    "benchmark": benchmark,
    "compare": compare,
    "report": report,
    "probe": probe,
    "explain": explain,
    "study": study,
    "check": check,
    "train": train,
    "fool": fool,
    "stylizer": stylizer,
    "corrupt": corrupt,
    "list": list_names,
    "show": show,
    "export": export,
    "merge": merge,
    "verify": verify,
}
for _name, _verb in VERBS.items():
    # Typer shows line breaks as they stand; a docstring's are only there for its editor.
    _paragraphs = inspect.cleandoc(_verb.__doc__ or "").split("\n\n")
    app.command(_name, help="\n\n".join(" ".join(text.split()) for text in _paragraphs))(_verb)


def _show_version(value: bool) -> None:
    if value:
        from workbench import __version__

        typer.echo(f"workbench {__version__}")
        raise typer.Exit


@app.callback(
    epilog="`workbench VERB --help` says more. Exit codes: 0 done, 1 a part failed, "
    "2 wrong use or an error, 130 interrupted."
)
def _start(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_show_version, help="Say the version."),
    ] = False,
) -> None:
    pass


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; no error leaves this function.

    0: done. 1: a part of the work failed. 2: wrong use or an unexpected error. 130: interrupted.
    """
    console = Console()
    debug = "--debug" in arguments
    try:
        code = app(
            list(arguments), prog_name="workbench", standalone_mode=False, obj=list(arguments)
        )
        sys.stdout.flush()
        if code == INTERRUPTED:
            console.error("Interrupted.")
        return code if isinstance(code, int) else DONE
    except Interrupted as stop:
        _say(console, str(stop))
        return INTERRUPTED
    except (KeyboardInterrupt, typer.Abort):
        _say(console, "Interrupted.")
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output, such as `head`, has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except UsageProblem as problem:
        _say(console, _usage(problem))
        return WRONG_USE
    except Exception as error:  # noqa: BLE001  (the outermost place: every error ends as a line)
        if debug:
            traceback.print_exc()
        _say(console, explain_error(error))
        return WRONG_USE


def _say(console: Console, error: str) -> None:
    if speaks():
        console.error(error)


def _usage(problem: Exception) -> str:
    """A typer usage error as two lines: what is wrong, and where to read more."""
    message = problem.format_message() if hasattr(problem, "format_message") else str(problem)
    message = message.replace("Value error, ", "")  # how pydantic begins what its validators say
    context = getattr(problem, "ctx", None)
    path = context.command_path if context is not None else "workbench"
    known = [parameter.name for parameter in context.command.params] if context is not None else []
    if getattr(problem, "option_name", None) == "--data" and "data" in known:
        message = f"This verb takes the data without --data: {path} DATA"
    return f"{' '.join(message.split())}\nTry: {path} --help"
