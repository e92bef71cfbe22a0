"""Label smoothing, averaged weights, what decays, and what is frozen."""

import copy

import numpy as np
import pytest
import torch
from test_training import blobs, linear, noisy_net, weights
from torch import nn

from defenses import Defense, evaluate, train
from defenses.defense import cross_entropy

PLAIN = {"momentum": 0.0, "weight_decay": 0.0, "schedule": "constant"}


def test_a_smoothed_label_is_spread_over_all_classes():
    images, labels = blobs(30)
    model = linear()
    with torch.no_grad():
        logits = model(images).double().numpy()
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    wanted = 0.7 * np.eye(3)[labels] + 0.3 / 3
    loss = -(wanted * np.log(shares)).sum(1).mean()
    x = np.hstack([images.flatten(1).double().numpy(), np.ones((30, 1))])
    before = torch.hstack([model[1].weight, model[1].bias[:, None]]).detach().double().numpy()
    expected = before - 0.5 * (shares - wanted).T @ x / 30
    (epoch,) = train(
        model, images, labels, epochs=1, batch_size=30, lr=0.5, label_smoothing=0.3, **PLAIN
    )
    assert epoch.loss == pytest.approx(loss, rel=1e-5)
    found = torch.hstack([model[1].weight, model[1].bias[:, None]]).detach().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert epoch.error == (logits.argmax(1) != labels.numpy()).mean()


def test_a_loss_that_a_defense_decides_is_not_smoothed():
    def other(model, images, labels, seeds):
        return cross_entropy(model, images, labels, seeds)

    with pytest.raises(ValueError, match="label_smoothing is for plain training's loss"):
        train(linear(), *blobs(6), defense=Defense(loss=other), label_smoothing=0.1)


def test_the_running_mean_is_kept_beside_the_weights():
    """One step an epoch: the weights of a training without it give the mean by hand."""
    images, labels = blobs(20)
    settings = {"epochs": 6, "batch_size": 20, "lr": 0.5, "seed": 3}
    plain = noisy_net()
    mean = {name: value.double().numpy() for name, value in weights(plain).items()}
    by_hand, kept = [], [1 / 10, 2 / 11, 3 / 12, 0.3, 0.3, 0.3]
    for step, _ in enumerate(train(plain, images, labels, **settings)):
        for name, value in weights(plain).items():
            mean[name] = kept[step] * mean[name] + (1 - kept[step]) * value.double().numpy()
        by_hand.append(dict(mean))
    averaged = noisy_net()
    unseen = blobs(30, seed=4)
    run = train(averaged, images, labels, ema=0.3, validation=unseen, **settings)
    for epoch, expected in zip(run, by_hand, strict=True):
        found = weights(averaged)
        for name, value in found.items():
            if value.is_floating_point():
                np.testing.assert_allclose(value.numpy(), expected[name], rtol=1e-4, atol=1e-6)
            else:
                assert value == epoch.number  # a counter is no mean
        assert (epoch.validation_loss, epoch.validation_error) == evaluate(averaged, *unseen)


@pytest.mark.parametrize("settings", [{"ema": 0.8}, {"spare_norms": True, "label_smoothing": 0.1}])
def test_training_goes_on_as_if_never_interrupted(settings):
    images, labels = blobs(50)
    settings = {"epochs": 4, "batch_size": 8, "lr": 0.05, **settings}
    straight, first, second = noisy_net(), noisy_net(), noisy_net()
    whole = list(train(straight, images, labels, **settings))
    run = train(first, images, labels, **settings)
    next(run)
    kept = copy.deepcopy((next(run).resume, first.state_dict()))
    run.close()
    second.load_state_dict(kept[1])
    rest = list(train(second, images, labels, **settings, resume=kept[0]))
    assert [epoch.loss for epoch in rest] == [epoch.loss for epoch in whole[2:]]
    for name, value in straight.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_norms_and_biases_can_be_spared_from_decay(optimizer):
    images, labels = blobs(20)
    trained = []
    for spare in (False, True):
        model = noisy_net()
        with torch.no_grad():
            for value in model.parameters():
                value.add_(1)  # biases begin at 0, from where nothing decays
        start = weights(model)
        next(
            train(model, images, labels, epochs=1, batch_size=20, lr=0.1, momentum=0.0,
                  weight_decay=0.5, schedule="constant", optimizer=optimizer, spare_norms=spare)
        )  # fmt: skip
        trained.append(weights(model))
    for name, _ in noisy_net().named_parameters():
        decayed = 0.1 * 0.5 * start[name] if start[name].ndim == 1 else torch.zeros(())
        expected = (trained[1][name] - decayed).expand_as(start[name])
        torch.testing.assert_close(trained[0][name], expected, atol=1e-6, rtol=1e-5, msg=name)


def test_a_model_of_vectors_alone_can_be_spared():
    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.by = nn.Parameter(torch.ones(4))

        def forward(self, images):
            return images.flatten(1) * self.by

    model = Scale()
    next(train(model, *blobs(6), epochs=1, spare_norms=True))
    assert not torch.equal(model.by.detach(), torch.ones(4))


def test_what_is_frozen_keeps_its_weights_and_its_statistics():
    images, labels = blobs(40)
    model = noisy_net()
    for value in model.parameters():
        value.requires_grad_(False)
    model[-1].requires_grad_(True)
    before = weights(model)
    list(train(model, images, labels, epochs=2, batch_size=8))
    changed = {name for name, value in weights(model).items() if not value.equal(before[name])}
    assert changed == {"5.weight", "5.bias"}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"ema": 1.0}, "ema is 1.0"),
        ({"ema": -0.1}, "ema is -0.1"),
        ({"label_smoothing": 1.0}, "label_smoothing is 1.0"),
    ],
)
def test_settings_that_cannot_be_are_told(setting, message):
    with pytest.raises(ValueError, match=message):
        train(linear(), *blobs(6), **setting)
