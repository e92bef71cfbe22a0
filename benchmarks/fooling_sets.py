"""Sets of fooling images in HDF5: each image of a data set led to wrong classes.

A file holds ``images``, uint8 (strength, example, height, width, channel), and of each what became
of it (`Outcome`), over the scales ``strength`` and ``example``: the ids of the *clean* images.
"""

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from attacks import fooling
from attacks.draws import Stream, derived_seeds, image_seeds
from attacks.execution import engine
from benchmarks import durable
from benchmarks.columns import Array
from benchmarks.evaluation import float32_logits
from benchmarks.identity import canonical_json
from benchmarks.image_sets import create_images, write_scales
from benchmarks.storage import LIBVER

FORMAT = "adversarial-workbench-fooling"
FORMAT_VERSION = 1

_NOTES = {
    "target": "the class that was aimed at",
    "prediction": "the model's answer to the stored 8-bit image, in float32",
    "confidence": "softmax probability of that answer",
    "reached": "1 where the answer is the target",
    "steps": "gradient steps taken",
    "l2": "length of the change of the stored image, in units of the image range",
    "clipped": "share of the values that ended at 0 or 1 and had not been there",
}


class Outcome(NamedTuple):
    """What became of n images; the fields but for the images are datasets of a file.

    Attributes:
        images: uint8 (n, H, W, C).
        target: int32 (n,), the class that was aimed at.
        prediction: int32 (n,), the model's answer to the stored image, in float32.
        confidence: float32 (n,), softmax probability of that answer.
        reached: uint8 (n,), 1 where the answer is the target.
        steps: int32 (n,).
        l2: float32 (n,), length of the change, in units of the image range.
        clipped: float32 (n,), share of the values that ended at 0 or 1 and had not been there.
    """

    images: Array
    target: Array
    prediction: Array
    confidence: Array
    reached: Array
    steps: Array
    l2: Array
    clipped: Array


@dataclass(frozen=True)
class FoolingSet:
    """What a file says of itself; the images stay in it until they are read.

    Attributes:
        path: the file.
        strengths: in the order of the file, as `attacks.fooling` takes them.
        shape: (S, N, H, W, C).
        ids: int64 (N,), the ids of the clean images.
        labels: int64 (N,), as the model that was fooled numbers the classes.
        class_names: one name a class, or None where they have none.
        description: how the images were made.
    """

    path: Path
    strengths: tuple[float, ...]
    shape: tuple[int, int, int, int, int]
    ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...] | None
    description: Mapping[str, object]

    def read(self, index: int, start: int, stop: int) -> NDArray[np.uint8]:
        """Images (n, H, W, C) of the rows ``start`` … ``stop`` - 1 at the strength of an index.

        Raises:
            OSError: the file is damaged there.
        """
        with h5py.File(self.path, "r") as file:
            found: NDArray[np.uint8] = file["images"][index, start:stop]
        return found

    def measures(self, index: int) -> dict[str, Array]:
        """What became of the images at the strength of an index: all of `Outcome` but these."""
        with h5py.File(self.path, "r") as file:
            return {name: file[name][index] for name in Outcome._fields[1:]}

    def outcome(self, index: int) -> Outcome:
        """All images at the strength of an index, and what became of them."""
        with h5py.File(self.path, "r") as file:
            return Outcome(*(file[name][index] for name in Outcome._fields))


def fool(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    ids: Tensor,
    *,
    strength: float,
    seed: int = 0,
    steps: int = 100,
    start: str = "image",
    precision: str = "auto",
    batch_size: int | None = None,
) -> Outcome:
    """Lead each image to a random wrong class, and look at what comes of it in 8 bits.

    Args:
        model: maps images in [0, 1] to logits (n, K), and carries its ``std``.
        images: float32 (n, C, H, W) in [0, 1].
        labels: int64 (n,).
        ids: int64 (n,); targets are drawn for (seed, id, strength).
        strength: length of a step as `attacks.fooling` has it: in normalised units at 3x224x224.
        seed: of the draws.
        steps: at most this many.
        start: ``image``, ``noise`` or ``blank``.
        precision: of the gradients: ``auto``, ``float32`` or ``bfloat16``.
        batch_size: images per pass; None to choose.

    Raises:
        ValueError: for settings or images that do not fit.
    """
    # By the strength itself, so that a strength's images do not hang on the others of a set.
    own = derived_seeds(
        image_seeds(seed, ids.to(images.device)),
        stream=Stream.TARGETS,
        step=struct.unpack("<q", struct.pack("<d", strength))[0],
    )
    with engine(precision=precision, batch_size=batch_size):
        attacked = fooling(
            model, images, labels, seeds=own, strength=strength, steps=steps, start=start
        )
    targets = attacked.goal.targets
    if targets is None:
        raise ValueError("fooling images have a target each")
    pixels = attacked.images.mul(255).round_()
    stored = pixels / 255
    answers = torch.softmax(float32_logits(model, stored, batch_size), 1).max(1)
    border = (stored == 0) | (stored == 1)
    before = (images == 0) | (images == 1)
    return Outcome(
        _array(pixels.permute(0, 2, 3, 1), np.uint8),
        _array(targets, np.int32),
        _array(answers.indices, np.int32),
        _array(answers.values, np.float32),
        _array(answers.indices == targets, np.uint8),
        _array(attacked.steps, np.int32),
        _array((stored - images).flatten(1).norm(dim=1), np.float32),
        _array((border & ~before).flatten(1).float().mean(1), np.float32),
    )


