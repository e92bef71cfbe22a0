"""Cells of probed images: what is run, kept, read, joined and verified, and what it comes to."""

import json

import h5py
import numpy as np
import pytest
import torch
import xarray
from measuring_case import (
    Brightest,
    conditions,
    entry,
    examples,
    failing,
    finished,
    forged,
    small_plan,
)
from scipy import stats
from test_corruption_cells import Blind, corrupted

from attacks.probes import resolve
from benchmarks import (
    Again,
    CellStore,
    Probed,
    columns,
    compare,
    corruption_results,
    join,
    probe_results,
    read_record,
    results,
    run,
    same_data,
    verify,
    write_record,
)
from benchmarks.calibration import calibration
from benchmarks.class_tables import class_tables
from benchmarks.intervals import wilson
from benchmarks.tidy import image_tables, result_rows

NOISE, TURN = "gaussian-noise(std=0.25)", "rotation(angle=180)"
SCALES = {"one": 4.0, "two": 8.0}


def probed(*specs, seed=0):
    bound = [resolve(spec) for spec in specs or (NOISE, TURN)]
    return [Probed(each.spec, each.probe, seed) for each in bound]


def probed_plan(**settings):
    """Two models, 20 examples in shards of 8, two probes; nothing else unless it is asked for."""
    return small_plan(**({"conditions": [], "probes": probed()} | settings))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    planned = probed_plan(conditions=conditions(), corruptions=corrupted())
    return finished(tmp_path_factory.mktemp("probed"), planned)[2]


@pytest.fixture(scope="module")
def record(path):
    return read_record(path)


def get_model(description):
    name = description["name"]
    return Brightest(SCALES[name]), f"digest of {name}"


# ── plans and runs ─────────────────────────────────────────────────────────────────────────────


def test_probed_cells_come_last_and_change_no_other(record):
    planned = probed_plan(conditions=conditions()[:1], corruptions=corrupted())
    kinds = ["clean", "attack"] + ["corruption"] * 6 + ["probe"] * 2
    assert [cell.kind for cell in planned.cells] == kinds * 6
    without = probed_plan(conditions=conditions()[:1], corruptions=corrupted(), probes=[])
    assert "probes" not in without.config
    same = [cell.digest for cell in planned.cells if cell.kind != "probe"]
    assert [cell.digest for cell in without.cells] == same
    assert len({cell.digest for cell in planned.cells}) == len(planned.cells)


def test_spec_and_seed_are_in_the_digest():
    digest = probed_plan().cell(0, None, 0, probe=0).digest
    for others in (probed(seed=1), probed("gaussian-noise(std=0.2)")):
        assert probed_plan(probes=others).cell(0, None, 0, probe=0).digest != digest
    assert probed_plan(thresholds=[0.5]).cell(0, None, 0, probe=0).digest == digest


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"probes": probed(TURN, TURN)}, "Two probes have the same name: rotation"),
        ({"clean": False, "corruptions": corrupted()}, "can do without the clean pass"),
    ],
)
def test_unusable_plans_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        probed_plan(**settings)


def test_images_are_probed_once_for_all_models(tmp_path):
    calls = []

    def note(images, *, seeds):
        calls.append(len(images))
        return images

    planned = probed_plan(probes=[Probed("note", note)])
    outcomes = list(run(planned, CellStore(tmp_path)))
    assert calls == [8, 8, 4]
    order = [(o.cell.start, o.cell.probe, o.cell.model) for o in outcomes]
    assert order == [(s, p, m) for s in (0, 8, 16) for p in (None, 0) for m in (0, 1)]
    assert {outcome.status for outcome in run(planned, CellStore(tmp_path))} == {"cached"}
    assert calls == [8, 8, 4]


# ── the record ─────────────────────────────────────────────────────────────────────────────────


def test_answers_under_half_a_turn_are_known_without_computing(record):
    assert record.probes == (NOISE, TURN)
    # Half a turn exchanges the two halves of each channel: quarters 0 and 1, and 2 and 3.
    expected = (np.arange(20) % 4) ^ 1
    for m in (0, 1):
        np.testing.assert_array_equal(record.probed["prediction"][m, 1], expected)
        right = expected == examples().labels
        np.testing.assert_array_equal(record.probed["right"][m, 1], right)
    first = probe_results(record)[1]
    assert (first["model"], first["probe"], first["images"]) == ("one", TURN, 20)
    assert first["error"] == np.mean(~right)
    assert (first["clean_error"], first["clean_error_interval"]) == (0.2, wilson(4, 20).tolist())
    assert first["error_interval"] == wilson(int((~right).sum()), 20).tolist()


