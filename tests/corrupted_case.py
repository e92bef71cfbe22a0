"""Made-up corruptions with known answers, and sets as they are released, by numpy and Pillow."""

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from attacks.corruptions import CORRUPTIONS, Corruption
from attacks.draws import Stream, uniform

SIDE = 16
STRENGTHS = {
    size: tuple(size % 100 + 10 * severity for severity in range(1, 6)) for size in (32, 64, 224)
}


def add(pixels, strength, draws, dtype):
    """Add the strength, modulo 256."""
    return (pixels.to(torch.int64) + strength).to(torch.uint8)


def scatter(pixels, strength, draws, dtype):
    """Add the draws, up to the strength, modulo 256."""
    return (pixels.to(torch.int64) + (draws * strength).to(torch.int64)).to(torch.uint8)


def draw(seeds, shape, strength):
    return uniform(seeds, shape, stream=Stream.CORRUPTION)


FAKES = (
    Corruption("brightness", "weather", STRENGTHS, add),
    Corruption("gaussian_noise", "noise", STRENGTHS, scatter, draw),
)
"""Under two of the published names, so that every table and parser knows them."""


def put_fakes(monkeypatch):
    for fake in FAKES:
        monkeypatch.setitem(CORRUPTIONS, fake.name, fake)


def brightened(images, severity, size=32):
    """What the made-up `brightness` makes of uint8 images, by numpy."""
    return images + np.uint8(STRENGTHS[size][severity - 1])


def clean(count=6, side=SIDE, channels=3, classes=3, seed=0):
    """Images (N, H, W, C) and labels, not in blocks."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, side, side, channels), dtype=np.uint8)
    return images, (np.arange(count) % classes).astype(np.int64)


def write_npz(path, images, labels, names=None):
    extra = {} if names is None else {"class_names": np.array(names)}
    np.savez(path, images=images, labels=labels, **extra)
    return path


def write_cifar_c(folder: Path, images, labels, names=("gaussian_noise", "fog"), *, once=False):
    """As CIFAR-10-C is released: image i at severity s is the clean one plus 40 s + the name's."""
    folder.mkdir()
    for number, name in enumerate(names):
        blocks = [images + np.uint8(40 * severity + number) for severity in range(1, 6)]
        np.save(folder / f"{name}.npy", np.concatenate(blocks))
    np.save(folder / "labels.npy", labels if once else np.tile(labels, 5))
    return folder


def write_imagenet_c(folder: Path, wnids, stems, side=224, names=("fog",), severities=(1, 2)):
    """As ImageNet-C is released; returns each file's pixels by (name, severity, wnid, stem)."""
    pixels = {}
    for name in names:
        for severity in severities:
            for wnid in wnids:
                for stem in stems[wnid]:
                    path = folder / name / str(severity) / wnid / f"{stem}.JPEG"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    shade = (len(pixels) * 37) % 256
                    Image.new("RGB", (side, side), (shade, 255 - shade, 80)).save(path, quality=85)
                    pixels[name, severity, wnid, stem] = np.asarray(Image.open(path))
    return pixels


def jpeg_85(image):
    """An image (H, W, C) after a JPEG file of quality 85, by Pillow."""
    buffer = io.BytesIO()
    grey = image.shape[-1] == 1
    Image.fromarray(image[..., 0] if grey else image).save(buffer, "JPEG", quality=85)
    return np.asarray(Image.open(buffer)).reshape(image.shape)
