"""What a person may do wrong, and how any error is told in a line or two."""

import difflib
import errno
from collections.abc import Iterable

UNEXPECTED = "This is unexpected: run again with --debug for the traceback."


class UsageError(ValueError):
    """Something the person can put right: the message says what is wrong, where, what to do."""


class Interrupted(Exception):  # noqa: N818  (an interruption is no error)
    """Ctrl-C after some work was kept; the message says how to go on."""


def suggestion(name: str, known: Iterable[str]) -> str:
    """``" Did you mean 'pgd'?"`` for the known name closest to ``name``, or an empty string.

    >>> suggestion("gpd", ["fgsm", "pgd"])
    " Did you mean 'pgd'?"
    """
    by_lower = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return f" Did you mean '{by_lower[close[0]]}'?" if close else ""


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that nothing has: with a suggestion, or else the names there are.

    >>> str(unknown("attack", "gpd", ["fgsm", "pgd"]))
    "Unknown attack 'gpd'. Did you mean 'pgd'?"
    """
    names = list(known)
    hint = suggestion(name, names) or (f" Known: {', '.join(names)}." if len(names) <= 12 else "")
    return UsageError(f"Unknown {kind} '{name}'.{hint}")


def explain(error: BaseException) -> str:
    """One or two lines for any error, without a traceback."""
    if isinstance(error, OSError):
        return _explain_os_error(error)
    text = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
    if isinstance(error, ValueError) and text:
        return "\n".join(line.rstrip() for line in str(error).strip().splitlines()[:2])
    return f"{type(error).__name__}: {_shortened(text)}\n{UNEXPECTED}"


def _explain_os_error(error: OSError) -> str:
    reason = error.strerror or str(error) or type(error).__name__
    if error.filename is None and error.errno is None:
        return reason
    where = f": {error.filename}" if error.filename is not None else ""
    hints = {
        errno.ENOSPC: "Free some space, or choose another place with --output.",
        errno.EDQUOT: "Free some space, or choose another place with --output.",
        errno.EACCES: "Choose a place that you may write to, for example with --output.",
        errno.EROFS: "Choose a place that you may write to, for example with --output.",
        errno.ENOENT: "Check the path.",
    }
    hint = hints.get(error.errno or 0)
    return f"{reason}{where}" + (f"\n{hint}" if hint else "")


def _shortened(text: str, limit: int = 300) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
