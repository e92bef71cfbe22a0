"""Saliency and integrated gradients on models whose answer is known in closed form."""

import doctest
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import benchmarks.attributions
from benchmarks.attributions import (
    CaptumMissingError,
    half_mass_share,
    integrated_gradients,
    saliency,
)

SHAPE = (2, 4, 4)


class Linear(nn.Module):
    """Logits that are sums of weights times values."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.weight = nn.Parameter(torch.randn(3, *SHAPE, generator=generator))

    def forward(self, images: Tensor) -> Tensor:
        return torch.einsum("nchw,kchw->nk", images, self.weight)


class Constant(nn.Module):
    """Says the same of everything."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.arange(3.0))

    def forward(self, images: Tensor) -> Tensor:
        return self.bias.requires_grad_().expand(len(images), -1)


class Quadratic(nn.Module):
    """One logit, the sum of squares: integrated gradients from b are x² − b² exactly."""

    def forward(self, images: Tensor) -> Tensor:
        return images.square().flatten(1).sum(dim=1, keepdim=True)


def images(count: int = 3) -> Tensor:
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(1))


def test_the_saliency_of_a_linear_model_is_the_size_of_its_weights() -> None:
    model, classes = Linear(), torch.tensor([2, 0, 1])
    found = saliency(model, images(), classes, batch_size=2)
    torch.testing.assert_close(found, model.weight.detach()[classes].abs().amax(dim=1))


def test_the_integrated_gradients_of_a_linear_model_are_its_weights_times_the_change() -> None:
    model, classes = Linear(), torch.tensor([2, 0, 1])
    base = torch.full(SHAPE, 0.3)
    found = integrated_gradients(model, images(), classes, baseline=base, steps=2, batch_size=2)
    exact = model.weight.detach()[classes] * (images() - base)
    torch.testing.assert_close(found.attributions, exact)
    torch.testing.assert_close(found.difference, exact.flatten(1).sum(dim=1))
    torch.testing.assert_close(found.gap, torch.zeros(3), atol=1e-5, rtol=0)


def test_black_is_the_baseline_unless_another_is_given() -> None:
    found = integrated_gradients(Quadratic(), images(), torch.zeros(3, dtype=torch.int64), steps=5)
    torch.testing.assert_close(found.attributions, images().square())


def test_the_gap_is_what_the_quadrature_misses() -> None:
    # One point of Gauss–Legendre is the middle: the gradient of x⁴ there gives 4 (1/2)³ = 1/2.
    class Fourth(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.flatten(1).pow(4).sum(dim=1, keepdim=True)

    image = torch.ones(1, 1, 1, 1)
    found = integrated_gradients(Fourth(), image, torch.zeros(1, dtype=torch.int64), steps=1)
    assert found.gap.item() == pytest.approx(-0.5)
    assert found.relative_gap.item() == pytest.approx(0.5)


def test_the_model_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 2))
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    classes = torch.zeros(3, dtype=torch.int64)
    saliency(model, images(), classes)
    integrated_gradients(model, images(), classes, steps=2)
    assert all(module.training for module in model.modules())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_half_of_a_map_is_counted_from_its_strongest_pixels() -> None:
    maps = torch.tensor([[[6.0, 1.0], [1.0, 2.0]], [[2.0, 2.0], [3.0, 3.0]], [[0.0, 0], [0, 0]]])
    np.testing.assert_array_equal(half_mass_share(maps), [0.25, 0.5, np.nan])


def test_without_captum_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(CaptumMissingError) as caught:
        integrated_gradients(Quadratic(), images(), torch.zeros(3, dtype=torch.int64))
    assert "pip install 'adversarial-workbench[explain]'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="steps=0"):
        integrated_gradients(Quadratic(), images(), torch.zeros(3, dtype=torch.int64), steps=0)


def test_examples_in_docstrings() -> None:
    result = doctest.testmod(benchmarks.attributions)
    assert result.attempted
    assert not result.failed


class Blind(nn.Module):
    """Hides its gradient, as some exported models do."""

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)


@pytest.mark.parametrize("method", [saliency, integrated_gradients])
@pytest.mark.parametrize("model", [Blind(), Constant()])
def test_a_model_without_a_gradient_is_refused_in_words(
    method: Callable[..., object], model: nn.Module
) -> None:
    with pytest.raises(ValueError, match="no gradient of the logits reaches the images"):
        method(model, images(), torch.tensor([2, 0, 1]))


def test_where_there_is_nothing_to_explain_nothing_is_missing() -> None:
    nothing = integrated_gradients(Quadratic(), 0 * images(), torch.zeros(3, dtype=torch.int64))
    assert nothing.relative_gap.tolist() == [0, 0, 0]
