"""Which normalisation and input size a network was trained with, where it is known."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workbench.datasets.dataset import DataFacts
from workbench.errors import UsageError
from workbench.models.options import ModelOptions

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
    named: dict[str, tuple[tuple[float, ...], tuple[float, ...]]]
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
    """Look up how timm says ``name`` was trained: mean, std, input_size (C, H, W), num_classes."""
    import timm

    config: Any = timm.models.get_pretrained_cfg(name)
    return {} if config is None else dict(config.to_dict())


def choose_normalisation(
    options: ModelOptions,
    said: Normalisation | None,
    *,
    arch: str | None,
    channels: int,
    classes: int | None,
    scale: float,
) -> tuple[Normalisation, list[str]]:
    """Flags, else what the checkpoint says, else what is usual; and what to tell of it.

    Raises:
        UsageError: the flags do not make a normalisation.
    """
    if options.mean is not None or options.std is not None:
        given = _given(options, channels, scale)
        if said is not None and (given.mean, given.std) != (said.mean, said.std):
            return given, [
                f"{said.source} says mean {_comma(said.mean)} and std {_comma(said.std)}; "
                "the flags are used instead"
            ]
        return given, []
    if said is not None:
        fitting = said.for_channels(channels)
        if fitting is None:
            raise UsageError(
                f"mean and std of {said.source} have {len(said.mean)} values, "
                f"but the network takes {channels} channels."
            )
        return fitting, []
    return _inferred_normalisation(arch, channels, classes, scale)


def choose_input_size(
    options: ModelOptions,
    said: tuple[int, int] | None,
    *,
    arch: str | None,
    classes: int | None,
    data: DataFacts | None,
) -> tuple[tuple[int, int] | None, list[str]]:
    """(height, width) that images are resized to, or None for their own; and what to tell."""
    if options.input_size is not None:
        return (options.input_size, options.input_size), []
    if said is not None:
        told = []
        if data is not None and (data.height > said[0] or data.width > said[1]):
            told = [
                f"images of {data.height}x{data.width} are shrunk to the network's "
                f"{said[0]}x{said[1]}"
            ]
        return said, told
    size, fixed = _usual_input_size(arch, classes)
    if size is None or data is None or (data.height, data.width) == size:
        return (size if fixed else None), []
    if fixed or (data.height < size[0] and data.width < size[1]):
        return size, [f"images are resized to {size[0]}x{size[1]} (--input-size to change it)"]
    return None, []


def _usual_input_size(arch: str | None, classes: int | None) -> tuple[tuple[int, int] | None, bool]:
    """The size a network was published for, and whether it takes no other."""
    usual = (USUAL_INPUT_SIZE, USUAL_INPUT_SIZE)
    if arch is None or ".py" in arch:
        return (usual if classes == 1000 else None), False
    if arch.startswith("timm:"):
        config = timm_config(arch.removeprefix("timm:").partition("(")[0])
        _, height, width = config.get("input_size", (3, *usual))
        fixed = bool(config.get("fixed_input_size"))
        return ((height, width) if fixed or classes == 1000 else None), fixed
    if arch.startswith("inception"):
        return (299, 299), True  # Szegedy et al. 2015; smaller ones vanish before the end
    return (usual if classes == 1000 else None), False


def _given(options: ModelOptions, channels: int, scale: float) -> Normalisation:
    if options.mean is None or options.std is None:
        raise UsageError("--mean and --std belong together; give both.")
    if len(options.mean) != len(options.std):
        raise UsageError(f"--mean has {len(options.mean)} values and --std {len(options.std)}.")
    if min(options.std) <= 0:
        raise UsageError(f"--std must be above 0, not {_comma(options.std)}.")
    if scale == 1.0 and max(abs(value) for value in options.mean) > 1:
        raise UsageError(
            f"--mean {_comma(options.mean)} lies outside [0, 1]; divide it and --std by 255, "
            "or add --scale255 if the network was trained on 0-255."
        )
    fitting = Normalisation(options.mean, options.std, "flags").for_channels(channels)
    if fitting is None:
        raise UsageError(
            f"--mean has {len(options.mean)} values, but the network takes {channels} channels."
        )
    return fitting


def _inferred_normalisation(
    arch: str | None, channels: int, classes: int | None, scale: float
) -> tuple[Normalisation, list[str]]:
    plain = Normalisation((0.0,) * channels, (1.0,) * channels, "nothing")
    if scale != 1.0:
        return plain, []
    if arch is not None and arch.startswith("timm:"):
        config = timm_config(arch.removeprefix("timm:").partition("(")[0])
        if "mean" in config:
            noted = Normalisation(tuple(config["mean"]), tuple(config["std"]), "timm's notes")
            fitting = noted.for_channels(channels)
            if fitting is not None:
                return fitting, [_told(fitting, "as timm notes for this network")]
    if classes == 1000 and channels == 3:
        usual = Normalisation(IMAGENET_MEAN, IMAGENET_STD, "ImageNet")
        return usual, [_told(usual, "ImageNet's, because there are 1000 classes")]
    return plain, [
        "no mean and std are known, so images go in as [0, 1]; "
        "`workbench check` finds out what fits, --mean and --std set it"
    ]


def _told(normalisation: Normalisation, why: str) -> str:
    return f"mean {_comma(normalisation.mean)}, std {_comma(normalisation.std)}: {why}"


def _comma(values: tuple[float, ...]) -> str:
    return ",".join(f"{value:.4g}" for value in values)
