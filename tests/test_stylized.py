"""Adaptive instance normalisation, stylizers, and the defense, on networks with random weights."""

import math

import pytest
import torch
from stylizer_case import WIDTHS, paintings, some, stylizer
from torch import nn
from torch.nn import functional as F

from attacks.draws import image_seeds
from defenses import DEFENSES, compose
from defenses.adain import DEPTHS, Style, adain, decoder_losses, style
from defenses.decoder_training import DECAY, train_decoder

DEVICE = torch.device("cpu")


def seeds(count, seed=0):
    return image_seeds(seed, torch.arange(count))


def stylized(**settings):
    return DEFENSES["stylized"](stylizer(), paintings(), **settings)


def test_the_style_of_features_is_their_mean_and_deviation():
    features = torch.tensor([[[[1.0, 3.0], [5.0, 7.0]]]])
    found = style(features)
    assert found.mean.item() == 4
    assert found.std.item() == pytest.approx(math.sqrt((9 + 1 + 1 + 9) / 4 + 1e-5))


def test_adain_gives_features_exactly_the_wanted_style_and_keeps_their_order():
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(3, 5, 7, 6, generator=draw).double() * 3 + 1
    target = Style(
        torch.randn(3, 5, generator=draw).double(), torch.rand(3, 5, generator=draw).double() + 0.1
    )
    moved = adain(features, target)
    variance, mean = torch.var_mean(features, dim=(2, 3), correction=0)
    torch.testing.assert_close(moved.mean((2, 3)), target.mean)
    # The published epsilon of 1e-5 is under the root of the features' own deviation.
    expected = target.std * (variance / (variance + 1e-5)).sqrt()
    torch.testing.assert_close(moved.std((2, 3), correction=0), expected)
    line = (features - mean[..., None, None]) / variance.sqrt()[..., None, None]
    torch.testing.assert_close(
        moved, line * expected[..., None, None] + target.mean[..., None, None]
    )


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("size", [(16, 16), (17, 21)])
def test_a_decoder_mirrors_its_encoder_at_every_depth(depth, size):
    found = stylizer(depth)
    assert found.depth == depth
    passed = []
    for layer in [*found.encoder.modules(), *found.decoder]:
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(
                lambda layer, given, made: passed.append((given[0].shape[1:], made.shape[1:]))
            )
    features = found.encoder(torch.rand(1, 3, *size))
    inward = passed[1:]  # behind the normalisation
    assert [len(each[0]) for each in features] == [w[0] for w in WIDTHS[: len(features)]]
    passed.clear()
    picture = found.decoder(features[-1])
    if size == (16, 16):
        assert passed == [(after, before) for before, after in reversed(inward)]
        assert picture.shape == (1, 3, 16, 16)
    assert all(made >= wanted for made, wanted in zip(picture.shape[2:], size, strict=True))
    one = Style(torch.zeros(1, features[-1].shape[1]), torch.ones(1, features[-1].shape[1]))
    assert found.restyled(torch.rand(1, 3, *size), one, torch.ones(1)).shape == (1, 3, *size)


def test_without_style_an_image_is_decoded_as_it_was_encoded():
    defense, images = stylized(alpha=0, share=1), some(4)
    moved, labels = defense.transform(images, torch.arange(4), seeds(4))
    own = stylizer()
    with torch.no_grad():
        expected = own.decoder(own.encoder(images)[-1]).clamp(0, 1)
    torch.testing.assert_close(moved, expected)
    assert torch.equal(labels, torch.arange(4))


def test_an_image_takes_the_style_of_one_painting_by_as_much_as_is_said():
    own, lenders, images = stylizer(), paintings(), some(6)
    with torch.no_grad():
        features = own.encoder(images)[-1]
        targets = own.encoder(lenders.images.float() / 255)[-1]
        std, mean = torch.std_mean(targets, dim=(2, 3), correction=0)
        flat = (features - features.mean((2, 3), keepdim=True)) / (
            features.var((2, 3), correction=0, keepdim=True) + 1e-5
        ).sqrt()
        whole = flat[:, None] * std[:, :, None, None] + mean[:, :, None, None]  # (image, painting)
        for alpha in (0.25, 1.0):
            mixed = (1 - alpha) * features[:, None] + alpha * whole
            each = own.decoder(mixed.flatten(0, 1)).clamp(0, 1).unflatten(0, (6, 5))
            moved, _ = stylized(alpha=alpha, share=1).transform(images, torch.zeros(6), seeds(6))
            apart = (each - moved[:, None]).abs().amax((2, 3, 4))
            assert apart.min(1).values.max() < 1e-4
            assert len(set(apart.argmin(1).tolist())) > 1  # not all of one painting


