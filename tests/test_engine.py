"""The loop, its cautions, precision and memory."""

import itertools

import pytest
import torch
from attack_case import linear_case, predicted, random_images, small_net
from torch import nn

from attacks import Ended, active_set, engine, fgsm, fooling, pgd, sign_ascent
from attacks.cautions import add_up, halved_batch, zero_gradients
from attacks.execution import Execution
from attacks.gradients import exact_path, fast_path, frozen


def codes(attacked):
    return {caution.code for caution in attacked.cautions}


def test_one_forward_serves_both_the_test_and_the_gradient():
    model, images, labels, _ = linear_case()
    attacked = sign_ascent(model, images, labels, step_size=0.01)
    reached = attacked.ended == int(Ended.REACHED)
    assert reached.all()
    # The linear model is its own fast copy's reference: k steps, k + 1 passes, one to confirm.
    assert torch.equal(attacked.forwards, attacked.steps + 2)


def test_pgd_equals_the_textbook_loop():
    model, images = small_net(), random_images()
    labels = predicted(model, images)
    eps, step_size, steps = 0.02, 0.005, 7
    attacked = pgd(model, images, labels, eps=eps, step_size=step_size, steps=steps, stop="never")
    moved = images.clone()
    with frozen(model):
        for _ in range(steps):
            moved.requires_grad_()
            loss = nn.functional.cross_entropy(model(moved), labels, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, moved)
            shift = (moved.detach() + step_size * gradient.sign() - images).clamp(-eps, eps)
            moved = (images + shift).clamp(0, 1)
    # Folding batch normalisation rounds differently, which may turn a sign where it is near 0.
    assert ((attacked.images - moved).abs() < 1e-6).float().mean() > 0.99
    assert (attacked.steps == steps).all()


def test_fgsm_is_one_signed_step():
    model, images, labels, _ = linear_case()
    attacked = fgsm(model, images, labels, eps=0.01)
    away = torch.where(labels == 1, -1.0, 1.0)[:, None, None, None]
    expected = images + 0.01 * away * model.weight.sign()
    reached = attacked.ended != int(Ended.ALREADY_WRONG)
    assert torch.allclose(attacked.images[reached], expected[reached], atol=1e-7)


def test_zero_gradients_are_said():
    class Flat(nn.Module):
        def forward(self, images):
            return torch.tensor([[2.0, 0.0]]) + 0 * images.sum(dim=(1, 2, 3))[:, None]

    images = random_images(4)
    attacked = pgd(Flat(), images, torch.zeros(4, dtype=torch.int64))
    assert codes(attacked) == {"zero-gradient"}
    assert "4 of 4" in attacked.cautions[0].message


def test_a_saturated_softmax_is_said_and_a_margin_loss_overcomes_it():
    model, images, labels, _ = linear_case()
    model.weight.data *= 1e6
    model.bias.data *= 1e6
    kept = predicted(model, images) == labels
    stuck = pgd(model, images[kept], labels[kept], eps=0.2)
    assert "zero-gradient" in codes(stuck)
    free = pgd(model, images[kept], labels[kept], eps=0.2, loss="margin")
    assert codes(free) == set()
    assert (free.ended == int(Ended.REACHED)).all()


def test_randomised_models_are_said():
    class Noisy(nn.Module):
        def forward(self, images):
            return images.flatten(1)[:, :3] + torch.rand(len(images), 3)

    assert "randomised" in codes(fgsm(Noisy(), random_images(4), torch.zeros(4).long()))


def test_probabilities_are_said():
    model = nn.Sequential(small_net(), nn.Softmax(dim=1))
    images = random_images(4)
    assert "probabilities" in codes(fgsm(model, images, predicted(model, images)))
    assert codes(fgsm(small_net(), images, predicted(small_net(), images))) == set()


def test_an_earlier_iterate_that_won_is_said():
    class Ring(nn.Module):
        """Wrong only in a narrow ring of brightness, which large steps cross."""

        def forward(self, images):
            mean = images.mean(dim=(1, 2, 3))
            score = 0.02 - (mean - 0.6).abs()
            climb = (mean - 0.5) * 1e-3
            return torch.stack([torch.zeros_like(score), score.clamp(max=0.01) + climb], dim=1)

    images = torch.full((3, 1, 4, 4), 0.5)
    labels = torch.zeros(3, dtype=torch.int64)
    settings = {"eps": 0.4, "step_size": 0.1, "steps": 2}
    lost = pgd(Ring(), images, labels, stop="never", **settings)
    assert "earlier-iterate" in codes(lost)
    assert (lost.ended == int(Ended.OUT_OF_STEPS)).all()
    kept = pgd(Ring(), images, labels, **settings)
    assert codes(kept) == set()
    assert (kept.ended == int(Ended.REACHED)).all()


