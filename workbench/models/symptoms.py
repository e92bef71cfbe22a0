"""Signs that a network does not behave as a frozen classifier should."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from workbench.models.classifier import Classifier

_TOLERANCE = 1e-3  # of the logits' spread; kernels for other batch shapes differ by 1e-5


@dataclass(frozen=True)
class Finding:
    """One symptom: a code, and what it means and what to do.

    ``code`` is one of ``probabilities``, ``randomised``, ``batch-statistics``, ``train-mode``,
    ``constant``.
    """

    code: str
    message: str


def symptoms(model: Classifier, images: Tensor, training: bool = False) -> tuple[Finding, ...]:
    """What is odd in the outputs for images (N, C, H, W), at least two of them.

    Args:
        model: the classifier, in eval mode.
        images: in [0, 1]; the first sixteen are used.
        training: whether the classifier had been left in train mode.
    """
    device = next(model.buffers()).device
    batch = images[:16].to(device)
    found = []
    with torch.inference_mode():
        logits = model(batch).float()
        again = model(batch).float()
        alone = torch.cat([model(image[None]) for image in batch]).float()
    spread = float(logits.std()) + 1e-12
    if model.returns_probabilities:
        found.append(
            Finding(
                "probabilities",
                "the network ends in a softmax; its logarithm is used. Where it is sure, its "
                "gradient vanishes, and attacks look weaker than they are.",
            )
        )
    modules = [
        name for name, module in model.network.named_modules() if module.training and _minds(module)
    ]
    if training or modules:
        named = modules[0] if modules else "the model"
        found.append(
            Finding("train-mode", f"{named} is in train mode although the model was frozen.")
        )
    if float((logits - again).abs().max()) > _TOLERANCE * spread:
        found.append(
            Finding(
                "randomised",
                "two passes over the same images differ: the model draws at random, so accuracy "
                "and attacks against single draws mean little.",
            )
        )
    elif float((logits - alone).abs().max()) > _TOLERANCE * spread:
        found.append(
            Finding(
                "batch-statistics",
                "an image's logits depend on the other images of its batch: normalisation by batch "
                "statistics is in use (BatchNorm in train mode or without running statistics).",
            )
        )
    if len(batch) > 1 and float((logits - logits[:1]).abs().max()) <= 1e-6:
        found.append(Finding("constant", "the logits are the same for every image."))
    return tuple(found)


def _minds(module: nn.Module) -> bool:
    """Whether train mode changes what the layer computes."""
    return isinstance(module, _BatchNorm | _DropoutNd)
