"""Every attack of foolbox 3 (Rauber et al. 2020, JOSS 5(53)) under one adapter, with its own names.

What it undoes, each shown by a test: the import fails where there is no git executable; CW and EAD
return black images where they find nothing, successes if the model happens to be wrong on black;
one image without a starting point makes the decision-based attacks refuse the whole batch;
GenAttack only knows targets; clipping leaves the ball and [0, 1] by rounding.
"""

import functools
import importlib
import importlib.util
import inspect
import math
import os
from collections.abc import Mapping
from types import ModuleType
from typing import Any, cast

import torch
from torch import Tensor

from attacks import draws
from attacks.attacked import Attack
from attacks.norms import check_eps
from attacks.spec import parse, unknown
from attacks.third_party import Batch, Budget, StandIn, UnsuitedError, check_kind, third_party

# TensorBoard writes files, which an attack does not do.
_NOT_SETTINGS = {"self", "args", "kwargs", "tensorboard"}
# Settings without a default in the library. Steps: as in its own tests.
_FILLED: dict[str, dict[str, object]] = {"VirtualAdversarialAttack": {"steps": 10}}
# Attacks of a fixed size have no default for it. The usual ones of RobustBench (Croce et al. 2021)
# for L∞ and L2 on CIFAR-10; for L1 that of Croce and Hein 2021, arXiv:2103.01208.
_USUAL_EPS = {"linf": 8 / 255, "l2": 0.5, "l1": 12.0}
_NORMS = {0.0: "l0", 1.0: "l1", 2.0: "l2", math.inf: "linf"}
# These walk from a misclassified image towards the original.
_NEEDS_START = {
    "BinarizationRefinementAttack",
    "BoundaryAttack",
    "HopSkipJump",  # its name in 3.3.0
    "HopSkipJumpAttack",
    "L0BrendelBethgeAttack",
    "L1BrendelBethgeAttack",
    "L2BrendelBethgeAttack",
    "LinfinityBrendelBethgeAttack",
    "PointwiseAttack",
}
# numba compiles these when they are made, for half a minute.
_COMPILED = "BrendelBethgeAttack"
# They step over the nearest boundary whatever the target.
_IGNORE_TARGETS = {"L2DeepFoolAttack", "LinfDeepFoolAttack"}
# They return black images where they found nothing.
_BLACK_IS_NOTHING = {"L2CarliniWagnerAttack", "EADAttack"}
# They try what they have and stop, so a miss is no sign of anything.
_ONE_TRY = {
    "BinarizationRefinementAttack",
    "BinarySearchContrastReductionAttack",
    "DatasetAttack",
    "GaussianBlurAttack",
    "InversionAttack",
    "LinearSearchBlendedUniformNoiseAttack",
    "LinearSearchContrastReductionAttack",
    "SaltAndPepperNoiseAttack",
}
_SUMMARIES = {
    "BinarizationRefinementAttack": "Refine a start for models that binarise their input",
    "BoundaryAttack": "Walk along the boundary from a misclassified image, by decisions alone (L2)",
    "DatasetAttack": "Take another image of the batch that the model puts into another class",
    "GenAttack": "Genetic search for a target class, without gradients (L-infinity)",
    "HopSkipJumpAttack": "Estimate the boundary's direction by decisions alone (L2, L-infinity)",
    "L2CarliniWagnerAttack": "The attack of Carlini and Wagner (L2)",
    "L2DeepFoolAttack": "Step over the nearest boundary of the linearised model (L2)",
    "EADAttack": "The elastic-net attack (L1)",
    "LinfDeepFoolAttack": "Step over the nearest boundary of the linearised model (L-infinity)",
    "NewtonFoolAttack": "Lower the label's probability by Newton steps",
    "PointwiseAttack": "Reset a misclassified image to the original, value by value",
}


def names() -> dict[str, str]:
    """Every class that fits an image classifier, the short names too, with a line about it."""
    return {name: _summary(name, attack) for name, attack in _exported().items()}


def excluded() -> dict[str, str]:
    """The classes of the library that cannot be an attack here, and why."""
    reasons = {"Attack": "it is the base of the others"}
    if importlib.util.find_spec("numba") is None:
        for name in sorted(_NEEDS_START):
            if name.endswith(_COMPILED):
                reasons[name] = "it needs numba; install it with: pip install numba"
    return reasons


