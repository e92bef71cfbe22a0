"""What our own checkpoints say of themselves."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from workbench.errors import UsageError
from workbench.models.wording import first_line

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

    def to_dict(self) -> dict[str, Any]:
        """The fields, as JSON has them."""
        content: dict[str, Any] = json.loads(self.to_json())
        return content

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
        raise UsageError(
            f"{where}: its 'workbench' metadata is wrong: {first_line(error)}"
        ) from error


def _is_count(value: Any) -> bool:
    return type(value) is int and value > 0


def _is_words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) in (int, float) for item in value)


_VALID: dict[str, Callable[[Any], bool]] = {
    "arch": lambda value: isinstance(value, str),
    "channels": _is_count,
    "classes": _is_count,
    "input_size": lambda value: (
        isinstance(value, list) and len(value) == 2 and all(_is_count(item) for item in value)
    ),
    "mean": _is_numbers,
    "std": lambda value: _is_numbers(value) and all(item > 0 for item in value),
    "class_names": lambda value: value is None or _is_words(value),
    "bgr": lambda value: isinstance(value, bool),
    "scale": lambda value: value in (1, 255),
    "cifar_stem": lambda value: isinstance(value, bool),
    "data": lambda value: isinstance(value, dict),
    "seed": lambda value: value is None or type(value) is int,
    "versions": lambda value: isinstance(value, dict),
    "defenses": _is_words,
    "trained_on_corruptions": _is_words,
    "training": lambda value: isinstance(value, dict),
}


def _typed(key: str, value: Any) -> Any:
    """The value as the dataclass has it; raises where JSON holds something else."""
    if not _VALID[key](value):
        raise ValueError(f"{key} is {value!r}")
    return tuple(value) if isinstance(value, list) else value
