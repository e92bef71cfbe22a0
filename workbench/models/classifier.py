"""A network behind one door: images in [0, 1] go in, logits come out."""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

RANGE_TOLERANCE = 1e-5  # float32 arithmetic near 0 and 1 errs by 1e-7; a resize by a little more
LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601, as in PIL's convert("L")


class Classifier(nn.Module):
    """A classifier of images in [0, 1], with all its preprocessing inside.

    Images are taken through these steps, in this order: grey to the network's channels (repeated)
    or, where asked for, colour to grey (luminance); times ``scale``; minus ``mean``, divided by
    ``std``; RGB to BGR where ``bgr``; resized to ``input_size``; the network; ``columns``; log.

    The resize is bilinear without antialiasing. It is there to enlarge small images to what a
    network was trained on, and when enlarging, antialiasing changes nothing; without it every
    value is a mean of at most four pixels, which keeps the gradient exact and cheap.

    Args:
        network: maps (N, ``channels``, h, w) to scores (N, classes).
        mean, std: one value for each channel of the network, in red, green, blue order, in the
            units after ``scale``; empty for none.
        channels: how many channels the network takes.
        classes: how many columns ``forward`` returns.
        input_size: (height, width) that the network needs, or None for the images' own.
        class_names: one for each column.
        returns_probabilities: the network ends in a softmax, so its output is passed through log.
        bgr: the network takes blue, green, red.
        scale: 1.0, or 255.0 for a network that was trained on 0–255 values.
        columns: the outputs of the network that are kept, in this order; None for all.
        luminance: turn three-channel images to grey for a network of one channel. Without it,
            such images are refused.
    """

    _gain: Tensor
    _offset: Tensor
    _columns: Tensor | None

    def __init__(
        self,
        network: nn.Module,
        *,
        channels: int,
        classes: int,
        mean: Sequence[float] = (),
        std: Sequence[float] = (),
        input_size: tuple[int, int] | None = None,
        class_names: tuple[str, ...] | None = None,
        returns_probabilities: bool = False,
        bgr: bool = False,
        scale: float = 1.0,
        columns: tuple[int, ...] | None = None,
        luminance: bool = False,
    ) -> None:
        super().__init__()
        self.network = network
        self.channels = channels
        self.classes = classes if columns is None else len(columns)
        self.mean = tuple(mean) or (0.0,) * channels
        self.std = tuple(std) or (1.0,) * channels
        self.input_size = input_size
        self.class_names = class_names
        self.returns_probabilities = returns_probabilities
        self.bgr = bgr
        self.scale = scale
        self.columns = columns
        self.luminance = luminance
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != channels:
                raise ValueError(
                    f"{name} has {len(values)} values, but the network takes {channels} channels."
                )
        if min(self.std) <= 0:
            raise ValueError(f"std must be above 0, not {self.std}.")
        if class_names is not None and len(class_names) != self.classes:
            raise ValueError(f"{len(class_names)} class names for {self.classes} classes.")
        shape = (1, channels, 1, 1)
        spread = torch.tensor(self.std, dtype=torch.float64)
        gain = (scale / spread).reshape(shape)
        offset = (-torch.tensor(self.mean, dtype=torch.float64) / spread).reshape(shape)
        self.register_buffer("_gain", gain.float(), persistent=False)
        self.register_buffer("_offset", offset.float(), persistent=False)
        kept = None if columns is None else torch.tensor(columns, dtype=torch.int64)
        self.register_buffer("_columns", kept, persistent=False)
        self._plain = set(self.mean) == {0.0} and set(self.std) == {1.0} and scale == 1.0

    def variant(self, **changes: Any) -> "Classifier":
        """Another classifier with some of its arguments changed; the network is shared."""
        arguments: dict[str, Any] = {
            "network": self.network,
            "channels": self.channels,
            "classes": self.classes,
            "mean": self.mean,
            "std": self.std,
            "input_size": self.input_size,
            "class_names": self.class_names,
            "returns_probabilities": self.returns_probabilities,
            "bgr": self.bgr,
            "scale": self.scale,
            "columns": self.columns,
            "luminance": self.luminance,
        }
        other = Classifier(**{**arguments, **changes})
        other.train(self.training)
        return other.to(self._gain.device)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, C, H, W) in [0, 1]. The range is not checked here."""
        return self.normalised(self.normalise(images))

    def normalise(self, images: Tensor) -> Tensor:
        """What the network's normalised side sees, at the images' own resolution.

        Takes images (N, C, H, W) in [0, 1], returns (N, ``channels``, H, W), red first.
        """
        if images.ndim != 4:
            raise ValueError(f"images must be (N, C, H, W), not {tuple(images.shape)}.")
        found = images.shape[1]
        if found != self.channels:
            images = self._to_channels(images, found)
        return images if self._plain else torch.addcmul(self._offset, images, self._gain)

    def normalised(self, values: Tensor) -> Tensor:
        """Logits (N, classes) of normalised, unclipped values (N, ``channels``, H, W).

        `normalise` makes such values of images; studies that add noise after the preprocessing or
        step in normalised units start here. Red comes first; resizing and BGR happen inside.
        """
        scores: Tensor = self.network(self._fitted(values))
        if self._columns is not None:
            scores = scores.index_select(1, self._columns)
        if self.returns_probabilities:
            scores = scores.clamp_min(torch.finfo(scores.dtype).tiny).log()
        return scores

    def denormalise(self, values: Tensor) -> Tensor:
        """The images (N, ``channels``, H, W) that `normalise` would turn into these values.

        They are not clipped. For a grey image that `normalise` had repeated, average the channels.
        """
        return values if self._plain else (values - self._offset) / self._gain

    def prepare(self, images: Tensor) -> Tensor:
        """What the network itself is given for images (N, C, H, W) in [0, 1].

        Normalised, in the network's order of colours, at the size that it wants.
        """
        return self._fitted(self.normalise(images))

    def _fitted(self, values: Tensor) -> Tensor:
        if self.bgr:
            values = values.flip(1)
        if self.input_size is not None and tuple(values.shape[-2:]) != self.input_size:
            values = F.interpolate(
                values, self.input_size, mode="bilinear", align_corners=False, antialias=False
            )
        return values

    def _to_channels(self, images: Tensor, found: int) -> Tensor:
        if found == 1:
            return images.expand(-1, self.channels, -1, -1)
        if found == 3 and self.channels == 1 and self.luminance:
            weights = images.new_tensor(LUMINANCE).reshape(1, 3, 1, 1)
            return (images * weights).sum(dim=1, keepdim=True)
        raise ValueError(
            f"the images have {found} channels, but the model takes {self.channels}."
            + (" Turn the images to grey first." if self.channels == 1 else "")
        )


def freeze(network: nn.Module) -> nn.Module:
    """Put the network in eval mode and turn its parameters' gradients off, in place."""
    network.eval()
    for parameter in network.parameters():  # TorchScript modules refuse the call for all at once
        parameter.requires_grad_(False)
    return network


