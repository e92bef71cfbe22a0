"""A judge that is never attacked: what it reads, where it is kept, and what is refused."""

import h5py
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from judge_case import Constant, Remembering, judge, judged
from measuring_case import (
    Brightest,
    attack_rows,
    entry,
    examples,
    failing,
    finished,
    forged,
    run_one,
    small_plan,
    stay,
    swap,
)
from torch import nn

from benchmarks import (
    CellStore,
    Condition,
    compare,
    join,
    merge,
    plan,
    read_record,
    results,
    run,
    same_data,
    verify,
    write_record,
)
from benchmarks.aggregates import COUNTS
from benchmarks.believability import BELIEF_DENOMINATORS, BELIEF_RATES, belief_numbers
from benchmarks.intervals import wilson
from benchmarks.tidy import RESULT_COLUMNS, image_columns, image_tables, result_rows

MODELS = {"one": Brightest(), "two": Brightest(8.0), "judge": Brightest(2.0)}


def whole(folder, by=None, **settings):
    return finished(folder, small_plan(**judged(by or judge(), **settings)))


def get_model(description):
    name = description["name"]
    return MODELS[name], f"digest of {name}"


def swapped(record):
    """The rates of the first model under `swap`."""
    return next(r for r in results(record) if (r["model"], r["attack"]) == ("one", "swap"))


# ── what the judge reads ───────────────────────────────────────────────────────────────────────


def test_a_judge_that_is_the_same_function_believes_everything(tmp_path):
    found = swapped(read_record(whole(tmp_path)[2]))
    assert found["succeeded"] == found["judged_successes"] == found["believed"] == 16
    assert found["believed_rate"] == 1.0
    assert found["judge_keeps"] == found["believed_before"] == found["judge_wrong_before"] == 0
    assert found["believed_rate_interval"] == wilson(16, 16).tolist()
    assert found["judge"] == "judge"


def test_a_judge_that_knows_the_originals_believes_nothing(tmp_path):
    found = swapped(read_record(whole(tmp_path, judge(Remembering()))[2]))
    assert (found["believed"], found["judge_keeps"]) == (0, found["succeeded"])
    assert found["judge_keeps_rate"] == 1.0


def test_what_a_stubborn_judge_believes_was_believed_before(tmp_path):
    record = read_record(whole(tmp_path, judge(Constant(2)))[2])
    found = swapped(record)
    # `swap` moves class 1 to 2; of 16 attacked images each class has 4, and rows 0, 5, ... none.
    labels, given_ = record.clean["label"][0], record.attacked["attacked"][0, 0] == 1
    assert found["believed"] == found["believed_before"] == int((given_ & (labels == 1)).sum())
    assert found["judge_keeps"] == int((given_ & (labels == 2)).sum())
    assert found["judge_wrong_before"] == found["succeeded"] - found["judge_keeps"]


def test_readings_are_those_of_the_judge_on_results_and_originals(tmp_path):
    _, _, path = whole(tmp_path, keep_images=True)
    record = read_record(path)
    for m in range(2):
        for a in range(2):
            kept = record.images(m, a)
            for before, images in (("", kept.result), ("clean_", kept.original)):
                with torch.no_grad():
                    expected = torch.softmax(MODELS["judge"](torch.from_numpy(images)), dim=1)
                read = record.judged[f"{before}prediction"][m, a]
                sure = record.judged[f"{before}confidence"][m, a]
                assert (read[kept.rows] == expected.argmax(dim=1).numpy()).all()
                np.testing.assert_allclose(sure[kept.rows], expected.max(dim=1).values, rtol=1e-6)
                others = np.setdiff1d(np.arange(20), kept.rows)
                assert (read[others] == -1).all()
                assert np.isnan(sure[others]).all()


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(hnp.arrays(np.int64, st.tuples(st.integers(1, 20), st.just(6)), elements=st.integers(0, 2)))
def test_rates_are_counts_over_successes(rows):
    label, new, read, before, given_, success = rows.T
    attacked = {
        "attacked": np.array([given_ == 1], np.uint8),
        "success": np.array([success == 1], np.uint8),
        "prediction": new[None],
    }
    readings = {"prediction": read[None], "clean_prediction": before[None]}
    numbers = belief_numbers(label, attacked, readings)
    counted = {"judged": 0, "believed": 0, "before": 0, "keeps": 0, "wrong": 0}
    for truth, found, seen, was, attempted, reached in rows:
        if attempted == 1 and reached == 1:
            counted["judged"] += 1
            counted["believed"] += seen == found
            counted["before"] += was == found
            counted["keeps"] += seen == truth
            counted["wrong"] += was != truth
    assert numbers["judged_successes"].tolist() == [counted["judged"]]
    for count, name in (
        ("believed", "believed"),
        ("before", "believed_before"),
        ("keeps", "judge_keeps"),
        ("wrong", "judge_wrong_before"),
    ):
        assert numbers[name].tolist() == [counted[count]]
        rate = numbers[f"{name}_rate"][0]
        share = counted[count] / counted["judged"] if counted["judged"] else np.nan
        np.testing.assert_equal(rate, share)


