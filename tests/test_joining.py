"""Records of the same data joined into one: nothing is lost, nothing is made up."""

import json
from dataclasses import replace
from itertools import pairwise

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from measuring_case import Brightest, conditions, entry, examples, failing, finished, jitter, swap
from test_corruption_cells import NAMES, SEVERITIES, Blind, corrupted, corrupted_plan

from benchmarks import (
    Condition,
    Corrupted,
    ModelEntry,
    join,
    read_record,
    same_data,
    verify,
    write_record,
)
from benchmarks.columns import FILLS
from benchmarks.identity import canonical_json

MODELS = {"one": Brightest(), "two": Blind()}


def record(folder, **chosen):
    folder.mkdir(parents=True)
    return read_record(finished(folder, corrupted_plan(**chosen))[2])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "all"
    return record(folder, conditions=conditions(), baseline="one", save_images=3)


def assert_equal(one, other):
    assert (one.models, one.attacks, one.axes) == (other.models, other.attacks, other.axes)
    for group in ("clean", "attacked", "corrupted", "aggregates", "timing"):
        first, second = getattr(one, group), getattr(other, group)
        assert first.keys() == second.keys()
        for name, values in first.items():
            assert values.dtype == second[name].dtype, name
            if group != "timing":
                assert values.tobytes() == second[name].tobytes(), name
    assert sorted(map(canonical_json, one.cautions)) == sorted(map(canonical_json, other.cautions))
    assert one.failures == other.failures
    for m in range(len(one.models)):
        for a in range(len(one.attacks)):
            mine, theirs = one.images(m, a), other.images(m, a)
            assert mine.rows.tolist() == theirs.rows.tolist()
            np.testing.assert_array_equal(mine.original, theirs.original)
            np.testing.assert_array_equal(mine.result, theirs.result)


def part(whole, models, attacks, names):
    """What a run of some of the models and conditions gives: a selection, by hand."""
    m = [whole.models.index(name) for name in models]
    a = [whole.attacks.index(name) for name in attacks]
    k = [whole.axes.corruptions.index(name) for name in names]
    config = dict(whole.config)
    config["models"] = [config["models"][i] for i in m]
    config["attacks"] = [config["attacks"][i] for i in a]
    if names:
        listed = config["corruptions"]
        config["corruptions"] = [each for each in listed if each["corruption"] in names]
        config["baseline"] = config["baseline"] if "one" in models else None
    else:
        for key in ("corruptions", "with_extra", "clean", "baseline"):
            config.pop(key)

    def of(name, values):
        if "corrupt" in name:
            return values[np.ix_(m, k)]
        return values[m] if values.ndim == 1 else values[np.ix_(m, a)]

    timing = {name: of(name, values) for name, values in whole.timing.items()}
    return replace(
        whole,
        config=config,
        models=tuple(models),
        attacks=tuple(attacks),
        clean={name: values[m] for name, values in whole.clean.items()},
        attacked={name: values[np.ix_(m, a)] for name, values in whole.attacked.items()},
        axes=replace(
            whole.axes,
            corruptions=tuple(names),
            severities=whole.axes.severities if names else (),
        ),
        corrupted={n: values[np.ix_(m, k)] for n, values in whole.corrupted.items() if names},
        aggregates={},
        timing={n: values for n, values in timing.items() if names or "corrupt" not in n},
        cautions=tuple(
            each
            for each in whole.cautions
            if each["model"] in models and each["attack"] in (None, *attacks)
        ),
        places={
            (i, j): whole.image_place(m[i], a[j]) for i in range(len(m)) for j in range(len(a))
        },
    )


def shares(values, cuts):
    """The values in consecutive shares, none of them empty."""
    ends = [0, *sorted({cut % len(values) for cut in cuts} - {0}), len(values)]
    return [values[start:stop] for start, stop in pairwise(ends)]


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    by_model=st.booleans(),
    attack_cuts=st.lists(st.integers(1, 2), max_size=2),
    corruption_cuts=st.lists(st.integers(1, 2), max_size=2),
)
def test_a_record_that_was_split_is_put_together_again(
    whole, by_model, attack_cuts, corruption_cuts
):
    """By models, by attacks and by corruptions, in any combination: the same bits."""
    parts = []
    for models in [[name] for name in whole.models] if by_model else [list(whole.models)]:
        parts += [part(whole, models, own, []) for own in shares(whole.attacks, attack_cuts)]
        names = whole.axes.corruptions
        parts += [part(whole, models, [], own) for own in shares(names, corruption_cuts)]
    assert_equal(join(parts), whole)


