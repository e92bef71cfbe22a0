"""The view ``features``: what layers give for an image, channel by channel."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.layers import SpatialLayer, activations, output_shapes, spatial_layer
from workbench.drawing.maps import mosaic, sequential
from workbench.drawing.numbers import number_text
from workbench.errors import UsageError
from workbench.exhibits import Exhibit, Table
from workbench.explain.images import answers, short_name, shown_images
from workbench.explain.layers import asked_layers, blocks, evenly, first_layer, sample_of
from workbench.explain.panel_figure import Lead, Panel, Scale, panels_drawing
from workbench.explain.viewed import Viewed, ViewedModel
from workbench.figures import TIMES, as_picture

MOST, COLUMNS = 64, 8  # channels in a picture, as in study S4
LARGEST = 56  # pixels of a side of a map; larger ones are reduced: a figure has no room for more
CHOSEN = 3  # blocks that are shown besides the first layer, where none is named

NOTE = (
    "Channels are evenly spaced; each has its own colours, from its least value to its greatest. "
    "“Silent”: channels that have one value everywhere on this image. Tokens of transformers stand "
    "where their patches are; class and register tokens are left out."
)

SCALE = Scale(sequential, (0, 1), ("least", "greatest"))

Maps = NDArray[np.float32]


def features(viewed: Viewed) -> list[Exhibit]:
    """Feature maps of layers for single images, 64 evenly spaced channels, models side by side.

    Raises:
        UsageError: a layer that was named gives no map of the image, or no layer does.
    """
    shown = shown_images(viewed)
    layers = _layers(viewed, sample_of(viewed))
    found = [
        _maps(model, shown.images, mine) for model, mine in zip(viewed.models, layers, strict=True)
    ]
    said = [answers(viewed, model, shown.images) for model in viewed.models]
    exhibits = []
    for number, (row, label) in enumerate(zip(shown.rows, shown.labels, strict=True)):
        lines = [f"image {row}: {short_name(viewed, int(label))}"]
        for model, answer in zip(viewed.models, said, strict=True):
            guess = short_name(viewed, int(answer.guesses[number]))
            sure = number_text(float(answer.confidences[number]), "percent")
            lines.append(f"{model.label} says {guess}, {sure}")
        lead = Lead(as_picture(shown.images[number].cpu().numpy()), tuple(lines))
        mine = [{name: each[number] for name, each in maps.items()} for maps in found]
        exhibits.append(_exhibit(viewed, f"features-{row}", lead, mine))
    return exhibits


def _layers(viewed: Viewed, sample: Tensor) -> list[list[SpatialLayer]]:
    """For each model the layers that are shown."""
    two = sample if len(sample) > 1 else sample.expand(2, -1, -1, -1)
    asked = asked_layers(viewed, sample)
    found, reasons = [], []
    for model, names in zip(viewed.models, asked, strict=True):
        wanted = names if any(asked) else _default(model, sample)
        mine = []
        for name in wanted:
            try:
                mine.append(spatial_layer(model.classifier, two, name))
            except ValueError as error:
                reasons.append(f"{model.label}: {error}.")
        found.append(mine if any(asked) else _few(mine))
    if not any(found):
        raise UsageError(
            "\n".join(reasons[:1]) or f"{viewed.models[0].label} has no layer to show."
        )
    return found


def _default(model: ViewedModel, sample: Tensor) -> list[str]:
    reached = list(output_shapes(model.classifier, sample))
    first = first_layer(model, sample)
    return list(dict.fromkeys([*([first] if first else []), *blocks(model, reached)]))


def _few(layers: Sequence[SpatialLayer]) -> list[SpatialLayer]:
    """The first, and a few of the others."""
    return [*layers[:1], *(layers[1:][place] for place in evenly(len(layers) - 1, CHOSEN))]


def _maps(model: ViewedModel, images: Tensor, layers: Sequence[SpatialLayer]) -> dict[str, Maps]:
    """What layers give: float32 (N, C, h, w) by their names, on the CPU."""
    found: dict[str, list[Tensor]] = {layer.name: [] for layer in layers}
    for image in images.split(1):
        given = activations(model.classifier, image, list(found))
        for layer in layers:
            found[layer.name].append(layer.maps(given[layer.name]).float().cpu())
    return {name: torch.cat(maps).numpy() for name, maps in found.items()}


def _exhibit(viewed: Viewed, name: str, lead: Lead, found: Sequence[Mapping[str, Maps]]) -> Exhibit:
    count = max(map(len, found))
    columns = [[_panel(layer, maps) for layer, maps in mine.items()] for mine in found]
    rows = [
        [column[place] if place < len(column) else None for column in columns]
        for place in range(count)
    ]
    told = [
        {"model": model.label, "layer": layer, **_numbers(maps)}
        for model, mine in zip(viewed.models, found, strict=True)
        for layer, maps in mine.items()
    ]
    lines = tuple(
        (
            each["model"],
            each["layer"],
            f" {TIMES} ".join(map(str, each["shape"])),
            number_text(each["silent"], "percent"),
            number_text(each["zeros"], "percent"),
        )
        for each in told
    )
    spoken = "; ".join(f"{line[0]}, {line[1]}: {line[2]}" for line in lines)
    return Exhibit(
        name=name,
        title=f"Feature maps: {lead.lines[0]}",
        note=NOTE,
        drawing=panels_drawing(viewed.models, rows, lead, SCALE),
        words=f"Pictures of feature maps. {'. '.join(lead.lines)}. {spoken}.",
        table=Table(("model", "layer", "channels and size", "silent channels", "zeros"), lines),
        numbers={"layers": told},
    )


def _numbers(maps: Maps) -> dict[str, Any]:
    flat = maps.reshape(len(maps), -1)
    return {
        "shape": list(maps.shape),
        "silent": float((flat.max(axis=1) == flat.min(axis=1)).mean()),
        "zeros": float((flat == 0).mean()),
    }


def _small(maps: Maps) -> NDArray[np.float64]:
    """Maps reduced to what a figure can show, by means over areas."""
    height, width = maps.shape[1:]
    share = LARGEST / max(height, width)
    values = torch.from_numpy(maps).double()
    if share < 1:
        size = max(1, round(height * share)), max(1, round(width * share))
        values = F.interpolate(values[None], size, mode="area")[0]
    return values.numpy()


def _panel(name: str, maps: Maps) -> Panel:
    chosen = evenly(len(maps), MOST)
    tiles = []
    for channel in _small(maps[chosen]):
        span = channel.max() - channel.min()
        tiles.append(sequential((channel - channel.min()) / span if span else 0 * channel))
    count, height, width = maps.shape
    detail = f"{count} of {height} {TIMES} {width}"
    if len(chosen) < count:
        detail += f"; {len(chosen)} evenly spaced"
    return Panel(name, detail, mosaic(tiles, min(COLUMNS, len(tiles))))
