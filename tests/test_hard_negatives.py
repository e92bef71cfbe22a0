"""Hard negatives: which images are exchanged or fooled, for what, and what is left alone."""

import copy

import pytest
import torch
from attack_case import linear_case
from torch import Tensor, nn
from torch.nn import functional as F

from attacks.draws import image_seeds
from defenses import DEFENSES, FoolingImages, resolve
from defenses.materials import material_kinds

hard_negatives = DEFENSES["hard-negatives"]


def seeds(count: int, seed: int = 0) -> Tensor:
    return image_seeds(seed, torch.arange(count))


def pool(per_strength: int = 4) -> FoolingImages:
    """Grey images that say which they are: row r is (r + 100) / 255 all over, of class r % 3."""
    rows = torch.arange(3 * per_strength)
    images = (rows + 100).to(torch.uint8)[:, None, None, None].expand(-1, 1, 6, 6)
    strengths = torch.tensor([5.0, 20.0, 100.0]).repeat_interleave(per_strength).double()
    return FoolingImages("0" * 64, images, rows % 3, strengths)


def exchanged(count: int, **settings: object) -> tuple[Tensor, Tensor]:
    """Which row of the pool each image became (-1: none), and the labels; clean labels are 7."""
    images, labels = torch.zeros(count, 1, 6, 6), torch.full((count,), 7)
    moved, labels = hard_negatives(pool(), **settings).transform(images, labels, seeds(count))
    rows = (moved[:, 0, 0, 0] * 255).round().long()
    assert torch.equal(moved, (rows / 255)[:, None, None, None].expand_as(moved))
    assert float(images.max()) == 0
    return torch.where(rows == 0, -1, rows - 100), labels


def test_labels_come_with_the_images_and_the_others_keep_theirs():
    rows, labels = exchanged(2000)
    assert torch.equal(labels, torch.where(rows < 0, 7, rows % 3))


@pytest.mark.parametrize(
    ("settings", "share", "of_pool"),
    [
        ({}, 3 / 4, range(12)),
        ({"strengths": 20}, 1 / 2, range(4, 8)),
        ({"strengths": [100, 5]}, 2 / 3, [*range(4), *range(8, 12)]),
        ({"share": 0.3}, 0.3, range(12)),
        ({"clean": False}, 1, range(12)),
        ({"clean": False, "strengths": [5.0]}, 1, range(4)),
    ],
)
def test_the_share_is_that_of_the_union_and_rows_are_drawn_evenly(settings, share, of_pool):
    count = 6000
    rows, _ = exchanged(count, **settings)
    drawn = torch.bincount(rows[rows >= 0], minlength=12)
    assert set(drawn.nonzero().flatten().tolist()) == set(of_pool)
    # five standard deviations of a binomial
    assert abs(int(drawn.sum()) - share * count) <= 5 * (count * share * (1 - share)) ** 0.5
    expected = int(drawn.sum()) / len(of_pool)
    # chi-square with at most 11 degrees of freedom exceeds 31.3 in one of a thousand fair draws
    assert float(((drawn[list(of_pool)] - expected) ** 2 / expected).sum()) < 31.3


def test_an_image_is_exchanged_alike_in_any_batch():
    images, labels, own = torch.zeros(20, 1, 6, 6), torch.arange(20), seeds(20)
    transform = hard_negatives(pool()).transform
    whole = transform(images, labels, own)
    one_by_one = [
        transform(images[i : i + 1], labels[i : i + 1], own[i : i + 1]) for i in range(20)
    ]
    assert torch.equal(whole[0], torch.cat([x for x, _ in one_by_one]))
    assert torch.equal(whole[1], torch.cat([y for _, y in one_by_one]))


