"""The view ``kernels``: what convolutions compare images and maps with."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.layers import named_layers
from workbench.drawing.maps import Pixels, diverging, mosaic
from workbench.drawing.numbers import MINUS, number_text, plain
from workbench.errors import UsageError
from workbench.exhibits import Exhibit, Table
from workbench.explain.layers import asked_layers, evenly, first_layer, sample_of
from workbench.explain.panel_figure import Panel, Scale, panels_drawing
from workbench.explain.viewed import Viewed, ViewedModel
from workbench.figures import TIMES, as_picture

MOST = 64  # kernels in a picture, 8 × 8
SIDE = 8
FULL = 0.995  # quantile of the size of weights
MATRIX = 64  # kernels and channels of a 1 × 1 convolution, which is a matrix

FIRST = (
    "The layer that sees the image. Kernels of three channels are shown as colours around grey, "
    "which is 0; all kernels of a layer have one scale."
)
DEEP = (
    "Blue is below 0, orange above; all kernels of a layer have one scale. A convolution over "
    "several channels has a row for each kernel and a column for each channel that it reads."
)


@dataclass(frozen=True)
class Kernels:
    """The kernels of one layer: float64 (kernels, channels, h, w), from the network's side."""

    name: str
    weights: NDArray[np.float64]

    @property
    def full(self) -> float:
        """The size of a weight that gets the strongest colour: few are larger."""
        size = np.abs(self.weights)
        return float(np.quantile(size, FULL)) or float(size.max()) or 1.0


def kernels(viewed: Viewed) -> list[Exhibit]:
    """Kernels of the first layer, and of the convolutions that --layers names, models side by side.

    Raises:
        UsageError: a layer that was named has no kernels, or no model has any.
    """
    sample = sample_of(viewed)
    firsts = [_first(model, sample) for model in viewed.models]
    named = [
        [_kernels(model, name) for name in names if first is None or name != first.name]
        for model, names, first in zip(
            viewed.models, _convolutions(viewed, sample), firsts, strict=True
        )
    ]
    rows = [firsts] if any(firsts) else []
    for place in range(max(map(len, named))):
        rows.append([mine[place] if place < len(mine) else None for mine in named])
    if not rows:
        raise UsageError(
            f"{viewed.models[0].label} begins with no convolution, and --layers names none."
        )
    return [_exhibit(viewed, number, row) for number, row in enumerate(rows)]


def _convolutions(viewed: Viewed, sample: Tensor) -> list[list[str]]:
    """For each model the convolutions among the layers that are asked for."""
    asked = asked_layers(viewed, sample)
    found = [
        [name for name in names if _is_convolution(named_layers(model.classifier)[name])]
        for model, names in zip(viewed.models, asked, strict=True)
    ]
    if any(asked) and not any(found):
        model, name = next(
            (model, names[0]) for model, names in zip(viewed.models, asked, strict=True) if names
        )
        kind = type(named_layers(model.classifier)[name]).__name__
        inner = f"{name}.*"
        raise UsageError(
            f"--layers {name} of {model.label} is no convolution ({kind}), so it has no kernels.\n"
            f"Name convolutions, or what is inside of it by a pattern such as '{inner}'."
        )
    return found


def _is_convolution(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d) and layer.weight.dim() == 4


def _kernels(model: ViewedModel, name: str) -> Kernels:
    weight: Any = named_layers(model.classifier)[name].weight
    return Kernels(name, weight.detach().double().cpu().numpy())


def _first(model: ViewedModel, sample: Tensor) -> Kernels | None:
    """The first layer's kernels, red first; units of a fully connected net are as large as images.

    None where it is neither, or reads something else than the image.
    """
    name = first_layer(model, sample)
    if name is None:
        return None
    layer = named_layers(model.classifier)[name]
    seen = tuple(model.classifier.prepare(sample[:1]).shape[1:])
    if _is_convolution(layer):
        found = _kernels(model, name).weights
    elif isinstance(layer, nn.Linear) and layer.in_features == np.prod(seen):
        found = layer.weight.detach().double().cpu().numpy().reshape(-1, *seen)
    else:
        return None
    return Kernels(name, found[:, ::-1] if model.classifier.bgr else found)


def _exhibit(viewed: Viewed, number: int, row: list[Kernels | None]) -> Exhibit:
    lines, told, spoken = [], [], []
    for model, mine in zip(viewed.models, row, strict=True):
        if mine is None:
            continue
        values = mine.weights
        numbers = {
            "mean": float(values.mean()),
            "std": float(values.std()),
            "largest": float(np.abs(values).max()),
        }
        shape = _shape(mine)
        texts = [number_text(each, "number") for each in numbers.values()]
        lines.append((model.label, mine.name, shape, *texts))
        told.append(
            {"model": model.label, "layer": mine.name, "shape": list(values.shape), **numbers}
        )
        spoken.append(f"{model.label}, layer {mine.name}: {shape}")
    names = list(dict.fromkeys(mine.name for mine in row if mine is not None))
    title = "First layers" if number == 0 else ", ".join(names)
    panels = [None if mine is None else _panel(mine) for mine in row]
    return Exhibit(
        name=f"kernels-{number + 1}",
        title=f"Kernels: {title}",
        note=FIRST if number == 0 else DEEP,
        drawing=panels_drawing(viewed.models, [panels]),
        words=f"Pictures of kernels. {'; '.join(spoken)}.",
        table=Table(("model", "layer", "kernels", "mean", "std", "largest"), tuple(lines)),
        numbers={"layers": told},
    )


def _shape(mine: Kernels) -> str:
    count, channels, height, width = mine.weights.shape
    of = f"{channels} {TIMES} " if channels > 1 else ""
    return f"{count} of {of}{height} {TIMES} {width}"


def _panel(mine: Kernels) -> Panel:
    count, channels, *_ = mine.weights.shape
    chosen = mine.weights[evenly(count, MOST)]
    detail = _shape(mine)
    if channels == 3:
        tiles = [_colours(kernel / mine.full) for kernel in chosen]
        return Panel(
            mine.name, detail + _of(len(chosen), count), mosaic(tiles, _columns(len(tiles)))
        )
    text = plain(mine.full)
    scale = Scale(diverging, (-1, 1), (f"≤ {MINUS}{text}", "0", f"≥ {text}"))
    if channels == 1:
        tiles = [diverging(kernel[0] / mine.full) for kernel in chosen]
        detail += _of(len(chosen), count)
        return Panel(mine.name, detail, mosaic(tiles, _columns(len(tiles))), scale)
    most = MATRIX if mine.weights.shape[2:] == (1, 1) else SIDE
    rows, columns = evenly(count, most), evenly(channels, most)
    part = mine.weights[np.ix_(rows, columns)] / mine.full
    detail += f"; {len(rows)} down, {len(columns)} across"
    if most == MATRIX:
        return Panel(mine.name, detail, diverging(part[:, :, 0, 0]), scale)
    tiles = [diverging(slice_) for kernel in part for slice_ in kernel]
    return Panel(mine.name, detail, mosaic(tiles, len(columns)), scale)


def _colours(kernel: NDArray[np.float64]) -> Pixels:
    """A kernel of three channels in [-1, 1] as an image around grey."""
    return as_picture(0.5 + kernel / 2)


def _of(shown: int, count: int) -> str:
    return f"; {shown} evenly spaced" if shown < count else ""


def _columns(tiles: int) -> int:
    return SIDE if tiles > 3 * SIDE else math.ceil(tiles**0.5)
