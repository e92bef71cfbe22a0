"""foolbox under our guarantees, and the library's own faults beside what we make of them."""

import inspect
import json
import math
import os
import subprocess
import sys

import pytest
import torch
from third_party_case import (
    Binarised,
    SmallNet,
    Threshold,
    check_guarantees,
    examples,
    predictions,
)

from attacks import Ended
from attacks.foolbox_adapter import _library, bind, excluded, names
from attacks.spec import resolve

foolbox = _library()

FEW: dict[str, object] = {
    "binary_search_steps": 3,
    "directions": 10,
    "initial_gradient_eval_steps": 5,
    "max_gradient_eval_steps": 20,
    "population": 4,
    "repeats": 5,
    "steps": 12,
}
ORDERS = {"linf": math.inf, "l2": 2.0, "l1": 1.0, "l0": 0.0}
# Compiling these takes half a minute each; they are offered where numba is installed.
COMPILED = [name for name in names() if name.endswith("BrendelBethgeAttack")]


def quick(name: str) -> dict[str, object]:
    settings, _ = bind(name, {})
    few = {key: value for key, value in FEW.items() if key in settings}
    if name == "PointwiseAttack":
        few |= {"l2_binary_search": False}
    return few


def order(name: str) -> float:
    """The order of an attack's norm, as its name or its paper has it."""
    for prefix in ("L0", "L1", "L2", "Linf", "LInf"):
        if prefix in name:
            return ORDERS[prefix.lower()]
    others = {"DDN": 2, "EAD": 1, "FGM": 2, "Boundary": 2, "HopSkip": 2, "Newton": 2, "Sparse": 1}
    others |= {"Virtual": 2, "Salt": 2, "L1": 1}
    return next((float(p) for start, p in others.items() if name.startswith(start)), math.inf)


def test_every_class_is_offered_or_excluded_with_a_reason():
    base = foolbox.attacks.Attack
    classes = {
        name
        for name, value in vars(foolbox.attacks).items()
        if inspect.isclass(value) and issubclass(value, base)
    }
    assert set(names()) | set(excluded()) == classes
    assert not set(names()) & set(excluded())
    assert set(excluded()) - {"Attack"} <= {
        f"{norm}BrendelBethgeAttack" for norm in ("L0", "L1", "L2", "Linfinity")
    }
    assert all(
        summary and "\n" not in summary and len(summary) < 160 for summary in names().values()
    )


@pytest.mark.parametrize("name", [name for name in names() if name not in COMPILED])
def test_guarantees(name):
    settings, attack = bind(name, quick(name))
    eps = settings.get("eps")
    budget = None if eps is None else (order(name), eps)
    model = Binarised() if name == "BinarizationRefinementAttack" else SmallNet()
    result = check_guarantees(attack, budget, model)
    assert not [c for c in result.cautions if c.code == "third-party"]


BOUNDED = {
    "DDNAttack": {"eps": 0.4},
    "L2CarliniWagnerAttack": {"eps": 0.4, "steps": 30, "binary_search_steps": 4},
    "EADAttack": {"eps": 3.0, "steps": 30, "binary_search_steps": 4},
    "BoundaryAttack": {"eps": 1.0, "steps": 20},
    "HopSkipJumpAttack": {"eps": 1.0, "steps": 2},
    "L0FMNAttack": {"eps": 8.0, "steps": 20},
    "L1FMNAttack": {"eps": 3.0, "steps": 20},
    "LInfFMNAttack": {"eps": 0.03, "steps": 20},
    "SaltAndPepperNoiseAttack": {"eps": 1.0, "steps": 20},
    "InversionAttack": {"eps": 0.1, "distance": "linf"},
    "GaussianBlurAttack": {"eps": 1.0, "distance": "l1", "steps": 20},
    "LinearSearchBlendedUniformNoiseAttack": {"eps": 10, "distance": "l0", "directions": 5},
    "DatasetAttack": {"eps": 2.0, "distance": "l2"},
    "LinfPGD": {"eps": 0.001},
}


@pytest.mark.parametrize("name", BOUNDED)
def test_a_budget_holds(name):
    settings, attack = bind(name, BOUNDED[name])
    norm = settings.get("distance")
    check_guarantees(attack, (ORDERS[norm] if norm else order(name), settings["eps"]))


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPILED)
def test_guarantees_of_compiled_attacks(name):
    check_guarantees(bind(name, {"steps": 5})[1], None)


@pytest.mark.parametrize("name", names())
def test_settings_are_complete_and_can_be_written_down(name):
    settings, _ = bind(name, {})
    assert bind(name, settings)[0] == settings
    assert json.loads(json.dumps(settings)) == settings
    bound = resolve(f"foolbox:{name}")
    assert resolve(bound.spec).spec == bound.spec


def test_settings_have_the_librarys_names_and_defaults():
    settings, _ = bind("LinfPGD", {"epsilons": 0.1, "steps": 3})
    assert settings == {
        "eps": 0.1,
        "rel_stepsize": 0.01 / 0.3,
        "abs_stepsize": None,
        "steps": 3,
        "random_start": True,
    }


