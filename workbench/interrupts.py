"""Ctrl-C that would be lost."""

import _thread
import sys
import threading
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
