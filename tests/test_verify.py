import json
from dataclasses import replace

import pytest
import torch
from measuring_case import (
    Brightest,
    entry,
    examples,
    failing,
    finished,
    forged,
    outcome,
    small_plan,
    swap,
)
from test_corruption_cells import Blind, corrupted, corrupted_plan
from torch import nn

from attacks import Goal
from benchmarks import Again, Condition, durable, verify

MODELS = {"one": Brightest(), "two": Brightest(8.0)}


def get_model(description):
    name = description["name"]
    return MODELS[name], f"digest of {name}"


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    return finished(tmp_path_factory.mktemp("whole"), small_plan(keep_images=True))[2]


def test_an_honest_record_holds_in_every_claim(record):
    findings = verify(record, get_model)
    assert {finding.verdict for finding in findings} == {"holds"}
    by_model = {(f.model, f.attack) for f in findings}
    assert {("one", "swap"), ("two", "stay"), ("one", None), (None, None)} <= by_model
    assert all("within" not in finding.detail for finding in findings)


def set_value(name, place, value):
    def change(file):
        file[name][place] = value

    return change


ATTACKED = "a success has the wrong class, or its target, at the confidence asked for"
AGGREGATES = "the aggregates follow from the per-image data"
ANSWERS = "rank, loss and Brier score go with the prediction"
FORGERIES = {
    "rank": (set_value("clean/rank", (0, 1), 1), {ANSWERS}),
    "rank of a wrong answer": (set_value("attacked/rank", (0, 0, 1), 0), {ANSWERS}),
    "loss": (set_value("attacked/loss", (1, 0, 1), 0.1), {ANSWERS}),
    "Brier score": (set_value("clean/brier", (0, 1), 1.9), {ANSWERS}),
    "a table of its own": (lambda file: file.__setitem__("aggregates/x", [1, 2]), {AGGREGATES}),
    "a success more": (
        set_value("attacked/success", (0, 2, 1), 1),
        {ATTACKED, AGGREGATES, "success as float"},
    ),
    "a success less": (
        set_value("attacked/success", (0, 0, 1), 0),
        {ATTACKED, AGGREGATES, "success as float"},
    ),
    "8-bit success": (
        set_value("attacked/success_8bit", (0, 0, 1), 0),
        {AGGREGATES, "success after rounding to 8 bits"},
    ),
    "prediction": (
        set_value("attacked/prediction_8bit", (1, 0, 1), 0),
        {"the predictions after rounding to 8 bits"},
    ),
    "confidence": (
        set_value("attacked/confidence", (1, 0, 1), 0.5),
        {"the predictions as float"},
    ),
    "clean confidence": (set_value("clean/confidence", (1, 1), 0.9), {"the clean predictions"}),
    "pixel change": (
        set_value("attacked/average_pixel_change", (0, 0, 1), 1e-3),
        {AGGREGATES, "the average pixel change"},
    ),
    "norm": (set_value("attacked/l2", (0, 2, 1), 0.1), {"the l2"}),
    "pixels": (
        set_value("attacked/pixels_over_threshold", (0, 0, 1, 1), 3),
        {AGGREGATES, "the pixels over threshold"},
    ),
    "steps": (set_value("attacked/steps", (0, 0, 1), 90), {AGGREGATES}),
    "negative steps": (
        set_value("attacked/steps", (0, 0, 1), -5),
        {AGGREGATES, "counts are counts and ends are known"},
    ),
    "a rate": (set_value("aggregates/success_rate", (0, 0), 0.5), {AGGREGATES}),
    "an interval": (set_value("aggregates/mean_l2_interval", (0, 0, 1), 9), {AGGREGATES}),
    "the worst case": (set_value("aggregates/worst_case_robust_accuracy", 0, 0.9), {AGGREGATES}),
    "a wrong image attacked": (
        set_value("attacked/attacked", (0, 0, 0), 1),
        {AGGREGATES, "only images that are right were attacked", ATTACKED},
    ),
    "a wrong image called right": (
        set_value("clean/right", (0, 0), 1),
        {AGGREGATES, "right means that the clean prediction is the label"},
    ),
    "misclassified": (
        set_value("attacked/misclassified", (0, 0, 1), 0),
        {AGGREGATES, "misclassified means that the prediction is not the label"},
    ),
    "an unattacked image moved": (
        set_value("attacked/linf", (0, 0, 0), 0.1),
        {"images that were not attacked are unchanged"},
    ),
}


