import pytest
import torch
from attack_case import linear_case, predicted, random_images, small_net
from torch import nn
from torch.nn import functional as F

from attacks import Ended, engine, fooling, shrink, sign_ascent
from attacks.draws import image_seeds
from attacks.gradients import frozen


class OneAnswer(nn.Module):
    """Says class 2 to everything, except near a flat patch of black, where it says class 0."""

    def forward(self, images):
        dark = 10 * (images.flatten(1).amax(dim=1) < 0.05).float()
        logits = torch.stack([dark, 0 * dark, 0 * dark + 5], dim=1)
        return logits + 0 * images.sum(dim=(1, 2, 3))[:, None]


def test_the_random_state():
    """The image leaves class 0, its loss stands still, and the answer is the one to static."""
    images = torch.zeros(3, 1, 4, 4)
    labels = torch.tensor([0, 0, 1])
    attacked = sign_ascent(OneAnswer(), images, labels, confidence=0.999, step_size=0.02)
    assert attacked.ended.tolist() == [
        int(Ended.RANDOM_STATE),
        int(Ended.RANDOM_STATE),
        int(Ended.ALREADY_WRONG),
    ]
    # Three steps of 0.02 or less leave the dark; then twenty losses must agree.
    assert 20 <= attacked.steps[0] <= 40


def test_success_is_tested_before_the_random_state():
    images, labels = torch.zeros(2, 1, 4, 4), torch.zeros(2, dtype=torch.int64)
    attacked = sign_ascent(OneAnswer(), images, labels, confidence=0.9, step_size=0.02)
    assert (attacked.ended == int(Ended.REACHED)).all()  # p(2) = e⁵ / (e⁵ + 2) = 0.987


def test_standing_still_with_another_answer_is_not_the_random_state():
    class Split(OneAnswer):
        def forward(self, images):
            logits = super().forward(images)
            return (
                logits + F.one_hot(torch.tensor(1), 3) * 9 * (images.mean((1, 2, 3)) < 0.3)[:, None]
            )

    images, labels = torch.full((2, 1, 4, 4), 0.1), torch.ones(2, dtype=torch.int64)
    attacked = sign_ascent(
        Split(), images, labels, confidence=0.999, step_size=1e-4, steps=60, patience=20
    )
    assert (attacked.ended == int(Ended.OUT_OF_STEPS)).all()
    assert (attacked.steps == 60).all()


def test_ties_are_broken_by_the_images_own_seeds():
    images, labels = torch.full((4, 1, 4, 4), 0.5), torch.full((4,), 2)
    seeds = image_seeds(0, torch.tensor([7, 8, 7, 9]))
    moved = sign_ascent(OneAnswer(), images, labels, seeds=seeds, steps=1, step_size=0.1).images
    assert torch.allclose((moved - 0.5).abs(), torch.full_like(moved, 0.1))
    assert torch.equal(moved[0], moved[2])
    assert not torch.equal(moved[0], moved[1])
    other = sign_ascent(OneAnswer(), images, labels, seeds=seeds + 1, steps=1, step_size=0.1).images
    assert not torch.equal(moved, other)


@pytest.mark.parametrize("confidence", [0.0, 0.5, 0.9, 0.99])
def test_the_model_is_as_sure_as_asked(confidence):
    model, images = small_net(), random_images(20)
    labels = predicted(model, images)
    attacked = sign_ascent(
        model, images, labels, confidence=confidence, step_size=2 / 255, steps=400
    )
    reached = attacked.ended == int(Ended.REACHED)
    assert reached.any()
    with frozen(model), torch.no_grad():
        probability, answer = model(attacked.images).softmax(dim=1).max(dim=1)
    assert (answer != labels)[reached].all()
    assert (probability[reached] >= confidence).all()


