"""What the adapters share: libraries that fail, overshoot or return nonsense."""

import math
import os
import subprocess
import sys

import pytest
import torch
from third_party_case import SmallNet, Threshold, examples, predictions
from torch import Tensor

from attacks import Ended, engine
from attacks.third_party import Batch, Budget, StandIn, third_party


def test_rows_that_cannot_be_used_are_put_back():
    def library(model: StandIn, batch: Batch) -> Tensor:
        images = torch.ones_like(batch.images)
        images[0, 0, 0, 0] = math.nan
        images[1, 0, 0, 0] = 1.5
        images[2, 0, 0, 0] = 1 + 1e-6  # a rounding error is clamped instead
        return images

    model = Threshold(0.5)
    images = torch.full((5, 1, 4, 4), 0.25)
    images[4] = 0.75
    result = third_party("library:X", library)(model, images, torch.zeros(5, dtype=torch.int64))
    expected = [Ended.OUT_OF_STEPS] * 2 + [Ended.REACHED] * 2 + [Ended.ALREADY_WRONG]
    assert result.ended.tolist() == expected
    assert torch.equal(result.images[[0, 1, 4]], images[[0, 1, 4]])
    assert (result.images[2:4] == 1).all()
    (caution,) = result.cautions
    assert caution.code == "third-party"
    assert "library:X gave no usable image for 2 of 4" in caution.message


def test_images_out_of_range_are_refused_before_a_library_clips_them():
    attack = third_party("library:X", lambda model, batch: batch.images)
    images = torch.full((2, 1, 4, 4), 128.0)
    with pytest.raises(ValueError, match=r"not \[128, 128\]; normalisation belongs"):
        attack(Threshold(0.5), images, torch.zeros(2, dtype=torch.int64))


def test_a_claimed_success_is_evaluated_again():
    model = Threshold(0.5)
    images = torch.full((2, 1, 4, 4), 0.25)
    attack = third_party("library:X", lambda model, batch: batch.images + 0.2)
    result = attack(model, images, torch.zeros(2, dtype=torch.int64))
    assert (result.ended == Ended.OUT_OF_STEPS).all()


def test_one_image_that_breaks_the_library_costs_no_other_its_result():
    def library(model: StandIn, batch: Batch) -> Tensor:
        if (batch.images == 0).any():
            raise KeyError("black pixel")
        return torch.ones_like(batch.images)

    images = torch.full((7, 1, 4, 4), 0.25)
    images[4, 0, 2, 2] = 0
    model, labels = Threshold(0.5), torch.zeros(7, dtype=torch.int64)
    result = third_party("library:X", library)(model, images, labels)
    assert result.ended.tolist() == [1, 1, 1, 1, 2, 1, 1]
    assert torch.equal(result.images[4], images[4])
    assert "1 of 7 (KeyError: 'black pixel')" in result.cautions[0].message


def test_a_library_that_fails_on_every_image_is_an_error():
    def library(model: StandIn, batch: Batch) -> Tensor:
        raise ZeroDivisionError("steps // 0")

    model, labels = Threshold(0.5), torch.zeros(3, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"^library:X failed: ZeroDivisionError: steps // 0$"):
        third_party("library:X", library)(model, torch.full((3, 1, 4, 4), 0.25), labels)


def test_a_full_memory_halves_the_batch_and_says_so():
    def library(model: StandIn, batch: Batch) -> Tensor:
        if len(batch) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return torch.ones_like(batch.images)

    model, labels = Threshold(0.5), torch.zeros(8, dtype=torch.int64)
    result = third_party("library:X", library)(model, torch.full((8, 1, 4, 4), 0.25), labels)
    assert (result.ended == Ended.REACHED).all()
    assert [caution.code for caution in result.cautions] == ["out-of-memory"]


@pytest.mark.parametrize(
    ("norm", "order", "eps"), [("linf", math.inf, 0.003), ("l2", 2.0, 0.3), ("l1", 1.0, 2.0)]
)
def test_what_goes_over_the_budget_is_moved_back_and_said(norm, order, eps):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(6, 3, 8, 8, generator=generator)
    noise = torch.rand(6, 3, 8, 8, generator=generator)
    attack = third_party("library:X", lambda model, batch: noise, budget=Budget(norm, eps))
    model = SmallNet()
    result = attack(model, images, predictions(model, images))
    shift = (result.images.double() - images.double()).flatten(1)
    lengths = torch.linalg.vector_norm(shift, ord=order, dim=1)
    assert (lengths <= eps * (1 + 1e-6)).all()
    assert (lengths >= eps * (1 - 1e-3)).all()
    assert "went over its budget by up to" in result.cautions[-1].message