def test_pgd_moves_images_as_the_library_does():
    model = SmallNet().eval()
    images, labels = examples(model)
    theirs = foolbox.attacks.LinfPGD(steps=5, random_start=False)
    bounded = foolbox.PyTorchModel(model, bounds=(0, 1))
    _, expected, _ = theirs(bounded, images[:3], labels[:3], epsilons=0.03)
    _, attack = bind("LinfPGD", {"eps": 0.03, "steps": 5, "random_start": False})
    ours = attack(SmallNet(), images, labels)
    assert torch.allclose(ours.images[:3], expected, atol=1e-6)
    assert ours.backwards.tolist() == [5, 5, 5, 0]


def test_minimal_attacks_come_near_the_known_minimum():
    # The nearest image with a mean of 0.5 is a shift of every pixel: 0.1 in L∞, 0.4 in L2.
    images = torch.full((2, 1, 4, 4), 0.4)
    labels = torch.zeros(2, dtype=torch.int64)
    for name, norm, minimum in (("DDNAttack", 2.0, 0.4), ("LinfDeepFoolAttack", math.inf, 0.1)):
        result = bind(name, {})[1](Threshold(0.5), images, labels)
        lengths = torch.linalg.vector_norm((result.images - images).flatten(1), ord=norm, dim=1)
        assert (result.ended == Ended.REACHED).all()
        assert (lengths >= minimum * 0.999).all()
        assert (lengths <= minimum * 1.25).all()


def test_another_seed_draws_other_noise():
    model = SmallNet()
    images, labels = examples(model)
    _, attack = bind("LinfAdditiveUniformNoiseAttack", {})
    first = attack(model, images, labels, seeds=torch.zeros(4, dtype=torch.int64))
    second = attack(model, images, labels, seeds=torch.ones(4, dtype=torch.int64))
    assert not torch.equal(first.images[:3], second.images[:3])


TARGETED = {
    "LinfPGD": {"eps": 0.3},
    "L2BasicIterativeAttack": {"eps": 5.0},
    "DDNAttack": {},
    "L2CarliniWagnerAttack": {"steps": 100, "initial_const": 1.0},
    "EADAttack": {"steps": 100, "initial_const": 1.0},
    "L2FMNAttack": {},
    "GenAttack": {"eps": 0.4, "steps": 60},
}


@pytest.mark.parametrize("name", TARGETED)
def test_targets_are_reached(name):
    model = SmallNet()
    images, labels = examples(model)
    targets = (labels + 2) % 5
    result = bind(name, TARGETED[name])[1](model, images, labels, targets=targets)
    reached = result.ended == Ended.REACHED
    assert reached[:3].sum() >= 2
    assert torch.equal(reached[:3], (predictions(model, result.images) == targets)[:3])


@pytest.mark.parametrize("name", ["LinfDeepFoolAttack", "NewtonFoolAttack", "FGSM"])
def test_targets_are_refused_where_the_class_has_no_such_mode(name):
    model = SmallNet()
    images, labels = examples(model)
    with pytest.raises(ValueError, match=f"foolbox:{name}: .*targeted mode"):
        bind(name, {})[1](model, images, labels, targets=(labels + 1) % 5)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("LinfPDG", {}, "did you mean .*LinfPGD"),
        ("Attack", {}, "base of the others"),
        ("PGD", {"step": 3}, "did you mean .*steps"),
        ("BoundaryAttack", {"tensorboard": "logs"}, "unknown setting"),
        ("PGD", {"eps": 8}, "8/255"),
        ("PGD", {"eps": None}, "must be a number"),
        ("PGD", {"steps": "many"}, "must be a number"),
        ("InversionAttack", {"eps": 0.1}, "distance=linf"),
        ("InversionAttack", {"eps": 0.1, "distance": "l3"}, "unknown distance"),
        ("BoundaryAttack", {"init_attack": "PGD"}, "minimises a distance"),
        ("BoundaryAttack", {"init_attack": "Saltt"}, "did you mean"),
    ],
)
def test_what_cannot_be_bound_is_refused_in_a_line(name, settings, message):
    with pytest.raises(ValueError, match=message) as caught:
        bind(name, settings)
    assert "\n" not in str(caught.value)


# The library's faults: each test shows the fault first, then the adapter without it.


