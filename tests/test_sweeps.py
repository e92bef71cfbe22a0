"""Dials, and what models answer along them, against closed forms and other ways to an image."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sweep_case import CLASSES, GROUPS, STD, asked, images, linear, seeds, swept
from torch import nn

from attacks import fgsm
from attacks.corruptions import CORRUPTIONS, corrupt
from attacks.draws import Stream, normal
from benchmarks.intervals import bootstrap_mean, bootstrap_means, wilson
from benchmarks.sweep_numbers import UNKNOWN, summary
from benchmarks.sweeps import (
    Batch,
    attack_dial,
    corruption_dial,
    joined,
    noise_dial,
    rotation_dial,
    sweep,
)


def batch(count=6):
    return Batch(images(count), torch.zeros(count, dtype=torch.int64), seeds(count))


def test_a_shift_of_the_logits_has_its_closed_form():
    """Each position adds its value to the image; the model's weights make that a known logit."""

    class Shifted(nn.Module):
        def forward(self, x):
            return torch.stack([x.mean(dim=(1, 2, 3)), torch.zeros(len(x))], 1)

    dial = replace(
        rotation_dial([0, 1, 2]),
        turn=lambda model, each, value: (
            noise_dial([0, 1], normalised=False)
            .turn(model, each, 0)
            ._replace(values=each.images * 0 + value)
        ),
    )
    found = sweep(Shifted(), dial, images(3), torch.tensor([0, 1, -1]), seeds(3))
    sigmoid = 1 / (1 + np.exp(-np.array([0.0, 1.0, 2.0])))
    # What the third image is first taken for: the answer to the untouched image, of mean about 0.5.
    np.testing.assert_allclose(found.true_confidence[0, 0], sigmoid, rtol=1e-6)
    np.testing.assert_allclose(found.true_confidence[1, 0], 1 - sigmoid, rtol=1e-6)
    np.testing.assert_allclose(found.true_confidence[2, 0], sigmoid, rtol=1e-6)
    assert found.true_class.tolist() == [0, 1, 0]
    assert found.true_rank[1, 0].tolist() == [1, 1, 1]
    assert found.top.shape == (3, 1, 3, 2)  # there are two classes only
    np.testing.assert_allclose(found.probability.sum(-1), 1, rtol=1e-6)


@pytest.mark.parametrize("normalised", [False, True])
def test_untouched_is_what_the_model_answers_to_the_image(normalised):
    model = linear()
    found = asked(model, noise_dial([0, 1], normalised=normalised))
    expected = model(images()).softmax(1)
    top = expected.topk(5)
    assert (found.top[:, 0, 0] == top.indices.numpy()).all()
    np.testing.assert_allclose(found.probability[:, 0, 0], top.values.detach(), rtol=1e-5)
    labels = [0, 1, 2, 3, 4, int(expected[5].argmax())]
    assert found.true_class.tolist() == labels
    for row, label in enumerate(labels):
        assert found.true_rank[row, 0, 0] == int((expected[row] > expected[row, label]).sum())


def test_noise_in_normalised_units_is_noise_of_the_image_divided_by_the_std():
    """Where nothing clips: the same draw, a channel's std apart."""
    model, each = linear(), batch()
    mid = each._replace(images=each.images * 0 + 0.5)
    pixel = noise_dial([0, 0.01], normalised=False).turn(model, mid, 0.01).values
    behind = noise_dial([0, 0.01], normalised=True).turn(model, mid, 0.01)
    assert behind.normalised
    moved = (behind.values - model.normalise(mid.images)) * torch.tensor(STD)[:, None, None]
    shares = torch.tensor(STD)[:, None, None]
    torch.testing.assert_close(moved, (pixel - 0.5) * shares, rtol=1e-3, atol=1e-6)


