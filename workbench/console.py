"""The one sink for output: data on stdout, everything else on stderr; human, JSON or quiet."""

import json
import math
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console as RichConsole
from rich.markup import escape

if TYPE_CHECKING:
    from rich.console import ConsoleOptions, RenderableType
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID
    from rich.segment import Segment

Mode = Literal["human", "json", "quiet"]

SCHEMA_VERSION = 1
LINE_EVERY_SECONDS = 5.0  # between progress lines where there is no terminal to draw a bar on
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but line ends and tabs
WIDTH_OFF_TERMINAL = 110  # of tables written to a file or a pipe

_hushed: ContextVar[bool] = ContextVar("hushed", default=False)


@dataclass(frozen=True)
class Console:
    """Where output goes.

    ``human``: tables on stdout, notes and progress on stderr. ``json``: one document on stdout.
    ``quiet``: on stdout only what a script would want next (`essential`), on stderr only warnings
    and errors. Both of the latter at once print the document and no notes. ``mute`` prints nothing
    but errors: another process speaks for this one.
    """

    mode: Mode = "human"
    silent: bool = False
    mute: bool = False

    @property
    def out(self) -> RichConsole:
        """The data stream; made anew at each use, so that a redirected stream is honoured."""
        return _rich(stderr=False)

    @property
    def err(self) -> RichConsole:
        """The stream for people: progress, notes, warnings."""
        return _rich(stderr=True)

    def show(self, *renderables: "RenderableType") -> None:
        """Data for people: on stdout in human mode, else nowhere. Text is not markup."""
        if self.mode == "human" and not self.mute:
            for renderable in renderables:
                whole = isinstance(renderable, str)  # text is not wrapped, so that paths stay whole
                self.out.print(renderable, markup=False, highlight=False, soft_wrap=whole)

    def essential(self, text: str) -> None:
        """The one thing a script wants: on stdout in quiet mode, else nowhere."""
        if self.mode == "quiet" and not self.mute:
            self.out.print(text, markup=False, highlight=False, soft_wrap=True)

    def document(self, content: dict[str, Any]) -> None:
        """The JSON document, ``schema_version`` first; in the other modes nothing."""
        if self.mode == "json" and not self.mute:
            document = {"schema_version": SCHEMA_VERSION, **content}
            text = json.dumps(jsonable(document), ensure_ascii=False, indent=2)
            # JSON escapes the others itself, and allows these.
            sys.stdout.write(CONTROL.sub(_escaped, text) + "\n")
            sys.stdout.flush()

    def note(self, text: str) -> None:
        """Something worth knowing, on stderr unless quiet."""
        if not (self.silent or self.mute):
            self.err.print(text, style="dim", markup=False, highlight=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        """A reason to be careful, on stderr in every mode."""
        if not self.mute:
            self.err.print(f"[yellow]warning:[/] {escape(text)}", highlight=False, soft_wrap=True)

    def error(self, text: str) -> None:
        """What went wrong, on stderr in every mode."""
        self.err.print(f"[bold red]error:[/] {escape(text)}", highlight=False, soft_wrap=True)

    @contextmanager
    def progress(self, total: float, *, unit: str, description: str = "") -> Iterator["Progress"]:
        """Show how far the work is: a bar on a terminal, a line now and then elsewhere.

        ``total`` is the amount of work, in whatever the caller advances by; ``unit`` names it.
        """
        if self.silent or self.mute:
            yield Progress(total, unit)
        elif not self.err.is_terminal:
            progress = Progress(total, unit, say=self.note, description=description)
            yield progress
            progress.say_now()
        else:
            with _bar(self.err, unit) as bar:
                task = bar.add_task(escape(description), total=total, detail="")
                yield Progress(total, unit, bar=bar, task=task, description=description)


@dataclass
class Progress:
    """How far one piece of work is. Made by `Console.progress`."""

    total: float
    unit: str
    say: Callable[[str], None] | None = None
    bar: "RichProgress | None" = None
    task: "TaskID | None" = None
    description: str = ""
    done: float = 0.0
    detail: str = ""
    started: float = field(default_factory=time.monotonic)
    said: float = field(default_factory=time.monotonic)
    unsaid: bool = True

    def advance(self, amount: float, *, description: str | None = None, detail: str = "") -> None:
        """Some more work is done; ``detail`` is shown behind the count."""
        self.done += amount
        self.detail = detail or self.detail
        self.describe(description)
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, completed=self.done, detail=self.detail)
        self.unsaid = True
        if self.say is not None and time.monotonic() - self.said >= LINE_EVERY_SECONDS:
            self.say_now()

    def skip(self, amount: float) -> None:
        """Some of the work was there already: it is no longer to be done, nor was it done now."""
        self.total -= amount
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, total=self.total)

    def describe(self, description: str | None) -> None:
        """What is being worked on now."""
        if description is not None and description != self.description:
            self.description = description
            if self.bar is not None and self.task is not None:
                self.bar.update(self.task, description=escape(description))

    def say_now(self) -> None:
        """Write the plain progress line, unless the last one still holds."""
        if self.say is not None and self.unsaid and self.done:
            self.said, self.unsaid = time.monotonic(), False
            self.say(self.line())

    def line(self) -> str:
        """The progress as one line of text, with the time left once it can be told."""
        elapsed = time.monotonic() - self.started
        left = elapsed * (self.total - self.done) / self.done if self.done else math.nan
        parts = [f"{self.done:g} of {self.total:g} {self.unit}", self.detail]
        parts.append(f"{duration(elapsed)} elapsed")
        if self.done < self.total and math.isfinite(left):
            parts.append(f"about {duration(left)} left")
        where = f"{self.description}: " if self.description else ""
        return where + ", ".join(part for part in parts if part)


