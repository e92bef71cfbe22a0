"""Claims about records whose every number is chosen, for the tests of their verdicts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from comparison_case import record, recounted, write
from rich.console import Console

from benchmarks.reading import Record
from workbench.studies.claims import read_claims
from workbench.studies.judging import Verdict, judge
from workbench.studies.verdict_tables import verdict_table

ORDERING = {"measure": "clean-error", "higher": ["bad"], "lower": ["good"]}
COSTS = {
    "rows": ["model 0"],
    "corruption_higher": ["fog", "contrast"],
    "corruption_lower": "gaussian-noise",
}


def judged(folder: Path, found: Record, **claim: Any) -> Verdict:
    """What one claim about a record comes to, by way of its file."""
    write(folder / "step", found)
    return decided(folder, **claim)


def decided(folder: Path, **claim: Any) -> Verdict:
    claims = read_claims([{"says": "it is so", "record": "step", **claim}], "study.toml")
    (found,) = judge(claims, folder, "small")
    return found


def wrong_on(counts: Mapping[str, int], **settings: Any) -> Record:
    """Models that are wrong on so many of the first of 80 untouched images."""
    found = record(list(counts), corrupted=False, **settings)
    for m, count in enumerate(counts.values()):
        found.clean["right"][m] = np.arange(80) >= count
        found.clean["rank"][m] = np.where(found.clean["right"][m] == 1, 0, 1)
    return recounted(found)


def printed(verdicts: Sequence[Verdict], width: int = 400) -> str:
    console = Console(width=width, record=True, file=None, quiet=False)
    with console.capture() as capture:
        console.print(verdict_table(verdicts, "scale small: 80 images", width))
    return capture.get()


def costly(errors: Sequence[Sequence[Sequence[int]]], clean: int = 8) -> Record:
    """Models that are wrong on so many of the first of 80 images: [model][corruption][severity].

    The severities are 1, 3 and 5 of Gaussian noise, fog and contrast.
    """
    found = record([f"model {m}" for m in range(len(errors))])
    found.clean["right"][:] = np.arange(80) >= clean
    for place in np.ndindex(len(errors), 3, 3):
        m, k, s = place
        found.corrupted["right"][place] = np.arange(80) >= errors[m][k][s]
    return recounted(found)
