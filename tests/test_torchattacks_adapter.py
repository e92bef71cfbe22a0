"""torchattacks under our guarantees, and the library's own faults beside what we make of them."""

import json
import math

import pytest
import torch
import torchattacks
from third_party_case import SmallNet, check_guarantees, examples, predictions, state
from torch import Tensor, nn

from attacks import Ended
from attacks.spec import resolve
from attacks.torchattacks_adapter import bind, excluded, names

QUICK: dict[str, dict[str, object]] = {
    "EADEN": {"binary_search_steps": 2, "max_iterations": 10},
    "EADL1": {"binary_search_steps": 2, "max_iterations": 10},
    "OnePixel": {"steps": 2},
    "Pixle": {"restarts": 2},
    "SPSA": {"nb_sample": 4, "max_batch_size": 4},
    "Square": {"n_queries": 30},
    # At this size every image falls to the first member: five thousand queries of Square less.
    "AutoAttack": {"eps": 0.3},
    "MultiAttack": {"attacks": ["GN", "PGD(eps=0.25)"]},
}
ORDERS = {"Linf": math.inf, "L2": 2.0}
L2 = {"PGDL2", "PGDRSL2"}


def test_every_class_is_offered_or_excluded_with_a_reason():
    assert set(names()) | set(excluded()) == set(torchattacks.__all__)
    assert not set(names()) & set(excluded())
    assert all(len(reason) > 20 for reason in excluded().values())
    assert all(
        summary and "\n" not in summary and len(summary) < 160 for summary in names().values()
    )


@pytest.mark.parametrize("name", names())
def test_guarantees(name):
    settings, attack = bind(name, QUICK.get(name, {}))
    eps = settings.get("eps", settings.get("max_epsilon"))
    order = 2.0 if name in L2 else ORDERS[settings.get("norm", "Linf")]
    budget = None if eps is None else (order, eps)
    result = check_guarantees(attack, budget)
    assert not [c for c in result.cautions if c.code == "third-party"]


@pytest.mark.parametrize("name", ["APGD", "APGDT", "FAB", "Square", "AutoAttack"])
def test_guarantees_in_l2(name):
    quick = {"n_queries": 30} if name == "Square" else {}
    _, attack = bind(name, quick | {"norm": "L2", "eps": 1.5})
    result = check_guarantees(attack, (2.0, 1.5))
    assert Ended.REACHED in result.ended.tolist()


@pytest.mark.parametrize("name", names())
def test_settings_are_complete_and_can_be_written_down(name):
    settings, _ = bind(name, {})
    assert bind(name, settings)[0] == settings
    assert json.loads(json.dumps(settings)) == settings
    bound = resolve(f"torchattacks:{name}")
    assert resolve(bound.spec).spec == bound.spec


def test_settings_have_the_librarys_names_and_defaults():
    settings, _ = bind("PGD", {"steps": 3})
    assert settings == {"eps": 8 / 255, "alpha": 2 / 255, "steps": 3, "random_start": True}


def test_pgd_moves_images_as_the_library_does():
    model = SmallNet().eval()
    images, labels = examples(model)
    theirs = torchattacks.PGD(model, steps=5, random_start=False)(images[:3], labels[:3])
    _, attack = bind("PGD", {"steps": 5, "random_start": False})
    ours = attack(SmallNet(), images, labels)
    assert torch.allclose(ours.images[:3], theirs, atol=1e-6)
    assert ours.backwards.tolist() == [5, 5, 5, 0]
    assert ours.forwards.tolist() == [7, 7, 7, 1]  # the clean pass, five steps, the second look


def test_another_seed_draws_other_noise():
    model = SmallNet()
    images, labels = examples(model)
    _, attack = bind("GN", {})
    first = attack(model, images, labels, seeds=torch.zeros(4, dtype=torch.int64))
    second = attack(model, images, labels, seeds=torch.ones(4, dtype=torch.int64))
    assert not torch.equal(first.images[:3], second.images[:3])


TARGETED = {
    "FGSM": {"eps": 0.3},
    "PGD": {"eps": 0.3, "alpha": 0.05},
    "PGDL2": {"eps": 5.0, "alpha": 1.0},
    "CW": {"c": 10, "steps": 100, "lr": 0.05},
    "EADL1": {},
    "JSMA": {},
    "Pixle": {},
    "Square": {"eps": 0.3, "n_queries": 1000},
    "PIFGSMPP": {"max_epsilon": 0.4},
}


