"""Making hard negatives against the per-image loop that a study writes by hand.

All sides climb the target's score by steps of the same length from the same images to the same
targets, until the target is the top class; ours looks once more at each image in 8 bits. The loop
takes one image at a time and may use all cores. It is timed as it is usually written, `backward` in
a model whose weights get gradients too, and with these turned off. Passes over the sides alternate,
and each side's figure is the median.
"""

import statistics
import time

import torch
from subjects import Subject, arguments, subject
from torch import Tensor

from attacks.fooling import STUDY_VALUES
from attacks.gradients import frozen
from benchmarks.fooling_sets import Outcome, fool

STRENGTHS, STEPS, REPEATS, IN_LOOP = (5.0, 20.0, 100.0), 100, 3, 24


def one_by_one(case: Subject, targets: Tensor, strength: float) -> Tensor:
    """Fooling images of the first images of a case, each in a loop of its own."""
    std = torch.tensor(case.model.std)[None, :, None, None]
    scale = std * (case.images[0].numel() / STUDY_VALUES) ** 0.5
    found = []
    for image, target in zip(case.images[:IN_LOOP], targets.tolist(), strict=False):
        x = image[None]
        for step in range(STEPS + 1):
            x = x.detach().requires_grad_()
            logits = case.model(x)
            if int(logits.argmax(1)) == target or step == STEPS:
                break
            case.model.zero_grad()
            logits[0, target].backward()
            gradient = x.grad * scale
            x = (x.detach() + strength * scale * gradient / gradient.norm()).clamp(0, 1)
        found.append(x.detach())
    return torch.cat(found)


def without_weights(case: Subject, targets: Tensor, strength: float) -> Tensor:
    """The same, no gradient being computed for the weights."""
    with frozen(case.model):
        return one_by_one(case, targets, strength)


def in_batches(case: Subject, strength: float) -> Outcome:
    ids = torch.arange(len(case.images))
    return fool(case.model, case.images, case.labels, ids, strength=strength, steps=STEPS)


def main() -> None:
    options = arguments(__doc__ or "")
    case = subject("plain", options)
    case.model.requires_grad_(True)
    loops = {"loop": one_by_one, "loop, weights frozen": without_weights}
    total = dict.fromkeys(["workbench", *loops], 0.0)
    for strength in STRENGTHS:
        seconds: dict[str, list[float]] = {side: [] for side in total}
        for _ in range(REPEATS):
            begin = time.perf_counter()
            outcome = in_batches(case, strength)
            seconds["workbench"].append((time.perf_counter() - begin) / len(case.images))
            targets = torch.from_numpy(outcome.target).long()
            for side, loop in loops.items():
                begin = time.perf_counter()
                looped = loop(case, targets, strength)
                seconds[side].append((time.perf_counter() - begin) / IN_LOOP)
        ours = torch.from_numpy(outcome.images[:IN_LOOP]).permute(0, 3, 1, 2) / 255
        alike = ((ours - looped).abs().amax((1, 2, 3)) <= 1 / 255).float().mean()
        print(
            f"  strength {strength:g}: {outcome.steps.mean():.1f} steps, "
            f"{outcome.reached.mean():.1%} reached; {alike:.0%} within a grey level of the loop's"
        )
        for side, spent in seconds.items():
            middle = statistics.median(spent)
            total[side] += middle
            print(f"    {side:20s} {1 / middle:7.1f} images/s")
    for side in loops:
        ratio = total[side] / total["workbench"]
        print(f"  all strengths: workbench is faster than the {side} by {ratio:.1f}x")


if __name__ == "__main__":
    main()
