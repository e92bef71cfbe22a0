"""Plain training: what it computes, in which order, and what it promises."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from defenses import (
    Defense,
    DivergenceError,
    Epoch,
    channel_statistics,
    evaluate,
    learning_rate,
    train,
)

LINEAR = {"momentum": 0.0, "weight_decay": 0.0, "schedule": "constant"}


def blobs(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Grey 2x2 images of three classes that a line can tell apart."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    centres = torch.tensor([[0.9, 0.1, 0.1, 0.1], [0.1, 0.9, 0.1, 0.1], [0.1, 0.1, 0.9, 0.1]])
    noise = 0.1 * torch.rand(count, 4, generator=generator)
    return (centres[labels] + noise).clamp(0, 1).view(count, 1, 2, 2), labels


def linear(seed: int = 0) -> nn.Module:
    layer = nn.Linear(4, 3)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(3, 4, generator=generator))
        layer.bias.zero_()
    return nn.Sequential(nn.Flatten(), layer)


def noisy_net() -> nn.Module:
    """Batch normalisation and dropout: state and draws of its own."""
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(),
        nn.Linear(16, 3),
    )  # fmt: skip


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


class Recorder:
    """Images that remember which rows were asked for, batch by batch."""

    def __init__(self, images: Tensor) -> None:
        self.images = images
        self.asked: list[list[int]] = []

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: Tensor, /) -> Tensor:
        self.asked.append(rows.tolist())
        return self.images[rows]


def numpy_descent(
    images: Tensor, labels: Tensor, start: nn.Module, steps: int, lr: float, mu: float, decay: float
) -> tuple[np.ndarray, list[float], list[float]]:
    """Softmax regression by Nesterov's descent on the whole set, written out."""
    x = np.hstack([images.flatten(1).double().numpy(), np.ones((len(labels), 1))])
    y = np.eye(3)[labels.numpy()]
    layer = start[1]
    w = np.hstack([layer.weight.detach().double().numpy(), np.zeros((3, 1))])
    velocity = np.zeros_like(w)
    losses, errors = [], []
    for _ in range(steps):
        z = x @ w.T
        p = np.exp(z - z.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        losses.append(float(-np.log((p * y).sum(1)).mean()))
        errors.append(float((z.argmax(1) != labels.numpy()).mean()))
        gradient = (p - y).T @ x / len(x) + decay * w
        velocity = mu * velocity + gradient
        w = w - lr * (gradient + mu * velocity if mu else gradient)
    return w, losses, errors


@pytest.mark.parametrize(("mu", "decay"), [(0.0, 0.0), (0.9, 0.01)])
def test_full_batch_descent_is_the_textbooks(mu: float, decay: float) -> None:
    images, labels = blobs(30)
    model = linear()
    expected, losses, errors = numpy_descent(images, labels, model, 6, 0.7, mu, decay)
    epochs = list(
        train(model, images, labels, epochs=6, batch_size=30, lr=0.7, momentum=mu,
              weight_decay=decay, schedule="constant")
    )  # fmt: skip
    found = torch.hstack([model[1].weight, model[1].bias[:, None]]).detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose([epoch.loss for epoch in epochs], losses, rtol=1e-5)
    assert [epoch.error for epoch in epochs] == pytest.approx(errors)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_separable_classes_are_learned(optimizer: str) -> None:
    images, labels = blobs(90)
    unseen = blobs(30, seed=1)
    *_, last = train(
        linear(), images, labels, epochs=20, batch_size=16, lr=0.5, optimizer=optimizer,
        weight_decay=0.0, validation=unseen,
    )  # fmt: skip
    assert last.error == 0
    assert last.validation_error == 0


def test_every_image_is_seen_once_each_epoch_in_a_new_order() -> None:
    images, labels = blobs(33)
    recorder = Recorder(images)
    epochs = list(train(linear(), recorder, labels, epochs=2, batch_size=8, **LINEAR))
    passes = [recorder.asked[:4], recorder.asked[4:]]
    assert [len(batch) for batch in passes[0]] == [8, 8, 8, 9]  # the 33rd is not left alone
    orders = [[row for batch in batches for row in batch] for batches in passes]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(33))
    assert orders[0] != orders[1]
    assert [epoch.images for epoch in epochs] == [33, 33]
    assert [(epoch.number, epoch.epochs) for epoch in epochs] == [(1, 2), (2, 2)]


