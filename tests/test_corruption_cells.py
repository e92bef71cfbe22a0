"""Cells of corrupted images: what is run, kept, stored and read, and what it comes to."""

from dataclasses import dataclass, field

import h5py
import numpy as np
import pytest
import torch
import xarray
from measuring_case import (
    CLASSES,
    Arrays,
    Brightest,
    conditions,
    entry,
    examples,
    failing,
    finished,
    forged,
)

from benchmarks import (
    CellStore,
    Corrupted,
    ModelEntry,
    columns,
    corruption_results,
    durable,
    merge,
    plan,
    read_record,
    results,
    run,
    same_data,
    verify,
)
from benchmarks.corruption_aggregates import NUMBERS

NAMES = ("gaussian_noise", "frost", "spatter")
SEVERITIES = (1, 3)


@dataclass
class Moved:
    """Exchange two quarters of every image whose row is hit: a corruption that is known."""

    name: str
    severity: int
    calls: list[tuple[str, int, int]] = field(default_factory=list)

    def hit(self, rows: np.ndarray) -> np.ndarray:
        return rows % (3 + NAMES.index(self.name)) < self.severity - 1

    def __call__(self, shard, rows):
        self.calls.append((self.name, self.severity, rows.start))
        quarters = shard.images.flatten(1).reshape(len(shard.images), CLASSES, -1)
        chosen = torch.from_numpy(self.hit(np.arange(rows.start, rows.stop)))
        moved = torch.where(chosen[:, None, None], quarters.roll(1, dims=1), quarters)
        return moved.reshape(shard.images.shape)


def corrupted(calls=None, names=NAMES, severities=SEVERITIES, change=Moved) -> list[Corrupted]:
    calls = [] if calls is None else calls
    return [
        Corrupted(name, severity, {"seed": 0}, change(name, severity, calls))
        for name in names
        for severity in severities
    ]


def corrupted_plan(**settings):
    """Two models (the second never says class 3), 20 examples in shards of 8, six cells each."""
    defaults = {
        "models": [entry("one"), entry("two", Blind())],
        "conditions": [],
        "examples": examples(),
        "shard_size": 8,
        "corruptions": corrupted(),
    }
    chosen = defaults | settings
    return plan(chosen.pop("models"), chosen.pop("conditions"), chosen.pop("examples"), **chosen)


class Blind(Brightest):
    def forward(self, images):
        return super().forward(images) - torch.tensor([0.0, 0.0, 0.0, 100.0])


def known_right(name: str, severity: int, *, blind: bool) -> np.ndarray:
    """Whether a model is right on each of the 20 images, without any model."""
    rows, data = np.arange(20), examples()
    quarters = data.images.reshape(20, CLASSES, 8).double().mean(dim=2).numpy()
    quarters = np.where(Moved(name, severity).hit(rows)[:, None], np.roll(quarters, 1, 1), quarters)
    quarters[:, 3] -= 100 * blind
    return quarters.argmax(axis=1) == data.labels


# ── plans ──────────────────────────────────────────────────────────────────────────────────────


def test_corrupted_cells_come_after_the_clean_pass_and_the_attacks():
    planned = corrupted_plan(conditions=conditions()[:1])
    kinds = ["clean", "attack"] + ["corruption"] * 6
    assert [cell.kind for cell in planned.cells] == kinds * 6
    assert [cell.corruption for cell in planned.cells[:8]] == [None, None, 0, 1, 2, 3, 4, 5]
    assert planned.cell(1, None, 8, 4).digest in {cell.digest for cell in planned.cells}
    assert len({cell.digest for cell in planned.cells}) == 48
    without = corrupted_plan(conditions=conditions()[:1], corruptions=[])
    same = [cell.digest for cell in planned.cells if cell.kind != "corruption"]
    assert [cell.digest for cell in without.cells] == same


