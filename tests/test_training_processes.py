"""Training in several processes: one model, every image once, and one process's result."""

import copy
from typing import Any

import pytest
import torch
from processes_case import WORLD, Recorder, images_and_labels, in_processes, net
from torch import nn

from defenses import DivergenceError, composed, evaluate, resolve, train

SPECS = ("crop-flip", "augmix", "adversarial(steps=1)")
SETTINGS: dict[str, Any] = {"epochs": 2, "batch_size": 16, "lr": 0.02}
COUNT = 51  # batches of 16, 16, 16 and 3, which are too few for two processes

pytestmark = pytest.mark.slow


def trained(spec: str, **settings: Any) -> dict[str, Any]:
    model, (images, labels) = net(), images_and_labels(COUNT)
    recorder = Recorder(images)
    given = SETTINGS | {"validation": images_and_labels(31, seed=1)} | settings
    epochs = list(train(model, recorder, labels, **given, defense=composed([resolve(spec)])))
    return {"weights": model.state_dict(), "asked": recorder.asked, "epochs": epochs}


def resumed() -> dict[str, Any]:
    """Two epochs of Adam with averaged weights, the second after a new start."""
    model, (images, labels) = net(), images_and_labels(COUNT)
    first = next(train(model, images, labels, **SETTINGS, optimizer="adam", ema=0.5))
    again, kept = net(), copy.deepcopy((first.resume, model.state_dict()))
    again.load_state_dict(kept[1])
    list(train(again, images, labels, **SETTINGS, optimizer="adam", ema=0.5, resume=kept[0]))
    straight = net()
    list(train(straight, images, labels, **SETTINGS, optimizer="adam", ema=0.5))
    return {"again": again.state_dict(), "straight": straight.state_dict()}


def normalising_net() -> nn.Module:
    torch.manual_seed(2)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(144, 3)
    )


def with_statistics() -> dict[str, Any]:
    """What a net with batch normalisation and dropout comes to, and how it is validated."""
    model, (images, labels) = normalising_net(), images_and_labels(COUNT)
    epochs = list(train(model, images, labels, **SETTINGS, validation=(images, labels)))
    return {
        "weights": model.state_dict(),
        "epochs": epochs,
        "seen": evaluate(model, images, labels),
    }


def diverged() -> str:
    images, labels = images_and_labels(COUNT)
    try:
        list(train(net(), images, labels, **SETTINGS | {"lr": 1e30}))
    except DivergenceError as error:
        return str(error)
    return "nothing"


def one_by_one() -> dict[str, Any]:
    """Every batch has fewer images than there are processes."""
    return trained("crop-flip", batch_size=1, epochs=1)["weights"]


def everything() -> dict[str, Any]:
    plain = {spec: trained(spec) for spec in SPECS}
    return {**plain, "resumed": resumed(), "bn": with_statistics(), "diverged": diverged(),
            "one by one": one_by_one()}  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What both processes found; they are started once."""
    return in_processes(everything, tmp_path_factory.mktemp("processes"))


@pytest.mark.parametrize("spec", SPECS)
def test_two_processes_do_what_one_does(found: list[dict[str, Any]], spec: str) -> None:
    one = trained(spec)
    for two in (process[spec] for process in found):
        for name, value in one["weights"].items():
            torch.testing.assert_close(two["weights"][name], value, rtol=1e-4, atol=1e-5)
        for ours, theirs in zip(one["epochs"], two["epochs"], strict=True):
            assert theirs.loss == pytest.approx(ours.loss, rel=1e-4)
            assert theirs.validation_loss == pytest.approx(ours.validation_loss, rel=1e-4)
            assert (theirs.error, theirs.validation_error, theirs.images) == (
                ours.error, ours.validation_error, ours.images,
            )  # fmt: skip


def test_every_image_is_one_processs_once_each_epoch(found: list[dict[str, Any]]) -> None:
    asked = [process["crop-flip"]["asked"] for process in found]
    for epoch in (slice(4), slice(4, 8)):
        first, second = (batches[epoch] for batches in asked)
        assert [len(batch) for batch in first] == [len(batch) for batch in second] == [8, 8, 8, 3]
        assert first[3] == second[3]  # too few to be shared
        rows = [row for batch in [*first, *second[:3]] for row in batch]
        assert sorted(rows) == list(range(COUNT))


def test_batches_may_be_smaller_than_processes_are_many(found: list[dict[str, Any]]) -> None:
    one = one_by_one()
    for name, value in found[1]["one by one"].items():
        torch.testing.assert_close(value, one[name], rtol=1e-4, atol=1e-5)


def test_processes_end_with_the_same_bits(found: list[dict[str, Any]]) -> None:
    for kind in ("bn", *SPECS):
        first, second = (process[kind]["weights"] for process in found)
        assert all(torch.equal(first[name], second[name]) for name in first)


def test_all_processes_are_told_the_figures_of_the_whole(found: list[dict[str, Any]]) -> None:
    for process in found:
        last = process["bn"]["epochs"][-1]
        assert (last.validation_loss, last.validation_error) == process["bn"]["seen"]
        ours, theirs = ((epoch.loss, epoch.error) for epoch in (last, found[0]["bn"]["epochs"][-1]))
        assert ours == theirs
    model = normalising_net().eval()
    model.load_state_dict(found[0]["bn"]["weights"])
    loss, error = evaluate(model, *images_and_labels(COUNT))
    assert found[1]["bn"]["seen"] == (pytest.approx(loss, rel=1e-6), error)


def test_two_processes_go_on_as_if_never_interrupted(found: list[dict[str, Any]]) -> None:
    for process in found:
        again, straight = process["resumed"]["again"], process["resumed"]["straight"]
        assert all(torch.equal(again[name], straight[name]) for name in straight)


def test_all_processes_are_told_of_divergence(found: list[dict[str, Any]]) -> None:
    assert len(found) == WORLD
    assert all("diverged in epoch 1" in process["diverged"] for process in found)
