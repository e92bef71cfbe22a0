"""Files that the `stylized` defense is given: stylizers, and folders of paintings."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import durable
from benchmarks.identity import sha256_json
from defenses.adain import Encoder, Stylizer, mirrored
from defenses.stylized import Paintings
from workbench.datasets import Dataset
from workbench.datasets.folders import image_files
from workbench.datasets.photographs import Photographs
from workbench.errors import UsageError
from workbench.models.digests import sha256_tensors

METADATA_KEY = "workbench-stylizer"
FORMAT_VERSION = 1


def make_stylizer(encoder: Encoder, decoder: nn.Sequential) -> Stylizer:
    """The two together, and the digest of what they do."""
    digest = sha256_json(
        {"weights": sha256_tensors(_both(encoder, decoder)), "shape": _shape(encoder)}
    )
    return Stylizer(digest, encoder, decoder)


def save_stylizer(path: Path, stylizer: Stylizer, facts: Mapping[str, Any]) -> None:
    """Write a self-describing safetensors file, whole or not at all.

    Raises:
        OSError: the place cannot be written; a file that was there is unharmed.
    """
    from safetensors.torch import save

    said = {"format_version": FORMAT_VERSION, **_shape(stylizer.encoder), **facts}
    state = _both(stylizer.encoder, stylizer.decoder).state_dict()
    tensors = {name: tensor.cpu().contiguous() for name, tensor in state.items()}
    # One key, because several are saved in no fixed order.
    data: bytes = save(tensors, metadata={METADATA_KEY: json.dumps(said, sort_keys=True)})
    with durable.atomically(path) as temporary:
        temporary.write_bytes(data)


def load_stylizer(path: Path) -> Stylizer:
    """Read what `save_stylizer` wrote.

    Raises:
        UsageError: it is another file, or damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            said = json.loads((file.metadata() or {})[METADATA_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
        version = int(said["format_version"])
        if version <= FORMAT_VERSION:
            encoder = Encoder(said["widths"], said["channels"])
            decoder = mirrored(encoder.widths)
            _both(encoder, decoder).load_state_dict(tensors)
            return make_stylizer(encoder, decoder)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"{path} is no stylizer, or is damaged; `workbench stylizer` writes them."
        ) from error
    raise UsageError(f"{path} is a stylizer of version {version}: install a newer workbench.")


def read_stylizer(name: str, data: Dataset) -> Stylizer:
    """Read a stylizer for the training images.

    Raises:
        UsageError: there is none in this file, or the images are too small for it.
    """
    stylizer = load_stylizer(Path(name).expanduser())
    check_size(stylizer, data, name)
    return stylizer


def check_size(stylizer: Stylizer, data: Dataset, name: str) -> None:
    """Raise `UsageError` where images are too small for a stylizer, which ``name`` names."""
    if min(data.size) < stylizer.least_side:
        raise UsageError(
            f"{name} ends at {stylizer.depth} and takes images of {stylizer.least_side} pixels and "
            f"more; those of {data.name} have {min(data.size)}.\n"
            "One that `workbench stylizer` made with a lesser --depth takes smaller ones."
        )


def read_paintings(name: str, data: Dataset) -> Paintings:
    """Read a folder of pictures at the size of the training images.

    The shorter side is resized to 256/224 of that, then the centre square is cut out.

    Raises:
        UsageError: there is no such folder, no picture in it, or one that cannot be read.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        raise UsageError(f"{name} is no folder; paintings are a folder of any pictures.")
    files = image_files(folder)
    if not files:
        raise UsageError(f"{name} holds no pictures; paintings are a folder of any.")
    side = max(data.size)
    pixels = Photographs(files, (side, side), 3, input_size=side, adaptable=False)
    ids = pixels.ids(slice(None)).astype("<i8")
    return Paintings(hashlib.sha256(ids.tobytes()).hexdigest(), _Pictures(pixels))


class _Pictures:
    """Photographs as a defense asks for images; see `defenses.Images`."""

    def __init__(self, pixels: Photographs) -> None:
        self._pixels = pixels

    def __len__(self) -> int:
        return self._pixels.shape[0]

    def __getitem__(self, rows: Tensor, /) -> Tensor:
        return torch.from_numpy(self._pixels.read(rows.cpu().numpy())).permute(0, 3, 1, 2)


def _both(encoder: Encoder, decoder: nn.Sequential) -> nn.ModuleDict:
    return nn.ModuleDict({"encoder": encoder, "decoder": decoder})


def _shape(encoder: Encoder) -> dict[str, Any]:
    return {
        "widths": encoder.widths,
        "channels": encoder.channels,
    }