def test_the_first_step_is_the_sign_of_the_gradient():
    model, images, labels, _ = linear_case()
    away = torch.where(labels == 1, -1.0, 1.0)[:, None, None, None]
    for direction in ("sign", "normalised"):
        moved = sign_ascent(
            model, images, labels, steps=1, step_size=0.01, direction=direction
        ).images
        weight = model.weight.detach()
        unit = weight.sign() if direction == "sign" else weight / weight.square().mean().sqrt()
        right = labels == predicted(model, images)
        assert torch.allclose((moved - images)[right], (0.01 * away * unit)[right], atol=1e-6)


@pytest.mark.parametrize(
    "settings",
    [
        {"confidence": 1.0},
        {"confidence": 90},
        {"steps": 0},
        {"steps": 2.5},
        {"direction": "sine"},
        {"step_size": 2},
        {"eps": 8},
        {"loss": "cee"},
        {"patience": 0},
    ],
)
def test_settings_that_do_not_fit_are_refused(settings):
    model, images, labels, _ = linear_case()
    with pytest.raises(ValueError, match=next(iter(settings))):
        sign_ascent(model, images, labels, **settings)


def test_shrink_returns_successes_that_are_closer_and_keeps_the_others():
    model, images = small_net(), random_images(20)
    labels = predicted(model, images)
    labels[0] = (labels[0] + 1) % 5
    attacked = shrink(model, images, labels, attack="pgd(eps=8/255, step_size=8/255)", steps=8)
    before = (attacked.unshrunk - images).abs().flatten(1).amax(dim=1)
    after = (attacked.images - images).abs().flatten(1).amax(dim=1)
    reached = attacked.ended == int(Ended.REACHED)
    assert reached.any()
    assert (after[reached] <= before[reached]).all()
    assert (after[reached] < 0.9 * before[reached]).any()
    assert torch.equal(attacked.images[~reached], attacked.unshrunk[~reached])
    with frozen(model), torch.no_grad():
        assert attacked.goal.met(model(attacked.images), labels)[reached].all()


def test_shrink_keeps_the_confidence_that_the_attack_asked_for():
    model, images, labels, _ = linear_case()
    attacked = shrink(model, images, labels, attack="sign-ascent(confidence=0.8, step_size=0.1)")
    with torch.no_grad():
        probability, answer = model(attacked.images).softmax(dim=1).max(dim=1)
    assert (answer != labels).all()
    assert (probability >= 0.8).all()
    assert (probability < 0.82).any()  # bisection went down to the threshold


def test_shrink_of_shrink_is_refused():
    model, images, labels, _ = linear_case()
    with pytest.raises(ValueError, match="nothing left to shrink"):
        shrink(model, images, labels, attack="shrink")


@pytest.mark.parametrize("start", ["image", "noise", "blank"])
def test_fooling_images_are_classified_as_their_target(start):
    model, images = small_net(), random_images(12)
    labels = predicted(model, images)
    attacked = fooling(model, images, labels, target=3, start=start, steps=200)
    with frozen(model), torch.no_grad():
        answers = model(attacked.images).argmax(dim=1)
    assert (answers == 3).all()
    if start == "blank":  # one canvas, one target: the labels play no part
        assert (attacked.images == attacked.images[0]).all()


def test_fooling_moves_along_the_gradient_of_the_logit():
    model, images, labels, _ = linear_case()
    targets = 1 - labels
    attacked = fooling(model, images, labels, targets=targets, step_size=0.05, steps=1)
    towards = torch.where(targets == 1, 1.0, -1.0)[:, None, None, None]
    unit = model.weight.detach() / torch.linalg.vector_norm(model.weight.detach())
    stepped = attacked.steps == 1
    expected = images + 0.05 * towards * unit
    assert torch.allclose(attacked.images[stepped], expected[stepped], atol=1e-6)


