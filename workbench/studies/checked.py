"""Tables of a study's file, whose values are read one by one, each checked."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from workbench.errors import UsageError, unknown


class Checked:
    """A table of TOML whose values are read one by one, each checked.

    Every error is a `UsageError` that begins with the place of the table.
    """

    def __init__(self, content: Any, where: str) -> None:
        if not isinstance(content, Mapping):
            raise UsageError(
                f"{where} is no table: write [[steps]] or [[claims]] above its settings."
            )
        self.content = content
        self.where = where

    def wrong(self, what: object) -> UsageError:
        """The error that says what is wrong, and where."""
        return UsageError(f"{self.where}: {what}")

    def text(self, key: str, *, needed: bool = True) -> str:
        """A text; an empty one for none where it is not needed."""
        value = self.content.get(key, "")
        if not isinstance(value, str) or (needed and not value.strip()):
            raise self.wrong(
                f"{key} is a text" + ("." if key in self.content else ", and missing.")
            )
        return value.strip()

    def texts(self, key: str, *, needed: bool = True) -> tuple[str, ...]:
        """A list of texts, or one; each once."""
        value = self.content.get(key, [] if not needed else None)
        listed = [value] if isinstance(value, str) else value
        fine = isinstance(listed, list) and all(isinstance(e, str) and e.strip() for e in listed)
        if not fine or (needed and not listed):
            missing = "" if key in self.content else ", and missing"
            raise self.wrong(f"{key} is a list of texts{missing}.")
        return tuple(dict.fromkeys(each.strip() for each in listed))

    def number(self, key: str) -> float | None:
        """A finite number, or None for none."""
        value = self.content.get(key)
        if value is None:
            return None
        if type(value) not in (int, float) or not math.isfinite(value):
            raise self.wrong(f"{key} is a number, such as 0.5, not {value!r}.")
        return float(value)

    def refuse_others(self, known: Sequence[str]) -> None:
        """Refuse settings of other names."""
        for key in self.content:
            if key not in known:
                raise self.wrong(unknown("setting", key, known))
