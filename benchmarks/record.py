"""Cells and the merged record in HDF5: the one module that writes them."""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from attacks.attacked import Caution
from benchmarks import columns, durable
from benchmarks.aggregates import aggregate
from benchmarks.baselines import Baseline
from benchmarks.cells import CellResult, KeptImages, without_clean
from benchmarks.columns import Array
from benchmarks.corruption_aggregates import (
    Verdicts,
    baseline_errors,
    corruption_aggregates,
    corruption_dims,
)
from benchmarks.gathering import ModelColumns, gather, gather_cautions, gather_failures
from benchmarks.identity import canonical_json
from benchmarks.planning import FORMAT, FORMAT_VERSION, Cell, Plan

# Readable by HDF5 1.10 and later; older formats limit an attribute to 64 KiB.
_LIBVER = ("v110", "v110")
_PACKED = {"compression": "gzip", "compression_opts": 1, "shuffle": True, "fletcher32": True}
_CHUNK = 2**16  # values of one column that are compressed together
_TEXT = h5py.string_dtype()

_NOTES = {
    "confidence": "softmax probability of the predicted class, float32",
    "ended": "0 already wrong, 1 reached, 2 out of steps, 3 random state",
    "average_pixel_change": "|x' - x| summed over channels, averaged over pixels; range 1",
    "pixels_over_threshold": "pixels whose channel-summed change is over threshold x range",
    "goal_confidence": "softmax probability that a success needs",
    "robust": "right when clean and under every attack that was run",
    "attack_seconds": "in the attack",
    "evaluation_seconds": "in the float32 re-evaluation and the measures",
    "clean_seconds": "in the clean pass",
    "corruption_seconds": "in corrupting, on the first model that needed the images",
    "corrupted_evaluation_seconds": "in the float32 evaluation of corrupted images",
    "cell_error": "images wrong / images of finished cells",
    "mean_error": "mean over the severities",
    "ce": "mean_error / that of the baseline",
    "relative_ce": "(mean_error - clean_error) / the same of the baseline",
    "family_ratio": "family_mean_error / that of the baseline",
    "mean_corruption_error": "mean of mean_error over the corruptions that count: unnormalised",
    "mce": "mean of ce over the corruptions that count",
    "relative_mce": "mean of relative_ce over the corruptions that count",
}


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

    def kept_rows(self, cell: Cell) -> tuple[NDArray[np.int64], tuple[int, ...]] | None:
        """The rows of the kept images of a finished cell and the shape (C, H, W) of each."""
        path = self._images_path(cell)
        if not path.exists():
            return None
        with h5py.File(path, "r") as file:
            return file["row"][()], file["original"].shape[1:]

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


def merge(plan: Plan, store: CellStore, path: Path) -> None:
    """Merge the cells of a plan into the record at ``path``, replacing it in one move.

    Failed cells leave fill values; their reasons are in the record.

    Raises:
        ValueError: if cells are missing or contradict each other.
        OSError: if the record cannot be written; an earlier one at ``path`` stays as it was.
    """
    results = _results(plan, store)
    names = [model.name for model in plan.models]
    baseline = baseline_errors(plan.config, names, lambda m: gather(plan, results, m).verdicts)
    with (
        durable.replacing(path) as temporary,
        durable.sink(temporary) as target,
        h5py.File(target, "w", libver=_LIBVER) as file,
    ):
        _write_attributes(file, plan, results)
        _write_scales(file, plan)
        for m in range(len(plan.models)):
            _write_model(file, plan, m, gather(plan, results, m), baseline)
            target.check()
        for _ in _write_images(file, plan, store, results):
            target.check()
        file.attrs["complete"] = np.uint8(1)


def _results(plan: Plan, store: CellStore) -> dict[str, CellResult]:
    """The result of every cell by its digest."""
    results: dict[str, CellResult] = {}
    for cell in plan.cells:
        result = None
        if cell.kind == "attack":  # the clean pass of its shard comes before it
            clean = results[plan.cell(cell.model, None, cell.start).digest]
            result = None if clean.failure is None else without_clean(clean)
        result = result or store.read(cell)
        if result is None:
            raise ValueError(
                f"Not every cell is finished ({len(results)} of {len(plan.cells)} are known to "
                "be): run the same command again, then merge"
            )
        results[cell.digest] = result
    return results