class Watched(nn.Module):
    """Remembers the images that another model was trained on."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.std = (0.5,)
        self.trained_on: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        if self.training and torch.is_grad_enabled():
            self.trained_on.append(images.detach().clone())
        return self.network(images)


@pytest.mark.parametrize(
    ("settings", "lengths"),
    [
        ({"step_size": 0.05}, [0.05]),
        ({"step_size": [0.05, 0.02]}, [0.02, 0.05]),
        # std times strength times the root of 36 values over 150528
        ({"strengths": 5}, [0.5 * 5 * (36 / 150528) ** 0.5]),
    ],
)
def test_fooled_anew_an_image_goes_one_step_along_the_targets_gradient(settings, lengths):
    linear, images, labels, _ = linear_case(400)
    model = Watched(linear).train()
    before = copy.deepcopy(linear.state_dict())
    loss, logits = hard_negatives(steps=1, **settings).loss(model, images, labels, seeds(400))
    (moved,) = model.trained_on
    assert model.training
    for name, value in linear.state_dict().items():
        assert torch.equal(value, before[name])
        assert linear.get_parameter(name).grad is None
    changed = (moved - images).flatten(1)
    lengths_found = changed.norm(dim=1)
    fooled = lengths_found > 0
    share = len(lengths) / (len(lengths) + 1)
    assert abs(int(fooled.sum()) - 400 * share) <= 5 * (400 * share * (1 - share)) ** 0.5
    # The other class's score grows along ±w: label 1 is led to class 0, against the weights.
    direction = linear.weight.flatten() / linear.weight.norm() * (1 - 2 * labels[:, None])
    along = (changed * direction).sum(1)
    torch.testing.assert_close(along[fooled], lengths_found[fooled], rtol=1e-4, atol=1e-6)
    nearest = (along[fooled, None].detach() - torch.tensor(lengths)).abs()
    assert float(nearest.min(1).values.max()) < 1e-5
    assert set(nearest.argmin(1).tolist()) == set(range(len(lengths)))
    torch.testing.assert_close(loss, F.cross_entropy(linear(moved), labels))
    torch.testing.assert_close(logits, linear(moved))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"strengths": 7}, "no strength 7 in the source, only 5, 20, 100"),
        ({"steps": 3}, "steps and step_size are for fooling anew"),
        ({"step_size": 1.0}, "steps and step_size are for fooling anew"),
        ({"share": 0}, "share=0 must be above 0"),
        ({"share": 1.5}, "share=1.5 must be above 0"),
        ({"share": 0.5, "clean": False}, "share=0.5 leaves clean images"),
        ({"strengths": []}, r"strengths=\[\] must be above 0"),
        ({"strengths": "many"}, "strengths=many must be above 0"),
    ],
)
def test_settings_that_cannot_be(settings, told):
    with pytest.raises(ValueError, match=told):
        hard_negatives(pool(), **settings)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"steps": 0}, "steps=0 must be a whole number"),
        ({"strengths": 5, "step_size": 1}, "strengths or step_size, one of them"),
        ({"step_size": -1}, "step_size=-1 must be above 0"),
    ],
)
def test_settings_of_fooling_anew_that_cannot_be(settings, told):
    with pytest.raises(ValueError, match=told):
        hard_negatives(**settings)


def test_a_spec_opens_its_source_by_name_and_keeps_its_digest():
    asked = []

    def open_material(kind, name):
        asked.append((kind, name))
        return pool()

    bound = resolve("hard-negatives(source='some/file.h5', strengths=20)", open_material)
    assert asked == [(FoolingImages, "some/file.h5")]
    assert bound.materials == {"some/file.h5": "0" * 64}
    assert "source='some/file.h5'" in bound.spec
    assert material_kinds(hard_negatives) == {"source": FoolingImages}
    assert material_kinds(DEFENSES["noisy"]) == {}
    with pytest.raises(ValueError, match=r"nothing here can open source='some/file\.h5'"):
        resolve("hard-negatives(source='some/file.h5')")
    with pytest.raises(ValueError, match="source=5 must be a file in quotes"):
        resolve("hard-negatives(source=5)", open_material)
    with pytest.raises(ValueError, match="text goes in quotes"):
        resolve("hard-negatives(source=some/file.h5)", open_material)
