"""A restorer in front of a frozen classifier: what it is, what is trained, what is kept."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_case import refused, task, workbench
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

import workbench.training as training
from attacks.corruptions import CORRUPTIONS, corrupt
from attacks.draws import Stream, derived_seeds, image_seeds
from defenses import Restored, Restorer, composed, resolve, train
from workbench.models import Classifier, ModelOptions, build, load_model, read_checkpoint
from workbench.models.factories import factory_in, is_factory

FACTS = {"channels": 3, "classes": 5, "input_size": (16, 16)}
ARCH = "restored(network='mlp(width=8)', width=4, depth=3)"
SPEC = "restore(corruptions=[contrast], width=4, depth=3)"
QUICK = ("--epochs", 3, "--batch-size", 16, "--device", "cpu", "--threads", 1)


def images(count: int = 6, side: int = 16) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return (torch.rand(count, 3, side, side, generator=generator) * 255).round() / 255


def classifier(network: nn.Module, **settings: object) -> Classifier:
    return Classifier(
        network, channels=3, classes=5, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4), **settings
    )  # type: ignore[arg-type]  # settings of the tests below


def learned() -> nn.Module:
    """A convolutional network with statistics and dropout, as if it had been trained."""
    torch.manual_seed(1)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.BatchNorm2d(4, affine=False), nn.Dropout(0.5),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5),
    )  # fmt: skip
    return network.requires_grad_(False)


@pytest.mark.parametrize("inner", ["resnet20(width=2)", "mlp", "timm:resnet18"])
def test_before_training_it_is_the_bare_classifier(inner: str) -> None:
    torch.manual_seed(0)
    bare = build(inner, **FACTS).eval()
    network = build(f"restored(network='{inner}', width=3, depth=2)", **FACTS).eval()
    network.get_submodule("network").load_state_dict(bare.state_dict())
    assert torch.equal(network(images()), bare(images()))


def test_the_restorer_adds_what_its_convolutions_give() -> None:
    torch.manual_seed(0)
    restorer = Restorer(3, width=4, depth=3).eval()
    weights = {name: torch.randn_like(value) for name, value in restorer.named_parameters()}
    restorer.load_state_dict({**restorer.state_dict(), **weights})
    x = images()
    hidden = F.conv2d(x, weights["layers.0.weight"], weights["layers.0.bias"], padding=1).relu()
    hidden = F.conv2d(hidden, weights["layers.2.weight"], padding=1) / (1 + 1e-5) ** 0.5
    scale, shift = (weights[f"layers.3.{name}"][:, None, None] for name in ("weight", "bias"))
    hidden = (hidden * scale + shift).relu()
    added = F.conv2d(hidden, weights["layers.5.weight"], weights["layers.5.bias"], padding=1)
    torch.testing.assert_close(restorer(x), x + 0.3 * added)


def test_a_cifar_stem_is_that_of_the_network_inside() -> None:
    network = build("restored(network=resnet18)", **FACTS, cifar_stem=True)
    bare = build("resnet18", **FACTS, cifar_stem=True)
    assert network.network.conv1.weight.shape == bare.conv1.weight.shape == (64, 3, 3, 3)


@pytest.mark.parametrize("settings", [{}, {"bgr": True}, {"input_size": (20, 20)}])
@pytest.mark.parametrize("weight", [0, 0.7])
def test_the_loss_is_the_distance_to_the_clean_values_and_the_cross_entropy(
    weight: float, settings: dict[str, object]
) -> None:
    """Written out: corruption, normalisation, and the two terms."""
    model = classifier(Restored(Restorer(3, 4, 3), learned()), **settings).train()
    x, labels = images(), torch.tensor([0, 1, 2, 3, 4, 0])
    seeds = image_seeds(3, torch.arange(6))
    defense = resolve(f"restore(corruptions=gaussian_noise, severities=2, task={weight})").defense
    found, logits = defense.loss(model, x, labels, seeds)
    own = derived_seeds(seeds, stream=Stream.DEFENSE, step=0)
    mean, std = (torch.tensor(v)[:, None, None] for v in ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4)))
    noisy, clean = (
        (each - mean) / std for each in (corrupt(x, CORRUPTIONS["gaussian_noise"], 2, seeds=own), x)
    )
    if settings.get("input_size"):
        noisy, clean = (F.interpolate(each, (20, 20), mode="bilinear") for each in (noisy, clean))
    expected_logits = model.network.network(noisy if not model.bgr else noisy.flip(1))
    torch.testing.assert_close(logits, expected_logits)  # the untrained restorer changes nothing
    expected = (noisy - clean).square().mean() + weight * F.cross_entropy(expected_logits, labels)
    torch.testing.assert_close(found, expected)


def test_training_moves_the_restorer_alone_and_towards_the_clean_images() -> None:
    x, labels = images(32), torch.arange(32) % 5
    model = classifier(Restored(Restorer(3, 4, 3), learned()))
    before = copy.deepcopy(model.network.network.state_dict())
    defense = resolve("restore(corruptions=contrast, severities=1, task=0)").defense
    epochs = list(
        train(
            model, x, labels, epochs=60, batch_size=16, lr=0.01, optimizer="adam", defense=defense
        )
    )
    for name, value in model.network.network.state_dict().items():
        assert torch.equal(value, before[name]), name  # statistics too, also without weights
    assert epochs[-1].loss < 0.5 * epochs[0].loss


def test_what_was_seen_is_marked_and_losses_do_not_compose() -> None:
    bound = resolve("restore(corruptions=[fog, noise])")
    assert bound.defense.corruptions == ("gaussian_noise", "shot_noise", "impulse_noise", "fog")
    both = composed([resolve("crop-flip"), bound])
    assert both.corruptions == bound.defense.corruptions
    assert both.wrapper == bound.defense.wrapper
    assert both.loss is bound.defense.loss
    with pytest.raises(ValueError, match="both decide the loss"):
        composed([bound, resolve("augmix")])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("restore(corruptions=fogg)", "unknown corruption 'fogg'; did you mean fog"),
        ("restore(severities=0)", "restore: severities=0 must be of 1, 2, 3, 4 and 5"),
        ("restore(share=0)", "restore: share=0 must be above 0"),
        ("restore(task=-1)", "restore: task=-1 must not be negative"),
        ("restore(width=0)", "restore: width=0 must be at least 1"),
        ("restore(depth=1)", "depth=1 at least 2"),
    ],
)
def test_settings_that_cannot_be_are_told(spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        resolve(spec)


def test_models_without_a_restorer_or_with_a_moving_classifier_are_told() -> None:
    labels = torch.arange(6) % 5
    loss = resolve("restore").defense.loss
    for model in (learned(), classifier(learned())):
        with pytest.raises(ValueError, match="the model has no restorer"):
            loss(model, images(), labels, labels)
    moving = Restored(Restorer(3), learned().requires_grad_(True))
    with pytest.raises(ValueError, match="must be frozen"):
        loss(moving, images(), labels, labels)


def test_a_file_inside_is_still_a_file_that_would_be_run() -> None:
    nested = "restored(network='restored(network=\"a/b.py:make\")', width=2)"
    assert factory_in(nested) == "a/b.py:make" == factory_in("a/b.py:make")
    assert not is_factory(nested)
    assert factory_in("restored(network=resnet20)") is None
    assert factory_in("restored(network=") is None


# From the command line


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The quadrant task at 16 pixels, and an `mlp(width=8)` that has learned it."""
    monkeypatch.chdir(tmp_path)
    (x, y), (test_x, test_y) = task(120, 1), task(60, 2)
    x, test_x = (each.repeat(2, axis=1).repeat(2, axis=2) for each in (x, test_x))
    np.savez("task.npz", train_images=x, train_labels=y, test_images=test_x, test_labels=test_y)
    done = workbench(
        "train", "mlp(width=8)", "--data", "task.npz", *QUICK, "--lr", 0.05, "--output", "plain"
    )
    assert done.code == 0, done.err


