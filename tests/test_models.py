"""The wrapper and the architectures, against torchvision, closed forms and published counts."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from workbench.errors import UsageError
from workbench.models import Classifier, architectures, build, check_images
from workbench.models.architectures import parameters
from workbench.models.classifier import freeze

COLOUR = {"channels": 3, "classes": 10, "input_size": (32, 32)}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def images(count=3, channels=3, side=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, channels, side, side, generator=generator)


class Pixels(nn.Module):
    """Returns its input, flattened: what the network was given can be read from the logits."""

    def forward(self, values):
        return values.flatten(1)


def seen(batch, **arguments):
    classes = 3 * batch.shape[-1] * batch.shape[-2]
    return Classifier(Pixels(), **{"channels": 3, "classes": classes, **arguments})(batch)


# Parameters with ten classes: He et al. 2015, table 6, gives them in millions.
@pytest.mark.parametrize(
    ("layers", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)]
)
def test_cifar_residual_networks_have_the_published_size(layers, millions):
    count = parameters(build(f"resnet{layers}", **COLOUR))
    assert round(count / 1e6, 2 if millions < 1 else 1) == millions


def test_resnet20_counted_by_hand():
    convolutions = 9 * 3 * 16 + 6 * 9 * 16**2 + 9 * 16 * 32 + 5 * 9 * 32**2
    convolutions += 9 * 32 * 64 + 5 * 9 * 64**2
    normalisations = 2 * (7 * 16 + 6 * 32 + 6 * 64)
    assert parameters(build("resnet20", **COLOUR)) == convolutions + normalisations + 650 == 269722


@pytest.mark.parametrize(
    ("name", "channels", "count", "skips", "layers"),
    [("study-resnet123", 1, 20_402_188, 16, 123), ("study-resnet151", 3, 93_359_376, 20, 151)],
)
def test_study_networks_have_exactly_the_study_s_figures(name, channels, count, skips, layers):
    with torch.device("meta"):
        network = build(name, channels=channels, classes=10, input_size=(32, 32))
    assert parameters(network) == count
    additions = sum(type(module).__name__ == "StudyBlock" for module in network.modules())
    assert additions == skips
    convolutions = sum(isinstance(module, nn.Conv2d) for module in network.modules())
    normalisations = sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    rectifiers = 1 + 2 * skips
    # Input, pooling, linear layer and softmax are the four others.
    assert convolutions + normalisations + rectifiers + additions + 4 == layers


def test_study_network_runs_at_the_size_of_its_data():
    network = build("study-resnet123(width=4)", channels=1, classes=10, input_size=(28, 28))
    assert network(images(channels=1, side=28)).shape == (3, 10)


def test_mlp_is_two_matrices():
    network = build("mlp", channels=1, classes=10, input_size=(8, 8))
    batch = images(channels=1)
    hidden = network.get_parameter("hidden.0.weight"), network.get_parameter("hidden.0.bias")
    output = network.get_parameter("output.weight"), network.get_parameter("output.bias")
    assert hidden[0].shape == (50, 64)
    by_hand = (batch.flatten(1) @ hidden[0].T + hidden[1]).relu() @ output[0].T + output[1]
    torch.testing.assert_close(network(batch), by_hand)


def test_option_a_shortcut_drops_every_second_pixel_and_pads_channels():
    network = build("resnet20", **COLOUR)
    shortcut = network.get_submodule("layer2.0.shortcut")
    features = images(channels=16)
    out = shortcut(features)
    assert out.shape == (3, 32, 4, 4)
    assert torch.equal(out[:, 8:24], features[:, :, ::2, ::2])
    assert out[:, :8].abs().sum() == out[:, 24:].abs().sum() == 0


def test_every_torchvision_classifier_is_offered():
    names = torchvision.models.list_models(module=torchvision.models)
    assert set(names) <= set(architectures())
    assert {"mlp", "resnet20", "resnet110", "study-resnet123"} <= set(architectures())


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "squeezenet1_1", "mobilenet_v3_small"])
def test_torchvision_networks_take_grey_images_and_few_classes(name):
    network = build(name, channels=1, classes=7, input_size=(64, 64)).eval()
    assert network(images(2, channels=1, side=64)).shape == (2, 7)


@pytest.mark.parametrize(("name", "last"), [("resnet18", "layer4"), ("densenet121", "features")])
def test_cifar_stem_keeps_the_resolution(name, last):
    shapes = []
    network = build(name, **COLOUR, cifar_stem=True).eval()
    hook = network.get_submodule(last).register_forward_hook(
        lambda module, given, out: shapes.append(out.shape[-1])
    )
    assert network(images(2, side=32)).shape == (2, 10)
    hook.remove()
    # Without the stem's two halvings, three remain: 32 / 8.
    assert shapes == [4]


def test_cifar_stem_in_the_name_is_the_option():
    inside = build("resnet18(cifar_stem=true)", **COLOUR).state_dict()
    outside = build("resnet18", **COLOUR, cifar_stem=True).state_dict()
    assert {k: v.shape for k, v in inside.items()} == {k: v.shape for k, v in outside.items()}


@pytest.mark.parametrize("name", ["densenet121", "densenet161", "densenet169", "densenet201"])
def test_dense_networks_can_be_made_narrow_and_are_torchvisions_otherwise(name):
    narrow = build(f"{name}(growth_rate=4, num_init_features=8)", **COLOUR, cifar_stem=True)
    assert narrow.eval()(images(2, side=32)).shape == (2, 10)
    with torch.device("meta"):
        ours, theirs = build(name, **COLOUR), torchvision.models.get_model(name, num_classes=10)
    shapes = [{k: v.shape for k, v in each.state_dict().items()} for each in (ours, theirs)]
    assert shapes[0] == shapes[1]


def test_timm_by_name():
    network = build("timm:test_resnet", channels=1, classes=4, input_size=(32, 32)).eval()
    assert network(images(2, channels=1, side=32)).shape == (2, 4)


@pytest.mark.parametrize(
    ("arch", "told"),
    [
        ("resnet21", "Did you mean 'resnet"),
        ("denset121", "Did you mean 'densenet121'"),
        ("vit_tiny_patch16_224", "Did you mean 'timm:vit_tiny_patch16_224'"),
        ("timm:resnet1888", "Did you mean 'resnet18"),
        ("mlp(widht=3)", "Did you mean 'width'"),
        ("resnet18(weights=DEFAULT)", "weights come from the checkpoint"),
        ("resnet18(depth=3)", "Cannot build"),
        ("vgg11(cifar_stem=true)", "not vgg11"),
        ("resnet20(width=", "Architecture"),
        ("mlp(width=0)", "make no network"),
    ],
)
def test_wrong_names_and_settings_are_told(arch, told):
    with pytest.raises(UsageError, match=told.replace("(", r"\(")):
        build(arch, **COLOUR)


def test_wrapper_is_torchvision_with_normalisation_by_hand():
    network = freeze(torchvision.models.resnet18(num_classes=10))
    batch = images(2, side=32)
    by_hand = torchvision.transforms.functional.normalize(batch, list(MEAN), list(STD))
    model = Classifier(network, channels=3, classes=10, mean=MEAN, std=STD)
    torch.testing.assert_close(model(batch), network(by_hand), rtol=1e-4, atol=1e-5)


def test_bgr_and_0_to_255_reach_the_network_as_caffe_wants_them():
    batch = images()
    mean = np.array([123.68, 116.779, 103.939], dtype=np.float32)
    red_first = batch.permute(0, 2, 3, 1).numpy() * np.float32(255) - mean
    blue_first = torch.from_numpy(red_first[..., ::-1].copy()).permute(0, 3, 1, 2)
    out = seen(batch, mean=tuple(mean.tolist()), bgr=True, scale=255.0)
    torch.testing.assert_close(out, blue_first.flatten(1), rtol=1e-5, atol=1e-3)


def test_grey_images_are_repeated_and_averaging_undoes_it():
    grey = images(channels=1)
    model = Classifier(Pixels(), channels=3, classes=192, mean=MEAN, std=STD)
    values = model.normalise(grey)
    assert values.shape == (3, 3, 8, 8)
    back = model.denormalise(values)
    torch.testing.assert_close(back, grey.expand(3, 3, 8, 8))


def test_colour_for_a_grey_network_is_refused_unless_asked():
    model = Classifier(Pixels(), channels=1, classes=64)
    with pytest.raises(ValueError, match=r"3 channels, but the model takes 1.*grey"):
        model(images())
    out = model.variant(luminance=True)(images())
    red, green, blue = images().unbind(1)
    torch.testing.assert_close(out, (0.299 * red + 0.587 * green + 0.114 * blue).flatten(1))


def test_resize_is_inside_and_commutes_with_normalisation():
    batch = images()
    out = seen(batch, mean=MEAN, std=STD, input_size=(20, 16), classes=960)
    larger = F.interpolate(batch, (20, 16), mode="bilinear")
    by_hand = torchvision.transforms.functional.normalize(larger, list(MEAN), list(STD))
    torch.testing.assert_close(out, by_hand.flatten(1), rtol=1e-4, atol=1e-5)


def test_enlarging_is_the_same_with_and_without_antialiasing():
    batch = images()
    plain = F.interpolate(batch, (20, 20), mode="bilinear", antialias=False)
    smooth = F.interpolate(batch, (20, 20), mode="bilinear", antialias=True)
    torch.testing.assert_close(plain, smooth, rtol=0, atol=1e-5)


def test_columns_choose_and_order_outputs():
    batch = images()
    out = seen(batch, columns=(5, 0, 9))
    assert torch.equal(out, batch.flatten(1)[:, [5, 0, 9]])


def test_probabilities_become_logits_with_the_same_gradient():
    network = freeze(nn.Sequential(nn.Flatten(), nn.Linear(192, 4)))
    model = Classifier(
        nn.Sequential(network, nn.Softmax(1)), channels=3, classes=4, returns_probabilities=True
    )
    batch, other = images().requires_grad_(), images().requires_grad_()
    labels = torch.tensor([0, 1, 2])
    ours = F.cross_entropy(model(batch), labels)
    theirs = F.cross_entropy(network(other), labels)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(
        torch.autograd.grad(ours, batch)[0], torch.autograd.grad(theirs, other)[0]
    )


def test_certain_probabilities_stay_finite():
    class Certain(nn.Module):
        def forward(self, values):
            return torch.tensor([[1.0, 0.0]]).expand(len(values), 2)

    model = Classifier(Certain(), channels=3, classes=2, returns_probabilities=True)
    assert torch.isfinite(model(images())).all()


@pytest.mark.parametrize(
    ("batch", "told"),
    [
        (images() * 255, "8-bit values; divide by 255"),
        (images() * 2 - 1, r"scaled to \[-1, 1\]"),
        ((images() - 0.45) / 0.22, "normalised already"),
        (images() * 1.2, "overshot"),
        ((images() * 255).byte(), "not uint8"),
        (images()[0], "must be"),
        (torch.full((1, 3, 2, 2), float("nan")), "1 of 1 images hold NaN"),
        (torch.full((1, 3, 2, 2), float("inf")), "infinite"),
    ],
)
def test_range_errors_name_the_range_and_the_cause(batch, told):
    with pytest.raises(ValueError, match=told):
        check_images(batch)


def test_rounding_below_zero_is_no_error():
    batch = images()
    batch[0, 0, 0, 0] = -2.98e-8
    check_images(batch)


def test_wrong_arguments_of_the_wrapper():
    with pytest.raises(ValueError, match="mean has 1 values"):
        Classifier(Pixels(), channels=3, classes=2, mean=(0.5,), std=(0.5, 0.5, 0.5))
    with pytest.raises(ValueError, match="std must be above 0"):
        Classifier(Pixels(), channels=1, classes=2, mean=(0.5,), std=(0.0,))
    with pytest.raises(ValueError, match="2 class names for 3"):
        Classifier(Pixels(), channels=1, classes=3, class_names=("a", "b"))
