"""DeepAugment: what is perturbed, for whom, and which networks it takes."""

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_case import refused, task, workbench
from torch import Tensor, nn
from torch.nn import functional as F

import defenses.perturbed as module
from attacks.draws import Stream, derived_seeds, image_seeds, integers, normal, uniform
from defenses import DEFENSES, ImageNetwork, Restored, Restorer
from defenses.perturbed import distorted, perturbed
from workbench.datasets import load_dataset
from workbench.image_networks import read_image_network
from workbench.models import CheckpointMetadata, build, save_checkpoint

KINDS = ("gain", "negate", "zero", "swap", "relu", "gelu")
deepaugment = DEFENSES["deepaugment"]
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning")


def seeds(count: int, seed: int = 0) -> Tensor:
    return image_seeds(seed, torch.arange(count))


def images(count: int = 6) -> Tensor:
    return torch.rand(count, 3, 12, 12, generator=torch.Generator().manual_seed(0))


def autoencoder() -> nn.Module:
    """Three convolutions with statistics of their own, images in [0, 1] to such images."""
    torch.manual_seed(2)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(),
        nn.Conv2d(6, 4, 3, padding=1), nn.Tanh(), nn.ConvTranspose2d(4, 3, 1), nn.Sigmoid(),
    )  # fmt: skip
    return network.requires_grad_(False).eval()