def test_noise_is_that_of_the_images_ids(record):
    """The same probe on all images at once, with the seeds of their ids."""
    data = examples()
    (made, _) = probed()
    shown = made.images(data.shard(0, 20), slice(0, 20))
    logits = Brightest(4.0)(shown)
    np.testing.assert_array_equal(record.probed["prediction"][0, 0], logits.argmax(1))
    chance = torch.softmax(logits, 1).amax(1).detach().numpy()
    np.testing.assert_allclose(record.probed["confidence"][0, 0], chance, rtol=1e-6)


def test_the_file_has_the_axis_and_the_group(path, record):
    tree = xarray.open_datatree(path, engine="h5netcdf")
    group = tree["probed"].to_dataset()
    assert set(group.data_vars) == set(columns.CORRUPTED) - {"label"}
    assert group["right"].dims == ("model", "probe", "example")
    error = tree["aggregates"].to_dataset()["probe_error"]
    assert error.dims == ("model", "probe")
    assert float(error.sel(model="one", probe=TURN)) == probe_results(record)[1]["error"]
    assert tree["timing"]["probe_seconds"].dims == ("model", "probe")


def test_a_record_without_probes_has_nothing_of_them(tmp_path):
    _, _, bare = finished(tmp_path, small_plan())
    with h5py.File(bare) as file:
        assert not [name for name in (*file, *file["aggregates"]) if "probe" in name]
    found = read_record(bare)
    assert (found.probes, found.probed, probe_results(found)) == ((), {}, [])


def test_a_probe_that_fails_is_told_and_stops_nothing(tmp_path):
    def bad(images, *, seeds):
        return images + 1

    planned = probed_plan(
        probes=[Probed("bad", bad), *probed(TURN)],
        conditions=conditions()[:1],
        corruptions=corrupted(),
    )
    _, _, broken = finished(tmp_path, planned)
    found = read_record(broken)
    first, second, *_ = probe_results(found)
    assert (first["images"], first["error"], first["error_interval"]) == (0, None, [None, None])
    assert [each["start"] for each in first["failures"]] == [0, 8, 16]
    assert first["failures"][0]["reason"].startswith("bad returned values from 1")
    assert second["error"] is not None
    # They are no failures of what else was measured.
    assert corruption_results(found)[0]["failures"] == []
    assert results(found)[0]["failures"] == []
    assert failing(verify(broken, get_model)) == set()


# ── what is made of it ─────────────────────────────────────────────────────────────────────────


def test_tidy_tables_have_a_row_for_each_probe(record):
    rows = [row for row in result_rows(record) if row["kind"] == "probe"]
    assert [(row["model"], row["condition"]) for row in rows] == [
        (model, probe) for model in ("one", "two") for probe in (NOISE, TURN)
    ]
    told = probe_results(record)
    assert [row["value"] for row in rows] == [each["error"] for each in told]
    assert {(row["measure"], row["count"]) for row in rows} == {("probe_error", 20)}
    tables = [t for t in image_tables(record) if t["kind"][0] == "probe"]
    assert [table["condition"][0] for table in tables] == [NOISE, TURN] * 2
    assert tables[1]["prediction"] == record.probed["prediction"][0, 1].tolist()


def test_models_are_compared_on_the_same_probed_images(tmp_path):
    planned = probed_plan(models=[entry("one"), entry("two", Blind())])
    found = read_record(finished(tmp_path, planned)[2])
    told = compare(found)
    (measure,) = [m for m in told["measures"] if m["key"] == f"probe_error:{TURN}"]
    assert (measure["group"], measure["better"], measure["form"]) == ("probes", "lower", "percent")
    number = told["rows"][1]["numbers"][measure["key"]]
    wrong = found.probed["right"][:, 1] == 0
    ones, others = (wrong[1] & ~wrong[0]).sum(), (wrong[0] & ~wrong[1]).sum()
    assert number["value"] == wrong[1].mean()
    assert number["versus"]["difference"] == pytest.approx(wrong[1].mean() - wrong[0].mean())
    assert number["versus"]["p"] == pytest.approx(
        stats.binomtest(int(ones), int(ones + others)).pvalue
    )
    assert "McNemar" in number["versus"]["test"]


def test_other_views_have_probes_among_their_conditions(record):
    told = calibration(record)[0]["conditions"]
    assert [(each["condition"], each["kind"]) for each in told[-2:]] == [
        (NOISE, "probe"),
        (TURN, "probe"),
    ]
    assert told[-1]["error"] == probe_results(record)[1]["error"]
    (classes, _) = class_tables(record, TURN)
    mistaken = {each["class"]: each["mistaken_for"][0]["class"] for each in classes["classes"]}
    assert mistaken == {0: 1, 1: 0, 2: 3, 3: 2}


# ── joining ────────────────────────────────────────────────────────────────────────────────────


def part(folder, **settings):
    folder.mkdir()
    return read_record(finished(folder, probed_plan(**settings))[2])