def _write_attributes(file: h5py.File, plan: Plan, results: Mapping[str, CellResult]) -> None:
    config = plan.config
    attributes = {
        "format": FORMAT,
        "format_version": np.int64(FORMAT_VERSION),
        "versions": canonical_json(config["versions"]),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": canonical_json(config),
        "seed": np.int64(plan.seed),
        "device": plan.device,
        "checkpoints": canonical_json({model.name: model.digest for model in plan.models}),
        "cautions": canonical_json(gather_cautions(plan, results)),
        "failures": canonical_json(gather_failures(plan, results)),
        "fill": "255 (uint8), -1 (integers) and NaN (floats): not measured",
    }
    for name, value in attributes.items():
        file.attrs[name] = value


def _write_scales(file: h5py.File, plan: Plan) -> None:
    _scale(file, "model", [model.name for model in plan.models])
    _scale(file, "attack", list(plan.condition_names))
    _scale(file, "example", plan.ids)
    _scale(file, "threshold", np.array(plan.thresholds, np.float64))
    _scale(file, "bound", ["low", "high"])
    if plan.corruptions:
        _scale(file, "corruption", list(plan.axes.corruptions))
        _scale(file, "severity", np.array(plan.axes.severities, np.int64))
        _scale(file, "family", list(plan.axes.families))


def _scale(file: h5py.File, name: str, values: Sequence[str] | Array) -> None:
    if isinstance(values, np.ndarray):
        dataset = file.create_dataset(name, data=values, **_storage(values.shape))
    else:
        dataset = file.create_dataset(name, shape=(len(values),), dtype=_TEXT, data=list(values))
    dataset.make_scale(name.rpartition("/")[2])


def _storage(shape: Sequence[int], chunks: Sequence[int] | None = None) -> dict[str, object]:
    """Chunks, compression and checksums, which HDF5 refuses for arrays that hold nothing."""
    if not shape or 0 in shape:
        return {}
    return {"chunks": tuple(chunks or (min(size, _CHUNK) for size in shape)), **_PACKED}


def _dataset(
    file: h5py.File, path: str, dims: Sequence[str], kind: str, chunks: Sequence[int] | None = None
) -> h5py.Dataset:
    """The dataset at ``path``, created over named dimensions if it is not there yet."""
    if path in file:
        return file[path]
    scales = [file[dim] for dim in dims]
    shape = tuple(len(scale) for scale in scales)
    if chunks is None and "example" in dims:
        long = [dim not in ("model", "attack", "corruption", "severity") for dim in dims]
        chunks = [min(n, _CHUNK) if far else 1 for n, far in zip(shape, long, strict=True)]
    dataset = file.create_dataset(
        path, shape, dtype="<" + kind, fillvalue=columns.fill(kind), **_storage(shape, chunks)
    )
    for axis, (dim, scale) in enumerate(zip(dims, scales, strict=True)):
        dataset.dims[axis].attach_scale(scale)
        dataset.dims[axis].label = dim.rpartition("/")[2]
    note = _NOTES.get(path.rpartition("/")[2])
    if note:
        dataset.attrs["description"] = note
    return dataset


def _write_model(
    file: h5py.File, plan: Plan, m: int, found: ModelColumns, baseline: Baseline | Verdicts | None
) -> None:
    """Everything but the images of one model: columns, aggregates, timings."""
    for name, kind in columns.CLEAN.items():
        _dataset(file, f"clean/{name}", ["model", "example"], kind)[m] = found.clean[name]
    for name, kind in columns.ATTACK.items():
        dims = ["model", "attack", "example"]
        dims += ["threshold"] if name == "pixels_over_threshold" else []
        _dataset(file, f"attacked/{name}", dims, kind)[m] = found.attacked[name]
    goal = _dataset(file, "attacked/goal_confidence", ["model", "attack"], "f8")
    goal[m] = found.goal_confidence

    numbers = aggregate(
        {name: found.clean[name] for name in columns.CLEAN},
        {name: found.attacked[name] for name in columns.ATTACK},
        plan.seed,
    )
    for name, values in (numbers.by_attack | numbers.worst_case).items():
        dims = ["model"] if name.startswith("worst_case") else ["model", "attack"]
        dims += ["threshold"] if name.startswith("pixels_over_threshold") else []
        _write_number(file, name, dims, m, values)
    _dataset(file, "aggregates/robust", ["model", "example"], "u1")[m] = numbers.robust

    for part in ("attack", "evaluation"):
        spent = _dataset(file, f"timing/{part}_seconds", ["model", "attack"], "f8")
        spent[m] = found.seconds[part]
    _dataset(file, "timing/clean_seconds", ["model"], "f8")[m] = found.seconds["clean"]
    if plan.corruptions:
        _write_corrupted(file, plan, m, found, baseline)