def write_fooling_set(
    path: Path,
    outcomes: Iterable[tuple[int, int, Outcome]],
    *,
    strengths: Sequence[float],
    image_shape: tuple[int, int, int],
    ids: NDArray[np.int64],
    labels: NDArray[np.int64],
    class_names: Sequence[str] | None,
    description: Mapping[str, object],
) -> None:
    """Write a set, with its checksum beside it, so that it is there as a whole or not at all.

    Args:
        path: the file, replaced in one move once it is complete.
        outcomes: index of the strength, first row and what became of the images from there on; of
            all images at all strengths, in any order.
        strengths: as `fool` was given them.
        image_shape: (H, W, C).
        ids: int64 (N,), the ids of the clean images.
        labels: int64 (N,).
        class_names: one name a class, or None.
        description: JSON values: how the images were made.

    Raises:
        OSError: it cannot be written; nothing half written is left.
        ValueError: images are missing.
    """
    shape = (len(strengths), len(ids), *image_shape)
    with (
        durable.replacing(path) as temporary,
        durable.sink(temporary) as target,
        h5py.File(target, "w", libver=LIBVER) as file,
    ):
        create_images(file, shape)
        written = 0
        for index, start, outcome in outcomes:
            rows = slice(start, start + len(outcome.images))
            for name, values in outcome._asdict().items():
                if name not in file:
                    file.create_dataset(name, shape[:2], values.dtype, fletcher32=True)
                    file[name].attrs["description"] = _NOTES[name]
                file[name][index, rows] = values
            written += len(outcome.images)
            target.check()
        if written != shape[0] * shape[1]:
            raise ValueError(f"{written} of {shape[0] * shape[1]} images were given")
        write_scales(file, "strength", np.array(strengths, np.float64), ids, labels)
        for name in Outcome._fields[1:]:
            for axis, scale in enumerate(("strength", "example")):
                file[name].dims[axis].label = scale
                file[name].dims[axis].attach_scale(file[scale])
        attributes = {
            "format": FORMAT,
            "format_version": np.int64(FORMAT_VERSION),
            "class_names": canonical_json(None if class_names is None else list(class_names)),
            "description": canonical_json(dict(description)),
        }
        for name, value in attributes.items():
            file.attrs[name] = value
        file.attrs["complete"] = np.uint8(1)


def read_fooling_set(path: Path) -> FoolingSet:
    """What a file holds, its images left out.

    Raises:
        OSError: it is absent, or no HDF5 file.
        ValueError: it is no complete set of fooling images.
    """
    with h5py.File(path, "r") as file:
        if file.attrs.get("format") != FORMAT or "complete" not in file.attrs:
            raise ValueError(f"{path} is no complete set of fooling images")
        if int(file.attrs["format_version"]) > FORMAT_VERSION:
            raise ValueError(f"{path} was written by a newer version of the workbench")
        try:
            names = json.loads(file.attrs["class_names"])
            strengths, examples, height, width, channels = file["images"].shape
            return FoolingSet(
                Path(path),
                tuple(float(strength) for strength in file["strength"][()]),
                (strengths, examples, height, width, channels),
                file["example"][()].astype(np.int64),
                file["label"][()].astype(np.int64),
                None if names is None else tuple(names),
                json.loads(file.attrs["description"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is damaged: {error}") from error


def _array(values: Tensor, dtype: type[np.generic]) -> Array:
    return values.cpu().numpy().astype(dtype)
