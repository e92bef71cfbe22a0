"""`--attention` and the views of its numbers, from the command line."""

import json

import numpy as np
import pytest
import torch
from cli_case import ARCH, CLASSES, refused, workbench
from cli_case import task as quadrants

from benchmarks import read_record
from workbench.models import build

CORRUPTIONS = ("--corruptions", "contrast,brightness", "--severities", "1,5")
SIDE = 16

READER = """
import torch
from torch import nn

def net():
    cells = nn.Conv2d(1, 1, 1)
    nn.init.ones_(cells.weight), nn.init.zeros_(cells.bias)
    head = nn.Linear(4, 4, bias=False)
    head.weight.data = 20 * torch.eye(4)
    parts = {"cells": cells, "quarters": nn.AvgPool2d(8), "flat": nn.Flatten(), "head": head}
    network = nn.Sequential()
    for name, part in parts.items():
        network.add_module(name, part)
    return network
"""


def enlarged(count, seed):
    images, labels = quadrants(count, seed)
    return images.repeat(2, axis=1).repeat(2, axis=2), labels


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """Data, and a network that reads which quarter is the brightest."""
    folder = tmp_path_factory.mktemp("task")
    (folder / "net.py").write_text(READER)
    images, labels = enlarged(24, seed=2)
    np.savez(folder / "data.npz", images=images, labels=labels)
    return f"{folder / 'net.py'}:net", folder / "data.npz", folder


@pytest.fixture(scope="module")
def measured(task):
    checkpoint, data, folder = task
    found = workbench(
        *("benchmark", checkpoint, "--data", data, *CORRUPTIONS),
        *("--attention", "--output", folder / "run", "--json"),
    )
    assert found.code == 0, found.err
    return found


def test_the_document_and_the_record_have_the_drift(task, measured):
    (told,) = measured.document["attention_results"]
    record = read_record(task[2] / "run" / "record.h5")
    assert told["layer"] == record.config["attention"][told["model"]]
    assert (told["layer"]["height"], told["layer"]["width"]) == (2, 2)
    for name, severity in (("contrast", "5"), ("brightness", "1")):
        place = record.axes.place(name, int(severity))
        shares = record.attention["kept_mass"][(0, *place)]
        known = shares[record.attention["defined"][(0, *place)] == 1]
        each = told["corruptions"][name]["kept_mass"]
        assert each["value"][severity] == pytest.approx(known.mean(dtype="f8"))
        assert each["images"][severity] == len(known)
        assert each["undefined"][severity] == 24 - len(known)


def test_the_view_shows_kept_mass_beside_accuracy(task, measured):
    run = task[2] / "run"
    shown = workbench("compare", run, "--view", "attention")
    assert shown.code == 0, shown.err
    assert "mass that stays in place" in " ".join(shown.out.split())
    assert shown.out.count("accuracy") == 3
    assert "mean" in shown.out
    found = workbench("compare", run, "--view", "attention", "--condition", "contrast", "--json")
    assert list(found.document["models"][0]["corruptions"]) == ["contrast"]
    assert "mean" not in workbench(
        "compare", run, "--view", "attention", "--condition", "contrast"
    ).out.replace("mean over", "")
    for verb in ("show", "verify"):
        assert workbench(verb, run).code == 0
    refused(
        workbench("compare", run, "--view", "attention", "--condition", "clean"),
        "A curve is of a corruption",
    )


def test_the_report_has_a_part_and_a_figure(task, measured):
    page = task[2] / "report.html"
    found = workbench("report", task[2] / "run", "--output", page, "--png", task[2] / "png")
    assert found.code == 0, found.err
    text = page.read_text()
    for words in (
        'id="attention"',
        "Contrast: kept mass",
        "Contrast: accuracy",
        "Rank correlation",
    ):
        assert words in text
    assert (task[2] / "png" / "attention-drift.svg").exists()


def test_it_resumes_and_a_dry_run_names_the_layer(task, measured):
    checkpoint, data, folder = task
    again = (
        *("benchmark", checkpoint, "--data", data, *CORRUPTIONS),
        *("--attention", "--output", folder / "run"),
    )
    told = workbench(*again, "--dry-run")
    assert told.code == 0, told.err
    assert "attention: at quarters" in told.out
    assert "cells: 5, of which 5 are finished" in told.out
    refused(workbench(*(each for each in again if each != "--attention")), "attention")


def test_a_suite_may_ask_for_it(task, tmp_path):
    checkpoint, data, _ = task
    suite = tmp_path / "mine.toml"
    suite.write_text('attention = true\ncorruptions = "fog"\nseverities = "3"\n')
    found = workbench(
        *("benchmark", checkpoint, "--data", data),
        *("--suite", suite, "--output", tmp_path / "run", "--json"),
    )
    assert found.code == 0, found.err
    assert list(found.document["attention_results"][0]["corruptions"]) == ["fog"]


def test_what_cannot_be_measured_is_told(task, tmp_path):
    checkpoint, data, folder = task
    plain = folder / "plain.pt"
    network = build(ARCH[1], channels=1, classes=CLASSES, input_size=(SIDE, SIDE))
    torch.save(network.state_dict(), plain)
    refused(
        workbench(
            *("benchmark", plain, *ARCH, "--data", data, "--attention", *CORRUPTIONS),
            *("--output", tmp_path / "run"),
        ),
        "Where plain looks cannot be measured: no layer keeps a map of the image",
    )
    refused(
        workbench(
            *("benchmark", plain, *ARCH, "--data", data, "--attention", "--corruptions", "none"),
            *("--attack", "fgsm"),
        ),
        "--attention measures how corruptions move it",
    )
    run = tmp_path / "without"
    found = workbench(
        *("benchmark", checkpoint, "--data", data, *CORRUPTIONS),
        *("--output", run),
    )
    assert found.code == 0, found.err
    refused(workbench("compare", run, "--view", "attention"), "was not measured in this record")


def test_explain_keeps_the_record_the_table_and_the_figure(task, tmp_path):
    checkpoint, data, _ = task
    command = ("explain", checkpoint, "--data", data, "--view", "drift")
    found = workbench(*command, *CORRUPTIONS, "--output", tmp_path / "run", "--json")
    assert found.code == 0, found.err
    record = read_record(tmp_path / "run" / "record.h5")
    told = json.loads((tmp_path / "run" / "exhibits.json").read_text())
    assert record.attention["kept_mass"].shape == (1, 2, 2, 24)
    assert (tmp_path / "run" / "figures" / "attention-drift.svg").exists()
    first, second = told["exhibits"]
    assert first["numbers"]["models"][0]["layer"]["name"] == "quarters"
    assert len(first["table"]["lines"]) == 5  # two of each corruption, and the mean
    assert [line[1] for line in second["table"]["lines"]] == ["brightness", "contrast", "mean"]
    named = workbench(
        *(*command, *CORRUPTIONS, "--layers", "cell*", "--output", tmp_path / "other", "--json")
    )
    assert named.document["exhibits"][0]["numbers"]["models"][0]["layer"]["name"] == "cells"
    refused(workbench(*command, "--output", tmp_path / "no"), "give --corruptions")
    refused(
        workbench(*command, *CORRUPTIONS, "--layers", "cell", "--output", tmp_path / "none"),
        "no layer is called 'cell'; nearest:",
    )
