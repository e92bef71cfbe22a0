"""What `workbench explain` can show of models, by the name of the view.

A view is a function of what is looked at (`Viewed`) that gives exhibits: figures and tables.
"""

from collections.abc import Callable, Mapping, Sequence

from workbench.exhibits import Exhibit
from workbench.explain.attributions import attributions
from workbench.explain.class_summary import data
from workbench.explain.drift import drift
from workbench.explain.features import features
from workbench.explain.kernels import kernels
from workbench.explain.mistakes import mistakes
from workbench.explain.samples import samples
from workbench.explain.similarity import similarity
from workbench.explain.viewed import Viewed
from workbench.explain.weights import weights

View = Callable[[Viewed], Sequence[Exhibit]]
"""It raises `UsageError` where what was asked for cannot be shown."""

VIEWS: Mapping[str, View] = {
    "attributions": attributions,
    "kernels": kernels,
    "features": features,
    "weights": weights,
    "samples": samples,
    "mistakes": mistakes,
    "data": data,
    "cka": similarity,
    "drift": drift,
}
"""Every view by its name; the first line of its docstring is what `--help` and lists say."""

WITHOUT_ANSWERS = frozenset({"cka", "kernels", "weights", "data"})
"""Views that hold for models whose answers are near chance as well."""

WITHOUT_MODELS = frozenset({"data"})
"""Views of the images alone, for which no checkpoint has to be given."""
