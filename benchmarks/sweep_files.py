"""Sweeps in HDF5: the one module that writes and reads them.

The scales are ``model``, ``image`` (ids), ``draw``, ``position`` (the dial's values), ``place`` (of
the likeliest answers, from 1) and ``class``; ``answers`` holds what each model answered over them,
``aggregates`` every number that is printed, ``images`` the pictures of the first images.
"""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from benchmarks import durable
from benchmarks.identity import canonical_json
from benchmarks.reading import check_safe
from benchmarks.storage import LIBVER, storage
from benchmarks.sweep_numbers import Sweep, summary
from benchmarks.sweeps import FORMAT, TOP

FORMAT_VERSION = 1

_DAMAGE = (OSError, KeyError, TypeError, RuntimeError, AttributeError, IndexError, MemoryError)
_EACH = ("model", "image", "draw", "position")
_ANSWERS = {
    "true_class": (("model", "image"), "the label or, without one, the answer to the clean image"),
    "top": ((*_EACH, "place"), "the likeliest classes"),
    "probability": ((*_EACH, "place"), "softmax probabilities of the likeliest classes"),
    "true_confidence": (_EACH, "softmax probability of true_class"),
    "true_rank": (_EACH, "how many classes are before true_class: 0 is right"),
}
_INSIDE = "1 where the likeliest class is in the superclass of true_class; 255 where none is known"
_SHOWN = ("model", "shown", "position", "y", "x", "channel")
_TOLERANCE = 1e-6  # of what is summed in another order on another machine


@dataclass(frozen=True)
class SweepRecord:
    """A sweep, and how it was made.

    Attributes:
        sweep: what was found.
        config: JSON values: every resolved setting, and where models and images are from.
        seed: of draws and intervals.
        device: what it ran on.
        versions: library names to versions.
        created: UTC time at which the file was written, ISO 8601.
    """

    sweep: Sweep
    config: Mapping[str, Any]
    seed: int
    device: str
    versions: Mapping[str, str]
    created: str


def write_sweep(
    path: Path,
    found: Sweep,
    *,
    config: Mapping[str, Any],
    seed: int,
    device: str,
    versions: Mapping[str, str],
) -> None:
    """Put a sweep at ``path`` as a whole, with its checksum beside it.

    Args:
        path: the file, replaced in one move.
        found: the sweep.
        config: JSON values: every resolved setting.
        seed: of draws and intervals.
        device: what it ran on.
        versions: library names to versions.

    Raises:
        OSError: it cannot be written; an earlier one stays as it was.
    """
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=LIBVER) as file:
        attributes = {
            "format": FORMAT,
            "format_version": np.int64(FORMAT_VERSION),
            "dial": found.dial,
            "axis": found.axis,
            "normalised": np.uint8(found.normalised),
            "config": canonical_json(dict(config)),
            "versions": canonical_json(dict(versions)),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "seed": np.int64(seed),
            "device": device,
        }
        for name, value in attributes.items():
            file.attrs[name] = value
        _write_scales(file, found)
        for name, (dims, note) in _ANSWERS.items():
            _write(file, f"answers/{name}", getattr(found, name), dims, note)
        _write(file, "answers/inside", found.inside, _EACH, _INSIDE)
        for name, values in summary(found, seed).items():
            bounds = ("bound",) if values.ndim > 2 else ()
            _write(file, f"aggregates/{name}", values, ("model", "position", *bounds), "")
        note = "what the models were given in draw 0, in 8 bits"
        _write(file, "images/shown_images", found.shown, _SHOWN, note)
        file.attrs["complete"] = np.uint8(1)
    durable.write_bytes(path, buffer.getvalue())


def is_sweep(path: Path) -> bool:
    """Whether a file says that it is a sweep."""
    try:
        with h5py.File(path, "r") as file:
            return bool(file.attrs.get("format") == FORMAT)
    except (OSError, RuntimeError, ValueError):
        return False