def duration(seconds: float) -> str:
    """A length of time for people.

    >>> duration(4.21), duration(75), duration(7300)
    ('4.2 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def make_console(*, json_output: bool, quiet: bool) -> Console:
    """The sink for the flags ``--json`` and ``--quiet``; JSON wins, quiet then drops the notes."""
    mode: Mode = "json" if json_output else "quiet" if quiet else "human"
    return Console(mode, silent=quiet or _hushed.get())


@contextmanager
def hushed() -> Iterator[None]:
    """Without the notes and progress of all that `make_console` makes meanwhile."""
    token = _hushed.set(True)
    try:
        yield
    finally:
        _hushed.reset(token)


class _Rich(RichConsole):
    def render(
        self, renderable: "RenderableType", options: "ConsoleOptions | None" = None
    ) -> "Iterable[Segment]":
        """What is printed, without control characters in its text: names may be hostile."""
        for segment in super().render(renderable, options):
            if segment.control is None and CONTROL.search(segment.text):
                yield segment._replace(text=CONTROL.sub("", segment.text))
            else:
                yield segment

    def on_broken_pipe(self) -> None:
        """Leave it to `workbench.app.run` that our reader has gone; rich would exit with 1."""
        raise BrokenPipeError


def _rich(*, stderr: bool) -> RichConsole:
    console = _Rich(stderr=stderr)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = WIDTH_OFF_TERMINAL
    return console


def _bar(console: RichConsole, unit: str) -> "RichProgress":
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column

    def whole() -> Column:  # on a narrow terminal the detail goes on below; counts and times do not
        return Column(no_wrap=True)

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=max(5, min(40, console.width - 100))),
        MofNCompleteColumn(table_column=whole()),
        TextColumn(unit),
        TextColumn("[dim]{task.fields[detail]}", table_column=Column()),
        TimeElapsedColumn(table_column=whole()),
        TextColumn("left:"),
        TimeRemainingColumn(table_column=whole()),
        console=console,
        transient=True,
    )


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def jsonable(value: Any) -> Any:
    """The value with NaN and infinity as null: JSON has no words for them."""
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if hasattr(value, "tolist"):  # a number or an array of numpy
        return jsonable(value.tolist())
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value
