"""What `workbench check` does: try what usually explains a bad accuracy, and recommend flags."""

from dataclasses import asdict

from rich.table import Table
from rich.text import Text

from workbench.console import Console
from workbench.devices import resolve_device
from workbench.models.sanity import Examination, Row, examine
from workbench.subjects import Options, load_subjects


def check_checkpoint(options: Options, console: Console) -> None:
    """Run `workbench check`.

    Raises:
        ValueError: the checkpoint or the data cannot be used, or do not fit together.
        OSError: a file cannot be read.
    """
    device = resolve_device(options["device"], options["threads"])
    everything = {**options, "checkpoints": [options["checkpoint"]], "limit": None}
    subjects = load_subjects(everything, console)
    loaded = subjects.models[0]
    with console.progress(1, unit="check", description=f"examining {loaded.name}"):
        found = examine(
            loaded,
            subjects.dataset,
            limit=options["limit"],
            seed=options["seed"],
            batch_size=options["batch_size"] or 64,
            device=device,
        )
    console.show(_table(loaded.name, found))
    for line in _lines(found):
        console.show(line)
    for finding in found.findings:
        console.warn(finding.message)
    if found.near_chance:
        console.warn("Even the best of these is near chance: look at the classes or the weights.")
    console.essential(" ".join(_flags(found)))
    console.document(
        {
            "model": loaded.name,
            "data": subjects.dataset.name,
            "images": found.configured.images,
            "configured": asdict(found.configured),
            "best": asdict(found.best),
            "candidates": [asdict(row) for row in found.rows],
            "flags": " ".join(_flags(found)),
            "recommendation": found.recommendation,
            "class_order": None if found.class_order is None else asdict(found.class_order),
            "findings": [asdict(finding) for finding in found.findings],
            "near_chance": found.near_chance,
            "resolved": loaded.description,
        }
    )


def _flags(found: Examination) -> list[str]:
    """What to add to the command: preprocessing, then the order of the classes."""
    order = found.class_order.flags if found.class_order is not None else ""
    return [flags for flags in (found.flags, order) if flags]


def _table(name: str, found: Examination) -> Table:
    title = Text(f"{name}: clean accuracy on {found.configured.images} images")
    table = Table(title=title, title_justify="left", header_style="bold")
    table.add_column("preprocessing")
    table.add_column(Text("accuracy [95 % interval]"), justify="right", no_wrap=True)
    table.add_column("loss", justify="right")
    table.add_column("flags", overflow="fold")  # cut short, a flag cannot be copied
    for row in found.rows:
        style = "bold" if found.flags and row is found.best else None
        configured = row is found.configured and "as configured" not in row.name
        label = f"as configured: {row.name}" if configured else row.name
        table.add_row(Text(label), _accuracy(row), f"{row.loss:.3f}", Text(row.flags), style=style)
    return table


def _accuracy(row: Row) -> str:
    low, high = row.interval
    return f"{row.correct}/{row.images} = {row.accuracy:.1%} [{100 * low:.1f}, {100 * high:.1f}]"


def _lines(found: Examination) -> list[str]:
    lines = [found.recommendation[:1].upper() + found.recommendation[1:] + "."]
    order = found.class_order
    if order is not None:
        low, high = order.interval
        lines.append(
            f"The classes seem to be in another order ({order.name}): "
            f"{order.correct / order.images:.1%} [{100 * low:.1f}, {100 * high:.1f}] of "
            f"{order.images} images are right in it, {order.before:.1%} as it is"
            + (f"; use {order.flags}." if order.flags else ".")
        )
    return lines