def test_an_unbounded_attack_that_misses_is_said():
    model, images, labels, _ = linear_case()
    short = sign_ascent(model, images, labels, steps=1, step_size=1e-4)
    assert "unbounded-short" in codes(short)
    assert codes(sign_ascent(model, images, labels, steps=1, step_size=1e-4, eps=0.1)) == set()


def test_restarts_begin_elsewhere_and_add_up():
    model, images, labels, scores = linear_case()
    eps = float((scores.abs() / model.weight.abs().sum()).max() / 2)
    once = pgd(model, images, labels, eps=eps, steps=3)
    thrice = pgd(model, images, labels, eps=eps, steps=3, restarts=3)
    missed = once.ended == int(Ended.OUT_OF_STEPS)
    assert missed.any()
    assert (thrice.steps[missed] == 9).all()
    assert torch.equal(thrice.steps[~missed], once.steps[~missed])


def test_out_of_memory_halves_the_batch_and_says_so(monkeypatch):
    model, images = small_net(), random_images(40)
    labels = predicted(model, images)
    expected = pgd(model, images, labels)
    monkeypatch.setattr(active_set, "fast_path", lambda *_: None)

    def small_memory(model):
        forward = exact_path(model)

        def limited(batch):
            if len(batch) > 16:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return forward(batch)

        return limited

    monkeypatch.setattr(active_set, "exact_path", small_memory)
    with engine(batch_size=40):
        attacked = pgd(model, images, labels)
    assert codes(attacked) == {"out-of-memory"}
    assert (attacked.ended == expected.ended).float().mean() > 0.95


def test_other_errors_of_the_model_are_not_taken_for_memory():
    class Broken(nn.Module):
        def forward(self, images):
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        pgd(Broken(), random_images(), torch.zeros(12).long())


def test_the_fast_copy_agrees_and_is_refused_where_it_cannot():
    model, images = small_net(), random_images(8)
    with frozen(model), torch.no_grad():
        fast = fast_path(model, images, torch.float32)
        assert torch.allclose(fast(images), model(images), atol=1e-4)

        class Stubborn(nn.Module):
            def forward(self, images):
                return model(images)

            def __deepcopy__(self, memo):
                raise TypeError("cannot pickle 'module' object")

        assert fast_path(Stubborn(), images, torch.float32) is None


def test_the_fast_copy_folds_batch_normalisation():
    model, images = small_net(), random_images(8)
    calls = []
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.register_forward_hook(lambda *_: calls.append(1))
    with frozen(model), torch.no_grad():
        fast = fast_path(model, images, torch.float32)
        calls.clear()
        fast(images)
    assert calls == []


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_fast_copy_that_lies_is_not_believed(monkeypatch, after):
    """From pass number ``after`` on, the copy calls every image wrong."""
    model, images = small_net(), random_images(8)
    labels = predicted(model, images)

    def liar(model, probe, dtype):
        passes = itertools.count()
        honest, wrong = exact_path(model), nn.functional.one_hot((labels + 1) % 5, 5) * 9.0
        return lambda batch: honest(batch) if next(passes) < after else wrong + 0 * honest(batch)

    expected = pgd(model, images, labels, eps=1 / 255)
    monkeypatch.setattr(active_set, "fast_path", liar)
    attacked = pgd(model, images, labels, eps=1 / 255)
    assert torch.equal(attacked.ended, expected.ended)
    assert {int(Ended.REACHED), int(Ended.OUT_OF_STEPS)} == set(attacked.ended.tolist())


def test_small_steps_do_not_vanish_in_bfloat16():
    model, images, labels, _ = linear_case()
    with engine(precision="bfloat16"):
        attacked = sign_ascent(model, images, labels, step_size=1e-4, confidence=0)
    exact = sign_ascent(model, images, labels, step_size=1e-4, confidence=0)
    assert torch.equal(attacked.ended, exact.ended)
    # bfloat16 has 8 bits: its test for success is off by up to 1/128 of the logit's scale, but an
    # iterate kept in it could not have moved at all.
    assert (attacked.images != images).flatten(1).any(dim=1).all()


