"""Where a model looks, and how far that moves: Grad-CAM, and measures of its drift.

Both maps are of the same class, the label: the same question is asked of the clean and of the
changed image. The map of the predicted class would change with the answer, and a drift of it would
say that the answer changed, which the error says already.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from attacks.gradients import exact_path, frozen, full_float32
from benchmarks.evaluation import in_batches, refuse_outside
from benchmarks.layers import SpatialLayer, hooked, spatial_layer
from benchmarks.suite import Examples, ModelEntry

SAMPLE = 2  # images that a model is shown to find its layer


def grad_cam(model: nn.Module, images: Tensor, classes: Tensor, layer: SpatialLayer) -> Tensor:
    """What speaks for a class, cell by cell of a layer's map: float32 (N, h, w), 0 or more.

    The channels of the map, weighted by the mean gradient of the class's logit over each, are
    summed, and what speaks against the class is cut off at 0. No pixel is interpolated: the map has
    the layer's resolution. Images are passed in batches as of `benchmarks.evaluation`; the model is
    left as it was.

    Source: Selvaraju et al. 2017, "Grad-CAM: visual explanations from deep networks via
    gradient-based localization", equations 1 and 2.

    Args:
        model: maps images to logits (N, K); on the device of ``images``.
        images: float32 (N, C, H, W) in [0, 1], N at least 1.
        classes: int64 (N,), one for each image.
        layer: such as `benchmarks.layers.spatial_layer` finds.

    Raises:
        ValueError: there is no such layer or class, or the logits do not depend on the layer.
    """
    return logits_and_maps(model, images, classes, layer)[1]


def logits_and_maps(
    model: nn.Module,
    images: Tensor,
    classes: Tensor,
    layer: SpatialLayer,
    batch_size: int | None = None,
    halved: Callable[[int], None] | None = None,
) -> tuple[Tensor, Tensor]:
    """The float32 logits (N, K) and the `grad_cam` maps (N, h, w) of one pass.

    Nothing is differentiated before the layer, so a map costs little more than the logits.

    Args:
        model, images, classes, layer: as of `grad_cam`.
        batch_size, halved: as of `benchmarks.evaluation.float32_logits`.

    Raises:
        ValueError: as `grad_cam`.
    """

    def of_batch(part: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        return _of_batch(model, part, wanted, layer)

    with frozen(model), torch.enable_grad(), full_float32(images.device):
        parts = in_batches(of_batch, (images, classes), batch_size, halved)
    logits, maps = (torch.cat(each) for each in zip(*parts, strict=True))
    return logits, maps


def _of_batch(
    model: nn.Module, images: Tensor, classes: Tensor, layer: SpatialLayer
) -> tuple[Tensor, Tensor]:
    held: list[Tensor] = []

    def cut(_: str, output: Tensor) -> Tensor:
        held[:] = [output.detach().requires_grad_()]
        return held[0].clone()  # the next layer may write into it

    with hooked(model, [layer.name], cut):
        logits = exact_path(model)(images)
    refuse_outside(classes, logits.shape[1])
    scores = logits.gather(1, classes[:, None]).sum()
    gradient = None
    if held and scores.requires_grad:
        (gradient,) = torch.autograd.grad(scores, held, allow_unused=True)
    if gradient is None:
        raise ValueError(f"no gradient of the logits reaches layer {layer.name}")
    weights = layer.maps(gradient).mean(dim=(2, 3))
    maps = torch.einsum("nc,nchw->nhw", weights, layer.maps(held[0].detach())).relu()
    return logits.detach(), maps.float()


def drift(clean: Tensor, other: Tensor) -> dict[str, Tensor]:
    """How far maps (N, h, w) have moved from those of the clean images: (N,) of each measure.

    By the names of `benchmarks.columns.ATTENTION`: ``defined`` (whether both maps have any mass),
    `kept_mass`, `centre_shift` and `rank_correlation`.
    """
    return {
        "defined": torch.isfinite(kept_mass(clean, other)),
        "kept_mass": kept_mass(clean, other),
        "centre_shift": centre_shift(clean, other),
        "rank_correlation": rank_correlation(clean, other),
    }


def kept_mass(clean: Tensor, other: Tensor) -> Tensor:
    """The share of the mass that stays where it was: the sum of min(p, q), float64 (N,).

    p and q are the maps (N, h, w), 0 or more, divided by their sums. 1: the maps are equal up to a
    factor; 0: nowhere do both have mass. It is 1 minus the total variation distance. NaN where a
    map has no mass.
    """
    return torch.minimum(_shares(clean), _shares(other)).sum(dim=(1, 2))


def centre_shift(clean: Tensor, other: Tensor) -> Tensor:
    """How far the centre of mass has moved, in sides of the image: float64 (N,).

    1 is the way along a whole side, √2 from corner to corner; in an image that is not square, each
    direction is measured by its own side. Cells count by their centres. NaN where a map (N, h, w)
    has no mass.
    """
    moved: Tensor = torch.linalg.vector_norm(_centres(clean) - _centres(other), dim=1)
    return moved


def rank_correlation(clean: Tensor, other: Tensor) -> Tensor:
    """Spearman's correlation of the cells of two maps (N, h, w): float64 (N,), -1 to 1.

    Ties have their average rank. NaN where all cells of a map are equal.
    """
    one, two = (_centred_ranks(maps.flatten(1)) for maps in (clean, other))
    norms: Tensor = torch.linalg.vector_norm(one, dim=1) * torch.linalg.vector_norm(two, dim=1)
    return ((one * two).sum(dim=1) / norms).clamp(-1, 1)  # 0 / 0 is NaN


def attention_layers(
    models: Sequence[ModelEntry], examples: Examples, device: str, asked: bool | Mapping[str, str]
) -> tuple[SpatialLayer, ...]:
    """The layer of each model that Grad-CAM reads, found with the first examples.

    Args:
        models, examples: those of a plan.
        device: where the models are.
        asked: layers by the models' names; the others, or with True all, have the default of
            `benchmarks.layers.spatial_layer`.

    Raises:
        ValueError: a model has no such layer, or there is no model of a name.
    """
    named = {} if isinstance(asked, bool) else asked
    unknown = next((name for name in named if name not in [each.name for each in models]), None)
    if unknown is not None:
        raise ValueError(f"A layer is given for {unknown}, which is none of the models")
    sample = examples.shard(0, min(SAMPLE, len(examples))).images.to(device)
    found = []
    for entry in models:
        try:
            found.append(spatial_layer(entry.get(), sample, named.get(entry.name)))
        except ValueError as error:
            raise ValueError(f"Where {entry.name} looks cannot be measured: {error}") from error
    return tuple(found)


def _shares(maps: Tensor) -> Tensor:
    values = maps.double()
    return values / values.sum(dim=(1, 2), keepdim=True)  # 0 / 0 is NaN


def _centres(maps: Tensor) -> Tensor:
    """The centres of mass, (N, 2): down and across, each 0 to 1."""
    shares = _shares(maps)
    height, width = maps.shape[1:]
    down, across = (
        (torch.arange(size, dtype=torch.float64, device=maps.device) + 0.5) / size
        for size in (height, width)
    )
    return torch.stack([shares.sum(dim=2) @ down, shares.sum(dim=1) @ across], dim=1)


def _centred_ranks(values: Tensor) -> Tensor:
    """Average ranks of values (N, T), with their mean taken off."""
    values = values.contiguous()
    ordered = values.sort(dim=1).values
    below = torch.searchsorted(ordered, values)
    through = torch.searchsorted(ordered, values, right=True)
    ranks = (below + through).double() / 2
    return ranks - ranks.mean(dim=1, keepdim=True)