def test_same_seed_same_weights_and_another_seed_others() -> None:
    images, labels = blobs(50)
    trained = []
    for seed in (1, 1, 2):
        model = noisy_net()
        torch.manual_seed(seed + len(trained))  # the global state must not matter
        for _ in train(model, images, labels, epochs=2, batch_size=8, seed=seed):
            pass
        trained.append(weights(model))
    assert all(torch.equal(trained[0][name], trained[1][name]) for name in trained[0])
    assert any(not torch.equal(trained[0][name], trained[2][name]) for name in trained[0])


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_training_goes_on_as_if_never_interrupted(optimizer: str) -> None:
    images, labels = blobs(50)
    settings = {"epochs": 4, "batch_size": 8, "optimizer": optimizer, "warmup": 0.5, "lr": 0.05}
    straight = noisy_net()
    whole = list(train(straight, images, labels, **settings))
    first = noisy_net()
    run = train(first, images, labels, **settings)
    next(run)
    kept = copy.deepcopy((next(run).resume, first.state_dict()))
    run.close()
    second = noisy_net()
    second.load_state_dict(kept[1])
    rest = list(train(second, images, labels, **settings, resume=kept[0]))
    assert [epoch.number for epoch in rest] == [3, 4]
    assert [epoch.loss for epoch in rest] == [epoch.loss for epoch in whole[2:]]
    for name, value in straight.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_the_global_generator_is_left_alone() -> None:
    images, labels = blobs(20)
    model = noisy_net()
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    for _ in train(model, images, labels, epochs=2, batch_size=8):
        pass
    assert torch.equal(torch.rand(3), expected)


def test_eight_bit_images_are_floats_over_255() -> None:
    images, labels = blobs(20)
    bytes_ = (images * 255).round().to(torch.uint8)
    one, other = linear(), linear()
    list(train(one, bytes_, labels, epochs=2, batch_size=8))
    list(train(other, bytes_.float() / 255, labels, epochs=2, batch_size=8))
    assert torch.equal(one[1].weight, other[1].weight)


def test_at_each_yield_the_model_is_in_eval_mode_and_measured_so() -> None:
    images, labels = blobs(40)
    unseen = blobs(31, seed=5)
    model = noisy_net()
    for epoch in train(model, images, labels, epochs=2, batch_size=8, validation=unseen):
        assert not any(part.training for part in model.modules())
        with torch.no_grad():
            logits = model(unseen[0]).double().numpy()
        logits -= logits.max(1, keepdims=True)
        right = logits[np.arange(31), unseen[1]] - np.log(np.exp(logits).sum(1))
        assert epoch.validation_loss == pytest.approx(-right.mean(), rel=1e-5)
        assert epoch.validation_error == (logits.argmax(1) != unseen[1].numpy()).mean()
        assert (epoch.validation_loss, epoch.validation_error) == evaluate(model, *unseen)


def test_watching_counts_up_to_every_image() -> None:
    images, labels = blobs(40)
    seen = []
    epochs = list(train(linear(), images, labels, epochs=2, batch_size=16, watch=seen.append))
    assert [(batch.epoch, batch.images) for batch in seen] == [
        (1, 16), (1, 32), (1, 40), (2, 16), (2, 32), (2, 40),
    ]  # fmt: skip
    assert (seen[-1].loss, seen[-1].error) == (epochs[-1].loss, epochs[-1].error)


def test_divergence_is_told_after_the_good_epochs() -> None:
    images, labels = blobs(20)

    class SpoiltLater(Recorder):
        def __getitem__(self, rows: Tensor, /) -> Tensor:
            good = super().__getitem__(rows)
            return good if len(self.asked) <= 3 else good * math.nan

    run = train(linear(), SpoiltLater(images), labels, epochs=5, batch_size=8)
    yielded: list[Epoch] = []
    with pytest.raises(DivergenceError, match=r"epoch 2.*smaller learning rate"):
        yielded.extend(run)
    assert [epoch.number for epoch in yielded] == [1]
    assert issubclass(DivergenceError, ValueError)


