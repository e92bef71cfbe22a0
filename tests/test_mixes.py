"""Torchvision's augmentations as defenses: draws of ours, labels that fit, marks that are due."""

import copy
import random
import re
from functools import partial

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms.v2 import functional

from attacks.corruptions import CORRUPTIONS, corrupt
from attacks.draws import image_seeds
from defenses import DEFENSES, Resume, resolve, train
from workbench.datasets import load_dataset

MIXES = ("mixup", "cutmix")
AUGMENTATIONS = ("randaugment", "trivialaugment")


def seeds(count: int, seed: int = 0) -> Tensor:
    return image_seeds(seed, torch.arange(count))


class Remembering(nn.Module):
    """Logits of a linear model, and the images they were asked for."""

    def __init__(self, values: int, classes: int = 4) -> None:
        super().__init__()
        self.seen: list[Tensor] = []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.linear = nn.Linear(values, classes)

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(images.detach().clone())
        return self.linear(images.flatten(1))


def flat_images(count: int) -> Tensor:
    """Each image of one value, all different."""
    return torch.linspace(0, 1, count)[:, None, None, None].expand(count, 3, 8, 8).contiguous()


def mixed(name: str, images: Tensor, labels: Tensor, seed: int = 0, **settings: float):
    """What a model sees and is told: mixed images, the loss, the logits, the model."""
    model = Remembering(images[0].numel())
    loss, logits = DEFENSES[name](**settings).loss(model, images, labels, seeds(len(images), seed))
    return model.seen[0], loss, logits, model


@pytest.mark.parametrize("seed", range(4))
def test_mixup_blends_images_and_their_losses_by_one_weight(seed):
    images, labels = torch.rand(6, 3, 8, 8), torch.tensor([0, 1, 2, 3, 0, 2])
    seen, loss, _, model = mixed("mixup", images, labels, seed)
    others = images.roll(1, 0)
    # The weight, from the pixels by least squares.
    apart = (images - others).flatten()
    weight = float((seen - others).flatten() @ apart / (apart @ apart))
    torch.testing.assert_close(seen, weight * images + (1 - weight) * others, atol=1e-5, rtol=0)
    logits = model.linear(seen.flatten(1))
    expected = weight * F.cross_entropy(logits, labels) + (1 - weight) * F.cross_entropy(
        logits, labels.roll(1)
    )
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_cutmix_pastes_one_rectangle_and_weighs_losses_by_area(seed):
    images, labels = torch.rand(6, 3, 8, 8), torch.tensor([0, 1, 2, 3, 0, 2])
    seen, loss, _, model = mixed("cutmix", images, labels, seed)
    others = images.roll(1, 0)
    pasted = (seen == others).all(dim=1)
    assert torch.equal(seen, torch.where(pasted[:, None], others, images))
    assert torch.equal(pasted, pasted[:1].expand(6, 8, 8))
    rows, columns = pasted[0].any(dim=1).sum(), pasted[0].any(dim=0).sum()
    assert pasted[0].sum() == rows * columns
    area = float(pasted[0].float().mean())
    logits = model.linear(seen.flatten(1))
    expected = (1 - area) * F.cross_entropy(logits, labels) + area * F.cross_entropy(
        logits, labels.roll(1)
    )
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("alpha", [1.0, 0.2])
def test_mixup_draws_its_weights_from_a_beta_distribution(alpha):
    images = torch.stack([torch.zeros(1, 1, 1), torch.ones(1, 1, 1)])
    weights = [
        float(mixed("mixup", images, torch.arange(2), seed, alpha=alpha)[0][1])
        for seed in range(400)
    ]
    # One in a thousand fair draws is further from the distribution.
    assert stats.kstest(weights, stats.beta(alpha, alpha).cdf).pvalue > 1e-3


