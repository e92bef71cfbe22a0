"""What `workbench merge` does: join records of the same data, and write the result."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks import join, read_record, write_record
from workbench.console import Console
from workbench.errors import UsageError
from workbench.record_files import find_record


def merge_records(
    paths: Sequence[Path], output: Path, console: Console, *, baseline: str | None
) -> None:
    """Join records and write them as one.

    Args:
        paths: records, or run directories.
        output: the file to write; there must be none yet.
        console: where output goes.
        baseline: what errors are divided by; None for what the records name.

    Raises:
        ValueError: one is damaged, or they do not go together.
        OSError: one cannot be read, or the output cannot be written.
    """
    if len(paths) < 2:
        raise UsageError("Give at least two records to merge.")
    if output.suffix not in (".h5", ".hdf5"):
        raise UsageError(f"--output {output}: a record is an HDF5 file, so call it NAME.h5.")
    if output.exists():
        raise UsageError(f"{output} exists already; choose another --output.")
    if not output.absolute().parent.is_dir():
        raise UsageError(f"--output {output}: there is no folder {output.parent}.")
    joined = join([read_record(find_record(path)) for path in paths], baseline=baseline)
    write_record(joined, output)
    corruptions = f"{len(joined.axes.corruptions)} corruptions"
    console.show(
        f"joined {len(paths)} records: {len(joined.models)} models, {len(joined.attacks)} attacks, "
        f"{corruptions}, {len(joined.probes)} probes, {len(joined.ids)} images",
        f"record: {output}",
    )
    console.essential(str(output))
    console.document(
        {
            "record": str(output),
            "joined": joined.config["joined"],
            "models": list(joined.models),
            "attacks": list(joined.attacks),
            "corruptions": list(joined.axes.corruptions),
            "severities": list(joined.axes.severities),
            "probes": list(joined.probes),
            "images": len(joined.ids),
        }
    )
