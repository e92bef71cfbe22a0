"""The view ``cka``: how alike the layers of two models are, or those of one model."""

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.cka import LEAST, Similarity, cka
from benchmarks.stages import stages
from workbench.drawing.heat_map import HeatMap, heat_map_drawing
from workbench.drawing.numbers import MINUS, UNKNOWN
from workbench.errors import UsageError
from workbench.exhibits import Exhibit, Table
from workbench.explain.layers import asked_layers, sample_of
from workbench.explain.viewed import Viewed, ViewedModel

MOST_LAYERS = 100  # of a model: the names of more would not fit on a page
SMALL, LARGE = 256, 64  # images in a batch, of networks that see few and many pixels
FEW_PIXELS = 64 * 64
BATCHES = 8  # at least, where there are images enough: intervals are over batches
SMALLEST = 16  # images in a batch that is not asked for


def similarity(viewed: Viewed) -> list[Exhibit]:
    """How alike the layers of models are (CKA): every two models, or one with itself.

    Raises:
        UsageError: there are too few images, or no layers that can be compared.
    """
    models = viewed.models
    sample = sample_of(viewed)
    asked = asked_layers(viewed, sample, most=MOST_LAYERS)
    layers = [names or _stages(model, sample) for model, names in zip(models, asked, strict=True)]
    places = list(itertools.combinations(range(len(models)), 2)) or [(0, 0)]
    found = []
    for first, second in places:
        alike = _compare(viewed, first, second, layers)
        name = "cka" if len(places) == 1 else f"cka-{first + 1}-{second + 1}"
        found.append(_exhibit(name, models[first], models[second], alike))
    return found


def _stages(model: ViewedModel, sample: Tensor) -> list[str]:
    names = stages(model.classifier, sample)
    if not names:
        raise UsageError(
            f"{model.label} shows no layers that can be compared: TorchScript and exported "
            "programs hide theirs.\nGive a state dict or a safetensors file with --arch."
        )
    return names


def _compare(
    viewed: Viewed, first: int, second: int, layers: Sequence[Sequence[str]]
) -> Similarity:
    one, other = viewed.models[first], viewed.models[second]
    title = one.label if one is other else f"{one.label} and {other.label}"
    rows = _batches(viewed, one, other)
    with viewed.console.progress(
        sum(map(len, rows)), unit="images", description=f"comparing {title}"
    ) as progress:

        def images() -> Iterator[Tensor]:
            for batch in rows:
                yield viewed.dataset.images(batch).to(viewed.device)
                progress.advance(len(batch))

        try:
            return cka(one.classifier, other.classifier, images(), layers[first], layers[second])
        except ValueError as error:
            raise UsageError(f"{title}: {error}.\nName others with --layers.") from None


def _batches(viewed: Viewed, *models: ViewedModel) -> list[NDArray[np.int64]]:
    """Rows of the data set, dealt out at random: files are often sorted by class.

    Within a batch of one class, CKA would see only how images differ inside of it.
    """
    count = len(viewed.dataset)
    if count < LEAST or (viewed.batch_size or LEAST) < LEAST:
        raise UsageError(
            f"CKA compares batches of {LEAST} images or more: "
            + (f"there are {count}." if count < LEAST else "choose a larger --batch-size.")
        )
    _, height, width = viewed.dataset.images(slice(0, 1)).shape[1:]
    seen = [model.classifier.input_size or (height, width) for model in models]
    usual = SMALL if max(map(math.prod, seen)) <= FEW_PIXELS else LARGE
    size = viewed.batch_size or min(usual, max(SMALLEST, count // BATCHES))
    # Sizes differ by one at most; below the least, one batch fewer makes them larger.
    parts = max(1, min(math.ceil(count / size), count // LEAST))
    order = np.random.default_rng(viewed.seed).permutation(count)
    return [np.sort(part) for part in np.array_split(order, parts)]


def _exhibit(name: str, one: ViewedModel, other: ViewedModel, alike: Similarity) -> Exhibit:
    same = one is other
    title = f"Layers of {one.label}" + ("" if same else f" and of {other.label}") + " (CKA)"
    batches = len(alike.without) or 1
    note = (
        "Unbiased linear CKA: 1 where the same images are alike in both layers, about 0 where the "
        f"layers have nothing in common. {alike.images:,} images in "
    )
    note += (
        f"{batches} batches of up to {alike.batch_size}; 95 % intervals in brackets, by the "
        "jackknife over batches."
        if batches > 1
        else "one batch: too few for intervals, so how far off the values are is not known."
    )
    for model, reasons in zip((one, other), alike.undefined, strict=True):
        for layer, reason in () if same and model is not one else reasons.items():
            note += f" {layer} of {model.label}: {reason}."
    heat = HeatMap(
        row_title=one.label,
        column_title=other.label,
        rows=alike.first_layers,
        columns=alike.second_layers,
        values=tuple(map(tuple, alike.values.tolist())),
        scale="CKA",
    )
    table = _best(one, other, alike)
    return Exhibit(
        name=name,
        title=title,
        note=note,
        drawing=heat_map_drawing(heat),
        words=_words(one, other, table),
        table=table,
        numbers={
            "models": [one.label, other.label],
            "layers": [list(alike.first_layers), list(alike.second_layers)],
            "cka": alike.values,
            "intervals": alike.intervals(),
            "undefined": [dict(reasons) for reasons in alike.undefined],
            "images": alike.images,
            "batches": batches,
            "batch_size": alike.batch_size,
        },
    )


def _best(one: ViewedModel, other: ViewedModel, alike: Similarity) -> Table:
    """For each layer of the first model the layer that is most like it, and the next one."""
    intervals = alike.intervals()
    lines = []
    for row, layer in enumerate(alike.first_layers):
        values = alike.values[row].copy()
        if one is other:
            values[[name == layer for name in alike.second_layers]] = np.nan
        order = [int(column) for column in np.argsort(-values) if np.isfinite(values[column])]
        if not order:
            lines.append((layer, *[UNKNOWN] * 4))
            continue
        best = order[0]
        line = [layer, alike.second_layers[best], _text(values[best], intervals[row, best])]
        if len(order) > 1:
            lower, interval = alike.difference((row, best), (row, order[1]))
            line += [alike.second_layers[order[1]], _text(lower, interval, 3)]
        lines.append((*line, *[UNKNOWN] * (5 - len(line))))
    most = "most alike" if one is other else f"most alike in {other.label}"
    return Table(
        (f"layer of {one.label}", most, "CKA", "next", "lower by"),
        tuple(lines),
    )


def _words(one: ViewedModel, other: ViewedModel, table: Table) -> str:
    told = "; ".join(f"{line[0]} with {line[1]} {line[2]}" for line in table.lines)
    return f"Heat map. CKA of the layers of {one.label} and {other.label}. Most alike: {told}."


def _text(value: float, interval: NDArray[np.float64], digits: int = 2) -> str:
    """A value with its interval, where there is one."""
    low, high = (f"{end:z.{digits}f}" for end in interval)
    text = f"{value:z.{digits}f}" + (f" [{low}, {high}]" if np.isfinite(interval).all() else "")
    return text.replace("-", MINUS)
