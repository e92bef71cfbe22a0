"""Small made-up data, written to files by numpy and Pillow alone."""

import gzip
import struct
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from workbench.datasets import Dataset

RNG = np.random.default_rng(0)


def pictures(count: int, height: int = 5, width: int = 7, channels: int = 3) -> np.ndarray:
    return RNG.integers(0, 256, (count, height, width, channels), dtype=np.uint8)


def write_idx(path: Path, array: np.ndarray) -> None:
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    content = head + array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def save(path: Path, pixels: np.ndarray, **settings: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.squeeze()).save(path, **settings)


def seen(data: Dataset) -> np.ndarray:
    """The images as bytes (N, H, W, C), from the tensors a model would get."""
    images = data.images(slice(None))
    assert images.dtype == torch.float32
    return (images * 255).round().byte().permute(0, 2, 3, 1).numpy()


def tree(root: Path) -> None:
    for index, name in enumerate(["cat", "ant", "bee"]):
        for number in range(index + 1):
            save(root / name / f"{number}.png", pictures(1)[0])


def tiny_imagenet(root: Path) -> np.ndarray:
    images = pictures(4, 8, 8)
    (root / "val" / "images").mkdir(parents=True)
    (root / "wnids.txt").write_text("n02\nn01\n")
    (root / "words.txt").write_text("n01\tgoldfish, Carassius\nn02\tnewt\nn03\tother\n")
    (root / "val" / "val_annotations.txt").write_text(
        "val_0.JPEG\tn02\t0\t0\t1\t1\nval_1.JPEG\tn01\t0\t0\t1\t1\n"
    )
    for number in (0, 1):
        Image.fromarray(images[number]).save(root / "val" / "images" / f"val_{number}.JPEG", "PNG")
    for number, wnid in ((2, "n02"), (3, "n01")):
        (root / "train" / wnid / "images").mkdir(parents=True)
        Image.fromarray(images[number]).save(
            root / "train" / wnid / "images" / f"{wnid}_0.JPEG", "PNG"
        )
    return images
