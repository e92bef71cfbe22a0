"""How a training went, epoch by epoch, in HDF5: the one module that writes and reads it.

A file holds the scale ``epoch`` and a float64 column over it for each of `COLUMNS`. It is small, so
it is written anew as a whole after every epoch, and never appended to.
"""

import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from benchmarks import durable
from benchmarks.identity import canonical_json
from benchmarks.storage import LIBVER

FORMAT = "adversarial-workbench-history"
FORMAT_VERSION = 1

# What h5py and json raise for what is not as it should be.
_DAMAGE = (OSError, KeyError, TypeError, RuntimeError, AttributeError, json.JSONDecodeError)


class Column(NamedTuple):
    """The unit of a column, ``1`` for a share, and what it means."""

    units: str
    description: str


COLUMNS = {
    "loss": Column("nat", "mean training loss over the epoch, weights moving"),
    "error": Column("1", "share of the training images misclassified, weights moving"),
    "validation_loss": Column("nat", "mean cross-entropy on the held-out images after the epoch"),
    "validation_error": Column("1", "share of the held-out images misclassified after the epoch"),
    "lr": Column("1", "learning rate of the epoch's last step"),
    "images": Column("image", "training images seen in the epoch"),
    "seconds": Column("s", "wall time of the epoch, the held-out images not included"),
    "images_per_second": Column("image/s", "training images by wall time"),
}


@dataclass(frozen=True)
class History:
    """What a training left.

    Attributes:
        epoch: int64 (E,), ascending.
        columns: float64 (E,) for each of `COLUMNS`; NaN where nothing was measured.
        config: the resolved settings of the training.
        seed: of the training.
        device: what it ran on.
        checkpoint: the name of the checkpoint of the best epoch.
        versions: library names to versions.
        created: UTC time at which the file was written, ISO 8601.
        complete: whether the training has finished.
    """

    epoch: NDArray[np.int64]
    columns: Mapping[str, NDArray[np.float64]]
    config: Mapping[str, object]
    seed: int
    device: str
    checkpoint: str
    versions: Mapping[str, str]
    created: str
    complete: bool


def write_history(
    path: Path,
    entries: Sequence[Mapping[str, float | None]],
    *,
    config: Mapping[str, object],
    seed: int,
    device: str,
    checkpoint: str,
    versions: Mapping[str, str],
    complete: bool,
) -> None:
    """Put a history at ``path`` as a whole, with its checksum beside it.

    Args:
        path: the file, replaced in one move.
        entries: for each epoch ``epoch`` and a value for each of `COLUMNS`, None for not measured.
        config: JSON values: every resolved setting.
        seed: of the training.
        device: what it runs on.
        checkpoint: the name of the checkpoint of the best epoch.
        versions: library names to versions.
        complete: whether the training has finished.

    Raises:
        OSError: it cannot be written; an earlier one stays as it was.
    """
    attributes = {
        "format": FORMAT,
        "format_version": np.int64(FORMAT_VERSION),
        "versions": canonical_json(dict(versions)),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": canonical_json(dict(config)),
        "seed": np.int64(seed),
        "device": device,
        "checkpoint": checkpoint,
    }
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=LIBVER) as file:
        for name, value in attributes.items():
            file.attrs[name] = value
        epochs = np.array([entry["epoch"] for entry in entries], np.int64)
        scale = file.create_dataset("epoch", data=epochs, fletcher32=True)
        scale.make_scale("epoch")
        scale.attrs["description"] = "passes over the training images, counted from 1"
        for name, about in COLUMNS.items():
            values = [math.nan if (value := e[name]) is None else value for e in entries]
            column = file.create_dataset(name, data=np.array(values, np.float64), fletcher32=True)
            column.dims[0].attach_scale(scale)
            column.dims[0].label = "epoch"
            for key, text in about._asdict().items():
                column.attrs[key] = text
        file.attrs["complete"] = np.uint8(complete)
    durable.write_bytes(path, buffer.getvalue())


def best_epoch(entries: Sequence[Mapping[str, Any]], *, last: bool = False) -> int:
    """The epoch (from 1) of the lowest held-out error, then loss; the last if none was held out.

    Also the ``last`` where that is asked for, because the error on clean images says too little.
    """

    def badness(entry: Mapping[str, Any]) -> tuple[float, float]:
        if last or entry["validation_error"] is None:
            return (-entry["epoch"], 0.0)
        return (entry["validation_error"], entry["validation_loss"])

    return int(min(entries, key=badness)["epoch"])


def read_history(path: Path) -> History:
    """Read a history, after its checksum where there is one beside it.

    Raises:
        ValueError: it is damaged, of another program or of another format version.
        OSError: it cannot be opened.
    """
    path = Path(path)
    content = path.read_bytes()
    expected = durable.stored_checksum(path)
    if expected is not None and durable.read_checked(path) is None:
        raise ValueError(
            f"{path} is damaged: it does not match the checksum in "
            f"{durable.checksum_path(path).name}"
        )
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            _check_format(path, file)
            return _read(path, file)
    except _DAMAGE as error:
        reason = " ".join(str(error).split())[:160]
        raise ValueError(f"{path} is not a whole training history: {reason}") from error


def _check_format(path: Path, file: h5py.File) -> None:
    if file.attrs.get("format") != FORMAT:
        raise ValueError(f"{path} is an HDF5 file, but not a training history of this program")
    version = int(file.attrs["format_version"])
    if version != FORMAT_VERSION:
        raise ValueError(
            f"{path} has format version {version}; this release reads {FORMAT_VERSION}"
        )


def _read(path: Path, file: h5py.File) -> History:
    attributes = file.attrs
    epoch = file["epoch"][()].astype(np.int64)
    columns = {name: file[name][()].astype(np.float64) for name in COLUMNS}
    for name, values in columns.items():
        if values.shape != epoch.shape:
            raise ValueError(
                f"{path} is damaged: {name} has shape {values.shape}, epoch {epoch.shape}"
            )
    return History(
        epoch=epoch,
        columns=columns,
        config=json.loads(attributes["config"]),
        seed=int(attributes["seed"]),
        device=str(attributes["device"]),
        checkpoint=str(attributes["checkpoint"]),
        versions=json.loads(attributes["versions"]),
        created=str(attributes["created"]),
        complete=bool(attributes["complete"]),
    )
