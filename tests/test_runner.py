import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from measuring_case import (
    CLASSES,
    Arrays,
    Brightest,
    attack_rows,
    conditions,
    entry,
    examples,
    finished,
    jitter,
    outcome,
    run_one,
    small_plan,
    stay,
    swap,
)
from torch import nn

from attacks import Goal
from attacks.draws import image_seeds
from benchmarks import (
    CellStore,
    Condition,
    ModelEntry,
    merge,
    plan,
    read_record,
    results,
    run,
    worst_case,
)
from benchmarks.attack_cells import spread

# ── what is given to the attack, and what is measured of it ────────────────────────────────────


def test_only_images_that_are_right_reach_the_attack_and_all_of_them(tmp_path):
    seen = []

    def watch(model, images, labels, *, targets=None, seeds=None):
        seen.append((images.clone(), labels.clone(), seeds.clone()))
        return outcome(images)

    data = examples()
    planned, store, _ = run_one(tmp_path, watch, data=data)
    right = np.arange(20) % 5 != 0
    assert torch.equal(torch.cat([images for images, _, _ in seen]), data.images[right])
    assert torch.cat([labels for _, labels, _ in seen]).tolist() == data.labels[right].tolist()
    ids = torch.from_numpy(data.ids(slice(0, 20))[right])
    assert torch.equal(torch.cat([seeds for _, _, seeds in seen]), image_seeds(0, ids))
    assert attack_rows(planned, store)["attacked"].tolist() == right.astype(int).tolist()


def test_success_is_not_the_attacks_word(tmp_path):
    planned, store, outcomes = run_one(tmp_path, stay)
    rows = attack_rows(planned, store)
    assert rows["success"].sum() == 0
    assert (rows["ended"][rows["attacked"] == 1] == 1).all()
    cautions = said(outcomes)
    assert [caution.code for caution in cautions] == ["unconfirmed"] * 3
    assert "6 of 6" in cautions[0].message


def test_every_column_is_what_is_known_by_construction(tmp_path):
    data = examples()
    planned, store, _ = run_one(tmp_path, swap, data=data, thresholds=[0.0, 0.5])
    rows, given = attack_rows(planned, store), np.arange(20) % 5 != 0
    true = np.arange(20) % CLASSES
    quarters = data.images.reshape(20, CLASSES, 8).double().numpy()
    mean = quarters.mean(axis=2)
    shares = np.exp(4 * mean) / np.exp(4 * mean).sum(axis=1, keepdims=True)
    np.testing.assert_array_equal(rows["prediction"][given], (true[given] + 1) % CLASSES)
    # The values are exchanged, so the new class is as sure as the true one was.
    expected = shares[np.arange(20), true]
    np.testing.assert_allclose(rows["confidence"], expected, rtol=1e-5)
    assert (rows["success"] == given).all()
    assert (rows["success_8bit"][given] == 1).all()
    assert (rows["misclassified"] == 1).all()
    np.testing.assert_array_equal(rows["steps"], np.where(given, 2, 0))
    np.testing.assert_array_equal(rows["forwards"], np.where(given, 3, 0))
    gaps = np.abs(quarters[np.arange(20), true] - quarters[np.arange(20), (true + 1) % CLASSES])
    per_image = 2 * gaps.sum(axis=1) / 16  # 2 quarters of 8 values move; 16 pixels
    np.testing.assert_allclose(
        rows["average_pixel_change"], np.where(given, per_image, 0), rtol=1e-6
    )
    np.testing.assert_allclose(rows["linf"], np.where(given, gaps.max(axis=1), 0), rtol=1e-6)
    assert rows["pixels_over_threshold"][~given].sum() == 0
    np.testing.assert_array_equal(rows["pixels_over_threshold"][:, 0], rows["l0"])
    assert np.isnan(rows["unshrunk_pixel_change"]).all()


def test_images_that_are_not_attacked_stand_unchanged(tmp_path):
    planned, store, _ = run_one(tmp_path, swap)
    rows = attack_rows(planned, store)[::5]
    assert (rows["attacked"] == 0).all()
    assert (rows["success"] == 0).all()
    assert (rows["misclassified"] == 1).all()
    assert (rows["ended"] == 0).all()
    assert (rows["prediction_8bit"] == -1).all()
    assert np.isnan(rows["confidence_8bit"]).all()
    clean = np.concatenate([store.read(planned.cell(0, None, s)).rows for s, _ in planned.shards])
    np.testing.assert_array_equal(rows["prediction"], clean["prediction"][::5])


