"""Several processes that train one model, as torchrun starts them: who does what they share.

Every process runs the same command. The first alone opens the run directory, writes and prints.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from workbench.errors import UsageError

if TYPE_CHECKING:
    import torch

Value = TypeVar("Value")

_PATIENCE = timedelta(days=1)  # the first process may have to download or to digest the data


def several() -> bool:
    """Whether torchrun started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ


def is_first() -> bool:
    """Whether this is the process that opens the run directory, writes and prints."""
    return not several() or os.environ["RANK"] == "0"


def on_this_machine() -> int:
    """How many of the processes run here."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if several() else 1


def local_device(name: str) -> str:
    """The device called ``name``; of several GPUs each process on a machine gets its own."""
    import torch

    if several() and name in ("auto", "cuda") and torch.cuda.is_available():
        return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    return name


@contextmanager
def joined(device: "torch.device") -> Iterator[None]:
    """Be one of the processes inside the block; outside of torchrun, nothing is done.

    Raises:
        UsageError: several processes cannot train on such a device.
    """
    if not several():
        yield
        return
    import torch
    from torch import distributed

    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"--device {device}: several processes train on CPUs or on CUDA GPUs.")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    distributed.init_process_group(backend, timeout=_PATIENCE)
    yield
    # After an error the group stays, for `speaks`; the others notice when this process has ended.
    distributed.destroy_process_group()


def left_alone(error: RuntimeError) -> bool:
    """Whether the reason of an error is that another process has ended."""
    from torch import distributed

    # Gloo has no type of its own for it.
    return several() and (isinstance(error, distributed.DistError) or "gloo" in str(error))


def speaks() -> bool:
    """Whether this process is to say why it ends: of several the one that asks first.

    The others end because of it, or for the same reason. Before they have joined, the first of them
    says what all have found.
    """
    distributed = sys.modules.get("torch.distributed")
    if not several() or distributed is None or not distributed.is_initialized():
        return is_first()
    try:
        store = distributed.distributed_c10d._get_default_store()
        return bool(store.add("workbench/ended", 1) == 1)
    except distributed.DistError:  # whoever keeps the store has ended too
        return is_first()


def from_first(find: Callable[[], Value]) -> Value:
    """What the first process finds, in every process."""
    if not several():
        return find()
    from torch import distributed

    found = [find() if is_first() else None]
    distributed.broadcast_object_list(found)
    return found[0]  # type: ignore[return-value]  # the first process's is no None of ours


def one_first(do: Callable[[], Value]) -> Value:
    """Do something in one process a machine before the others, which find its files then."""
    if not several():
        return do()
    from torch import distributed

    leads = os.environ.get("LOCAL_RANK", "0") == "0"
    if not leads:
        distributed.barrier()
    done = do()
    if leads:
        distributed.barrier()
    return done


def restart_command(arguments: str) -> str:
    """The command that starts all processes again, from the one that starts a single process."""
    if not several():
        return arguments
    here = on_this_machine()
    machines = int(os.environ["WORLD_SIZE"]) // here
    nodes = f"--nnodes {machines} ... " if machines > 1 else ""
    rest = arguments.removeprefix("workbench ")
    return f"torchrun {nodes}--nproc-per-node {here} -m workbench {rest}"
