"""`examine` finds what was done to a model whose right preprocessing is known by construction.

The oracle has one prototype image a class and scores by the distance to it, in the units that it is
given, so that it is right exactly when images are prepared as its prototypes were.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from workbench.datasets import Dataset
from workbench.datasets.dataset import InMemory
from workbench.errors import UsageError
from workbench.models import Classifier, LoadedModel, examine, near_chance
from workbench.models.candidates import OWN, as_configured
from workbench.models.class_order import _greedy, find_class_order
from workbench.models.sanity import _likeliest, _Tried

CLASSES, SIDE = 10, 6
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
CIFAR = {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2470, 0.2435, 0.2616)}
CAFFE = {"mean": (123.675, 116.28, 103.53), "std": (1.0, 1.0, 1.0), "scale": 255.0, "bgr": True}
HALF = {"mean": (0.5,) * 3, "std": (0.5,) * 3}
NONE = {"mean": (0.0,) * 3, "std": (1.0,) * 3}


class Prototypes(nn.Module):
    """Minus the squared distance to each prototype (K, C, H, W)."""

    def __init__(self, prototypes, temperature=1.0):
        super().__init__()
        self.register_buffer("prototypes", prototypes)
        self.temperature = temperature

    def forward(self, values):
        gaps = values.flatten(1)[:, None] - self.prototypes.flatten(1)[None]
        return -gaps.square().sum(dim=2) / self.temperature


def prototypes():
    # Close together and tinted: a small shift of a channel makes another prototype the nearest.
    generator = torch.Generator().manual_seed(0)
    tints = torch.rand(CLASSES, 3, 1, 1, generator=generator) * 0.8
    return (tints + 0.1 * torch.rand(CLASSES, 3, SIDE, SIDE, generator=generator)).clamp(0, 1)


def dataset(count=300, names=None, order=None, colour=True):
    labels = np.arange(count) % CLASSES
    shown = labels if order is None else np.asarray(order)[labels]
    base = prototypes()[torch.from_numpy(shown)]
    noise = 0.03 * torch.randn(base.shape, generator=torch.Generator().manual_seed(1))
    pixels = ((base + noise).clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    if not colour:
        pixels = pixels[..., :1]
    return Dataset("made-up", InMemory(pixels), labels, CLASSES, names)


def loaded(configured, right, columns=None, network=None):
    """A model that wants ``right`` and was configured otherwise."""
    facts = {"channels": 3, "classes": CLASSES}
    wanted = Classifier(nn.Identity(), **facts, **right)
    values = wanted.normalise(prototypes())
    values = values.flip(1) if right.get("bgr") else values
    network = network or Prototypes(values)
    model = Classifier(network, **facts, **configured).eval()
    return LoadedModel("oracle", model, "0" * 64, {})


@pytest.mark.parametrize(
    ("right", "configured", "flags"),
    [
        (IMAGENET, NONE, "--mean 0.485,0.456,0.406 --std 0.229,0.224,0.225"),
        (CIFAR, HALF, "--mean 0.4914,0.4822,0.4465 --std 0.247,0.2435,0.2616"),
        (NONE, IMAGENET, "--mean 0,0,0 --std 1,1,1"),
        (HALF, NONE, "--mean 0.5,0.5,0.5 --std 0.5,0.5,0.5"),
        (NONE, {**NONE, "bgr": True}, "--mean 0,0,0 --std 1,1,1"),
        ({**IMAGENET, "bgr": True}, NONE, "0.225 --bgr"),
        ({**CIFAR, "bgr": True}, IMAGENET, "0.2616 --bgr"),
        ({**NONE, "scale": 255.0}, NONE, "--scale255"),
        (CAFFE, IMAGENET, "--mean 123.675,116.28,103.53 --std 1,1,1 --scale255 --bgr"),
        (IMAGENET, {**NONE, "scale": 255.0}, "--std 0.229,0.224,0.225"),
    ],
)
def test_the_right_preprocessing_is_found(right, configured, flags):
    found = examine(loaded(configured, right), dataset())
    assert found.best.accuracy > 0.95
    assert found.flags.endswith(flags) if "--bgr" in flags else flags in found.flags
    assert ("--bgr" in found.flags) == bool(right.get("bgr"))
    assert ("--scale255" in found.flags) == ("scale" in right)
    assert found.flags in found.recommendation
    assert found.configured.accuracy < found.best.accuracy
    assert found.rows[0] == found.configured
    assert not found.near_chance


def tried(normalisation, count, losses):
    candidate = replace(as_configured(loaded(NONE, NONE).model), normalisation=normalisation)
    return _Tried(candidate, np.zeros(6, np.int64), np.arange(6) < count, np.array(losses))


def test_of_those_that_are_not_told_apart_the_lowest_loss_is_recommended():
    ranked = [tried("one more right", 6, [0.5] * 6), tried("likely", 5, [0.4] * 6)]
    ranked += [tried("bad", 0, [0.1] * 6)]
    assert _likeliest(ranked).candidate.normalisation == "likely"  # (1/2)^6 < 0.05 < 1/2


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([0.4, 0.4, 0.4, 0.4, 0.4, 0.5], "published"),  # 1/60 more, standard error 0.015
        ([0.4, 0.5, 0.5, 0.5, 0.5, 0.5], OWN),  # 5/60 more
    ],
)
def test_the_data_s_own_must_be_clearly_better_than_a_published_normalisation(losses, expected):
    ranked = [tried(OWN, 6, [0.4] * 6), tried("published", 6, losses)]
    assert _likeliest(ranked).candidate.normalisation == expected


def test_the_data_s_own_normalisation_is_found():
    images = dataset().images(slice(None))
    own = {
        "mean": tuple(images.mean(dim=(0, 2, 3)).tolist()),
        "std": tuple(images.std(dim=(0, 2, 3)).tolist()),
    }
    found = examine(loaded(NONE, own), dataset())
    recommended = [float(v) for v in found.flags.split()[1].split(",")]
    assert recommended == pytest.approx(own["mean"], abs=0.01)


def test_nothing_is_recommended_where_nothing_is_wrong():
    found = examine(loaded(IMAGENET, IMAGENET), dataset())
    assert found.flags == ""
    assert found.findings == ()
    assert found.class_order is None
    assert found.configured.accuracy == found.best.accuracy
    assert "ImageNet" in found.configured.name


def test_flags_that_have_to_go_are_said():
    found = examine(loaded({**IMAGENET, "bgr": True}, IMAGENET), dataset())
    assert "without --bgr" in found.recommendation


def test_numeric_order_of_folders():
    # Folders 0 … 9 named 1 … 10: the alphabet puts 10 second, the model counts.
    names = tuple(sorted(str(number) for number in range(1, 11)))
    order = [int(name) - 1 for name in names]
    found = examine(loaded(IMAGENET, IMAGENET), dataset(names=names, order=order))
    assert found.class_order.name == "numeric"
    assert found.class_order.flags == "--class-names 1,2,3,4,5,6,7,8,9,10"
    assert list(found.class_order.outputs) == order
    assert found.class_order.correct > 0.95 * 300


def test_any_other_order_is_found_on_one_half_and_measured_on_the_other():
    order = [3, 1, 4, 0, 5, 9, 2, 6, 8, 7]
    found = examine(loaded(IMAGENET, IMAGENET), dataset(order=order))
    assert found.class_order.name == "best assignment"
    assert list(found.class_order.outputs) == order
    assert found.class_order.images == 150
    assert found.class_order.class_names is None  # the data have none


def test_wrong_normalisation_and_wrong_order_together():
    order = [(label + 1) % CLASSES for label in range(CLASSES)]
    found = examine(loaded(NONE, HALF), dataset(order=order))
    assert found.flags == "--mean 0.5,0.5,0.5 --std 0.5,0.5,0.5"
    assert list(found.class_order.outputs) == order


def test_guessing_stays_near_chance_and_no_order_is_made_up():
    generator = torch.Generator().manual_seed(3)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, CLASSES))
    with torch.no_grad():
        network[1].weight.normal_(generator=generator)
        network[1].bias.zero_()
    data = dataset()
    shuffled = np.random.default_rng(0).permutation(data.labels)
    found = examine(loaded(NONE, NONE, network=network), replace(data, labels=shuffled))
    assert found.near_chance
    assert found.flags == ""
    assert found.class_order is None


def test_a_wrong_input_size_is_found():
    class Sized(Prototypes):
        def forward(self, values):
            if values.shape[-1] != SIDE:
                values = nn.functional.avg_pool2d(values, 3) + 0.3
            return super().forward(values)

    values = Classifier(nn.Identity(), channels=3, classes=CLASSES, **IMAGENET).normalise(
        prototypes()
    )
    network = Sized(values)
    found = examine(loaded({**IMAGENET, "input_size": (18, 18)}, IMAGENET, network=network),
                    dataset())  # fmt: skip
    assert "without --input-size" in found.recommendation
    assert "--input-size" not in found.flags


class Noisy(Prototypes):
    def forward(self, values):
        return super().forward(values + 0.5 * torch.randn_like(values))


class BatchNormalised(Prototypes):
    def forward(self, values):
        return super().forward(values - values.mean(dim=0) + self.prototypes.mean(dim=0))


class Constant(Prototypes):
    def forward(self, values):
        return super().forward(values) * 0


@pytest.mark.parametrize(
    ("kind", "code"),
    [(Noisy, "randomised"), (BatchNormalised, "batch-statistics"), (Constant, "constant")],
)
def test_symptoms(kind, code):
    found = examine(loaded(NONE, NONE, network=kind(prototypes())), dataset(100))
    assert [finding.code for finding in found.findings] == [code]


def test_layers_left_in_train_mode():
    class Stubborn(Prototypes):
        def __init__(self, values):
            super().__init__(values)
            self.norm = nn.BatchNorm2d(3, affine=False)

        def train(self, mode=True):
            return super().train(True)

        def forward(self, values):
            return super().forward(self.norm(values))

    found = examine(loaded(NONE, NONE, network=Stubborn(prototypes())), dataset(100))
    assert {finding.code for finding in found.findings} == {"train-mode", "batch-statistics"}


def test_softmax_at_the_end_is_told():
    network = nn.Sequential(Prototypes(prototypes()), nn.Softmax(1))
    configured = {**NONE, "returns_probabilities": True}
    found = examine(loaded(configured, NONE, network=network), dataset(100))
    assert [finding.code for finding in found.findings] == ["probabilities"]


def test_more_classes_than_outputs():
    model = loaded(NONE, NONE)
    data = replace(dataset(100), classes=12)
    with pytest.raises(UsageError, match="10 outputs, but the data have 12"):
        examine(model, data)


def test_intervals_are_wilson_s():
    found = examine(loaded(NONE, NONE), dataset(100))
    # Wilson 1927 for 100 of 100: z²/(n + z²) is lost from 1.
    assert found.configured.correct == 100
    assert found.configured.interval == pytest.approx((1 - 3.8415 / 103.8415, 1.0), abs=1e-4)


@pytest.mark.parametrize(
    ("accuracy", "n", "classes", "near"),
    [
        (0.10, 1000, 10, True),
        (0.15, 1000, 10, True),  # Wilson's lower end is 0.129, half above chance is 0.15
        (0.20, 1000, 10, False),
        (0.5, 100, 2, True),
        (0.8, 100, 2, False),
        (0.02, 2000, 1000, False),
        (0.0, 20, 1000, True),
        (0.4, 10, 10, False),
        (0.0, 5, 10, False),  # too few to tell
    ],
)
def test_near_chance(accuracy, n, classes, near):
    assert near_chance(accuracy, n, classes) is near


def test_greedy_assignment_takes_the_largest_first():
    # Optimal is 8 + 7 = 15 on the other diagonal; greedy takes 9 and what is left.
    assert _greedy(np.array([[9, 8], [7, 1]])) == [0, 1]


def test_without_scipy_a_permutation_is_still_found(monkeypatch):
    import sys  # noqa: PLC0415  (only this test hides a module)

    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    labels = np.arange(400) % 5
    found = find_class_order((labels + 2) % 5, labels, 5, None)
    assert found.method == "greedy"
    assert found.outputs == (2, 3, 4, 0, 1)
