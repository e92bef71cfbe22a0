"""Reads a record without trusting it: nothing in it is executed, damage is told in a line."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from benchmarks import columns, durable
from benchmarks.cells import KeptImages
from benchmarks.corruption_axes import CorruptionAxes
from benchmarks.plans import FORMAT, FORMAT_VERSION
from benchmarks.record_form import check_form
from benchmarks.sweeps import FORMAT as SWEEP_FORMAT

_TIMINGS = "timing"
_MADE = [name for name in columns.CORRUPTED if name != "label"]  # it stands beside the clean pass
_MOMENTARY = {"created"}  # attributes that two runs of the same configuration do not share
_MOST_EXPANDED = 2000  # gzip shrinks at most 1032 times; more was never written by us


class ImagePlace(NamedTuple):
    """Where kept images are: a record's file, and the model and attack in it."""

    path: Path
    model: int
    attack: int


@dataclass(frozen=True)
class Record:
    """A record in memory, its images aside.

    Attributes:
        path: where it was read from.
        config: the resolved configuration of the run.
        models, attacks: their names, in the order of the axes M and A.
        ids: int64 (E,), the examples' ids.
        thresholds: float64 (T,).
        clean: columns (M, E); see `benchmarks.columns.CLEAN`.
        attacked: columns (M, A, E), pixels_over_threshold (M, A, E, T), goal_confidence (M, A);
            see `benchmarks.columns.ATTACK`.
        axes: the corruptions K and severities S; none where nothing was corrupted.
        corrupted: columns (M, K, S, E), the label aside; see `benchmarks.columns.CORRUPTED`. Empty
            where nothing was corrupted.
        aggregates: what the tables print; see `benchmarks.aggregates` and
            `benchmarks.corruption_aggregates`.
        timing: seconds.
        cautions: ``{"model", "attack", "code", "message"}`` each, and ``"corruption"`` and
            ``"severity"`` of a corrupted cell, ``"probe"`` of a probed one. Without any of them it
            is the clean pass.
        failures: ``{"model", "attack", "start", "stop", "reason"}`` of each failed cell, and
            ``"corruption"`` and ``"severity"``, or ``"probe"``, likewise.
        kept: int64 (k,), the rows whose images are kept.
        places: of a joined record, where the images of a model under an attack are kept; None
            where they are all in the file at ``path``.
        probes: the names of the probes P, in order.
        probed: columns (M, P, E), as of ``corrupted``. Empty where nothing was probed.
        attention: columns (M, K, S, E); see `benchmarks.columns.ATTENTION`. Empty where what the
            models look at was not measured.
        judged: columns (M, A, E); see `benchmarks.columns.JUDGED`. Empty without a judge.
    """

    path: Path
    config: Mapping[str, object]
    seed: int
    device: str
    created: str
    versions: Mapping[str, str]
    models: tuple[str, ...]
    attacks: tuple[str, ...]
    ids: NDArray[np.int64]
    thresholds: NDArray[np.float64]
    clean: Mapping[str, columns.Array]
    attacked: Mapping[str, columns.Array]
    axes: CorruptionAxes
    corrupted: Mapping[str, columns.Array]
    aggregates: Mapping[str, columns.Array]
    timing: Mapping[str, columns.Array]
    cautions: tuple[Mapping[str, object], ...]
    failures: tuple[Mapping[str, object], ...]
    kept: NDArray[np.int64]
    places: Mapping[tuple[int, int], ImagePlace] | None = None
    probes: tuple[str, ...] = ()
    probed: Mapping[str, columns.Array] = field(default_factory=dict)
    attention: Mapping[str, columns.Array] = field(default_factory=dict)
    judged: Mapping[str, columns.Array] = field(default_factory=dict)

    @property
    def judge(self) -> str | None:
        """The name of the model that judged the attacks' results, where one did."""
        described = self.config.get("judge")
        return str(described["name"]) if isinstance(described, Mapping) else None

    def images(self, model: int, attack: int) -> KeptImages:
        """The images kept of one model under one attack, maybe none.

        Raises:
            OSError: if the file that they are in is gone.
        """
        place = self.image_place(model, attack)
        if place is None:
            nothing = np.empty((0, 0, 0, 0), np.float32)
            return KeptImages(np.empty(0, np.int64), nothing, nothing)
        with h5py.File(place.path, "r") as file:
            result = file["images/result"][place.model, place.attack]
            there = np.isfinite(result).all(axis=(1, 2, 3))
            rows = file["images/kept"][()][there]
            return KeptImages(rows, file["images/original"][there], result[there])

    def image_place(self, model: int, attack: int) -> ImagePlace | None:
        """The file that the kept images of one model under one attack are in, if any are kept."""
        if self.places is not None:
            return self.places.get((model, attack))
        return ImagePlace(self.path, model, attack) if len(self.kept) else None