COMMAND = (
    "train", "mlp(width=8)", "--data", "task.npz", *QUICK, "--from", "plain/model.safetensors",
    "--defense", SPEC,
)  # fmt: skip


@pytest.mark.usefixtures("here")
def test_the_checkpoint_describes_itself_and_keeps_the_classifier() -> None:
    found = workbench(*COMMAND, "--output", "run", "--json").document
    assert found["best_epoch"] == 3  # the last, whatever clean images say
    said = read_checkpoint(Path("run/model.safetensors")).metadata
    assert said is not None
    assert said.arch == ARCH
    assert said.trained_on_corruptions == ("contrast",)
    before, after = (load_file(f"{name}/model.safetensors") for name in ("plain", "run"))
    for name, value in before.items():
        assert torch.equal(after[f"network.{name}"], value)
    assert float(after["restorer.layers.5.weight"].abs().max()) > 0
    loaded = load_model("run/model.safetensors", ModelOptions(), data=None)
    assert isinstance(loaded.model.network, Restored)
    assert loaded.description["arch"] == ARCH
    for arguments in (("attack", "--attack", "fgsm"), ("benchmark", "--severities", 1)):
        done = workbench(
            arguments[0], "run/model.safetensors", "--data", "task.npz", "--limit", 12,
            "--threads", 1, "--force", *arguments[1:],
            *(("--corruptions", "contrast") if arguments[0] == "benchmark" else ()),
        )  # fmt: skip
        assert done.code == 0, done.err
    assert "† run: trained on test corruptions (contrast)" in done.out
    again = workbench(
        "train", ARCH, "--data", "task.npz", *QUICK, "--from", "run/model.safetensors",
        "--lr", 1e-9, "--output", "again",
    )  # fmt: skip
    assert again.code == 0, again.err


