"""Numbers as figures and reports write them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

UNKNOWN = "\u2013"
PERCENT = "\u00a0%"  # stays on the line of its number
MINUS = "\u2212"


def number_text(value: object, form: str) -> str:
    """A value: ``percent`` of a fraction with one digit, else three digits that count.

    >>> print(number_text(12.345, "number"), number_text(None, "number"))
    12.3 –
    """
    number = finite(value)
    if number is None:
        return UNKNOWN
    text = f"{100 * number:z.1f}{PERCENT}" if form == "percent" else plain(number)
    return text.replace("-", MINUS, 1)


def share_text(value: float) -> str:
    """A probability in percent, two digits that count; it claims no certainty that there is not.

    >>> print(share_text(0.934), share_text(0.0512), share_text(0.00002), share_text(0.9996))
    93 % 5.1 % <0.1 % >99 %
    """
    if value < 0.0005:
        return f"<0.1{PERCENT}" if value > 0 else f"0{PERCENT}"
    percent = 100 * value
    if 99.5 <= percent < 100:
        return f">99{PERCENT}"
    return f"{percent:.0f}{PERCENT}" if percent >= 9.95 else f"{percent:.1f}{PERCENT}"


def plain(number: float) -> str:
    """Three digits that count, thousands whole, never an exponent for what people count.

    >>> plain(0.01234), plain(1234.5), plain(0.0)
    ('0.0123', '1,234', '0')
    """
    if abs(number) >= 1000:
        return f"{number:,.0f}"
    return f"{number:z.3g}" if abs(number) >= 1e-4 or number == 0 else f"{number:.1e}"


def interval_text(interval: Sequence[object] | None, form: str) -> str:
    """``[low, high]`` without the unit; empty where there is none.

    >>> interval_text([0.1, 0.25], "percent")
    '[10.0, 25.0]'
    """
    ends = [finite(end) for end in interval or ()]
    if len(ends) != 2 or None in ends:
        return ""
    low, high = (number_text(end, form).removesuffix(PERCENT) for end in ends)
    return f"[{low}, {high}]"


def with_interval_text(number: Mapping[str, Any], form: str) -> str:
    """A number of a comparison with its interval behind it."""
    interval = interval_text(number.get("interval"), form)
    return f"{number_text(number.get('value'), form)} {interval}".rstrip()


def finite(value: object) -> float | None:
    """The number, or None where there is none."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
