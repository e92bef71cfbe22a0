import math

import pytest
import torch
from attack_case import random_images
from hypothesis import given
from hypothesis import strategies as st

from attacks.norms import check_eps, l2_unit, norm_named
from attacks.objectives import Goal, objective_named

LOGITS = torch.tensor([[1.0, 3.0, 2.0, 0.0], [5.0, -1.0, 0.0, 2.0]])
LABELS = torch.tensor([1, 0])
TARGETS = torch.tensor([2, 3])


@pytest.mark.parametrize(
    ("loss", "targeted", "first"),
    [  # worked out by hand for logits (1, 3, 2, 0), label 1, target 2
        ("ce", False, math.log(math.exp(-2) + 1 + math.exp(-1) + math.exp(-3))),
        ("margin", False, -1.0),
        ("dlr", False, -(3 - 2) / (3 - 1)),
        ("confidence", False, 2 - math.log(sum(map(math.exp, (1, 3, 2, 0))))),
        ("logit", False, -3.0),
        ("ce", True, 2 - math.log(sum(map(math.exp, (1, 3, 2, 0))))),
        ("margin", True, 2 - 3.0),
        ("dlr", True, -(3 - 2) / (3 - (1 + 0) / 2)),
        ("confidence", True, 2 - math.log(sum(map(math.exp, (1, 3, 2, 0))))),
        ("logit", True, 2.0),
    ],
)
def test_objectives(loss, targeted, first):
    values = objective_named(loss, targeted=targeted)(LOGITS, LABELS, TARGETS)
    assert values.shape == (2,)
    assert values[0].item() == pytest.approx(first, rel=1e-6)


def test_dlr_does_not_change_when_logits_are_scaled_or_shifted():
    for targeted in (False, True):
        dlr = objective_named("dlr", targeted=targeted)
        moved = dlr(LOGITS * 7 + 3, LABELS, TARGETS)
        assert torch.allclose(dlr(LOGITS, LABELS, TARGETS), moved, atol=1e-6)


@pytest.mark.parametrize(("loss", "targeted", "classes"), [("dlr", False, 2), ("dlr", True, 3)])
def test_dlr_needs_enough_classes(loss, targeted, classes):
    with pytest.raises(ValueError, match=f"the model has {classes}"):
        objective_named(loss, targeted=targeted)(LOGITS[:, :classes], LABELS % 2, TARGETS % 2)


def test_goal():
    assert Goal().met(LOGITS, torch.tensor([1, 1])).tolist() == [False, True]
    assert Goal(torch.tensor([1, 1])).met(LOGITS, LABELS).tolist() == [True, False]
    sure = torch.softmax(LOGITS, dim=1).amax(dim=1)
    wrong = (LABELS + 1) % 4
    assert Goal(confidence=float(sure[0]) - 1e-6).met(LOGITS, wrong).tolist() == [True, True]
    assert Goal(confidence=float(sure[0]) + 1e-6).met(LOGITS, wrong).tolist() == [False, True]


def test_a_model_that_returns_nan_has_not_been_fooled():
    assert not Goal().met(torch.tensor([[float("nan"), 1.0]]), torch.tensor([0])).any()


@given(st.sampled_from(["linf", "l2"]), st.floats(1e-4, 0.9), st.integers(0, 2**62))
def test_random_points_and_far_points_end_in_the_ball(name, eps, seed):
    originals = random_images(6)
    originals[0], originals[1] = 0, 1
    ball = norm_named(name)
    walls = ball.walls(originals, eps)
    spread = ball.spread(originals, eps, torch.arange(6) + seed, 0)
    order = math.inf if name == "linf" else 2
    for points in (spread, originals + 9 * (spread - originals) + 1, originals - 5):
        inside = ball.project(points, originals, eps, walls)
        shift = (inside.double() - originals.double()).flatten(1)
        assert torch.linalg.vector_norm(shift, ord=order, dim=1).max() <= eps * (1 + 1e-6)
        assert inside.min() >= 0
        assert inside.max() <= 1


def test_projection_leaves_points_inside_alone():
    originals = random_images(4) * 0.5 + 0.25
    for name in ("linf", "l2"):
        ball = norm_named(name)
        inside = originals + 0.01 * torch.sign(originals - 0.5) / 10
        walls = ball.walls(originals, 0.1)
        kept = ball.project(inside, originals, 0.1, walls)
        assert torch.allclose(kept, inside, atol=1e-7)


def test_the_random_radius_fills_the_l2_ball_evenly():
    originals = torch.full((4000, 1, 1, 2), 0.5)
    seeds = torch.arange(4000)
    shift = norm_named("l2").spread(originals, 0.3, seeds, 0) - originals
    radius = torch.linalg.vector_norm(shift.flatten(1), dim=1) / 0.3
    # In two dimensions the squared radius is uniform: mean 1/2, standard error 0.2887/√4000.
    assert abs(float((radius**2).mean()) - 0.5) < 5 * 0.2887 / 4000**0.5


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e20])
def test_unit_gradients_survive_any_scale(scale):
    gradient = (random_images(3) - 0.5) * scale
    gradient[2] = 0
    sizes = torch.linalg.vector_norm(l2_unit(gradient).flatten(1), dim=1)
    assert torch.allclose(sizes, torch.tensor([1.0, 1.0, 0.0]), atol=1e-5)


@pytest.mark.parametrize("eps", [8, -0.1, float("nan"), "x", True])
def test_budgets_off_the_scale_are_refused(eps):
    with pytest.raises(ValueError, match="eps="):
        check_eps(eps)


def test_a_budget_above_one_is_taken_for_a_grey_level():
    with pytest.raises(ValueError, match="8/255"):
        check_eps(8)


def test_an_l2_budget_may_exceed_one():
    assert check_eps(3.0, "l2") is None