@pytest.mark.usefixtures("here")
def test_an_interrupted_training_ends_as_if_it_never_was(monkeypatch: pytest.MonkeyPatch) -> None:
    assert workbench(*COMMAND, "--output", "whole").code == 0
    keep = training._keep

    def keep_one(*given: object) -> None:
        keep(*given)  # type: ignore[arg-type]  # passed on as they came
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "_keep", keep_one)
    assert workbench(*COMMAND, "--output", "cut").code == 130
    monkeypatch.setattr(training, "_keep", keep)
    assert workbench(*COMMAND, "--output", "cut").code == 0
    assert (
        Path("cut/model.safetensors").read_bytes() == Path("whole/model.safetensors").read_bytes()
    )


@pytest.mark.usefixtures("here")
def test_wrong_use_is_two_lines() -> None:
    start = COMMAND[: COMMAND.index("--from")]
    refused(
        workbench(*start, "--defense", SPEC),
        "'restored' around a network that has learned: add --from",
    )
    refused(workbench(*COMMAND, "--last-layer-only"), "--last-layer-only", "freezes")
    refused(workbench(*COMMAND, "--label-smoothing", 0.1), "label_smoothing")
    refused(workbench(*COMMAND, "--classes", "0,1"), "learned the classes of the data")
    for arch, message in (
        ("restored", "restored(network=resnet20)"),
        ("restored(network=resnet21)", "Unknown architecture 'resnet21'"),
        ("restored(network=mlp, wide=3)", "width"),
        ("restored(network=mlp, depth=1)", "depth=1 at least 2"),
    ):
        refused(workbench("train", arch, "--data", "task.npz", *QUICK), message)


@pytest.mark.usefixtures("here")
def test_a_file_with_a_network_inside_is_run_only_on_consent() -> None:
    Path("mine.py").write_text(
        "from torch import nn\n"
        "def make():\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(256, 4))\n",
        encoding="utf-8",
    )
    plain = ("train", "mine.py:make", "--data", "task.npz", *QUICK)
    assert workbench(*plain, "--output", "own").code == 0
    done = workbench(
        *plain, "--from", "own/model.safetensors", "--defense", SPEC, "--output", "run"
    )
    assert done.code == 0, done.err
    attack = (
        "attack", "run/model.safetensors", "--data", "task.npz", "--limit", 4, "--force",
        "--attack", "fgsm",
    )  # fmt: skip
    refused(workbench(*attack), "made with the file mine.py:make", "--arch 'restored(")
    said = read_checkpoint(Path("run/model.safetensors")).metadata
    assert said is not None
    done = workbench(*attack, "--arch", said.arch)
    assert done.code == 0, done.err