def test_of_no_success_there_is_no_rate(tmp_path):
    planned = small_plan(conditions=[Condition("stay", stay)], judge=judge())
    found = results(read_record(finished(tmp_path, planned)[2]))[0]
    assert found["judged_successes"] == 0
    assert found["believed_rate"] is None
    assert found["believed_rate_interval"] == [None, None]


# ── cells and records ──────────────────────────────────────────────────────────────────────────


def test_the_judge_decides_which_cells_are_the_same():
    plain, one = small_plan(**judged(None)), small_plan(**judged(judge()))
    other = small_plan(**judged(judge(name="other")))
    for first, second, third in zip(plain.cells, one.cells, other.cells, strict=True):
        different = 3 if first.kind == "attack" else 1
        assert len({first.digest, second.digest, third.digest}) == different
    assert "judge" not in plain.config
    assert one.config["judge"]["digest"] == "digest of judge"


def test_a_run_with_a_judge_resumes(tmp_path):
    planned, store, path = whole(tmp_path / "a")
    again = [outcome.status for outcome in run(planned, store)]
    assert set(again) == {"cached"}
    merge(planned, store, tmp_path / "again.h5")
    assert same_data(path, tmp_path / "again.h5") == []
    rows = attack_rows(planned, store)
    assert {"judge_prediction", "judge_clean_confidence"} <= set(rows.dtype.names)


def test_a_record_without_a_judge_has_nothing_of_one(tmp_path):
    record = read_record(finished(tmp_path, small_plan(**judged(None)))[2])
    assert record.judge is None
    assert record.judged == {}
    assert not set(BELIEF_RATES) & set(record.aggregates)
    assert "judge" not in results(record)[0]
    with h5py.File(record.path) as file:
        assert "judged" not in file


def test_a_judge_that_fails_fails_its_cells_in_words(tmp_path):
    class Broken(nn.Module):
        def forward(self, images):
            return torch.full((len(images), 4), float("nan"))

    *_, outcomes = run_one(tmp_path, swap, judge=judge(Broken()))
    assert {outcome.status for outcome in outcomes if outcome.cell.kind == "clean"} == {"done"}
    failures = {o.result.failure for o in outcomes if o.cell.kind == "attack"}
    assert all("the judge's logits are not finite" in str(failure) for failure in failures)


def test_one_judge_joins_and_two_are_refused(tmp_path):
    both = read_record(whole(tmp_path / "both")[2])
    parts = [
        read_record(whole(tmp_path / name, models=[entry(name, MODELS[name])])[2])
        for name in ("one", "two")
    ]
    joined = join(parts)
    assert joined.judge == "judge"
    for name, values in both.judged.items():
        np.testing.assert_array_equal(joined.judged[name], values)
    for name, values in both.aggregates.items():
        np.testing.assert_array_equal(joined.aggregates[name], values)
    write_record(joined, tmp_path / "joined.h5")
    assert failing(verify(tmp_path / "joined.h5", get_model)) == set()

    other = whole(tmp_path / "other", judge(name="other"), models=[entry("two", MODELS["two"])])
    with pytest.raises(ValueError, match=r"judged by judge and .* by other"):
        join([parts[0], read_record(other[2])])


def test_a_record_without_a_judge_joins_one_with_it(tmp_path):
    one = read_record(whole(tmp_path / "one", models=[entry("one", MODELS["one"])])[2])
    plain = small_plan(**judged(None, models=[entry("two", MODELS["two"])]))
    two = read_record(finished(tmp_path / "two", plain)[2])
    joined = join([one, two])
    assert (joined.judged["prediction"][1] == -1).all()
    assert joined.aggregates["judged_successes"].tolist() == [
        one.aggregates["judged_successes"][0].tolist(),
        [0, 0],
    ]
    write_record(joined, tmp_path / "joined.h5")
    assert failing(verify(tmp_path / "joined.h5", get_model)) == set()


# ── numbers elsewhere ──────────────────────────────────────────────────────────────────────────


def test_tidy_tables_have_the_judge(tmp_path):
    record = read_record(whole(tmp_path)[2])
    rows = [row for row in result_rows(record) if row["measure"] in BELIEF_RATES]
    assert len(rows) == 2 * 2 * len(BELIEF_RATES)
    for row in rows:
        assert set(row) == set(RESULT_COLUMNS)
        assert row["denominator"] == BELIEF_DENOMINATORS[str(row["measure"])]
        m, a = record.models.index(row["model"]), record.attacks.index(row["condition"])
        assert row["count"] == record.aggregates["succeeded"][m, a]
    assert "judge_prediction" in image_columns(record)
    read = [each for table in image_tables(record) for each in table["judge_prediction"]]
    known = record.judged["prediction"]
    assert sorted(each for each in read if each is not None) == sorted(known[known >= 0].tolist())


