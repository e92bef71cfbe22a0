"""One digest for everything that changes a model's logits."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn


def sha256_file(path: Path) -> str:
    """sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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


def sha256_json(values: Mapping[str, object]) -> str:
    """sha256 over a document, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