def check_images(images: Tensor) -> None:
    """Raise `ValueError` unless the images are floats (N, C, H, W) in [0, 1].

    It looks at every value and waits for the device, so call it once, where images come in;
    `Classifier.forward` does not call it. Rounding errors of up to 1e-5 outside are accepted.
    """
    if images.ndim != 4:
        raise ValueError(f"images must be (N, C, H, W), not of shape {tuple(images.shape)}.")
    if not images.is_floating_point():
        raise ValueError(
            f"images must be floats in [0, 1], not {str(images.dtype).removeprefix('torch.')}; "
            "divide 8-bit values by 255."
        )
    if images.numel() == 0:
        return
    low, high = (float(value) for value in torch.aminmax(images.detach()))
    if math.isnan(low) or math.isnan(high):
        bad = int((~torch.isfinite(images)).flatten(1).any(dim=1).sum())
        raise ValueError(f"{bad} of {len(images)} images hold NaN.")
    if low < -RANGE_TOLERANCE or high > 1 + RANGE_TOLERANCE:
        raise ValueError(
            f"images must be in [0, 1], but range from {low:.4g} to {high:.4g}: {_cause(low, high)}"
        )


def _cause(low: float, high: float) -> str:
    if low == float("-inf") or high == float("inf"):
        return "they hold infinite values."
    if low >= -RANGE_TOLERANCE and 2 < high <= 255:
        return "these look like 8-bit values; divide by 255."
    if low >= -1 - RANGE_TOLERANCE and high <= 1 + RANGE_TOLERANCE:
        return "these look scaled to [-1, 1]; use (images + 1) / 2."
    if low >= -0.5 and high <= 1.5:
        return "a resize or noise has overshot; clamp them to [0, 1]."
    if -4 < low < 0 < high < 4:
        return "these look normalised already; the model does that itself."
    return "give pixel values divided by their largest possible value."
