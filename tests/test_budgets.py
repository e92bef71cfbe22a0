"""Which attacks have a budget, and which of them the worst case is over."""

import doctest

import pytest

from benchmarks import attack_cells, budgets
from benchmarks.budgets import has_budget, worst_case_attacks


@pytest.mark.parametrize("module", [budgets, attack_cells], ids=lambda module: module.__name__)
def test_examples_in_docstrings(module: object) -> None:
    result = doctest.testmod(module)  # type: ignore[arg-type]  # a module
    assert result.attempted
    assert not result.failed


@pytest.mark.parametrize(
    ("attack", "within"),
    [
        ("fgsm(eps=0.03137254901960784, loss='ce') target=3", True),
        ("torchattacks:PGD(eps=0.03, alpha=0.01, steps=10) seed=4", True),
        ("foolbox:DDNAttack(eps=None, steps=100)", False),
        ("sign-ascent(confidence=0.9, eps=0.1)", True),
        ("shrink(attack='sign-ascent(confidence=0.9)', steps=10)", False),
        ("what cannot be read((", False),
    ],
)
def test_a_budget_is_told_by_the_spec(attack: str, within: bool) -> None:
    assert has_budget(attack) is within


def test_the_worst_case_is_over_all_where_none_has_a_budget() -> None:
    assert worst_case_attacks(["a(eps=1)", "b"]).tolist() == [True, False]
    assert worst_case_attacks(["a", "b"]).tolist() == [True, True]
    assert worst_case_attacks([]).tolist() == []
