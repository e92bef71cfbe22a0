"""What `workbench explain` looks at: models, images, and which parts of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks import ModelEntry
from workbench.console import Console
from workbench.datasets import Dataset
from workbench.models import Classifier


@dataclass(frozen=True)
class ViewedModel:
    """A model to be looked at.

    Attributes:
        place: its number, which decides its colour and marker in all figures.
        label: what figures and tables call it.
        classifier: maps images in [0, 1] to logits; frozen, in eval mode, on the device.
    """

    place: int
    label: str
    classifier: Classifier


@dataclass(frozen=True)
class Asked:
    """Which parts of models and images are asked for.

    Attributes:
        layers: names or patterns (``layer4.*``) of modules; empty: a view chooses.
        corruptions, severities: what images are shown under besides as they are.
        show: how many images a figure shows at most.
        of_class: index of the class that is looked into, or None.
        methods: of attributions, as they are named; empty: all that can be had.
        steps: of integrated gradients.
        superclasses: a file or a known set that they are taken from; None: found by the names.
        explained: ``guess`` or ``label``: the class whose logit attributions follow.
    """

    layers: tuple[str, ...] = ()
    corruptions: tuple[str, ...] = ()
    severities: tuple[int, ...] = ()
    show: int = 4
    of_class: int | None = None
    methods: tuple[str, ...] = ()
    steps: int = 50
    explained: str = "guess"
    superclasses: str | None = None


@dataclass(frozen=True)
class Viewed:
    """Everything a view may look at.

    Attributes:
        models: at least one; their outputs are the classes of the data.
        dataset: the images; labels are numbered as the outputs.
        class_names: one for each class.
        directory: where the run keeps what it makes, for views that keep more than exhibits.
        entries: the models as a plan takes them, for views that measure.
        source: where the images are, as a record tells it.
        command: the command line that takes the run up again.
    """

    models: tuple[ViewedModel, ...]
    dataset: Dataset
    class_names: tuple[str, ...]
    asked: Asked
    directory: Path
    console: Console
    device: torch.device
    batch_size: int | None = None
    seed: int = 0
    entries: tuple[ModelEntry, ...] = ()
    source: Mapping[str, Any] | None = None
    command: str = ""