def test_parts_joined_are_the_whole(tmp_path):
    whole = part(tmp_path / "whole")
    parts = [
        part(tmp_path / f"{m}{p}", models=[model], probes=[probe])
        for p, probe in enumerate(probed())
        for m, model in enumerate([entry("one"), entry("two", Brightest(8.0))])
    ]
    joined = join(parts)
    assert joined.probes == whole.probes
    assert joined.config["probes"] == whole.config["probes"]
    for group in ("clean", "probed", "aggregates"):
        for name, values in getattr(whole, group).items():
            assert values.tobytes() == getattr(joined, group)[name].tobytes(), name
    write_record(joined, tmp_path / "joined.h5")
    assert failing(verify(tmp_path / "joined.h5", get_model)) == set()
    again = read_record(tmp_path / "joined.h5")
    write_record(again, tmp_path / "again.h5")
    assert same_data(tmp_path / "joined.h5", tmp_path / "again.h5") == []


def test_a_record_without_probes_joins_one_with(tmp_path):
    bare = part(tmp_path / "bare", probes=[], models=[entry("three")])
    joined = join([bare, part(tmp_path / "probed")])
    assert joined.probes == (NOISE, TURN)
    assert probe_results(joined)[0]["images"] == 0
    assert probe_results(joined)[3]["images"] == 20


def test_the_same_probe_with_another_seed_is_refused(tmp_path):
    parts = [part(tmp_path / str(seed), probes=probed(NOISE, seed=seed)) for seed in (0, 1)]
    with pytest.raises(ValueError, match=r"is not the same in .* seed 0 and 1"):
        join(parts)


def test_what_failed_in_one_record_is_taken_from_the_other(tmp_path):
    def bad(images, *, seeds):
        raise RuntimeError("out of luck")

    broken = part(tmp_path / "broken", probes=[Probed(TURN, bad)])
    assert len(broken.failures) == 6
    joined = join([broken, part(tmp_path / "whole", probes=probed(TURN))])
    assert joined.failures == ()
    assert (joined.probed["right"] != 255).all()


# ── verifying ──────────────────────────────────────────────────────────────────────────────────


def again(config):
    def corruption(name, severity):
        return corrupted(names=[name], severities=[severity])[0]

    return Again(examples(), corruption)


def test_a_sample_is_probed_again(path):
    findings = verify(path, get_model, get_data=again)
    assert failing(findings) == set()
    told = {f.claim: f.verdict for f in findings if f.model == "two"}
    assert told[f"the answers under {NOISE}"] == told[f"the answers under {TURN}"] == "holds"
    assert told["the predictions on probed images"] == "unchecked"


def test_answers_to_other_images_are_found_in_the_sample(path, tmp_path):
    def change(file):
        config = json.loads(file.attrs["config"])
        config["probes"][0]["seed"] = 1
        file.attrs["config"] = json.dumps(config)

    found = failing(verify(forged(path, tmp_path, change), get_model, get_data=again))
    assert found == {f"the answers under {NOISE}"}


def test_a_probe_of_another_release_is_left_unchecked(tmp_path):
    def stay(images, *, seeds):
        return images

    _, _, other = finished(tmp_path, probed_plan(probes=[Probed("stay", stay)]))
    findings = verify(other, get_model, get_data=again)
    assert failing(findings) == set()
    (left, _) = [f for f in findings if f.claim == "the answers under stay"]
    assert (left.verdict, left.detail.partition(";")[0]) == ("unchecked", "unknown probe 'stay'")


def put(name, place, value):
    def change(file):
        file[name][place] = value

    return change


AGGREGATES = "the aggregates follow from the per-image data"
RIGHT = "right on a probed image means that the prediction is the label"
THERE = "what finished of the probed images is there, and nothing else"
ANSWERS = "rank, loss and Brier score go with the prediction"
FORGERIES = {
    "an error": (put("aggregates/probe_error", (0, 1), 0.5), {AGGREGATES}),
    "an interval": (put("aggregates/probe_error_interval", (0, 1, 0), 0.1), {AGGREGATES}),
    "an image": (put("probed/right", (0, 1, 5), 1), {AGGREGATES, RIGHT}),
    "a prediction": (put("probed/prediction", (0, 1, 1), 1), {RIGHT, ANSWERS}),
    "a confidence": (put("probed/confidence", (0, 1, 1), np.nan), {THERE, ANSWERS}),
    "a name": (put("probe", 1, "rotation(angle=9)"), {"the probes are those of the configuration"}),
}


@pytest.mark.parametrize("case", FORGERIES)
def test_a_forged_value_is_found_out(path, tmp_path, case):
    change, expected = FORGERIES[case]
    assert failing(verify(forged(path, tmp_path, change), get_model)) == expected


def test_columns_of_another_shape_are_damage(path, tmp_path):
    def change(file):
        del file["probed/right"]
        file["probed/right"] = np.zeros((2, 2, 19), np.uint8)

    with pytest.raises(ValueError, match="right has shape"):
        read_record(forged(path, tmp_path, change))
