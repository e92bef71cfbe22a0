"""The residual networks that torchvision does not have: of CIFAR size, and of study S2."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

CIFAR_DEPTHS = (20, 32, 44, 56, 110)


class PaddedShortcut(nn.Module):
    """Option A of He et al. 2015, section 3.3: every second pixel, missing channels as zeros."""

    def __init__(self, extra: int) -> None:
        super().__init__()
        self.before = extra // 2
        self.after = extra - extra // 2

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C + extra, ⌈H/2⌉, ⌈W/2⌉), without parameters."""
        return F.pad(features[:, :, ::2, ::2], (0, 0, 0, 0, self.before, self.after))


class CifarBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut without parameters."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = PaddedShortcut(outputs - inputs)

    def forward(self, features: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        residual = F.relu(self.bn1(self.conv1(features)))
        residual = self.bn2(self.conv2(residual))
        return F.relu(residual + self.shortcut(features))


class CifarResNet(nn.Module):
    """The 6n+2-layer residual network for 32×32 images, with shortcuts of option A.

    Three stages of n blocks of ``width``, 2·``width`` and 4·``width`` filters (He et al., "Deep
    Residual Learning for Image Recognition", arXiv:1512.03385, section 4.2; there ``width`` is
    16). Parameters are named as in the widely used akamaster/pytorch_resnet_cifar10, whose
    checkpoints load. Depth 20 has 269,722 parameters on three channels and ten classes.
    Images of any size from about 8×8 are accepted.
    """

    def __init__(self, depth: int, *, channels: int = 3, classes: int = 10, width: int = 16):
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise ValueError(f"a CIFAR residual network has 6n+2 layers (20, 32, …), not {depth}.")
        blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(channels, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = _stage(width, width, blocks, stride=1)
        self.layer2 = _stage(width, 2 * width, blocks, stride=2)
        self.layer3 = _stage(2 * width, 4 * width, blocks, stride=2)
        self.linear = nn.Linear(4 * width, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, values: Tensor) -> Tensor:
        """(N, channels, H, W) to logits (N, classes)."""
        features = F.relu(self.bn1(self.conv1(values)))
        features = self.layer3(self.layer2(self.layer1(features)))
        logits: Tensor = self.linear(features.mean(dim=(2, 3)))
        return logits


def _stage(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
    first = CifarBlock(inputs, outputs, stride)
    return nn.Sequential(first, *(CifarBlock(outputs, outputs, 1) for _ in range(blocks - 1)))


class StudyBlock(nn.Module):
    """Two 3×3 convolutions with biases, and a 1×1 convolution where the number of filters grows."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        stride = 1 if inputs == outputs else 2
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Sequential()
        if inputs != outputs:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, features: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        residual = F.relu(self.bn1(self.conv1(features)))
        residual = self.bn2(self.conv2(residual))
        return F.relu(residual + self.shortcut(features))


class StudyResNet(nn.Module):
    """The residual networks of the study on how far pixels must move.

    The study gives layers, skip connections, filters and parameters, and no more:

    ==================  ======  =====  =======  ==========
    name                layers  skips  filters  parameters
    ==================  ======  =====  =======  ==========
    study-resnet123     123     16     64       20,402,188
    study-resnet151     151     20     128      93,359,376
    ==================  ======  =====  =======  ==========

    One design gives all eight figures exactly, so it is taken to be theirs: batch normalisation
    of the input; a 3×3 convolution; four stages of 3, 5, 5, 3 (or 3, 7, 7, 3) blocks, the filters
    doubling from stage to stage; global average pooling; one linear layer. Every convolution has a
    bias; the three shortcuts where filters double are 1×1 convolutions without normalisation.

    Layers are counted as a layer-graph library lists them, operations without parameters included:
    input, its normalisation, and convolution, normalisation, ReLU of the stem (5); seven
    for each block: two convolutions, two normalisations, two ReLUs and the addition (112 or 140);
    three shortcut convolutions (3); pooling, linear layer, softmax (3): together 123 or 151. Weight
    layers alone, counted as He et al. do, are 34 or 42. The parameters are the trained ones,
    for ten classes and one channel (MNIST) in the first network, three (CIFAR-10) in the second;
    with three channels the first has 20,403,344. The softmax is not part of the module, which
    returns logits.
    """

    def __init__(self, blocks: Sequence[int], width: int, *, channels: int, classes: int) -> None:
        super().__init__()
        self.bn0 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, width, 3, 1, 1)
        self.bn1 = nn.BatchNorm2d(width)
        stages: list[nn.Module] = []
        inputs = width
        for stage, count in enumerate(blocks):
            outputs = width * 2**stage
            first = StudyBlock(inputs, outputs)
            stages.append(
                nn.Sequential(first, *(StudyBlock(outputs, outputs) for _ in range(count - 1)))
            )
            inputs = outputs
        self.stages = nn.Sequential(*stages)
        self.linear = nn.Linear(inputs, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, values: Tensor) -> Tensor:
        """(N, channels, H, W) to logits (N, classes)."""
        features = F.relu(self.bn1(self.conv1(self.bn0(values))))
        logits: Tensor = self.linear(self.stages(features).mean(dim=(2, 3)))
        return logits
