"""What `workbench explain` can show of models, by the name of the view.

A view is a function of what is looked at (`Viewed`) that gives exhibits: figures and tables.
"""

from collections.abc import Callable, Mapping, Sequence

from workbench.exhibits import Exhibit
from workbench.explain.drift import drift
from workbench.explain.viewed import Viewed

View = Callable[[Viewed], Sequence[Exhibit]]
"""It raises `UsageError` where what was asked for cannot be shown."""

VIEWS: Mapping[str, View] = {
    "drift": drift,
}
"""Every view by its name; the first line of its docstring is what `--help` and lists say."""