def test_success_after_rounding_is_measured_apart(tmp_path):
    def hair(model, images, labels, *, targets=None, seeds=None):
        """Lift another quarter to a hair above the true one: rounding undoes it."""
        level = 0.5 + 0.4 / 255 * 0.5
        moved = torch.full((len(images), CLASSES, 8), 0.2)
        rows = torch.arange(len(images))
        moved[rows, labels] = 0.5
        moved[rows, (labels + 1) % CLASSES] = level
        return outcome(moved.reshape(images.shape))

    planned, store, _ = run_one(tmp_path, hair)
    rows = attack_rows(planned, store)
    given = rows["attacked"] == 1
    assert rows["success"][given].all()
    # 0.5 is 127.5/255 and rounds to 128/255 as does its rival: a tie, which order breaks.
    labels = examples().labels[given]
    expected = np.minimum(labels, (labels + 1) % CLASSES) != labels
    np.testing.assert_array_equal(rows["success_8bit"][given] == 1, expected)
    assert 0 < expected.sum() < len(expected)


def test_the_goals_confidence_is_asked_for(tmp_path):
    def sure(model, images, labels, *, targets=None, seeds=None):
        return outcome(swap(model, images, labels).images, Goal(None, 0.999))

    planned, store, _ = run_one(tmp_path, sure)
    rows = attack_rows(planned, store)
    assert rows["misclassified"].all()
    assert not rows["success"].any()
    assert store.read(planned.cell(0, 0, 0)).confidence == 0.999


def test_results_do_not_depend_on_the_shards(tmp_path):
    whole = run_one(tmp_path / "a", jitter, shard_size=20)
    parts = run_one(tmp_path / "b", jitter, shard_size=3)
    a, b = attack_rows(*whole[:2]), attack_rows(*parts[:2])
    for name in a.dtype.names:
        np.testing.assert_allclose(a[name], b[name], rtol=1e-6, err_msg=name)
    assert 0 < a["success"].sum() < 16


def test_the_pixel_change_before_shrinking_is_kept(tmp_path):
    planned, store, _ = run_one(tmp_path, jitter)
    rows = attack_rows(planned, store)
    given = rows["attacked"] == 1
    expected = examples().images.sum(dim=1).mean(dim=(1, 2)).numpy()  # jitter says: all black
    np.testing.assert_allclose(rows["unshrunk_pixel_change"][given], expected[given], rtol=1e-6)


# ── economy and side effects ───────────────────────────────────────────────────────────────────


def test_the_clean_pass_is_computed_once_per_model_and_shard(tmp_path):
    model = Brightest()
    planned = small_plan(models=[entry("m", model)], conditions=[Condition("s", stay)] * 1)
    sizes = [stop - start for start, stop in planned.shards]
    store = CellStore(tmp_path)
    list(run(planned, store))
    # Clean images and their repetition for the randomness check, then float and 8-bit results.
    attacked = [sum(i % 5 != 0 for i in range(*shard)) for shard in planned.shards]
    assert sum(model.calls) == 3 * sum(sizes) + 2 * sum(attacked)
    more = small_plan(
        models=[entry("m", model)], conditions=[Condition("s", stay), Condition("t", stay)]
    )
    model.calls.clear()
    assert [o.status for o in run(more, store)] == ["cached", "cached", "done"] * 3
    assert sum(model.calls) == 2 * sum(attacked)


def test_nothing_is_loaded_when_all_is_done(tmp_path):
    planned, store, _ = finished(tmp_path)

    def refuse():
        raise AssertionError("loaded")

    class Unread(Arrays):
        def shard(self, start, stop):
            raise AssertionError("read")

    data = examples()
    again = small_plan(
        models=[ModelEntry(m.name, m.digest, m.description, refuse) for m in planned.models],
        examples=Unread(data.images, data.labels),
    )
    assert {o.status for o in run(again, store)} == {"cached"}


def test_a_corrected_model_never_reuses_a_cell(tmp_path):
    store = CellStore(tmp_path)
    wrong = plan([ModelEntry("m", "mean 0.4", {}, Brightest)], conditions(), examples())
    list(run(wrong, store))
    right = plan([ModelEntry("m", "mean 0.5", {}, Brightest)], conditions(), examples())
    assert {o.status for o in run(right, store)} == {"done"}


