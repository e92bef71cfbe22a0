"""A run as it is laid out: its cells, and what happens to the images in each.

`benchmarks.planning` makes one. The digest of a cell is the SHA-256 of the canonical JSON of its
*fully resolved* configuration: everything that could change a bit of its result.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.corruption_axes import CorruptionAxes
from benchmarks.identity import sha256_json
from benchmarks.layers import SpatialLayer
from benchmarks.suite import Condition, Corrupted, Examples, Made, ModelEntry, Probed

FORMAT = "adversarial-workbench"
FORMAT_VERSION = 2


@dataclass(frozen=True)
class Cell:
    """One model over one shard: untouched, attacked, corrupted or probed.

    Attributes:
        model: index into the plan's models.
        condition: index into the plan's conditions, or None.
        corruption: index into the plan's corruptions, or None.
        probe: index into the plan's probes, or None. Where all three are None the cell is the
            clean pass.
        start: first row of the shard.
        stop: one past its last row.
        config: canonical JSON of the fully resolved configuration.
        digest: SHA-256 of ``config``, in hexadecimal; the name of the cell's file.
    """

    model: int
    condition: int | None
    corruption: int | None
    probe: int | None
    start: int
    stop: int
    config: str
    digest: str

    @property
    def kind(self) -> str:
        """``clean``, ``attack``, ``corruption`` or ``probe``."""
        if self.condition is not None:
            return "attack"
        if self.corruption is not None:
            return "corruption"
        return "clean" if self.probe is None else "probe"

    @property
    def happening(self) -> "Happening":
        """What happens to the shard's images."""
        return Happening(self.condition, self.corruption, self.probe)


class Happening(NamedTuple):
    """What happens to a shard's images: one of a plan's conditions, corruptions or probes."""

    condition: int | None = None
    corruption: int | None = None
    probe: int | None = None

    @property
    def is_shared(self) -> bool:
        """Whether images are made without a look at a model: once for all of them."""
        return self.corruption is not None or self.probe is not None

    @property
    def is_attended(self) -> bool:
        """Whether what models look at is measured, where it is asked for."""
        return self.condition is None and self.probe is None


@dataclass(frozen=True)
class Plan:
    """Everything `benchmarks.runner.run` does, fixed before it starts.

    Attributes:
        config: the resolved configuration of the whole run (JSON values), stored in the record.
        corruptions: by corruption and severity, on the axes ``axes``.
        cells: model by model, shard by shard; of each shard the clean pass comes first, then the
            attacks, the corruptions and the probes. This is the order of the record; they are run
            otherwise.
        clean: whether there are clean passes.
        ids: int64 (N,), the ids of all examples, in order.
        attention: of each model, the layer at which what it looks at is measured, clean and
            corrupted; empty where it is not.
        judge: reads what attacks make, and is not attacked; None where nothing is judged.
        kept_per_shard: how many attacked images of each shard are kept with their originals.
    """

    models: tuple[ModelEntry, ...]
    conditions: tuple[Condition, ...]
    corruptions: tuple[Corrupted, ...]
    probes: tuple[Probed, ...]
    axes: CorruptionAxes
    examples: Examples
    ids: NDArray[np.int64]
    cells: tuple[Cell, ...]
    clean: bool
    config: Mapping[str, object]
    thresholds: tuple[float, ...]
    precision: str
    device: str
    batch_size: int | None
    seed: int
    keep_images: bool
    save_images: int
    attention: tuple[SpatialLayer, ...]
    judge: ModelEntry | None
    _by_place: Mapping[tuple[int, Happening, int], Cell] = field(repr=False)

    @property
    def digest(self) -> str:
        """SHA-256 of the whole configuration: equal for two runs that do the same."""
        return sha256_json(self.config)

    @property
    def condition_names(self) -> tuple[str, ...]:
        """The conditions as tables name them."""
        return condition_names(self.conditions)

    @property
    def shards(self) -> tuple[tuple[int, int], ...]:
        """The rows (start, stop) of every shard, in order."""
        return tuple(sorted({(cell.start, cell.stop) for cell in self.cells}))

    @property
    def kept_per_shard(self) -> int:
        """How many attacked images of each shard are kept: all, or as many as are to be saved."""
        return len(self.ids) if self.keep_images else self.save_images

    @property
    def happenings(self) -> tuple[Happening, ...]:
        """What happens to every shard, in order; the clean pass is what has none of the three."""
        return (
            *([Happening()] if self.clean else ()),
            *(Happening(condition=c) for c in range(len(self.conditions))),
            *(Happening(corruption=c) for c in range(len(self.corruptions))),
            *(Happening(probe=p) for p in range(len(self.probes))),
        )

    def needs_clean(self, what: Happening) -> bool:
        """Whether the clean pass of a shard must be known first: by attacks, and by attention."""
        return what.condition is not None or (bool(self.attention) and what.corruption is not None)

    def made(self, what: Happening) -> Made | None:
        """What makes the images, where no model is looked at; None for clean images and attacks."""
        if what.corruption is not None:
            return self.corruptions[what.corruption]
        return None if what.probe is None else self.probes[what.probe]

    def cell(
        self,
        model: int,
        condition: int | None,
        start: int,
        corruption: int | None = None,
        probe: int | None = None,
    ) -> Cell:
        """The cell of a model and what happens to the shard that begins at ``start``."""
        return self.cell_of(model, Happening(condition, corruption, probe), start)

    def cell_of(self, model: int, what: Happening, start: int) -> Cell:
        """The same by what happens."""
        return self._by_place[model, what, start]


def condition_names(conditions: Sequence[Condition]) -> tuple[str, ...]:
    """What tables call the conditions: with their seeds only where nothing else differs."""
    return told_apart([each.name for each in conditions], [each.seed for each in conditions])


def told_apart(names: Sequence[str], seeds: Sequence[int]) -> tuple[str, ...]:
    """Names of conditions, each with its seed behind it where nothing else differs."""
    if len(set(names)) == len(names):
        return tuple(names)
    return tuple(f"{name} seed={seed}" for name, seed in zip(names, seeds, strict=True))
