"""Match a checkpoint's tensors to a network's, whatever prefixes they were saved with."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from workbench.errors import UsageError
from workbench.models.wording import printable

Shapes = Mapping[str, tuple[int, ...]]

_WRAPPERS = {"_orig_mod", "module"}  # torch.compile and DataParallel
_COUNTERS = re.compile(r"(^|\.)(num_batches_tracked|total_ops|total_params)$")
_NORMALISER = re.compile(r"^(?:\w+\.)*?(?:\w*norm\w*\.|\d+\.)?(?:new_)?_?(mean|std|mu|sigma)$")
_SHOWN = 3


@dataclass(frozen=True)
class Alignment:
    """Which saved tensor goes where.

    Attributes:
        found: the network's names to tensors of the right shape.
        missing: names that the network has and the checkpoint has not.
        unexpected: names in the checkpoint, under the chosen prefix, that the network has not.
        misshapen: names with (saved shape, wanted shape).
        outside: names in the checkpoint that do not lie under the prefix.
    """

    found: Mapping[str, Tensor]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshapen: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]
    outside: tuple[str, ...]

    @property
    def fits(self) -> bool:
        """Every tensor of the network is there in its shape, and none is left over."""
        return not (self.missing or self.unexpected or self.misshapen)


def shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    """The names and shapes of everything in a network's state dict."""
    lazy = [name for name, parameter in network.named_parameters() if is_lazy(parameter)]
    if lazy:
        raise UsageError(f"The network has lazy layers ({lazy[0]}); run it once in the factory.")
    return {
        name: tuple(tensor.shape)
        for name, tensor in network.state_dict().items()
        if isinstance(tensor, Tensor)
    }


def align(tensors: Mapping[str, Tensor], wanted: Shapes) -> Alignment:
    """Match by name below the prefix that fits best; wrappers' name parts are left out.

    The names of kuangliu/pytorch-cifar's networks (``shortcut``, ``linear``) are read as
    torchvision's (``downsample``, ``fc``) where that fits better.
    """
    plain = without_wrappers(tensors, wanted)
    first = _aligned(plain, wanted)
    if first.fits or not any(".downsample." in name for name in wanted):
        return first
    second = _aligned({_torchvision_name(name): item for name, item in plain.items()}, wanted)
    return second if len(second.found) > len(first.found) else first


def without_wrappers(tensors: Mapping[str, Tensor], wanted: Iterable[str]) -> dict[str, Tensor]:
    """The tensors without ``module`` and ``_orig_mod`` in their names, but where wanted."""
    wrappers = _WRAPPERS - {part for name in wanted for part in name.split(".")}
    return {
        ".".join(part for part in name.split(".") if part not in wrappers): tensor
        for name, tensor in tensors.items()
    }


def _torchvision_name(name: str) -> str:
    return re.sub(r"(^|\.)linear\.", r"\1fc.", name.replace(".shortcut.", ".downsample."))


def _aligned(tensors: Mapping[str, Tensor], wanted: Shapes) -> Alignment:
    prefix = _best_prefix(tensors, wanted)
    under = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
    misshapen = {
        name: (tuple(under[name].shape), tuple(shape))
        for name, shape in wanted.items()
        if name in under and tuple(under[name].shape) != tuple(shape)
    }
    found = {n: under[n] for n in wanted if n in under and n not in misshapen}
    return Alignment(
        found,
        tuple(n for n in wanted if n not in under and not _COUNTERS.search(n)),
        tuple(n for n in under if n not in wanted and not _ignorable(n, under[n])),
        misshapen,
        tuple(n for n in tensors if not n.startswith(prefix)),
    )


def _ignorable(name: str, tensor: Tensor) -> bool:
    """Counters that training tools leave behind, and a normaliser, which is read apart."""
    return bool(_COUNTERS.search(name)) or (
        _NORMALISER.match(name) is not None and tensor.numel() <= 4
    )


def _best_prefix(tensors: Mapping[str, Tensor], wanted: Shapes) -> str:
    names = list(wanted)
    anchors = names[:: max(1, len(names) // 8)]
    prefixes = {""}
    for anchor in anchors:
        prefixes |= {n.removesuffix(anchor) for n in tensors if n.endswith("." + anchor)}
    return max(prefixes, key=lambda p: (sum(p + name in tensors for name in names), -len(p)))


def load_into(
    network: nn.Module, tensors: Mapping[str, Tensor], *, file: str, arch: str
) -> Alignment:
    """Put a checkpoint's tensors into a network, in place.

    Raises:
        UsageError: they do not fit; the first few names or shapes are given.
    """
    alignment = align(tensors, shapes(network))
    if not alignment.fits:
        raise UsageError(_mismatch(alignment, file, arch))
    network.load_state_dict(dict(alignment.found), strict=False)
    return alignment


def _mismatch(alignment: Alignment, file: str, arch: str) -> str:
    told = []
    if alignment.misshapen:
        told.append(
            "shapes differ: "
            + _shown(
                f"{name} is {_by(saved)} in the file, {_by(wanted)} in the network"
                for name, (saved, wanted) in alignment.misshapen.items()
            )
        )
    if alignment.missing:
        told.append("missing: " + _shown(alignment.missing))
    leftover = alignment.unexpected or (alignment.outside if alignment.missing else ())
    if leftover:
        told.append("unexpected: " + _shown(leftover))
    return f"{file} does not fit {arch}; is it another architecture (--arch)?\n" + "; ".join(told)


def _shown(items: Iterable[str]) -> str:
    words = [printable(item) for item in items]
    more = len(words) - _SHOWN
    return ", ".join(words[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(str(size) for size in shape) or "a scalar"


def normaliser(
    tensors: Mapping[str, Tensor], used: Iterable[str]
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """The mean and std that a checkpoint carries in a normalising layer outside the network.

    Such layers are usual in libraries of robust models, whose checkpoints wrap the network.
    Tensors that went into the network (``used``) do not count.
    """
    found: dict[str, tuple[float, ...]] = {}
    taken = set(used)
    for name, tensor in tensors.items():
        match = _NORMALISER.match(name)
        if match and name not in taken and tensor.numel() <= 4 and "attacker" not in name:
            kind = {"mu": "mean", "sigma": "std"}.get(match[1], match[1])
            found.setdefault(kind, tuple(float(value) for value in tensor.flatten()))
    if "mean" not in found or "std" not in found or min(found["std"]) <= 0:
        return None
    return found["mean"], found["std"]
