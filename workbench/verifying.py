"""What `workbench verify` does: load a record's models again and check every claim."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from rich.table import Table
from rich.text import Text
from torch import nn

from benchmarks import Again, Finding, verify
from benchmarks.findings import FAILS, HOLDS, SAME_MODEL, UNCHECKED
from workbench.console import Console
from workbench.data_again import data_again
from workbench.devices import resolve_device
from workbench.record_files import find_record
from workbench.subjects import load_described
from workbench.tables import short_spec

STYLES = {HOLDS: "green", FAILS: "bold red", UNCHECKED: "yellow"}


def verify_record(
    path: Path,
    console: Console,
    *,
    look_in: Path | None,
    trust: bool,
    device: str,
    batch_size: int | None,
    threads: int | None,
) -> bool:
    """Check a record and show the findings; whether all that could be checked holds.

    Args:
        path: the record, or the run directory it is in.
        console: where output goes.
        look_in: a folder to look for moved checkpoints in, and for moved data.
        trust: models that need code to be run may be loaded.
        device, batch_size, threads: how to compute.

    Raises:
        ValueError: the record is damaged, or the run directory has none.
        OSError: it cannot be opened.
    """
    record = find_record(path)
    hardware = resolve_device(device, threads)

    def get_model(description: Mapping[str, object]) -> tuple[nn.Module, str]:
        loaded = load_described(description, trust=trust, look_in=look_in)
        return loaded.model.to(hardware), loaded.digest

    def get_data(config: Mapping[str, object]) -> Again:
        return data_again(config, hardware, trust=trust, look_in=look_in)

    findings = verify(record, get_model, get_data=get_data, batch_size=batch_size)
    failing = [finding for finding in findings if finding.verdict == FAILS]
    unloaded = [finding for finding in findings if _is_unloaded_model(finding)]
    console.show(_table(findings))
    counts = {verdict: sum(f.verdict == verdict for f in findings) for verdict in STYLES}
    holds = not failing and not unloaded
    console.show(
        f"{counts[HOLDS]} claims hold, {counts[FAILS]} fail, {counts[UNCHECKED]} were not checked"
    )
    for finding in failing:
        console.error(f"{_where(finding)}{finding.claim}: {finding.detail}")
    for finding in unloaded:
        console.error(f"{_where(finding)}not confirmed: {finding.detail}")
    console.essential(FAILS if failing else UNCHECKED if unloaded else HOLDS)
    console.document(
        {
            "record": str(record),
            "holds": holds,
            "counts": counts,
            "findings": [asdict(finding) for finding in findings],
        }
    )
    return holds


def _is_unloaded_model(finding: Finding) -> bool:
    return finding.verdict == UNCHECKED and finding.claim == SAME_MODEL


def _table(findings: list[Finding]) -> Table:
    table = Table(header_style="bold")
    for name in ("claim", "", "how it was checked"):
        table.add_column(name)
    place: tuple[str | None, str | None] = (None, None)
    for finding in findings:
        if (finding.model, finding.attack) != place:
            place = (finding.model, finding.attack)
            table.add_section()
            table.add_row(Text(_where(finding).rstrip(": "), style="bold"), "", "")
        verdict = Text(finding.verdict, style=STYLES[finding.verdict])
        table.add_row(Text(finding.claim), verdict, Text(finding.detail))
    return table


def _where(finding: Finding) -> str:
    attack = short_spec(finding.attack) if finding.attack else None
    return "".join(f"{name}: " for name in (finding.model, attack) if name)
