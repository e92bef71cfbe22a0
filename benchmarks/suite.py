"""What is measured: models, attacks, corruptions and probes, and the examples that they meet."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from attacks.attacked import Attack
from attacks.draws import image_seeds
from attacks.probes import Probe

TARGET_RULES = ("random", "least-likely", "next")
"""How a target may be chosen for each image, besides a class number."""


@dataclass(frozen=True)
class ModelEntry:
    """A model to be measured.

    Attributes:
        name: what tables call it; unique in a plan.
        digest: SHA-256 over everything that changes its logits (weights, source, preprocessing).
        description: JSON values that let a reader, and `benchmarks.verify`, find the model again.
        get: gives the module, on its device; called at most once per run, and only if needed.
    """

    name: str
    digest: str
    description: Mapping[str, object]
    get: Callable[[], nn.Module]


@dataclass(frozen=True)
class Condition:
    """An attack with its settings, as every model meets it.

    Attributes:
        spec: the canonical text of the attack, every setting filled in.
        attack: the attack with those settings bound.
        seed: the seed that, with an image's id, gives that image's draws.
        target: None for an untargeted attack; ``random``, ``least-likely`` (by the clean logits)
            or ``next`` (label + 1), or one class for all images. An image whose label is that
            class is not attacked.
    """

    spec: str
    attack: Attack
    seed: int = 0
    target: str | int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.target, str) and self.target not in TARGET_RULES:
            raise ValueError(
                f"Unknown target {self.target!r}: use a class number, {', '.join(TARGET_RULES)}"
            )
        if isinstance(self.target, int) and self.target < 0:
            raise ValueError(f"A target class is 0 or more, not {self.target}")

    @property
    def name(self) -> str:
        """What tables call the condition: the spec, and the target where there is one."""
        return self.spec if self.target is None else f"{self.spec} target={self.target}"


@dataclass(frozen=True)
class Corrupted:
    """A corruption at a severity, as every model meets it.

    Attributes:
        corruption: its name, such as ``gaussian_noise``.
        severity: 1 to 5.
        description: JSON values: everything else that decides the pixels, such as the seed.
        corrupt: ``corrupt(shard, rows)`` gives the corrupted images of a shard, float32
            (n, C, H, W) in [0, 1]. The shard's images are on the plan's device and must stay as
            they are; ``rows`` is where the shard lies in the data set.
    """

    corruption: str
    severity: int
    description: Mapping[str, object]
    corrupt: Callable[["Shard", slice], Tensor]

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.corruption} at severity {self.severity}"

    def images(self, shard: "Shard", rows: slice) -> Tensor:
        """The shard's images as models meet them; see ``corrupt``."""
        return self.corrupt(shard, rows)


@dataclass(frozen=True)
class Probed:
    """A probe with its settings, as every model meets it.

    Attributes:
        spec: the canonical text of the probe, every setting filled in; what tables call it.
        probe: the probe with those settings bound, see `attacks.probes`.
        seed: the seed that, with an image's id, gives that image's draws.
    """

    spec: str
    probe: Probe
    seed: int = 0

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.spec

    @property
    def description(self) -> Mapping[str, object]:
        """JSON values: all that decides the pixels."""
        return {"spec": self.spec, "seed": self.seed}

    def images(self, shard: "Shard", rows: slice) -> Tensor:
        """The shard's images as models meet them, on their device; ``rows`` do not matter."""
        ids = torch.from_numpy(shard.ids).to(shard.images.device)
        return self.probe(shard.images, seeds=image_seeds(self.seed, ids))


Made = Corrupted | Probed
"""What makes images without a look at a model: once for all of them."""


@dataclass(frozen=True)
class Shard:
    """A run of examples.

    Attributes:
        ids: int64 (n,), stable ids.
        images: float32 (n, C, H, W) in [0, 1].
        labels: int64 (n,).
    """

    ids: NDArray[np.int64]
    images: Tensor
    labels: NDArray[np.int64]


class Examples(Protocol):
    """The data set of a plan."""

    @property
    def digest(self) -> str:
        """SHA-256 (or the like) over all ids and labels, in order."""
        ...

    def __len__(self) -> int:
        """How many examples there are."""
        ...

    def ids(self, rows: slice) -> NDArray[np.int64]:
        """The stable ids of some examples, int64 (n,)."""
        ...

    def shard(self, start: int, stop: int) -> Shard:
        """The examples from ``start`` up to ``stop``, exclusive."""
        ...
