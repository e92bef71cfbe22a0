"""Checkpoint files: what is in them, and how ours are written."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import durable
from workbench.errors import UsageError
from workbench.models.metadata import CheckpointMetadata, from_json
from workbench.models.pickles import read_pickle
from workbench.models.programs import load_exported, load_torchscript, program_kind
from workbench.models.wording import first_line, printable

METADATA_KEY = "workbench"

_WEIGHTS = (  # where training scripts put the weights, the commonest first
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "network",
    "model_state",
    "state_dict_ema",
    "model_ema",
    "weights",
    "params",
    "classifier",
    "module",
)
_NOT_WEIGHTS = ("optim", "sched", "scaler", "amp")


@dataclass(frozen=True)
class Contents:
    """What a checkpoint file holds: either tensors by name, or a program that needs none.

    Attributes:
        tensors: the state dict, empty for a program.
        program: the network itself, or None.
        kind: ``safetensors``, ``pickle``, ``torchscript`` or ``export``.
        metadata: ours, or None for a checkpoint of someone else.
        extras: plain facts that were saved beside the weights, such as ``arch`` or ``args``.
    """

    tensors: Mapping[str, Tensor]
    kind: str
    program: nn.Module | None = None
    metadata: CheckpointMetadata | None = None
    extras: Mapping[str, Any] = field(default_factory=dict)


def read_checkpoint(path: Path, *, trust: bool = False) -> Contents:
    """Read any checkpoint, told apart by what is in it rather than by its name.

    Args:
        path: a state dict of `torch.save` (bare or inside a dict), safetensors, TorchScript or a
            `torch.export` program.
        trust: programs that could do more than compute may be read.

    Raises:
        UsageError: the file is damaged, holds no weights, or needs code to be run.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder; give the checkpoint file inside it.")
    if not path.is_file():
        raise UsageError(f"There is no checkpoint {path}.")
    if path.stat().st_size == 0:
        raise UsageError(f"{path} is empty.")
    kind = program_kind(path)
    if kind == "torchscript":
        return Contents({}, kind, program=load_torchscript(path, trust=trust))
    if kind == "export" or path.suffix == ".pt2":
        return Contents({}, "export", program=load_exported(path, trust=trust))
    if path.suffix == ".safetensors" or _looks_like_safetensors(path):
        return _read_safetensors(path)
    saved = read_pickle(path)
    tensors, extras = _find_weights(saved, path)
    return Contents(tensors, "pickle", extras=extras)


def save_checkpoint(path: Path, network: nn.Module, metadata: CheckpointMetadata) -> None:
    """Write a self-describing safetensors file, whole or not at all.

    Tensors are contiguous copies, shared ones written twice, so equal networks with equal
    metadata give equal bytes.

    Raises:
        OSError: the place cannot be written; a file that was there is unharmed.
    """
    from safetensors.torch import save

    tensors = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in network.state_dict().items()
    }
    # One key, because several are saved in no fixed order.
    data: bytes = save(tensors, metadata={METADATA_KEY: metadata.to_json()})
    with durable.atomically(Path(path)) as temporary:
        temporary.write_bytes(data)


def _looks_like_safetensors(path: Path) -> bool:
    """Eight bytes of header length, then a JSON object."""
    with path.open("rb") as file:
        start = file.read(9)
    length = int.from_bytes(start[:8], "little")
    return len(start) == 9 and start[8:] == b"{" and length < path.stat().st_size


def _read_safetensors(path: Path) -> Contents:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            said = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
    except SafetensorError as error:
        raise UsageError(f"{path} is a damaged safetensors file: {first_line(error)}.") from error
    if not tensors:
        raise UsageError(f"{path} holds no tensors.")
    ours = said.get(METADATA_KEY)
    metadata = None if ours is None else from_json(ours, str(path))
    return Contents(tensors, "safetensors", metadata=metadata, extras={})


def _find_weights(saved: object, path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors by name in what `torch.save` wrote, and the plain facts beside them."""
    if not isinstance(saved, Mapping):
        raise UsageError(
            f"{path} holds {type(saved).__name__}, not a state dict; "
            "save one with torch.save(model.state_dict(), FILE)."
        )
    tensors = _tensors(saved)
    if tensors is not None:
        return tensors, {}
    extras = {str(key): value for key, value in saved.items() if not _is_state(value)}
    names = [key for key in _WEIGHTS if key in saved]
    names += [
        key
        for key in saved
        if key not in names and not any(word in str(key).lower() for word in _NOT_WEIGHTS)
    ]
    for name in names:
        inner = saved[name]
        if not isinstance(inner, Mapping):
            continue
        tensors = _tensors(inner)
        if tensors is not None:
            return tensors, extras
        for deeper in _WEIGHTS:
            tensors = _tensors(inner.get(deeper))
            if tensors is not None:
                return tensors, extras
    keys = ", ".join(printable(str(key), 40) for key in list(saved)[:6]) or "nothing"
    raise UsageError(f"{path} holds no weights; at its top there is: {keys}.")


def _is_state(value: object) -> bool:
    return isinstance(value, Mapping) and any(isinstance(item, Tensor) for item in value.values())


def _tensors(value: object) -> dict[str, Tensor] | None:
    """The tensors of a state dict, or None if this is not one."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        return None
    tensors = {key: item for key, item in value.items() if isinstance(item, Tensor)}
    # Some scripts put an epoch number or None among the tensors.
    if not tensors or 2 * len(tensors) < len(value):
        return None
    return None if any(isinstance(item, Mapping) for item in value.values()) else tensors
