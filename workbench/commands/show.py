"""`workbench show`: what is in a record?"""

from workbench import options as o
from workbench.console import make_console


def show(
    record: o.RecordPath,
    debug: o.Debug = False,
    json_output: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Say what a record holds: how it was made, of which models, and its numbers as tables."""
    from workbench.showing import show_record

    show_record(record, make_console(json_output=json_output, quiet=quiet))
