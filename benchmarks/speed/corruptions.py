"""The corruptions against the published algorithms, which run image by image in two processes.

The published side is `tests/published`: the published algorithms with the libraries they were
published with (numpy, SciPy, scikit-image, OpenCV, Pillow; snow with ImageMagick, where Wand finds
it). The package ``imagecorruptions`` is timed too where it runs. Both sides draw their own
randomness, get the same 8-bit images and give 8-bit images back. Sides alternate over the
corruptions; ours is the median of three, after one call that makes its tables.
"""

import argparse
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, wait
from functools import partial
from multiprocessing.synchronize import Barrier
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

sys.path.append(str(Path(__file__).parents[2] / "tests"))

import cv2
from published import blur, digital, extra, noise, weather

from attacks.corruptions import CORRUPTIONS, SEVERITIES, STANDARD, Corruption, corrupt
from workbench.datasets import load_dataset
from workbench.models import Classifier, build

FAMILIES: dict[str, ModuleType] = {
    "noise": noise, "blur": blur, "weather": weather, "digital": digital, "extra": extra,
}  # fmt: skip
REPEATS = 3

Image = NDArray[np.uint8]


def published(image: Image, number: int, *, name: str, severity: int, size: int) -> int:
    """Corrupt one image (H, W, C) as published; send back no more than a number."""
    corruption = CORRUPTIONS[name]
    family = FAMILIES[corruption.family]
    strength = corruption.strengths[size][severity - 1]
    draw = getattr(family, f"{name}_draws", None)
    draws = None if draw is None else draw(np.random.default_rng(number), image, strength)
    return int(getattr(family, name)(image, strength, draws).sum())


def imagecorruptions(image: Image, number: int, *, name: str, severity: int, size: int) -> int:
    from imagecorruptions import corrupt as theirs  # noqa: PLC0415  (it is seldom installed)

    return int(theirs(image, corruption_name=name, severity=severity).sum())


def start(everybody: Barrier) -> None:
    """A worker begins: one thread, and nobody is timed before all have loaded their libraries."""
    cv2.setNumThreads(1)
    everybody.wait()


def seconds_per_image(
    pool: ProcessPoolExecutor, side: Callable[..., int], images: list[Image], workers: int
) -> float:
    chunk = max(1, len(images) // (4 * workers))
    began = time.perf_counter()
    list(pool.map(side, images, range(len(images)), chunksize=chunk))
    return (time.perf_counter() - began) / len(images)


def ours(images: Tensor, corruption: Corruption, severity: int, seeds: Tensor) -> float:
    corrupt(images, corruption, severity, seeds=seeds)
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        corrupt(images, corruption, severity, seeds=seeds)
        if images.device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return statistics.median(times) / len(images)


def forward_seconds(images: Tensor, arch: str) -> float:
    """A forward pass of a residual network on the images, per image."""
    network = build(arch, channels=3, classes=10, input_size=(images.shape[2], images.shape[3]))
    model = Classifier(network, channels=3, classes=10, mean=(0.5,) * 3, std=(0.25,) * 3)
    model = model.to(images.device).eval()
    values = images.float() / 255
    times = []
    with torch.no_grad():
        for _ in range(REPEATS + 1):
            began = time.perf_counter()
            for batch in values.split(128):
                model(batch)
            if images.device.type == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - began)
    return statistics.median(times[1:]) / len(images)


def real_images(options: argparse.Namespace) -> Tensor:
    """uint8 (N, 3, size, size): of ``--data``, or the pictures inside the package foolbox."""
    source = options.data
    if source is None:
        import foolbox  # noqa: PLC0415  (only its data folder)

        kind = "imagenet_*" if options.size > 64 else "cifar10*"
        source = str(Path(foolbox.__file__).parent / "data" / kind)
        data = load_dataset(source, label=r"_(\d+)\.", input_size=options.size)
    elif options.size > 64:
        data = load_dataset(source, label=r"_(\d+)\.", input_size=options.size)
    else:
        data = load_dataset(source)
    rows = np.arange(options.images or (256 if options.size <= 64 else 12)) % len(data)
    return (data.images(rows) * 255).round().to(torch.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=32, choices=(32, 64, 224))
    parser.add_argument("--data", help="images of that size; else those inside foolbox")
    parser.add_argument("--images", type=int, help="256, or 12 at 224 pixels")
    parser.add_argument("--corruptions", nargs="*", default=list(STANDARD))
    parser.add_argument("--workers", type=int, default=2, help="processes, and our threads")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.workers)
    pixels = real_images(options)
    images = [np.ascontiguousarray(image) for image in pixels.permute(0, 2, 3, 1).numpy()]
    batch = pixels.to(options.device)
    seeds = torch.arange(len(batch), device=batch.device)
    print(
        f"{len(images)} images, {options.size}x{options.size}, {options.workers} processes/threads"
    )
    sides = {"published": published}
    try:
        imagecorruptions(images[0], 0, name="brightness", severity=1, size=options.size)
        sides["imagecorruptions"] = imagecorruptions
    except Exception as error:  # noqa: BLE001  (whatever keeps it from running here)
        print(f"imagecorruptions does not run here: {type(error).__name__}: {error}")
    print(f"snow's motion blur: {'numpy' if weather.MagickImage is None else 'ImageMagick'}")
    print("ms per image, mean of five severities")
    print(f"  {'corruption':18s} " + "".join(f"{side:>17s}" for side in sides) + "     workbench")
    totals = dict.fromkeys([*sides, "ours"], 0.0)
    glass = dict.fromkeys(totals, 0.0)
    # Spawned: a fork of a process with threads may wait for them for ever.
    context = multiprocessing.get_context("spawn")
    everybody = context.Barrier(options.workers + 1)
    with ProcessPoolExecutor(options.workers, context, start, (everybody,)) as pool:
        frost = partial(published, name="frost", severity=1, size=options.size)
        begun = [pool.submit(frost, images[0], 0) for _ in range(options.workers)]
        everybody.wait()
        wait(begun)
        for name in options.corruptions:
            spent = dict.fromkeys(totals, 0.0)
            for severity in SEVERITIES:
                for side, function in sides.items():
                    bound = partial(function, name=name, severity=severity, size=options.size)
                    spent[side] += seconds_per_image(pool, bound, images, options.workers)
                spent["ours"] += ours(batch, CORRUPTIONS[name], severity, seeds)
            for side, value in spent.items():
                totals[side] += value
                if name == "glass_blur":
                    glass[side] = value
            print(
                f"  {name:18s} "
                + "".join(
                    f"{spent[side] / 5e-3:9.3f} {spent[side] / spent['ours']:6.1f}x"
                    for side in sides
                )
                + f" {spent['ours'] / 5e-3:9.4f}",
                flush=True,
            )
    cells = len(options.corruptions) * len(SEVERITIES)
    for side in sides:
        rest = (totals[side] - glass[side]) / max(totals["ours"] - glass["ours"], 1e-12)
        print(
            f"{side}: {totals[side]:.3f} s per image over {cells} cells, workbench "
            f"{totals['ours']:.4f} s: {totals[side] / totals['ours']:.1f}x in total, "
            f"{rest:.1f}x without glass blur"
        )
    arch = "resnet20" if batch.device.type == "cpu" else "resnet18"
    forward = forward_seconds(batch, arch)
    print(
        f"corrupting takes {1e3 * totals['ours'] / cells:.3f} ms per image on average, a {arch} "
        f"forward pass {1e3 * forward:.3f} ms: {totals['ours'] / cells / forward:.0%} of it"
    )


if __name__ == "__main__":
    main()
