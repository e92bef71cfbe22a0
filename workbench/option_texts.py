"""How the texts of options are read: budgets, thresholds, numbers for each channel."""

import math

from workbench.errors import UsageError


def parse_eps(text: str) -> float:
    """A budget written as a fraction or a number of the 0–1 scale.

    A budget above 1 is returned too: an L2 ball may be that wide. See `refuse_large`.

    >>> parse_eps("8/255") == 8 / 255, parse_eps("0.03")
    (True, 0.03)

    Raises:
        UsageError: it is no number, or not above 0.
    """
    top, slash, bottom = text.partition("/")
    try:
        value = float(top) / (float(bottom) if slash else 1.0)
    except (ValueError, ZeroDivisionError):
        raise UsageError(f"--eps {text}: write a fraction such as 8/255, or 0.03.") from None
    if not (math.isfinite(value) and value > 0):
        raise UsageError(f"--eps {text}: the budget must be above 0, such as 8/255.")
    return value


def refuse_large(value: float, where: str) -> None:
    """Refuse an L∞ budget above 1, which moves any image anywhere and is likely meant in 1/255.

    Raises:
        UsageError: ``value`` is above 1; the message proposes value/255.
    """
    if value > 1:
        hint = f"{value:g}/255" if value <= 255 else "8/255"
        raise UsageError(
            f"{where}: images are in [0, 1], so eps is at most 1. Did you mean {hint}?"
        )


def parse_thresholds(text: str) -> tuple[float, ...]:
    """Thresholds of pixel change such as ``0.01,0.1``: ascending, each from 0 to 1.

    0 counts every pixel that changed at all.

    Raises:
        UsageError: one of them is no such number.
    """
    try:
        values = sorted({float(part) for part in text.split(",") if part.strip()})
    except ValueError:
        values = []
    if not values or not all(0 <= value <= 1 for value in values):
        raise UsageError(
            f"--thresholds {text}: write numbers from 0 to 1, such as 0.01,0.1; 0 is any change."
        )
    return tuple(values)


def parse_numbers(text: str | None, flag: str) -> tuple[float, ...] | None:
    """Comma-separated numbers, one per channel, or None for None.

    Raises:
        UsageError: one of them is no number.
    """
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(
            f"{flag} {text}: write one number per channel, such as 0.5,0.5,0.5."
        ) from None


def between_commas(text: str) -> list[str]:
    """Parts between commas that stand in no parentheses: specs have commas of their own.

    >>> between_commas("a, pgd(eps=8/255, steps=20)")
    ['a', 'pgd(eps=8/255, steps=20)']
    """
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]
