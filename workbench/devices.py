"""Which hardware to compute on."""

from typing import TYPE_CHECKING

from workbench.errors import UsageError

if TYPE_CHECKING:
    import torch


def resolve_device(name: str, threads: int | None = None) -> "torch.device":
    """The device called ``name``; ``auto`` takes a GPU where there is one.

    Args:
        name: ``auto``, or what torch calls a device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        threads: CPU threads torch may use from now on, or None for its own choice.

    Raises:
        UsageError: there is no such device here.
    """
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(
            f"--device {name} cannot be used here: {str(error).splitlines()[0][:160]}\n"
            "Give auto, cpu, cuda, cuda:1 or mps."
        ) from None
    return device
