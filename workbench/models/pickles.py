"""Read what `torch.save` wrote without running any of it.

PyTorch's restricted reader builds tensors, containers and a list of named types, and calls nothing
else. Real checkpoints hold a few harmless types more; they are named here.
"""

import argparse
import contextlib
import datetime
import io
import pathlib
import pickletools
import re
import types
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from workbench.errors import UsageError
from workbench.models.wording import kind_and_line, printable

# What PyTorch's own list allows, told by its shape; used only to word a refusal.
_READABLE_ALREADY = re.compile(
    r"torch\.\w+|torch\._utils\._rebuild\w+|torch\._tensor\._rebuild\w+|torch\.storage\.\w+|"
    r"torch\.nn\.parameter\.Parameter|torch\.serialization\._get_layout|_codecs\.encode|"
    r"collections\.(OrderedDict|Counter)|(__builtin__|builtins)\.(bytearray|set|complex)"
)


_OLD_MAGIC = bytes.fromhex("6cfc9c46f9206aa85019")  # torch.serialization.MAGIC_NUMBER


def read_pickle(path: Path) -> object:
    """The object in a ``.pt``, ``.pth`` or ``.th`` file, tensors on the CPU.

    Raises:
        UsageError: the file is damaged, or needs a type that could run code; it is named.
    """
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(list(_harmless())):
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # damaged bytes can make the reader fail in any way it knows
        raise _refusal(path, error) from error


def _refusal(path: Path, error: Exception) -> UsageError:
    allowed = {name for _, name in _harmless()}
    names = list(dict.fromkeys(_globals(path)))
    unsafe = [n for n in names if n not in allowed and not _READABLE_ALREADY.fullmatch(n)]
    named = str(error).partition("Unsupported global: GLOBAL ")[2].partition(" ")[0]
    if not unsafe and named:
        unsafe = [named]
    if unsafe:
        shown = ", ".join(printable(name) for name in unsafe[:3]) + (
            f" and {len(unsafe) - 3} more" if len(unsafe) > 3 else ""
        )
        modules = any(name.startswith(("torch.nn.modules", "torchvision.models")) for name in names)
        what = "a whole pickled module" if modules else "a pickle"
        return UsageError(
            f"{path} is {what} that needs {shown}; reading it could run code, so it is refused.\n"
            "Where you trust it, save its weights alone: torch.save(model.state_dict(), FILE)."
        )
    return UsageError(
        f"{path} cannot be read: it is damaged, cut short, or no checkpoint ({_reason(error)})."
    )


def _reason(error: Exception) -> str:
    """What is wrong, without PyTorch's advice to switch the protection off."""
    _, found, told = str(error).rpartition("WeightsUnpickler error: ")
    lines = told.strip().splitlines() if found else []
    return printable(lines[0]) if lines else kind_and_line(error, 80)


def _globals(path: Path) -> Iterator[str]:
    """The names of everything a pickle would import, read from its instructions."""
    strings: list[str] = []
    with contextlib.suppress(Exception):  # a damaged pickle ends the list early, which is enough
        for opcode, argument, _ in pickletools.genops(_pickle_bytes(path)):
            if opcode.name == "GLOBAL":
                yield str(argument).replace(" ", ".", 1)
            elif opcode.name == "STACK_GLOBAL":
                yield ".".join(strings[-2:])
            elif "UNICODE" in opcode.name:
                strings.append(str(argument))


def _pickle_bytes(path: Path) -> bytes:
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            data = file.read()
        # The old format is three small pickles and then the object's.
        stream = io.BytesIO(data)
        if _OLD_MAGIC in data[:64]:
            for _ in range(3):
                for _ in pickletools.genops(stream):
                    pass
        return data[stream.tell() :]
    with zipfile.ZipFile(path) as archive:
        name = next(n for n in archive.namelist() if n.endswith("data.pkl"))
        return archive.read(name)


def _plain_dict(*_: object) -> dict[object, object]:
    """Stands in for defaultdict, which the restricted reader cannot fill."""
    return {}


def _plain_list(*_: object) -> list[object]:
    """Stands in for deque, which the restricted reader cannot fill."""
    return []


def _harmless() -> list[tuple[Callable[..., Any], str]]:
    """Types that hold data and run nothing, under every name that pickles have for them."""
    named: list[tuple[object, str]] = [
        (argparse.Namespace, "argparse.Namespace"),
        (types.SimpleNamespace, "types.SimpleNamespace"),
        (_plain_dict, "collections.defaultdict"),
        (_plain_list, "collections.deque"),
        (datetime.datetime, "datetime.datetime"),
        (datetime.date, "datetime.date"),
        (datetime.timedelta, "datetime.timedelta"),
        (datetime.timezone, "datetime.timezone"),
    ]
    for kind in (list, dict, tuple, int, float, str, bool, frozenset, slice):
        named.append((kind, f"builtins.{kind.__name__}"))
    for module in ("pathlib", "pathlib._local"):
        # A path of the other system cannot be made here; a pure one only holds the text.
        named += [
            (pathlib.PurePosixPath, f"{module}.PosixPath"),
            (pathlib.PureWindowsPath, f"{module}.WindowsPath"),
            (pathlib.PurePosixPath, f"{module}.PurePosixPath"),
            (pathlib.PureWindowsPath, f"{module}.PureWindowsPath"),
            (pathlib.PurePath, f"{module}.Path"),
        ]
    reconstruct = np.empty(0).__reduce__()[0]
    scalar = np.float64(0).__reduce__()[0]
    for core in ("numpy.core", "numpy._core"):  # before and since numpy 2
        named += [
            (reconstruct, f"{core}.multiarray._reconstruct"),
            (scalar, f"{core}.multiarray.scalar"),
        ]
    named += [(np.ndarray, "numpy.ndarray"), (np.dtype, "numpy.dtype")]
    for name in dir(np.dtypes):
        value = getattr(np.dtypes, name)
        if isinstance(value, type) and name != "ObjectDType":
            named.append((value, f"numpy.dtypes.{name}"))
    named.append((torch.torch_version.TorchVersion, "torch.torch_version.TorchVersion"))
    return cast("list[tuple[Callable[..., Any], str]]", named)