def test_runs_of_their_own_join_to_the_run_of_all(whole, tmp_path):
    one, two = entry("one"), entry("two", Blind())
    parts = [
        record(
            tmp_path / "a",
            models=[one],
            conditions=conditions()[:1],
            corruptions=corrupted(names=NAMES[:1]),
            baseline="one",
            save_images=3,
        ),
        record(
            tmp_path / "b",
            models=[one],
            conditions=conditions()[1:],
            corruptions=corrupted(names=NAMES[1:]),
            save_images=3,
        ),
        record(tmp_path / "c", models=[two], conditions=conditions(), save_images=3),
    ]
    joined = join(parts)
    assert_equal(joined, whole)
    # Seconds are those of the runs, whoever measured what.
    spent = np.concatenate([r.timing["attack_seconds"] for r in parts[:2]], axis=1)
    np.testing.assert_array_equal(joined.timing["attack_seconds"][:1], spent)
    np.testing.assert_array_equal(
        joined.timing["attack_seconds"][1:], parts[2].timing["attack_seconds"]
    )
    told = [(each["name"], each["models"]) for each in joined.config["joined"]]
    assert told == [("a", ["one"]), ("b", ["one"]), ("c", ["two"])]
    assert all(len(each["digest"]) == 64 for each in joined.config["joined"])


def test_what_nobody_measured_has_fill_values(tmp_path):
    joined = join(
        [
            record(tmp_path / "a", models=[entry("one")], conditions=[Condition("swap", swap)]),
            record(
                tmp_path / "b",
                models=[entry("two")],
                conditions=[Condition("jitter", jitter, 7)],
                corruptions=corrupted(names=NAMES[:1], severities=(3, 5)),
            ),
        ]
    )
    assert joined.axes.severities == (1, 3, 5)
    assert joined.attacked["attacked"][0, 0].tolist() != [255] * 20
    for m, a in ((0, 1), (1, 0)):
        for name, values in joined.attacked.items():
            fill = FILLS[values.dtype.kind]
            np.testing.assert_array_equal(values[m, a], np.full_like(values[m, a], fill), name)
    measured = (joined.corrupted["right"] != 255).all(axis=-1)
    assert measured.tolist() == [[[1, 1, 0]] * 3, [[0, 1, 1]] + [[0, 0, 0]] * 2]
    errors = joined.aggregates["cell_error"]
    assert np.isfinite(errors).tolist() == measured.tolist()
    assert np.isnan(joined.aggregates["mean_error"]).all()  # no corruption at all three severities


def test_a_joined_record_is_written_read_and_confirmed(whole, tmp_path):
    parts = [part(whole, ["one"], whole.attacks, NAMES), part(whole, ["two"], whole.attacks, NAMES)]
    joined = join(parts)
    write_record(joined, tmp_path / "joined.h5")
    assert_equal(read_record(tmp_path / "joined.h5"), joined)
    findings = verify(
        tmp_path / "joined.h5", lambda told: (MODELS[told["name"]], f"digest of {told['name']}")
    )
    assert failing(findings) == set()
    write_record(join(parts), tmp_path / "again.h5")
    assert same_data(tmp_path / "joined.h5", tmp_path / "again.h5") == []
    # Joined records join like any others.
    assert_equal(join([read_record(tmp_path / "joined.h5"), parts[0]]), joined)


def test_one_record_stays_as_it_is(whole):
    assert join([whole]) is whole
    with pytest.raises(ValueError, match="no record"):
        join([])


# ── names ──────────────────────────────────────────────────────────────────────────────────────


def renamed(model, name, digest):
    return ModelEntry(name, digest, {"name": name}, lambda: model)


def test_other_models_of_one_name_get_that_of_their_record(tmp_path):
    joined = join(
        [
            record(tmp_path / "run-1", models=[renamed(Brightest(), "net", "a")], baseline="net"),
            record(tmp_path / "run-2", models=[renamed(Blind(), "net", "b")]),
        ]
    )
    assert joined.models == ("net (run-1)", "net (run-2)")
    assert joined.config["baseline"]["name"] == "net (run-1)"
    assert joined.aggregates["mce"][0] == 1
    assert [each["name"] for each in joined.config["models"]] == list(joined.models)


def test_the_same_model_under_another_name_is_the_same(tmp_path):
    joined = join(
        [
            record(tmp_path / "a", models=[renamed(Brightest(), "net", "a")], corruptions=[]),
            record(
                tmp_path / "b", models=[renamed(Brightest(), "run/net", "a")], baseline="run/net"
            ),
        ]
    )
    assert joined.models == ("net",)
    assert joined.config["baseline"]["name"] == "net"


def test_attacks_of_other_seeds_are_other_attacks(tmp_path):
    made = [
        record(tmp_path / str(seed), conditions=[Condition("jitter", jitter, seed)], corruptions=[])
        for seed in (1, 2)
    ]
    assert join(made).attacks == ("jitter seed=1", "jitter seed=2")
    assert {each["attack"] for each in join(made).cautions} <= {None, *join(made).attacks}


# ── what does not go together ──────────────────────────────────────────────────────────────────