def programs(network: nn.Module) -> dict[str, nn.Module]:
    return {
        "eager": network,
        "scripted": torch.jit.script(network),
        "traced": torch.jit.trace(network, images()),
    }


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A function that makes one kind of change the only one."""

    def choose(kind: str) -> None:
        def fixed(own: Tensor, high: int, *, stream: int, step: int) -> Tensor:
            drawn = integers(own, high, stream=stream, step=step)
            return torch.full_like(drawn, KINDS.index(kind)) if step == 0 else drawn

        monkeypatch.setattr(module, "integers", fixed)

    return choose


@pytest.mark.parametrize("kind", ["eager", "scripted", "traced"])
def test_without_strength_it_is_the_network_and_with_it_nothing_stays_behind(kind: str) -> None:
    network = programs(autoencoder())[kind]
    x = images()
    plain = network(x)
    assert torch.equal(distorted(network, x, seeds(6), 0.0), plain)
    state = copy.deepcopy(network.state_dict())
    moved = distorted(network, x, seeds(6), 0.5)
    assert (moved - plain).abs().flatten(1).amax(1).min() > 1e-3
    assert torch.equal(network(x), plain)
    for name, value in network.state_dict().items():
        assert torch.equal(value, state[name])
    torch.testing.assert_close(moved, distorted(autoencoder(), x, seeds(6), 0.5))
    if kind == "eager":
        for part in network.modules():
            assert not part._forward_hooks
            assert not part._forward_pre_hooks
            assert not part.training


def test_gains_are_those_of_scaled_weights(only: Callable[[str], None]) -> None:
    """The second implementation: each image through a network of its own."""
    only("gain")
    network, x, own = autoencoder(), images(), seeds(6, 5)
    moved = distorted(network, x, own, 0.4)
    for row in range(6):
        scaled = copy.deepcopy(network)
        for number, layer in enumerate((scaled[0], scaled[3]), start=1):
            seed = derived_seeds(own[row : row + 1], stream=Stream.DEFENSE, step=number)
            count = layer.out_channels
            touched = uniform(seed, (count,), stream=Stream.DEFENSE, step=1)[0] < 0.4
            gains = normal(seed, (count,), stream=Stream.DEFENSE, step=2)[0].exp()
            gains = torch.where(touched, gains, 1.0)
            layer.weight.mul_(gains[:, None, None, None])
            layer.bias.mul_(gains)
        torch.testing.assert_close(moved[row], scaled(x[row : row + 1])[0])


@pytest.mark.parametrize("kind", KINDS)
def test_each_change_is_what_it_is_called(kind: str, only: Callable[[str], None]) -> None:
    only(kind)
    y = torch.randn(40, 9, 4, 4, generator=torch.Generator().manual_seed(1))
    changed = perturbed(y, seeds(40), 0.3)
    whole = perturbed(y, seeds(40), 1.0)
    touched = (changed != y).flatten(2).any(2)
    if kind == "swap":  # nothing is lost, and what is swapped twice is back
        assert torch.equal(perturbed(whole, seeds(40), 1.0), y)
        for before, after in zip(y, changed, strict=True):
            order = [int((before == channel).flatten(1).all(1).nonzero()) for channel in after]
            assert sorted(order) == list(range(9))
            assert [order[place] for place in order] == list(range(9))
    elif kind == "gain":
        ratios = (whole / y).flatten(2)
        assert (ratios.amax(2) - ratios.amin(2)).max() < 1e-4
        # standard normal logarithms: 360 of them have a mean within 4 deviations of 1/19
        assert abs(float(ratios[..., 0].log().mean())) < 4 / 360**0.5
    else:
        expected = {
            "negate": -y, "zero": 0 * y, "relu": y.clamp_min(0), "gelu": F.gelu(y),
        }[kind]  # fmt: skip
        torch.testing.assert_close(whole, expected)
        # 360 channels at a chance of 0.3: 108 with a deviation of 8.7, of which four
        assert abs(int(touched.sum()) - 108) < 35
        torch.testing.assert_close(changed[touched], expected[touched])


def test_all_kinds_come_up_evenly() -> None:
    drawn = integers(seeds(600), len(KINDS), stream=Stream.DEFENSE, step=0)
    assert module._KINDS == KINDS
    counts = np.bincount(drawn.numpy(), minlength=len(KINDS))
    # chi-square with 5 degrees of freedom exceeds 20.5 in one of a thousand fair draws
    assert ((counts - 100) ** 2 / 100).sum() < 20.5


def test_an_image_is_changed_by_its_seed_alone_whatever_is_beside_it() -> None:
    defense = deepaugment(ImageNetwork("", autoencoder()), strength=0.4, share=0.7)
    x, labels, before = images(16), torch.arange(16), torch.get_rng_state()
    whole, kept = defense.transform(x, labels, seeds(16))
    assert torch.equal(kept, labels)
    assert torch.equal(x, images(16))
    assert torch.equal(torch.get_rng_state(), before)
    part, _ = defense.transform(x[5:9], labels[5:9], seeds(16)[5:9])
    torch.testing.assert_close(part, whole[5:9])
    assert torch.equal(defense.transform(x, labels, seeds(16))[0], whole)
    other, _ = defense.transform(x, labels, seeds(16, 1))
    assert not torch.allclose(other, whole)


def test_the_others_stay_and_what_is_made_is_clipped() -> None:
    class Loud(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = autoencoder()

        def forward(self, values: Tensor) -> Tensor:
            return 40 * self.inner(values) - 20

    x = images(400)
    defense = deepaugment(ImageNetwork("", Loud()), share=0.3)
    moved, _ = defense.transform(x, torch.arange(400), seeds(400))
    touched = (moved != x).flatten(1).any(1)
    # 120 are expected, with a deviation of 9.2: four of them
    assert abs(int(touched.sum()) - 120) < 37
    assert moved.min() == 0
    assert moved.max() == 1
    few = deepaugment(ImageNetwork("", Loud()), share=1e-9)
    assert torch.equal(few.transform(x, torch.arange(400), seeds(400))[0], x)


class Shrinking(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(values, torch.ones(3, 3, 3, 3)), torch.ones(3, 3, 1, 1))


class Folding(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        for _ in range(2):
            grey = values.flatten(0, 1)[:, None]
            values = F.conv2d(grey, torch.ones(1, 1, 1, 1)).view(values.shape)
        return values


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (nn.Conv2d(3, 3, 1), "has 1 convolutions that can be perturbed"),
        (nn.Identity(), "has 0 convolutions"),
        (Shrinking(), r"makes \(6, 3, 10, 10\) of images \(6, 3, 12, 12\)"),
        (Folding(), "treat a batch as images one by one"),
    ],
)
def test_networks_that_do_not_fit_are_told(network: nn.Module, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        distorted(network, images(), seeds(6), 0.2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "deepaugment needs a network: deepaugment\\(network='FILE'\\)"),
        ({"network": ImageNetwork("", nn.Identity()), "strength": 1.1}, "strength=1.1 must be"),
        ({"network": ImageNetwork("", nn.Identity()), "share": 0}, "share=0 must be above 0"),
    ],
)
def test_settings_that_cannot_be_are_told(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        deepaugment(**settings)


# Files


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    x, y = task(60, 1)
    x = x.repeat(2, axis=1).repeat(2, axis=2)
    np.savez("grey.npz", images=x, labels=y)
    np.savez("colour.npz", images=np.stack([x, x // 2, 255 - x], 3), labels=y)
    torch.jit.save(torch.jit.script(autoencoder()), "program.pt")
    torch.save({"weight": torch.zeros(4, 3, 3, 3)}, "weights.pt")
    Path("mine.py").write_text(
        "from torch import nn\n"
        "def make(channels, width=4, gain=1):\n"
        "    class Net(nn.Sequential):\n"
        "        def forward(self, values):\n"
        "            return gain * super().forward(values)\n"
        "    return Net(nn.Conv2d(channels, width, 3, padding=1), nn.Conv2d(width, channels, 1),\n"
        "               nn.Sigmoid())\n"
        "def shrinking(channels):\n"
        "    return nn.Conv2d(channels, channels, 3)\n",
        encoding="utf-8",
    )
    torch.manual_seed(0)
    arch = "restored(network=mlp, width=4, depth=3)"
    network = build(arch, channels=3, classes=4, input_size=(16, 16))
    nn.init.normal_(network.restorer.layers[-1].weight)
    said = CheckpointMetadata(
        arch, 3, 4, (16, 16), mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4),
        trained_on_corruptions=("fog",),
    )  # fmt: skip
    save_checkpoint(Path("restored.safetensors"), network, said)
    plain = build("mlp", channels=3, classes=4, input_size=(16, 16))
    save_checkpoint(Path("plain.safetensors"), plain, CheckpointMetadata("mlp", 3, 4, (16, 16)))


@pytest.mark.usefixtures("here")
def test_a_restorer_takes_and_gives_images() -> None:
    found = read_image_network("restored.safetensors", load_dataset("colour.npz"))
    assert found.corruptions == ("fog",)
    assert deepaugment(found).corruptions == ("fog",)
    network = build(
        "restored(network=mlp, width=4, depth=3)", channels=3, classes=4, input_size=(16, 16)
    )
    assert isinstance(network, Restored)
    torch.manual_seed(0)
    again = build("restored(network=mlp, width=4, depth=3)", channels=3, classes=4,
                  input_size=(16, 16))  # fmt: skip
    nn.init.normal_(again.restorer.layers[-1].weight)
    mean, std = (torch.tensor(v)[:, None, None] for v in ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4)))
    x = images()
    expected = again.restorer.eval()((x - mean) / std) * std + mean
    torch.testing.assert_close(found.network(x), expected)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("name", ["restored.safetensors", "program.pt", "mine.py:make(width=3)"])
def test_networks_of_all_kinds_train(name: str) -> None:
    spec = f"deepaugment(network='{name}', strength=0.5)"
    for to in ("a", "b"):
        done = workbench(
            "train", "mlp(width=4)", "--data", "colour.npz", "--defense", spec, "--epochs", 1,
            "--threads", 1, "--output", to, "--json",
        )  # fmt: skip
        assert done.code == 0, done.err
    files = [Path(to, "model.safetensors").read_bytes() for to in ("a", "b")]
    assert files[0] == files[1]
    assert (b"fog" in files[0]) == (name == "restored.safetensors")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.pt", "there is no file or folder nowhere.pt"),
        ("nowhere.py:make", "there is no file or folder nowhere.py"),
        ("weights.pt", "weights.pt holds no network from images to images"),
        ("plain.safetensors", "plain.safetensors holds no network from images to images"),
        ("mine.py:mak", "make"),
        ("mine.py:make(gain=255)", "it must take and give images in [0, 1]"),
        ("mine.py:shrinking", "it must keep their shape"),
    ],
)
def test_files_that_are_none_are_two_lines(name: str, message: str) -> None:
    train = ("train", "mlp(width=4)", "--data", "colour.npz", "--epochs", 1, "--defense")
    refused(workbench(*train, f"deepaugment(network='{name}')"), message)


@pytest.mark.usefixtures("here")
def test_grey_images_and_a_colour_restorer_are_told() -> None:
    refused(
        workbench(
            "train", "mlp(width=4)", "--data", "grey.npz", "--epochs", 1, "--defense",
            "deepaugment(network='restored.safetensors')",
        ),
        "takes 3 channels; the images have 1",
    )  # fmt: skip
    refused(
        workbench("train", "mlp", "--data", "grey.npz", "--defense", "deepaugment"),
        "deepaugment needs a network",
    )
    assert Restorer(1, 2, 2)(torch.zeros(1, 1, 5, 7)).shape == (1, 1, 5, 7)
