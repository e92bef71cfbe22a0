"""Drift of attention in a benchmark: cells, resuming, records, numbers, joining, verifying."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
import xarray
from attention_case import (
    BLACK,
    COUNT,
    NAMES,
    SEVERITIES,
    Reader,
    attended_plan,
    corruptions,
    data,
    known_rows,
    rolled,
)
from measuring_case import Brightest, entry, failing, finished, forged
from torch import nn

from benchmarks import (
    Again,
    CellStore,
    attention_results,
    join,
    merge,
    read_record,
    run,
    same_data,
    verify,
    write_record,
)
from benchmarks.attention import drift
from benchmarks.attention_aggregates import MEASURES
from benchmarks.intervals import bootstrap_means
from benchmarks.tidy import image_tables, result_rows

MODELS = {"one": Reader(), "two": Reader(3.0)}


def get_model(description):
    return MODELS[description["name"]], f"digest of {description['name']}"


def get_data(config):
    known = {(each.corruption, each.severity): each for each in corruptions()}
    return Again(data(), lambda name, severity: known[name, severity])


def expected(name, severity):
    """The drift of maps that are the images themselves."""
    images = data().images
    return drift(images[:, 0], rolled(images, name, severity)[:, 0])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return finished(tmp_path_factory.mktemp("whole"), attended_plan())


def test_the_drift_of_a_model_that_looks_at_the_whole_image_is_that_of_the_image(whole):
    found = read_record(whole[2]).attention
    for m in range(2):
        for k, name in enumerate(NAMES):
            for s, severity in enumerate(SEVERITIES):
                known = expected(name, severity)
                assert found["defined"][m, k, s].tolist() == known["defined"].int().tolist()
                assert found["defined"][m, k, s, BLACK] == 0
                for measure in MEASURES:
                    np.testing.assert_allclose(
                        found[measure][m, k, s], known[measure].numpy(), rtol=1e-5, atol=1e-6
                    )


def test_without_attention_nothing_changes(whole, tmp_path):
    plain, _, path = finished(tmp_path, attended_plan(attention=False))
    record, attended = read_record(path), read_record(whole[2])
    assert record.attention == {}
    assert attention_results(record) == []
    assert "attention" not in record.config
    with h5py.File(path) as file:
        assert "attention" not in file
        assert not [name for name in file["aggregates"] if "kept_mass" in name]
    for name, values in record.corrupted.items():
        np.testing.assert_array_equal(values, attended.corrupted[name])
    assert {c.digest for c in plain.cells}.isdisjoint({c.digest for c in whole[0].cells})


def test_the_layer_is_part_of_what_is_configured(whole):
    for cell in whole[0].cells:
        assert json.loads(cell.config)["attention"]["name"] == "cells"

    class Twice(Reader):
        def __init__(self):
            super().__init__()
            self.last = nn.Conv2d(1, 1, 1, bias=False)
            self.last.weight.data.fill_(1)

        def forward(self, images):
            return super().forward(self.last(images))

    models = [entry("one", Twice())]
    named = attended_plan(models=models, attention={"one": "last"})
    assert named.attention[0].name == "last"
    assert attended_plan(models=models).attention[0].name == "cells"
    assert named.cells[0].digest != attended_plan(models=models).cells[0].digest


def test_aggregates_are_means_with_bootstrap_intervals(whole):
    record = read_record(whole[2])
    numbers, found = record.aggregates, record.attention
    for measure in MEASURES:
        cells = numbers[measure]
        np.testing.assert_allclose(cells, np.nanmean(found[measure], axis=-1), rtol=1e-6)
        np.testing.assert_allclose(numbers[f"severity_{measure}"], cells.mean(axis=1))
        np.testing.assert_allclose(numbers[f"mean_{measure}"], cells.mean(axis=(1, 2)))
        assert (numbers[f"{measure}_images"] == COUNT - 1).all()
        assert (numbers[f"{measure}_undefined"] == 1).all()
        # A second implementation of the mean's interval, over the images that count.
        own = bootstrap_means(found[measure][0, 1, 1][:, None], record.seed)[0]
        np.testing.assert_allclose(numbers[f"{measure}_interval"][0, 1, 1], own, atol=0.02)
        low, high = np.moveaxis(numbers[f"severity_{measure}_interval"], -1, 0)
        assert (low <= numbers[f"severity_{measure}"]).all()
        assert (numbers[f"severity_{measure}"] <= high).all()


def test_results_tell_the_layer_and_every_number(whole):
    record = read_record(whole[2])
    first, second = attention_results(record)
    assert (first["model"], second["model"]) == ("one", "two")
    assert first["layer"] == {
        "name": "cells", "layout": "channels first", "height": 4, "width": 4, "prefix": 0,
    }  # fmt: skip
    told = first["corruptions"]["contrast"]["kept_mass"]
    rows = known_rows()
    assert told["value"]["2"] == pytest.approx(
        float(expected("contrast", 2)["kept_mass"][rows].mean()), rel=1e-6
    )
    assert told["images"]["2"] == COUNT - 1
    assert told["undefined"]["2"] == 1
    assert first["mean"]["kept_mass"]["value"] == pytest.approx(
        np.mean(
            [float(expected(n, s)["kept_mass"][rows].mean()) for n in NAMES for s in SEVERITIES]
        )
    )


def test_xarray_and_tidy_tables_have_it(whole):
    record = read_record(whole[2])
    tree = xarray.open_datatree(whole[2], engine="h5netcdf")
    assert tree["attention"]["kept_mass"].dims == ("model", "corruption", "severity", "example")
    tree.close()
    rows = [row for row in result_rows(record) if row["measure"] == "kept_mass"]
    assert len(rows) == 8
    assert rows[0]["condition"] == "fog"
    assert rows[0]["severity"] == 1
    assert rows[0]["count"] == COUNT - 1
    tables = [table for table in image_tables(record) if table["kind"][0] == "corruption"]
    assert tables[0]["kept_mass"][BLACK] is None
    assert tables[0]["defined"][BLACK] == 0
    assert tables[0]["kept_mass"][0] == pytest.approx(
        float(expected("fog", 1)["kept_mass"][0]), rel=1e-5
    )


def test_a_run_that_was_cut_short_comes_to_the_same(whole, tmp_path):
    planned, store = attended_plan(), CellStore(tmp_path / "cells")
    for count, _ in enumerate(run(planned, store)):
        if count == 6:
            break
    statuses = [each.status for each in run(planned, store)]
    assert statuses.count("cached") == 7
    merge(planned, store, tmp_path / "record.h5")
    assert same_data(whole[2], tmp_path / "record.h5") == []


class Failing(Reader):
    """Refuses the first shard until it is mended."""

    broken = True

    def forward(self, images):
        if self.broken and len(images) == 8 and torch.equal(images, data().images[:8]):
            raise RuntimeError("not these")
        return super().forward(images)


def test_where_the_clean_pass_failed_nothing_is_compared_until_it_is_mended(whole, tmp_path):
    model = Failing()
    planned = attended_plan(models=[entry("one", model), entry("two", Reader(3.0))])
    _, store, path = finished(tmp_path, planned)
    record = read_record(path)
    assert (record.attention["defined"][0, :, :, :8] == 255).all()
    assert (record.corrupted["right"][0, :, :, :8] == 255).all()
    assert (record.attention["defined"][1] != 255).all()
    assert (record.aggregates["kept_mass_images"][0] == 12).all()
    model.broken = False
    for _ in run(planned, store):
        pass
    merge(planned, store, tmp_path / "again.h5")
    assert same_data(whole[2], tmp_path / "again.h5") == []


def test_it_needs_clean_and_corrupted_images_and_a_place_to_look(tmp_path):
    with pytest.raises(ValueError, match="from clean to corrupted"):
        attended_plan(corruptions=[])
    with pytest.raises(ValueError, match="from clean to corrupted"):
        attended_plan(clean=False)
    with pytest.raises(ValueError, match="Where blind looks cannot be measured: no layer keeps"):
        attended_plan(models=[entry("blind", Brightest())])
    with pytest.raises(ValueError, match="nearest: cells"):
        attended_plan(attention={"one": "cell"})
    with pytest.raises(ValueError, match="three, which is none of the models"):
        attended_plan(attention={"three": "cells"})


# ── joining and verifying ──────────────────────────────────────────────────────────────────────


def test_records_of_their_own_join_to_the_record_of_all(whole, tmp_path):
    parts = []
    for name in NAMES:
        for model, module in MODELS.items():
            folder = tmp_path / f"{name}-{model}"
            own = [entry(model, module)]
            parts.append(
                finished(folder, attended_plan(models=own, corruptions=corruptions([name])))[2]
            )
    joined, record = join([read_record(path) for path in parts]), read_record(whole[2])
    for name, values in record.attention.items():
        np.testing.assert_array_equal(joined.attention[name], values)
    for name, values in record.aggregates.items():
        np.testing.assert_array_equal(joined.aggregates[name], values)
    assert joined.config["attention"] == record.config["attention"]


def test_a_record_without_attention_joins_and_counts_no_image_as_undefined(whole, tmp_path):
    plain = finished(
        tmp_path / "plain", attended_plan(models=[entry("two", MODELS["two"])], attention=False)
    )[2]
    one = finished(tmp_path / "one", attended_plan(models=[entry("one", MODELS["one"])]))[2]
    joined = join([read_record(plain), read_record(one)])
    assert (joined.attention["defined"][0] == 255).all()
    assert (joined.aggregates["kept_mass_undefined"][0] == 0).all()
    assert np.isnan(joined.aggregates["kept_mass"][0]).all()
    assert [each["model"] for each in attention_results(joined)] == ["one"]
    write_record(joined, tmp_path / "joined.h5")
    again = read_record(tmp_path / "joined.h5")
    np.testing.assert_array_equal(again.attention["kept_mass"], joined.attention["kept_mass"])
    assert not failing(verify(tmp_path / "joined.h5", get_model, get_data=get_data))


def test_another_layer_of_the_same_model_is_refused(whole):
    record = read_record(whole[2])
    other = {
        **record.config["attention"],
        "one": {**record.config["attention"]["one"], "name": "x"},
    }
    with pytest.raises(ValueError, match="attention of one at layer x, another record at cells"):
        join([record, replace(record, config={**record.config, "attention": other})])


def test_verify_measures_a_sample_anew(whole, tmp_path):
    findings = verify(whole[2], get_model, get_data=get_data)
    assert not failing(findings)
    anew = [each for each in findings if each.claim.startswith("the drift of attention under")]
    assert len(anew) == 6  # three cells of each model
    assert {each.verdict for each in anew} == {"holds"}

    def change(file):
        file["attention/kept_mass"][:, :, :, 0] = 0.5

    claims = failing(verify(forged(whole[2], tmp_path, change), get_model, get_data=get_data))
    assert "the aggregates follow from the per-image data" in claims
    assert any(claim.startswith("the drift of attention under") for claim in claims)


@pytest.mark.parametrize(("name", "value"), [("kept_mass", 1.5), ("centre_shift", -1.0)])
def test_a_drift_that_cannot_be_is_found(whole, tmp_path, name, value):
    def change(file):
        file[f"attention/{name}"][0, 0, 0, 0] = value

    claims = failing(verify(forged(whole[2], tmp_path, change), get_model))
    assert "drift of attention is there where both maps have mass, and nowhere else" in claims


def test_a_layer_that_is_none_is_damage(whole, tmp_path):
    def change(file):
        config = json.loads(file.attrs["config"])
        config["attention"]["one"] = "cells"
        file.attrs["config"] = json.dumps(config)

    with pytest.raises(ValueError, match="attention is not what it should be"):
        read_record(forged(whole[2], tmp_path, change))