def bind(name: str, settings: Mapping[str, object]) -> tuple[dict[str, object], Attack]:
    """The settings with every default filled in, and the attack.

    ``eps`` is the library's ``epsilons``: the largest change, in the attack's own norm. Attacks
    that look for the smallest change take ``eps=none`` too. ``distance`` is ``l0``, ``l1``, ``l2``
    or ``linf``, and ``init_attack`` a spec such as ``SaltAndPepperNoiseAttack(steps=100)``.

    Raises:
        ValueError: for an unknown name or setting, or a value that the library refuses.
    """
    title = f"foolbox:{name}"
    if name in excluded():
        raise ValueError(f"{title} is not offered: {excluded()[name]}")
    if name not in _exported():
        raise ValueError(unknown("foolbox attack", name, _exported()))
    defaults = _defaults(name)
    given = {"eps" if key == "epsilons" else key: value for key, value in settings.items()}
    for key, value in given.items():
        if key not in defaults:
            raise ValueError(unknown(f"setting of {title}", key, defaults))
        check_kind(title, key, value, defaults[key])
    full = defaults | given
    if not name.endswith(_COMPILED):
        _build(name, full)
    unbounded = full.get("eps", 0) is None and _exported()[name].__name__ not in _ONE_TRY
    call = functools.partial(_call, name, full)
    return full, third_party(title, call, budget=_budget(name, full), unbounded=unbounded)


def _library() -> ModuleType:
    """Import foolbox, whose GitPython raises where there is no git unless it is told not to."""
    before = os.environ.get("GIT_PYTHON_REFRESH")
    os.environ["GIT_PYTHON_REFRESH"] = "quiet"
    try:
        return importlib.import_module("foolbox")
    finally:
        if before is None:
            del os.environ["GIT_PYTHON_REFRESH"]
        else:
            os.environ["GIT_PYTHON_REFRESH"] = before


@functools.cache
def _exported() -> dict[str, Any]:
    """The attacks by name, by looking: another version may have others."""
    attacks = _library().attacks
    return {
        name: value
        for name, value in vars(attacks).items()
        if inspect.isclass(value) and issubclass(value, attacks.Attack)
        if not inspect.isabstract(value) and name not in excluded()
    }


def _summary(name: str, attack: Any) -> str:
    if name != attack.__name__:
        return f"Another name for {attack.__name__}"
    if name in _SUMMARIES:
        return _SUMMARIES[name]
    paragraph = (inspect.getdoc(attack) or "").split("\n\n")[0]
    sentence = " ".join(paragraph.split()).split(". ")[0]
    return sentence.partition(" [")[0].rstrip(".")


def _defaults(name: str) -> dict[str, object]:
    attack = _exported()[name]
    parameters = inspect.signature(attack).parameters.items()
    written = {key: p.default for key, p in parameters if key not in _NOT_SETTINGS}
    base = _library().attacks.base
    if not issubclass(attack, base.AttackWithDistance):
        size: dict[str, object] = {}
    elif issubclass(attack, base.FixedEpsilonAttack):
        size = {"eps": _USUAL_EPS[_norm(attack)]}
    elif issubclass(attack, base.FlexibleDistanceMinimizationAttack) and "distance" not in written:
        size = {}  # it has no norm to measure an eps in
    else:
        size = {"eps": None}
    return size | written | _FILLED.get(attack.__name__, {})


def _norm(attack: Any) -> str:
    """The norm of an attack whose class fixes it, in some classes by a property."""
    return _NORMS[object.__new__(attack).distance.p]


def _budget(name: str, settings: Mapping[str, Any]) -> Budget | None:
    """What the result must keep to, or None without an eps."""
    eps = settings.get("eps")
    if eps is None:
        return None
    if "distance" in settings:
        if settings["distance"] is None:
            raise ValueError(f"foolbox:{name}: eps needs a norm: add distance=linf, or l2, l1, l0")
        norm = settings["distance"]
    else:
        norm = _norm(_exported()[name])
    check_eps(eps, norm)
    return Budget(norm, eps)


