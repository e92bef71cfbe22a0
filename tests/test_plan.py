"""Plans: which cells there are, and what their digests depend on."""

import shutil

import numpy as np
import pytest
import torch
from measuring_case import Arrays, Brightest, conditions, entry, examples, small_plan, swap

import attacks
import benchmarks
from benchmarks import Condition, ModelEntry
from benchmarks.identity import source_digest


def test_a_plan_has_a_clean_pass_and_every_attack_for_each_model_and_shard():
    planned = small_plan()
    assert planned.shards == ((0, 8), (8, 16), (16, 20))
    places = [(cell.model, cell.start, cell.condition) for cell in planned.cells]
    assert places == [
        (m, start, c) for m in (0, 1) for start in (0, 8, 16) for c in (None, 0, 1, 2)
    ]
    assert len({cell.digest for cell in planned.cells}) == len(places)


CHANGES = {
    "model": {"models": [ModelEntry("one", "another mean", {}, Brightest), entry("two")]},
    "spec": {"conditions": [Condition("swap(x=2)", swap), *conditions()[1:]]},
    "seed": {"conditions": [Condition("swap", swap, 1), *conditions()[1:]]},
    "target": {"conditions": [Condition("swap", swap, 0, "random"), *conditions()[1:]]},
    "data": {"examples": Arrays(examples().images, examples().labels, "other labels")},
    "thresholds": {"thresholds": [0.01]},
    "precision": {"precision": "bfloat16"},
    "batch_size": {"batch_size": 3},
    "keep_images": {"keep_images": True},
    "save_images": {"save_images": 2},
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_changes_a_result_changes_the_digest(change):
    before = small_plan(precision="float32")
    after = small_plan(**({"precision": "float32"} | CHANGES[change]))
    assert before.cell(0, 0, 0).digest != after.cell(0, 0, 0).digest
    assert before.digest != after.digest
    assert small_plan(precision="float32").digest == before.digest


def test_libraries_and_our_own_code_are_part_of_every_digest(tmp_path):
    versions = small_plan().config["versions"]
    assert {"torch", "torchvision", "timm", "torchattacks", "foolbox"} <= set(versions)
    for package in (attacks, benchmarks):
        name, copy = package.__name__, tmp_path / package.__name__
        shutil.copytree(package.__path__[0], copy, ignore=shutil.ignore_patterns("__pycache__"))
        besides = ("speed", "studies")
        assert source_digest(copy, besides) == versions[name]
        with (copy / "__init__.py").open("a") as file:
            file.write("# edited")
        assert source_digest(copy, besides) != versions[name]


def test_a_models_name_and_description_do_not_change_its_cells():
    moved = ModelEntry("renamed", "digest of one", {"file": "elsewhere"}, Brightest)
    before, after = small_plan(), small_plan(models=[moved, entry("two")])
    assert [cell.digest for cell in before.cells] == [cell.digest for cell in after.cells]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"models": []}, "no model"),
        ({"models": [entry("a"), entry("a")]}, "Two models have the same name: a"),
        ({"conditions": [*conditions(), conditions()[0]]}, "Two attacks have the same name: swap"),
        ({"examples": Arrays(torch.zeros(0, 1, 2, 2), np.zeros(0, int))}, "no examples"),
        ({"shard_size": 0}, "at least 1"),
        ({"thresholds": []}, "at least one threshold"),
        ({"thresholds": [10]}, "10 % is 0.1"),
        ({"thresholds": [float("nan")]}, "10 % is 0.1"),
        ({"thresholds": [0.1, 0.1]}, "twice"),
        ({"save_images": -1}, "0 or more"),
        ({"precision": "float8"}, "float8"),
        ({"batch_size": 0}, "batch_size"),
        ({"models": [ModelEntry("a", "d", {"x": torch.zeros(1)}, Brightest)]}, "JSON cannot"),
        ({"models": [ModelEntry("a", "d", {"x": float("nan")}, Brightest)]}, "JSON"),
    ],
)
def test_unusable_plans_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        small_plan(**settings)


def test_unknown_targets_are_refused():
    with pytest.raises(ValueError, match="least-likely"):
        Condition("swap", swap, 0, "nearest")
    with pytest.raises(ValueError, match="0 or more"):
        Condition("swap", swap, 0, -1)


def test_conditions_that_differ_in_the_seed_alone_are_told_apart_by_it():
    both = [Condition("swap", swap, 1), Condition("swap", swap, 2)]
    assert small_plan(conditions=both).condition_names == ("swap seed=1", "swap seed=2")


def test_code_that_decides_no_result_is_left_out_of_the_digest(tmp_path):
    (tmp_path / "studies").mkdir()
    (tmp_path / "cells.py").write_text("a = 1\n", encoding="utf-8")
    before = source_digest(tmp_path, besides=("studies",))
    (tmp_path / "studies" / "net.py").write_text("b = 1\n", encoding="utf-8")
    assert source_digest(tmp_path, besides=("studies",)) == before
    assert source_digest(tmp_path) != before
    (tmp_path / "cells.py").write_text("a = 2\n", encoding="utf-8")
    assert source_digest(tmp_path, besides=("studies",)) != before
