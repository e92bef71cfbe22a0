"""What an interrupted training goes on from: a file of tensors and numbers in its run directory."""

import io
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch

from workbench.errors import UsageError
from workbench.run_directory import RunDirectory, write_atomically

STATE = "state.pt"

Found = TypeVar("Found")


def save_state(run: RunDirectory, state: Mapping[str, Any]) -> None:
    """Write the state, whole or not at all.

    Raises:
        OSError: it cannot be written; an earlier one stays as it was.
    """
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    write_atomically(run.path / STATE, buffer.getvalue())


def take_up(run: RunDirectory, use: Callable[[dict[str, Any]], Found]) -> Found | None:
    """What ``use`` makes of the state that a run left, or None if it left none.

    Raises:
        UsageError: the file is damaged, or ``use`` cannot use it.
    """
    file = run.path / STATE
    if not file.exists():
        return None
    try:
        return use(torch.load(file, map_location="cpu", weights_only=True))
    # torch reports a damaged file with whatever its unpickler or zip reader stumbled on
    except Exception as error:
        raise UsageError(
            f"{file} is damaged; delete it to train from the start, or choose another --output."
        ) from error


def forget(run: RunDirectory) -> None:
    """Remove the state: the training is finished."""
    (run.path / STATE).unlink(missing_ok=True)
