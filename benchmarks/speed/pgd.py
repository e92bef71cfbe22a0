"""PGD at 8/255 with 20 steps against torchattacks and foolbox, same settings, same images.

Our side includes the confirmation of every image in float32, as float and rounded to 8 bits.
Passes over the sides alternate, and each side's figure is the median.
"""

import statistics
import time
from collections.abc import Callable

import foolbox
import torch
import torchattacks
from subjects import Subject, arguments, subject
from torch import Tensor

from attacks import engine, pgd
from attacks.gradients import exact_path, frozen

EPS, STEP, STEPS, REPEATS = 8 / 255, 2 / 255, 20, 3


def ours(case: Subject, precision: str) -> Tensor:
    with engine(precision=precision):
        moved = pgd(
            case.model, case.images, case.labels, eps=EPS, step_size=STEP, steps=STEPS
        ).images
    return torch.minimum(right(case, moved), right(case, (moved * 255).round() / 255))


def theirs_torchattacks(case: Subject, precision: str) -> Tensor:
    attack = torchattacks.PGD(case.model, eps=EPS, alpha=STEP, steps=STEPS, random_start=False)
    batches = zip(case.images.split(128), case.labels.split(128), strict=True)
    return right(case, torch.cat([attack(images, labels) for images, labels in batches]))


def theirs_foolbox(case: Subject, precision: str) -> Tensor:
    model = foolbox.PyTorchModel(case.model, bounds=(0, 1), device=case.images.device)
    attack = foolbox.attacks.LinfPGD(abs_stepsize=STEP, steps=STEPS, random_start=False)
    batches = zip(case.images.split(128), case.labels.split(128), strict=True)
    return right(
        case,
        torch.cat([attack(model, images, labels, epsilons=EPS)[1] for images, labels in batches]),
    )


def right(case: Subject, images: Tensor) -> Tensor:
    with frozen(case.model), torch.no_grad():
        forward = exact_path(case.model)
        predicted = torch.cat([forward(batch).argmax(dim=1) for batch in images.split(128)])
    return predicted == case.labels


def compare(case: Subject, precisions: list[str]) -> None:
    sides: dict[str, tuple[Callable[[Subject, str], Tensor], str]] = {
        "torchattacks.PGD": (theirs_torchattacks, "float32"),
        "foolbox LinfPGD": (theirs_foolbox, "float32"),
        **{f"workbench {precision}": (ours, precision) for precision in precisions},
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    accuracy = {}
    for _ in range(REPEATS):
        for name, (side, precision) in sides.items():
            begin = time.perf_counter()
            accuracy[name] = float(side(case, precision).float().mean())
            seconds[name].append(time.perf_counter() - begin)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    for name, taken in medians.items():
        ratios = "  ".join(
            f"{medians[other] / taken:5.2f}x vs {other}" for other in list(medians)[:2]
        )
        print(f"  {name:18s} {taken:7.2f} s  robust accuracy {accuracy[name]:.4f}  {ratios}")


def main() -> None:
    options = arguments(__doc__ or "")
    precisions = ["float32"] + (["bfloat16"] if options.device == "cuda" else [])
    for kind in ("plain", "adversarial"):
        compare(subject(kind, options), precisions)


if __name__ == "__main__":
    main()