def test_a_share_of_the_images_is_stylised_and_the_others_are_untouched():
    images = some(4, side=8).repeat(500, 1, 1, 1)
    moved, _ = stylized(share=0.3).transform(images, torch.zeros(2000), seeds(2000))
    changed = (moved != images).flatten(1).any(1)
    # 600 expected, of deviation 20.5: four deviations
    assert 518 < int(changed.sum()) < 682


def test_paintings_are_drawn_evenly_and_amounts_between_their_limits(monkeypatch):
    own, drawn = stylizer("relu1_1"), []

    def noted(self, images, styles, alpha):
        drawn.append((styles.mean.sum(1), alpha))
        return images

    monkeypatch.setattr(type(own), "restyled", noted)
    defense = DEFENSES["stylized"](own, paintings(), alpha=[0.2, 0.6], share=1)
    defense.transform(some(1).expand(5000, -1, -1, -1), torch.zeros(5000), seeds(5000))
    ((means, alphas),) = drawn
    _, counts = means.unique(return_counts=True)
    # chi-square with 4 degrees of freedom exceeds 18.5 in one of a thousand fair draws
    assert len(counts) == 5
    assert ((counts - 1000) ** 2 / 1000).sum() < 18.5
    assert 0.2 <= alphas.min() < 0.202
    assert 0.598 < alphas.max() <= 0.6


def test_an_image_is_changed_alike_in_any_batch():
    defense, images = stylized(), some(9)
    whole, _ = defense.transform(images, torch.zeros(9), seeds(9))
    parts = [defense.transform(images[i : i + 1], torch.zeros(1), seeds(9)[i : i + 1])[0]
             for i in range(9)]  # fmt: skip
    torch.testing.assert_close(whole, torch.cat(parts), rtol=0, atol=1e-5)
    assert not torch.equal(whole, images)
    other, _ = defense.transform(images, torch.zeros(9), seeds(9, seed=1))
    assert not torch.equal(whole, other)


def test_nothing_is_left_behind_and_no_test_corruption_is_shown():
    defense, images, state = stylized(), some(4), torch.get_rng_state()
    before = images.clone()
    moved, _ = defense.transform(images, torch.zeros(4), seeds(4))
    assert torch.equal(images, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert not moved.requires_grad
    assert defense.corruptions == ()


def test_grey_images_are_the_luminance_of_what_their_colour_copies_become():
    grey = some(4, channels=1)
    defense = stylized(share=1)
    moved, _ = defense.transform(grey, torch.zeros(4), seeds(4))
    colour, _ = defense.transform(grey.repeat(1, 3, 1, 1), torch.zeros(4), seeds(4))
    assert moved.shape == grey.shape
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    torch.testing.assert_close(moved, (colour * weights).sum(1, keepdim=True))


def test_stylised_images_reach_the_loss_of_augmix():
    """As in the study: stylised first, and AugMix mixes what comes of it."""
    both = compose([stylized(share=1), DEFENSES["augmix"]()])
    seen = []

    class Model(nn.Module):
        def forward(self, images):
            seen.append(images)
            return images.flatten(1)[:, :4]

    images, own = some(4), seeds(4)
    moved, labels = both.transform(images, torch.arange(4), own)
    both.loss(Model(), moved, labels, own)
    assert torch.equal(seen[0][:4], moved)
    assert not torch.equal(moved, images)
    assert both.corruptions == ()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": 1.5}, "alpha=1.5 must be in"),
        ({"alpha": [0.5, 0.2]}, "the lesser first"),
        ({"alpha": [0.1, 0.2, 0.3]}, "two such numbers"),
        ({"alpha": "much"}, "alpha=much"),
        ({"share": 0}, "share=0 must be above 0"),
        ({"share": True}, "share=True"),
    ],
)
def test_settings_out_of_range_are_told(settings, message):
    with pytest.raises(ValueError, match=message):
        stylized(**settings)


def test_what_is_missing_is_told_with_the_command_that_makes_it():
    for given in ((), (stylizer(),), (None, paintings())):
        with pytest.raises(ValueError, match=r"paintings='FOLDER'.*\n.*workbench stylizer FOLDER"):
            DEFENSES["stylized"](*given)


def test_images_too_small_for_a_depth_are_told():
    found = stylizer("relu4_1")
    with pytest.raises(ValueError, match=r"images of 8x8 are too small.*relu4_1; it takes 9"):
        found.restyled(torch.rand(1, 3, 8, 8), Style(*torch.ones(2, 1, 12)), torch.ones(1))
    found.restyled(torch.rand(1, 3, 9, 9), Style(*torch.ones(2, 1, 12)), torch.ones(1))