@pytest.mark.parametrize("case", FORGERIES)
def test_a_forged_value_is_found_out(record, tmp_path, case):
    change, expected = FORGERIES[case]
    found = failing(verify(forged(record, tmp_path, change), get_model))
    assert expected <= found
    assert len(found - expected) <= 1  # some values are in two claims


def test_an_exchanged_image_is_found_out(record, tmp_path):
    def change(file):
        file["images/result"][0, 0, 0] = file["images/original"][0]

    found = failing(verify(forged(record, tmp_path, change), get_model))
    assert {"success as float", "the predictions as float", "the linf", "the l0"} <= found
    assert AGGREGATES not in found


def test_a_flipped_bit_makes_the_record_unreadable(record, tmp_path):
    copy = forged(record, tmp_path, lambda file: None)
    content = bytearray(copy.read_bytes())
    content[len(content) // 2] ^= 16
    copy.write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        verify(copy, get_model)


def test_without_its_checksum_the_file_is_unchecked(record, tmp_path):
    copy = forged(record, tmp_path, lambda file: None)
    durable.checksum_path(copy).unlink()
    findings = verify(copy, get_model)
    assert [f.claim for f in findings if f.verdict == "unchecked"] == [
        "the file is as it was written"
    ]


def test_another_model_fails_and_a_missing_one_is_unchecked(record):
    def other(description):
        if description["name"] == "one":
            return Brightest(), "digest of another"
        raise FileNotFoundError(2, "No such file", "two.pt")

    findings = verify(record, other)
    about = {f.model: f for f in findings if f.claim == "the model is the one that was measured"}
    assert about["one"].verdict == "fails"
    assert about["two"].verdict == "unchecked"
    assert "two.pt" in about["two"].detail
    assert not [f for f in findings if f.claim == "success as float"]


def test_weights_that_changed_under_the_same_digest_are_found_out(record):
    findings = verify(record, lambda description: (Brightest(-4.0), get_model(description)[1]))
    assert {"the clean predictions", "success as float"} <= failing(findings)


def test_without_images_the_claims_about_them_are_unchecked(tmp_path):
    path = finished(tmp_path)[2]
    findings = verify(path, lambda description: pytest.fail("there is nothing to load it for"))
    unchecked = [f for f in findings if f.verdict == "unchecked"]
    assert len(unchecked) == 6
    assert unchecked[0].detail.startswith("0 of 16 are")
    assert failing(findings) == set()


def test_targeted_claims_are_checked_against_their_targets(tmp_path):
    planned = small_plan(
        models=[entry("one")], conditions=[Condition("swap", swap, 0, "random")], keep_images=True
    )
    path = finished(tmp_path, planned)[2]
    assert {f.verdict for f in verify(path, get_model)} == {"holds"}

    def change(file):
        target = file["attacked/target"][0, 0, 1]
        file["attacked/target"][0, 0, 1] = (target + 1) % 4

    (tmp_path / "forged").mkdir()
    found = failing(verify(forged(path, tmp_path / "forged", change), get_model))
    assert {ATTACKED, "success as float", "success after rounding to 8 bits"} <= found


class Shifted(nn.Module):
    """Brightest, a little surer of one class: as another device rounds, but more."""

    def __init__(self, by):
        super().__init__()
        self.inner, self.by = Brightest(), by

    def forward(self, images):
        logits = self.inner(images)
        return logits + self.by * torch.eye(4)[0]


@pytest.mark.parametrize(("by", "verdict"), [(1e-5, "holds"), (1e-2, "fails")])
def test_a_success_on_the_line_is_told_from_a_wrong_one(tmp_path, by, verdict):
    """Images that meet a confidence exactly, evaluated where arithmetic differs a little."""
    data = examples(20, wrong_every=21)
    with torch.no_grad():
        logits = Brightest()(swap(None, data.images, torch.from_numpy(data.labels)).images)
    edge = float(logits.softmax(dim=1).max(dim=1).values.sort().values[10])

    def on_the_line(model, images, labels, *, targets=None, seeds=None):
        return outcome(swap(model, images, labels).images, Goal(None, edge))

    planned = small_plan(
        models=[entry("one")],
        conditions=[Condition("edge", on_the_line)],
        examples=data,
        keep_images=True,
    )
    path = finished(tmp_path, planned)[2]
    findings = verify(path, lambda description: (Shifted(by), "digest of one"))
    success = next(f for f in findings if f.claim == "success as float")
    assert success.verdict == verdict
    assert ("1 within 0.0001 of the line" in success.detail) == (verdict == "holds")


def test_cells_beside_the_record_are_checked(tmp_path):
    _, store, path = finished(tmp_path)
    claim = "the finished cells beside it are as they were written"
    (found,) = [f for f in verify(path, get_model) if f.claim == claim]
    assert (found.verdict, found.detail) == ("holds", "SHA-256 of 24 files")
    cell = next(store.folder.glob("*.h5"))
    content = bytearray(cell.read_bytes())
    content[100] ^= 1
    cell.write_bytes(content)
    (found,) = [f for f in verify(path, get_model) if f.claim == claim]
    assert found.verdict == "fails"
    assert cell.name in found.detail


# ── a sample of what is not kept ───────────────────────────────────────────────────────────────


def again(config):
    def corruption(name, severity):
        if name == "spatter":
            raise ValueError("spatter is gone")
        made = corrupted(names=[name], severities=[severity])
        return made[0]

    return Again(examples(), corruption)


@pytest.fixture(scope="module")
def benchmarked(tmp_path_factory):
    return finished(tmp_path_factory.mktemp("corrupted"), corrupted_plan())[2]


def blind_model(description):
    name = description["name"]
    return {"one": Brightest(), "two": Blind()}[name], f"digest of {name}"


def test_a_sample_of_the_claims_is_run_again(benchmarked):
    findings = verify(benchmarked, blind_model, get_data=again)
    assert failing(findings) == set()
    for model in ("one", "two"):
        mine = {f.claim: f for f in findings if f.model == model}
        assert mine["the clean answers"].detail == "on all 20 images of a sample"
        under = [f for claim, f in mine.items() if claim.startswith("the answers under")]
        assert len(under) == 3
        assert {f.verdict for f in under if "spatter" not in f.claim} == {"holds"}
        assert all("spatter is gone" in f.detail for f in under if "spatter" in f.claim)


def test_answers_of_another_model_are_found_in_the_sample(benchmarked):
    findings = verify(
        benchmarked, lambda told: (Brightest(9.0), f"digest of {told['name']}"), get_data=again
    )
    assert "the clean answers" in failing(findings)
    assert any(claim.startswith("the answers under") for claim in failing(findings))


def test_data_that_are_others_or_gone_are_told(benchmarked):
    claim = "the data are those that were measured"

    def others(config):
        data = examples()
        data.digest = "others"
        return replace(again(config), examples=data)

    def gone(config):
        raise FileNotFoundError(2, "No such file", "data.npz")

    for get_data, verdict, detail in (
        (others, "fails", "are others now"),
        (gone, "unchecked", "data.npz"),
    ):
        findings = verify(benchmarked, blind_model, get_data=get_data)
        (found,) = [f for f in findings if f.claim == claim]
        assert found.verdict == verdict
        assert detail in found.detail
        assert not [f for f in findings if f.claim == "the clean answers"]


def test_a_model_that_the_record_does_not_describe_is_left_unchecked(record, tmp_path):
    def change(file):
        config = json.loads(file.attrs["config"])
        config["models"][0]["description"] = None
        file.attrs["config"] = json.dumps(config)

    findings = verify(forged(record, tmp_path, change), get_model)
    (left,) = [f for f in findings if f.verdict == "unchecked" and f.model == "one"]
    assert "does not describe it" in left.detail