def test_a_model_without_gradients_is_refused():
    class Detached(nn.Module):
        def forward(self, images):
            return images.detach().flatten(1)[:, :2]

    with pytest.raises(ValueError, match="no gradient"):
        pgd(Detached(), random_images(4), predicted(Detached(), random_images(4)))


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (random_images() * 255, torch.zeros(12).long(), r"must be in \[0, 1\], not \[.*2"),
        (random_images() - 0.5, torch.zeros(12).long(), "normalisation belongs inside"),
        (random_images() * float("nan"), torch.zeros(12).long(), "nan"),
        (random_images()[0], torch.zeros(12).long(), r"\(N, C, H, W\)"),
        (random_images().double(), torch.zeros(12).long(), "float32"),
        (random_images(), torch.zeros(11).long(), r"labels must be int64 \(12,\)"),
        (random_images(), torch.zeros(12), "labels must be int64"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(images, labels, message):
    with pytest.raises(ValueError, match=message):
        pgd(small_net(), images, labels)


def test_a_rounding_error_below_zero_is_not_an_error():
    images = random_images()
    images[0, 0, 0, 0] = -2.98e-8
    attacked = fgsm(small_net(), images, predicted(small_net(), images))
    assert attacked.images.min() >= 0


def test_engine_settings_are_checked_and_end_with_the_block():
    with pytest.raises(ValueError, match="did you mean float32"), engine(precision="float3"):
        pass
    with pytest.raises(ValueError, match="batch_size=0"), engine(batch_size=0):
        pass
    with engine(batch_size=3):
        assert Execution(batch_size=3).batch(random_images()) == 3
    assert Execution().batch(torch.zeros(1, 3, 224, 224)) >= 8


@pytest.mark.parametrize(
    ("attack", "settings", "told"),
    [
        (pgd, {"step_size": 0.0}, "moves nothing"),
        (sign_ascent, {"step_size": 0}, "moves nothing"),
        (sign_ascent, {"patience": 1}, "sees no loss move"),
    ],
)
def test_settings_under_which_any_model_looks_robust_are_refused(attack, settings, told):
    model, images = small_net(), random_images(4)
    with pytest.raises(ValueError, match=told):
        attack(model, images, predicted(model, images), **settings)


def test_the_default_step_may_be_longer_than_the_image_range():
    model, images = small_net(), random_images(4)
    labels = predicted(model, images)
    attacked = pgd(model, images, labels, eps=0.8, steps=1)
    assert torch.equal(attacked.images, fgsm(model, images, labels, eps=0.8).images)


def test_fooling_takes_one_kind_of_target():
    model, images = small_net(), random_images()
    labels = predicted(model, images)
    with pytest.raises(ValueError, match="give one of them"):
        fooling(model, images, labels, target=2, targets=(labels + 1) % 5)


def test_fooling_says_where_it_fell_short():
    model, images = small_net(), random_images()
    labels = predicted(model, images)
    assert "unbounded-short" in codes(fooling(model, images, labels, step_size=1e-6, steps=1))
    assert "unbounded-short" not in codes(fooling(model, images, labels))


def test_fooling_in_normalised_units():
    model = small_net()
    images = random_images()
    with pytest.raises(ValueError, match="no std"):
        fooling(model, images, predicted(model, images), strength=20)
    model.std = (0.2, 0.4, 0.1)
    attacked = fooling(model, images * 0.1 + 0.45, predicted(model, images), strength=1.0, steps=1)
    moved = (attacked.images - (images * 0.1 + 0.45)) / torch.tensor(model.std).view(1, 3, 1, 1)
    sizes = torch.linalg.vector_norm(moved.flatten(1), dim=1)
    stepped = attacked.steps == 1
    # One step of length 1 at 3x224x224 is √(192 / 150528) at 3x8x8, in normalised units.
    assert torch.allclose(sizes[stepped], torch.tensor((192 / 150528) ** 0.5), rtol=1e-3)
    assert stepped.any()


def test_taking_all_steps_takes_them_with_wrong_images_too():
    model, images, labels, _ = linear_case()
    labels[:3] = 1 - labels[:3]
    attacked = pgd(model, images, labels, eps=0.01, steps=2, stop="never")
    assert (attacked.steps == 2).all()
    away = torch.where(labels == 1, -1.0, 1.0)[:, None, None, None]
    assert torch.allclose(attacked.images, images + 0.01 * away * model.weight.sign(), atol=1e-6)


def test_a_gradient_that_is_zero_in_bfloat16_alone_is_not_said(monkeypatch):
    model, images = small_net(), random_images(8)
    labels = predicted(model, images)

    def flat(model, probe, dtype):
        forward = exact_path(model)
        return lambda batch: forward(batch).detach() + 0 * batch.sum(dim=(1, 2, 3))[:, None]

    monkeypatch.setattr(active_set, "fast_path", flat)
    with engine(precision="bfloat16"):
        attacked = pgd(model, images, labels)
    assert "zero-gradient" not in codes(attacked)
    assert (attacked.ended == int(Ended.REACHED)).any()


def test_cautions_of_several_batches_add_up_by_wording() -> None:
    batches = [zero_gradients(1, 16), halved_batch(8), zero_gradients(3, 10), halved_batch(8)]
    summed = add_up(batches)
    assert [caution.code for caution in summed] == ["zero-gradient", "out-of-memory"]
    assert "of 4 of 26 images was zero" in summed[0].message
    assert summed[1] == halved_batch(8)
