"""What our own checkpoints say of themselves."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from workbench.errors import UsageError

FORMAT_VERSION = 1


@dataclass(frozen=True)
class CheckpointMetadata:
    """Everything that is needed to use a checkpoint without flags, and where it came from.

    Attributes:
        arch: the architecture as `workbench.models.build` takes it.
        channels, classes: what the network takes and returns.
        input_size: (height, width) that the network was made and trained for.
        mean, std: one value a channel, in units after ``scale``; empty for none.
        class_names: one for each class, or None.
        bgr, scale, cifar_stem: as in `workbench.models.ModelOptions`.
        data: name and digest of the training data.
        seed: of the training.
        versions: library names to versions.
        defenses: the canonical specs of the defenses it was trained with.
        trained_on_corruptions: names of test corruptions that it was trained on.
        training: any further facts (epochs, accuracy, learning rate, …).
    """

    arch: str
    channels: int
    classes: int
    input_size: tuple[int, int]
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    class_names: tuple[str, ...] | None = None
    bgr: bool = False
    scale: float = 1.0
    cifar_stem: bool = False
    data: Mapping[str, str] = field(default_factory=dict)
    seed: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    defenses: tuple[str, ...] = ()
    trained_on_corruptions: tuple[str, ...] = ()
    training: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """One JSON document, the same for equal metadata."""
        return json.dumps({"format_version": FORMAT_VERSION, **asdict(self)}, sort_keys=True)


def from_json(text: str, where: str) -> CheckpointMetadata:
    """Read what `CheckpointMetadata.to_json` wrote.

    Raises:
        UsageError: naming ``where`` and the field that is wrong.
    """
    try:
        values = json.loads(text)
        version = values.pop("format_version")
    except (ValueError, AttributeError, KeyError, RecursionError) as error:
        raise UsageError(f"{where}: its 'workbench' metadata cannot be read.") from error
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise UsageError(
            f"{where} has metadata of version {version}; this workbench reads up to "
            f"{FORMAT_VERSION}. Install a newer one."
        )
    known = {item.name for item in fields(CheckpointMetadata)}
    kept = {key: value for key, value in values.items() if key in known}
    try:
        return CheckpointMetadata(**{key: _typed(key, value) for key, value in kept.items()})
    except (TypeError, ValueError) as error:
        raise UsageError(f"{where}: its 'workbench' metadata is wrong: {error}") from error


_TEXT = {"arch"}
_COUNTS = {"channels", "classes"}
_NUMBERS = {"mean", "std"}
_WORDS = {"defenses", "trained_on_corruptions"}
_FLAGS = {"bgr", "cifar_stem"}


def _typed(key: str, value: Any) -> Any:
    """The value as the dataclass has it; raises where JSON holds something else."""
    if key in _TEXT and isinstance(value, str):
        return value
    if key in _COUNTS and isinstance(value, int) and value > 0:
        return value
    if key == "input_size" and len(value) == 2 and all(isinstance(v, int) and v > 0 for v in value):
        return (value[0], value[1])
    if key in _NUMBERS:
        return tuple(float(number) for number in value)
    if key in _WORDS or (key == "class_names" and value is not None):
        return tuple(str(word) for word in value)
    if key in _FLAGS and isinstance(value, bool):
        return value
    if key == "scale" and value in (1, 255):
        return float(value)
    if key in ("data", "versions", "training") and isinstance(value, dict):
        return value
    if key == "class_names" or (key == "seed" and (value is None or isinstance(value, int))):
        return value
    raise ValueError(f"{key} is {value!r}")
