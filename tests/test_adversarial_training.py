"""Adversarial training: the images it trains on, what it leaves alone, and what comes of it."""

import copy
import re

import pytest
import torch
from attack_case import linear_case, small_net
from torch import Tensor, nn
from torch.nn import functional as F

from attacks import pgd
from attacks.draws import Stream, image_seeds, uniform
from defenses import DEFENSES, composed, resolve, train
from workbench.datasets import load_dataset
from workbench.models import build

EPS = 0.1


class Watched(nn.Module):
    """Remembers the images that another model was trained on."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.trained_on: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            self.trained_on.append(images.detach().clone())
        return self.network(images)


def seeds(count: int) -> Tensor:
    return image_seeds(0, torch.arange(count))


def trained_on(model: nn.Module, images: Tensor, labels: Tensor, **settings: object) -> Tensor:
    watched = Watched(model).train()
    DEFENSES["adversarial"](**settings).loss(watched, images, labels, seeds(len(images)))
    (moved,) = watched.trained_on
    return moved


@pytest.mark.parametrize(
    ("settings", "way"),
    [
        ({"steps": 7}, 7 * EPS / 4),
        ({"steps": 1}, 1.25 * EPS),
        ({"steps": 3, "step_size": 0.02}, 0.06),
    ],
)
def test_against_a_linear_model_each_value_goes_straight_to_its_wall(settings, way):
    model, images, labels, _ = linear_case()
    moved = trained_on(model, images, labels, eps=EPS, **settings)
    # The gradient points one way everywhere: from the random start, all the way or to the wall.
    start = (2 * uniform(seeds(16), (1, 6, 6), stream=Stream.START) - 1) * EPS
    away = -model.weight.sign() * (2 * labels - 1)[:, None, None, None]
    expected = images + (start + away * way).clamp(-EPS, EPS)
    torch.testing.assert_close(moved, expected, rtol=0, atol=1e-6)


def test_loss_and_logits_are_those_of_the_worst_images():
    model, images, labels, scores = linear_case()
    loss, logits = DEFENSES["adversarial"](eps=0.1, steps=8).loss(
        model, images, labels, seeds(len(images))
    )
    # Eight steps of eps / 4 cross the ball from any start: the score falls by eps · |w|₁.
    signs = 2 * labels - 1
    worst = scores * signs - 0.1 * model.weight.abs().sum()
    assert loss.item() == pytest.approx(F.softplus(-2 * worst).mean().item(), rel=1e-4)
    torch.testing.assert_close(logits[:, 1], worst * signs, rtol=1e-4, atol=1e-4)


def test_in_l2_images_go_to_the_sphere_along_the_weights():
    model, images, labels, _ = linear_case()
    shift = trained_on(model, images, labels, eps=0.3, steps=20, norm="l2") - images
    lengths = shift.flatten(1).norm(dim=1)
    assert lengths.max() <= 0.3 * (1 + 1e-6)
    assert lengths.min() >= 0.3 * 0.999
    away = -model.weight * (2 * labels - 1)[:, None, None, None]
    # Twenty steps of eps / 4 against a start of at most eps: what is left of it is under a fifth.
    assert F.cosine_similarity(shift.flatten(1), away.flatten(1)).min() > 0.98


@pytest.mark.parametrize("steps", [1, 3])
def test_the_attack_leaves_no_trace_in_the_model_and_the_generators(steps):
    network = small_net().train()
    untouched = copy.deepcopy(network)
    images, labels = torch.rand(8, 3, 8, 8), torch.arange(8) % 5
    watched = Watched(network).train()
    torch.manual_seed(3)
    loss, logits = DEFENSES["adversarial"](steps=steps).loss(watched, images, labels, seeds(8))
    after = torch.get_rng_state()
    # One training pass on the images it found, dropout drawn from the same generator, and that is
    # all: the same logits, the same statistics, the same generator.
    torch.manual_seed(3)
    again = untouched(watched.trained_on[0])
    assert torch.equal(logits, again)
    assert torch.equal(torch.get_rng_state(), after)
    assert loss.item() == pytest.approx(F.cross_entropy(again, labels).item())
    for (name, buffer), expected in zip(network.named_buffers(), untouched.buffers(), strict=True):
        assert torch.equal(buffer, expected), name
    assert all(module.training for module in network.modules())
    assert all(weight.requires_grad and weight.grad is None for weight in network.parameters())
    loss.backward()
    assert all(weight.grad is not None for weight in network.parameters())


def test_the_attack_meets_the_model_in_evaluation_mode():
    """The running statistics here turn the gradient's sign round; the batch's own would not."""
    network = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(4, 2, bias=False))
    with torch.no_grad():
        network[2].weight.copy_(torch.tensor([[-1.0], [1.0]]).expand(2, 4))
    network[0].running_mean.fill_(0.5)
    images = torch.full((8, 1, 2, 2), 0.5)
    labels = torch.ones(8, dtype=torch.int64)
    moved = trained_on(network, images, labels, eps=EPS, steps=8)
    # In training mode, a constant batch is the same after any common shift: gradients vanish. In
    # evaluation mode darker is worse.
    torch.testing.assert_close(moved, images - EPS)


def test_specs_and_mistakes():
    eps = 8 / 255
    assert resolve("adversarial").spec == (
        f"adversarial(eps={eps!r}, steps=7, step_size=None, norm='linf')"
    )
    fast = resolve("adversarial(steps=1, eps=4/255, norm=l2)")
    assert resolve(fast.spec).spec == fast.spec
    for settings, message in {
        "eps=8": "adversarial: eps=8 is larger than the image range [0, 1]; write 8/255?",
        "eps=0": "adversarial: eps=0 moves nothing; it must be above 0",
        "steps=0": "adversarial: steps=0 must be a whole number of at least 1",
        "norm=l3": "adversarial: unknown norm 'l3'; did you mean l2?",
        "step_size=0": "adversarial: step_size=0 moves nothing; it must be above 0",
    }.items():
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            resolve(f"adversarial({settings})")
    with pytest.raises(ValueError, match="both decide the loss"):
        composed([fast, resolve("mixup")])


@pytest.mark.slow
def test_a_model_trained_so_withstands_what_fools_the_plain_one():
    def prepared(split: str, count: int) -> tuple[Tensor, Tensor]:
        data = load_dataset("fashion-mnist-mini", split=split).take(count, seed=0)
        return data.images(slice(None)), torch.from_numpy(data.labels)

    images, labels = prepared("train", 1000)
    test_images, test_labels = prepared("test", 500)
    fooled = {}
    for spec in (None, "adversarial(eps=0.1, steps=1)", "adversarial(eps=0.1, steps=3)"):
        torch.manual_seed(0)
        model = build("mlp(width=64)", channels=1, classes=10, input_size=(28, 28))
        defense = resolve(spec).defense if spec else None
        list(train(model, images, labels, epochs=5, lr=0.1, batch_size=64, defense=defense))
        clean = model(test_images).argmax(dim=1)
        assert (clean != test_labels).float().mean() < 0.5  # chance is 0.9
        moved = pgd(model, test_images, test_labels, eps=0.1, steps=20).images
        fooled[spec] = float((model(moved).argmax(dim=1) != test_labels).float().mean())
    # Of 500 images, 0.1 is more than three standard errors of the difference.
    assert fooled.pop(None) > 0.1 + max(fooled.values())