def _write_corrupted(
    file: h5py.File, plan: Plan, m: int, found: ModelColumns, baseline: Baseline | Verdicts | None
) -> None:
    """One model's columns, aggregates and timings of corrupted images."""
    cell = ["model", "corruption", "severity"]
    for name, kind in columns.CORRUPTED.items():
        if name != "label":
            _dataset(file, f"corrupted/{name}", [*cell, "example"], kind)[m] = found.corrupted[name]
    for name, values in corruption_aggregates(
        plan.axes, found.verdicts, baseline, plan.seed
    ).items():
        _write_number(file, name, ["model", *corruption_dims(name)], m, values)
    for part in ("corruption", "corrupted_evaluation"):
        _dataset(file, f"timing/{part}_seconds", cell, "f8")[m] = found.seconds[part]


def _write_number(file: h5py.File, name: str, dims: Sequence[str], m: int, values: Array) -> None:
    bound = ["bound"] if name.endswith("_interval") else []
    kind = "i8" if values.dtype.kind == "i" else "f8"
    _dataset(file, f"aggregates/{name}", [*dims, *bound], kind)[m] = values


def _write_images(
    file: h5py.File, plan: Plan, store: CellStore, results: Mapping[str, CellResult]
) -> Iterator[None]:
    """Kept images, cell by cell: the originals once, the results by model and attack."""
    kept = [
        cell
        for cell in plan.cells
        if cell.kind == "attack" and plan.kept_per_shard and results[cell.digest].failure is None
    ]
    found = {cell.digest: there for cell in kept if (there := store.kept_rows(cell)) is not None}
    if not found:
        return
    rows = np.unique(np.concatenate([rows for rows, _ in found.values()]))
    shape = next(shape for _, shape in found.values())
    file.create_group("images")
    _scale(file, "images/kept", rows)
    for dim, size in zip(("channel", "y", "x"), shape, strict=True):
        _scale(file, f"images/{dim}", np.arange(size))
    dims = [f"images/{dim}" for dim in ("kept", "channel", "y", "x")]
    together = max(1, min(len(rows), _CHUNK // int(np.prod(shape))))
    chunks = [together, *shape]
    original = _dataset(file, "images/original", dims, "f4", chunks)
    result = _dataset(file, "images/result", ["model", "attack", *dims], "f4", [1, 1, *chunks])
    for cell in kept:
        images = store.images(cell) if cell.digest in found else None
        if images is None:
            continue
        # A shard's rows lie together in ``rows``: one slab is read, filled in and written back.
        place = np.searchsorted(rows, images.rows)
        slab = slice(int(place[0]), int(place[-1]) + 1)
        for dataset, index, values in (
            (original, (slab,), images.original),
            (result, (cell.model, cell.condition, slab), images.result),
        ):
            block = dataset[index]
            block[place - place[0]] = values
            dataset[index] = block
        yield


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
    with h5py.File(buffer, "w", libver=_LIBVER) as file:
        # One text: reading a thousand cells is mostly opening attributes.
        file.attrs["about"] = json.dumps(about)
        if result.rows is not None:
            file.create_dataset("rows", data=result.rows, **_storage(result.rows.shape))
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
    )


def _read_rows(file: h5py.File) -> NDArray[np.void]:
    # Without the objects that h5py makes around a dataset: half the time of reading a cell.
    dataset = h5py.h5d.open(file.id, b"rows")
    rows = np.empty(dataset.shape, dataset.dtype)
    dataset.read(h5py.h5s.ALL, h5py.h5s.ALL, rows)
    return rows


def _images_bytes(images: KeptImages) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=_LIBVER) as file:
        file.create_dataset("row", data=images.rows, **_storage(images.rows.shape))
        for name in ("original", "result"):
            values = getattr(images, name)
            together = max(1, min(len(values), _CHUNK // int(np.prod(values.shape[1:]))))
            chunks = (together, *values.shape[1:])
            file.create_dataset(name, data=values, **_storage(values.shape, chunks))
    return buffer.getvalue()
