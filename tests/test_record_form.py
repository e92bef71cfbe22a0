"""A record whose words about itself are of another form is damaged, and is told so."""

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest
from measuring_case import conditions, finished
from test_corruption_cells import corrupted_plan

from benchmarks import read_record


@pytest.fixture
def forged(tmp_path, whole) -> Callable[..., Path]:
    def forge(**attributes: object) -> Path:
        path = tmp_path / "record.h5"
        path.write_bytes(whole.read_bytes())
        with h5py.File(path, "r+") as file:
            for name, value in attributes.items():
                file.attrs[name] = json.dumps(value)
        return path

    return forge


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    plan = corrupted_plan(conditions=conditions(), baseline="one")
    return finished(tmp_path_factory.mktemp("run"), plan)[2]


FORMS = [
    ("models", [3]),
    ("models", []),
    ("models", [{"name": "one", "digest": "d", "description": {"training": 3}}]),
    ("attacks", [None]),
    ("attacks", [{"name": "swap"}]),
    ("corruptions", None),
    ("corruptions", [3]),
    ("baseline", {}),
    ("baseline", "one"),
    ("class_names", 3),
    ("examples", []),
    ("source", "cifar10"),
    ("joined", [{}]),
]
"""Parts of a configuration as no run writes them."""


@pytest.mark.parametrize(("key", "value"), FORMS)
def test_a_configuration_of_another_form_is_told_as_damage(forged, whole, key, value):
    config = read_record(whole).config
    path = forged(config={**config, key: value})
    with pytest.raises(ValueError, match=f"is damaged: .*{key}"):
        read_record(path)


@pytest.mark.parametrize("name", ["cautions", "failures"])
@pytest.mark.parametrize(
    "entry",
    [
        3,
        {},
        {"model": "another", "attack": None},
        {"model": "one", "attack": "another"},
        {"model": "one", "attack": None, "corruption": "frost", "severity": 5},
    ],
)
def test_a_trouble_of_nothing_that_was_measured_is_told_as_damage(forged, name, entry):
    said = {"code": "c", "message": "m", "start": 0, "stop": 1, "reason": "r"}
    path = forged(**{name: [{**entry, **said} if isinstance(entry, dict) else entry]})
    with pytest.raises(ValueError, match=f"is damaged: {name}"):
        read_record(path)


@pytest.mark.parametrize("name", ["aggregates/mce", "aggregates/robust", "timing/attack_seconds"])
def test_an_array_that_is_missing_is_told_when_it_is_asked_for(forged, name):
    path = forged()
    with h5py.File(path, "r+") as file:
        del file[name]
    group, _, array = name.partition("/")
    with pytest.raises(ValueError, match=f"is damaged: {array} is missing"):
        getattr(read_record(path), group)[array]
