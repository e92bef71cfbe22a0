"""Finds the layers of a classifier, and reads what they hold while it answers.

What a layer is, and which of them sees the image as a map, is found from a forward pass, not from
the names of architectures: any module will do.
"""

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn
from torch.func import functional_call

from attacks.gradients import exact_path, frozen, full_float32

Change = Callable[[str, Tensor], Tensor | None]

CHANNELS_FIRST = "channels first"  # (N, C, h, w)
CHANNELS_LAST = "channels last"  # (N, h, w, C)
TOKENS = "tokens"  # (N, prefix + h * w, C)

_MOST_PREFIX = 16  # class, distillation and register tokens before the patches; ViTs have up to 9


@dataclass(frozen=True)
class SpatialLayer:
    """A layer whose output is a map of the image.

    Attributes:
        name: in `named_layers`.
        layout: `CHANNELS_FIRST`, `CHANNELS_LAST` or `TOKENS`.
        height, width: of the map, in cells.
        prefix: how many tokens before those of the map stand for no part of the image.
    """

    name: str
    layout: str
    height: int
    width: int
    prefix: int = 0

    def maps(self, output: Tensor) -> Tensor:
        """The layer's output, or a gradient of its shape, as (N, C, height, width)."""
        if self.layout == CHANNELS_FIRST:
            return output
        if self.layout == CHANNELS_LAST:
            return output.permute(0, 3, 1, 2)
        patches = output[:, self.prefix :].transpose(1, 2)
        return patches.reshape(*patches.shape[:2], self.height, self.width)


def named_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Every block and leaf of a model by its dotted name, outer ones before their parts.

    Modules that only wrap another (one child, which has parts itself) are no part of the names:
    they begin inside the network that does the work. TorchScript lets nobody see its modules.

    >>> list(named_layers(nn.Sequential(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()))))
    ['0', '1']
    """
    network = model
    while True:
        children = list(network.children())
        if len(children) != 1 or not any(True for _ in children[0].children()):
            break
        network = children[0]
    found = {name: module for name, module in network.named_modules() if name}
    return {
        name: module
        for name, module in (found or dict(model.named_modules())).items()
        if not isinstance(module, torch.jit.ScriptModule)
    }


@contextmanager
def hooked(model: nn.Module, names: Sequence[str], see: Change) -> Iterator[None]:
    """Show the outputs of layers to a function, which may replace them, inside the block.

    ``see(name, output)`` is called after each call of a layer; what it returns, unless None, is
    handed on instead. Outputs that are no tensors are not shown; of a tuple the first part is, and
    it cannot be replaced. The model is as before after the block, also after an exception.

    Raises:
        ValueError: there is no such layer.
    """
    layers = named_layers(model)
    unknown = next((name for name in names if name not in layers), None)
    if unknown is not None:
        raise ValueError(_no_layer(unknown, layers))
    handles = []

    def hook_of(name: str) -> Callable[[nn.Module, object, object], object]:
        def hook(_module: nn.Module, _inputs: object, output: object) -> object:
            if isinstance(output, Tensor):
                return see(name, output)
            if isinstance(output, tuple) and output and isinstance(output[0], Tensor):
                see(name, output[0])
            return None

        return hook

    try:
        for name in names:
            handles.append(layers[name].register_forward_hook(hook_of(name)))
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def recorded(model: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """What layers gave in the last forward pass inside the block, by name, in order of the pass.

    Outputs are detached copies, since later layers may write into them. A layer that is called
    more than once in a pass has its last output there. Modes and gradients are the caller's
    matter; see `activations`.

    Raises:
        ValueError: there is no such layer.
    """
    found: dict[str, Tensor] = {}

    def see(name: str, output: Tensor) -> None:
        found.pop(name, None)
        found[name] = output.detach().clone()

    with hooked(model, names, see):
        yield found


def activations(model: nn.Module, images: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    """What layers give for images, in evaluation mode and full float32; nothing is left changed.

    Args:
        model: maps images to logits; on the device of ``images``.
        images: float32 (N, C, H, W) in [0, 1]; all in one forward pass.
        names: of `named_layers`; a layer that the pass does not reach is not in the result.

    Raises:
        ValueError: there is no such layer.
    """
    with (
        frozen(model),
        torch.no_grad(),
        full_float32(images.device),
        recorded(model, names) as found,
    ):
        exact_path(model)(images)
    return found


def find_layers(model: nn.Module, patterns: Sequence[str], sample: Tensor) -> list[str]:
    """The layers that patterns such as ``layer4.*`` name, in the order in which a pass ends them.

    Args:
        model: maps images to logits.
        patterns: names, or `fnmatch` patterns of them.
        sample: float32 (N, C, H, W): layers that it does not reach, or that give no tensor, do
            not count.

    Raises:
        ValueError: a pattern names none; the message proposes names.
    """
    reached = output_shapes(model, sample)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in reached):
            raise ValueError(_no_layer(pattern, reached))
    return [name for name in reached if any(fnmatchcase(name, each) for each in patterns)]


def output_shapes(model: nn.Module, sample: Tensor) -> dict[str, tuple[int, ...]]:
    """The shape of the output of every layer that a sample reaches, in the order of the pass."""
    found: dict[str, tuple[int, ...]] = {}

    def see(name: str, output: Tensor) -> None:
        found.pop(name, None)
        found[name] = tuple(output.shape)

    with frozen(model), torch.no_grad(), hooked(model, list(named_layers(model)), see):
        model(sample)
    return found


def spatial_layer(model: nn.Module, sample: Tensor, name: str | None = None) -> SpatialLayer:
    """A layer that sees the image as a map, for Grad-CAM; by default the last that can be asked.

    This is the last layer whose output is a map of more than one cell, several of which the logits
    depend on. In a convolutional network it is the input of the global pooling. In a vision
    transformer that reads its class token it is the first normalisation of the last block: after
    that block only the class token reaches the logits; in one that pools its patches, the last
    normalisation.

    Args:
        model: maps images to logits.
        sample: float32 (N, C, H, W) in [0, 1]; two images are enough.
        name: a layer of `named_layers` to read instead.

    Raises:
        ValueError: no layer, or not the one named, has such an output.
    """
    outputs, gradients = _pass(model, sample)
    shapes = {each: tuple(output.shape) for each, output in outputs.items()}
    if name is not None:
        if name not in shapes:
            raise ValueError(_no_layer(name, shapes))
        chosen = _layout(name, shapes, sample)
        if chosen is None:
            raise ValueError(f"layer {name} gives {_told(shapes[name])}, which is no map of images")
        return chosen
    modules = named_layers(model)
    found = [
        layer
        for each in shapes
        if not isinstance(modules[each], nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d)
        and (layer := _layout(each, shapes, sample)) is not None
    ]
    if not found:
        raise ValueError("no layer keeps a map of the image, so there is no place to look at")
    last = found[-1]
    if last.layout == TOKENS:
        # Inside a block, queries, keys and hidden values have the layout of maps too: they are
        # projections, or of other widths.
        width = shapes[last.name][-1]
        found = [
            layer
            for layer in found
            if layer.layout == TOKENS
            and shapes[layer.name][-1] == width
            and not isinstance(modules[layer.name], nn.Linear)
        ]
    return next(
        (layer for layer in reversed(found) if _is_asked(layer, gradients[layer.name])), last
    )


def _pass(
    model: nn.Module, sample: Tensor
) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor | None]]:
    """Every layer's output in the order of the pass, and the gradient of the top logits to it."""
    outputs: dict[str, Tensor] = {}

    def see(name: str, output: Tensor) -> None:
        outputs.pop(name, None)
        outputs[name] = output

    with (
        frozen(model),
        torch.enable_grad(),
        hooked(model, list(named_layers(model)), see),
    ):
        logits = functional_call(model, _filled(model), (sample.detach().requires_grad_(),))
        known = [name for name, output in outputs.items() if output.requires_grad]
        top = logits.amax(dim=1).sum() if logits.dim() == 2 else logits.sum()
        if not known or not top.requires_grad:
            return outputs, dict.fromkeys(outputs)
        found = torch.autograd.grad(top, [outputs[name] for name in known], allow_unused=True)
    return outputs, dict.fromkeys(outputs) | dict(zip(known, found, strict=True))