@pytest.mark.parametrize("name", TARGETED)
def test_targets_are_reached(name):
    model = SmallNet()
    images, labels = examples(model)
    targets = (labels + 2) % 5
    _, attack = bind(name, TARGETED[name])
    result = attack(model, images, labels, targets=targets)
    reached = result.ended == Ended.REACHED
    assert reached[:3].sum() >= 2
    assert torch.equal(reached[:3], (predictions(model, result.images) == targets)[:3])


@pytest.mark.parametrize("name", ["DeepFool", "APGD", "FAB", "GN"])
def test_targets_are_refused_where_the_class_has_no_such_mode(name):
    model = SmallNet()
    images, labels = examples(model)
    with pytest.raises(ValueError, match=f"torchattacks:{name}.*targeted mode"):
        bind(name, {})[1](model, images, labels, targets=(labels + 1) % 5)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("PDG", {}, "did you mean .*PGD"),
        ("LGV", {}, "data loader"),
        ("PGD", {"step": 3}, "did you mean steps"),
        ("PGD", {"verbose": True}, "unknown setting"),
        ("PGD", {"eps": 8}, "8/255"),
        ("PGD", {"steps": "many"}, "must be a number"),
        ("PGD", {"random_start": 1}, "true or false"),
        ("APGD", {"norm": "L7"}, "norm='L7' must be one of Linf, L2"),
        ("AutoAttack", {"version": "old"}, "Not valid version"),
        ("MultiAttack", {"attacks": ["PGD"]}, "at least two"),
        ("MultiAttack", {"attacks": ["PGD", "PGDD"]}, "did you mean"),
    ],
)
def test_what_cannot_be_bound_is_refused_in_a_line(name, settings, message):
    with pytest.raises(ValueError, match=message) as caught:
        bind(name, settings)
    assert "\n" not in str(caught.value)


# The library's faults: each test shows the fault first, then the adapter without it.


def test_it_puts_a_frozen_batchnorm_back_into_training_mode():
    model = SmallNet()
    images, labels = examples(model)
    assert not model.norm.training
    torchattacks.FGSM(model)(images, labels)
    assert model.norm.training  # the library's doing

    model.norm.eval()
    bind("FGSM", {})[1](model, images, labels)
    assert not model.norm.training
    assert model.training


def test_it_reseeds_the_global_generator():
    model = SmallNet().eval()
    images, labels = examples(model)

    def next_draws(attack) -> list[float]:
        drawn = []
        for seed in (1, 2):
            torch.manual_seed(seed)
            attack()
            drawn.append(float(torch.rand(())))
        return drawn

    theirs = next_draws(lambda: torchattacks.Square(model, n_queries=3)(images, labels))
    assert theirs[0] == theirs[1]
    attack = bind("Square", {"n_queries": 3})[1]
    ours = next_draws(lambda: attack(model, images, labels))
    assert ours == next_draws(lambda: None)


class Failing(SmallNet):
    """Fails at the first pass that wants a gradient."""

    def forward(self, images: Tensor) -> Tensor:
        if images.requires_grad:
            raise RuntimeError("the model broke")
        return super().forward(images)


def test_after_an_exception_it_leaves_the_model_in_another_mode():
    model = Failing()
    images, labels = examples(model)
    before = state(model)
    with pytest.raises(RuntimeError, match="the model broke"):
        torchattacks.PGD(model)(images, labels)
    assert not model.training

    model = Failing()
    with pytest.raises(ValueError, match=r"torchattacks:PGD failed: RuntimeError: the model broke"):
        bind("PGD", {})[1](model, images, labels)
    assert state(model)[:4] == before[:4]


@pytest.mark.parametrize("name", ["PGD", "APGD", "Square", "Pixle", "OnePixel"])
def test_after_an_exception_nothing_is_changed(name):
    class Tired(SmallNet):
        def forward(self, images: Tensor) -> Tensor:
            if self.rows[0] > 20:
                raise RuntimeError("too tired")
            return super().forward(images)

    model = Tired()
    images, labels = examples(model)
    model.rows = [0, 0]
    before = state(model)
    with pytest.raises(ValueError, match="too tired"):
        bind(name, {})[1](model, images, labels)
    assert state(model) == before


