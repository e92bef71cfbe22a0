"""A data set class by class: how many images, how bright, and what they look like."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workbench.datasets import Dataset
from workbench.drawing.looks import MUTED
from workbench.exhibits import Exhibit, Table
from workbench.explain.images import short_name
from workbench.explain.tiles import Caption, Section, Tile, tile_pixels, tiles_drawing
from workbench.explain.viewed import Viewed
from workbench.subjects import COUNTING_BATCH

COLUMNS, ON_A_PAGE = 5, 50
LUMA = (0.299, 0.587, 0.114)  # of red, green and blue in brightness: ITU-R BT.601


@dataclass(frozen=True)
class ClassSums:
    """Of each class, over its images, which have values in [0, 1].

    Attributes:
        images: int64 (K,).
        mean, std: float64 (K, C), over all pixels; NaN where there are no images.
        brightness: float64 (K,), the mean of the grey images.
        contrast: float64 (K,), mean over images of the standard deviation of their grey pixels.
        mean_images: float32 (K, C, H, W); NaN where there are no images.
        first: int64 (K,), the row of a class's first image, -1 where there is none.
    """

    images: NDArray[np.int64]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    brightness: NDArray[np.float64]
    contrast: NDArray[np.float64]
    mean_images: NDArray[np.float32]
    first: NDArray[np.int64]


def class_sums(dataset: Dataset, batch: int = COUNTING_BATCH) -> ClassSums:
    """Read every image once and sum up the classes."""
    classes, shape = dataset.classes, (dataset.channels, *dataset.size)
    pictures = torch.zeros(classes, *shape)  # half a gigabyte for ImageNet's: only to be looked at
    sums, squares = torch.zeros(2, classes, dataset.channels, dtype=torch.float64)
    contrast = torch.zeros(classes, dtype=torch.float64)
    for start in range(0, len(dataset), batch):
        rows = slice(start, start + batch)
        labels = torch.from_numpy(dataset.labels[rows])
        images = dataset.images(rows)
        pictures.index_add_(0, labels, images)
        images = images.double()
        sums.index_add_(0, labels, images.mean(dim=(2, 3)))
        squares.index_add_(0, labels, images.square().mean(dim=(2, 3)))
        contrast.index_add_(0, labels, _grey(images).flatten(1).std(dim=1, correction=0))
    counts = np.bincount(dataset.labels, minlength=classes)
    some = torch.from_numpy(np.where(counts > 0, counts, np.nan))
    mean = sums / some[:, None]
    variance = (squares / some[:, None] - mean.square()).clamp_min(0)
    first = np.full(classes, -1, dtype=np.int64)
    first[dataset.labels[::-1]] = np.arange(len(dataset))[::-1]
    return ClassSums(
        counts,
        mean.numpy(),
        variance.sqrt().numpy(),
        _grey(mean[:, :, None, None]).flatten().numpy(),
        (contrast / some).numpy(),
        pictures.div_(some.float().view(-1, 1, 1, 1)).numpy(),
        first,
    )


def data(viewed: Viewed) -> list[Exhibit]:
    """The data class by class: number of images, mean and spread, brightness, an image, the mean.

    No model is asked for anything.
    """
    dataset, sums = viewed.dataset, class_sums(viewed.dataset)
    height, width = dataset.size
    kept = [index for index in range(dataset.classes) if sums.images[index]]
    note = (
        f"{len(dataset)} images of {width} x {height} pixels, {dataset.channels} channel"
        f"{'s' if dataset.channels > 1 else ''}, values from 0 to 1. Brightness is the mean of the "
        "grey image, contrast the mean over images of the standard deviation in it."
    )
    pages = [kept[start : start + ON_A_PAGE] for start in range(0, len(kept), ON_A_PAGE)]
    exhibits = []
    for number, page in enumerate(pages):
        first = number == 0
        through = f", {number + 1} of {len(pages)}" if len(pages) > 1 else ""
        tiles = tuple(_tile(viewed, sums, index) for index in page)
        exhibits.append(
            Exhibit(
                name="data" if first else f"data-{number + 1}",
                title=f"{dataset.name} by class{through}",
                note=note if first else "",
                drawing=tiles_drawing([Section("", tiles)], COLUMNS),
                words="Of each class the first image, and the mean of all: "
                + ", ".join(short_name(viewed, index) for index in page)
                + ".",
                table=_table(viewed, sums, kept) if first else None,
                numbers=_numbers(viewed, sums, kept) if first else {},
            )
        )
    return exhibits


def _tile(viewed: Viewed, sums: ClassSums, index: int) -> Tile:
    (example,) = viewed.dataset.images(np.array([sums.first[index]]))
    mean = torch.from_numpy(sums.mean_images[index])
    count = f"{sums.images[index]} image{'s' if sums.images[index] > 1 else ''}"
    return Tile(
        (tile_pixels(example), tile_pixels(mean)),
        (Caption(short_name(viewed, index)), Caption(count, colour=MUTED)),
    )


def _table(viewed: Viewed, sums: ClassSums, kept: list[int]) -> Table:
    channels = ("red", "green", "blue") if viewed.dataset.channels == 3 else ("grey",)
    lines = [
        (
            short_name(viewed, index),
            str(sums.images[index]),
            *(
                f"{mean:.3f} ± {std:.3f}"
                for mean, std in zip(sums.mean[index], sums.std[index], strict=True)
            ),
            f"{sums.brightness[index]:.3f}",
            f"{sums.contrast[index]:.3f}",
        )
        for index in kept
    ]
    headings = (f"{channel}, mean ± std" for channel in channels)
    return Table(("class", "images", *headings, "brightness", "contrast"), tuple(lines))


def _numbers(viewed: Viewed, sums: ClassSums, kept: list[int]) -> dict[str, object]:
    return {
        "images": len(viewed.dataset),
        "size": list(viewed.dataset.size),
        "channels": viewed.dataset.channels,
        "classes": [
            {
                "class": index,
                "name": viewed.class_names[index],
                "images": int(sums.images[index]),
                "mean": sums.mean[index].tolist(),
                "std": sums.std[index].tolist(),
                "brightness": float(sums.brightness[index]),
                "contrast": float(sums.contrast[index]),
            }
            for index in kept
        ],
    }


def _grey(images: Tensor) -> Tensor:
    """Brightness of images (N, C, H, W): (N, H, W)."""
    if images.shape[1] == 1:
        return images[:, 0]
    return torch.einsum("nchw,c->nhw", images, torch.tensor(LUMA, dtype=images.dtype))
