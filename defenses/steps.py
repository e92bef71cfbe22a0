"""What a step descends and how far it goes: the loss, learning rates, and the optimizers."""

import math
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from defenses.defense import Loss

Optimizer = Literal["sgd", "adam", "adamw"]
Schedule = Literal["cosine", "step", "constant"]


class Step(nn.Module):
    """The loss of a batch as one module, however often the loss asks the model.

    Args:
        model: what is trained.
        loss: see `Defense`.
        dtype: what the model's passes are computed in where they lose little by it.
    """

    def __init__(self, model: nn.Module, loss: Loss, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.dtype = dtype

    def forward(self, images: Tensor, labels: Tensor, seeds: Tensor) -> tuple[Tensor, Tensor]:
        """The mean loss of the batch, and logits (n, K), both float32."""
        if self.dtype == torch.float32:
            return self.loss(self.model, images, labels, seeds)
        # Autocast computes softmax, logarithms and losses in float32 whatever the dtype.
        with torch.autocast(images.device.type, self.dtype):
            loss, logits = self.loss(self.model, images, labels, seeds)
        return loss.float(), logits.float()


def learning_rate(
    step: int, steps: int, peak: float, schedule: Schedule, warmup: float = 0.0
) -> float:
    """The learning rate of one step, counted from 0, of ``steps``.

    It climbs linearly over ``warmup`` steps and then follows the schedule over what is left:
    ``constant``; ``cosine``, half a wave down to 0 (Loshchilov & Hutter 2017, without restarts);
    ``step``, a tenth from one half on and a hundredth from three quarters on (He et al. 2016).

    Raises:
        ValueError: an unknown schedule.
    """
    if schedule not in get_args(Schedule):
        raise ValueError(f"no schedule {schedule!r}: cosine, step or constant")
    if step < warmup:
        return peak * (step + 1) / (math.ceil(warmup) + 1)
    done = (step - warmup) / max(steps - warmup, 1)
    if schedule == "constant":
        return peak
    if schedule == "cosine":
        return peak * (1 + math.cos(math.pi * done)) / 2
    return peak * (1.0 if done < 1 / 2 else 0.1 if done < 3 / 4 else 0.01)


def make_optimizer(
    model: nn.Module,
    name: Optimizer,
    lr: float,
    momentum: float,
    weight_decay: float,
    spare_norms: bool = False,
) -> torch.optim.Optimizer:
    """The optimizer over every parameter that requires a gradient.

    ``weight_decay`` is an L2 term for ``sgd`` (with Nesterov's momentum) and ``adam``, and
    decoupled from the gradient for ``adamw`` (Loshchilov & Hutter 2019). With ``spare_norms`` it
    is for tensors of two or more dimensions alone: not for norms and biases.

    Raises:
        ValueError: an unknown name, or nothing to train.
    """
    weights = [p for p in model.parameters() if p.requires_grad]
    if not weights:
        raise ValueError("nothing to train: no parameter of the model requires a gradient")
    groups: list[dict[str, Any]] = [{"params": weights}]
    if spare_norms:
        groups = [
            {"params": [p for p in weights if p.ndim > 1]},
            {"params": [p for p in weights if p.ndim <= 1], "weight_decay": 0.0},
        ]
    if name == "sgd":
        return torch.optim.SGD(
            groups, lr, momentum=momentum, weight_decay=weight_decay, nesterov=momentum > 0
        )
    if name == "adam":
        return torch.optim.Adam(groups, lr, weight_decay=weight_decay)
    if name == "adamw":
        return torch.optim.AdamW(groups, lr, weight_decay=weight_decay)
    raise ValueError(f"no optimizer {name!r}: sgd, adam or adamw")


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Let the next steps be of this length, in place."""
    for group in optimizer.param_groups:
        group["lr"] = lr
