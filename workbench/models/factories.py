"""Networks from a user's own Python file, given as ``path/to/file.py:function``.

Naming a file is consent to run it; nothing else runs code that a person did not write on their
command line.
"""

import ast
import hashlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from torch import nn

from attacks.spec import parse
from workbench.errors import UsageError, unknown
from workbench.models.wording import first_line, kind_and_line

_WRAPPER = re.compile(r"\s*restored\s*\(")  # the one architecture that has another one inside
OUR_PACKAGES = ("attacks", "benchmarks", "defenses", "workbench")
_FACTS = {  # what a factory may ask for by the names that are in use
    "classes": ("classes", "num_classes", "n_classes", "nclasses", "num_class"),
    "channels": ("channels", "in_channels", "in_chans", "num_channels"),
    "input_size": ("input_size",),
}


def is_factory(arch: str) -> bool:
    """Whether an architecture is given as a file and a function."""
    return not _WRAPPER.match(arch) and (".py:" in arch or arch.endswith(".py"))


def factory_in(arch: str) -> str | None:
    """The file and function that building an architecture would run, or None.

    It is the architecture itself or, in ``restored(network='my_net.py:make')``, inside of it.
    """
    if _WRAPPER.match(arch):
        try:
            return factory_in(str(parse(arch).settings.get("network")))
        except ValueError:  # such a text is not built either
            return None
    return arch if is_factory(arch) else None


def factory_path(arch: str) -> Path:
    """The file of an architecture for which `is_factory` holds."""
    return Path(_split(arch)[0]).expanduser()


def build_from_file(
    arch: str, *, channels: int, classes: int, input_size: tuple[int, int]
) -> nn.Module:
    """Run the file and call its function, ``path/to/file.py:function(setting=value)``.

    The function is called with the settings. Arguments without a default that are named
    ``num_classes``, ``in_channels``, ``input_size`` or the like are filled in.

    Raises:
        UsageError: the file or function is missing, it raises, what it returns is no network, or
            it imports a package of its own whose name is taken by one of ours.
    """
    path = factory_path(arch)
    call = _split(arch)[1]
    if not call:
        raise UsageError(f"{arch}: say which function makes the network, as {path}:FUNCTION.")
    if not path.is_file():
        raise UsageError(f"There is no file {path} (architecture {arch!r}).")
    spec = parse(call)
    check_imports(path)
    facts = {"channels": channels, "classes": classes, "input_size": input_size}
    with _importing_beside(path):
        try:
            module = _run(path)
            function = getattr(module, spec.name, None)
            if not callable(function):
                public = [name for name, value in vars(module).items() if inspect.isroutine(value)]
                raise unknown(f"function in {path}", spec.name, public)
            network = function(**_arguments(function, dict(spec.settings), facts))
        except UsageError:
            raise
        except Exception as error:  # a user's code may raise anything, and it is theirs to read
            raise UsageError(f"{path} raised {kind_and_line(error)}") from error
    if not isinstance(network, nn.Module):
        raise UsageError(f"{arch} returned {type(network).__name__}, not a torch.nn.Module.")
    return network


def source_digest(arch: str) -> str:
    """sha256 over the file and every file beside it that it imports, by name and content."""
    path = factory_path(arch)
    digest = hashlib.sha256()
    for name, file in sorted(_local_sources(path).items()):
        digest.update(f"{name}\0".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def check_imports(path: Path) -> None:
    """Refuse a file that imports a package beside it that is named like one of ours.

    Both cannot be imported in one process: the file would silently get ours.

    Raises:
        UsageError: naming the file, the package and what to do.
    """
    folder = path.resolve().parent
    for file in _local_sources(path).values():
        for name in _imported(file, folder):
            top = name.partition(".")[0]
            own = folder / top
            if top in OUR_PACKAGES and (own.is_dir() or own.with_suffix(".py").is_file()):
                if _is_ours(own):
                    continue
                raise UsageError(
                    f"{file} imports its own '{top}' ({own}), but here that name is the "
                    f"workbench's package.\nRename it, or import what you need from another file."
                )


def _is_ours(own: Path) -> bool:
    loaded = sys.modules.get(own.name)
    return loaded is not None and own in {Path(p) for p in getattr(loaded, "__path__", ())}


def _split(arch: str) -> tuple[str, str]:
    file, _, call = arch.partition(".py")
    return file + ".py", call.removeprefix(":").strip()


def _local_sources(path: Path) -> dict[str, Path]:
    """The file and the files beside it that it imports, directly or through one another."""
    folder = path.resolve().parent
    found = {path.name: path.resolve()}
    waiting = [path.resolve()]
    while waiting:
        for name in _imported(waiting.pop(), folder):
            parts = name.split(".")
            for depth in range(1, len(parts) + 1):  # importing a.b runs a/__init__.py too
                file = folder.joinpath(*parts[:depth])
                for candidate in (file.with_suffix(".py"), file / "__init__.py"):
                    key = candidate.relative_to(folder).as_posix()
                    if candidate.is_file() and key not in found:
                        found[key] = candidate
                        waiting.append(candidate)
    return found


def _imported(file: Path, folder: Path) -> Iterator[str]:
    """The modules a file imports, as seen from ``folder``.

    ``from a import b`` gives both ``a`` and ``a.b``.
    """
    package = file.relative_to(folder).parent.parts
    try:
        tree = ast.parse(file.read_bytes(), filename=file.name)
    except (SyntaxError, ValueError) as error:
        raise UsageError(f"{file} is not valid Python: {first_line(error)}") from error
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) + 1 - node.level]) if node.level else []
            base += node.module.split(".") if node.module else []
            if base:
                yield ".".join(base)
            yield from (".".join([*base, alias.name]) for alias in node.names)


@contextmanager
def _importing_beside(path: Path) -> Iterator[None]:
    """Let the file import its neighbours, and forget them after, so that two files do not mix."""
    folder = str(path.resolve().parent)
    before = set(sys.modules)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
        for name in set(sys.modules) - before:
            origin = getattr(sys.modules[name], "__file__", None) or ""
            if origin.startswith(folder + "/") and "site-packages" not in origin:
                del sys.modules[name]


def _run(path: Path) -> ModuleType:
    name = "workbench_factory_" + hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]
    specification = importlib.util.spec_from_file_location(name, path)
    if specification is None or specification.loader is None:
        raise UsageError(f"{path} cannot be imported.")
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module  # dataclasses and pickles of the file look it up
    specification.loader.exec_module(module)
    return module


def _arguments(
    function: Callable[..., object], settings: dict[str, object], facts: dict[str, object]
) -> dict[str, object]:
    try:
        wanted = inspect.signature(function).parameters
    except (TypeError, ValueError):  # some callables have no signature to read
        return settings
    for fact, names in _FACTS.items():
        for name in names:
            asked = name in wanted and wanted[name].default is inspect.Parameter.empty
            if asked and name not in settings:
                settings[name] = facts[fact]
    return settings
