"""The record in HDF5: merged from the cells of a run, or written from memory."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from benchmarks import columns, durable
from benchmarks.cell_files import CellStore
from benchmarks.cells import CellResult, KeptImages, without_clean
from benchmarks.columns import Array
from benchmarks.gathering import gather
from benchmarks.identity import canonical_json
from benchmarks.planning import FORMAT, FORMAT_VERSION, Cell, Plan
from benchmarks.reading import Record, checkpoints
from benchmarks.record_numbers import number_dims, record_numbers
from benchmarks.storage import CHUNK, LIBVER, storage

Kept = tuple[int, int, KeptImages]
"""Kept images of a model under an attack, by their numbers: all of them, or those of a shard."""

_Scales = Mapping[str, h5py.Dataset]
_TEXT = h5py.string_dtype()

_NOTES = {
    "confidence": "softmax probability of the predicted class, float32",
    "ended": "0 already wrong, 1 reached, 2 out of steps, 3 random state",
    "average_pixel_change": "|x' - x| summed over channels, averaged over pixels; range 1",
    "pixels_over_threshold": "pixels whose channel-summed change is over threshold x range",
    "goal_confidence": "softmax probability that a success needs",
    "robust": "right when clean and under every attack that was run",
    "attack_seconds": "in the attack",
    "evaluation_seconds": "in the float32 re-evaluation, the measures and what the judge reads",
    "believed_rate": "successes in which the judge reads the model's new class / successes",
    "believed_before_rate": "successes in whose originals it reads that class / successes",
    "judge_keeps_rate": "successes in which the judge reads the true class / successes",
    "judge_wrong_before_rate": "successes whose originals the judge has wrong / successes",
    "clean_seconds": "in the clean pass",
    "corruption_seconds": "in corrupting, on the first model that needed the images",
    "corrupted_evaluation_seconds": "in the float32 evaluation of corrupted images",
    "probe_seconds": "in probing, on the first model that needed the images",
    "probed_evaluation_seconds": "in the float32 evaluation of probed images",
    "probe_error": "images wrong / images of finished cells",
    "defined": "1: both Grad-CAM maps of the label have mass, clean and corrupted",
    "kept_mass": "sum of min(p, q) of the maps, each divided by its sum",
    "centre_shift": "distance of the maps' centres of mass, in sides of the image",
    "rank_correlation": "Spearman's, over the cells of the maps",
    "cell_error": "images wrong / images of finished cells",
    "mean_error": "mean over the severities",
    "ce": "mean_error / that of the baseline",
    "relative_ce": "(mean_error - clean_error) / the same of the baseline",
    "family_ratio": "family_mean_error / that of the baseline",
    "mean_corruption_error": "mean of mean_error over the corruptions that count: unnormalised",
    "mce": "mean of ce over the corruptions that count",
    "relative_mce": "mean of relative_ce over the corruptions that count",
}


def merge(plan: Plan, store: CellStore, path: Path) -> None:
    """Merge the cells of a plan into the record at ``path``, replacing it in one move.

    Failed cells leave fill values; their reasons are in the record.

    Raises:
        ValueError: if cells are missing or contradict each other.
        OSError: if the record cannot be written; an earlier one at ``path`` stays as it was.
    """
    results = _results(plan, store)
    kept = _kept_rows(plan, store, results)
    record = replace(
        gather(plan, results, path),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        kept=np.unique(np.concatenate([np.empty(0, np.int64), *(rows for _, rows in kept)])),
    )
    record = replace(record, aggregates=record_numbers(record))
    _write(record, path, _images_of_cells(store, [cell for cell, _ in kept]))


def write_record(record: Record, path: Path) -> None:
    """Write a record that is in memory, such as one of `benchmarks.join`, to ``path``.

    What stands there is replaced in one move; kept images are read from the files they are in.

    Raises:
        OSError: if it cannot be written, or the file of kept images is gone; an earlier one at
            ``path`` stays as it was.
    """
    _write(record, path, _images_of_record(record))


def _results(plan: Plan, store: CellStore) -> dict[str, CellResult]:
    """The result of every cell by its digest."""
    results: dict[str, CellResult] = {}
    for cell in plan.cells:
        result = None
        if plan.needs_clean(cell.happening):  # the clean pass of its shard comes before it
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


def _kept_rows(
    plan: Plan, store: CellStore, results: Mapping[str, CellResult]
) -> list[tuple[Cell, NDArray[np.int64]]]:
    """The cells that kept images, and which."""
    if not plan.kept_per_shard:
        return []
    return [
        (cell, rows)
        for cell in plan.cells
        if cell.kind == "attack"
        and results[cell.digest].failure is None
        and (rows := store.kept_rows(cell)) is not None
    ]


def _images_of_cells(store: CellStore, cells: Iterable[Cell]) -> Iterator[Kept]:
    for cell in cells:
        images = store.images(cell)
        if images is not None and cell.condition is not None:
            yield cell.model, cell.condition, images


def _images_of_record(record: Record) -> Iterator[Kept]:
    for m in range(len(record.models)):
        for a in range(len(record.attacks)):
            images = record.images(m, a)
            if len(images.rows):
                yield m, a, images


def _write(record: Record, path: Path, images: Iterable[Kept]) -> None:
    with (
        durable.replacing(path) as temporary,
        durable.sink(temporary) as target,
        h5py.File(target, "w", libver=LIBVER) as file,
    ):
        _write_attributes(file, record)
        scales = _write_scales(file, record)
        for name, dims, kind, values in _tables(record):
            dataset = _dataset(file, scales, name, dims, kind)
            for m, own in enumerate(values):
                dataset[m] = own
                target.check()
        for place in images:
            _write_images(file, scales, record, *place)
            target.check()
        file.attrs["complete"] = np.uint8(1)


def _write_attributes(file: h5py.File, record: Record) -> None:
    attributes = {
        "format": FORMAT,
        "format_version": np.int64(FORMAT_VERSION),
        "versions": canonical_json(record.versions),
        "created": record.created,
        "config": canonical_json(record.config),
        "seed": np.int64(record.seed),
        "device": record.device,
        "checkpoints": canonical_json(checkpoints(record)),
        "cautions": canonical_json(record.cautions),
        "failures": canonical_json(record.failures),
        "fill": "255 (uint8), -1 (integers) and NaN (floats): not measured",
    }
    for name, value in attributes.items():
        file.attrs[name] = value


def _write_scales(file: h5py.File, record: Record) -> _Scales:
    values: dict[str, Sequence[str] | Array] = {
        "model": record.models,
        "attack": record.attacks,
        "example": record.ids,
        "threshold": record.thresholds,
        "bound": ["low", "high"],
    }
    if record.corrupted:
        values["corruption"] = record.axes.corruptions
        values["severity"] = np.array(record.axes.severities, np.int64)
        values["family"] = record.axes.families
    if record.probed:
        values["probe"] = record.probes
    return {name: _scale(file, name, own) for name, own in values.items()}


def _scale(file: h5py.File, name: str, values: Sequence[str] | Array) -> h5py.Dataset:
    if isinstance(values, np.ndarray):
        dataset = file.create_dataset(name, data=values, **storage(values.shape))
    else:
        dataset = file.create_dataset(name, shape=(len(values),), dtype=_TEXT, data=list(values))
    dataset.make_scale(name.rpartition("/")[2])
    return dataset


def _tables(record: Record) -> Iterator[tuple[str, Sequence[str], str, Array]]:
    """Every dataset but the images: its path, axes (models first), dtype and values."""
    attack, corruption = ("model", "attack"), ("model", "corruption", "severity")
    for name, kind in columns.CLEAN.items():
        yield f"clean/{name}", ("model", "example"), kind, record.clean[name]
    for name, kind in columns.ATTACK.items():
        threshold = ("threshold",) if name == "pixels_over_threshold" else ()
        dims = (*attack, "example", *threshold)
        yield f"attacked/{name}", dims, kind, record.attacked[name]
    yield "attacked/goal_confidence", attack, "f8", record.attacked["goal_confidence"]
    for name, values in record.judged.items():
        yield f"judged/{name}", (*attack, "example"), columns.JUDGED[name], values
    for name, values in record.corrupted.items():
        dims = (*corruption, "example")
        yield f"corrupted/{name}", dims, columns.CORRUPTED[name], values
    for name, values in record.attention.items():
        dims = (*corruption, "example")
        yield f"attention/{name}", dims, columns.ATTENTION[name], values
    for name, values in record.probed.items():
        yield f"probed/{name}", ("model", "probe", "example"), columns.CORRUPTED[name], values
    for name, values in record.aggregates.items():
        kind = {"i": "i8", "u": "u1"}.get(values.dtype.kind, "f8")
        yield f"aggregates/{name}", number_dims(name), kind, values
    for name, values in record.timing.items():
        own = corruption if "corrupt" in name else ("model", "probe") if "probe" in name else attack
        yield f"timing/{name}", own[: values.ndim], "f8", values


def _dataset(
    file: h5py.File,
    scales: _Scales,
    path: str,
    dims: Sequence[str],
    kind: str,
    chunks: Sequence[int] | None = None,
) -> h5py.Dataset:
    """A new dataset at ``path``, over dimensions that ``scales`` name."""
    shape = tuple(scales[dim].shape[0] for dim in dims)
    if chunks is None and "example" in dims:
        long = [dim in ("example", "threshold") for dim in dims]
        chunks = [min(n, CHUNK) if far else 1 for n, far in zip(shape, long, strict=True)]
    dataset = file.create_dataset(
        path, shape, dtype="<" + kind, fillvalue=columns.fill(kind), **storage(shape, chunks)
    )
    for axis, dim in enumerate(dims):  # by h5py's lower interface: a record has some hundred axes
        h5py.h5ds.attach_scale(dataset.id, scales[dim].id, axis)
        h5py.h5ds.set_label(dataset.id, axis, dim.rpartition("/")[2].encode())
    note = _NOTES.get(path.rpartition("/")[2])
    if note:
        dataset.attrs["description"] = note
    return dataset


def _write_images(
    file: h5py.File, scales: _Scales, record: Record, m: int, a: int, images: KeptImages
) -> None:
    """Kept images of one model under one attack, the originals among them once for all."""
    rows = record.kept
    if "images" not in file:
        _create_images(file, scales, rows, images.original.shape[1:])
    original, result = file["images/original"], file["images/result"]
    # A shard's rows lie together in ``rows``: one slab is read, filled in and written back.
    place = np.searchsorted(rows, images.rows)
    slab = slice(int(place[0]), int(place[-1]) + 1)
    for dataset, index, values in (
        (original, (slab,), images.original),
        (result, (m, a, slab), images.result),
    ):
        block = dataset[index]
        block[place - place[0]] = values
        dataset[index] = block


def _create_images(
    file: h5py.File, scales: _Scales, rows: NDArray[np.int64], shape: tuple[int, ...]
) -> None:
    file.create_group("images")
    sizes = zip(("channel", "y", "x"), shape, strict=True)
    values = {"kept": rows, **{dim: np.arange(size) for dim, size in sizes}}
    own = {f"images/{dim}": _scale(file, f"images/{dim}", each) for dim, each in values.items()}
    scales = {**scales, **own}
    together = max(1, min(len(rows), CHUNK // int(np.prod(shape))))
    chunks = [together, *shape]
    _dataset(file, scales, "images/original", list(own), "f4", chunks)
    _dataset(file, scales, "images/result", ["model", "attack", *own], "f4", [1, 1, *chunks])