def _filled(model: nn.Module) -> dict[str, Tensor]:
    """Values for weights that are all zero, as those of an untrained head: gradients pass them."""
    return {
        name: torch.linspace(-1, 1, weight.numel(), device=weight.device).reshape(weight.shape)
        for name, weight in model.named_parameters()
        if weight.dim() > 1 and not weight.any()
    }


def _layout(
    name: str, shapes: Mapping[str, tuple[int, ...]], sample: Tensor
) -> SpatialLayer | None:
    """How a layer's output is a map of the image, if it is one."""
    shape, (count, _, height, width) = shapes[name], sample.shape
    if shape[0] != count:
        return None
    if len(shape) == 4:
        grids = {CHANNELS_FIRST: shape[2:], CHANNELS_LAST: shape[1:3]}
        layout = min(grids, key=lambda each: _stretch(*grids[each], height, width))
        rows, columns = grids[layout]
        off = abs(rows * width - columns * height)
        is_map = rows * columns > 1 and off <= max(height, width)  # one cell by rounding
        return SpatialLayer(name, layout, rows, columns) if is_map else None
    if len(shape) != 3:
        return None
    grid = _grid(name, shapes, height, width)
    return None if grid is None else SpatialLayer(name, TOKENS, *grid)


def _grid(
    name: str, shapes: Mapping[str, tuple[int, ...]], height: int, width: int
) -> tuple[int, int, int] | None:
    """Rows and columns of the tokens, and how many others come before them."""
    count = shapes[name][1]
    for shape in shapes.values():  # the embedding of the patches is a convolution over the image
        if len(shape) == 4:
            prefix = count - shape[2] * shape[3]
            if 0 <= prefix <= _MOST_PREFIX and shape[2] * shape[3] > 1:
                return shape[2], shape[3], prefix
    for prefix in range(min(_MOST_PREFIX, count - 2) + 1):
        rows = round(((count - prefix) * height / width) ** 0.5)
        if rows and (count - prefix) % rows == 0:
            columns = (count - prefix) // rows
            if rows * width == columns * height:
                return rows, columns, prefix
    return None


def _stretch(rows: int, columns: int, height: int, width: int) -> float:
    """How far a grid is from the image's proportions; 0 where it has them."""
    return abs(rows / max(columns, 1) - height / width)


def _is_asked(layer: SpatialLayer, gradient: Tensor | None) -> bool:
    """Whether more than one cell of the map moves the logits."""
    if gradient is None:
        return False
    return int((layer.maps(gradient) != 0).flatten(2).any(dim=1).any(dim=0).sum()) > 1


def _no_layer(text: str, known: Mapping[str, object]) -> str:
    """That there is no such layer, with those that are nearest."""
    near = difflib.get_close_matches(text, list(known), n=3, cutoff=0.4)
    if near:
        return f"no layer is called {text!r}; nearest: {', '.join(near)}"
    some = [*list(known)[:2], "…", *list(known)[-1:]]
    return f"no layer is called {text!r}; there are {', '.join(some)}"


def _told(shape: Sequence[int]) -> str:
    return "(" + ", ".join(["N", *map(str, shape[1:])]) + ")"
