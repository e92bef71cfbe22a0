"""What a dry run says that a run would cost, against counting by hand."""

import pytest
import torch
from measuring_case import entry, examples

from attacks.spec import resolve
from benchmarks import Condition, plan
from workbench.estimating import estimate


def condition(text: str, target: str | None = None) -> Condition:
    bound = resolve(text)
    return Condition(bound.spec, bound.attack, target=target)


def broken(*_: object, **__: object) -> None:
    raise ValueError("this attack wants another network")


def numbers(*conditions: Condition, images: int = 20) -> tuple[int, int]:
    found = estimate(plan([entry()], conditions, examples(images)))
    assert not found.uncounted
    return found.forwards, found.backwards


@pytest.mark.parametrize("steps", [1, 4])
def test_all_steps_are_counted_though_no_image_withstands_them(steps: int) -> None:
    clean, evaluated = 1, 2
    forwards, backwards = numbers(condition(f"pgd(steps={steps})"))
    assert backwards == 20 * steps
    assert forwards >= 20 * (clean + steps + evaluated)
    assert numbers(condition(f"pgd(steps={steps})", "next")) == (forwards, backwards)


def test_an_attack_that_needs_targets_is_counted_with_them() -> None:
    def needs(model, images, labels, *, targets=None, seeds=None):  # type: ignore[no-untyped-def]
        if targets is None or bool((targets == labels).any()):
            raise ValueError("it needs wrong classes as targets")
        return resolve("fgsm").attack(model, images, labels, targets=targets, seeds=seeds)

    assert numbers(Condition("needs", needs, target="random"))[1] == 20


def test_what_could_not_be_counted_is_told_and_not_taken_as_nothing() -> None:
    todo = plan([entry()], [condition("fgsm"), Condition("broken", broken)], examples(20))
    found = estimate(todo)
    assert found.uncounted == ("broken",)
    assert "not in these numbers: the passes of broken" in list(found.lines())
    assert found.document()["uncounted"] == ("broken",)


def test_only_cells_that_are_left_are_counted() -> None:
    todo = plan([entry()], [condition("fgsm")], examples(20), shard_size=5)
    clean = [cell for cell in todo.cells if cell.kind == "clean"]
    found = estimate(todo, clean[1:])
    assert (found.forwards, found.backwards) == (15, 0)
    assert estimate(todo, []).seconds == 0
    assert torch.is_grad_enabled()