def read_record(path: Path) -> Record:
    """Read a record, after its checksum where there is one beside it.

    Raises:
        ValueError: if it is damaged, incomplete, of another program or another format version.
        OSError: if it cannot be opened.
    """
    path = Path(path)
    with open(path, "rb"):  # "no such file" and "permission denied" stay what they are
        pass
    if path.is_file() and path.stat().st_size and not h5py.is_hdf5(path):
        raise ValueError(f"{path} is not a whole record: it is no HDF5 file")
    expected = durable.stored_checksum(path)
    if expected is not None and durable.sha256_file(path) != expected:
        raise ValueError(
            f"{path} is damaged: it does not match the checksum in "
            f"{durable.checksum_path(path).name}. Run its command again to make it anew."
        )
    try:
        with h5py.File(path, "r") as file:
            return _read(path, file)
    except ValueError:
        raise
    except (OSError, KeyError, TypeError, RuntimeError, AttributeError, MemoryError) as error:
        reason = " ".join(str(error).split())[:160]
        raise ValueError(f"{path} is not a whole record: {reason}") from error


def checkpoints(record: Record) -> dict[str, str]:
    """The digest of each model, by its name.

    Raises:
        ValueError: if the configuration is not of these models.
    """
    described = record.config.get("models")
    listed = described if isinstance(described, list) else []
    found = {each["name"]: each["digest"] for each in listed}
    if tuple(found) != record.models:
        raise ValueError(f"{record.path} is damaged: its configuration describes other models")
    return found


class Stored(NamedTuple):
    """A dataset of a file: its path in it, the names of its axes, its shape and dtype."""

    path: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str


def stored(path: Path) -> list[Stored]:
    """What datasets a record's file holds, in the order of their paths."""
    found: list[Stored] = []
    with h5py.File(path, "r") as file:
        for name in sorted(_names(file)):
            item = file[name]
            if isinstance(item, h5py.Dataset):
                own = (name.rpartition("/")[2],) if item.is_scale else ()
                dims = own or tuple(dim.label for dim in item.dims)
                dtype = "text" if item.dtype.kind == "O" else str(item.dtype)
                found.append(Stored(name, dims, item.shape, dtype))
    return found


def read_blocks(path: Path) -> int:
    """Read every block of every dataset, against its checksum; how many datasets there are.

    Raises:
        OSError: if one is damaged.
    """
    with h5py.File(path, "r") as file:
        datasets = [file[name] for name in _names(file) if isinstance(file[name], h5py.Dataset)]
        for dataset in datasets:
            for block in dataset.iter_chunks() if dataset.chunks else [...]:
                dataset[block]
    return len(datasets)


def same_data(first: Path, second: Path) -> list[str]:
    """How two records differ bit for bit, timings and time of writing aside; empty if they agree.

    Raises:
        ValueError: if one is not a record.
    """
    read_record(first), read_record(second)
    with h5py.File(first, "r") as a, h5py.File(second, "r") as b:
        differences = _attribute_differences("/", a, b)
        names = _names(a) | _names(b)
        for name in sorted(names):
            if name.split("/")[0] == _TIMINGS:
                continue
            if name not in a or name not in b:
                differences.append(f"{name}: only in {'the first' if name in a else 'the second'}")
                continue
            differences += _attribute_differences(name, a[name], b[name])
            if isinstance(a[name], h5py.Dataset):
                differences += _dataset_differences(name, a[name], b[name])
    return differences


def _read(path: Path, file: h5py.File) -> Record:
    _check_format(path, file)
    check_safe(path, file)
    attributes = file.attrs
    sizes = {dim: len(file[dim]) for dim in ("model", "attack", "example", "threshold")}
    clean = {name: file[f"clean/{name}"][()] for name in columns.CLEAN}
    attacked = {name: file[f"attacked/{name}"][()] for name in columns.ATTACK}
    config = json.loads(attributes["config"])
    axes, corrupted = CorruptionAxes(), {}
    if "corruption" in file:  # a record of attacks alone has no such axis
        names, severities = file["corruption"].asstr()[()].tolist(), file["severity"][()].tolist()
        axes = CorruptionAxes(tuple(names), tuple(severities), config["with_extra"] is True)
        corrupted = {name: file[f"corrupted/{name}"][()] for name in _MADE}
    probes: tuple[str, ...] = ()
    probed = {}
    if "probe" in file:
        probes = tuple(file["probe"].asstr()[()].tolist())
        probed = {name: file[f"probed/{name}"][()] for name in _MADE}
    attention = {}
    if "attention" in file:
        attention = {name: file[f"attention/{name}"][()] for name in columns.ATTENTION}
    judged = {}
    if "judged" in file:
        judged = {name: file[f"judged/{name}"][()] for name in columns.JUDGED}
    record = Record(
        path=path,
        config=config,
        seed=int(attributes["seed"]),
        device=str(attributes["device"]),
        created=str(attributes["created"]),
        versions=json.loads(attributes["versions"]),
        models=tuple(file["model"].asstr()[()].tolist()),
        attacks=tuple(file["attack"].asstr()[()].tolist()),
        ids=file["example"][()],
        thresholds=file["threshold"][()],
        clean=clean,
        attacked=attacked | {"goal_confidence": file["attacked/goal_confidence"][()]},
        axes=axes,
        corrupted=corrupted,
        aggregates=_Stored(path, file["aggregates"]),
        timing=_Stored(path, file[_TIMINGS]),
        cautions=tuple(json.loads(attributes["cautions"])),
        failures=tuple(json.loads(attributes["failures"])),
        kept=file["images/kept"][()] if "images" in file else np.empty(0, np.int64),
        probes=probes,
        probed=probed,
        attention=attention,
        judged=judged,
    )
    _check_shapes(path, record, sizes)
    check_form(record)
    return record