def read_sweep(path: Path) -> SweepRecord:
    """Read a sweep after its checksum, where there is one beside it, and check its sums.

    Raises:
        ValueError: it is damaged, of another program or of another format version.
        OSError: it cannot be opened.
    """
    path = Path(path)
    with open(path, "rb"):  # "no such file" and "permission denied" stay what they are
        pass
    expected = durable.stored_checksum(path)
    if expected is not None and durable.sha256_file(path) != expected:
        raise ValueError(
            f"{path} is damaged: it does not match the checksum in "
            f"{durable.checksum_path(path).name}. Run its command again to make it anew."
        )
    try:
        with h5py.File(path, "r") as file:
            _check_format(path, file)
            check_safe(path, file)
            record = _read(file)
            _check_form(path, record.sweep)
            _check_sums(path, record, file)
            return record
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    except _DAMAGE as error:
        reason = " ".join(str(error).split())[:160]
        raise ValueError(f"{path} is not a whole sweep: {reason}") from error


def _write_scales(file: h5py.File, found: Sweep) -> None:
    draws, places = found.top.shape[2], found.top.shape[4]
    _, shown, _, height, width, channels = found.shown.shape
    text = h5py.string_dtype()
    scales: dict[str, Any] = {
        "model": np.array(found.models, text),
        "image": found.ids.astype(np.int64),
        "draw": np.arange(draws),
        "position": found.values.astype(np.float64),
        "place": np.arange(1, places + 1),
        "class": np.array(found.class_names, text),
        "bound": np.array(["low", "high"], text),
        "shown": np.arange(shown),
        "y": np.arange(height),
        "x": np.arange(width),
        "channel": np.arange(channels),
    }
    for name, values in scales.items():
        file.create_dataset(name, data=values).make_scale(name)
    note = "class of each image, -1 where it is not known"
    _write(file, "label", found.labels, ("image",), note)
    labels = np.array(found.position_labels, text)
    _write(file, "position_label", labels, ("position",), "the dial's values as they are written")
    if found.superclasses is not None:
        values = np.array(found.superclasses, text)
        _write(file, "superclass", values, ("class",), "the superclass of each class")


def _write(file: h5py.File, name: str, values: Any, dims: tuple[str, ...], note: str) -> None:
    kept = {} if values.dtype.kind == "O" else storage(values.shape)
    dataset = file.create_dataset(name, data=values, **kept)
    for axis, dim in enumerate(dims):
        dataset.dims[axis].label = dim
        dataset.dims[axis].attach_scale(file[dim])
    if note:
        dataset.attrs["description"] = note


def _check_format(path: Path, file: h5py.File) -> None:
    if file.attrs.get("format") != FORMAT:
        raise ValueError(f"{path} is an HDF5 file, but no record of `workbench probe`")
    version = int(file.attrs["format_version"])
    if version != FORMAT_VERSION:
        raise ValueError(
            f"{path} has format version {version}; this release reads {FORMAT_VERSION}"
        )
    if file.attrs.get("complete") != 1:
        raise ValueError(f"{path} is incomplete: run its command again")


def _read(file: h5py.File) -> SweepRecord:
    attributes = file.attrs
    config, versions = json.loads(attributes["config"]), json.loads(attributes["versions"])
    if not isinstance(config, dict) or not isinstance(versions, dict):
        raise TypeError("its attributes are not what they should be")

    def texts(name: str) -> tuple[str, ...]:
        return tuple(file[name].asstr()[()].tolist())

    sweep = Sweep(
        dial=str(attributes["dial"]),
        axis=str(attributes["axis"]),
        normalised=bool(attributes["normalised"]),
        values=file["position"][()].astype(np.float64),
        position_labels=texts("position_label"),
        models=texts("model"),
        ids=file["image"][()].astype(np.int64),
        labels=file["label"][()],
        class_names=texts("class"),
        superclasses=texts("superclass") if "superclass" in file else None,
        shown=file["images/shown_images"][()],
        **{name: file[f"answers/{name}"][()] for name in _ANSWERS},
    )
    return SweepRecord(
        sweep,
        config,
        int(attributes["seed"]),
        str(attributes["device"]),
        versions,
        str(attributes["created"]),
    )


