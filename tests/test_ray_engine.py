"""Cells on a cluster of two nodes: what is lost is computed again, and the record is the same."""

import os
import signal
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from measuring_case import conditions, entry, finished, small_plan, swap

from benchmarks import CellStore, Condition, Corrupted, ModelEntry, merge, run, same_data
from benchmarks.computing import local
from workbench.engines import make_engine
from workbench.errors import UsageError

ray = pytest.importorskip("ray")
from ray.cluster_utils import Cluster  # noqa: E402

from benchmarks.ray_engine import ray_engine  # noqa: E402

NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}


@dataclass(frozen=True)
class Inverted:
    """A corruption that only this file knows."""

    seconds: float = 0.0

    def __call__(self, shard, rows):
        time.sleep(self.seconds)
        return 1 - shard.images


def count(folder: Path, model, images, labels, *, targets=None, seeds=None, then=None):
    """Leave a file for each call, and do something besides."""
    path = folder / f"{os.getpid()}-{time.time_ns()}"
    path.touch()
    if then is not None:
        then(len(list(folder.iterdir())))
    return swap(model, images, labels, targets=targets, seeds=seeds)


def die_first(calls):
    if calls == 1:
        os.kill(os.getpid(), signal.SIGKILL)


def die_always(calls):
    os.kill(os.getpid(), signal.SIGKILL)


def refuse(calls):
    raise RuntimeError("no kernel")


def gone():
    raise FileNotFoundError(2, "No such file", "net.pt")


@pytest.fixture(scope="module")
def cluster():
    before = os.environ.get("RAY_USAGE_STATS_ENABLED")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    started = Cluster(initialize_head=True, head_node_args=NODE | {"include_dashboard": False})
    second = started.add_node(**NODE)
    ray.init(address=started.address, log_to_driver=False, logging_level="ERROR")
    yield started, second
    ray.shutdown()
    started.shutdown()
    os.environ.pop("RAY_USAGE_STATS_ENABLED")
    if before is not None:
        os.environ["RAY_USAGE_STATS_ENABLED"] = before


def inverted(*severities, seconds=0.0):
    return [Corrupted("fog", s, {"made": "inverted"}, Inverted(seconds)) for s in severities]


@pytest.mark.slow
def test_a_killed_worker_costs_nothing_and_failures_stay_with_their_cells(cluster, tmp_path):
    calls = {name: tmp_path / name for name in ("once", "always", "raising")}
    for folder in calls.values():
        folder.mkdir()
    attacks = [
        Condition("once", partial(count, calls["once"], then=die_first)),
        Condition("always", partial(count, calls["always"], then=die_always)),
        Condition("raising", partial(count, calls["raising"], then=refuse)),
        *conditions(),
    ]
    models = [entry("one"), ModelEntry("gone", "g", {}, gone)]
    plan = small_plan(
        models=models, conditions=attacks, corruptions=inverted(1, 2), shard_size=20, save_images=2
    )
    store = CellStore(tmp_path / "cells")
    engine = ray_engine(cpus=1, retries=1)
    found = {outcome.cell: outcome for outcome in run(plan, store, engine=engine)}
    assert set(found) == set(plan.cells)
    assert sorted(outcome.position for outcome in found.values()) == [*range(1, len(found) + 1)]

    def reason(model, condition):
        return found[plan.cell(model, condition, 0)].result.failure

    assert reason(0, 0) is None
    assert "the worker was lost each time" in reason(0, 1)
    assert reason(0, 2) == "RuntimeError: no kernel"
    assert reason(1, None) == "FileNotFoundError: [Errno 2] No such file: 'net.pt'"
    assert reason(1, 0).startswith("the clean pass failed: ")
    tried = {name: len(list(folder.iterdir())) for name, folder in calls.items()}
    assert tried == {"once": 2, "always": 2, "raising": 1}

    # What was computed there is what is computed here, and here nothing of it is left to do.
    sound = {"models": [entry("one")], "conditions": conditions(), "shard_size": 20}
    sound |= {"corruptions": inverted(1, 2), "save_images": 2}
    _, _, whole = finished(tmp_path / "whole", small_plan(**sound))
    assert {outcome.status for outcome in run(small_plan(**sound), store)} == {"cached"}
    merge(small_plan(**sound), store, tmp_path / "record.h5")
    assert same_data(tmp_path / "record.h5", whole) == []


@pytest.mark.slow
def test_a_judge_goes_with_the_attacks(cluster, tmp_path):
    settings = {"conditions": conditions()[:1], "judge": entry("judge"), "shard_size": 20}
    plan, store = small_plan(**settings), CellStore(tmp_path / "cells")
    done = [outcome.status for outcome in run(plan, store, engine=ray_engine(cpus=1))]
    assert done == ["done"] * len(plan.cells)
    merge(plan, store, tmp_path / "record.h5")
    _, _, here = finished(tmp_path / "here", small_plan(**settings))
    assert same_data(tmp_path / "record.h5", here) == []


@pytest.mark.slow
def test_a_lost_node_costs_nothing(cluster, tmp_path):
    started, second = cluster
    plan = small_plan(keep_images=True, corruptions=inverted(1, 2, 3, seconds=0.3))
    _, _, whole = finished(tmp_path / "whole", plan)
    store = CellStore(tmp_path / "cells")
    statuses = []
    for outcome in run(plan, store, engine=ray_engine(cpus=1)):
        statuses.append(outcome.status)
        if len(statuses) == 3:
            started.remove_node(second, allow_graceful=False)
    assert statuses == ["done"] * len(plan.cells)
    merge(plan, store, tmp_path / "record.h5")
    assert same_data(tmp_path / "record.h5", whole) == []


@pytest.mark.slow
def test_a_task_that_fits_on_no_machine_is_refused(cluster, tmp_path):
    with pytest.raises(ValueError, match="No machine of the Ray cluster has 1 CPU and 3 GPU"):
        list(run(small_plan(), CellStore(tmp_path), engine=ray_engine(cpus=1, gpus=3)))


def test_an_address_where_nothing_answers_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    engine = ray_engine("127.0.0.1:1")
    with pytest.raises(ValueError, match=r"No Ray cluster answers at 127\.0\.0\.1:1"):
        list(run(small_plan(), CellStore(tmp_path), engine=engine))


def options(**changed):
    asked = {"engine": "ray", "device": "auto", "ray_address": None}
    return asked | {"cpus_per_task": None, "gpus_per_task": None} | changed


def test_the_engine_is_this_process_unless_ray_is_asked_for():
    assert make_engine(options(engine="local")) is local
    assert make_engine(options()).func.__module__ == "benchmarks.ray_engine"


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"engine": "local", "ray_address": "auto"}, "--ray-address is for tasks on Ray"),
        ({"device": "cuda:1"}, "write --device cuda"),
        ({"cpus_per_task": 0.0}, "a task holds more than 0 CPUs"),
        ({"gpus_per_task": 1.5}, "whole GPUs, or a share of one, not 1.5"),
    ],
)
def test_options_that_do_not_go_together_are_told(changed, told):
    with pytest.raises(UsageError, match=told):
        make_engine(options(**changed))


def test_a_missing_ray_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"pip install 'adversarial-workbench\[ray\]'"):
        make_engine(options())
