"""Which normalisation and input size a network was trained with, where it is known."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_STD = (0.2470, 0.2435, 0.2616)  # of all pixels; some write 0.2023, 0.1994, 0.2010
CIFAR10_STD_OF_IMAGES = (0.2023, 0.1994, 0.2010)  # mean over images of each image's own
CIFAR100_MEAN = (0.5071, 0.4865, 0.4409)
CIFAR100_STD = (0.2673, 0.2564, 0.2762)
MNIST_MEAN, MNIST_STD = (0.1307,), (0.3081,)
FASHION_MNIST_MEAN, FASHION_MNIST_STD = (0.2860,), (0.3530,)

USUAL_INPUT_SIZE = 224  # of networks made for photographs


@dataclass(frozen=True)
class Normalisation:
    """A mean and std, one value a channel, and where they come from."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str

    def for_channels(self, channels: int) -> "Normalisation | None":
        """The same with one value a channel, a single one repeated; None if they do not fit."""
        if len(self.mean) == 1:
            return Normalisation(self.mean * channels, self.std * channels, self.source)
        return self if len(self.mean) == channels else None


def usual_normalisations(channels: int) -> dict[str, Normalisation]:
    """The normalisations that published checkpoints were trained with, by name."""
    if channels == 1:
        named = {
            "none": ((0.0,), (1.0,)),
            "0.5/0.5": ((0.5,), (0.5,)),
            "MNIST": (MNIST_MEAN, MNIST_STD),
            "Fashion-MNIST": (FASHION_MNIST_MEAN, FASHION_MNIST_STD),
        }
    else:
        named = {
            "none": ((0.0,) * channels, (1.0,) * channels),
            "0.5/0.5": ((0.5,) * channels, (0.5,) * channels),
        }
    if channels == 3:
        named |= {
            "ImageNet": (IMAGENET_MEAN, IMAGENET_STD),
            "CIFAR-10": (CIFAR10_MEAN, CIFAR10_STD),
            "CIFAR-10 (std of images)": (CIFAR10_MEAN, CIFAR10_STD_OF_IMAGES),
            "CIFAR-100": (CIFAR100_MEAN, CIFAR100_STD),
        }
    return {name: Normalisation(mean, std, name) for name, (mean, std) in named.items()}


def timm_config(name: str) -> Mapping[str, Any]:
    """timm's note of how ``name`` was trained: mean, std, input_size (C, H, W), num_classes."""
    import timm

    config: Any = timm.models.get_pretrained_cfg(name)
    return {} if config is None else dict(config.to_dict())
