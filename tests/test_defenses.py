"""What every defense keeps to, and how several become one."""

import functools

import numpy as np
import pytest
import torch
from stylizer_case import paintings, stylizer
from torch import nn

from attacks.draws import image_seeds
from defenses import (
    DEFENSES,
    Defense,
    ImageNetwork,
    Restored,
    Restorer,
    compose,
    composed,
    resolve,
    train,
)
from defenses.defense import cross_entropy
from defenses.steps import Step


def seeds(count, seed=0):
    return image_seeds(seed, torch.arange(count))


def numbered(count, height=12, width=12):
    """Images whose every value says where it stands: 1 + row + column / 100 over a common range."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    image = (1 + y + x / 100) / 20
    return image.expand(count, 3, height, width).contiguous()


def test_crop_flip_cuts_every_place_evenly_and_mirrors_every_other_image():
    images = numbered(6000)
    cut, labels = DEFENSES["crop-flip"](padding=2).transform(
        images, torch.arange(6000), seeds(6000)
    )
    assert torch.equal(labels, torch.arange(6000))
    padded = np.pad(images[0, 0].numpy(), 2)
    pieces = {
        np.ascontiguousarray(padded[y : y + 12, x : x + 12][:, ::step]).tobytes(): (y, x, step)
        for y in range(5)
        for x in range(5)
        for step in (1, -1)
    }
    assert len(pieces) == 50
    found = [pieces[image[0].numpy().tobytes()] for image in cut]
    assert all(torch.equal(image[0], image[2]) for image in cut[:50])
    counts = np.array([found.count(piece) for piece in pieces.values()])
    # chi-square with 49 degrees of freedom exceeds 85.4 in one of a thousand fair draws
    assert ((counts - 120) ** 2 / 120).sum() < 85.4


def test_without_padding_and_flip_nothing_changes():
    images = numbered(5)
    cut, _ = DEFENSES["crop-flip"](padding=0, flip=False).transform(
        images, torch.zeros(5), seeds(5)
    )
    assert torch.equal(cut, images)


NEEDED = {
    "deepaugment": {
        "network": ImageNetwork("", nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 3, 1)))
    },
    "stylized": {"stylizer": stylizer("relu2_1"), "paintings": paintings()},
}
"""Settings of defenses that have no default."""


@pytest.mark.parametrize("name", list(DEFENSES))
def test_a_batch_is_changed_by_its_seeds_alone_and_its_arguments_stay(name):
    defense = DEFENSES[name](**NEEDED.get(name, {}))
    images, labels = torch.rand(8, 3, 16, 16), torch.arange(8)
    classifier = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 8)).requires_grad_(False)
    model = Restored(Restorer(3), classifier)  # it changes nothing before it is trained
    model.std = (0.5,) * 3  # the unit of hard-negatives

    def step(own):
        """What is trained on and towards; a defense changes the one or the other."""
        moved, targets = defense.transform(images, labels, own)
        return moved, defense.loss(model, moved, targets, own)[0]

    before, generator = images.clone(), torch.get_rng_state()
    first, loss = step(seeds(8))
    assert torch.equal(images, before)
    assert torch.equal(labels, torch.arange(8))
    assert torch.equal(torch.get_rng_state(), generator)
    again, same_loss = step(seeds(8))
    assert torch.equal(first, again)
    assert loss == same_loss
    other, other_loss = step(seeds(8, seed=1))
    assert not torch.equal(first, other) or loss != other_loss


def test_defenses_apply_in_order_each_with_draws_of_its_own():
    def brighter(images, labels, own):
        return images + 1, labels

    def noted(images, labels, own):
        seen.append(own)
        return images * 2, labels

    seen = []
    both = compose([Defense(brighter), Defense(noted), Defense(noted)])
    images, _ = both.transform(torch.ones(3, 1, 2, 2), torch.zeros(3), seeds(3))
    assert torch.equal(images, torch.full((3, 1, 2, 2), 8.0))
    assert not torch.equal(seen[0], seen[1])


def test_only_one_defense_decides_the_loss():
    def other(model, images, labels, own):
        return cross_entropy(model, images, labels, own)

    with pytest.raises(ValueError, match="2 of the defenses decide the loss"):
        compose([Defense(loss=other), Defense(loss=other)])
    assert compose([Defense(), Defense(loss=other)]).loss is other


def test_corruptions_that_were_shown_are_remembered_once():
    both = compose([Defense(corruptions=("fog", "snow")), Defense(corruptions=("snow",))])
    assert both.corruptions == ("fog", "snow")


def test_specs_are_filled_in_and_mistakes_are_told():
    bound = resolve("crop-flip")
    assert bound.spec == "crop-flip(padding=4, flip=True)"
    assert resolve(bound.spec).spec == bound.spec
    assert composed([bound, bound]).loss is cross_entropy
    with pytest.raises(ValueError, match="unknown defense 'crop-flop'; did you mean crop-flip"):
        resolve("crop-flop")
    with pytest.raises(ValueError, match="unknown setting of crop-flip 'pad'; did you mean padd"):
        resolve("crop-flip(pad=2)")
    with pytest.raises(ValueError, match="must be at least 0"):
        resolve("crop-flip(padding=-1)")


def _trained(ids, defense, rows):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    images = torch.linspace(0, 1, 4 * 12).reshape(4, 3, 2, 2)[rows]
    labels = torch.tensor([0, 1, 1, 0])[rows]
    list(train(model, images, labels, epochs=2, defense=defense, ids=ids[rows], batch_size=4))
    return model[1].weight.detach()


def test_draws_are_keyed_by_the_images_ids_not_by_their_rows():
    def by_seed(images, labels, own):
        return images + (own % 7)[:, None, None, None] / 7, labels

    ids, order = torch.tensor([11, 22, 33, 44]), torch.tensor([2, 0, 3, 1])
    first = _trained(ids, Defense(by_seed), torch.arange(4))
    shuffled = _trained(ids, Defense(by_seed), order)
    # One batch holds all: its mean gradient does not depend on the order but for rounding.
    assert torch.allclose(first, shuffled, atol=1e-6)
    assert not torch.allclose(
        first, _trained(ids + 1, Defense(by_seed), torch.arange(4)), atol=1e-4
    )


def test_a_loss_of_its_own_is_what_is_descended():
    def halved(model, images, labels, own):
        loss, logits = cross_entropy(model, images, labels, own)
        return loss / 2, logits

    def after(**settings):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
        images, labels = torch.rand(4, 3, 2, 2), torch.tensor([0, 1, 1, 0])
        plain = {"epochs": 1, "momentum": 0.0, "weight_decay": 0.0, "schedule": "constant"}
        epoch = next(iter(train(model, images, labels, **plain, **settings)))
        return model[1].weight.detach(), epoch

    weights, epoch = after(lr=0.1, defense=Defense(loss=halved))
    expected, plain = after(lr=0.05)
    assert torch.allclose(weights, expected, atol=1e-7)
    assert epoch.loss == pytest.approx(plain.loss / 2)


@pytest.mark.parametrize("name", list(DEFENSES))
def test_a_loss_in_bfloat16_is_near_that_in_float32_and_of_its_dtype(name):
    torch.manual_seed(0)
    defense = DEFENSES[name](**NEEDED.get(name, {}))
    images, labels = torch.rand(8, 3, 16, 16), torch.arange(8)
    classifier = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 8)).requires_grad_(False)
    model = Restored(Restorer(3), classifier)
    model.std = (0.5,) * 3
    moved, targets = defense.transform(images, labels, seeds(8))
    losses = {}
    for dtype in (torch.float32, torch.bfloat16):
        loss, logits = Step(model, defense.loss, dtype)(moved, targets, seeds(8))
        assert loss.dtype == logits.dtype == torch.float32
        losses[dtype] = float(loss.detach())
    # bfloat16 holds eight bits: logits of about 1 are off by some thousandths
    assert losses[torch.bfloat16] == pytest.approx(losses[torch.float32], rel=0.05)


def test_defenses_of_others_may_be_partial_or_have_types_that_are_not_there(monkeypatch):
    def others(strength: "NotImported" = 0.5) -> Defense:  # noqa: F821  (as under TYPE_CHECKING)
        return Defense()

    monkeypatch.setitem(DEFENSES, "mine", functools.partial(DEFENSES["noisy"], std=0.3))
    monkeypatch.setitem(DEFENSES, "theirs", others)
    assert resolve("mine").spec == "mine(std=0.3)"
    assert resolve("theirs").spec == "theirs(strength=0.5)"
