"""Where the cells of a run are computed."""

from benchmarks.computing import Engine, local
from workbench.errors import UsageError
from workbench.options import EngineName
from workbench.subjects import Options

RAY_OPTIONS = ("ray_address", "cpus_per_task", "gpus_per_task")


def make_engine(options: Options) -> Engine:
    """The engine that the command line asks for.

    Raises:
        UsageError: Ray is not installed, or options do not go together.
    """
    given = [name for name in RAY_OPTIONS if options[name] is not None]
    if options["engine"] == EngineName.LOCAL:
        if given:
            flag = "--" + given[0].replace("_", "-")
            raise UsageError(f"{flag} is for tasks on Ray: add --engine ray.")
        return local
    if ":" in options["device"]:
        raise UsageError(
            f"--device {options['device']}: a task on Ray gets a GPU of its own; write "
            "--device cuda."
        )
    from benchmarks.ray_engine import ray_engine

    try:
        return ray_engine(
            options["ray_address"], cpus=options["cpus_per_task"], gpus=options["gpus_per_task"]
        )
    except ImportError as error:
        raise UsageError(str(error)) from None
    except ValueError as error:
        raise UsageError(f"--engine ray: {error}") from None