def test_models_and_generators_are_left_as_they_were(tmp_path):
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(32, CLASSES), nn.BatchNorm1d(CLASSES), nn.Dropout()
    )
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(0)
    state = torch.get_rng_state()
    for _ in run(
        small_plan(models=[entry("m", model)], conditions=[Condition("s", stay)]),
        CellStore(tmp_path),
    ):
        assert all(module.training for module in model.modules())
        assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_an_attack_that_writes_into_its_arguments_changes_no_measure(tmp_path):
    def vandal(model, images, labels, *, targets=None, seeds=None):
        result = swap(model, images, labels)
        images.zero_()
        labels.zero_()
        return result

    planned, store, _ = run_one(tmp_path / "a", vandal)
    honest = run_one(tmp_path / "b", swap)
    a, b = attack_rows(planned, store), attack_rows(*honest[:2])
    assert a.tobytes() == b.tobytes()


# ── failures ───────────────────────────────────────────────────────────────────────────────────


def broken(model, images, labels, *, targets=None, seeds=None):
    raise RuntimeError("no kernel\nfor this layer")


BAD_RETURNS = {
    "shape": (lambda x: outcome(x[:, :1]), "returned shape"),
    "range": (lambda x: outcome(x + 2), "outside \\[0, 1\\]"),
    "nan": (lambda x: outcome(x * float("nan")), "not finite"),
    "steps": (lambda x: outcome(x, steps=torch.zeros(1)), "one value per image"),
}


@pytest.mark.parametrize("case", BAD_RETURNS)
def test_what_is_no_image_fails_the_cell(tmp_path, case):
    change, message = BAD_RETURNS[case]
    _, _, outcomes = run_one(tmp_path, lambda model, images, labels, **_: change(images))
    assert [o.status for o in outcomes] == ["done", "failed"] * 3
    with pytest.raises(ValueError, match=message):
        raise outcomes[1].error


def test_rounding_just_outside_the_range_is_no_fault(tmp_path):
    def hair(model, images, labels, **_):
        return outcome((images * 0).sub(2.98e-8))

    _, _, outcomes = run_one(tmp_path, hair)
    assert {o.status for o in outcomes} == {"done"}


def test_a_failing_cell_stops_nothing_and_is_told(tmp_path):
    planned = small_plan(conditions=[Condition("broken", broken), Condition("swap", swap)])
    _, store, path = finished(tmp_path, planned)
    record = read_record(path)
    assert len(record.failures) == 6
    assert record.failures[0] == {
        "model": "one",
        "attack": "broken",
        "start": 0,
        "stop": 8,
        "reason": "RuntimeError: no kernel for this layer",
    }
    first, second = results(record)[:2]
    assert (first["images"], first["attacked"], first["success_rate"]) == (0, 0, None)
    assert second["success_rate"] == 1.0
    assert (record.attacked["attacked"][:, 0] == 255).all()
    assert np.isnan(record.attacked["confidence"][:, 0]).all()
    assert (record.attacked["prediction"][:, 0] == -1).all()
    assert worst_case(record)[0]["robust_accuracy"] is None
    assert [o.status for o in run(planned, store)] == (
        ["cached"] * 2 + ["failed"] * 2 + ["cached"] * 2
    ) * 3


class Infinite(nn.Module):
    def forward(self, images):
        logits = images.flatten(1)[:, :CLASSES].clone()
        logits[0, 0] = float("inf")
        return logits


def test_logits_that_are_not_finite_fail_the_clean_pass_and_what_needs_it(tmp_path):
    _, _, outcomes = run_one(tmp_path, swap, model=Infinite())
    assert {o.status for o in outcomes} == {"failed"}
    assert "not finite (NaN or infinite) on 1 of 8 clean images" in outcomes[0].result.failure
    assert outcomes[1].result.failure.startswith("the clean pass failed: ")


class Greedy(Brightest):
    """Takes more memory than there is for more than eight images."""

    def forward(self, images):
        if len(images) > 8:
            torch.empty(2**46)
        return super().forward(images)


def test_memory_that_is_full_halves_the_batch_and_is_told(tmp_path):
    planned, store, outcomes = run_one(tmp_path / "a", swap, model=Greedy(), shard_size=20)
    assert {o.status for o in outcomes} == {"done"}
    assert {c.code for c in outcomes[0].result.cautions} == {"out-of-memory"}
    ample, other, _ = run_one(tmp_path / "b", swap, shard_size=20)
    np.testing.assert_array_equal(
        attack_rows(planned, store)["success"], attack_rows(ample, other)["success"]
    )


def test_labels_beyond_the_classes_are_named(tmp_path):
    data = examples()
    data.labels[3] = 7
    _, _, outcomes = run_one(tmp_path, swap, data=data)
    assert outcomes[0].result.failure == "label 7 is not one of the model's 4 classes (0 to 3)"
    assert outcomes[2].status == "done"


