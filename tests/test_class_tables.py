"""Errors class by class, against counting one by one."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
from views_case import answered, made_record

from benchmarks.class_tables import class_breakdown, class_names, class_tables
from benchmarks.intervals import wilson
from benchmarks.reading import Record


def tabby_record() -> Record:
    """Ten classes, thirty images of three of them, with the mistakes that are wanted."""
    names = ["tabby", "Egyptian cat", "lynx", *(f"other {k}" for k in range(7))]
    labels = np.repeat([0, 1, 2], 10).astype(np.int32)
    best = labels.copy()
    best[:6] = [1, 1, 1, 1, 2, 5]  # of ten tabbies six are mistaken, four for Egyptian cats
    best[10] = 0
    logits = np.eye(10)[best] * 4.0
    logits[:10, 0] = np.where(best[:10] == 0, 4.0, 2.0)  # mostly second
    logits[5, 0] = -1.0  # but once last
    record = made_record(["m"], 30, 10, attacks=(), corruptions=())
    clean = {name: values[None] for name, values in answered(logits, labels).items()}
    clean |= {"label": labels[None], "right": (best == labels).astype(np.uint8)[None]}
    return dataclasses.replace(record, clean=clean, config={"class_names": names})


def test_a_class_is_told_with_what_it_is_mistaken_for() -> None:
    told = class_tables(tabby_record())[0]
    assert [each["name"] for each in told["classes"]] == ["tabby", "Egyptian cat", "lynx"]
    tabby = told["classes"][0]
    assert (tabby["images"], tabby["answers"], tabby["top1_error"]) == (10, 10, 0.6)
    assert tabby["top1_error_interval"] == wilson(6, 10).tolist()
    assert tabby["top5_error"] == 0.1
    assert tabby["mistaken_for"] == [
        {"class": 1, "name": "Egyptian cat", "count": 4},
        {"class": 2, "name": "lynx", "count": 1},
        {"class": 5, "name": "other 2", "count": 1},
    ]
    assert told["worst_top1"] == [0, 1]  # lynx has no error
    assert told["worst_top5"] == [0]


def test_one_class_lists_its_wrong_answers_and_top5_misses() -> None:
    record = tabby_record()
    told = class_breakdown(record, "tabby")[0]
    assert told["images"] == 10
    assert {each["id"] for each in told["wrong"]} == set(record.ids[:6].tolist())
    assert [each["id"] for each in told["top5_misses"]] == [record.ids[5]]
    assert told["top5_misses"][0]["rank"] == 9
    confidences = [each["confidence"] for each in told["wrong"]]
    assert confidences == sorted(confidences, reverse=True)
    assert told["taken_for_it"] == [{"class": 1, "name": "Egyptian cat", "count": 1}]
    assert class_breakdown(record, "0") == class_breakdown(record, "tabby")


def test_a_class_without_images_is_told_as_such() -> None:
    told = class_breakdown(tabby_record(), "other 2")[0]
    assert (told["images"], told["wrong"]) == (0, [])
    assert told["taken_for_it"] == [{"class": 0, "name": "tabby", "count": 1}]


@pytest.mark.parametrize("condition", ["clean", "pgd", "fog@4", "fog"])
def test_every_number_is_that_of_counting(condition: str) -> None:
    record = made_record(images=90)
    place = {"clean": (), "pgd": (1,), "fog@4": (0, 3), "fog": (0,)}[condition]
    group = {"clean": record.clean, "pgd": record.attacked}.get(condition, record.corrupted)
    for m, told in enumerate(class_tables(record, condition)):
        columns = {
            name: np.atleast_2d(group[name][(m, *place)]) for name in ("prediction", "rank", "loss")
        }
        labels = record.clean["label"][m]
        assert [each["class"] for each in told["classes"]] == sorted(set(labels.tolist()))
        for each in told["classes"]:
            own = labels == each["class"]
            predictions = columns["prediction"][:, own].ravel().tolist()
            assert each["images"] == own.sum()
            assert each["answers"] == len(predictions)
            wrong = Counter(p for p in predictions if p != each["class"])
            assert each["top1_error"] == pytest.approx(wrong.total() / len(predictions))
            assert each["top5_error"] == pytest.approx((columns["rank"][:, own] >= 5).mean())
            assert each["mean_loss"] == pytest.approx(columns["loss"][:, own].mean())
            counts = [mistake["count"] for mistake in each["mistaken_for"]]
            assert counts == [count for _, count in wrong.most_common(3)]
            assert all(
                wrong[mistake["class"]] == mistake["count"] for mistake in each["mistaken_for"]
            )


def test_the_worst_are_ordered_by_error_then_loss() -> None:
    for told in class_tables(made_record(images=90), "fog@5", worst=4):
        for error, listed in (("top1_error", "worst_top1"), ("top5_error", "worst_top5")):
            values = [(each[error], each["mean_loss"], each["class"]) for each in told["classes"]]
            expected = [number for value, _, number in sorted(values, reverse=True) if value][:4]
            assert told[listed] == expected


def test_an_interval_over_severities_counts_an_image_once() -> None:
    record = made_record(["m"], images=90)
    for each in class_tables(record, "fog")[0]["classes"]:
        count = each["images"]
        assert each["top1_error_interval"] == wilson(each["top1_error"] * count, count).tolist()


def test_images_that_were_not_answered_do_not_count() -> None:
    record = made_record(["m"], images=90)
    right = record.corrupted["right"].copy()
    right[0, 0, 1, :50] = 255
    lost = dataclasses.replace(record, corrupted={**record.corrupted, "right": right})
    for condition in ("fog", "fog@2"):
        told = class_tables(lost, condition)[0]["classes"]
        assert sum(each["images"] for each in told) == 40
    assert sum(each["images"] for each in class_tables(lost, "fog@1")[0]["classes"]) == 90


def test_without_names_classes_are_numbers() -> None:
    record = dataclasses.replace(tabby_record(), config={"class_names": None})
    assert class_names(record) == [str(k) for k in range(6)]  # the highest that was predicted is 5
    assert class_tables(record)[0]["classes"][0]["name"] == "0"


def test_what_is_not_there_is_refused() -> None:
    record = tabby_record()
    with pytest.raises(ValueError, match="no condition 'fog'"):
        class_tables(record, "fog")
    with pytest.raises(ValueError, match="no class 'dog'"):
        class_breakdown(record, "dog")
    with pytest.raises(ValueError, match="no class '10'"):
        class_breakdown(record, "10")
