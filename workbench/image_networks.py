"""Networks from images to images, as files have them: a checkpoint's restorer, or a user's own."""

from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.durable import sha256_file
from benchmarks.identity import sha256_json
from defenses import Restored
from defenses.perturbed import ImageNetwork
from workbench.datasets import Dataset
from workbench.datasets.dataset import DataFacts
from workbench.errors import UsageError
from workbench.models import Classifier, load_model, read_checkpoint
from workbench.models.classifier import freeze
from workbench.models.digests import sha256_tensors
from workbench.models.factories import build_from_file, factory_in, is_factory, source_digest
from workbench.models.probing import probe_images, try_output
from workbench.models.programs import program_kind

# An untrained or overshooting network stays in it; one that takes 0-255 does not.
_RANGE = (-0.5, 1.5)


def read_image_network(name: str, data: Dataset) -> ImageNetwork:
    """Open what ``network`` of a defense names, and try it on images like those of the data.

    Args:
        name: a checkpoint of ours with a restorer, whose normalisation is taken into account; a
            TorchScript program; or ``path/to/file.py:function``, which is run, with weights that
            are drawn from a fixed seed or loaded by the function itself.
        data: the images that are trained on.

    Raises:
        UsageError: there is no such network in it, or it does not make images of images.
    """
    found = _from_factory(name, data.facts) if is_factory(name) else _from_file(name, data.facts)
    freeze(found.network)
    _check(name, found.network, data.facts)
    return found


class RestorerAlone(nn.Module):
    """The restorer of a classifier, on images in [0, 1] of its number of channels.

    It sees the images at their own size, whatever the classifier enlarges them to.
    """

    def __init__(self, model: Classifier, restorer: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.restorer = restorer

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] to the same, restored; not clipped."""
        values = self.model.normalise(images)
        if self.model.bgr:
            return self.model.denormalise(self.restorer(values.flip(1)).flip(1))
        return self.model.denormalise(self.restorer(values))


def _from_factory(name: str, facts: DataFacts) -> ImageNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_from_file(
            name,
            channels=facts.channels,
            classes=facts.classes,
            input_size=(facts.height, facts.width),
        )
    digest = sha256_json({"source": source_digest(name), "weights": sha256_tensors(network)})
    return ImageNetwork(digest, network)


def _from_file(name: str, facts: DataFacts) -> ImageNetwork:
    path = Path(name).expanduser()
    none = UsageError(
        f"{name} holds no network from images to images.\nGive a checkpoint that was trained with "
        "the defense restore, a TorchScript program, or your own as my_net.py:function."
    )
    if program_kind(path) == "export":
        raise none
    contents = read_checkpoint(path)
    if contents.program is not None:
        return ImageNetwork(sha256_file(path), contents.program)
    if contents.metadata is None:
        raise none
    if factory_in(contents.metadata.arch) is not None:
        raise UsageError(
            f"{name} has a classifier that a file of code builds, and deepaugment cannot take its "
            "restorer.\nSave the restorer as a TorchScript program, or give my_net.py:function."
        )
    loaded = load_model(path, data=facts)
    front = loaded.model.network
    if not isinstance(front, Restored):
        raise none
    if loaded.model.channels != facts.channels:
        raise UsageError(
            f"The restorer of {name} takes {loaded.model.channels} channels; the images have "
            f"{facts.channels}."
        )
    return ImageNetwork(
        loaded.digest,
        RestorerAlone(loaded.model, front.restorer),
        contents.metadata.trained_on_corruptions,
    )


def _check(name: str, network: nn.Module, facts: DataFacts) -> None:
    images = probe_images(facts.channels, facts.height, facts.width)
    made = try_output(network, images)
    if not isinstance(made, Tensor) or made.shape != images.shape:
        what = tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__
        raise UsageError(
            f"{name} makes {what} of images {tuple(images.shape)}; it must keep their shape."
        )
    low, high = float(made.min()), float(made.max())
    if not (_RANGE[0] <= low and high <= _RANGE[1]):
        raise UsageError(
            f"{name} makes values from {low:.3g} to {high:.3g} of images in [0, 1]; it must take "
            "and give images in [0, 1]."
        )
