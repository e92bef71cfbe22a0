"""Ctrl-C that would be lost, or would come at a bad time."""

import _thread
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_SOON = 0.01  # seconds, by when the destructor or callback has returned


def interrupt_again(unraisable: "UnraisableHookArgs") -> None:
    """Deliver a Ctrl-C again that fell into a destructor or a weak reference's callback.

    Python drops an exception raised there, and the run would go on as if nothing had been
    pressed. Meant for `sys.unraisablehook`; other exceptions are reported as ever.
    """
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        timer = threading.Timer(_SOON, _thread.interrupt_main)
        timer.daemon = True
        timer.start()
    else:
        sys.__unraisablehook__(unraisable)


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Let Ctrl-C wait until the block is over; processes forked in it take none.

    Meant for a start of processes: interrupted half way, some of them would be nobody's.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Ctrl-C goes to the main thread
        return
    held: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: held.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if held:
            signal.raise_signal(signal.SIGINT)
