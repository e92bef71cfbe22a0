"""The view ``weights``: how the weights and biases of layers are spread."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.layers import named_layers
from workbench.drawing.charts import Chart, Line, Lines, words
from workbench.drawing.numbers import number_text
from workbench.drawing.panels import chart_drawing
from workbench.errors import UsageError
from workbench.exhibits import Exhibit, Table
from workbench.explain.layers import asked_layers, has_weights, sample_of, weighted
from workbench.explain.viewed import Viewed, ViewedModel

BINS, FEWEST_BINS = 60, 10
OUTSIDE = (
    0.0005  # share at each end that the outermost bins take up, so that few do not squeeze all
)
NEAR_ZERO = 0.01  # of the largest weight of the layer
PARTS = ("weight", "bias")

NOTE = (
    "Bins are the same for all models of a panel; the outermost hold what lies further out. “Near "
    "zero”: smaller than a hundredth of the layer's largest."
)


@dataclass(frozen=True)
class Values:
    """The weights or the biases of one layer of one model."""

    place: int
    model: str
    layer: str
    part: str
    values: NDArray[np.float64]

    @property
    def numbers(self) -> dict[str, Any]:
        """What is told of them."""
        size = np.abs(self.values)
        return {
            "count": int(self.values.size),
            "mean": float(self.values.mean()),
            "std": float(self.values.std()),
            "near_zero": float((size < NEAR_ZERO * size.max()).mean()) if size.any() else 1.0,
        }


def weights(viewed: Viewed) -> list[Exhibit]:
    """Histograms of the weights and biases of the first, the last and the named layers.

    Raises:
        UsageError: a layer that was named has no weights, or no layer has any.
    """
    slots = _slots(viewed, sample_of(viewed))
    panels, lines, told = [], [], []
    for title, slot in slots:
        for part in PARTS:
            found = [each for each in slot if each.part == part]
            if not found:
                continue
            panels.append(_panel(f"{title}: {part}{'es' if part == 'bias' else 's'}", found))
            for each in found:
                numbers = each.numbers
                lines.append(
                    (
                        each.model,
                        f"{each.layer}.{part}",
                        f"{numbers['count']:,}",
                        number_text(numbers["mean"], "number"),
                        number_text(numbers["std"], "number"),
                        number_text(numbers["near_zero"], "percent"),
                    )
                )
                told.append({"model": each.model, "layer": each.layer, "part": part, **numbers})
    chart = Chart("weights", "Weights and biases", NOTE, tuple(panels))
    return [
        Exhibit(
            name=chart.name,
            title=chart.title,
            note=NOTE,
            drawing=chart_drawing(chart, viewed.models),
            words=" ".join(words(panel, viewed.models) for panel in chart.panels),
            table=Table(("model", "values", "count", "mean", "std", "near zero"), tuple(lines)),
            numbers={"layers": told},
        )
    ]


def _slots(viewed: Viewed, sample: Tensor) -> list[tuple[str, list[Values]]]:
    """The first, the named and the last layers, each of all models that have it."""
    asked = asked_layers(viewed, sample)
    inside = [
        [name for name in names if has_weights(named_layers(model.classifier)[name])]
        for model, names in zip(viewed.models, asked, strict=True)
    ]
    if any(asked) and not any(inside):
        name = next(names[0] for names in asked if names)
        raise UsageError(
            f"--layers {name} has no weights of its own; name convolutions or fully connected "
            f"layers, or what is inside of it by a pattern such as '{name}.*'."
        )
    all_layers = [weighted(model, sample) for model in viewed.models]
    if not any(all_layers):
        raise UsageError(f"{viewed.models[0].label} has no layer with weights.")
    slots = [("first layer", [names[:1] for names in all_layers])]
    for place in range(max(map(len, inside))):
        here = [names[place : place + 1] for names in inside]
        title = ", ".join(dict.fromkeys(name for names in here for name in names))
        slots.append((title, here))
    # The last of a single layer is the first.
    slots.append(("last layer", [names[-1:] if len(names) > 1 else [] for names in all_layers]))
    return [
        (title, [each for model, names in zip(viewed.models, here, strict=True) for name in names
                 for each in _values(model, name)])
        for title, here in slots
    ]  # fmt: skip


def _values(model: ViewedModel, name: str) -> list[Values]:
    layer = named_layers(model.classifier)[name]
    found = []
    for part in PARTS:
        tensor = getattr(layer, part, None)
        if isinstance(tensor, Tensor):
            values = tensor.detach().double().cpu().numpy().ravel()
            found.append(Values(model.place, model.label, name, part, values))
    return found


def _panel(title: str, found: list[Values]) -> Lines:
    """Stairs of the share of values in each bin."""
    ends = [np.quantile(each.values, (OUTSIDE, 1 - OUTSIDE)) for each in found]
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    fewest = min(each.values.size for each in found)
    bins = max(FEWEST_BINS, min(BINS, round(2 * fewest**0.5)))
    edges = np.linspace(low, high, bins + 1)
    lines = []
    for each in found:
        counts, _ = np.histogram(np.clip(each.values, low, high), edges)
        shares = 100 * counts / each.values.size
        lines.append(Line(each.place, tuple(edges.tolist()), (*shares.tolist(), 0.0)))
    return Lines(title, "value", "% of the values", tuple(lines), unit=" %", steps=True)
