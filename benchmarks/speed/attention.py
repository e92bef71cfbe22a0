"""What the drift of attention costs beside the plain corruption benchmark of the same images.

Both are run on the same images in turns, records merged, and the faster of each side counts: where
others use the machine too, only the fastest turn says what the work takes.
"""

import tempfile
from argparse import Namespace
from pathlib import Path

from overhead import Examples
from runner import Seconds, Stopwatch
from subjects import Subject, arguments, subject

from attacks.corruptions import GROUPS
from benchmarks import CellStore, ModelEntry, merge, plan, run
from workbench.corruptions import make_recipes

IMAGES, TURNS, TARGET = 1000, 2, 3.0


def measure(options: Namespace) -> None:
    """1,000 images x 15 corruptions x 5 severities on a ResNet-20."""
    options.images = IMAGES
    case = subject("plain", options)
    turns = [
        (_seconds(case, attention=False), _seconds(case, attention=True)) for _ in range(TURNS)
    ]
    plain, drift = (min(side, key=lambda one: one.processor) for side in zip(*turns, strict=True))
    print(f"{len(case.images)} images x 15 corruptions x 5 severities, ResNet-20, record included:")
    print(f"  plain {plain}, with attention {drift}")
    print(
        f"  {drift.wall / plain.wall:.2f} times the time, {drift.processor / plain.processor:.2f} "
        f"times the processor's (target: within {TARGET:g})"
    )


def _seconds(case: Subject, *, attention: bool) -> Seconds:
    recipes = make_recipes(GROUPS["standard"], range(1, 6), seed=0)
    entry = ModelEntry("model", "0" * 64, {}, lambda: case.model)
    planned = plan(
        [entry],
        (),
        Examples(case),
        corruptions=[recipe.corrupted for recipe in recipes],
        attention=attention,
    )
    with tempfile.TemporaryDirectory() as folder:
        watch = Stopwatch()
        for outcome in run(planned, CellStore(Path(folder))):
            if outcome.error is not None:
                raise RuntimeError(outcome.error)
        merge(planned, CellStore(Path(folder)), Path(folder) / "record.h5")
        return watch.read()


if __name__ == "__main__":
    measure(arguments(__doc__ or ""))
