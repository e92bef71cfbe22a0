"""Words from files and libraries, made fit for one line of an error."""


def printable(text: str, limit: int = 80) -> str:
    """The text on one line, cut, without control characters: a file must not drive a terminal."""
    plain = "".join(letter if letter.isprintable() else "?" for letter in text)
    return plain if len(plain) <= limit else plain[: limit - 1] + "…"


def first_line(error: BaseException, limit: int = 120) -> str:
    """What an exception of a library says first, or its type where it says nothing."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return printable(lines[0], limit) if lines else type(error).__name__


def kind_and_line(error: BaseException, limit: int = 120) -> str:
    """The type of an exception and its first line."""
    line = first_line(error, limit)
    kind = type(error).__name__
    return kind if line == kind else f"{kind}: {line}"