class Shifted(nn.Module):
    """Two classes, told apart at a mean of 0.5 by one moving logit; the other is the shift."""

    def __init__(self, shift: float, moving: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.tensor(shift))
        self.moving = moving

    def forward(self, images: Tensor) -> Tensor:
        above = 10 * (images.mean(dim=(1, 2, 3)) - 0.5)
        pair = [-above, 0 * above] if self.moving == 0 else [0 * above, above]
        return torch.stack(pair, dim=1) + self.shift


@pytest.mark.parametrize(
    ("name", "moving", "settings"),
    [
        ("CW", 0, {"c": 5, "lr": 0.05}),
        ("CW", 1, {"c": 5, "lr": 0.05}),
        ("EADL1", 0, {"lr": 0.05, "max_iterations": 50}),
        ("EADEN", 0, {"lr": 0.05, "max_iterations": 50}),
        ("UPGD", 1, {"loss": "margin", "eps": 0.2, "alpha": 0.07}),
    ],
)
def test_it_takes_a_masked_logit_for_zero(name, moving, settings):
    images = torch.full((2, 1, 4, 4), 0.45)
    labels = torch.zeros(2, dtype=torch.int64)
    library = getattr(torchattacks, name)
    positive, negative = Shifted(100.0, moving), Shifted(-100.0, moving)
    assert (predictions(positive, library(positive, **settings)(images, labels)) == 1).all()
    assert (predictions(negative, library(negative, **settings)(images, labels)) == 0).all()

    result = bind(name, settings)[1](negative, images, labels)
    assert (result.ended == Ended.REACHED).all()
    same = bind(name, settings)[1](positive, images, labels)
    assert torch.allclose(result.images, same.images, atol=1e-3)


@pytest.mark.parametrize("name", ["JSMA", "APGDT", "FAB"])
def test_it_expects_ten_classes(name):
    model = SmallNet().eval()
    model.linear.bias.data[4] += 1.5  # the last class: JSMA aims at the one after it
    images, _ = examples(model)
    labels = predictions(model, images)
    assert (labels == 4).all()
    more = {"multi_targeted": True} if name == "FAB" else {}
    with pytest.raises((IndexError, RuntimeError)):
        getattr(torchattacks, name)(model, **more)(images, labels)
    result = bind(name, more)[1](model, images, labels)
    assert (result.backwards > 0).all()


@pytest.mark.parametrize("name", ["PIFGSM", "PIFGSMPP", "TIFGSM"])
def test_it_expects_three_channels(name):
    model = SmallNet()
    images = examples(model)[0][:, :1].clone()

    class OnGrey(SmallNet):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images.expand(-1, 3, -1, -1))

    grey = OnGrey()
    labels = predictions(grey, images)
    with pytest.raises(RuntimeError, match="channels"):
        getattr(torchattacks, name)(grey)(images, labels)

    settings, attack = bind(name, {})
    result = attack(grey, images, labels)
    assert result.images.shape == images.shape
    moved = (result.images - images).abs().flatten(1).amax(dim=1)
    eps = settings.get("eps", settings.get("max_epsilon"))
    assert (moved > eps / 2).all()
    assert (moved <= eps * (1 + 1e-6)).all()


@pytest.mark.parametrize("name", ["APGDT", "AutoAttack"])
def test_too_few_classes_are_said(name):
    model = SmallNet(classes=3)
    images, _ = examples(model)
    with pytest.raises(ValueError, match=f"torchattacks:{name}: .*needs 4 classes.*has 3"):
        bind(name, {})[1](model, images, predictions(model, images))


def test_it_reads_the_clock_for_a_seed():
    model = SmallNet().eval()
    first = torchattacks.AutoAttack(model)
    assert first.get_seed() != first.get_seed()
    assert bind("AutoAttack", {})[0]["seed"] is None  # and test_guarantees repeats it exactly


def test_no_image_to_attack_means_no_call():
    model = SmallNet()
    images, labels = examples(model)
    result = bind("PGD", {})[1](model, images[3:], labels[3:])
    assert result.ended.tolist() == [Ended.ALREADY_WRONG]
    assert result.forwards.tolist() == [1]
    empty = bind("PGD", {})[1](model, images[:0], labels[:0])
    assert empty.images.shape == (0, 3, 8, 8)