def test_random_targets_are_wrong_classes_from_the_seeds():
    model, images = small_net(), random_images(40)
    labels = predicted(model, images)
    seeds = image_seeds(0, torch.arange(40))
    attacked = fooling(model, images, labels, seeds=seeds)
    assert (attacked.goal.targets != labels).all()
    assert len(attacked.goal.targets.unique()) > 1
    again = fooling(model, images[5:9], labels[5:9], seeds=seeds[5:9])
    assert torch.equal(again.goal.targets, attacked.goal.targets[5:9])


@pytest.mark.parametrize("settings", [{"target": 9}, {"start": "nois"}, {"step_size": -1}])
def test_fooling_settings_that_do_not_fit_are_refused(settings):
    model, images = small_net(), random_images(4)
    with pytest.raises(ValueError, match=r"target=9|did you mean noise|positive number"):
        fooling(model, images, predicted(model, images), **settings)


@pytest.mark.parametrize("own", [0, 1])
def test_a_loss_too_coarse_to_move_in_bfloat16_is_followed_in_float32(own):
    # Logits near 100 are 0.5 apart in bfloat16, and twenty steps move them by less. Class 0 is
    # also what the model says of noise, so that images of it seem to be in the random state.
    generator = torch.Generator().manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    with torch.no_grad():
        network[1].weight.copy_(0.1 * torch.randn(3, 36, generator=generator))
        network[1].bias.copy_(torch.tensor([100.0, 99.3, 98.0]))
    images = 0.2 * torch.rand(16, 1, 6, 6, generator=generator) + 0.4
    if own == 1:
        weight = network[1].weight.detach()
        images = images + 0.2 * (weight[1] - weight[0]).sign().reshape(1, 1, 6, 6)
    labels = predicted(network, images)
    assert (labels == own).all()
    ended = {}
    for precision in ("float32", "bfloat16"):
        with engine(precision=precision):
            attacked = sign_ascent(network, images, labels, confidence=0.5)
        ended[precision] = attacked.ended.tolist()
        assert attacked.steps.max() < 200
    assert ended["bfloat16"] == ended["float32"] == [int(Ended.REACHED)] * 16


def test_precision_does_not_change_who_is_reached():
    model, images = small_net(), random_images(24)
    labels = predicted(model, images)
    settings = {"confidence": 0.6, "step_size": 2 / 255, "steps": 300}
    with engine(precision="float32"):
        exact = sign_ascent(model, images, labels, **settings)
    with engine(precision="bfloat16"):
        reduced = sign_ascent(model, images, labels, **settings)
    reached = exact.ended == int(Ended.REACHED)
    assert torch.equal(reduced.ended == int(Ended.REACHED), reached)
    ratio = reduced.steps[reached].sum() / exact.steps[reached].sum()
    assert 0.8 < ratio < 1.25


def test_a_class_with_a_ceiling_is_given_up_for_the_next():
    class Ceiling(nn.Module):
        """Class 1 is the strongest wrong one at first, but never more than about half sure."""

        def forward(self, images):
            top, bottom = images[:, 0, :2].mean((1, 2)), images[:, 0, 2:].mean((1, 2))
            static = 99 * (images[..., 1:] - images[..., :-1]).square().mean((1, 2, 3))
            last = 40 * (bottom - 0.5) - 2 + static  # so that static has an answer of its own
            return torch.stack([1 + 0 * top, torch.tanh(9 * top), last], dim=1)

    images, labels = torch.full((3, 1, 4, 4), 0.45), torch.zeros(3, dtype=torch.int64)
    one = torch.ones_like(labels)
    stuck = sign_ascent(Ceiling(), images, labels, targets=one, step_size=0.02, steps=300)
    assert (stuck.ended == int(Ended.OUT_OF_STEPS)).all()
    attacked = sign_ascent(Ceiling(), images, labels, step_size=0.02, steps=300)
    assert (attacked.ended == int(Ended.REACHED)).all()
    assert (Ceiling()(attacked.images).argmax(dim=1) == 2).all()
    # It began again from the original: only what serves class 2 has moved far.
    assert (attacked.images[:, 0, 2:] > images[:, 0, 2:]).all()
