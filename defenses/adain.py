"""Images in the style of others, by adaptive instance normalisation of a network's features.

Source: Huang & Belongie, "Arbitrary style transfer in real-time with adaptive instance
normalization", ICCV 2017.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from defenses.evaluation import Images, unit
from defenses.materials import Material

DEPTHS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
"""Where an encoder may end: behind the first convolution of a block. Published: the last."""

Widths = Sequence[Sequence[int]]
"""Channels of each convolution of an encoder, block by block; its last block has one."""

LUMINANCE = (0.299, 0.587, 0.114)  # of red, green and blue, ITU-R BT.601
_EPS = 1e-5  # added to variances: that of instance normalisation, as published
_PIXELS_AT_ONCE = 2**20  # of images that are in work together: 64 maps of them take 256 MiB


class Style(NamedTuple):
    """Mean and standard deviation of each feature map over its positions, (n, C) each."""

    mean: Tensor
    std: Tensor


def style(features: Tensor) -> Style:
    """The style of features (n, C, h, w)."""
    variance, mean = torch.var_mean(features, dim=(2, 3), correction=0)
    return Style(mean, (variance + _EPS).sqrt())


def adain(features: Tensor, target: Style) -> Tensor:
    """Adaptive instance normalisation: features (n, C, h, w) are given the style of others.

    ``AdaIN(x, y) = σ(y) (x - μ(x)) / σ(x) + μ(y)``, equation 8 of the paper.
    """
    own = style(features)
    scale = (target.std / own.std)[..., None, None]
    return (features - own.mean[..., None, None]) * scale + target.mean[..., None, None]


class Encoder(nn.Module):
    """The first layers of a plain VGG, its preprocessing in front: images in, features out.

    A VGG with batch normalisation is one too, once that is folded into the convolutions. These are
    padded by reflection, else the rim of an image is decoded to a frame (section 6.1 of the paper).
    Sides are halved upwards, so that images of any size are decoded to as much at least.

    Args:
        widths: of its convolutions, all 3x3; blocks are parted by a pooling of 2x2.
        channels: that the network takes, 1 or 3; images have 3.
    """

    def __init__(self, widths: Widths, channels: int = 3) -> None:
        super().__init__()
        self.widths = tuple(tuple(block) for block in widths)
        self.channels = channels
        self.normalise = nn.Conv2d(3, channels, 1)
        stages: list[nn.Module] = []
        layers: list[nn.Module] = []
        for inputs, outputs, pooled in convolutions(self.widths, channels):
            if pooled:
                layers.append(nn.MaxPool2d(2, ceil_mode=True))
            convolution = nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="reflect")
            layers += [convolution, nn.ReLU()]
            if pooled or not stages:  # the first of a block ends a stage
                stages.append(nn.Sequential(*layers))
                layers = []
        self.stages = nn.ModuleList(stages)
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Features at relu1_1, relu2_1, … of images (n, 3, H, W) in [0, 1], the deepest last."""
        features = [self.normalise(images)]
        for stage in self.stages:
            features.append(stage(features[-1]))
        return features[1:]


def convolutions(widths: Widths, channels: int) -> Iterator[tuple[int, int, bool]]:
    """For each convolution its inputs, its outputs, and whether a pooling stands before it."""
    inputs = channels
    for block, sizes in enumerate(widths):
        for position, outputs in enumerate(sizes):
            yield inputs, outputs, block > 0 and position == 0
            inputs = outputs


def mirrored(widths: Widths) -> nn.Sequential:
    """An untrained decoder: the encoder's layers backwards, from its features to images.

    Poolings become nearest-neighbour upsampling and convolutions are padded by reflection
    (section 6.1 of the paper).
    """
    layers: list[nn.Module] = []
    for inputs, outputs, pooled in reversed(list(convolutions(widths, 3))):
        layers += [nn.Conv2d(outputs, inputs, 3, padding=1, padding_mode="reflect"), nn.ReLU()]
        if pooled:
            layers.append(nn.Upsample(scale_factor=2))
    return nn.Sequential(*layers[:-1])