def test_the_losses_are_those_of_the_paper_and_move_the_decoder_alone():
    own, content, lent = stylizer(), some(3), some(3, seed=5)
    found = decoder_losses(own, content, lent)
    encoder, decoder = own.encoder, own.decoder
    wanted = encoder(lent)

    def normal(x):
        return (x - x.mean((2, 3), keepdim=True)) / (
            x.var((2, 3), correction=0, keepdim=True) + 1e-5
        ).sqrt()

    def deviation(x):
        return (x.var((2, 3), correction=0) + 1e-5).sqrt()

    mean = wanted[-1].mean((2, 3), keepdim=True)
    target = normal(encoder(content)[-1]) * deviation(wanted[-1])[..., None, None] + mean
    again = encoder(decoder(target))
    torch.testing.assert_close(found[0], ((again[-1] - target) ** 2).mean())
    apart = sum(
        ((a.mean((2, 3)) - b.mean((2, 3))) ** 2).mean()
        + ((deviation(a) - deviation(b)) ** 2).mean()
        for a, b in zip(again, wanted, strict=True)
    )
    torch.testing.assert_close(found[1], apart)
    sum(found).backward()
    assert all(weight.grad is not None for weight in decoder.parameters())
    assert all(weight.grad is None for weight in encoder.parameters())


def test_training_lowers_the_loss_and_leaves_the_encoder():
    own, content = stylizer(), some(32)
    before = [weight.clone() for weight in own.encoder.parameters()]
    steps = list(train_decoder(own, content, paintings(16).images, steps=60, lr=0.01))
    assert [step.number for step in steps] == list(range(1, 61))
    for name in ("content_loss", "style_loss"):
        values = [getattr(step, name) for step in steps]
        assert sum(values[-10:]) < sum(values[:10])
    assert all(map(torch.equal, before, own.encoder.parameters()))


def test_a_step_is_adams_on_the_weighted_losses_at_the_published_rate():
    """Three steps with one image and one painting, so that nothing is drawn; by hand as well."""
    own, twin = stylizer(seed=4), stylizer(seed=4)
    content, lent = some(1), (255 * some(1, seed=5)).byte()
    how = {"steps": 3, "batch_size": 1, "lr": 0.01, "content_weight": 2.0, "style_weight": 5.0}
    list(train_decoder(own, content, lent, **how))
    adam = torch.optim.Adam(twin.decoder.parameters(), 0.01)
    for step in range(3):
        adam.param_groups[0]["lr"] = 0.01 / (1 + DECAY * step)
        losses = decoder_losses(twin, content, lent.float() / 255)
        adam.zero_grad()
        (2 * losses[0] + 5 * losses[1]).backward()
        adam.step()
    for mine, other in zip(own.decoder.parameters(), twin.decoder.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)


def test_a_training_that_is_taken_up_ends_like_a_whole_one():
    def weights(found):
        return torch.cat([each.flatten() for each in found.decoder.parameters()])

    how = {"lr": 0.01, "seed": 3}
    content, lent = some(20), paintings(7).images
    whole, cut, other = stylizer(), stylizer(), stylizer()
    list(train_decoder(whole, content, lent, steps=9, **how))
    *_, last = train_decoder(cut, content, lent, steps=4, **how)
    rest = list(train_decoder(cut, content, lent, steps=9, resume=last, **how))
    assert len(rest) == 5
    assert torch.equal(weights(whole), weights(cut))
    list(train_decoder(other, content, lent, steps=9, lr=0.01, seed=4))
    assert not torch.equal(weights(whole), weights(other))


def test_grey_images_train_a_decoder_of_colour():
    own = stylizer()
    (step,) = train_decoder(own, some(4, channels=1), paintings().images, steps=1)
    assert step.content_loss > 0


def test_bad_trainings_are_refused():
    with pytest.raises(ValueError, match="lr is nan"):
        train_decoder(stylizer(), some(2), some(2), steps=1, lr=math.nan)
    with pytest.raises(ValueError, match="one of them is missing"):
        train_decoder(stylizer(), some(2), some(0), steps=1)
    with pytest.raises(ValueError, match=r"diverged at step \d+"):
        list(train_decoder(stylizer(), some(2), some(2), steps=50, lr=1e20))


def test_a_stage_of_the_encoder_is_the_networks_own_features():
    """Against the functional form, layer by layer, with a pooling that rounds sides up."""
    encoder = stylizer("relu3_1").encoder
    weights = [(each.weight, each.bias) for each in encoder.modules() if hasattr(each, "weight")]
    first, *convolutions = weights
    images = some(2, side=10)
    x = F.conv2d(images, *first)
    seen = []
    for number, (weight, bias) in enumerate(convolutions):
        if number in (2, 3):
            x = F.max_pool2d(x, 2, ceil_mode=True)
        x = F.conv2d(F.pad(x, (1,) * 4, "reflect"), weight, bias).relu()
        if number in (0, 2, 3):
            seen.append(x)
    for mine, other in zip(encoder(images), seen, strict=True):
        torch.testing.assert_close(mine, other)
