"""What every attack promises, tested over every entry of ATTACKS."""

import itertools
import random

import numpy as np
import pytest
import torch
from attack_case import Counted, linear_case, predicted, random_images, small_net

from attacks import ATTACKS, Ended, engine
from attacks.draws import image_seeds
from attacks.gradients import frozen

EVERY = pytest.mark.parametrize("name", ATTACKS)
QUICK = {
    "sign-ascent": {"steps": 40, "step_size": 4 / 255, "confidence": 0.5},
    "shrink": {"attack": "sign-ascent(steps=40, step_size=4/255, confidence=0.5)"},
    "pgd": {"random_start": True},
    "apgd": {"steps": 30, "restarts": 2},
    "fooling": {"start": "noise"},
}
BUDGETS = [
    ("fgsm", {"eps": 3 / 255}, torch.inf, 3 / 255),
    ("pgd", {"eps": 1 / 255, "random_start": True, "stop": "never"}, torch.inf, 1 / 255),
    ("pgd", {"eps": 0.3, "norm": "l2", "random_start": True, "stop": "never"}, 2, 0.3),
    ("apgd", {"eps": 5 / 255, "restarts": 2}, torch.inf, 5 / 255),
    ("apgd", {"eps": 0.3, "norm": "l2", "restarts": 2}, 2, 0.3),
    ("sign-ascent", {"eps": 2 / 255, "steps": 30}, torch.inf, 2 / 255),
    ("shrink", {"attack": "pgd(eps=2/255)"}, torch.inf, 2 / 255),
]


def run(name, model, images, labels, **settings):
    seeds = image_seeds(0, torch.arange(len(images)))
    return ATTACKS[name](model, images, labels, seeds=seeds, **(QUICK.get(name, {}) | settings))


def case():
    model, images = small_net(), random_images()
    labels = predicted(model, images)
    labels[:2] = (labels[:2] + 1) % 5
    return model, images, labels


@EVERY
def test_shape_type_and_range(name):
    model, images, labels = case()
    attacked = run(name, model, images, labels)
    assert attacked.images.shape == images.shape
    assert attacked.images.dtype == torch.float32
    assert attacked.images.min() >= 0
    assert attacked.images.max() <= 1
    for values in (attacked.steps, attacked.forwards, attacked.backwards):
        assert values.shape == labels.shape
        assert values.dtype == torch.int64
    assert set(attacked.ended.tolist()) <= {int(reason) for reason in Ended}


@pytest.mark.parametrize(("name", "settings", "order", "eps"), BUDGETS)
def test_budget_holds(name, settings, order, eps):
    model, images, labels = case()
    images[3], images[4] = 0.0, 1.0
    changed = ATTACKS[name](model, images, labels, **settings).images
    shift = (changed.double() - images.double()).flatten(1)
    sizes = torch.linalg.vector_norm(shift, ord=order, dim=1)
    assert sizes.max() <= eps * (1 + 1e-6)
    assert sizes.max() > 0.5 * eps  # the budget is used


@EVERY
@pytest.mark.parametrize("fails", [False, True])
def test_no_side_effects(name, fails):
    model, images, labels = case()
    model.train()
    model[1].eval()  # the user froze one layer
    model[0].weight.requires_grad_(False)
    model[5].weight.grad = torch.ones_like(model[5].weight)
    if fails:
        # Every pass after the second fails, so that the attack is under way.
        passes = itertools.count()
        model[4].register_forward_hook(lambda *_: fail_if(next(passes) > 1))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    kept = images.clone()
    torch.manual_seed(3)
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()

    if fails:
        with pytest.raises(RuntimeError, match="boom"):
            run(name, model, images, labels)
    else:
        run(name, model, images, labels)

    assert [m.training for m in model.modules()] == [True, True, False, True, True, True, True]
    assert [p.requires_grad for p in model.parameters()] == [False, True, True, True, True]
    assert model[5].weight.grad.eq(1).all()
    assert model[5].bias.grad is None
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert torch.equal(images, kept)
    assert not images.requires_grad
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.array_equal(np.random.get_state()[1], states[2])


def fail_if(condition):
    if condition:
        raise RuntimeError("boom")


@EVERY
def test_results_do_not_depend_on_the_batch(name):
    model, images, labels = case()
    whole = run(name, model, images, labels)
    with engine(batch_size=8):
        small = run(name, model, images, labels)
    seeds = image_seeds(0, torch.arange(len(images)))[5:]
    rest = ATTACKS[name](model, images[5:], labels[5:], seeds=seeds, **QUICK.get(name, {}))
    # Kernels for other batch shapes round differently; signs of gradients near 0 may flip.
    for other, rows in ((small, slice(None)), (rest, slice(5, None))):
        same = (other.images - whole.images[rows]).abs().flatten(1).amax(dim=1) < 1e-4
        assert same.float().mean() >= 0.9
        assert (other.ended == whole.ended[rows]).float().mean() >= 0.9


@EVERY
def test_same_seed_same_result(name):
    model, images, labels = case()
    first, second = (run(name, model, images, labels) for _ in range(2))
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.steps, second.steps)
    assert torch.equal(first.ended, second.ended)


