"""The views of what is inside: kernels, feature maps, and how weights are spread."""

import io

import numpy as np
import pytest
import torch
from explain_case import NAMES, SIDE, Quadrant, classifier, data, network, viewed
from PIL import Image
from torch import Tensor, nn

from benchmarks.layers import named_layers
from workbench.drawing.maps import diverging, mosaic, overlaid, sequential
from workbench.drawing.marks import Drawing, Picture, Text
from workbench.errors import UsageError
from workbench.explain.features import features
from workbench.explain.kernels import kernels
from workbench.explain.layers import evenly
from workbench.explain.weights import weights


def pictures(drawing: Drawing | None) -> list[np.ndarray]:
    assert drawing is not None
    found = [mark for mark in drawing.marks if isinstance(mark, Picture)]
    return [np.asarray(Image.open(io.BytesIO(mark.png))) for mark in found]


def test_colours_tell_numbers() -> None:
    values = np.array([[-1.0, 0.0, 1.0, 7.0]])
    assert diverging(values).tolist() == [[[0, 114, 178], [255] * 3, [213, 94, 0], [213, 94, 0]]]
    light = sequential(np.linspace(0, 1, 256)[None])[0].astype(float) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(light) >= -1).all()  # lightness goes up, so that grey prints keep the order
    assert light[-1] - light[0] > 200
    image = np.zeros((3, 1, 2))
    assert overlaid(image, np.array([[0.0, 1.0]])).sum(axis=2).argmax() == 1


def test_a_mosaic_holds_every_tile() -> None:
    tiles = [np.full((30, 30, 3), shade, np.uint8) for shade in (10, 20, 30)]
    sheet = mosaic(tiles, 2)
    assert {10, 20, 30} <= set(np.unique(sheet))
    assert all((sheet == shade).all(axis=2).sum() == 900 for shade in (10, 20, 30))


def test_places_are_evenly_spaced() -> None:
    for count in (1, 7, 64, 65, 1000):
        places = evenly(count, 64)
        assert places == sorted(set(places))
        assert (places[0], places[-1]) == (0, count - 1)
        assert len(places) == min(count, 64)
        assert max(np.diff(places), default=1) - min(np.diff(places), default=1) <= 1


def test_first_kernels_are_shown_in_their_colours() -> None:
    net = Quadrant()
    with torch.no_grad():
        net.conv.weight.copy_(torch.tensor([[1.0, 0, -1], [0, 0, 0]]).reshape(2, 3, 1, 1))
    (exhibit,) = kernels(viewed(classifier(net), classifier(net, bgr=True)))
    assert [each["layer"] for each in exhibit.numbers["layers"]] == ["conv", "conv"]
    assert exhibit.numbers["layers"][0]["shape"] == [2, 3, 1, 1]
    plain, turned = pictures(exhibit.drawing)
    assert plain[12, 12].tolist() == [255, 128, 0]
    assert turned[12, 12].tolist() == [0, 128, 255]  # the network's first channel is blue
    assert plain[12, 40].tolist() == [128, 128, 128]


def test_units_of_a_perceptron_are_as_large_as_the_images() -> None:
    (exhibit,) = kernels(viewed(network("mlp(width=5)")))
    assert exhibit.numbers["layers"][0]["shape"] == [5, 3, 16, 16]
    grey = viewed(network("mlp(width=5)", channels=1), dataset=data(channels=1))
    assert kernels(grey)[0].numbers["layers"][0]["shape"] == [5, 1, 16, 16]


def test_named_convolutions_follow_the_first() -> None:
    looked = viewed(network("resnet20"), classifier(Quadrant()), layers=("layer2.0*",))
    found = kernels(looked)
    shapes = [[each["shape"] for each in one.numbers["layers"]] for one in found]
    assert shapes[0] == [[16, 3, 3, 3], [2, 3, 1, 1]]
    assert shapes[1:3] == [[[32, 16, 3, 3]], [[32, 32, 3, 3]]]
    first = found[1].numbers["layers"][0]
    weight = named_layers(looked.models[0].classifier)[first["layer"]].weight
    assert isinstance(weight, Tensor)
    assert first["std"] == pytest.approx(float(weight.std(correction=0)), rel=1e-4)
    assert first["largest"] == pytest.approx(float(weight.abs().max()))


def test_the_first_layer_is_shown_once_where_it_is_named_too() -> None:
    looked = viewed(network("resnet20"), layers=("conv1", "layer2.0*"))
    names = [one.numbers["layers"][0]["layer"] for one in kernels(looked)]
    assert len(names) == len(set(names)) == 3
    assert names[0] == "conv1"


