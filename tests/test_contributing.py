"""The worked example in CONTRIBUTING.md: it works, and keeps every promise an attack makes."""

import re
import sys
import types
from pathlib import Path

import pytest
import test_guarantees as guarantees
import torch
import torchattacks
from attack_case import predicted, random_images, small_net

from attacks import ATTACKS, Attack
from attacks.spec import resolve

PAGE = Path(__file__).resolve().parent.parent / "CONTRIBUTING.md"


@pytest.fixture
def mifgsm(monkeypatch: pytest.MonkeyPatch) -> Attack:
    """The example, imported as the file that the page says it is, with its one line in place."""
    code = re.search(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert code is not None
    module = types.ModuleType("attacks.mifgsm")
    exec(compile(code[1], "CONTRIBUTING.md", "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(ATTACKS, "mifgsm", module.mifgsm)
    return module.mifgsm  # type: ignore[no-any-return]  # a module made by hand has no types


@pytest.mark.parametrize("steps", [1, 7])
def test_it_moves_images_as_torchattacks_does(mifgsm: Attack, steps: int) -> None:
    model, images = small_net().eval(), random_images()
    labels = predicted(model, images)
    settings = {"eps": 6 / 255, "steps": steps}
    theirs = torchattacks.MIFGSM(model, alpha=2 / 255, decay=0.8, **settings)(images, labels)
    ours = mifgsm(model, images, labels, step_size=2 / 255, decay=0.8, **settings)
    still_going = ours.steps == steps  # an image of ours stops at its first success
    assert still_going.any()
    torch.testing.assert_close(ours.images[still_going], theirs[still_going], rtol=0, atol=2e-6)


def test_its_spec_is_read_and_completed(mifgsm: Attack) -> None:
    assert resolve("mifgsm(eps=4/255, decay=0.9)").spec == (
        f"mifgsm(eps={4 / 255!r}, step_size={2 / 255!r}, steps=10, decay=0.9)"
    )


def test_it_gives_every_guarantee(mifgsm: Attack) -> None:
    guarantees.test_shape_type_and_range("mifgsm")
    guarantees.test_budget_holds("mifgsm", {"eps": 3 / 255}, torch.inf, 3 / 255)
    guarantees.test_no_side_effects("mifgsm", False)
    guarantees.test_no_side_effects("mifgsm", True)
    guarantees.test_results_do_not_depend_on_the_batch("mifgsm")
    guarantees.test_same_seed_same_result("mifgsm")
    guarantees.test_passes_are_what_is_reported("mifgsm")
    guarantees.test_wrong_images_are_left_alone("mifgsm")
    guarantees.test_targets_are_reached("mifgsm")