def _check_form(path: Path, found: Sweep) -> None:
    """Refuse shapes, types and numbers that no sweep has."""
    models, images, classes = len(found.models), len(found.ids), len(found.class_names)
    positions = len(found.values)
    draws = found.true_rank.shape[2] if found.true_rank.ndim == 4 else 0
    each = (models, images, draws, positions)
    shapes = {
        "labels": ((images,), "i"),
        "true_class": ((models, images), "i"),
        "top": ((*each, min(TOP, classes)), "i"),
        "probability": ((*each, min(TOP, classes)), "f"),
        "true_confidence": (each, "f"),
        "true_rank": (each, "i"),
        "values": ((positions,), "f"),
    }
    for name, (shape, kind) in shapes.items():
        values = getattr(found, name)
        if values.shape != shape or values.dtype.kind != kind or not values.size:
            raise ValueError(f"{path} is damaged: {name} is {values.dtype} of shape {values.shape}")
    shown = found.shown.shape
    few = len(shown) == 6 and shown[0] == models and shown[1] <= images and shown[2] == positions
    if not few or shown[5] not in (1, 3) or found.shown.dtype != np.uint8:
        raise ValueError(f"{path} is damaged: its pictures are of shape {shown}")
    for name in ("position_labels", "superclasses"):
        texts, count = getattr(found, name), positions if name == "position_labels" else classes
        if texts is not None and len(texts) != count:
            raise ValueError(f"{path} is damaged: {len(texts)} {name} for {count}")
    for name, low in (("labels", -1), ("true_class", 0), ("top", 0), ("true_rank", 0)):
        values = getattr(found, name)
        if values.min() < low or values.max() >= classes:
            raise ValueError(f"{path} is damaged: {name} holds no class")
    shares = np.concatenate([found.probability.ravel(), found.true_confidence.ravel()])
    if not ((shares >= 0) & (shares <= 1 + _TOLERANCE)).all():
        raise ValueError(f"{path} is damaged: it holds probabilities that are none")
    if not np.isfinite(found.values).all() or (np.diff(found.values) <= 0).any():
        raise ValueError(f"{path} is damaged: the dial's values are not ascending")


def _check_sums(path: Path, record: SweepRecord, file: h5py.File) -> None:
    """Refuse answers that contradict each other, and sums that are not those of the answers."""
    found = record.sweep
    if (np.diff(found.probability, axis=-1) > _TOLERANCE).any():
        raise ValueError(f"{path} is damaged: its answers are not in the order of probability")
    true = found.true_class[:, :, None, None]
    place = found.true_rank[..., None]
    listed = place[..., 0] < found.top.shape[-1]
    at = np.minimum(place, found.top.shape[-1] - 1)
    there = np.take_along_axis(found.top, at, -1)[..., 0] == true
    said = np.take_along_axis(found.probability, at, -1)[..., 0]
    close = np.abs(said - found.true_confidence) <= _TOLERANCE
    if (there != listed).any() or not close[listed].all():
        raise ValueError(f"{path} is damaged: true_rank and true_confidence are of other answers")
    known = found.labels[None] >= 0
    if (known & (found.true_class != found.labels)).any():
        raise ValueError(f"{path} is damaged: true_class is not the label")
    sums = {f"aggregates/{name}": each for name, each in summary(found, record.seed).items()}
    for name, values in {**sums, "answers/inside": found.inside}.items():
        stored = file[name][()]
        if stored.shape != values.shape or not np.allclose(
            stored, values, rtol=0, atol=1e-5, equal_nan=values.dtype.kind == "f"
        ):
            raise ValueError(f"{path} is damaged: {name} is not what the answers come to")
