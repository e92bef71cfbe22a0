"""CKA of two ResNet-18 against keeping all activations first: peak memory and time.

Each side is a process of its own that compares one layer for each block of two torchvision
ResNet-18 with random weights over random images, and tells its peak resident memory. Ours sees all
images in batches. The other side is how it is usually written: a hook keeps each layer's output,
and CKA is computed once from all of them, here for as many images as memory has room for. Over
these few images ours is measured too, so that time and values can be compared; its batches are
smaller, so values differ by what batches differ.
"""

import argparse
import json
import resource
import subprocess
import sys
import time

import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from benchmarks.cka import cka
from benchmarks.stages import stages

MOST = 2.0  # GB that 2,000 images may take
BATCH = 64


def images(start: int, stop: int, size: int) -> Tensor:
    """Blobs of colour; each image has its own seed, so that no side has to keep them."""
    found = []
    for number in range(start, stop):
        generator = torch.Generator().manual_seed(number)
        found.append(torch.rand(1, 3, 8, 8, generator=generator))
    return nn.functional.interpolate(torch.cat(found), size=(size, size), mode="bilinear")


def models() -> list[nn.Module]:
    torch.manual_seed(0)
    return [resnet18(), resnet18()]


def in_batches(count: int, size: int) -> Tensor:
    first, second = models()
    names = stages(first, images(0, 2, size))
    batches = (images(k, min(k + BATCH, count), size) for k in range(0, count, BATCH))
    return torch.from_numpy(cka(first, second, batches, names, names).values)


def all_kept(count: int, size: int) -> Tensor:
    """Activations of all images first; then Gram matrices, and CKA as Song et al. write HSIC."""
    sides = []
    for model in models():
        model.eval()
        names = stages(model, images(0, 2, size))
        kept: dict[str, list[Tensor]] = {name: [] for name in names}
        for name in names:
            model.get_submodule(name).register_forward_hook(
                lambda _m, _i, output, rows=kept[name]: rows.append(output.clone())
            )
        with torch.no_grad():
            for k in range(0, count, BATCH):
                model(images(k, min(k + BATCH, count), size))
        sides.append([torch.cat(kept.pop(name)).flatten(1) for name in names])
    grams = [[rows @ rows.T for rows in side] for side in sides]
    own = [[hsic(gram, gram) for gram in side] for side in grams]
    return torch.tensor(
        [
            [hsic(one, other) / (a * b) ** 0.5 for other, b in zip(grams[1], own[1], strict=True)]
            for one, a in zip(grams[0], own[0], strict=True)
        ]
    )


def hsic(one: Tensor, other: Tensor) -> float:
    n = len(one)
    k, m = (gram.double().fill_diagonal_(0) for gram in (one, other))
    total = (k * m.T).sum() + k.sum() * m.sum() / ((n - 1) * (n - 2))
    return float(total - 2 / (n - 2) * (k.sum(dim=0) @ m.sum(dim=1))) / (n * (n - 3))


SIDES = {"workbench": in_batches, "all activations kept": all_kept}


def measured(side: str, count: int, options: argparse.Namespace) -> Tensor:
    """Runs a side in a fresh process and prints what it took; the values it found."""
    command = [sys.executable, __file__, "--side", side, "--images", str(count)]
    command += ["--size", str(options.size)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout)
    print(
        f"  {side:21s} {count:5d} images: peak {found['peak']:.2f} GB, {found['seconds']:.1f} s "
        f"({1000 * found['seconds'] / count:.0f} ms an image)",
        flush=True,
    )
    return torch.tensor(found["values"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--few", type=int, default=256, help="images for the other side")
    parser.add_argument("--size", type=int, default=224, help="height and width of images")
    parser.add_argument("--side", choices=list(SIDES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side is not None:
        begin = time.perf_counter()
        values = SIDES[options.side](options.images, options.size)
        seconds = time.perf_counter() - begin
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(json.dumps({"seconds": seconds, "peak": peak, "values": values.tolist()}))
        return
    print(f"CKA of two ResNet-18, {options.size}x{options.size} ({MOST:g} GB at most asked for)")
    measured("workbench", options.images, options)
    ours = measured("workbench", options.few, options)
    theirs = measured("all activations kept", options.few, options)
    print(f"  values over {options.few} images differ by {(ours - theirs).abs().max():.3f} at most")


if __name__ == "__main__":
    main()
