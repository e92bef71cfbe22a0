"""A digest of a network's weights."""

import hashlib

import torch
from torch import Tensor, nn


def sha256_tensors(network: nn.Module) -> str:
    """sha256 over names, types, shapes and values of everything in the state dict, sorted."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        if not isinstance(value, Tensor):
            digest.update(f"{name}={value!r}\0".encode())
            continue
        tensor = value.detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data if tensor.numel() else b"")
    return digest.hexdigest()