def test_normalised_noise_is_one_draw_that_is_turned_up_and_not_clipped():
    model, each = linear(), batch()
    dial = noise_dial([0, 1, 50], normalised=True)
    still = model.normalise(each.images)
    one, fifty = (dial.turn(model, each, value).values - still for value in (1, 50))
    torch.testing.assert_close(one * 50, fifty, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(one, normal(each.seeds, (3, 16, 16), stream=Stream.PROBE),
                               rtol=1e-4, atol=1e-5)  # fmt: skip
    assert fifty.abs().max() > 100


def test_a_quarter_turn_is_that_of_torch():
    each = batch()
    turned = rotation_dial([0, 90]).turn(linear(), each, 90).values
    torch.testing.assert_close(turned, torch.rot90(each.images, 1, (2, 3)), rtol=0, atol=1e-5)


def test_severities_are_those_of_the_corruption_and_0_is_clean():
    each = batch()
    dial = corruption_dial(CORRUPTIONS["shot_noise"], [0, 1, 5])
    assert torch.equal(dial.turn(linear(), each, 0).values, each.images)
    expected = corrupt(each.images, CORRUPTIONS["shot_noise"], 5, seeds=each.seeds)
    assert torch.equal(dial.turn(linear(), each, 5).values, expected)
    assert dial.random
    assert not corruption_dial(CORRUPTIONS["jpeg_compression"], [0, 1]).random


def test_each_step_count_is_a_run_of_its_own_from_the_same_seeds():
    calls = []

    def recorded(steps):
        def attack(model, images, labels, *, targets=None, seeds=None):
            calls.append((steps, labels.tolist(), seeds.tolist()))
            return fgsm(model, images, labels, eps=steps / 255)

        return attack

    model = linear()
    found = asked(model, attack_dial("mine", {2: recorded(2), 9: recorded(9)}), count=3)
    assert [steps for steps, _, _ in calls] == [2, 9]
    guess = int(model(images(3)).argmax(1)[2])
    assert calls[0][1] == [0, 1, guess]  # without a label, the attack starts from the answer
    assert calls[0][2] == calls[1][2] == seeds(3).tolist()
    # A linear model's margin falls by a closed form; here only its direction matters.
    right = found.true_rank[:, 0, 0] == 0
    assert (np.diff(found.true_confidence[right, 0], axis=-1) < 0).all()


def test_draws_differ_and_the_first_is_that_of_a_single_one():
    dial = noise_dial([0, 1], normalised=True)
    one, three = asked(linear(), dial), asked(linear(), dial, draws=3)
    assert np.array_equal(one.true_confidence[:, 0], three.true_confidence[:, 0])
    noisy = three.true_confidence[:, :, 1]
    assert (noisy[:, 0] != noisy[:, 1]).all()
    assert (noisy[:, 1] != noisy[:, 2]).all()
    assert np.array_equal(three.true_confidence[:, 0, 0], three.true_confidence[:, 2, 0])


def test_an_image_does_not_depend_on_those_beside_it():
    dial = noise_dial([0, 0.5], normalised=True)
    model, labels = linear(), torch.arange(6)
    whole = sweep(model, dial, images(), labels, seeds(), shown=4)
    parts = [
        sweep(model, dial, images()[rows], labels[rows], seeds()[rows], shown=shown)
        for rows, shown in ((slice(0, 2), 4), (slice(2, 6), 2))
    ]
    together = joined(parts)
    assert np.array_equal(whole.top, together.top)
    np.testing.assert_allclose(whole.true_confidence, together.true_confidence, rtol=1e-5)
    assert np.array_equal(whole.shown, together.shown)


def test_pictures_are_what_the_model_got_turned_back_and_clipped():
    model, each = linear(), batch()
    dial = noise_dial([0, 3], normalised=True)
    found = asked(model, dial, shown=2)
    assert found.shown.shape == (2, 2, 16, 16, 3)
    noise = normal(each.seeds, (3, 16, 16), stream=Stream.PROBE) * torch.tensor(STD)[:, None, None]
    pixels = (each.images + 3 * noise).clamp(0, 1).mul(255)[:2].permute(0, 2, 3, 1)
    assert np.abs(found.shown[:, 1].astype(int) - pixels.numpy()).max() <= 0.51


def test_a_grey_picture_stays_grey_where_three_channels_got_noise():
    found = sweep(
        linear(), noise_dial([0, 1], normalised=True), images(2)[:, :1], torch.tensor([0, 1]),
        seeds(2), shown=2,
    )  # fmt: skip
    assert found.shown.shape == (2, 2, 16, 16, 1)
    clean = images(2)[:, 0].mul(255).round().numpy()
    assert np.abs(found.shown[:, 0, :, :, 0] - clean).max() <= 1


def test_wrong_dials_and_models_are_refused():
    with pytest.raises(ValueError, match="ascending"):
        rotation_dial([10, 0])
    with pytest.raises(ValueError, match="normalise"):
        asked(nn.Sequential(nn.Flatten(), nn.Linear(768, 7)), noise_dial([0, 1], normalised=True))

    class Broken(nn.Module):
        def forward(self, x):
            return torch.full((len(x), 3), torch.nan)

    with pytest.raises(ValueError, match="NaN"):
        asked(Broken(), rotation_dial([0, 10]), count=2)


def test_inside_is_the_superclass_of_the_followed_class():
    found = swept(rotation_dial([0, 30, 60]))
    for at in np.ndindex(found.true_rank.shape):
        guess, true = found.top[at][0], found.true_class[at[:2]]
        assert found.inside[at] == (GROUPS[guess] == GROUPS[true])
    assert (replace(found, superclasses=None).inside == UNKNOWN).all()
    assert not (found.right & (found.inside == 0)).any()


def test_numbers_over_images_and_their_intervals():
    found = swept(rotation_dial([0, 40, 80]))
    numbers = summary(found, seed=3)
    confidence = found.true_confidence[1, :, 0].astype(float)
    np.testing.assert_allclose(numbers["confidence"][1], confidence.mean(0))
    change = confidence[:, 2] - confidence[:, 0]
    np.testing.assert_allclose(numbers["change"][1, 2], change.mean())
    np.testing.assert_allclose(numbers["change_interval"][1, 2], bootstrap_mean(change, 3))
    right = (found.true_rank[1, :, 0] == 0).sum(0)
    np.testing.assert_allclose(numbers["right"][1], right / 6)
    np.testing.assert_allclose(numbers["right_interval"][1], wilson(right, 6))
    assert numbers["peaks"][1].sum() == 6
    assert numbers["peaks"][1, 0] == (confidence.argmax(1) == 0).sum()


def test_what_changes_is_told_from_the_untouched_image():
    found = swept(rotation_dial([-40, 0, 40]), models=1)
    confidence = found.true_confidence[0, :, 0].astype(float)
    change = (confidence - confidence[:, 1:2]).mean(0)
    np.testing.assert_allclose(summary(found, seed=0)["change"][0], change)
    assert change[1] == 0


def test_of_one_image_the_draws_are_resampled_and_a_single_answer_has_no_interval():
    dial = noise_dial([0, 2], normalised=True)
    several = swept(dial, count=1, draws=5)
    numbers = summary(several, seed=0)
    assert several.resampled == "draws"
    noisy = several.true_confidence[0, 0].astype(float)
    np.testing.assert_allclose(numbers["confidence_interval"][0], bootstrap_means(noisy, 0))
    single = swept(dial, count=1)
    assert single.resampled == ""
    assert np.isnan(summary(single, seed=0)["right_interval"]).all()
    assert np.isnan(summary(single, seed=0)["confidence_interval"]).all()


def test_images_with_draws_are_resampled_by_image():
    found = swept(noise_dial([0, 2], normalised=True), count=4, draws=3)
    numbers = summary(found, seed=0)
    means = found.true_confidence[0, :, :, 1].astype(float).mean(1)
    np.testing.assert_allclose(numbers["confidence_interval"][0, 1], bootstrap_mean(means, 0))
    assert found.resampled == "images"
    assert len(found.class_names) == CLASSES


def test_a_share_of_1_leaves_doubt_however_many_draws_there_are():
    found = swept(noise_dial([0, 2], normalised=True), models=1, count=4, draws=3)
    ranks = np.zeros_like(found.true_rank)
    ranks[0, 0, 0, 1] = 1  # at the second position one of three draws of one image is wrong
    numbers = summary(replace(found, true_rank=ranks), seed=0)
    np.testing.assert_allclose(numbers["right"], [[1, 11 / 12]])
    np.testing.assert_allclose(numbers["right_interval"][0, 0], wilson(4, 4))
    shares = np.array([[2 / 3], [1], [1], [1]])
    np.testing.assert_allclose(numbers["right_interval"][0, 1], bootstrap_means(shares, 0)[0])
