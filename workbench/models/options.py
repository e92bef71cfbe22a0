"""What a person may say about a checkpoint."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelOptions:
    """Flags for `workbench.models.load_model`; whatever is left out is read or inferred.

    Attributes:
        arch: ``resnet20``, ``mlp(width=100)``, ``timm:NAME``, ``path/to/file.py:function``, ….
        mean, std: one value a channel, or one for all, in red, green, blue order; in 0–255 units
            with ``scale255``.
        input_size: the side that images are resized to inside the model.
        channels, classes: that the network takes and returns.
        class_names: one for each output.
        cifar_stem: a torchvision residual or dense network begins at full resolution.
        bgr: the network takes blue, green, red.
        scale255: the network takes values of 0–255.
        probabilities: whether the network ends in a softmax; None to find out.
        trust: files that could run code may be opened.
    """

    arch: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    input_size: int | None = None
    channels: int | None = None
    classes: int | None = None
    class_names: tuple[str, ...] | None = None
    cifar_stem: bool = False
    bgr: bool = False
    scale255: bool = False
    probabilities: bool | None = None
    trust: bool = False