def test_rounding_over_the_budget_is_mended_without_a_word():
    images = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0)) / 2 + 0.4
    attack = third_party(
        "library:X", lambda model, batch: batch.images + 0.01, budget=Budget("linf", 0.01)
    )
    assert ((images + 0.01).double() - images.double()).abs().max() > 0.01 * (1 + 1e-6)
    model = SmallNet()
    result = attack(model, images, predictions(model, images))
    assert (result.images.double() - images.double()).abs().max() <= 0.01 * (1 + 1e-6)
    assert not result.cautions


def test_changed_pixels_over_an_l0_budget_are_put_back():
    def library(model: StandIn, batch: Batch) -> Tensor:
        images = batch.images.clone()
        images[0].flatten()[:3] = 1.0
        images[1].flatten()[:2] = 1.0
        return images

    model = Threshold(0.3)
    images = torch.full((2, 1, 4, 4), 0.25)
    attack = third_party("library:X", library, budget=Budget("l0", 2))
    result = attack(model, images, torch.zeros(2, dtype=torch.int64))
    assert result.ended.tolist() == [Ended.OUT_OF_STEPS, Ended.REACHED]
    assert torch.equal(result.images[0], images[0])


def test_passes_are_counted_by_rows_and_shared_out_exactly():
    def library(model: StandIn, batch: Batch) -> Tensor:
        images = batch.images.clone().requires_grad_()
        model(images[:2]).sum().backward()  # two rows there and back
        logits = model(images)
        logits[0, 0].backward(retain_graph=True)  # the same graph twice
        logits[0, 1].backward()
        return batch.images

    model = SmallNet()
    images, labels = examples(model)
    model.rows = [0, 0]
    result = third_party("library:X", library)(model, images, labels)
    # 4 clean, 2 and 3 in the library, 3 when looking again; 2, 3 and 3 back.
    assert result.forwards.tolist() == [4, 4, 3, 1]
    assert result.backwards.tolist() == [3, 3, 2, 0]
    assert model.rows == [12 + 2 * 4, 8]


def test_the_library_cannot_touch_the_model():
    def library(model: StandIn, batch: Batch) -> Tensor:
        model.train().zero_grad()
        assert not list(model.children())
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(7)
        return batch.images

    model = SmallNet()
    images, labels = examples(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    third_party("library:X", library)(model, images, labels)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.linear.bias.grad is not None


def test_a_flat_loss_is_said():
    class Flat(SmallNet):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward((images > 0.5).float())

    def library(model: StandIn, batch: Batch) -> Tensor:
        images = batch.images.clone().requires_grad_()
        (model(images).sum() + 0 * images.sum()).backward()
        return batch.images

    model = Flat()
    images, labels = examples(model)
    # A comparison cuts the graph: no gradient arrives at all, and none is counted as zero.
    assert not third_party("library:X", library)(model, images, labels).cautions

    class Rounded(SmallNet):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images.round())

    model = Rounded()
    images, labels = examples(model)
    (caution,) = third_party("library:X", library)(model, images, labels).cautions
    assert caution.code == "zero-gradient"
    assert "of 3 of 4 images" in caution.message


def test_printing_stays_off_standard_output(capsys):
    def library(model: StandIn, batch: Batch) -> Tensor:
        sys.stdout.write("step 1")
        return batch.images

    model = SmallNet()
    third_party("library:X", library)(model, *examples(model))
    assert capsys.readouterr().out == ""


def test_the_engine_sets_the_batch_size():
    sizes = []

    def library(model: StandIn, batch: Batch) -> Tensor:
        sizes.append(len(batch))
        return batch.images

    model = SmallNet()
    with engine(batch_size=2):
        third_party("library:X", library)(model, *examples(model))
    assert sizes == [2, 1]


def test_gradients_are_on_even_where_the_caller_switched_them_off():
    def library(model: StandIn, batch: Batch) -> Tensor:
        images = batch.images.requires_grad_()
        (gradient,) = torch.autograd.grad(model(images).sum(), images)
        assert gradient.is_contiguous()
        return batch.images

    model = SmallNet()
    images, labels = examples(model)
    with torch.no_grad():
        result = third_party("library:X", library)(model, images, labels)
    with torch.inference_mode():
        third_party("library:X", library)(model, images.clone(), labels.clone())
    assert result.backwards.sum() == 3


def test_the_libraries_are_imported_only_when_asked_for():
    code = (
        "import sys, attacks, attacks.third_party;"
        "assert not {'torchattacks', 'foolbox'} & set(sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
