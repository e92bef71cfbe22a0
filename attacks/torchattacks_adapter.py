"""Every attack of torchattacks (Kim 2020, arXiv:2010.01950) under one adapter, with its own names.

What it undoes, each shown by a test: the library puts a frozen BatchNorm back into training mode,
leaves the model in another mode after an exception, reseeds or reads the global generators and the
clock; its CW, EAD and UPGD losses take a masked-out logit for 0 and are wrong for negative logits;
JSMA and the n_classes settings expect ten classes, and three attacks three channels.
"""

import functools
import importlib
import inspect
import re
import warnings
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, cast

import torch
from torch import Tensor, nn

from attacks.attacked import Attack
from attacks.norms import check_eps
from attacks.spec import parse, unknown
from attacks.third_party import Batch, Budget, StandIn, UnsuitedError, check_kind, third_party

_EXCLUDED = {
    "LGV": "it trains copies of the model on a data loader, and an attack is given images only",
}
# What the library prints or takes otherwise.
_NOT_SETTINGS = {"self", "model", "verbose"}
# None: from the run's seeds, and from the model. The library would use 0 or the clock, and 10.
_OURS = {"seed": None, "n_classes": None}
# Settings without a default in the library.
_FILLED: dict[str, dict[str, object]] = {"MultiAttack": {"attacks": ["FGSM", "PGD"]}}
# Their losses multiply the logits with a mask, so that a masked logit counts as 0.
_NEEDS_POSITIVE = {"CW", "EADL1", "EADEN", "UPGD"}
# The targeted DLR loss sorts out the four largest logits.
_NEEDS_FOUR_CLASSES = {"APGDT", "AutoAttack"}
# They go on until the image is misclassified, however far that is.
_UNBOUNDED = {"CW", "DeepFool", "EADEN", "EADL1", "SparseFool"}
# FAB takes the target for the label, finds it "already wrong" and moves nothing.
_BROKEN_TARGETED_MODE = {"FAB"}
# Their smoothing kernels are made for three channels.
_NEEDS_COLOUR = {"PIFGSM", "PIFGSMPP", "TIFGSM"}
# JSMA holds several matrices of features × features: 0.6 GB each at this size (3 × 64 × 64).
_JSMA_FEATURES = 12_288
_NORMS = {"Linf": "linf", "L2": "l2", "L1": "l1"}
_SUMMARIES = {
    "VANILA": "Return the images as they are.",
    "GN": "Add Gaussian noise.",
    "EOTPGD": "PGD on gradients averaged over repeated passes, for randomised models (Linf)",
    "FFGSM": "FGSM from a random start, of 'Fast is better than free' (Linf)",
    "UPGD": "PGD with a choice of loss, momentum and repeated passes (Linf)",
    "APGDT": "APGD towards every wrong class in turn, of AutoAttack (Linf, L2)",
    "PGDRS": "PGD against randomised smoothing (Linf)",
    "PGDRSL2": "PGD against randomised smoothing (L2)",
    "PIFGSMPP": "Patch-wise++ iterative FGSM, for targeted attacks that transfer (Linf)",
    "OnePixel": "Change one or a few pixels, found by differential evolution (L0)",
    "Pixle": "Rearrange pixels, without gradients (L0)",
    "DeepFool": "Step over the nearest boundary of the linearised model (L2)",
    "SparseFool": "DeepFool with few changed pixels (L0)",
    "MultiAttack": "Run several attacks one after the other, each on what the last left right.",
}


def names() -> dict[str, str]:
    """Every class that fits an image classifier, with a line about it."""
    library = _library()
    return {name: _summary(name, getattr(library, name)) for name in _exported(library)}


def excluded() -> dict[str, str]:
    """The classes of the library that cannot be an attack here, and why."""
    return dict(_EXCLUDED)


def bind(name: str, settings: Mapping[str, object]) -> tuple[dict[str, object], Attack]:
    """The settings with every default filled in, and the attack.

    ``seed=None`` draws from the images' seeds; ``n_classes=None`` asks the model.

    Raises:
        ValueError: for an unknown name or setting, or a value that the library refuses.
    """
    library = _library()
    title = f"torchattacks:{name}"
    if name in _EXCLUDED:
        raise ValueError(f"{title} is not offered: {_EXCLUDED[name]}")
    if name not in _exported(library):
        raise ValueError(unknown("torchattacks attack", name, _exported(library)))
    defaults = _defaults(name, getattr(library, name))
    for key, value in settings.items():
        if key not in defaults:
            raise ValueError(unknown(f"setting of {title}", key, defaults))
        check_kind(title, key, value, defaults[key])
    full = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in (defaults | dict(settings)).items()
    }
    if name == "MultiAttack":
        full["attacks"] = _resolved_members(full["attacks"])
    budget = _budget(name, getattr(library, name), full)
    _build(name, full, StandIn(_ten_zeros, torch.device("cpu"), positive=False), 10, 0)
    call = functools.partial(_call, name, full)
    attack = third_party(
        title,
        call,
        budget=budget,
        unbounded=name in _UNBOUNDED,
        positive=name in _NEEDS_POSITIVE,
    )
    return full, attack


def _library() -> ModuleType:
    with warnings.catch_warnings():
        # It ties requests to an old version, whose import complains about newer companions.
        warnings.simplefilter("ignore")
        return importlib.import_module("torchattacks")


