"""Training in several processes: whose share of a batch is whose, and sums over all of them.

Each function does what its name says in a process group of `torch.distributed`, and leaves things
as they are where there is none.
"""

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel


def rank() -> int:
    """Which of the processes this one is, from 0."""
    return distributed.get_rank() if _several() else 0


def count() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if _several() else 1


def share(rows: Tensor) -> Tensor:
    """The part of some rows that is this process's: each row is one's, and shares are balanced.

    Less than two rows for each process are everyone's, as a whole: batch normalisation has no use
    for one image, and no process may be left out.
    """
    return rows if len(rows) < 2 * count() else rows.tensor_split(count())[rank()]


def weighed(loss: Tensor, images: int, of: int) -> Tensor:
    """The mean loss of a share of some images ``of`` a batch, times what the share counts for.

    The mean of its gradients over the processes, which `in_step` takes, is that of the batch.
    """
    return loss if images == of else loss * (images * count() / of)


def counts(images: int, of: int) -> bool:
    """Whether a share is to be counted here: what is everyone's is counted by the first."""
    return images < of or rank() == 0


def summed(values: Tensor) -> Tensor:
    """The sums of these values over all processes, in place."""
    if _several():
        distributed.all_reduce(values)
    return values


def unify_buffers(model: nn.Module) -> None:
    """Give every process the first one's buffers: each has had statistics of its own share."""
    if _several():
        for buffer in model.buffers():
            firsts = buffer.contiguous()  # as it is sent, whatever its layout
            distributed.broadcast(firsts, 0)
            buffer.copy_(firsts)


def in_step(step: nn.Module, device: torch.device) -> nn.Module:
    """The step of every process: its gradients become their mean over the processes.

    Weights and buffers are the first process's at the start, and buffers at every step. On GPUs
    batch normalisation takes its statistics over all shares; elsewhere torch has nothing for that,
    and each process takes those of its own share.
    """
    if not _several():
        return step
    if device.type == "cuda":
        step = nn.SyncBatchNorm.convert_sync_batchnorm(step)
    return DistributedDataParallel(step)


def _several() -> bool:
    return distributed.is_available() and distributed.is_initialized()
