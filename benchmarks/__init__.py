"""Measuring: models × attacks on images, with records and numbers one can defend.

`plan` lays out the cells, `run` computes and stores them one by one, `merge` puts them into a
record, `read_record`, `results` and `worst_case` give its numbers, `verify` checks its claims.
"""

from benchmarks.cells import CellResult, KeptImages
from benchmarks.planning import Cell, Plan, plan
from benchmarks.reading import Record, read_record, same_data
from benchmarks.record import CellStore, merge
from benchmarks.results import DENOMINATORS, results, worst_case
from benchmarks.runner import CellOutcome, run
from benchmarks.suite import Condition, Corrupted, Examples, ModelEntry, Shard
from benchmarks.verify import Finding, verify

__all__ = [
    "DENOMINATORS",
    "Cell",
    "CellOutcome",
    "CellResult",
    "CellStore",
    "Condition",
    "Corrupted",
    "Examples",
    "Finding",
    "KeptImages",
    "ModelEntry",
    "Plan",
    "Record",
    "Shard",
    "merge",
    "plan",
    "read_record",
    "results",
    "run",
    "same_data",
    "verify",
    "worst_case",
]
