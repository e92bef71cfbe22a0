"""Published weights by name: timm's and torchvision's."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from workbench.errors import UsageError
from workbench.models.architectures import OURS, read_arch
from workbench.models.preprocessing import Normalisation, timm_config
from workbench.models.wording import kind_and_line


@dataclass(frozen=True)
class Published:
    """A network with its published weights, and how its images are prepared."""

    network: nn.Module
    weights: str
    normalisation: Normalisation
    input_size: tuple[int, int]
    class_names: tuple[str, ...] | None


def load_published(name: str) -> Published:
    """Fetch ``timm:NAME`` or a torchvision classifier with its weights; they are cached on disk.

    Raises:
        UsageError: there are no published weights, or they cannot be fetched.
    """
    spec = read_arch(name)
    if spec.name in OURS:
        raise UsageError(f"There is no checkpoint {name}, and no published weights of that name.")
    try:
        if spec.name.startswith("timm:"):
            return _from_timm(spec.name.removeprefix("timm:"), dict(spec.settings))
        return _from_torchvision(spec.name, dict(spec.settings))
    except UsageError:
        raise
    except Exception as error:  # fetching fails in many ways: no network, no space, no such file
        raise UsageError(
            f"The published weights of {name} cannot be fetched ({kind_and_line(error)}).\n"
            "Without a connection, give a file with weights and --arch."
        ) from error


def _from_timm(name: str, settings: dict[str, object]) -> Published:
    import timm

    config = timm_config(name)
    network: nn.Module = timm.create_model(name, pretrained=True, **settings)
    return Published(
        network,
        str(config.get("tag") or "default"),
        Normalisation(tuple(config["mean"]), tuple(config["std"]), "timm's notes"),
        (config["input_size"][1], config["input_size"][2]),
        imagenet_names() if config.get("num_classes") == 1000 else None,
    )


def _from_torchvision(name: str, settings: dict[str, object]) -> Published:
    import torchvision

    weights: Any = torchvision.models.get_model_weights(name).DEFAULT
    network: nn.Module = torchvision.models.get_model(name, weights=weights, **settings)
    preset = weights.transforms()
    return Published(
        network,
        str(weights),
        Normalisation(tuple(preset.mean), tuple(preset.std), "torchvision's notes"),
        (preset.crop_size[0], preset.crop_size[0]),
        tuple(weights.meta["categories"]),
    )


def imagenet_names() -> tuple[str, ...]:
    """The thousand ImageNet classes as torchvision names them, in their usual order."""
    import torchvision

    return tuple(torchvision.models.ResNet18_Weights.IMAGENET1K_V1.meta["categories"])