@EVERY
def test_passes_are_what_is_reported(name):
    model, images, labels = case()
    counted = Counted(model)
    backwards = 0

    def count(module, grad_input, grad_output):
        nonlocal backwards
        backwards += len(grad_output[0])

    counted.register_full_backward_hook(count)
    attacked = run(name, counted, images, labels)
    reported = int(attacked.forwards.sum())
    # Two probes of up to 8 rows, one image to learn the class count, 64 of static, padding to 8.
    probes = 2 * 8 + 8 + 64
    padding = 7 * int(attacked.forwards.max()) * 2
    assert reported <= counted.rows <= reported + probes + padding
    assert int(attacked.backwards.sum()) <= backwards <= int(attacked.backwards.sum()) + padding


@EVERY
def test_passes_are_bounded(name):
    model, images, labels = case()
    attacked = run(name, model, images, labels)
    restarts = 2 if name == "apgd" else 1
    # One forward a step, one to see the last image, one clean, one to confirm; shrinking adds 10.
    extra = 10 if name == "shrink" else 0
    assert (attacked.backwards <= attacked.steps + restarts).all()
    assert (attacked.forwards <= attacked.steps + 2 * restarts + 1 + extra).all()


@EVERY
def test_no_images_are_no_problem(name):
    model, images, labels = case()
    attacked = ATTACKS[name](model, images[:0], labels[:0])
    assert attacked.images.shape == (0, 3, 8, 8)


@EVERY
def test_wrong_images_are_left_alone(name):
    model, images, labels = case()
    attacked = run(name, model, images, labels)
    if name == "fooling":  # it attacks every image, whatever the model said of it
        assert (attacked.ended != int(Ended.ALREADY_WRONG)).all()
        return
    assert (attacked.ended[:2] == int(Ended.ALREADY_WRONG)).all()
    assert (attacked.ended[2:] != int(Ended.ALREADY_WRONG)).all()
    assert torch.equal(attacked.images[:2], images[:2])


@EVERY
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_reached_is_confirmed_in_float32(name, precision):
    model, images, labels = case()
    with engine(precision=precision):
        attacked = run(name, model, images, labels)
    with frozen(model), torch.no_grad():
        logits = model(attacked.images)
    reached = attacked.ended == int(Ended.REACHED)
    assert reached.any()
    assert torch.equal(attacked.goal.met(logits, labels)[reached], reached[reached])


@EVERY
def test_targets_are_reached(name):
    model, images, labels = case()
    targets = (labels + 2) % 5
    attacked = run(name, model, images, labels, targets=targets)
    with frozen(model), torch.no_grad():
        answers = model(attacked.images).argmax(dim=1)
    reached = attacked.ended == int(Ended.REACHED)
    assert torch.equal(answers[reached], targets[reached])


@pytest.mark.parametrize(
    ("name", "settings", "norm", "excess"),
    [
        # A step in the closed form's direction overshoots by less than one step.
        ("sign-ascent", {"confidence": 0, "step_size": 1e-4}, torch.inf, 1e-4),
        ("fooling", {"step_size": 0.002}, 2, 0.002),
        # Ten bisections leave 2⁻¹⁰ of the distance they began at.
        (
            "shrink",
            {"attack": "sign-ascent(confidence=0, step_size=2/255)"},
            torch.inf,
            2 / 255 / 2,
        ),
        ("shrink", {"attack": "fgsm(eps=0.3)"}, torch.inf, 0.3 / 1024),
        ("shrink", {"attack": "fooling(step_size=0.5)"}, 2, 0.5 / 1024),
    ],
)
def test_minimal_attacks_come_near_the_closed_form(name, settings, norm, excess):
    model, images, labels, scores = linear_case()
    attacked = ATTACKS[name](model, images, labels, **settings)
    assert (attacked.ended == int(Ended.REACHED)).all()
    # Hölder: the smallest ‖δ‖ with w·δ = -score is |score| / ‖w‖ in the dual norm.
    dual = torch.linalg.vector_norm(model.weight, ord=1 if norm == torch.inf else 2)
    minimal = scores.abs() / dual
    sizes = torch.linalg.vector_norm((attacked.images - images).flatten(1), ord=norm, dim=1)
    assert (sizes >= minimal * (1 - 1e-3)).all()
    assert (sizes <= minimal * 1.001 + excess * 1.05).all()  # rounding of up to 250 steps


@pytest.mark.parametrize("name", ["fgsm", "pgd", "apgd"])
def test_bounded_attacks_succeed_exactly_where_the_closed_form_allows(name):
    model, images, labels, scores = linear_case(64)
    minimal = (scores.abs() / model.weight.abs().sum()).detach()
    eps = float(minimal.median())
    settings = {"loss": "ce"} if name == "apgd" else {}
    attacked = ATTACKS[name](model, images, labels, eps=eps, **settings)
    clear = (minimal / eps - 1).abs() > 1e-3
    reached = attacked.ended == int(Ended.REACHED)
    assert torch.equal(reached[clear], (minimal < eps)[clear])
