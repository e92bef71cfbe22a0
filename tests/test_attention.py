"""Grad-CAM and its drift, against closed forms and second implementations."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from benchmarks.attention import (
    centre_shift,
    drift,
    grad_cam,
    kept_mass,
    logits_and_maps,
    rank_correlation,
)
from benchmarks.evaluation import float32_logits
from benchmarks.layers import spatial_layer


class Pooled(nn.Module):
    """Three channels of the image's own mean colours, pooled, then a linear map to two classes."""

    def __init__(self) -> None:
        super().__init__()
        self.colours = nn.Conv2d(3, 3, 2, stride=2, bias=False)
        self.colours.weight.data = torch.eye(3)[:, :, None, None].expand(3, 3, 2, 2) / 4
        self.head = nn.Linear(3, 2)
        self.head.weight.data = torch.tensor([[2.0, -1.0, 0.5], [-3.0, 0.0, 1.0]])

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.colours(images).mean(dim=(2, 3)))


class Quadrant(nn.Module):
    """Reads the brightness of the top left quadrant."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.Conv2d(1, 2, 1, bias=False)
        self.cells.weight.data = torch.tensor([1.0, -1.0])[:, None, None, None]

    def forward(self, images: Tensor) -> Tensor:
        maps = self.cells(images)
        height, width = maps.shape[2:]
        return torch.relu(maps[:, :, : height // 2, : width // 2]).sum(dim=(2, 3))


def convolutional() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 5),
    )


def maps_of(*rows: list[list[float]]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float32)


def test_a_linear_model_over_pooled_channels_has_its_weights_as_its_map():
    model, images = Pooled(), torch.rand(4, 3, 6, 8)
    classes = torch.tensor([0, 1, 0, 1])
    cells = nn.functional.avg_pool2d(images, 2)
    weights = model.head.weight.detach()[classes] / (3 * 4)  # d logit / d cell, averaged over cells
    expected = (weights[:, :, None, None] * cells).sum(dim=1).clamp_min(0)
    found = grad_cam(model, images, classes, spatial_layer(model, images))
    torch.testing.assert_close(found, expected)


def test_a_model_that_reads_one_quadrant_is_asked_for_by_its_channel():
    model = Quadrant()
    images = torch.zeros(1, 1, 8, 8)
    images[:, :, :4, :4] = 1
    found = grad_cam(model, images, torch.tensor([0]), spatial_layer(model, images))
    assert found[0, :4, :4].min() > 0
    assert found[0].sum() == found[0, :4, :4].sum()


@pytest.mark.parametrize("layer", ["4", "2", "0"])
def test_captum_finds_the_same_maps(layer):
    attr = pytest.importorskip("captum.attr")
    model, images, classes = convolutional().eval(), torch.rand(6, 3, 12, 12), torch.arange(6) % 5
    found = grad_cam(model, images, classes, spatial_layer(model, images, layer))
    other = convolutional().eval()  # in-place layers would change what captum has recorded
    for module in other.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    asked = attr.LayerGradCam(other, other.get_submodule(layer))
    expected = asked.attribute(images, target=classes, relu_attributions=True)
    torch.testing.assert_close(found, expected[:, 0].detach(), rtol=1e-4, atol=1e-7)


def test_the_logits_are_those_of_the_evaluation_and_the_model_is_left_as_it_was():
    model, images = convolutional().train(), torch.rand(70, 3, 12, 12)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    layer = spatial_layer(model, images[:2])
    logits, maps = logits_and_maps(model, images, torch.zeros(70, dtype=torch.long), layer, 32)
    torch.testing.assert_close(logits, float32_logits(model, images, 32), rtol=0, atol=0)
    assert maps.shape == (70, 6, 6)
    assert maps.min() >= 0
    assert not maps.requires_grad
    assert model.training
    assert all(module.training for module in model.modules())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_a_layer_that_is_not_asked_and_a_class_that_is_not_there_are_refused():
    model, images = convolutional(), torch.rand(2, 3, 12, 12)
    layer = spatial_layer(model, images)
    with pytest.raises(ValueError, match="label 5 is not one of the model's 5 classes"):
        grad_cam(model, images, torch.tensor([0, 5]), layer)
    with torch.no_grad():  # outside: it does not matter
        grad_cam(model, images, torch.tensor([0, 4]), layer)

    class Detached(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Conv2d(3, 2, 1)

        def forward(self, images: Tensor) -> Tensor:
            return self.body(images).detach().mean(dim=(2, 3))

    cut = Detached()
    with pytest.raises(ValueError, match="no gradient of the logits reaches layer body"):
        grad_cam(cut, images, torch.tensor([0, 1]), spatial_layer(cut, images))


# ── drift ──────────────────────────────────────────────────────────────────────────────────────


def test_equal_maps_have_not_moved():
    maps = torch.rand(5, 7, 4, generator=torch.Generator().manual_seed(0))
    found = drift(maps, 4 * maps)
    assert found["defined"].all()
    torch.testing.assert_close(found["kept_mass"], torch.ones(5, dtype=torch.float64))
    torch.testing.assert_close(found["rank_correlation"], torch.ones(5, dtype=torch.float64))
    assert found["centre_shift"].max() < 1e-12


def test_the_kept_mass_is_the_overlap_of_shares():
    clean = maps_of([[1, 1], [0, 0]], [[1, 0], [0, 0]], [[3, 1], [0, 0]])
    other = maps_of([[0, 0], [2, 2]], [[2, 2], [2, 2]], [[0, 2], [2, 0]])
    assert kept_mass(clean, other).tolist() == [0, 0.25, 0.25]


@settings(deadline=None)
@given(st.integers(0, 4), st.integers(0, 6), st.integers(0, 2**31))
def test_a_map_that_is_moved_by_cells_moves_its_centre_by_as_many(down, right, seed):
    blob = torch.rand(3, 4, generator=torch.Generator().manual_seed(seed)) + 0.01
    clean, other = torch.zeros(2, 1, 8, 10)
    clean[0, :3, :4] = blob
    other[0, down : down + 3, right : right + 4] = blob
    expected = np.hypot(down / 8, right / 10)
    assert float(centre_shift(clean, other)) == pytest.approx(expected, abs=1e-9)


def test_from_corner_to_corner_is_the_diagonal_between_cells():
    clean, other = torch.zeros(2, 1, 10, 10)
    clean[0, 0, 0] = other[0, 9, 9] = 1
    assert float(centre_shift(clean, other)) == pytest.approx(0.9 * 2**0.5)


@settings(deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 9))
def test_the_rank_correlation_is_scipys(seed, levels):
    stats = pytest.importorskip("scipy.stats")
    generator = torch.Generator().manual_seed(seed)
    one, two = torch.randint(levels, (2, 4, 3, 5), generator=generator).float()  # many ties
    found = rank_correlation(one, two)
    for mine, a, b in zip(found, one.flatten(1).numpy(), two.flatten(1).numpy(), strict=True):
        if np.ptp(a) and np.ptp(b):
            assert float(mine) == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-12)
        else:
            assert torch.isnan(mine)


def test_what_has_no_mass_is_undefined():
    empty, full, flat = torch.zeros(1, 2, 2), torch.rand(1, 2, 2), torch.ones(1, 2, 2)
    for pair in ((empty, full), (full, empty), (empty, empty)):
        found = drift(*pair)
        assert not found.pop("defined").any()
        assert all(torch.isnan(values).all() for values in found.values())
    found = drift(full, flat)  # all cells of one are equal: it has mass, but no order
    assert found["defined"].all()
    assert torch.isfinite(found["kept_mass"]).all()
    assert torch.isnan(found["rank_correlation"]).all()
