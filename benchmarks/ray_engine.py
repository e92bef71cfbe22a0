"""Computes cells on a Ray cluster: on the cores of this machine, or on several machines.

Every machine needs this package in the same version, and whatever a run reads while it corrupts
images (stored sets) at the same path. Models, images, attacks and corruptions are sent.
"""

import copy
import importlib.util
import os
import socket
import sys
import sysconfig
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.cells import CellResult
from benchmarks.computing import (
    JUDGE,
    Computed,
    Engine,
    Take,
    Unit,
    compute,
    entries,
    load_shard,
    once,
    reason,
)
from benchmarks.identity import library_versions
from benchmarks.plans import Plan
from benchmarks.suite import ModelEntry, Shard

RETRIES = 3  # of a cell whose worker was lost, before it has failed
_AHEAD = 2  # tasks that are handed out for each that can run, so that no worker waits for this one

# Our own packages, wherever they lie, and what has no module of its own to be sent.
_INSTALLED = ("attacks", "benchmarks", "defenses", "workbench", "__main__")
_ANSWER = 10.0  # seconds in which a cluster must answer
_PATIENCE = 10.0  # seconds without a result, until it is asked which machines there are


def ray_engine(
    address: str | None = None,
    *,
    cpus: float | None = None,
    gpus: float | None = None,
    retries: int = RETRIES,
) -> Engine:
    """An engine for `benchmarks.run` that computes cells as tasks of Ray.

    A task is one attack or clean pass of one model over a shard, or one corruption or probe of a
    shard with all models. Each computes with as many threads as torch would take here, so that
    results agree; other processors may round the last bits otherwise. If a worker is lost, its
    cells are computed again elsewhere; a cell whose model or attack raises has failed, as it would
    have here.

    Where Ray runs already in this process, it is used; else it is started or joined, and left at
    the end.

    Args:
        address: of a cluster (``auto``, ``10.0.0.1:6379``); None starts one on this machine.
        cpus: cores that a task holds; None for as many as torch has threads here.
        gpus: GPUs, or the share of one, that a task holds; None for one if the models are on GPUs.
        retries: how often a cell is tried again after its worker was lost.

    Raises:
        ImportError: Ray is not installed.
        ValueError: a task would hold no CPU, or a GPU and a part of another.
    """
    if importlib.util.find_spec("ray") is None:
        raise ImportError("Ray is not installed: pip install 'adversarial-workbench[ray]'")
    if cpus is not None and cpus <= 0:
        raise ValueError(f"a task holds more than 0 CPUs, not {cpus:g}")
    if gpus is not None and (gpus < 0 or (gpus > 1 and gpus % 1)):
        raise ValueError(f"a task holds whole GPUs, or a share of one, not {gpus:g}")
    return partial(_on_ray, address=address, cpus=cpus, gpus=gpus, retries=retries)


def _on_ray(
    plan: Plan,
    take: Take,
    *,
    address: str | None,
    cpus: float | None,
    gpus: float | None,
    retries: int,
) -> Generator[Computed, None, None]:
    import ray

    needs = {"CPU": float(torch.get_num_threads()) if cpus is None else cpus}
    needs["GPU"] = float(plan.device == "cuda") if gpus is None else gpus
    mine = not ray.is_initialized()
    if mine:
        _start(address)
    try:
        yield from _computed(plan, take, needs, retries)
    finally:
        if mine:
            ray.shutdown()


def _start(address: str | None) -> None:
    import ray

    if address is not None:
        _require_answer(address)
    # Ray tells its makers of its use unless it is told not to.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    alone: dict[str, Any] = {} if address else {"include_dashboard": False}
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level="ERROR", **alone)
    except (ConnectionError, RuntimeError) as error:
        where = f"at {address}" if address else "on this machine"
        raise ValueError(f"Ray cannot be reached {where}: {reason(error)}") from error


