"""From what was asked for (specs, shortcuts, a target) to the attacks and probes of a run."""

from collections.abc import Sequence

import torch
from torch import nn

from attacks import probes
from attacks.spec import Bound, Spec, parse, resolve
from benchmarks.budgets import BUDGETS
from benchmarks.suite import TARGET_RULES, Condition, Probed
from workbench.errors import UsageError, suggestion
from workbench.option_texts import refuse_large

OTHER_NORMS = ("l0", "l1", "l2", "ead", "brendelbethge")  # where a budget above 1 is sound


def make_conditions(
    texts: Sequence[str],
    *,
    eps: float | None = None,
    steps: int | None = None,
    shrink: bool = False,
    target: str | int | None = None,
    seed: int = 0,
) -> tuple[Condition, ...]:
    """One condition for each spec, with the shortcuts worked in.

    Args:
        texts: specs as written, such as ``pgd(eps=8/255)``.
        eps: overrides the budget of every attack that has one.
        steps: overrides the steps of every attack that has them.
        shrink: move every success back toward its original while it stays one.
        target: see `benchmarks.suite.Condition`.
        seed: of every condition.

    Raises:
        ValueError: a spec or a value in it is wrong, a budget is above 1, or a shortcut fits no
            attack.
    """
    bound = [resolve(text) for text in texts]
    for name, value in (("eps", eps), ("steps", steps)):
        if value is not None:
            bound = _override(bound, name, value)
    for each in bound:
        _refuse_large_budgets(parse(each.spec), each.name)
        _refuse_wrong_settings(each)
    if shrink:
        bound = [each if each.name == "shrink" else _shrunk(each) for each in bound]
    return tuple(Condition(each.spec, each.attack, seed, target) for each in bound)


def make_probes(texts: Sequence[str], *, seed: int) -> tuple[Probed, ...]:
    """One probe for each spec, such as ``rotation(angle=30)``.

    Raises:
        ValueError: a spec or a value in it is wrong, or one is given twice.
    """
    bound = [probes.resolve(text) for text in texts]
    specs = [each.spec for each in bound]
    twice = next((spec for spec in specs if specs.count(spec) > 1), None)
    if twice is not None:
        raise UsageError(f"--probe {twice} is given twice.")
    return tuple(Probed(each.spec, each.probe, seed) for each in bound)


def parse_target(
    text: str | None, classes: int, class_names: Sequence[str] | None
) -> str | int | None:
    """A rule (``random``, ``least-likely``, ``next``), a class name, or its number.

    Raises:
        UsageError: it is none of these.
    """
    if text is None or text in TARGET_RULES:
        return text
    names = list(class_names or ())
    if text in names:
        return names.index(text)
    if text.isdecimal() and int(text) < classes:
        return int(text)
    if text.isdecimal():
        raise UsageError(f"--targeted {text}: the classes are numbered 0 to {classes - 1}.")
    hint = suggestion(text, [*TARGET_RULES, *names])
    raise UsageError(
        f"--targeted {text} is no class of this data.{hint} "
        f"Give {', '.join(TARGET_RULES)}, a class name or its number."
    )


def _override(bound: Sequence[Bound], setting: str, value: float) -> list[Bound]:
    """Bind the attacks that have the setting anew, with its value replaced."""
    changed = []
    for each in bound:
        spec = parse(each.spec)
        changed.append(
            resolve(str(Spec(spec.name, {**spec.settings, setting: value})))
            if setting in spec.settings
            else each
        )
    if all(one is other for one, other in zip(bound, changed, strict=True)):
        names = ", ".join(each.name for each in bound)
        raise UsageError(f"--{setting} fits none of the attacks asked for: {names}.")
    return changed


def _shrunk(bound: Bound) -> Bound:
    return resolve(str(Spec("shrink", {"attack": bound.spec})))


def _refuse_wrong_settings(bound: Bound) -> None:
    """Let an attack of our own check its settings on no images, before anything is loaded or made.

    Those of other libraries check theirs, if at all, while they run.
    """
    if ":" in bound.spec:
        return
    nothing = torch.zeros(0, 2, 1, 1)
    none = torch.zeros(0, dtype=torch.int64)
    model = nn.Flatten()
    model.register_buffer("std", torch.ones(2))  # as models that we load have it
    try:
        bound.attack(model, nothing, none, seeds=none)
    except ValueError as error:
        raise UsageError(f"{bound.name}: {error}") from error
    except Exception:  # noqa: BLE001  (an attack may need images; where it fails on them, a cell says)
        return


def _refuse_large_budgets(spec: Spec, where: str) -> None:
    """Refuse eps=8 in a spec, or in a spec within it, unless the norm allows so wide a ball."""
    norm = f"{spec.name} {spec.settings.get('norm', '')}".lower()
    for key, value in spec.settings.items():
        values = value if isinstance(value, list) else [value]
        for each in values:
            if isinstance(each, str) and "(" in each:
                _refuse_large_budgets(parse(each), where)
            elif (
                key in BUDGETS
                and isinstance(each, int | float)
                and not any(other in norm for other in OTHER_NORMS)
            ):
                refuse_large(each, f"{where}({key}={each:g})")
