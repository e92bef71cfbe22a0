"""Forward passes and gradients with respect to images, without side effects on the model."""

import copy
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Forward = Callable[[Tensor], Tensor]


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Evaluation mode and no parameter gradients inside the block; everything as before after it.

    Restored on exit, also after an exception: train/eval mode of every submodule, every
    parameter's ``requires_grad`` and ``grad``, every buffer's values, and the global generators
    of torch (all devices), numpy and Python.
    """
    modes = [(module, module.training) for module in model.modules()]
    parameters = [(p, p.requires_grad, p.grad, _clone(p.grad)) for p in model.parameters()]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            for module, _ in modes:
                # Only the flag: a subclass may have made train() do something else.
                module.training = False
            for parameter, *_ in parameters:
                parameter.requires_grad_(False)
            yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter, requires_grad, grad, values in parameters:
            parameter.requires_grad_(requires_grad)
            parameter.grad = grad
            if grad is not None and values is not None and not torch.equal(grad, values):
                grad.detach().copy_(values)
        for buffer, values in buffers:
            if not torch.equal(buffer, values):
                buffer.detach().copy_(values)
        random.setstate(python)
        np.random.set_state(numpy)


@contextmanager
def full_float32(device: torch.device) -> Iterator[None]:
    """No autocast and no TF32 inside the block: GPUs round convolutions to TF32 unless told."""
    with torch.autocast(device.type, enabled=False):
        if device.type != "cuda":
            yield
            return
        matmul = torch.backends.cuda.matmul.allow_tf32
        convolution = torch.backends.cudnn.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        try:
            yield
        finally:
            torch.backends.cuda.matmul.allow_tf32 = matmul
            torch.backends.cudnn.allow_tf32 = convolution


def _clone(grad: Tensor | None) -> Tensor | None:
    return None if grad is None else grad.clone()


def exact_path(model: nn.Module) -> Forward:
    """The caller's own model in float32: what every success is confirmed with."""

    def forward(images: Tensor) -> Tensor:
        logits: Tensor = model(_layout(images))
        if logits.dim() != 2 or len(logits) != len(images):
            raise ValueError(
                f"the model must return logits (N, K); for {len(images)} images it returned "
                f"shape {tuple(logits.shape)}"
            )
        return logits.float()

    return forward


def fast_path(model: nn.Module, probe: Tensor, dtype: torch.dtype) -> Forward | None:
    """A copy of the model that gives nearly the same logits in less time, or None.

    Batch normalisation is folded into the convolutions before it and, for bfloat16, their weights
    are cast. The copy is used only if its logits on ``probe`` (n, C, H, W) agree with the model's.
    """
    try:
        network = _folded(copy.deepcopy(model))
        if dtype != torch.float32:
            for layer in network.modules():
                if isinstance(layer, nn.Conv2d | nn.Linear):
                    layer.to(dtype)
        network.to(memory_format=torch.channels_last)
        forward = _autocast(exact_path(network), probe.device, dtype)
        with torch.no_grad():
            ours, exact = forward(probe), exact_path(model)(probe)
    except (RuntimeError, TypeError, ValueError, AttributeError, NotImplementedError):
        # A model may refuse to be copied, traced or cast, each in its own way: it runs as it is.
        return None
    tolerance = 1e-4 if dtype == torch.float32 else 0.1
    spread = exact.abs().amax().clamp_min(1e-6)
    # A comparison with NaN is false, so a copy that overflows is not used.
    return forward if bool((ours - exact).abs().amax() <= tolerance * spread) else None


def _autocast(forward: Forward, device: torch.device, dtype: torch.dtype) -> Forward:
    if dtype == torch.float32:
        return forward

    def reduced(images: Tensor) -> Tensor:
        with torch.autocast(device.type, dtype):
            logits = forward(images)
        return logits.float()

    return reduced


def vanished(gradient: Tensor) -> Tensor:
    """Which images' gradients are zero everywhere: bool (N,), from (N, C, H, W) without NaN."""
    # Two extremes take a quarter of the time of comparing every value.
    flat = gradient.flatten(1)
    return (flat.amax(dim=1) == 0) & (flat.amin(dim=1) == 0)


def _layout(images: Tensor) -> Tensor:
    """Channels last: convolutions are up to twice as fast on CPUs and on GPUs' tensor cores."""
    return images.contiguous(memory_format=torch.channels_last)


def _folded(module: nn.Module) -> nn.Module:
    """Fold batch normalisation wherever the module, or parts of it, can be traced."""
    try:
        traced = fx.symbolic_trace(module)
    except Exception:  # noqa: BLE001 -- tracing runs the user's forward on proxies: anything may be raised
        for name, child in module.named_children():
            setattr(module, name, _folded(child))
        return module
    layers = dict(traced.named_modules())
    for node in list(traced.graph.nodes):
        if node.op != "call_module" or not isinstance(layers[node.target], nn.BatchNorm2d):
            continue
        before = node.args[0]
        if (
            isinstance(before, fx.Node)
            and before.op == "call_module"
            and type(layers[str(before.target)]) is nn.Conv2d
            and len(before.users) == 1
            and sum(n.target == before.target for n in traced.graph.nodes) == 1
            and layers[node.target].running_mean is not None
        ):
            fused = fuse_conv_bn_eval(layers[str(before.target)].eval(), layers[node.target].eval())
            parent, _, name = str(before.target).rpartition(".")
            setattr(traced.get_submodule(parent), name, fused)
            node.replace_all_uses_with(before)
            traced.graph.erase_node(node)
    traced.recompile()
    return traced