class _Stored(dict[str, columns.Array]):
    """The arrays of a group by name; one that is asked for and is not there is damage."""

    def __init__(self, path: Path, group: h5py.Group) -> None:
        """Read the whole group; ``path`` is what errors name."""
        super().__init__({name: data[()] for name, data in group.items()})
        self._path = path

    def __missing__(self, name: str) -> columns.Array:
        raise ValueError(f"{self._path} is damaged: {name} is missing")


def _check_format(path: Path, file: h5py.File) -> None:
    attributes = file.attrs
    if attributes.get("format") == SWEEP_FORMAT:
        raise ValueError(
            f"{path} is a record of `workbench probe`: `workbench show {path}` checks and shows it."
        )
    if attributes.get("format") != FORMAT:
        raise ValueError(f"{path} is an HDF5 file, but not a record of this program")
    version = int(attributes["format_version"])
    if version != FORMAT_VERSION:
        hint = "a newer release of this program" if version > FORMAT_VERSION else "an older release"
        raise ValueError(
            f"{path} has format version {version}; this release reads {FORMAT_VERSION}. "
            f"Read it with {hint}."
        )
    if attributes.get("complete") != 1:
        raise ValueError(f"{path} is incomplete: run its command again to finish it")


def check_safe(path: Path, file: h5py.File) -> None:
    """Refuse what could lead outside the file, or to far more memory than it was written with."""
    size = path.stat().st_size

    def visit(group: h5py.Group) -> None:
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"{path} holds a link ({name}): no record of this program does")
            item = group[name]
            if isinstance(item, h5py.Group):
                visit(item)
            elif item.external or item.is_virtual or item.nbytes > _MOST_EXPANDED * size:
                raise ValueError(f"{path} is damaged: {item.name} is not stored in it")

    visit(file)


def _check_shapes(path: Path, record: Record, sizes: Mapping[str, int]) -> None:
    examples = (sizes["model"], sizes["example"])
    cells = (sizes["model"], sizes["attack"])
    for name, values in record.clean.items():
        _check_shape(path, name, values, examples)
    for name, values in record.attacked.items():
        shape = cells if name == "goal_confidence" else (*cells, sizes["example"])
        if name == "pixels_over_threshold":
            shape = (*shape, sizes["threshold"])
        _check_shape(path, name, values, shape)
    corrupted = (sizes["model"], len(record.axes.corruptions), len(record.axes.severities))
    for name, values in {**record.corrupted, **record.attention}.items():
        _check_shape(path, name, values, (*corrupted, sizes["example"]))
    for name, values in record.judged.items():
        _check_shape(path, f"judged {name}", values, (*cells, sizes["example"]))
    for name, values in record.probed.items():
        shape = (sizes["model"], len(record.probes), sizes["example"])
        _check_shape(path, name, values, shape)


def _check_shape(path: Path, name: str, values: columns.Array, shape: tuple[int, ...]) -> None:
    if values.shape != shape:
        raise ValueError(f"{path} is damaged: {name} has shape {values.shape}, expected {shape}")


def _names(file: h5py.File) -> set[str]:
    names: list[str] = []
    file.visit(names.append)
    return set(names)


def _attribute_differences(name: str, a: h5py.HLObject, b: h5py.HLObject) -> list[str]:
    # References to dimension scales are addresses inside the file; labels say the same.
    skipped = _MOMENTARY | {"DIMENSION_LIST", "REFERENCE_LIST"}
    keys = (set(a.attrs) | set(b.attrs)) - skipped
    return [
        f"{name} @{key}: {a.attrs.get(key)!r} and {b.attrs.get(key)!r}"
        for key in sorted(keys)
        if not np.array_equal(a.attrs.get(key), b.attrs.get(key))
    ]


def _dataset_differences(name: str, a: h5py.Dataset, b: h5py.Dataset) -> list[str]:
    if a.shape != b.shape or a.dtype != b.dtype:
        return [f"{name}: {a.dtype}{a.shape} and {b.dtype}{b.shape}"]
    first, second = a[()], b[()]
    if a.dtype.kind == "O":
        return [] if first.tolist() == second.tolist() else [f"{name}: other texts"]
    if first.tobytes() == second.tobytes():
        return []
    bits = np.frombuffer(first.tobytes(), f"V{a.dtype.itemsize}")
    others = np.frombuffer(second.tobytes(), f"V{a.dtype.itemsize}")
    return [f"{name}: {int((bits != others).sum())} of {a.size} values differ"]