def test_other_data_are_refused_in_words(whole, tmp_path):
    fewer = examples(12)
    fewer.digest = "fewer"
    with pytest.raises(ValueError, match=r"20 examples .*12 examples .*first 12 are the same"):
        join([whole, record(tmp_path / "few", examples=fewer)])
    other = examples()
    other.labels = (other.labels + 1) % 4
    other.digest = "relabelled"
    with pytest.raises(ValueError, match="the images are the same, with other labels"):
        join([whole, record(tmp_path / "labels", examples=other)])
    named = replace(whole, config={**whole.config, "class_names": ["a", "b", "c", "d"]})
    others = replace(whole, config={**whole.config, "class_names": ["a", "b", "x", "d"]})
    with pytest.raises(ValueError, match="class 2 is c and x"):
        join([named, others])
    assert join([whole, named]).config["class_names"] == ["a", "b", "c", "d"]


def test_another_corruption_of_the_name_is_refused(whole, tmp_path):
    changed = [
        Corrupted(each.corruption, each.severity, {"seed": 5}, each.corrupt)
        for each in corrupted(names=NAMES[1:2])
    ]
    with pytest.raises(ValueError, match=r"frost at severity 1 is not the same .*: seed 0 and 5"):
        join([whole, record(tmp_path / "seed", corruptions=changed)])


def changed_bit(whole, group, name, place):
    values = getattr(whole, group)[name].copy()
    values.view(np.uint8)[place] ^= 1
    return replace(whole, **{group: {**getattr(whole, group), name: values}})


@pytest.mark.parametrize(
    ("group", "name", "what"),
    [
        ("clean", "confidence", "clean images"),
        ("attacked", "l2", "swap"),
        ("corrupted", "loss", "gaussian_noise at severity 1"),
    ],
)
def test_one_bit_of_a_second_measurement_is_refused(whole, group, name, what):
    first = tuple(0 for _ in getattr(whole, group)[name].shape)
    other = changed_bit(whole, group, name, first)
    with pytest.raises(
        ValueError, match=f"one, {what}: .* both measured it, and {name} differs on 1"
    ):
        join([whole, other])
    # On another device last bits may differ; the first measurement is kept.
    elsewhere = replace(other, config={**other.config, "device": "cuda"}, device="cuda")
    joined = join([whole, elsewhere])
    assert joined.device == "cpu, cuda"
    assert getattr(joined, group)[name].tobytes() == getattr(whole, group)[name].tobytes()


def test_another_class_on_another_device_is_refused(whole):
    other = changed_bit(whole, "clean", "prediction", (0, 0))
    elsewhere = replace(other, config={**other.config, "device": "cuda"}, device="cuda")
    with pytest.raises(ValueError, match=r"they differ in device"):
        join([whole, elsewhere])


def test_a_failed_cell_is_made_good_by_another_record(tmp_path):
    broken = []

    def fails(model, images, labels, *, targets=None, seeds=None):
        if broken:
            raise ValueError("out of luck")
        return swap(model, images, labels)

    condition = [Condition("swap", fails)]
    good = record(tmp_path / "good", conditions=condition, corruptions=[])
    broken.append(True)
    bad = record(tmp_path / "bad", conditions=condition, corruptions=[])
    assert len(bad.failures) == 6
    assert_equal(join([bad, good]), good)
    assert len(join([bad, bad]).failures) == 6


def test_thresholds_are_those_that_all_have(tmp_path):
    a = record(tmp_path / "a", conditions=conditions()[:1], corruptions=[], thresholds=[0.5, 0.1])
    b = record(tmp_path / "b", conditions=conditions()[1:], corruptions=[], thresholds=[0.1, 0.2])
    joined = join([a, b])
    assert joined.thresholds.tolist() == joined.config["thresholds"] == [0.1]
    np.testing.assert_array_equal(
        joined.attacked["pixels_over_threshold"][:, 0, :, 0],
        a.attacked["pixels_over_threshold"][:, 0, :, 1],
    )
    c = record(tmp_path / "c", conditions=conditions()[1:], corruptions=[], thresholds=[0.3])
    with pytest.raises(ValueError, match="share no threshold"):
        join([a, c])


def test_baselines_that_differ_are_for_the_caller_to_choose(tmp_path):
    a = record(tmp_path / "a", baseline="one")
    b = record(tmp_path / "b", baseline="two")
    with pytest.raises(ValueError, match="different baselines, one and two"):
        join([a, b])
    joined = join([a, b], baseline="two")
    np.testing.assert_array_equal(joined.aggregates["mce"], b.aggregates["mce"])
    with pytest.raises(ValueError, match="'three'"):
        join([a, b], baseline="three")


def test_a_damaged_configuration_is_told(whole, tmp_path):
    with pytest.raises(ValueError, match="other models"):
        join([whole, replace(whole, config={**whole.config, "models": []})])
    with h5py.File(whole.path) as file:
        assert json.loads(file.attrs["config"])["shard_size"] == 8
    assert whole.axes.severities == SEVERITIES
