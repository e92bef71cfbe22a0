"""Images per second in training, against the script that people write with torchvision.

All sides have two cores and train the same residual network on the same images with random crops
and mirror images. Theirs: a data set in memory whose images go through Pillow and torchvision's
transforms in a ``DataLoader`` of two workers, and a loop that adds up ``loss.item()``. Ours:
`defenses.train` in one process of two threads and, on a CPU, in two processes of one thread each.
Passes over the sides alternate; each side's figure is the median of its later epochs.
"""

import os
import socket
import statistics
import time
from pathlib import Path
from queue import SimpleQueue

import torch
from subjects import arguments
from torch import Tensor, distributed, multiprocessing, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from defenses import resolve, train
from workbench.datasets import load_dataset
from workbench.models import Classifier, build

NETWORKS = ("resnet20(width=8)", "resnet20")
CORES, REPEATS, BATCH, LR = 2, 3, 128, 0.02
EPOCH_IMAGES, EPOCHS = 12 * BATCH, 2
MEAN, STD = (0.5,) * 3, (0.25,) * 3


class InMemory(Dataset[tuple[Tensor, int]]):
    """As `torchvision.datasets.CIFAR10` gives them: a Pillow image that is then transformed."""

    def __init__(self, pixels: Tensor, labels: Tensor) -> None:
        self.pixels, self.labels = pixels, labels
        self.transform = transforms.Compose(
            [
                transforms.ToPILImage(),
                transforms.RandomCrop(32, 4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        return self.transform(self.pixels[row]), int(self.labels[row])


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    return build(name, channels=3, classes=10, input_size=(32, 32))


def theirs(name: str, pixels: Tensor, labels: Tensor, device: str) -> list[float]:
    """Seconds of each epoch."""
    torch.set_num_threads(CORES)
    model = network(name).to(device)
    loader = DataLoader(
        InMemory(pixels, labels), BATCH, shuffle=True, num_workers=2, persistent_workers=True
    )
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), LR, 0.9, weight_decay=5e-4, nesterov=True)
    seconds = []
    for _ in range(EPOCHS):
        began = time.perf_counter()
        running_loss, correct = 0.0, 0
        for batch, targets in loader:
            images, classes = batch.to(device), targets.to(device)
            optimizer.zero_grad()
            outputs = model(images)
            loss = criterion(outputs, classes)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
            correct += int((outputs.argmax(1) == classes).sum())
        seconds.append(time.perf_counter() - began)
    return seconds


def ours(name: str, pixels: Tensor, labels: Tensor, device: str) -> list[float]:
    """Seconds of each epoch."""
    torch.set_num_threads(CORES // int(os.environ.get("WORLD_SIZE", "1")))
    model = Classifier(network(name), channels=3, classes=10, mean=MEAN, std=STD)
    epochs = train(
        model, pixels, labels, epochs=EPOCHS, batch_size=BATCH, lr=LR, device=device,
        schedule="constant", defense=resolve("crop-flip").defense,
    )  # fmt: skip
    return [epoch.seconds for epoch in epochs]


def in_two_processes(name: str, pixels: Tensor, labels: Tensor, device: str) -> list[float]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    given = (port, queue, name, pixels, labels, device)
    running = multiprocessing.spawn(one_of_two, given, CORES, join=False)
    seconds: list[float] = queue.get()
    running.join()
    return seconds


def one_of_two(
    rank: int, port: str, queue: "SimpleQueue[list[float]]", name: str, pixels: Tensor,
    labels: Tensor, device: str,
) -> None:  # fmt: skip
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(CORES)}
    distributed.init_process_group("gloo", rank=rank, world_size=CORES)
    seconds = ours(name, pixels, labels, device)
    if rank == 0:
        queue.put(seconds)
    distributed.destroy_process_group()


def main() -> None:
    options = arguments(__doc__ or "")
    data = load_dataset(options.data, split="train").take(EPOCH_IMAGES, seed=0)
    images = (data.images(slice(None)) * 255).round().to(torch.uint8)
    padding = (32 - images.shape[-1]) // 2
    pixels = F.pad(images, (padding,) * 4).expand(-1, 3, -1, -1).contiguous()
    labels = torch.from_numpy(data.labels)
    print(f"{len(pixels)} images of {Path(options.data).name}, 32x32, on {options.device}")
    sides = {"torchvision and DataLoader": theirs, "workbench": ours}
    if options.device == "cpu":
        sides["workbench, two processes"] = in_two_processes
    for name in NETWORKS:
        seconds: dict[str, list[float]] = {side: [] for side in sides}
        for _ in range(REPEATS):
            for side, run in sides.items():
                seconds[side].extend(run(name, pixels, labels, options.device)[1:])
        speed = {side: len(pixels) / statistics.median(taken) for side, taken in seconds.items()}
        base = speed["torchvision and DataLoader"]
        for side, images_per_second in speed.items():
            print(
                f"  {name:18s} {side:26s} {images_per_second:7.0f} images/s  "
                f"{images_per_second / base:5.2f}x"
            )


if __name__ == "__main__":
    main()
