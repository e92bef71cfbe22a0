"""Corruptions by name: what was asked for, and how images are corrupted in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attacks.corruptions import (
    CORRUPTIONS,
    GROUPS,
    SEVERITIES,
    SIZES,
    SMALLEST,
    Corruption,
    corrupt,
    strength_size,
)
from attacks.corruptions.textures import digest
from attacks.corruptions.weather import frost_with
from attacks.draws import image_seeds
from benchmarks.suite import Corrupted, Shard
from workbench.datasets import Dataset
from workbench.errors import UsageError, unknown
from workbench.stored_corruptions import stored_corruptions

__all__ = [
    "Recipe",
    "check_images",
    "check_strengths",
    "make_recipes",
    "parse_corruptions",
    "parse_severities",
    "stored_corruptions",
]

PUBLISHED_TEXTURES = tuple(f"frost{number}" for number in range(1, 6))
"""The photographs of frost that are drawn from; the sixth that was published never is."""

JPEG_QUALITY = 85  # of every file of ImageNet-C, saved after the corruption
PROCEDURAL = "procedural"
BY_SIZE = "by image size"


def parse_corruptions(text: str) -> tuple[str, ...]:
    """Corruptions by their names, families or groups, in the order of the literature.

    Args:
        text: ``standard`` (15), ``extra`` (4), ``all`` (19), families (``noise``, ``blur``,
            ``weather``, ``digital``) and names, separated by commas.

    Raises:
        UsageError: something in it is none of these.

    """
    chosen: set[str] = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        word = part.lower().replace("-", "_")
        if word not in GROUPS and word not in CORRUPTIONS:
            raise unknown("corruption", part, [*CORRUPTIONS, *GROUPS])
        chosen.update(GROUPS.get(word, (word,)))
    if not chosen:
        raise UsageError(
            f"--corruptions {text!r} names none: write standard, extra, all, a family such as "
            "noise, or names with commas."
        )
    return tuple(name for name in CORRUPTIONS if name in chosen)


def parse_severities(text: str) -> tuple[int, ...]:
    """Severities such as ``1-5``, ``3`` or ``1,3,5``, ascending.

    Raises:
        UsageError: it is not written like that, or one of them is not 1, 2, 3, 4 or 5.

    """
    chosen: set[int] = set()
    for part in text.split(","):
        low, dash, high = (word.strip() for word in part.partition("-"))
        if not low.isdecimal() or (dash and not high.isdecimal()):
            raise UsageError(f"--severities {text!r}: write 1-5, 3 or 1,3,5.")
        span = range(int(low), int(high or low) + 1)
        if not span:
            raise UsageError(f"--severities {text}: write the lower one first, as in 1-5.")
        if not set(span) <= set(SEVERITIES):
            raise UsageError(
                f"--severities {text}: severities are 1, 2, 3, 4 and 5; 0 would be the clean image."
            )
        chosen.update(span)
    return tuple(sorted(chosen))


def check_strengths(strengths: int | None) -> int | None:
    """Return the size whose strengths are taken, or raise `UsageError` if there are none for it."""
    if strengths is not None and strengths not in SIZES:
        raise UsageError(
            f"--strengths {strengths}: strengths were published for images of 32, 64 and 224 "
            "pixels; leave it out to go by the images' size."
        )
    return strengths


@dataclass(frozen=True)
class Recipe:
    """One corruption at one severity, as `attacks.corruptions.corrupt` is asked for it.

    Attributes:
        corruption: which one; for frost, with the textures that were chosen.
        severity: 1 to 5.
        seed: with an image's id it gives that image's draws.
        strengths: 32, 64 or 224, or None to go by the images' size.
        exact: compute in float64, as published.
        jpeg85: save as JPEG of quality 85 and read again afterwards, as ImageNet-C was stored.
        textures: the start of the digest of the frost textures, or ``procedural``.
        device: where to compute; None stays where the images are.
    """

    corruption: Corruption
    severity: int
    seed: int
    strengths: int | None = None
    exact: bool = False
    jpeg85: bool = False
    textures: str = PROCEDURAL
    device: torch.device | None = None

    @property
    def description(self) -> dict[str, Any]:
        """All that decides the pixels, as JSON values."""
        described: dict[str, Any] = {
            "corruption": self.corruption.name,
            "severity": self.severity,
            "seed": self.seed,
            "strengths": self.strengths or BY_SIZE,
            "exact": self.exact,
            "jpeg85": self.jpeg85,
        }
        return described | ({"textures": self.textures} if self.corruption.name == "frost" else {})

    @property
    def corrupted(self) -> Corrupted:
        """As `benchmarks.plan` takes it: made in memory from the clean images.

        An image's draws depend on ``seed`` and its id alone, so the images are those that
        `workbench corrupt` writes with the same settings.
        """
        return Corrupted(self.corruption.name, self.severity, self.description, self)

    def strength(self, height: int, width: int) -> Any:
        """What the corruption takes as its strength, for images of that size."""
        size = self.strengths or strength_size(height, width)
        return self.corruption.strengths[size][self.severity - 1]

    def pixels(self, images: Tensor, ids: NDArray[np.int64]) -> Tensor:
        """Corrupted images, uint8 (N, C, H, W).

        Args:
            images: (N, C, H, W), uint8, or floats in [0, 1], which are rounded to 8 bits.
            ids: int64 (N,), the ids of the clean images.
        """
        images = images.to(self.device)
        if images.dtype != torch.uint8:
            images = images.mul(255).round_().clamp_(0, 255).to(torch.uint8)
        seeds = image_seeds(self.seed, torch.from_numpy(ids).to(images.device))
        corrupted = corrupt(
            images,
            self.corruption,
            self.severity,
            seeds=seeds,
            strengths=self.strengths,
            exact=self.exact,
        )
        return jpeg_85(corrupted) if self.jpeg85 else corrupted

    def __call__(self, shard: Shard, rows: slice) -> Tensor:
        """Corrupted images of a shard, float32 (n, C, H, W) in [0, 1], on the 8-bit grid."""
        return self.pixels(shard.images, shard.ids).to(torch.float32).div_(255)


def make_recipes(
    names: Sequence[str],
    severities: Sequence[int],
    *,
    seed: int,
    strengths: int | None = None,
    exact: bool = False,
    textures: Path | None = None,
    jpeg85: bool = False,
    device: torch.device | None = None,
) -> list[Recipe]:
    """Every corruption at every severity, corruption by corruption.

    Args:
        names: as `parse_corruptions` gives them.
        severities: as `parse_severities` gives them.
        textures: a folder of frost textures; None takes those that are made by `attacks`.
        seed, strengths, exact, jpeg85, device: see `Recipe`.

    Raises:
        UsageError: no such strengths, or textures that cannot be read.

    """
    common = Recipe(
        next(iter(CORRUPTIONS.values())),
        SEVERITIES[0],
        seed,
        check_strengths(strengths),
        exact,
        jpeg85,
        device=device,
    )
    recipes = []
    for name in names:
        mine = replace(common, corruption=CORRUPTIONS[name])
        if name == "frost" and textures is not None:
            pictures = read_textures(textures)
            mine = replace(mine, corruption=frost_with(pictures), textures=digest(pictures)[:16])
        recipes += [replace(mine, severity=severity) for severity in severities]
    return recipes


def check_images(recipes: Sequence[Recipe], data: Dataset) -> None:
    """Refuse images that cannot be corrupted before time is spent on others.

    Raises:
        UsageError: they are too small, be it for any corruption or for the frost textures given.
    """
    height, width = data.size
    if min(height, width) < SMALLEST:
        raise UsageError(
            f"{data.name} has images of {width}x{height}; {SMALLEST} pixels is the least that can "
            "be corrupted."
        )
    black = torch.zeros(1, data.channels, height, width, dtype=torch.uint8)
    for recipe in recipes:
        if recipe.textures != PROCEDURAL:
            try:
                recipe.pixels(black, np.zeros(1, np.int64))
            except ValueError as error:
                raise UsageError(f"--frost-textures: {error}.") from None


def jpeg_85(pixels: Tensor) -> Tensor:
    """The images after a JPEG file of quality 85: uint8 (N, C, H, W) in and out."""
    return CORRUPTIONS["jpeg_compression"].apply(pixels, JPEG_QUALITY, None, torch.float32)


def read_textures(folder: Path) -> tuple[Tensor, ...]:
    """Frost textures from a folder, uint8 (3, H, W) each; one is drawn for each image, uniformly.

    Where the files are the published ones (`frost1` … `frost6`), the first five are taken, as the
    published generator does; else all image files in the order of their names.

    Raises:
        UsageError: no image files, or one that cannot be read.

    """
    from workbench.datasets.folders import image_files
    from workbench.datasets.photographs import decode, read_header

    folder = folder.expanduser()
    if not folder.is_dir():
        raise UsageError(f"--frost-textures {folder} is not a folder.")
    files = image_files(folder)
    published = {path.stem.lower(): path for path in files}
    if set(PUBLISHED_TEXTURES) <= set(published):
        files = [published[name] for name in PUBLISHED_TEXTURES]
    if not files:
        raise UsageError(f"--frost-textures {folder} holds no image files.")
    headers = [read_header(path) for path in files]
    return tuple(
        torch.tensor(decode(path, (header.height, header.width), 3, None)).permute(2, 0, 1)
        for path, header in zip(files, headers, strict=True)
    )
