"""Fast gradient sign method: one signed step."""

from torch import Tensor, nn

from attacks.attacked import Attacked
from attacks.pgd import pgd


def fgsm(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    targets: Tensor | None = None,
    seeds: Tensor | None = None,
    eps: float = 8 / 255,
    loss: str = "ce",
) -> Attacked:
    """One step of size eps along the sign of the loss's gradient.

    Source: Goodfellow, Shlens, Szegedy 2015, "Explaining and harnessing adversarial examples".

    Args:
        model: maps images in [0, 1] to logits (N, K).
        images: float32 (N, C, H, W) in [0, 1].
        labels: int64 (N,).
        targets: int64 (N,) for a targeted attack.
        seeds: not used; there is nothing random.
        eps: L∞ budget, in units of the image range.
        loss: ``ce``, ``margin`` or ``dlr``.

    Raises:
        ValueError: for settings or tensors that do not fit.
    """
    return pgd(
        model,
        images,
        labels,
        targets=targets,
        seeds=seeds,
        eps=eps,
        step_size=eps,
        steps=1,
        random_start=False,
        loss=loss,
    )
