"""What a judge reads in an attack's results: a model that the attack never saw."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from benchmarks.evaluation import float32_logits
from benchmarks.suite import Condition, ModelEntry


def readings(
    judge: nn.Module,
    originals: Tensor,
    results: Tensor,
    batch_size: int | None = None,
    halved: Callable[[int], None] | None = None,
) -> dict[str, Tensor]:
    """What the judge reads in attacked images and in their originals, in float32.

    Args:
        judge: maps images to logits (N, K), its classes numbered as the attacked model's; on the
            device of the images.
        originals: float32 (N, C, H, W) in [0, 1], N at least 1.
        results: the same images attacked.
        batch_size: images per forward; None to choose by image size.
        halved: told the new batch size when memory ran out.

    Returns:
        `benchmarks.columns.JUDGED`, (N,) each.

    Raises:
        ValueError: if the judge's logits are unusable.
    """
    found: dict[str, Tensor] = {}
    for before, images in (("", results), ("clean_", originals)):
        try:
            logits = float32_logits(judge, images, batch_size, halved)
        except ValueError as error:
            raise ValueError(f"the judge: {error}") from error
        bad = int((~torch.isfinite(logits).all(dim=1)).sum())
        if bad:
            raise ValueError(
                f"the judge's logits are not finite (NaN or infinite) on {bad} of {len(logits)} "
                f"{'clean' if before else 'attacked'} images"
            )
        top = torch.softmax(logits, dim=1).max(dim=1)
        found[f"{before}prediction"], found[f"{before}confidence"] = top.indices, top.values
    return found


def check_judge(
    judge: ModelEntry, models: Sequence[ModelEntry], conditions: Sequence[Condition]
) -> None:
    """Refuse a judge that is one of the attacked models, or has nothing to judge.

    Raises:
        ValueError: it says which.
    """
    if not conditions:
        raise ValueError("There is nothing to judge: a judge reads what attacks make")
    same = next((model.name for model in models if model.digest == judge.digest), None)
    if same is not None:
        raise ValueError(
            f"The judge, {judge.name}, is {same}, which is attacked: what fools it would convince "
            "it. A judge is another model"
        )
    if judge.name in {model.name for model in models}:
        raise ValueError(f"The judge and a model have the same name: {judge.name}")
