"""The numbers of a record, counted by hand, and which images they are taken over."""

import numpy as np
import pytest
import torch
from measuring_case import (
    CLASSES,
    attack_rows,
    entry,
    examples,
    finished,
    outcome,
    run_one,
    small_plan,
    swap,
)

from attacks.spec import resolve
from benchmarks import Condition, merge, plan, read_record, results, worst_case


@pytest.mark.parametrize("rule", ["random", "next", "least-likely", 2])
def test_targets_follow_their_rule(tmp_path, rule):
    data = examples(200)
    planned, store, _ = run_one(tmp_path, swap, data=data, target=rule, shard_size=64)
    rows = attack_rows(planned, store)
    labels = data.labels
    given = (np.arange(200) % 5 != 0) & ((labels != 2) if rule == 2 else True)
    assert (rows["attacked"] == given).all()
    target = rows["target"][given]
    assert (rows["target"][~given] == -1).all()
    assert (target != labels[given]).all()
    if rule == "next":
        np.testing.assert_array_equal(target, (labels[given] + 1) % CLASSES)
    elif rule == "least-likely":
        sums = data.images.reshape(200, CLASSES, 8).sum(dim=2).numpy()[given]
        np.testing.assert_array_equal(target, sums.argmin(axis=1))
    elif rule == "random":
        # 160 draws of 3 offsets: each 53.3 +- 6 expected.
        assert (np.bincount((target - labels[given]) % CLASSES, minlength=4)[1:] > 30).all()
    else:
        assert (target == 2).all()
        kept = (labels == 2) & (np.arange(200) % 5 != 0)
        assert (rows["ended"][kept] == 255).all()
        assert (rows["misclassified"][kept] == 0).all()
    assert (rows["success"][given] == 1).all()
    assert (rows["prediction"][given] == target).all()


def test_an_image_of_the_class_that_an_attack_itself_aims_at_is_no_success(tmp_path):
    bound = resolve("fooling(target=2, step_size=0.01, steps=1)")
    planned, store, _ = run_one(tmp_path, bound.attack, shard_size=8)
    rows, labels = attack_rows(planned, store), examples().labels
    right = np.arange(20) % 5 != 0
    np.testing.assert_array_equal(rows["attacked"] == 1, right & (labels != 2))
    assert not (rows["success"] == 1).any()  # a step of 0.01 reaches nobody's class


def test_an_image_that_no_attack_was_given_is_not_robust(tmp_path):
    planned, store, _ = run_one(tmp_path, swap, target=2)
    merge(planned, store, tmp_path / "record.h5")
    record = read_record(tmp_path / "record.h5")
    result, worst = results(record)[0], worst_case(record)[0]
    assert (result["attacked"], result["clean_wrong"], result["images"]) == (12, 4, 20)
    assert result["success_rate"] == 1.0
    assert result["robust_accuracy"] == 0.0  # of the 16; four images of class 2 were spared
    assert (worst["robust_accuracy"], worst["images"]) == (0.0, 16)


def test_a_target_that_is_no_class_fails_the_cell(tmp_path):
    _, _, outcomes = run_one(tmp_path, swap, target=9)
    assert outcomes[1].status == "failed"
    assert outcomes[1].result.failure == "target 9 is not one of the model's 4 classes"


def test_the_results_count_by_hand(tmp_path):
    _, _, path = finished(tmp_path)
    record = read_record(path)
    found = results(record)
    assert [(r["model"], r["attack"]) for r in found][:3] == [
        ("one", "swap"),
        ("one", "jitter"),
        ("one", "stay"),
    ]
    for index, result in enumerate(found):
        m, a = divmod(index, 3)
        rows = {name: values[m, a].astype(float) for name, values in record.attacked.items()}
        given = [i for i in range(20) if i % 5]
        won = [i for i in given if rows["success"][i] == 1]
        assert (result["images"], result["clean_wrong"], result["attacked"]) == (20, 4, 16)
        assert result["succeeded"] == len(won)
        assert result["success_rate"] == len(won) / 16
        assert result["clean_accuracy"] == 0.8
        assert (
            result["robust_accuracy"] == sum(rows["misclassified"][i] == 0 for i in range(20)) / 20
        )
        assert result["mean_steps"] == 2.0
        assert result["forwards_per_image"] == 3.0
        if won:
            changes = [rows["average_pixel_change"][i] for i in won]
            assert result["mean_pixel_change"] == pytest.approx(sum(changes) / len(won), rel=1e-12)
            low, high = result["mean_pixel_change_interval"]
            assert low is None if len(won) == 1 else low <= result["mean_pixel_change"] <= high
            over = rows["pixels_over_threshold"]
            assert result["pixels_over_threshold"] == {
                "0.01": pytest.approx(np.mean([over[i, 0] for i in won])),
                "0.1": pytest.approx(np.mean([over[i, 1] for i in won])),
            }
            assert result["median_confidence"] == pytest.approx(
                float(np.median([rows["confidence"][i] for i in won]))
            )
    swapped, jittered, stayed = found[:3]
    assert swapped["success_rate"] == 1.0
    assert stayed["success_rate"] == 0.0
    assert stayed["mean_pixel_change"] is None
    assert stayed["mean_pixel_change_interval"] == [None, None]
    assert stayed["robust_accuracy"] == 0.8
    assert jittered["mean_pixel_change_unshrunk"] > 0


