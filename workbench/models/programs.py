"""Networks that come with their own code: TorchScript and `torch.export` programs."""

import struct
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from workbench.errors import UsageError
from workbench.models.wording import kind_and_line

_NO_ARCHIVE = (  # how zipfile fails on damaged archives
    zipfile.BadZipFile,
    OSError,
    ValueError,
    RuntimeError,
    EOFError,
    struct.error,
    zlib.error,
)
_FILE_OPERATIONS = (b"torch.save(", b"from_file(", b"torch.load(", b"ops.aten.save", b"_save(")


def program_kind(path: Path) -> str | None:
    """``"torchscript"``, ``"export"`` or None, told by what the archive holds."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {"/" + name.partition("/")[2] for name in archive.namelist()}
            whole = " ".join(archive.namelist())
    except _NO_ARCHIVE:
        return None
    if any(name.startswith("/code/") and name.endswith(".py") for name in names):
        return "torchscript"
    if "archive_format" in whole or "serialized_exported_program.json" in whole:
        return "export"
    return None


def load_torchscript(path: Path, *, trust: bool) -> nn.Module:
    """A TorchScript module on the CPU.

    TorchScript is run by PyTorch's own interpreter and cannot call Python, but it can name files;
    a program that does is refused unless it is trusted.

    Raises:
        UsageError: the file is damaged, or handles files and is not trusted.
    """
    if not trust and _handles_files(path):
        raise UsageError(
            f"{path} is a TorchScript program that reads or writes files, so it is refused.\n"
            "If you trust where it comes from, add --trust."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network: nn.Module = torch.jit.load(str(path), map_location="cpu")
    except Exception as error:  # the reader fails in many ways on damaged files
        raise UsageError(
            f"{path} is a damaged TorchScript file: {kind_and_line(error)}."
        ) from error
    return network


def load_exported(path: Path, *, trust: bool) -> nn.Module:
    """A `torch.export` program on the CPU, as a module.

    Raises:
        UsageError: it is not trusted (reading one can run code that the file carries), it is
            damaged, or it does not take one batch of images.
    """
    if not trust:
        raise UsageError(
            f"{path} is a torch.export program; reading one can run code that it carries.\n"
            "If you trust where it comes from, add --trust."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.load(str(path))
            module = program.module()
    except Exception as error:  # the reader fails in many ways on damaged files
        raise UsageError(f"{path} is a damaged program: {kind_and_line(error)}.") from error
    inputs = [
        node.meta.get("val")
        for node in program.graph_module.graph.nodes
        if node.op == "placeholder" and node.name in program.graph_signature.user_inputs
    ]
    if len(inputs) != 1 or not isinstance(inputs[0], Tensor) or inputs[0].ndim != 4:
        raise UsageError(f"{path} does not take one batch of images (N, C, H, W).")
    shape = [size if isinstance(size, int) else None for size in inputs[0].shape]
    return Exported(module, *shape)


class Exported(nn.Module):
    """An exported program, made to take batches of any size.

    Such a program has no train and eval modes (it is in the mode that it was exported in), and
    may take one batch size alone: then batches are cut or padded with zeros to that size.

    Attributes:
        batch: the batch size it takes, or None for any.
        shape: channels, height and width it takes, None where any will do.
    """

    def __init__(
        self,
        program: nn.Module,
        batch: int | None,
        channels: int | None,
        height: int | None,
        width: int | None,
    ) -> None:
        super().__init__()
        self.program = program
        self.batch = batch
        self.shape = (channels, height, width)

    def forward(self, values: Tensor) -> Any:
        """Whatever the program returns for (N, C, H, W)."""
        count = len(values)
        if self.batch is None or count == self.batch:
            return self.program(values)
        missing = -count % self.batch
        padded = torch.cat([values, values.new_zeros(missing, *values.shape[1:])])
        parts = [self.program(part) for part in padded.split(self.batch)]
        return torch.cat(parts)[:count]

    def train(self, mode: bool = True) -> "Exported":
        """Note the mode for this module alone; the program inside refuses to change it."""
        self.training = mode
        return self


def _handles_files(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            sources = [archive.read(n) for n in archive.namelist() if n.endswith(".py")]
    except _NO_ARCHIVE:
        return False  # damaged, and about to be told so by the reader
    return any(operation in source for source in sources for operation in _FILE_OPERATIONS)