def test_its_import_fails_where_there_is_no_git_executable():
    def run(code: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": "", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        command = [sys.executable, "-c", code]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    theirs = run("import foolbox")
    assert theirs.returncode != 0
    assert "git" in theirs.stderr
    ours = run(
        "import os; from attacks.foolbox_adapter import names; print(len(names()));"
        "assert 'GIT_PYTHON_REFRESH' not in os.environ"
    )
    assert ours.returncode == 0, ours.stderr
    assert int(ours.stdout) == len(names())


@pytest.mark.parametrize("name", ["L2CarliniWagnerAttack", "EADAttack"])
def test_it_returns_black_images_where_it_found_nothing(name):
    images = torch.full((2, 1, 4, 4), 0.9)
    labels = torch.ones(2, dtype=torch.int64)
    model = Threshold(0.2)
    settings = {"steps": 1, "binary_search_steps": 1}
    bounded = foolbox.PyTorchModel(model.eval(), bounds=(0, 1))
    theirs = getattr(foolbox.attacks, name)(**settings)
    found, _, success = theirs(bounded, images, labels, epsilons=None)
    assert (found == 0).all()
    assert success.all()  # for this model black is of the other class

    result = bind(name, settings)[1](model, images, labels)
    assert (result.ended == Ended.OUT_OF_STEPS).all()
    assert torch.equal(result.images, images)

    # Where black is of the right class, it is no success either.
    dark = bind(name, settings)[1](model, 1 - images, 1 - labels)
    assert (dark.ended == Ended.OUT_OF_STEPS).all()
    assert torch.equal(dark.images, 1 - images)


def test_it_creates_gradients_of_the_parameters():
    model = Threshold(0.5).eval()
    images, labels = torch.full((2, 1, 4, 4), 0.4), torch.zeros(2, dtype=torch.int64)
    bounded = foolbox.PyTorchModel(model, bounds=(0, 1))
    foolbox.attacks.LinfPGD(steps=1)(bounded, images, labels, epsilons=0.1)
    assert model.threshold.grad is not None

    model.threshold.grad = None
    bind("LinfPGD", {"steps": 1})[1](model, images, labels)
    assert model.threshold.grad is None
    assert model.threshold.requires_grad


def test_one_image_without_a_start_makes_it_refuse_the_batch():
    # Uniform noise has a mean of 0.5: no start for the dark image, one for the bright one.
    model = Threshold(0.8).eval()
    images = torch.stack([torch.full((1, 16, 16), 0.3), torch.full((1, 16, 16), 0.9)])
    labels = torch.tensor([0, 1])
    bounded = foolbox.PyTorchModel(model, bounds=(0, 1))
    theirs = foolbox.attacks.BoundaryAttack(steps=5)
    with pytest.raises(ValueError, match="init_attack failed for 1"):
        theirs(bounded, images, labels, epsilons=None)

    result = bind("BoundaryAttack", {"steps": 5})[1](model, images, labels)
    assert result.ended.tolist() == [Ended.OUT_OF_STEPS, Ended.REACHED]
    assert torch.equal(result.images[0], images[0])
    assert "no usable image for 1 of 2" in result.cautions[-1].message


def test_it_finds_no_start_for_a_target():
    model = Threshold(0.8).eval()
    images = torch.stack([torch.full((1, 16, 16), 0.3), torch.full((1, 16, 16), 0.9)])
    labels, targets = torch.tensor([0, 1]), torch.tensor([1, 0])
    bounded = foolbox.PyTorchModel(model, bounds=(0, 1))
    goal = foolbox.criteria.TargetedMisclassification(targets)
    with pytest.raises(ValueError, match="init_attack failed for 1"):
        foolbox.attacks.BoundaryAttack(steps=5)(bounded, images, goal, epsilons=None)

    # Another image of the batch, already taken for the target, is a start.
    result = bind("BoundaryAttack", {"steps": 5})[1](model, images, labels, targets=targets)
    assert (result.ended == Ended.REACHED).all()


def test_a_start_can_come_from_another_attack():
    model = SmallNet()
    settings, attack = bind(
        "BoundaryAttack", {"steps": 5, "init_attack": "SaltAndPepperNoiseAttack(steps=50)"}
    )
    result = attack(model, *examples(model))
    assert json.dumps(settings)
    assert Ended.REACHED in result.ended.tolist()


def test_its_genetic_attack_needs_targets():
    model = SmallNet().eval()
    images, labels = examples(model)
    bounded = foolbox.PyTorchModel(model, bounds=(0, 1))
    with pytest.raises(ValueError, match="unsupported criterion"):
        foolbox.attacks.GenAttack(steps=2)(bounded, images[:3], labels[:3], epsilons=0.3)
    result = bind("GenAttack", {"steps": 60, "eps": 0.4})[1](model, images, labels)
    assert Ended.REACHED in result.ended.tolist()


def test_its_clipping_leaves_the_ball_by_rounding():
    model = SmallNet().eval()
    images, labels = examples(model)
    bounded = foolbox.PyTorchModel(model, bounds=(0, 1))
    theirs = foolbox.attacks.LinfPGD(steps=2)
    _, clipped, _ = theirs(bounded, images[:3], labels[:3], epsilons=0.001)
    shift = (clipped.double() - images[:3].double()).abs().max()
    assert shift > 0.001 * (1 + 1e-6)  # test_a_budget_holds has ours


def test_a_binarisation_that_the_model_does_not_do_is_said():
    model = SmallNet()
    with pytest.raises(ValueError, match=r"foolbox:Binarization.*threshold does not match"):
        bind("BinarizationRefinementAttack", {})[1](model, *examples(model))
