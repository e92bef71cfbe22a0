"""What the sign ascent's objective and step size cost: passes and change at 90 % confidence.

The defaults were chosen from this table, which `docs/benchmarks.md` holds.
"""

import itertools

from subjects import arguments, subject

from attacks import Ended, sign_ascent
from benchmarks.metrics import average_pixel_change, pixels_over_threshold

LOSSES = ("confidence", "ce", "margin", "dlr")
STEP_SIZES = (1, 2, 4)


def main() -> None:
    options = arguments(__doc__ or "")
    for kind in ("mlp", "plain"):
        case = subject(kind, options)
        print(f"  {'loss':11s} step·255  success  forwards  pixel change  pixels over 1 %")
        for loss, step in itertools.product(LOSSES, STEP_SIZES):
            attacked = sign_ascent(
                case.model, case.images, case.labels, loss=loss, step_size=step / 255
            )
            reached = attacked.ended == int(Ended.REACHED)
            change = average_pixel_change(case.images, attacked.images)[reached].mean()
            over = pixels_over_threshold(case.images, attacked.images, [0.01])
            print(
                f"  {loss:11s} {step:8g}  {float(reached.float().mean()):7.3f}"
                f"  {float(attacked.forwards.float().mean()):8.2f}  {float(change):12.5f}"
                f"  {float(over[reached].float().mean()):15.1f}"
            )


if __name__ == "__main__":
    main()
