"""EfficientNet-Lite0, from the package `efficientnet-lite-pytorch`."""

from efficientnet_lite_pytorch import EfficientNet
from torch import nn


def lite0(num_classes: int) -> nn.Module:
    """The network with weights drawn at random."""
    network: nn.Module = EfficientNet.from_name("efficientnet-lite0", num_classes=num_classes)
    return network