def _build(name: str, settings: Mapping[str, Any]) -> Any:
    """The library's attack with its settings."""
    title = f"foolbox:{name}"
    arguments = {key: value for key, value in settings.items() if key != "eps"}
    distance = arguments.get("distance")
    if distance is not None:
        if distance not in _NORMS.values():
            raise ValueError(unknown(f"distance of {title}", str(distance), _NORMS.values()))
        arguments["distance"] = getattr(_library().distances, distance)
    start = arguments.get("init_attack")
    if start is not None:
        spec = parse(str(start))
        full, _ = bind(spec.name, spec.settings)
        arguments["init_attack"] = _build(spec.name, full)
        if not isinstance(arguments["init_attack"], _library().attacks.base.MinimizationAttack):
            raise ValueError(
                f"{title}: init_attack={start!r} must be one that minimises a distance"
            )
    try:
        return _exported()[name](**arguments)
    except (TypeError, ValueError, AssertionError, KeyError) as error:
        raise ValueError(f"{title}: {error}") from error


def _call(name: str, settings: Mapping[str, Any], model: StandIn, batch: Batch) -> Tensor:
    """Run the library on one batch."""
    library, attack = _library(), _build(name, settings)
    name = type(attack).__name__
    aims = batch.targets
    if aims is not None and name in _IGNORE_TARGETS:
        raise UnsuitedError("it has no targeted mode; choose another attack")
    if name == "GenAttack" and aims is None:
        aims = draws.wrong_classes(batch.seeds, batch.labels, model.classes)
    images = batch.images.clamp(0, 1)
    bounded = library.PyTorchModel(model.eval(), bounds=(0, 1), device=images.device)
    result = torch.full_like(images, torch.nan)
    rows = torch.ones_like(batch.labels, dtype=torch.bool)
    more: dict[str, object] = {}
    if name in _NEEDS_START:
        criterion = _criterion(batch.labels, aims)
        starts, rows = _starts(attack, bounded, images, criterion, aims)
        if not rows.any():
            return result
        more["starting_points"] = starts[rows]
    if name == "DatasetAttack":
        attack.feed(bounded, images)
    if isinstance(attack, library.attacks.base.AttackWithDistance):
        # The library cannot clip to an L0 distance; what is over it is put back afterwards.
        budget = _budget(name, settings)
        more["epsilons"] = None if budget is None or budget.norm == "l0" else budget.eps
    originals = images[rows]
    criterion = _criterion(batch.labels[rows], None if aims is None else aims[rows])
    try:
        raw, clipped, _ = attack(bounded, originals, criterion, **more)
    except ValueError as error:
        if "unsupported criterion" in str(error):
            raise UnsuitedError("it has no targeted mode; choose another attack") from error
        raise
    if name in _BLACK_IS_NOTHING:
        nothing = (raw == 0).flatten(1).all(dim=1)
        clipped = torch.where(nothing[:, None, None, None], originals, clipped)
    result[rows] = clipped.detach().float()
    return result


def _criterion(labels: Tensor, targets: Tensor | None) -> Any:
    criteria = _library().criteria
    if targets is None:
        return criteria.Misclassification(labels)
    return criteria.TargetedMisclassification(targets)


def _starts(
    attack: Any, bounded: Any, images: Tensor, criterion: Any, targets: Tensor | None
) -> tuple[Tensor, Tensor]:
    """A misclassified image to start from for each image, and where one was found.

    It comes from ``init_attack``, by default the library's own. For a target also from the batch:
    any image that the model already takes for the target.
    """
    attacks = _library().attacks
    start = getattr(attack, "init_attack", None)
    if start is None:
        pointwise = type(attack).__name__ == "PointwiseAttack"
        default = attacks.SaltAndPepperNoiseAttack
        start = default() if pointwise else attacks.LinearSearchBlendedUniformNoiseAttack(steps=50)
    starts = start.run(bounded, images, criterion)
    found = cast(Tensor, criterion(starts, bounded(starts)))
    if targets is not None:
        predicted = bounded(images).argmax(dim=1)
        fitting = predicted[None, :] == targets[:, None]
        donors = images[fitting.int().argmax(dim=1)]
        donated = fitting.any(dim=1) & ~found
        starts = torch.where(donated[:, None, None, None], donors, starts)
        found = found | donated
    return starts, found