def _exported(library: ModuleType) -> list[str]:
    """The names of the attacks, by looking: another version may have others."""
    base = library.attack.Attack
    return [
        name
        for name, value in vars(library).items()
        if inspect.isclass(value) and issubclass(value, base) and value is not base
        if name not in _EXCLUDED
    ]


def _summary(name: str, attack: Callable[..., object]) -> str:
    if name in _SUMMARIES:
        return _SUMMARIES[name]
    text = " ".join((inspect.getdoc(attack) or "").split())
    title = re.split(r"\s*\[?https?:|\s*Distance Measure|\s*Arguments:", text)[0].strip()
    return f"{title} ({_measures(attack)})" if _measures(attack) else title


def _measures(attack: Callable[..., object]) -> str:
    """The norms that an attack's documentation names, such as ``Linf, L2``."""
    match = re.search(r"Distance Measure\s*:\s*(.*)", inspect.getdoc(attack) or "")
    return match.group(1).strip() if match else ""


def _defaults(name: str, attack: Callable[..., object]) -> dict[str, object]:
    parameters = inspect.signature(attack).parameters.items()
    written = {key: p.default for key, p in parameters if key not in _NOT_SETTINGS}
    return (
        written
        | {key: value for key, value in _OURS.items() if key in written}
        | _FILLED.get(name, {})
    )


def _resolved_members(members: Any) -> list[str]:
    """The members of a MultiAttack, each as a spec with every default filled in."""
    if not isinstance(members, list) or len(members) < 2:
        raise ValueError("torchattacks:MultiAttack: attacks must be a list of at least two attacks")
    resolved = []
    for member in members:
        spec = parse(str(member))
        full, _ = bind(spec.name, spec.settings)
        resolved.append(str(type(spec)(spec.name, full)))
    return resolved


def _budget(name: str, attack: Callable[..., object], settings: Mapping[str, Any]) -> Budget | None:
    """What the result must keep to, or None where the attack has no eps."""
    if name == "MultiAttack":
        return _shared_budget(settings["attacks"])
    eps = settings.get("eps", settings.get("max_epsilon"))
    if eps is None:
        return None
    norm = settings.get("norm", _measures(attack).split(",")[0])
    if norm not in _NORMS:
        raise ValueError(f"torchattacks:{name}: norm={norm!r} must be one of {', '.join(_NORMS)}")
    check_eps(eps, _NORMS[norm])
    return Budget(_NORMS[norm], eps)


def _shared_budget(members: list[str]) -> Budget | None:
    """The largest budget of all members, if they agree on the norm."""
    budgets = []
    for member in members:
        spec = parse(member)
        budgets.append(_budget(spec.name, getattr(_library(), spec.name), spec.settings))
    norms = {budget.norm for budget in budgets if budget is not None}
    if len(norms) != 1 or None in budgets:
        return None
    return max((b for b in budgets if b is not None), key=lambda budget: budget.eps)


def _build(
    name: str, settings: Mapping[str, Any], model: nn.Module, classes: int, seed: int
) -> Any:
    """The library's attack on a stand-in."""
    arguments = {
        key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()
    }
    if name == "MultiAttack":
        members = []
        for member in settings["attacks"]:
            spec = parse(member)
            members.append(_build(spec.name, spec.settings, model, classes, seed))
        return _library().MultiAttack(members)
    if arguments.get("seed", 0) is None:
        arguments["seed"] = seed
    if arguments.get("n_classes", 0) is None:
        arguments["n_classes"] = classes
    try:
        return getattr(_library(), name)(model, **arguments)
    except (TypeError, ValueError, AssertionError, KeyError) as error:
        raise ValueError(f"torchattacks:{name}: {error}") from error


def _call(name: str, settings: Mapping[str, object], model: StandIn, batch: Batch) -> Tensor:
    """Run the library on one batch."""
    classes = model.classes
    if name in _NEEDS_FOUR_CLASSES and settings.get("version") != "rand" and classes < 4:
        raise UnsuitedError(f"its targeted DLR loss needs 4 classes, the model has {classes}")
    features = batch.images[0].numel()
    if name == "JSMA" and features > _JSMA_FEATURES:
        raise UnsuitedError(f"it needs features² of memory; {features} are over {_JSMA_FEATURES}")
    # The generator was seeded from the images' seeds.
    seed = int(torch.randint(2**31, ()))
    grey = name in _NEEDS_COLOUR and batch.images.shape[1] == 1
    images = batch.images.expand(-1, 3, -1, -1) if grey else batch.images
    seen = _Grey(model) if grey else model
    attack = _build(name, settings, seen.eval(), classes, seed)
    aims = batch.targets
    if name == "JSMA" and aims is None:
        aims = (batch.labels + 1) % classes  # the library's own choice, for any number of classes
    if aims is None:
        aims = batch.labels
    elif "targeted" in attack.supported_mode and name not in _BROKEN_TARGETED_MODE:
        if hasattr(attack, "set_mode_targeted_by_label"):
            attack.set_mode_targeted_by_label(quiet=True)
        else:  # before 3.4
            attack.set_mode_targeted_by_function(lambda images, labels: labels)
    else:
        raise UnsuitedError("it has no targeted mode that works; choose another attack")
    found = cast(Tensor, attack(images.clone(), aims))
    return found[:, :1] if grey else found


class _Grey(nn.Module):
    """A stand-in for grey images, given with three equal channels; these stay equal."""

    def __init__(self, model: StandIn) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return cast(Tensor, self.model(images.mean(dim=1, keepdim=True)))


def _ten_zeros(images: Tensor) -> Tensor:
    return images.new_zeros(len(images), 10)
