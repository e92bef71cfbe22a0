"""Finding and reading layers: what a pass shows, and what is left as it was."""

import pytest
import torch
from torch import Tensor, nn

from benchmarks.layers import (
    CHANNELS_FIRST,
    CHANNELS_LAST,
    TOKENS,
    SpatialLayer,
    activations,
    find_layers,
    hooked,
    named_layers,
    recorded,
    spatial_layer,
)


class Wrapped(nn.Module):
    """As a classifier holds its network."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)


def convolutional() -> nn.Module:
    torch.manual_seed(0)
    return Wrapped(
        nn.Sequential(
            nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True)),
            nn.MaxPool2d(2),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.5),
            nn.Linear(16, 5),
        )
    )


IMAGES = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_names_begin_inside_the_network():
    assert list(named_layers(convolutional())) == ["0", "0.0", "0.1", "1", "2", "3", "4", "5"]
    assert list(named_layers(nn.Linear(2, 2))) == [""]


def test_patterns_find_layers_in_the_order_of_the_pass():
    model = convolutional()
    assert find_layers(model, ["0*"], IMAGES) == ["0.0", "0.1", "0"]
    assert find_layers(model, ["5", "1"], IMAGES) == ["1", "5"]
    with pytest.raises(ValueError, match=r"no layer is called '0.x'; nearest: 0.1, 0.0"):
        find_layers(model, ["0.x"], IMAGES)


def test_activations_are_what_the_layers_give_and_nothing_is_left_changed():
    model = convolutional().train()
    first = model.network[0][0]
    found = activations(model, IMAGES, ["0.0", "0"])
    assert list(found) == ["0.0", "0"]
    # Not what the layer after it, which writes in place, made of it.
    torch.testing.assert_close(found["0.0"], first(IMAGES).detach())
    torch.testing.assert_close(found["0"], first(IMAGES).detach().relu())
    assert all(module.training and not module._forward_hooks for module in model.modules())


def test_hooks_are_gone_after_an_exception():
    model = convolutional()
    with pytest.raises(RuntimeError), recorded(model, ["0", "1"]):
        model(torch.rand(1, 7, 8, 8))
    with (
        pytest.raises(ValueError, match="no layer is called 'x'"),
        hooked(model, ["0", "x"], lambda name, output: None),
    ):
        pass
    assert not any(module._forward_hooks for module in model.modules())


def test_the_last_map_before_the_pooling_is_read():
    model = convolutional()
    assert spatial_layer(model, IMAGES) == SpatialLayer("1", CHANNELS_FIRST, 4, 4)
    assert spatial_layer(model, IMAGES, "0.0") == SpatialLayer("0.0", CHANNELS_FIRST, 8, 8)
    wide = torch.rand(2, 3, 8, 20)
    assert spatial_layer(model, wide) == SpatialLayer("1", CHANNELS_FIRST, 4, 10)


def test_a_model_without_a_map_is_refused():
    flat = Wrapped(nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.Linear(16, 4)))
    with pytest.raises(ValueError, match="no layer keeps a map of the image"):
        spatial_layer(flat, IMAGES)
    with pytest.raises(ValueError, match=r"layer 5 gives \(N, 5\), which is no map"):
        spatial_layer(convolutional(), IMAGES, "5")


class Last(nn.Module):
    """Channels last, as Swin has them."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 6, 2, stride=2)
        self.norm = nn.LayerNorm(6)
        self.head = nn.Linear(6, 4)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.norm(self.embed(images).permute(0, 2, 3, 1)).mean(dim=(1, 2)))


class Transformer(nn.Module):
    """Two blocks of a vision transformer with so many prefix tokens, read or averaged over."""

    def __init__(self, prefix: int, *, average: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.prefix, self.average = prefix, average
        self.embed = nn.Conv2d(3, 8, 2, stride=2)
        self.tokens = nn.Parameter(torch.randn(1, prefix, 8))
        self.blocks = nn.Sequential(Block(), Block())
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 4)
        nn.init.zeros_(self.head.weight)  # as heads are before training

    def forward(self, images: Tensor) -> Tensor:
        patches = self.embed(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.tokens.expand(len(images), -1, -1), patches], dim=1)
        tokens = self.norm(self.blocks(tokens))
        return self.head(tokens[:, self.prefix :].mean(dim=1) if self.average else tokens[:, 0])


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(8), nn.LayerNorm(8)
        self.query, self.key = nn.Linear(8, 8), nn.Linear(8, 8)
        self.mlp = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.norm1(tokens)
        weights = (self.query(x) @ self.key(x).transpose(1, 2)).softmax(dim=-1)
        tokens = tokens + weights @ x
        return tokens + self.mlp(self.norm2(tokens))


def test_channels_last_are_read_as_such():
    layer = spatial_layer(Last(), torch.rand(2, 3, 8, 12))
    assert layer == SpatialLayer("norm", CHANNELS_LAST, 4, 6)
    assert layer.maps(torch.zeros(5, 4, 6, 6)).shape == (5, 6, 4, 6)


@pytest.mark.parametrize(("prefix", "average", "name"), [
    (1, False, "blocks.1.norm1"),  # after it, only the class token reaches the logits
    (5, False, "blocks.1.norm1"),
    (1, True, "norm"),
    (0, True, "norm"),
])  # fmt: skip
def test_a_transformer_is_read_where_its_patches_still_count(prefix, average, name):
    layer = spatial_layer(Transformer(prefix, average=average), torch.rand(2, 3, 8, 12))
    assert layer == SpatialLayer(name, TOKENS, 4, 6, prefix)
    tokens = torch.arange(float(prefix + 24)).reshape(1, -1, 1)
    assert layer.maps(tokens)[0, 0].tolist() == (torch.arange(24.0).reshape(4, 6) + prefix).tolist()


def test_real_networks_are_read_where_the_literature_reads_them():
    timm = pytest.importorskip("timm")
    torchvision = pytest.importorskip("torchvision")
    images = torch.rand(2, 3, 64, 64)
    for model, name, grid in (
        (torchvision.models.resnet18(num_classes=4), "layer4", (2, 2)),
        (torchvision.models.densenet121(num_classes=4), "features", (2, 2)),
        (timm.create_model("test_vit", img_size=64, num_classes=4), "blocks.5.norm1", (4, 4)),
    ):
        layer = spatial_layer(Wrapped(model), images)
        assert (layer.name, (layer.height, layer.width)) == (name, grid)