def test_whatever_decides_the_pixels_is_in_the_digest():
    before = corrupted_plan().cell(0, None, 0, 0)
    other = corrupted()
    other[0] = Corrupted("gaussian_noise", 1, {"seed": 1}, other[0].corrupt)
    assert corrupted_plan(corruptions=other).cell(0, None, 0, 0).digest != before.digest
    assert corrupted_plan(corruptions=other).cell(0, None, 0, 1).config != before.config
    # What has no part in the pixels has none in the cell.
    assert corrupted_plan(thresholds=[0.5], baseline="one").cell(0, None, 0, 0) == before


REFUSED = {
    "twice": ({"corruptions": corrupted() + corrupted()[:1]}, "severity 1 is there twice"),
    "gap": ({"corruptions": corrupted()[:-1]}, "spatter is missing at severity 3"),
    "severity": ({"corruptions": corrupted(severities=(0,))}, "1, 2, 3, 4 or 5, not 0"),
    "baseline": ({"baseline": "alexnett"}, "did you mean alexnet"),
    "nothing to divide": ({"baseline": "one", "corruptions": []}, "there are none"),
    "extra": ({"baseline": "alexnet", "with_extra": True}, "over all five severities"),
    "attacks": ({"clean": False, "conditions": conditions()}, "can do without the clean pass"),
    "nothing": ({"clean": False, "corruptions": []}, "can do without the clean pass"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_unusable_plans_are_refused(case):
    settings, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        corrupted_plan(**settings)


def test_a_model_of_the_run_goes_before_a_published_baseline():
    planned = corrupted_plan(models=[entry("alexnet")], baseline="alexnet")
    assert planned.config["baseline"]["measured"] is True
    published = corrupted_plan(baseline="alexnet").config["baseline"]
    assert (published["measured"], published["clean_error"]) == (False, 0.4348)
    assert published["errors"]["frost"][1] == 0.79734


# ── running ────────────────────────────────────────────────────────────────────────────────────


def test_images_are_corrupted_once_for_all_models_shard_by_shard(tmp_path):
    calls = []
    planned = corrupted_plan(corruptions=corrupted(calls), conditions=conditions()[:1])
    outcomes = list(run(planned, CellStore(tmp_path)))
    assert {outcome.status for outcome in outcomes} == {"done"}
    pairs = [(name, severity) for name in NAMES for severity in SEVERITIES]
    assert calls == [(*pair, start) for start in (0, 8, 16) for pair in pairs]
    order = [(o.cell.start, o.cell.condition, o.cell.corruption, o.cell.model) for o in outcomes]
    inside = [(None, None), (0, None), *((None, c) for c in range(6))]
    expected = [(start, *each, m) for start in (0, 8, 16) for each in inside for m in (0, 1)]
    assert order == expected
    assert [o.position for o in outcomes] == list(range(1, 49))


def test_images_are_corrupted_only_where_a_model_still_needs_them(tmp_path):
    calls = []
    planned, store = corrupted_plan(corruptions=corrupted(calls)), CellStore(tmp_path)
    list(run(planned, store))
    calls.clear()
    assert {outcome.status for outcome in run(planned, store)} == {"cached"}
    assert calls == []
    (tmp_path / f"{planned.cell(1, None, 8, 2).digest}.h5").unlink()
    assert [o.status for o in run(planned, store)].count("done") == 1
    assert calls == [("frost", 1, 8)]


def test_every_column_is_what_is_known_by_construction(tmp_path):
    _, _, path = finished(tmp_path, corrupted_plan())
    record = read_record(path)
    assert record.axes.corruptions == NAMES
    assert record.axes.severities == SEVERITIES
    for m in (0, 1):
        for k, name in enumerate(NAMES):
            for s, severity in enumerate(SEVERITIES):
                right = known_right(name, severity, blind=m == 1)
                np.testing.assert_array_equal(record.corrupted["right"][m, k, s], right)
                said = record.corrupted["prediction"][m, k, s]
                np.testing.assert_array_equal(said == record.clean["label"][m], right)
    # Severity 1 of this corruption moves nothing.
    np.testing.assert_array_equal(
        record.corrupted["confidence"][:, 0, 0], record.clean["confidence"]
    )


def test_a_corruption_that_returns_no_images_fails_its_cells_alone(tmp_path):
    class Bad(Moved):
        def __call__(self, shard, rows):
            images = super().__call__(shard, rows)
            return {"gaussian_noise": images + 1, "frost": images[1:], "spatter": images}[self.name]

    planned = corrupted_plan(corruptions=corrupted(change=Bad))
    _, _, path = finished(tmp_path, planned)
    found = corruption_results(read_record(path))[0]
    reasons = {failure["corruption"]: failure["reason"] for failure in found["failures"]}
    assert reasons["gaussian_noise"].startswith("gaussian_noise at severity 3 returned values")
    assert "torch.float32 of shape (7, 2, 4, 4) for 8 images" in reasons["frost"] or (
        "of shape (3, 2, 4, 4) for 4 images" in reasons["frost"]
    )
    assert len(found["failures"]) == 12
    assert found["corruptions"]["frost"]["mean_error"] is None
    assert found["corruptions"]["frost"]["errors"] == {"1": None, "3": None}
    assert found["corruptions"]["spatter"]["mean_error"] is not None
    assert found["mean_corruption_error"] is None
    assert found["images"] == 0


def test_a_label_beyond_the_classes_is_named_without_a_clean_pass_too(tmp_path):
    data = examples()
    data.labels[3] = 7
    planned = corrupted_plan(examples=data, clean=False)
    outcomes = list(run(planned, CellStore(tmp_path)))
    assert outcomes[0].result.failure == "label 7 is not one of the model's 4 classes (0 to 3)"


def test_a_model_that_answers_differently_is_pointed_out_without_a_clean_pass(tmp_path):
    class Moody(Brightest):
        def forward(self, images):
            return super().forward(images) + torch.randn(len(images), CLASSES)

    planned = corrupted_plan(models=[entry("m", Moody())], clean=False)
    _, _, path = finished(tmp_path, planned)
    (found,) = corruption_results(read_record(path))
    assert [caution["code"] for caution in found["cautions"]] == ["randomised"]


# ── a clean pass that is lost and fails ────────────────────────────────────────────────────────


def test_a_clean_pass_that_fails_leaves_finished_attacks_in_the_store(tmp_path):
    available = [True]

    def get():
        if not available[0]:
            raise FileNotFoundError(2, "No such file", "net.pt")
        return Brightest()

    models = [ModelEntry("m", "d", {}, get)]
    planned = plan(models, conditions(), examples(), shard_size=8, keep_images=True)
    _, store, path = finished(tmp_path, planned)
    lost = planned.cell(0, None, 8)
    (store.folder / f"{lost.digest}.h5").unlink()
    available[0] = False
    statuses = {(o.cell.start, o.status) for o in run(planned, store)}
    assert statuses == {(0, "cached"), (8, "failed"), (16, "cached")}
    # Meanwhile the record has nothing of that shard ...
    merge(planned, store, tmp_path / "meanwhile.h5")
    record = read_record(tmp_path / "meanwhile.h5")
    assert (record.attacked["attacked"][0, :, 8:16] == 255).all()
    assert (record.attacked["attacked"][0, :, :8] != 255).all()
    assert {f["reason"] for f in record.failures if f["attack"]} == {
        "the clean pass failed: FileNotFoundError: [Errno 2] No such file: 'net.pt'"
    }
    assert not np.isin(record.kept, np.arange(8, 16)).any()
    assert results(record)[0]["images"] == 12
    # ... and once the model is back, only the clean pass is computed.
    available[0] = True
    assert [o.cell for o in run(planned, store) if o.status == "done"] == [lost]
    merge(planned, store, tmp_path / "again.h5")
    assert same_data(path, tmp_path / "again.h5") == []


# ── the record ─────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    planned = corrupted_plan(conditions=conditions(), baseline="two")
    return finished(tmp_path_factory.mktemp("whole"), planned)[2]


def test_the_record_has_axes_with_names(record):
    with xarray.open_datatree(record, engine="h5netcdf") as tree:
        right = tree["corrupted/right"]
        assert right.dims == ("model", "corruption", "severity", "example")
        chosen = right.sel(model="one", corruption="frost", severity=3)
        assert int(chosen.sum()) == known_right("frost", 3, blind=False).sum()
        assert tree["aggregates/family_ratio"].dims == ("model", "family")
        assert tree["family"].values.tolist() == ["noise", "weather", "extra"]
        assert tree["aggregates/mce_interval"].dims == ("model", "bound")
    with h5py.File(record) as file:
        assert set(file["corrupted"]) == set(columns.CORRUPTED) - {"label"}
        assert file["corrupted/right"].dtype == np.uint8
        assert file["corrupted/prediction"].chunks == (1, 1, 1, 20)
        assert file.attrs["format_version"] == 2
        for name in NUMBERS:
            assert f"aggregates/{name}_images" in file


def test_a_record_of_attacks_alone_has_no_trace_of_corruptions(tmp_path):
    _, _, path = finished(tmp_path)
    with h5py.File(path) as file:
        names = set(file) | set(file["aggregates"]) | set(file["timing"])
    assert not {name for name in names if "corrupt" in name or "mce" in name or "cell" in name}
    found = read_record(path)
    assert {"corruptions", "baseline"}.isdisjoint(found.config)
    assert corruption_results(found) == []
    assert found.corrupted == {}


def test_corrupted_cells_leave_the_results_of_attacks_as_they_are(record, tmp_path):
    models = [entry("one"), entry("two", Blind())]
    alone = finished(tmp_path, plan(models, conditions(), examples(), shard_size=8))[2]
    timeless = [
        [{k: v for k, v in each.items() if k != "seconds"} for each in results(read_record(path))]
        for path in (record, alone)
    ]
    assert timeless[0] == timeless[1]


def test_two_runs_give_the_same_bits_and_a_damaged_cell_is_made_again(record, tmp_path):
    planned = corrupted_plan(conditions=conditions(), baseline="two")
    _, store, again = finished(tmp_path, planned)
    assert same_data(record, again) == []
    file = store.folder / f"{planned.cell(0, None, 16, 5).digest}.h5"
    file.write_bytes(file.read_bytes()[:-9])
    assert [o.status for o in run(planned, store)].count("done") == 1
    merge(planned, store, tmp_path / "repaired.h5")
    assert same_data(record, tmp_path / "repaired.h5") == []


# ── the numbers ────────────────────────────────────────────────────────────────────────────────


def test_the_results_count_by_hand(record):
    found = {each["model"]: each for each in corruption_results(read_record(record))}
    wrong = {
        model: {
            name: [np.mean(~known_right(name, s, blind=model == "two")) for s in SEVERITIES]
            for name in NAMES
        }
        for model in ("one", "two")
    }
    clean = {"one": 0.2, "two": np.mean(~known_right("frost", 1, blind=True))}
    mean = {m: {name: np.mean(at) for name, at in each.items()} for m, each in wrong.items()}
    for model, result in found.items():
        assert result["images"] == result["mce_images"] == result["relative_mce_images"] == 20
        assert result["clean_error"] == pytest.approx(clean[model])
        relative, ratios = {}, {}
        for name in NAMES:
            one = result["corruptions"][name]
            weak, strong = wrong[model][name]
            assert one["errors"] == pytest.approx({"1": weak, "3": strong})
            assert one["mean_error"] == pytest.approx(mean[model][name])
            ratios[name] = mean[model][name] / mean["two"][name]
            assert one["ce"] == pytest.approx(ratios[name])
            usual = mean["two"][name] - clean["two"]
            relative[name] = (mean[model][name] - clean[model]) / usual if usual > 0 else None
            assert one["relative_ce"] == pytest.approx(relative[name])
        # Spatter is one of the extra four: it does not count.
        assert result["over"] == 2
        counted = ("gaussian_noise", "frost")
        assert result["mce"] == pytest.approx(np.mean([ratios[name] for name in counted]))
        assert relative["spatter"] is None  # it adds nothing to the baseline's error
        assert result["relative_mce"] == pytest.approx(np.mean([relative[n] for n in counted]))
        expected = np.mean([mean[model][name] for name in counted])
        assert result["mean_corruption_error"] == pytest.approx(expected)
        assert list(result["families"]) == ["noise", "weather", "extra"]
        assert result["families"]["weather"]["ratio"] == pytest.approx(ratios["frost"])
        assert result["baseline"]["name"] == "two"
        assert "measured in this record" in result["baseline"]["source"]
    assert found["two"]["mce"] == 1
    assert found["two"]["mce_interval"] == [1, 1]
    low, high = found["one"]["mce_interval"]
    assert low < found["one"]["mce"] < high


def test_the_extra_four_count_on_request(tmp_path):
    _, _, path = finished(tmp_path, corrupted_plan(with_extra=True))
    (first, _) = corruption_results(read_record(path))
    assert first["over"] == 3
    means = [first["corruptions"][name]["mean_error"] for name in NAMES]
    assert first["mean_corruption_error"] == pytest.approx(np.mean(means))
    assert (first["mce"], first["mce_interval"], first["mce_images"]) == (None, [None, None], 0)
    assert first["baseline"] is None


def test_a_published_baseline_divides_by_its_table(tmp_path):
    _, _, path = finished(tmp_path, corrupted_plan(baseline="alexnet"))
    (first, _) = corruption_results(read_record(path))
    base = {"gaussian_noise": (0.69528 + 0.93554) / 2, "frost": (0.61390 + 0.88790) / 2}
    means = {name: first["corruptions"][name]["mean_error"] for name in base}
    assert first["mce"] == pytest.approx(np.mean([means[n] / base[n] for n in base]))
    relative = [(means[n] - 0.2) / (base[n] - 0.4348) for n in base]
    assert first["relative_mce"] == pytest.approx(np.mean(relative))
    assert first["baseline"]["name"] == "alexnet"
    assert first["corruptions"]["spatter"]["ce"] is None  # not published at severities 1 and 3


def test_without_clean_images_there_is_no_relative_mce(tmp_path):
    planned = corrupted_plan(clean=False, baseline="two")
    assert {cell.kind for cell in planned.cells} == {"corruption"}
    _, _, path = finished(tmp_path, planned)
    found = read_record(path)
    first, second = corruption_results(found)
    assert (first["clean_error"], first["relative_mce"]) == (None, None)
    assert first["mce"] is not None
    assert second["mce"] == 1
    np.testing.assert_array_equal(found.clean["label"][0], examples().labels)
    assert (found.clean["right"] == 255).all()
    assert failing(verify(path, lambda description: pytest.fail("no model is needed"))) == set()


def test_only_images_of_which_every_needed_cell_finished_count(tmp_path):
    class Sometimes(Moved):
        def __call__(self, shard, rows):
            if (self.name, self.severity, rows.start) == ("frost", 3, 8):
                raise RuntimeError("out of luck")
            return super().__call__(shard, rows)

    planned = corrupted_plan(corruptions=corrupted(change=Sometimes), baseline="two")
    _, _, path = finished(tmp_path, planned)
    (first, _) = corruption_results(read_record(path))
    left = np.r_[0:8, 16:20]

    def error(name, chosen=slice(None)):
        wrong = [~known_right(name, severity, blind=False) for severity in SEVERITIES]
        return np.mean([each[chosen] for each in wrong])

    assert (first["images"], first["mce_images"]) == (12, 12)
    noise, frost = (first["corruptions"][name] for name in ("gaussian_noise", "frost"))
    assert (noise["images"], frost["images"]) == (20, 12)
    assert noise["mean_error"] == pytest.approx(error("gaussian_noise"))
    assert frost["mean_error"] == pytest.approx(error("frost", left))
    # The cell that finished is over all of its images.
    assert frost["errors"]["1"] == np.mean(~known_right("frost", 1, blind=False))
    expected = (error("gaussian_noise", left) + error("frost", left)) / 2
    assert first["mean_corruption_error"] == pytest.approx(expected)
    assert [failure["reason"] for failure in first["failures"]] == ["RuntimeError: out of luck"]


# ── verifying ──────────────────────────────────────────────────────────────────────────────────


def get_model(description):
    models = {"one": Brightest(), "two": Blind()}
    return models[description["name"]], f"digest of {description['name']}"


def test_an_honest_record_holds_and_says_what_it_cannot_check(record):
    findings = verify(record, get_model)
    assert failing(findings) == set()
    left = {(f.claim, f.model) for f in findings if f.verdict == "unchecked" and f.attack is None}
    assert left == {("the predictions on corrupted images", name) for name in ("one", "two")}


def put(name, place, value):
    def change(file):
        file[name][place] = value

    return change


AGGREGATES = "the aggregates follow from the per-image data"
RIGHT = "right on a corrupted image means that the prediction is the label"
THERE = "what finished of the corrupted images is there, and nothing else"
ANSWERS = "rank, loss and Brier score go with the prediction"
FORGERIES = {
    "mce": (put("aggregates/mce", 0, 0.5), {AGGREGATES}),
    "an interval": (put("aggregates/family_ratio_interval", (0, 1, 0), 0.1), {AGGREGATES}),
    "a cell": (put("aggregates/cell_error", (1, 0, 1), 0.0), {AGGREGATES}),
    "an image": (put("corrupted/right", (0, 0, 1, 5), 1), {AGGREGATES, RIGHT}),
    "a prediction": (put("corrupted/prediction", (0, 1, 0, 1), 2), {RIGHT, ANSWERS}),
    "a confidence": (put("corrupted/confidence", (0, 1, 0, 1), np.nan), {THERE, ANSWERS}),
    "a severity": (
        put("severity", 1, 4),
        {"the corruptions are those of the configuration"},
    ),
}


@pytest.mark.parametrize("case", FORGERIES)
def test_a_forged_value_is_found_out(record, tmp_path, case):
    change, expected = FORGERIES[case]
    assert failing(verify(forged(record, tmp_path, change), get_model)) == expected


def test_a_forged_baseline_is_found_out(tmp_path):
    _, _, path = finished(tmp_path, corrupted_plan(baseline="alexnet"))
    claim = "the errors of alexnet, the baseline, are those published"
    assert {f.verdict for f in verify(path, get_model) if f.claim == claim} == {"holds"}

    def change(file):
        file.attrs["config"] = file.attrs["config"].replace("0.79734", "0.89734")

    (tmp_path / "forged").mkdir()
    found = failing(verify(forged(path, tmp_path / "forged", change), get_model))
    assert claim in found


def test_columns_of_another_shape_are_damage(record, tmp_path):
    copy = tmp_path / "record.h5"
    copy.write_bytes(record.read_bytes())
    with h5py.File(copy, "r+") as file:
        del file["corrupted/right"]
        file["corrupted/right"] = np.zeros((2, 3, 2, 19), np.uint8)
    with pytest.raises(ValueError, match="right has shape"):
        read_record(copy)


def test_cells_hold_the_label_that_stored_sets_come_with(tmp_path):
    planned = corrupted_plan(clean=False)
    _, store, _ = finished(tmp_path, planned)
    rows = store.read(planned.cell(0, None, 8, 3)).rows
    assert rows.dtype.names == tuple(columns.CORRUPTED)
    np.testing.assert_array_equal(rows["label"], examples().labels[8:16])
    assert durable.checksum_path(store.folder / f"{planned.cells[0].digest}.h5").exists()


def test_corrupted_images_reach_the_corruption_with_their_ids_and_rows(tmp_path):
    seen = []

    def note(shard, rows):
        seen.append((shard.ids.tolist(), (rows.start, rows.stop), tuple(shard.images.shape)))
        return shard.images

    data = Arrays(examples().images, examples().labels)
    planned = plan(
        [entry()], [], data, corruptions=[Corrupted("fog", 2, {}, note)], shard_size=12, clean=False
    )
    list(run(planned, CellStore(tmp_path)))
    ids = data.ids(slice(None)).tolist()
    assert seen == [(ids[:12], (0, 12), (12, 2, 4, 4)), (ids[12:], (12, 20), (8, 2, 4, 4))]