def test_a_value_that_overflows_unseen_is_divergence_too() -> None:
    images, labels = blobs(12)
    model = linear()
    model.register_buffer("memory", torch.tensor(math.inf))
    with pytest.raises(DivergenceError, match="memory is not finite"):
        next(train(model, images, labels, epochs=1))


@pytest.mark.parametrize(
    ("schedule", "step", "rate"),
    [
        ("constant", 99, 0.4),
        ("cosine", 0, 0.4),
        ("cosine", 25, 0.4 * (1 + math.sqrt(0.5)) / 2),
        ("cosine", 50, 0.2),
        ("cosine", 100, 0.0),
        ("step", 49, 0.4),
        ("step", 50, 0.04),
        ("step", 75, 0.004),
    ],
)
def test_schedules(schedule: str, step: int, rate: float) -> None:
    assert learning_rate(step, 100, 0.4, schedule) == pytest.approx(rate, abs=1e-12)


def test_warmup_climbs_evenly_to_the_peak_where_the_schedule_begins() -> None:
    rates = [learning_rate(step, 20, 1.0, "cosine", warmup=4) for step in range(5)]
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_channel_statistics_are_those_of_all_pixels() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (700, 3, 5, 4), generator=generator, dtype=torch.uint8)
    images[:, 1] = 51
    mean, std = channel_statistics(images)
    pixels = images.numpy().astype(np.float64).transpose(1, 0, 2, 3).reshape(3, -1) / 255
    assert mean == pytest.approx(pixels.mean(1).tolist(), rel=1e-6)
    assert std == pytest.approx([pixels[0].std(), 1.0, pixels[2].std()], rel=1e-6)


IMAGES, LABELS = blobs(6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"labels": LABELS + 1}, "labels run from 1 to 3, but the model has 3 classes"),
        ({"labels": LABELS - 1}, "labels run from -1 to 1"),
        ({"labels": LABELS[:5]}, "6 training images but 5 labels"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, "no training images"),
        ({"validation": (IMAGES, LABELS[:2])}, "6 validation images but 2 labels"),
        ({"validation": (IMAGES, LABELS + 9)}, "labels run from 9 to 11"),
        ({"epochs": 0}, "epochs is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"lr": -0.1}, "lr is -0.1"),
        ({"lr": math.nan}, "lr is nan"),
        ({"momentum": 1.0}, "momentum is 1.0"),
        ({"weight_decay": -1.0}, "weight_decay is -1.0"),
        ({"optimizer": "lion"}, "no optimizer 'lion'"),
        ({"schedule": "linear", "warmup": 1.0}, "no schedule 'linear'"),
        ({"model": nn.Flatten(0)}, "nothing to train"),
        ({"model": nn.Conv2d(1, 3, 1)}, r"returns \(6, 3, 2, 2\), not one tensor of logits"),
    ],
)
def test_what_cannot_be_trained_is_refused(settings: dict[str, object], message: str) -> None:
    given = {"model": linear(), "images": IMAGES, "labels": LABELS, "epochs": 1, **settings}
    with pytest.raises(ValueError, match=message):
        next(train(**given))  # type: ignore[arg-type]  # wrong on purpose


def test_the_training_error_is_by_the_labels_that_a_defense_gives() -> None:
    images, labels = torch.zeros(40, 1, 2, 2), torch.zeros(40, dtype=torch.int64)

    def exchanged(images, labels, seeds):
        return images + 1, labels + 1  # bright images, all of class 1

    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    with torch.no_grad():
        model[1].weight.zero_()
        model[1].bias.copy_(torch.tensor([0.0, 50.0]))  # sure of class 1, so no step moves it
    (epoch,) = train(
        model, images, labels, epochs=1, lr=1e-9, weight_decay=0, defense=Defense(exchanged)
    )
    assert epoch.loss == pytest.approx(0, abs=1e-6)
    assert epoch.error == 0