@pytest.mark.parametrize("name", MIXES)
def test_training_error_counts_the_class_that_most_of_a_mixed_image_is_of(name):
    """A model that reads the shares of the classes off the pixels makes no training error."""
    labels = torch.tensor([0, 1, 2, 0, 3, 1, 2, 3])
    images = F.one_hot(labels, 4).float()[:, :, None, None].expand(8, 4, 8, 8)

    class Oracle(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.mean(dim=(2, 3))

    seldom = 0
    for seed in range(20):
        loss, logits = DEFENSES[name]().loss(Oracle(), images, labels, seeds(8, seed))
        assert torch.equal(logits.argmax(dim=1), labels)
        seldom += int(logits.amax() < 1)
        assert loss >= -(logits.softmax(dim=1).log() * logits).sum(dim=1).mean() - 1e-5
    assert seldom > 10  # images were in fact mixed


@pytest.mark.parametrize("name", MIXES)
def test_labels_that_are_mixed_already_are_mixed_once_more(name):
    images, labels = torch.rand(6, 3, 8, 8), torch.tensor([0, 1, 2, 3, 0, 2])
    soft = F.one_hot(labels, 4).float()
    hard_loss = mixed(name, images, labels)[1]
    assert mixed(name, images, soft)[1].item() == pytest.approx(hard_loss.item())


def states() -> list[object]:
    return [
        torch.get_rng_state().tolist(),
        np.random.get_state()[1].tolist(),
        random.getstate(),
    ]


@pytest.mark.parametrize("name", MIXES + AUGMENTATIONS)
def test_draws_come_from_the_seeds_and_the_global_generators_stay(name):
    images, labels = torch.rand(8, 3, 16, 16), torch.arange(8) % 4

    def outcome(seed: int) -> tuple[Tensor, float]:
        model = Remembering(images[0].numel())
        defense = DEFENSES[name]()
        moved, targets = defense.transform(images, labels, seeds(8, seed))
        loss, _ = defense.loss(model, moved, targets, seeds(8, seed))
        return model.seen[0], loss.item()

    before = states()
    first, loss = outcome(0)
    assert states() == before
    torch.manual_seed(99)
    again, same = outcome(0)
    assert torch.equal(first, again)
    assert loss == same
    assert not torch.equal(first, outcome(1)[0])


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_each_image_has_draws_of_its_own_whatever_is_beside_it(name):
    image = torch.randint(20, 200, (3, 16, 16), generator=torch.Generator().manual_seed(0)) / 255
    images = image.expand(64, 3, 16, 16)
    transform = DEFENSES[name]().transform
    together, _ = transform(images, torch.arange(64), seeds(64))
    alone = [transform(images[:1], torch.arange(1), seeds(64)[[row]])[0] for row in range(64)]
    assert torch.equal(together, torch.cat(alone))
    # 14 operations, most of them of two signs or 31 strengths: one draw for all would give 1.
    assert len({each.numpy().tobytes() for each in together}) > 20


def unchanged_share(name: str, count: int, **settings: int) -> float:
    """How many of many copies of an image, no value of it above 200, stay as they are."""
    image = torch.randint(20, 200, (3, 16, 16), generator=torch.Generator().manual_seed(0)) / 255
    images = image.expand(count, 3, 16, 16)
    changed, _ = DEFENSES[name](**settings).transform(images, torch.arange(count), seeds(count))
    return float((changed == images).flatten(1).all(dim=1).float().mean())


def test_trivialaugment_draws_operations_and_strengths_evenly():
    # Of 14 operations: identity always; of the 31 strengths the first of nine (turns, shears,
    # shifts, colours), three that keep 8 bits, and seven that solarise above 200. Equalising and
    # stretching the contrast always change this image.
    expected = (1 + (9 + 3 + 7) / 31) / 14
    share = unchanged_share("trivialaugment", 3000)
    assert abs(share - expected) < 4 * (expected * (1 - expected) / 3000) ** 0.5


@pytest.mark.parametrize("num_ops", [1, 2])
def test_randaugment_of_no_strength_changes_by_two_operations_of_fourteen(num_ops):
    # Those without a strength: equalising and stretching the contrast.
    expected = (12 / 14) ** num_ops
    share = unchanged_share("randaugment", 1500, num_ops=num_ops, magnitude=0)
    assert abs(share - expected) < 4 * (expected * (1 - expected) / 1500) ** 0.5


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_images_stay_in_range_whatever_their_shape(name, channels):
    images = torch.rand(24, channels, 12, 20)
    changed, _ = DEFENSES[name]().transform(images, torch.arange(24), seeds(24))
    assert changed.shape == images.shape
    assert changed.dtype == torch.float32
    assert 0 <= changed.min() <= changed.max() <= 1


def test_augmentations_are_marked_with_corruptions_they_show():
    for name in AUGMENTATIONS:
        assert set(resolve(name).defense.corruptions) == {
            "brightness",
            "contrast",
            "saturate",
            "gaussian_blur",
            "defocus_blur",
        }
        assert set(resolve(name).defense.corruptions) <= set(CORRUPTIONS)
    for name in MIXES:
        assert resolve(name).defense.corruptions == ()


@pytest.mark.parametrize(
    ("operation", "corruption"),
    [
        (partial(functional.adjust_contrast, contrast_factor=0.5), "contrast"),
        (partial(functional.adjust_sharpness, sharpness_factor=0.01), "gaussian_blur"),
        (partial(functional.adjust_sharpness, sharpness_factor=0.01), "defocus_blur"),
    ],
)
def test_operations_do_much_of_what_the_corruptions_they_are_marked_with_do(operation, corruption):
    """At some severity a corrupted image is nearer to the changed one than the clean image is."""
    data = load_dataset("fashion-mnist-mini", split="test").take(40, seed=0)
    images = data.images(slice(None)).mul(255).round().to(torch.uint8).expand(-1, 3, -1, -1)
    changed = operation(images).float()
    change = (changed - images).square().mean().sqrt()
    left = [
        (changed - corrupt(images, CORRUPTIONS[corruption], severity)).square().mean().sqrt()
        for severity in (1, 2, 3, 4, 5)
    ]
    assert min(left) < 0.6 * change


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("mixup(alpha=0)", "mixup: alpha=0 must be a number above 0"),
        ("cutmix(alpha=inf)", "cutmix: alpha=inf must be a number above 0"),
        ("cutmix(alpha=true)", "cutmix: alpha=True must be a number above 0"),
        ("randaugment(num_ops=0)", "randaugment: num_ops=0 must be a whole number of at least 1"),
        ("randaugment(magnitude=31)", "randaugment: magnitude=31 must be a whole number, 0 to 30"),
    ],
)
def test_settings_that_cannot_be_used_are_told(spec, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        resolve(spec)


@pytest.mark.parametrize("name", [*MIXES, "trivialaugment", "adversarial"])
def test_training_goes_on_after_an_interruption_as_if_there_had_been_none(name):
    images, labels = torch.rand(20, 3, 8, 8), torch.arange(20) % 4

    def fresh() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(192, 4))

    def epochs(model: nn.Module, resume: Resume | None = None):
        return train(
            model, images, labels, epochs=2, batch_size=8, defense=DEFENSES[name](), resume=resume
        )

    whole = fresh()
    list(epochs(whole))
    halved = fresh()
    first = next(iter(epochs(halved)))
    resume = Resume(first.resume.epoch, copy.deepcopy(first.resume.optimizer))
    torch.manual_seed(77)
    list(epochs(halved, resume))
    assert torch.equal(whole[1].weight, halved[1].weight)
