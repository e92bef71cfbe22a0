"""The sign ascent to 90 % against the same loop over the full batch until its last image is done.

Both sides climb the same objective with the same step in float32 and confirm their result. The
full-batch side is the loop that a study writes by hand: a forward and a backward pass over every
image at every step. On an adversarially trained model the tail is longer, which favours our side
and takes the other many minutes; it is left out.
"""

import statistics
import time

import torch
from subjects import Subject, arguments, subject
from torch import Tensor

from attacks import Ended, Goal, engine, sign_ascent
from attacks.gradients import exact_path, frozen
from attacks.objectives import objective_named

STEPS, STEP, CONFIDENCE, REPEATS = 1000, 1 / 255, 0.9, 3


def full_batch(case: Subject) -> Tensor:
    """Images that reach 90 %; every image is stepped until all are there."""
    objective = objective_named("confidence", targeted=False)
    none = torch.full_like(case.labels, -1)
    result, done = case.images.clone(), torch.zeros_like(case.labels, dtype=torch.bool)
    images = case.images.clone()
    with frozen(case.model):
        for step in range(STEPS + 1):
            for rows in torch.arange(len(images), device=images.device).split(128):
                batch = images[rows].requires_grad_()
                logits = case.model(batch)
                met = Goal(None, CONFIDENCE).met(logits, case.labels[rows])
                fresh = rows[met & ~done[rows]]
                result[fresh], done[fresh] = images[fresh], True
                if step < STEPS:
                    values = objective(logits, case.labels[rows], none[rows])
                    (gradient,) = torch.autograd.grad(values.sum(), batch)
                    images[rows] = (images[rows] + STEP * gradient.sign()).clamp(0, 1)
            if bool(done.all()):
                break
    return torch.where(done[:, None, None, None], result, images)


def main() -> None:
    options = arguments(__doc__ or "")
    case = subject("plain", options)
    ours, theirs = [], []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        with engine(precision="float32"):
            attacked = sign_ascent(
                case.model, case.images, case.labels, steps=STEPS, step_size=STEP
            )
        confirmed = share(case, attacked.images)
        ours.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        full = share(case, full_batch(case))
        theirs.append(time.perf_counter() - begin)
    steps = float(attacked.steps.float().mean())
    verified = float((attacked.ended == int(Ended.REACHED)).float().mean())
    forwards = float(attacked.forwards.float().mean()) - verified  # one to confirm each
    one, other = statistics.median(ours), statistics.median(theirs)
    print(f"  workbench  {one:7.2f} s  success {confirmed:.4f}")
    print(f"  full batch {other:7.2f} s  success {full:.4f}  ratio {other / one:.2f}x")
    print(
        f"  mean steps {steps:.2f}, most {int(attacked.steps.max())}; "
        f"forwards per image without the confirmation {forwards:.2f}"
    )


def share(case: Subject, images: Tensor) -> float:
    """The share of images that the model gets wrong with 90 % confidence, in float32."""
    with frozen(case.model), torch.no_grad():
        forward = exact_path(case.model)
        logits = torch.cat([forward(batch) for batch in images.split(128)])
    return float(Goal(None, CONFIDENCE).met(logits, case.labels).float().mean())


if __name__ == "__main__":
    main()