class Blind(Brightest):
    """Never sees class 3, so it is right on fewer images."""

    def forward(self, images):
        return super().forward(images) - torch.tensor([0.0, 0.0, 0.0, 100.0])


def test_an_attack_on_other_images_than_the_clean_pass_has_right_is_made_anew(tmp_path):
    data = examples()
    planned, store, _ = run_one(tmp_path, swap, model=Blind(), data=data)
    for start, _ in planned.shards:  # the clean passes get lost, and come out otherwise
        (store.folder / f"{planned.cell(0, None, start).digest}.h5").unlink()
    planned, store, _ = run_one(tmp_path, swap, data=data)
    right = np.arange(20) % 5 != 0
    np.testing.assert_array_equal(attack_rows(planned, store)["attacked"] == 1, right)


def test_a_model_that_cannot_be_loaded_fails_its_cells_alone(tmp_path):
    def missing():
        raise FileNotFoundError(2, "No such file", "net.pt")

    planned = small_plan(models=[ModelEntry("gone", "g", {}, missing), entry("two")])
    statuses = [(o.cell.model, o.status) for o in run(planned, CellStore(tmp_path))]
    assert set(statuses) == {(0, "failed"), (1, "done")}


def test_data_that_change_under_a_run_fail(tmp_path):
    class Shifting(Arrays):
        def shard(self, start, stop):
            shard = super().shard(start, stop)
            shard.ids[0] += 1
            return shard

    data = examples()
    _, _, outcomes = run_one(tmp_path, swap, data=Shifting(data.images, data.labels))
    assert "the data have changed" in outcomes[0].result.failure


# ── cautions ───────────────────────────────────────────────────────────────────────────────────


class Probable(Brightest):
    def forward(self, images):
        return super().forward(images).softmax(dim=1)


class Moody(Brightest):
    def forward(self, images):
        return super().forward(images) + torch.randn(len(images), CLASSES)


@pytest.mark.parametrize(("model", "code"), [(Probable, "probabilities"), (Moody, "randomised")])
def test_suspicious_models_are_pointed_out(tmp_path, model, code):
    planned, store, _ = run_one(tmp_path, swap, model=model())
    merge(planned, store, tmp_path / "record.h5")
    found = results(read_record(tmp_path / "record.h5"))[0]["cautions"]
    assert code in [caution["code"] for caution in found]


def test_an_attacks_cautions_are_in_the_results_once(tmp_path):
    _, _, path = finished(tmp_path)
    by_attack = {(r["model"], r["attack"]): r["cautions"] for r in results(read_record(path))}
    codes = [c["code"] for c in by_attack["one", "jitter"]]
    assert codes.count("zero-gradient") == 1
    assert by_attack["one", "swap"] == []


def test_counts_of_a_caution_add_up_over_the_cells(tmp_path):
    _, _, outcomes = run_one(tmp_path, stay)
    assert [each.message[:6] for each in said(outcomes)] == ["6 of 6", "6 of 6", "4 of 4"]
    _, _, path = finished(tmp_path, small_plan(models=[entry("one")]))
    (told,) = [each for each in read_record(path).cautions if each["attack"] == "stay"]
    assert told["message"].startswith("16 of 16 images")  # of 20, every fifth is wrong untouched


def said(outcomes):
    return [caution for each in outcomes for caution in each.result.cautions]


def test_a_missing_cell_cannot_be_merged(tmp_path):
    planned = small_plan()
    with pytest.raises(ValueError, match="Not every cell is finished"):
        merge(planned, CellStore(tmp_path), tmp_path / "record.h5")
    assert not (tmp_path / "record.h5").exists()


def test_keyboard_interrupts_pass_through(tmp_path):
    def interrupted(model, images, labels, **_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_one(tmp_path, interrupted)
    assert len(list(tmp_path.glob("*.h5"))) == 1  # the clean pass


@given(st.integers(1, 40), st.data())
def test_kept_rows_are_distinct_and_spread(size, data):
    rows = np.flatnonzero(data.draw(st.lists(st.booleans(), min_size=size, max_size=size)))
    count = data.draw(st.integers(0, len(rows)))
    picks = spread(rows, size, count)
    assert len(set(picks.tolist())) == count
    assert ((picks >= 0) & (picks < len(rows))).all()
    assert (np.diff(picks) > 0).all()
    if len(rows) == size:  # then as evenly as can be
        assert picks.tolist() == [size * place // count for place in range(count)]
