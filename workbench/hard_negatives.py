"""The fooling images of a file, as far as they were made of the images that are trained on."""

from pathlib import Path

import numpy as np
import torch

from benchmarks.durable import sha256_file, stored_checksum
from benchmarks.fooling_sets import FoolingSet, read_fooling_set
from defenses import FoolingImages
from workbench.datasets import Dataset
from workbench.datasets.stored_rows import Hdf5Rows, StoredRows
from workbench.errors import UsageError
from workbench.reading_ahead import readable


def fooling_images(name: str, data: Dataset) -> FoolingImages:
    """Read a file of `workbench fool` for training on ``data``.

    Images made of others than these are left out, such as those that are held out; the labels are
    those of ``data``.

    Raises:
        UsageError: it is no such file, is damaged, or has no image made of these.
    """
    path = Path(name).expanduser()
    found = _read(path)
    if found.shape[2:] != data.pixels.shape[1:]:
        raise UsageError(
            f"{name} was made from other data: its images are {_shape(found.shape[2:])}, those of "
            f"{data.name} {_shape(data.pixels.shape[1:])}."
        )
    ids = data.ids()
    order = np.argsort(ids, kind="stable")
    places = np.minimum(np.searchsorted(ids[order], found.ids), len(ids) - 1)
    known = np.flatnonzero(ids[order][places] == found.ids)
    if not len(known):
        raise UsageError(
            f"{name} was made from other data: none of its {len(found.ids):,} images is one of the "
            f"{len(data):,} training images of {data.name}."
        )
    labels = data.labels[order][places][known]
    versions, count = found.shape[:2]
    rows = (np.arange(versions)[:, None] * count + known).reshape(-1)
    pool = Dataset(
        name=name,
        pixels=StoredRows(Hdf5Rows(path, found.shape, found.read), rows),
        labels=np.tile(labels, versions),
        classes=data.classes,
    )
    strengths = torch.tensor(found.strengths, dtype=torch.float64)
    return FoolingImages(
        digest=sha256_file(path),
        images=readable(pool, torch.device("cpu")),
        labels=torch.from_numpy(pool.labels),
        strengths=strengths.repeat_interleave(len(known)),
    )


def _read(path: Path) -> FoolingSet:
    try:
        found = read_fooling_set(path)
    except OSError as error:  # HDF5's own words say nothing to a person
        raise UsageError(f"{path} is no set of fooling images; make one: workbench fool") from error
    except ValueError as error:
        raise UsageError(str(error)) from error
    expected = stored_checksum(path)
    if expected is not None and expected != sha256_file(path):
        raise UsageError(f"{path} is damaged: its checksum does not match. Make it again.")
    return found


def _shape(shape: tuple[int, ...]) -> str:
    height, width, channels = shape
    return f"{height}x{width} with {channels} channels"
