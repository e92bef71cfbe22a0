"""AugMix against torchvision and Pillow image by image, and what it adds to an epoch of training.

All sides have two cores. torchvision's ``v2.AugMix`` gets one 8-bit tensor at a time, once in this
process, whose threads it may use, and once in two processes of one thread. The published procedure
is `tests/published/augmix.py`, in Pillow, in two processes. Ours gets batches of 128 images and two
mixtures are made of each. Passes over the sides alternate, and each side's figure is the median.
"""

import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, wait
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from subjects import arguments
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import v2

sys.path.append(str(Path(__file__).parents[2] / "tests"))

from PIL import Image
from published import augmix as published

from attacks.draws import image_seeds
from defenses import Defense, resolve, train
from workbench.datasets import load_dataset
from workbench.models import Classifier, build

PROCESSES, REPEATS, BATCH = 2, 5, 128
EPOCH_IMAGES, EPOCHS = 20 * BATCH, 3

Pixels = NDArray[np.uint8]  # (H, W, 3)
theirs = v2.AugMix(all_ops=False)


def with_pillow(image: Pixels, number: int) -> float:
    """Mix one image as published; send back no more than a number."""
    drawn = published.draws(np.random.default_rng(number))
    return float(published.augmix(Image.fromarray(image), drawn)[0, 0, 0])


def with_torchvision(image: Pixels, number: int) -> float:
    return float(theirs(torch.from_numpy(image).permute(2, 0, 1))[0, 0, 0])


def in_processes(
    pool: ProcessPoolExecutor, side: Callable[[Pixels, int], float], images: list[Pixels]
) -> None:
    list(pool.map(side, images, range(len(images)), chunksize=len(images) // (4 * PROCESSES)))


def start(everybody: Barrier) -> None:
    """A worker begins: one thread, and nobody is timed before all have loaded their libraries."""
    torch.set_num_threads(1)
    everybody.wait()


def mixtures(batches: list[Tensor], defense: Defense) -> None:
    """Two mixtures of every image, as a step of training makes them."""
    for batch in batches:
        seeds = image_seeds(0, torch.arange(2 * len(batch), device=batch.device))
        defense.transform(batch.repeat(2, 1, 1, 1), seeds, seeds)
    if batches[0].is_cuda:
        torch.cuda.synchronize()


def compare(pixels: Tensor, device: str) -> float:
    """Print seconds per image of every side; give ours per mixture."""
    images = [np.ascontiguousarray(image) for image in pixels.permute(0, 2, 3, 1).numpy()]
    batches = list((pixels.float() / 255).to(device).split(BATCH))
    ours = resolve("augmix(jsd=0)").defense
    context = multiprocessing.get_context("spawn")  # a fork may wait for its parent's threads
    everybody = context.Barrier(PROCESSES + 1)
    with ProcessPoolExecutor(PROCESSES, context, start, (everybody,)) as pool:
        begun = [pool.submit(with_pillow, images[0], 0) for _ in range(PROCESSES)]
        everybody.wait()
        wait(begun)
        sides: dict[str, tuple[Callable[[], object], int]] = {
            "torchvision, one process": (
                lambda: [with_torchvision(image, 0) for image in images],
                len(images),
            ),
            "torchvision, two processes": (
                lambda: in_processes(pool, with_torchvision, images),
                len(images),
            ),
            "Pillow, two processes": (
                lambda: in_processes(pool, with_pillow, images),
                len(images),
            ),
            "workbench": (lambda: mixtures(batches, ours), 2 * len(images)),
        }
        seconds: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(REPEATS + 1):
            for name, (side, count) in sides.items():
                began = time.perf_counter()
                side()
                seconds[name].append((time.perf_counter() - began) / count)
    medians = {name: statistics.median(taken[1:]) for name, taken in seconds.items()}
    for name, median in medians.items():
        ratio = median / medians["workbench"]
        print(f"  {name:27s} {1e6 * median:8.1f} us per mixture  {ratio:6.1f}x ours")
    return medians["workbench"]


def epochs(pixels: Tensor, labels: Tensor, device: str, mixture: float) -> None:
    """Print what an epoch of AugMix takes beside one of plain training of a residual network."""
    seconds: dict[str, list[float]] = {"plain": [], "augmix": []}
    for _ in range(EPOCHS):
        for name, taken in seconds.items():
            network = build("resnet20", channels=3, classes=10, input_size=(32, 32))
            model = Classifier(network, channels=3, classes=10, mean=(0.5,) * 3, std=(0.25,) * 3)
            defense = None if name == "plain" else resolve(name).defense
            run = train(model, pixels, labels, epochs=1, batch_size=BATCH, lr=0.02, device=device,
                        defense=defense)  # fmt: skip
            taken.extend(epoch.seconds for epoch in run)
    plain, mixed = (statistics.median(taken) for taken in seconds.values())
    print(
        f"  an epoch of {len(labels)} images, resnet20: plain {plain:.2f} s, augmix {mixed:.2f} s"
    )
    print(
        f"  augmix takes {mixed / plain:.2f}x an epoch of plain training; "
        f"its mixtures are {2 * mixture * len(labels) / mixed:.1%} of it"
    )


def main() -> None:
    options = arguments(__doc__ or "")
    torch.set_num_threads(PROCESSES)
    data = load_dataset(options.data, split="train").take(EPOCH_IMAGES, seed=0)
    images = (data.images(slice(None)) * 255).round().to(torch.uint8)
    padding = (32 - images.shape[-1]) // 2
    pixels = F.pad(images, (padding,) * 4).expand(-1, 3, -1, -1).contiguous()
    print(f"{options.images} images of {Path(options.data).name}, 32x32, on {options.device}")
    mixture = compare(pixels[: options.images], options.device)
    epochs(pixels, torch.from_numpy(data.labels), options.device, mixture)


if __name__ == "__main__":
    main()
