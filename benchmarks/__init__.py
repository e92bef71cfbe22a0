"""Measuring: models × attacks, corruptions and probes, with records and numbers one can defend.

`plan` lays out the cells, `run` computes and stores them one by one, `merge` puts them into a
record, `read_record`, `results`, `worst_case`, `corruption_results` and `probe_results` give its
numbers, `compare` tests its models against each other, `verify` checks its claims.
"""

from benchmarks.attention_results import ATTENTION_DENOMINATORS, attention_results
from benchmarks.cell_files import CellStore
from benchmarks.cells import CellResult, KeptImages
from benchmarks.comparison import compare
from benchmarks.findings import Finding
from benchmarks.joining import join
from benchmarks.planning import plan
from benchmarks.plans import Cell, Plan
from benchmarks.reading import Record, read_record, same_data
from benchmarks.record import merge, write_record
from benchmarks.results import (
    CORRUPTION_DENOMINATORS,
    DENOMINATORS,
    PROBE_DENOMINATORS,
    corruption_results,
    probe_results,
    results,
    worst_case,
)
from benchmarks.runner import CellOutcome, run
from benchmarks.suite import Condition, Corrupted, Examples, ModelEntry, Probed, Shard
from benchmarks.verify import verify
from benchmarks.verify_sample import Again

__all__ = [
    "ATTENTION_DENOMINATORS",
    "CORRUPTION_DENOMINATORS",
    "DENOMINATORS",
    "PROBE_DENOMINATORS",
    "Again",
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
    "Probed",
    "Record",
    "Shard",
    "attention_results",
    "compare",
    "corruption_results",
    "join",
    "merge",
    "plan",
    "probe_results",
    "read_record",
    "results",
    "run",
    "same_data",
    "verify",
    "worst_case",
    "write_record",
]