def test_believability_is_compared_without_a_verdict(tmp_path):
    told = compare(read_record(whole(tmp_path)[2]))
    keys = [each["key"] for each in told["measures"] if each["key"].startswith("believed_rate")]
    assert keys == ["believed_rate:swap", "believed_rate:jitter"]
    for row in told["rows"]:
        assert row["numbers"]["believed_rate:swap"]["value"] == 1.0
        assert row["numbers"]["believed_rate:swap"]["count"] == 16
        assert row["numbers"]["believed_rate:swap"]["versus"] is None


# ── verify ─────────────────────────────────────────────────────────────────────────────────────


def test_verify_lets_the_judge_read_again(tmp_path):
    _, _, path = whole(tmp_path, keep_images=True)
    findings = verify(path, get_model)
    assert failing(findings) == set()
    read = [each for each in findings if each.claim.startswith("what the judge reads in the")]
    assert {(each.model, each.attack, each.verdict) for each in read} == {
        (model, attack, "holds") for model in ("one", "two") for attack in ("swap", "jitter")
    }


def change_reading(file):
    row = np.flatnonzero(file["judged/prediction"][0, 0] >= 0)[0]
    file["judged/prediction"][0, 0, row] = (file["judged/prediction"][0, 0, row] + 1) % 4


def change_clean(file):
    row = np.flatnonzero(file["judged/clean_prediction"][1, 1] >= 0)[0]
    file["judged/clean_confidence"][1, 1, row] = 0.999


def read_what_was_not_attacked(file):
    row = np.flatnonzero(file["judged/prediction"][0, 0] < 0)[0]
    for name, value in (("prediction", 1), ("confidence", 0.5)):
        file[f"judged/{name}"][0, 0, row] = value
        file[f"judged/clean_{name}"][0, 0, row] = value


def change_rate(file):
    file["aggregates/believed_rate"][0, 0] = 0.5


@pytest.mark.parametrize(
    ("change", "claim"),
    [
        (change_reading, "what the judge reads in the results"),
        (change_clean, "what the judge reads in the originals"),
        (read_what_was_not_attacked, "the judge has read what was attacked, and nothing else"),
        (change_rate, "the aggregates follow from the per-image data"),
    ],
)
def test_verify_finds_what_was_changed(tmp_path, change, claim):
    _, _, path = whole(tmp_path, keep_images=True)
    (tmp_path / "forged").mkdir()
    assert claim in failing(verify(forged(path, tmp_path / "forged", change), get_model))


def test_verify_says_where_the_judge_is_another_or_gone(tmp_path):
    _, _, path = whole(tmp_path, keep_images=True)

    def gone(description):
        if description["name"] == "judge":
            raise OSError("no such file")
        return get_model(description)

    def another(description):
        return MODELS[description["name"]], "another digest"

    found = next(each for each in verify(path, gone) if each.model == "judge (judge)")
    assert (found.verdict, found.detail) == ("unchecked", "it cannot be loaded: no such file")
    found = next(each for each in verify(path, another) if each.model == "judge (judge)")
    assert found.verdict == "fails"


def test_a_record_that_lost_its_judge_is_damaged(tmp_path):
    _, _, path = whole(tmp_path)

    def lose(file):
        file.attrs["config"] = file.attrs["config"].replace('"judge":{', '"nobody":{')

    (tmp_path / "forged").mkdir()
    with pytest.raises(ValueError, match="its configuration has no judge"):
        read_record(forged(path, tmp_path / "forged", lose))


# ── refusals ───────────────────────────────────────────────────────────────────────────────────


def test_an_attacked_model_is_no_judge():
    same = entry("one").__class__("again", "digest of one", {}, Brightest)
    with pytest.raises(ValueError, match="The judge, again, is one, which is attacked"):
        small_plan(**judged(same))
    with pytest.raises(ValueError, match="same name: one"):
        small_plan(**judged(entry("one").__class__("one", "of its own", {}, Brightest)))


def test_without_attacks_there_is_nothing_to_judge():
    with pytest.raises(ValueError, match="nothing to judge"):
        plan([entry()], [], examples(), judge=judge())


def test_only_attacks_are_judged(tmp_path):
    by = Brightest(2.0)
    planned = small_plan(**judged(judge(by)))
    for _ in run(planned, CellStore(tmp_path)):
        pass
    # Two models under two attacks, each attacked image read once, and once its original.
    attacked = sum(int((attack_rows(planned, CellStore(tmp_path), m, a)["attacked"] == 1).sum())
                   for m in range(2) for a in range(2))  # fmt: skip
    assert sum(by.calls) == 2 * attacked
    assert all(name not in COUNTS for name in BELIEF_RATES.values())