@dataclass(frozen=True)
class Stylizer(Material):
    """An encoder and the decoder that was trained for it.

    Attributes:
        encoder: frozen.
        decoder: from the encoder's deepest features to images, see `mirrored`.
    """

    encoder: Encoder
    decoder: nn.Sequential

    @property
    def depth(self) -> str:
        """Where the encoder ends, one of `DEPTHS`."""
        return DEPTHS[len(self.encoder.widths) - 1]

    @property
    def least_side(self) -> int:
        """Sides of images must be this long, or reflection has nothing to reflect."""
        return int(2 ** (len(self.encoder.widths) - 1)) + 1

    def styles(self, images: Images, device: torch.device) -> Style:
        """The styles of many images of 3 channels; the encoder is moved to the device."""
        self.encoder.to(device)
        rows = torch.arange(len(images)).split(_at_once(images[torch.tensor([0])]))
        with torch.no_grad():
            found = [style(self.encoder(unit(images[each].to(device)))[-1]) for each in rows]
        return Style(*(torch.cat(parts) for parts in zip(*found, strict=True)))

    def restyled(self, images: Tensor, styles: Style, alpha: Tensor) -> Tensor:
        """Each image in the style of its own.

        The decoder is given ``(1 - alpha) f(x) + alpha AdaIN(f(x), y)``, equation 14 of the paper.
        The networks are moved to the images' device.

        Args:
            images: float32 (n, C, H, W) in [0, 1], of 3 channels or 1. Grey is made colour before
                and its luminance is taken behind.
            styles: n of them.
            alpha: float32 (n,) in [0, 1].

        Raises:
            ValueError: the images are too small.
        """
        self.encoder.to(images.device)
        self.decoder.to(images.device)
        if min(images.shape[2:]) < self.least_side:
            raise ValueError(
                f"images of {images.shape[3]}x{images.shape[2]} are too small for a stylizer that "
                f"ends at {self.depth}; it takes {self.least_side} pixels and more"
            )
        parts = (each.split(_at_once(images)) for each in (images, *styles, alpha))
        with torch.no_grad():
            done = [self._restyled(x, Style(m, s), a) for x, m, s, a in zip(*parts, strict=True)]
        return torch.cat(done)

    def _restyled(self, images: Tensor, styles: Style, alpha: Tensor) -> Tensor:
        features = self.encoder(coloured(images))[-1]
        mixed = torch.lerp(features, adain(features, styles), alpha[:, None, None, None])
        height, width = images.shape[2:]
        pictures: Tensor = self.decoder(mixed)[..., :height, :width].clamp(0, 1)
        if images.shape[1] == 1:
            weights = pictures.new_tensor(LUMINANCE).view(1, 3, 1, 1)
            pictures = (pictures * weights).sum(1, keepdim=True)
        return pictures


def coloured(images: Tensor) -> Tensor:
    """Images (n, 3, H, W) of grey ones (n, 1, H, W); colour stays as it is."""
    return images.expand(-1, 3, -1, -1)


def decoder_losses(stylizer: Stylizer, content: Tensor, paintings: Tensor) -> tuple[Tensor, Tensor]:
    """How far a decoder is from its aim: the content loss and the style loss, without weights.

    With t the features that `adain` gives and g(t) what the decoder makes of them: how far the
    features of g(t) are from t, and how far the styles of g(t) are from the paintings' at all of
    the encoder's stages (equations 12 and 13 of the paper), as mean squares.

    Args:
        stylizer: whose decoder gets the gradient.
        content, paintings: float32 (n, 3, H, W) in [0, 1] each, of any sizes.
    """
    with torch.no_grad():
        wanted = [style(features) for features in stylizer.encoder(paintings)]
        target = adain(stylizer.encoder(content)[-1], wanted[-1])
    height, width = content.shape[2:]
    found = stylizer.encoder(stylizer.decoder(target)[..., :height, :width])
    apart = [
        F.mse_loss(own.mean, aim.mean) + F.mse_loss(own.std, aim.std)
        for own, aim in zip(map(style, found), wanted, strict=True)
    ]
    return F.mse_loss(found[-1], target), torch.stack(apart).sum()


def _at_once(images: Tensor) -> int:
    return max(1, _PIXELS_AT_ONCE // (images.shape[2] * images.shape[3]))
