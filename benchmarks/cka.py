"""How alike the layers of two models are: linear CKA over batches, in bounded memory.

Two layers are alike where the same pairs of images are alike in both. Of each batch only the Gram
matrices of the layers (images by images) are kept, and of those only their inner products.

Sources: Kornblith et al., "Similarity of Neural Network Representations Revisited",
arXiv:1905.00414 (linear CKA); Nguyen, Raghu & Kornblith, "Do Wide and Deep Networks Learn the Same
Things?", arXiv:2010.15327, equations 4 and 5 (over batches); Song et al., "Feature Selection via
Dependence Maximization", JMLR 13 (2012), equation 5 (the unbiased HSIC).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from attacks.gradients import exact_path, frozen, full_float32
from benchmarks.layers import hooked
from benchmarks.student import student95

LEAST = 4
"""Images that a batch needs: the unbiased HSIC divides by n(n - 3)."""

_VALUES = 2**21  # activations taken to float64 at a time: 16 MB
_NOISE = 1e-12  # of a layer's mean squared norm: float32 tells no images apart below it

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Similarity:
    """CKA of each layer of one model with each of another.

    Attributes:
        first_layers, second_layers: names, as they were asked for.
        values: float64 (L1, L2), at most 1; near 0, and as often below as above it, for layers
            that have nothing in common; NaN where a layer has none (see ``undefined``).
        without: float64 (B, L1, L2), the same without each of the batches.
        undefined: for each model, why a layer has no similarity, by its name.
        images: how many were taken.
        batch_size: of the largest batch.
        left_out: images in batches of fewer than `LEAST`.
    """

    first_layers: tuple[str, ...]
    second_layers: tuple[str, ...]
    values: Floats
    without: Floats
    undefined: tuple[Mapping[str, str], Mapping[str, str]]
    images: int
    batch_size: int
    left_out: int = 0

    def intervals(self) -> Floats:
        """95 % intervals, (L1, L2, 2); NaN where there are fewer than two batches.

        By the jackknife over batches, with Student's t for as many batches less one (Shao & Tu,
        "The Jackknife and Bootstrap", 1995, section 1.1): other images of the same kind would
        give values in there, for these two models.
        """
        return np.clip(_jackknifed(self.values, self.without), -1.0, 1.0)

    def difference(self, one: tuple[int, int], other: tuple[int, int]) -> tuple[float, Floats]:
        """By how much one pair of layers is more alike than another, and its 95 % interval (2,).

        Both are seen on the same images: their difference is told far better than either.
        """
        value = self.values[one] - self.values[other]
        without = self.without[:, *one] - self.without[:, *other]
        return float(value), _jackknifed(value, without)


def cka(
    first_model: nn.Module,
    second_model: nn.Module,
    batches: Iterable[Tensor],
    first_layers: Sequence[str],
    second_layers: Sequence[str],
) -> Similarity:
    """Compare the layers of two models, or of one with themselves.

    A layer's activations are all that it puts out for an image, as one vector; of several outputs
    the first, of several calls all. The estimate is of all images like these, whatever the batch
    size. Batches should be of about one size; each counts by its images.

    Args:
        first_model, second_model: take the images; maybe the same object, which then runs once.
        batches: images (n, C, H, W) of the models' device, each once; other images in each batch.
        first_layers, second_layers: names, of `benchmarks.layers.named_layers`.

    Raises:
        ValueError: no layers are named, there is no such layer, it does not run or does not put
            out a row an image, or no batch has `LEAST` images.
    """
    same = first_model is second_model
    wanted = [list(dict.fromkeys(layers)) for layers in (first_layers, second_layers)]
    if not all(wanted):
        raise ValueError("no layers are named")
    if same:
        wanted = [list(dict.fromkeys(wanted[0] + wanted[1]))]
    models = [first_model] if same else [first_model, second_model]
    seen: list[_Batch] = []
    left_out = 0
    with frozen(first_model), frozen(second_model), torch.no_grad():
        for images in batches:
            if len(images) < LEAST:
                left_out += len(images)
                continue
            grams = [
                _grams(model, images, layers) for model, layers in zip(models, wanted, strict=True)
            ]
            seen.append(_products(grams[0], grams[-1], first_layers, second_layers))
    if not seen:
        raise ValueError(f"no batch has {LEAST} images, which unbiased CKA needs at least")
    weights = np.array([float(batch.images) for batch in seen])
    parts = _Batch(*map(np.stack, zip(*seen, strict=True)))  # a leading axis: the batches
    total = [_weighted(weights, part) for part in parts[1:]]
    reasons = [_reasons(own, size) for own, size in (total[1:3], total[3:])]
    undefined = [np.array([text is not None for text in side]) for side in reasons]
    return Similarity(
        first_layers=tuple(first_layers),
        second_layers=tuple(second_layers),
        values=_ratio(total, undefined),
        without=np.array(
            [
                _ratio([_weighted(others, part) for part in parts[1:]], undefined)
                for others in (weights * (1 - np.eye(len(seen))) if len(seen) > 1 else [])
            ]
        ).reshape(-1, len(first_layers), len(second_layers)),
        undefined=tuple(  # type: ignore[arg-type]  # there are two
            {name: text for name, text in zip(layers, side, strict=True) if text is not None}
            for layers, side in zip((first_layers, second_layers), reasons, strict=True)
        ),
        images=int(weights.sum()),
        batch_size=int(weights.max()),
        left_out=left_out,
    )


class _Gram(NamedTuple):
    """``centred`` as `_u_centred` gives it; ``size`` is the mean squared norm of activations."""

    centred: Tensor
    size: float


class _Batch(NamedTuple):
    """Of one batch, or of several along a first axis: unbiased HSIC of layers, and their sizes."""

    images: Any
    both: Any  # (L1, L2), of a layer with one of the other model
    first: Any  # (L1,), of a layer with itself
    first_size: Any
    second: Any
    second_size: Any


def _grams(model: nn.Module, images: Tensor, layers: Sequence[str]) -> dict[str, _Gram]:
    """The centred Gram matrices of layers; activations are given up as soon as they were seen."""
    found: dict[str, tuple[Tensor, float]] = {}

    def watch(name: str, output: Tensor) -> None:
        gram, size = _gram(_rows(name, output, len(images)))
        before = found.get(name)
        found[name] = (gram, size) if before is None else (before[0] + gram, before[1] + size)

    with hooked(model, layers, watch), full_float32(images.device):
        exact_path(model)(images)
    for name in layers:
        if name not in found:
            raise ValueError(f"the layer {name} does not run, or puts out no tensor")
    return {name: _Gram(_u_centred(gram), size) for name, (gram, size) in found.items()}


def _rows(name: str, output: Tensor, images: int) -> Tensor:
    if output.dim() < 2 or len(output) != images:
        raise ValueError(
            f"the layer {name} puts out {tuple(output.shape)} for {images} images: "
            "that is no row an image"
        )
    return output.flatten(1)


def _gram(rows: Tensor) -> tuple[Tensor, float]:
    """(n, n) float64 inner products of centred rows (n, p), and the mean squared norm before.

    Unbiased HSIC does not change with a shift of all rows; taking off their mean keeps digits.
    """
    place = torch.device("cpu") if rows.device.type == "mps" else rows.device  # it has no float64
    gram = torch.zeros(len(rows), len(rows), dtype=torch.float64, device=place)
    size = torch.zeros((), dtype=torch.float64, device=place)
    for part in rows.split(max(1, _VALUES // len(rows)), dim=1):
        wide = part.to(place).double()
        size += wide.square().sum()
        wide -= wide.mean(dim=0)
        gram.addmm_(wide, wide.T)
    return gram, float(size) / len(rows)


def _u_centred(gram: Tensor) -> Tensor:
    """The matrix less its rows' and columns' means, its diagonal left out, in place of (n, n).

    The unbiased HSIC of two kernels is the inner product of two such matrices over n(n - 3)
    (Székely & Rizzo, "Partial distance correlation", Ann. Statist. 42, 2014, section 3), so a
    layer's with itself is never negative.
    """
    count = len(gram)
    rows = gram.fill_diagonal_(0.0).sum(dim=1)
    gram -= (rows[:, None] + rows) / (count - 2)
    gram += rows.sum() / ((count - 1) * (count - 2))
    return gram.fill_diagonal_(0.0)


def _products(
    first: Mapping[str, _Gram],
    second: Mapping[str, _Gram],
    first_layers: Sequence[str],
    second_layers: Sequence[str],
) -> _Batch:
    one, other = (
        torch.stack([grams[name].centred.flatten() for name in layers])
        for grams, layers in ((first, first_layers), (second, second_layers))
    )
    count = round(one.shape[1] ** 0.5)
    pairs = count * (count - 3)
    return _Batch(
        count,
        (one @ other.T / pairs).cpu().numpy(),
        (one.square().sum(dim=1) / pairs).cpu().numpy(),
        np.array([first[name].size for name in first_layers]),
        (other.square().sum(dim=1) / pairs).cpu().numpy(),
        np.array([second[name].size for name in second_layers]),
    )


def _weighted(weights: Floats, values: Floats) -> Floats:
    """The mean over the first axis."""
    mean: Floats = np.tensordot(weights, values, axes=1) / weights.sum()
    return mean


def _reasons(own: Floats, size: Floats) -> list[str | None]:
    """Why layers have no similarity; None where they have one."""
    return [
        "its activations are not finite"
        if not np.isfinite(hsic)
        else "no images are more alike to it than others: it is constant, or nearly"
        if np.sqrt(hsic) <= _NOISE * norm
        else None
        for hsic, norm in zip(own.tolist(), size.tolist(), strict=True)
    ]


def _ratio(total: Sequence[Floats], undefined: Sequence[NDArray[np.bool_]]) -> Floats:
    both, first, _, second, _ = total
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.clip(both / np.sqrt(first)[:, None] / np.sqrt(second), -1.0, 1.0)
    return np.where(undefined[0][:, None] | undefined[1], np.nan, values)


def _jackknifed(value: Floats | np.float64, without: Floats) -> Floats:
    """The 95 % interval (..., 2) of a value (...), from those without each batch (B, ...)."""
    count = len(without)
    if count < 2:
        return np.full((*np.shape(value), 2), np.nan)
    squares = ((without - without.mean(axis=0)) ** 2).sum(axis=0)
    half = student95(count - 1) * np.sqrt((count - 1) / count * squares)
    return np.stack([value - half, value + half], axis=-1)
