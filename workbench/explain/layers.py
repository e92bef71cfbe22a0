"""Which layers of each model a view looks at."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from benchmarks.layers import find_layers, named_layers, output_shapes
from workbench.errors import UsageError
from workbench.explain.viewed import Viewed, ViewedModel

MOST_LAYERS = 24  # of a model: figures for more would not be looked at


def sample_of(viewed: Viewed) -> Tensor:
    """Two images of the data set, float32 (n, C, H, W), to find layers by; one where it has one."""
    return viewed.dataset.images(slice(0, 2)).to(viewed.device)


def asked_layers(viewed: Viewed, sample: Tensor, *, most: int = MOST_LAYERS) -> list[list[str]]:
    """For each model the layers that ``--layers`` names, in the order of a forward pass.

    Args:
        most: layers of a model that the view can show.

    Raises:
        UsageError: a name or pattern is none of any model, or names too many layers.
    """
    found: list[set[str]] = [set() for _ in viewed.models]
    for pattern in viewed.asked.layers:
        errors: list[str] = []
        for mine, model in zip(found, viewed.models, strict=True):
            try:
                mine.update(find_layers(model.classifier, [pattern], sample))
            except ValueError as error:
                errors.append(f"--layers: in {model.label} {error}.")
        if len(errors) == len(viewed.models):
            raise UsageError("\n".join(errors[:2]))
    ordered = []
    for mine, model in zip(found, viewed.models, strict=True):
        if len(mine) > most:
            raise UsageError(
                f"--layers names {len(mine)} layers of {model.label}, of which figures would show "
                f"little; name {most} at most."
            )
        order = output_shapes(model.classifier, sample) if mine else {}
        ordered.append([name for name in order if name in mine])
    return ordered


def first_layer(model: ViewedModel, sample: Tensor) -> str | None:
    """The first layer with weights that a pass reaches: it sees the image itself."""
    return next(iter(weighted(model, sample)), None)


def weighted(model: ViewedModel, sample: Tensor) -> list[str]:
    """Convolutions and fully connected layers, in the order of a pass."""
    layers = named_layers(model.classifier)
    return [name for name in output_shapes(model.classifier, sample) if has_weights(layers[name])]


def has_weights(layer: nn.Module) -> bool:
    """Whether a layer multiplies by a matrix or by kernels."""
    weight = getattr(layer, "weight", None)
    return isinstance(weight, Tensor) and weight.dim() >= 2


def evenly(count: int, most: int) -> list[int]:
    """At most so many places of ``count``, evenly spaced, the first and the last among them.

    >>> evenly(256, 4), evenly(3, 64)
    ([0, 85, 170, 255], [0, 1, 2])
    """
    if count <= most:
        return list(range(count))
    return [int(place) for place in torch.linspace(0, count - 1, most, dtype=torch.float64)]


def blocks(model: ViewedModel, reached: Sequence[str]) -> list[str]:
    """The parts that a network repeats: layers with parts, beside others of their type.

    Only the outermost, in the order given; convolutions where nothing is repeated.
    """
    layers = named_layers(model.classifier)
    alike: dict[tuple[str, type], int] = {}
    for name, layer in layers.items():
        key = name.rpartition(".")[0], type(layer)
        alike[key] = alike.get(key, 0) + 1
    repeated = [
        name
        for name in reached
        if any(True for _ in layers[name].children())
        and alike[name.rpartition(".")[0], type(layers[name])] > 1
    ]
    outer = [
        name for name in repeated if not any(name.startswith(f"{other}.") for other in repeated)
    ]
    return outer or [name for name in reached if isinstance(layers[name], nn.Conv2d)]