@pytest.mark.parametrize(
    ("layers", "told"),
    [(("layr1",), "nearest: layer1"), (("fc",), "no convolution"), (("*",), "24 at most")],
)
def test_layers_that_cannot_be_shown_are_refused(layers: tuple[str, ...], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        kernels(viewed(network("resnet18"), layers=layers))


def test_a_net_that_begins_with_nothing_to_show_says_so() -> None:
    net = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, len(NAMES)))
    with pytest.raises(UsageError, match="begins with no convolution"):
        kernels(viewed(classifier(net)))


def test_feature_maps_are_what_a_layer_gives() -> None:
    looked = viewed(classifier(Quadrant()), layers=("conv",), show=1)
    (exhibit,) = features(looked)
    (told,) = exhibit.numbers["layers"]
    assert told == {"model": "model-0", "layer": "conv", "shape": [2, 16, 16], "silent": 0.0,
                    "zeros": 0.75}  # fmt: skip
    image, maps, _ = pictures(exhibit.drawing)
    values = image.astype(float).sum(axis=2)  # all weights are 1
    values[8:] = values[:, 8:] = 0
    expected = sequential((values - values.min()) / (values.max() - values.min()))
    tile = maps[3:35:2, 3:35:2]  # enlarged two times, behind a line
    np.testing.assert_array_equal(tile, expected)


def test_silent_channels_are_counted() -> None:
    net = Quadrant()
    with torch.no_grad():
        net.conv.weight[1] = -1.0  # always below 0
    (exhibit,) = features(viewed(classifier(net), layers=("act",), show=1))
    told = exhibit.numbers["layers"][0]
    assert (told["silent"], told["zeros"]) == (0.5, 0.875)


@pytest.mark.parametrize("arch", ["resnet20", "resnet18", "timm:test_vit"])
def test_the_first_layer_and_three_blocks_are_shown_where_none_is_named(arch: str) -> None:
    size = (64, 64) if arch == "timm:test_vit" else (32, 32)
    looked = viewed(network(arch, input_size=size), dataset=data(4, side=32), show=1)
    (exhibit,) = features(looked)
    layers = [each["layer"] for each in exhibit.numbers["layers"]]
    assert len(layers) == 4
    assert layers[0] == {"timm:test_vit": "patch_embed.proj"}.get(arch, "conv1")
    if arch == "timm:test_vit":
        assert layers[-1].startswith("blocks.")
        assert exhibit.numbers["layers"][-1]["shape"][1:] == [4, 4]  # tokens on their grid


def test_models_stand_side_by_side_and_nothing_lies_outside() -> None:
    looked = viewed(network("resnet20"), network("resnet18"), network("resnet20", 1), show=1)
    for exhibit in (*features(looked), *kernels(looked), *weights(looked)):
        assert exhibit.drawing is not None
        for mark in exhibit.drawing.marks:
            if isinstance(mark, Picture):
                assert 0 <= mark.x <= mark.x + mark.width <= exhibit.drawing.width
                assert 0 <= mark.y <= mark.y + mark.height <= exhibit.drawing.height
            if isinstance(mark, Text):
                assert 0 <= mark.y <= exhibit.drawing.height


def test_a_layer_without_maps_is_refused() -> None:
    with pytest.raises(UsageError, match="no map"):
        features(viewed(network("resnet18"), layers=("fc",)))
    with pytest.raises(UsageError, match="model-0"):
        features(viewed(network("mlp")))


def test_histograms_count_every_value_in_the_same_bins() -> None:
    one, two = network("resnet20", 0), network("resnet20", 1)
    (exhibit,) = weights(viewed(one, two, layers=("layer3.2.conv2", "layer3.2.bn2")))
    told = {
        (each["model"], each["layer"], each["part"]): each for each in exhibit.numbers["layers"]
    }
    name = next(layer for model, layer, part in reversed(told) if part == "bias")
    mine = told["model-0", name, "weight"]
    weight = named_layers(one)[name].weight
    assert isinstance(weight, Tensor)
    values = weight.detach().double()
    assert mine["count"] == values.numel()
    assert mine["mean"] == pytest.approx(float(values.mean()))
    assert mine["std"] == pytest.approx(float(values.std(correction=0)))
    near = (values.abs() < 0.01 * values.abs().max()).double().mean()
    assert mine["near_zero"] == pytest.approx(float(near))
    assert ("model-1", "conv1", "weight") in told
    assert ("model-1", "layer3.2.conv2", "weight") in told
    assert ("model-1", "layer3.2.bn2", "weight") not in told
    assert "first layer: weights" in exhibit.words


def test_the_only_layer_of_a_network_is_shown_once() -> None:
    only = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, len(NAMES)))
    (exhibit,) = weights(viewed(classifier(only)))
    told = [(each["layer"], each["part"]) for each in exhibit.numbers["layers"]]
    assert told == [("1", "weight"), ("1", "bias")]


def test_a_layer_without_weights_is_refused() -> None:
    with pytest.raises(UsageError, match="no weights of its own"):
        weights(viewed(network("resnet18"), layers=("avgpool",)))
