"""Cells in HDF5, one file each: what a run has finished, and what it takes up again."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from attacks.attacked import Caution
from benchmarks import durable
from benchmarks.cells import CellResult, KeptImages
from benchmarks.plans import FORMAT, Cell
from benchmarks.storage import CHUNK, LIBVER, storage


class CellStore:
    """The finished cells of a run, one file each, in a folder of their own.

    A cell is ``DIGEST.h5`` with ``DIGEST.h5.sha256`` beside it, its kept images are
    ``DIGEST.images.h5``. A cell that is missing, damaged or of another configuration is not there:
    it will be made again.
    """

    def __init__(self, folder: Path) -> None:
        """Open the store in ``folder``, which need not exist yet."""
        self.folder = Path(folder)

    def prepare(self) -> None:
        """Create the folder, and remove what a killed run left half written."""
        self.folder.mkdir(parents=True, exist_ok=True)
        durable.remove_leftovers(self.folder)

    def read(self, cell: Cell) -> CellResult | None:
        """A finished or failed cell without its images, or None if it is missing or damaged."""
        content = durable.read_checked(self._path(cell))
        if content is None:
            return None
        try:
            with h5py.File(io.BytesIO(content), "r") as file:
                about = json.loads(file.attrs["about"])
                if about["config"] != cell.config:
                    return None
                images = about["images_sha256"]
                result = _read_cell(file, about)
        except (OSError, KeyError, ValueError, TypeError):
            return None  # its checksum holds, so something else wrote it: make it again
        return result if not images or self._images_hold(cell, images) else None

    def write(self, cell: Cell, result: CellResult) -> None:
        """Store a finished or failed cell.

        Raises:
            OSError: if it cannot be written; nothing half written is left.
        """
        images = ""
        if result.images is not None:
            path = self._images_path(cell)
            durable.write_bytes(path, _images_bytes(result.images))
            images = durable.stored_checksum(path) or ""
        else:
            self._images_path(cell).unlink(missing_ok=True)
        durable.write_bytes(self._path(cell), _cell_bytes(cell, result, images))

    def images(self, cell: Cell) -> KeptImages | None:
        """The kept images of a finished cell, or None if it kept none."""
        content = durable.read_checked(self._images_path(cell))
        if content is None:
            return None
        with h5py.File(io.BytesIO(content), "r") as file:
            return KeptImages(file["row"][()], file["original"][()], file["result"][()])

    def kept_rows(self, cell: Cell) -> NDArray[np.int64] | None:
        """The rows of the kept images of a finished cell, or None if it kept none."""
        path = self._images_path(cell)
        if not path.exists():
            return None
        with h5py.File(path, "r") as file:
            return np.asarray(file["row"][()])

    def _path(self, cell: Cell) -> Path:
        return self.folder / f"{cell.digest}.h5"

    def _images_path(self, cell: Cell) -> Path:
        return self.folder / f"{cell.digest}.images.h5"

    def _images_hold(self, cell: Cell, digest: str) -> bool:
        path = self._images_path(cell)
        return (
            path.exists()
            and durable.stored_checksum(path) == digest
            and durable.sha256_file(path) == digest
        )


def _cell_bytes(cell: Cell, result: CellResult, images: str) -> bytes:
    about = {
        "format": f"{FORMAT}-cell",
        "config": cell.config,
        "failure": result.failure,
        "cautions": [[c.code, c.wording, c.counts] for c in result.cautions],
        "goal_confidence": float(result.confidence),
        "seconds": dict(result.seconds),
        "images_sha256": images,
    }
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=LIBVER) as file:
        # One text: reading a thousand cells is mostly opening attributes.
        file.attrs["about"] = json.dumps(about)
        if result.rows is not None:
            file.create_dataset("rows", data=result.rows, **storage(result.rows.shape))
        if result.maps is not None:
            file.create_dataset("maps", data=result.maps, **storage(result.maps.shape))
    return buffer.getvalue()


def _read_cell(file: h5py.File, about: Mapping[str, Any]) -> CellResult:
    failure = about["failure"]
    return CellResult(
        rows=None if failure is not None else _read_rows(file),
        failure=failure,
        cautions=tuple(
            Caution(code, wording, tuple(counts)) for code, wording, counts in about["cautions"]
        ),
        confidence=about["goal_confidence"],
        seconds=about["seconds"],
        maps=file["maps"][()] if failure is None and "maps" in file else None,
    )


def _read_rows(file: h5py.File) -> NDArray[np.void]:
    # Without the objects that h5py makes around a dataset: half the time of reading a cell.
    dataset = h5py.h5d.open(file.id, b"rows")
    rows = np.empty(dataset.shape, dataset.dtype)
    dataset.read(h5py.h5s.ALL, h5py.h5s.ALL, rows)
    return rows


def _images_bytes(images: KeptImages) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=LIBVER) as file:
        file.create_dataset("row", data=images.rows, **storage(images.rows.shape))
        for name in ("original", "result"):
            values = getattr(images, name)
            together = max(1, min(len(values), CHUNK // int(np.prod(values.shape[1:]))))
            chunks = (together, *values.shape[1:])
            file.create_dataset(name, data=values, **storage(values.shape, chunks))
    return buffer.getvalue()