def _require_answer(address: str) -> None:
    """Raise if nothing answers at ``HOST:PORT``, for which Ray would wait without end."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal():
        return  # auto, and what else Ray knows
    try:
        socket.create_connection((host.rpartition("/")[2].strip("[]"), int(port)), _ANSWER).close()
    except OSError as error:
        raise ValueError(f"No Ray cluster answers at {address}: {error}") from error


def _computed(
    plan: Plan, take: Take, needs: Mapping[str, float], retries: int
) -> Generator[Computed, None, None]:
    """Keep as many tasks in flight as is sensible, and give back what they compute."""
    import ray

    sender = _Sender(plan, needs, retries)
    flying: dict[Any, Unit] = {}
    try:
        while True:
            while len(flying) < _AHEAD * _slots(needs) and (unit := take()) is not None:
                yield from unit.settled.values()
                flying |= sender.tasks(unit)
            if not flying:
                return
            # Not for ever: the last machine that could run them may be gone.
            for ready in ray.wait(list(flying), num_returns=1, timeout=_PATIENCE)[0]:
                yield from _received(ready, flying.pop(ready))
    finally:
        for task in flying:
            ray.cancel(task, force=True)


def _slots(needs: Mapping[str, float]) -> int:
    """How many tasks can run at once on the nodes that are alive; at least one.

    Raises:
        ValueError: no node has what a task needs.
    """
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    wants = {name: amount for name, amount in needs.items() if amount}
    slots = sum(
        min(int(node.get(name, 0) / amount) for name, amount in wants.items()) for node in nodes
    )
    if not slots:
        wanted = " and ".join(f"{amount:g} {name}" for name, amount in wants.items())
        raise ValueError(f"No machine of the Ray cluster has {wanted} for a task")
    return slots


def _parts(unit: Unit) -> Iterator[Unit]:
    """What is computed apart: models share no work but corrupted and probed images."""
    missing = tuple(cell for cell in unit.cells if cell.model not in unit.settled)
    if missing and missing[0].happening.is_shared:
        yield Unit(missing, clean=unit.clean)
        return
    for cell in missing:
        clean = {m: passed for m, passed in unit.clean.items() if m == cell.model}
        yield Unit((cell,), clean=clean)


class _Sender:
    """Hands units out as tasks; what they share goes into the object store once."""

    def __init__(self, plan: Plan, needs: Mapping[str, float], retries: int) -> None:
        import ray

        _send_code_of_files()
        self._plan, self._put, self._threads = plan, ray.put, torch.get_num_threads()
        # Models and examples are sent apart; what else a cell does not need stays here.
        nothing = cast(Any, None)
        light = replace(
            plan, models=(), judge=None, examples=nothing, cells=(), config={}, _by_place={}
        )
        self._light = ray.put(light)
        self._models = {m: once(partial(self._model, e)) for m, e in entries(plan).items()}
        self._shards: dict[int, Any] = {}
        self._left = Counter(cell.start for cell in plan.cells)
        self._task = ray.remote(num_cpus=needs["CPU"], num_gpus=needs["GPU"], max_retries=retries)(
            _work
        )

    def tasks(self, unit: Unit) -> dict[Any, Unit]:
        """Start what is missing of a unit; what each task computes, by where its result will be."""
        started = {self._started(part): part for part in _parts(unit)}
        start = unit.rows.start
        self._left[start] -= len(unit.cells)
        if not self._left[start]:
            self._shards.pop(start, None)  # tasks in flight hold what they need
        return started

    def _started(self, unit: Unit) -> Any:
        start = unit.rows.start
        if start not in self._shards:
            self._shards[start] = self._put(self._shard(unit.rows))
        needed = {cell.model for cell in unit.cells}
        if unit.cells[0].kind == "attack" and JUDGE in self._models:
            needed.add(JUDGE)
        models = {m: self._models[m]() for m in needed}
        shard, versions = self._shards[start], library_versions()
        return self._task.remote([self._light], unit, models, shard, self._threads, versions)

    def _model(self, entry: ModelEntry) -> Any:
        """Where a model is, on no device; or why there is none, and its cells will fail."""
        try:
            # A copy: the model itself stays on its device.
            return self._put(copy.deepcopy(entry.get()).cpu())
        except Exception as error:  # noqa: BLE001 -- loading runs other people's code
            return reason(error)

    def _shard(self, rows: slice) -> "_Arrays | str":
        """A shard; or why there is none."""
        try:
            shard = load_shard(replace(self._plan, device="cpu"), rows)
        except Exception as error:  # noqa: BLE001 -- likewise
            return reason(error)
        return _Arrays(shard.ids, shard.images.numpy(), np.asarray(shard.labels))


class _Arrays(NamedTuple):
    """A shard as arrays, which Ray shares between the processes of a machine."""

    ids: NDArray[np.int64]
    images: NDArray[np.float32]
    labels: NDArray[np.int64]


def _send_code_of_files() -> None:
    """Send the code of what is not installed (``net.py:make``, a script's neighbours) with it.

    Else it would be sent by name, and a worker has no module of that name.
    """
    from ray import cloudpickle

    places = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if "." in name or name in _INSTALLED or not file:
            continue
        if not any(Path(file).is_relative_to(place) for place in places):
            cloudpickle.register_pickle_by_value(module)


_kept: dict[str, Any] = {}  # of a worker: what all tasks share, unpacked once


def _work(
    shared: Sequence[Any],
    unit: Unit,
    models: Mapping[int, Any],
    shard: _Arrays | str,
    threads: int,
    versions: Mapping[str, str],
) -> list[Computed]:
    """What a task does, in a worker."""
    if versions != library_versions():
        theirs = library_versions()
        other = [name for name in versions if versions[name] != theirs.get(name)]
        raise ValueError(f"a worker has other versions of {', '.join(other)} than this machine")
    torch.set_num_threads(threads)
    plan: Plan = _fetched(shared[0])
    kept = {m: partial(_model_here, where, plan.device) for m, where in models.items()}
    computed = compute(plan, unit, kept, once(partial(_shard_here, shard, plan.device)))
    # Exceptions stay here: not all of them survive the way, and failures carry their reasons.
    return [replace(each, error=None) for each in computed]


def _model_here(where: Any, device: str) -> nn.Module:
    if isinstance(where, str):
        raise ValueError(where)
    return cast(nn.Module, _fetched(where)).to(device)


def _fetched(where: Any) -> Any:
    import ray

    if where.hex() not in _kept:
        _kept[where.hex()] = ray.get(where)
    return _kept[where.hex()]


def _shard_here(shard: _Arrays | str, device: str) -> Shard:
    if isinstance(shard, str):
        raise ValueError(shard)
    # Copies: arrays out of the store cannot be written to, and torch wants to be able to.
    return Shard(shard.ids.copy(), torch.tensor(shard.images, device=device), shard.labels.copy())


def _received(task: Any, unit: Unit) -> Iterator[Computed]:
    """What a task computed; failures if it was lost each time that it was tried."""
    import ray

    try:
        yield from ray.get(task)
    except ray.exceptions.RayTaskError as error:
        raise ValueError(f"A Ray task failed: {reason(error.cause or error)}") from error
    except ray.exceptions.RayError as error:
        lost = CellResult(failure=f"the worker was lost each time: {type(error).__name__}")
        for cell in unit.cells:
            yield Computed(cell, lost, 0.0)