def test_failures_censor_the_median_pixel_change(tmp_path):
    def some(share):
        def attack(model, images, labels, *, targets=None, seeds=None):
            """Succeed on the first images of the shard alone."""
            moved = swap(model, images, labels).images
            few = round(share * len(images))
            return outcome(torch.cat([moved[:few], images[few:]]))

        return attack

    data = examples(20, wrong_every=21)  # 19 are right; one shard
    most = run_one(tmp_path / "a", some(0.8), data=data, shard_size=20)
    few = run_one(tmp_path / "b", some(0.3), data=data, shard_size=20)
    for (planned, store, _), median_known in ((most, True), (few, False)):
        merge(planned, store, tmp_path / "record.h5")
        record = read_record(tmp_path / "record.h5")
        rows = record.attacked
        given = rows["attacked"][0, 0] == 1
        moves = np.where(rows["success"][0, 0] == 1, rows["average_pixel_change"][0, 0], np.inf)
        found = results(record)[0]["median_pixel_change"]
        assert (found is not None) == median_known
        if median_known:
            assert found == pytest.approx(float(np.median(moves[given])), rel=1e-6)


def test_the_worst_case_is_taken_image_by_image(tmp_path):
    def on(quarter):
        def attack(model, images, labels, *, targets=None, seeds=None):
            moved = swap(model, images, labels).images
            hit = (labels == quarter)[:, None, None, None]
            return outcome(torch.where(hit, moved, images))

        return attack

    data = examples(40, wrong_every=41)
    data.labels[0] = 1  # the model says 0: wrong untouched
    planned = plan([entry()], [Condition("zero", on(0)), Condition("one", on(1))], data)
    _, _, path = finished(tmp_path, planned)
    record = read_record(path)
    first, second = results(record)
    assert first["robust_accuracy"] == 30 / 40
    assert second["robust_accuracy"] == 29 / 40
    assert worst_case(record) == [
        {
            "model": "brightest",
            "attacks": ["zero", "one"],
            "images": 40,
            "robust_accuracy": 20 / 40,
            "robust_accuracy_interval": [
                pytest.approx(0.3520, abs=1e-4),
                pytest.approx(0.6480, abs=1e-4),
            ],
        }
    ]
    robust = record.aggregates["robust"][0]
    np.testing.assert_array_equal(robust == 1, data.labels >= 2)


@pytest.mark.parametrize(
    ("specs", "over", "left"),
    [
        (("zero(eps=0.1)", "one"), 1, 30),
        (("zero", "one(eps=0.1)"), 1, 29),
        (("zero", "one"), 2, 20),
    ],
)
def test_the_worst_case_is_over_the_attacks_with_a_budget(tmp_path, specs, over, left):
    def on(quarter):
        def attack(model, images, labels, *, targets=None, seeds=None):
            moved = swap(model, images, labels).images
            return outcome(torch.where((labels == quarter)[:, None, None, None], moved, images))

        return attack

    data = examples(40, wrong_every=41)
    data.labels[0] = 1  # the model says 0: wrong untouched
    conditions = [Condition(spec, on(quarter)) for quarter, spec in enumerate(specs)]
    _, _, path = finished(tmp_path, plan([entry()], conditions, data))
    (worst,) = worst_case(read_record(path))
    assert len(worst["attacks"]) == over
    assert worst["robust_accuracy"] == left / 40


def test_clean_passes_alone_are_a_record_too(tmp_path):
    _, _, path = finished(tmp_path, small_plan(conditions=[]))
    record = read_record(path)
    assert results(record) == []
    assert worst_case(record)[0]["robust_accuracy"] is None
    assert record.clean["right"].sum() == 32
