"""The models and images of the benchmarks: small networks trained plainly or adversarially.

Without ``--data`` they see the embedded Fashion-MNIST images, padded to 32x32 and three channels.
Trained weights are kept in ``build/speed`` and used again.
"""

import argparse
import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attacks.gradients import frozen
from defenses import resolve, train
from workbench.datasets import load_dataset
from workbench.models import Classifier, build

STORE = Path("build/speed")
KINDS = {"mlp": "mlp", "plain": "resnet20", "adversarial": "resnet20"}
LR = {"mlp": 0.02, "resnet20": 0.1}
DEFENSE = {"adversarial": "adversarial(eps=8/255, steps=1)"}  # Wong, Rice & Kolter 2020


@dataclass(frozen=True)
class Subject:
    """A trained model with test images that it gets right."""

    name: str
    model: nn.Module
    images: Tensor
    labels: Tensor


def arguments(description: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", default="fashion-mnist-mini", help="a data set's name or path")
    parser.add_argument("--images", type=int, default=512, help="correctly classified images")
    parser.add_argument("--epochs", type=int, default=4, help="epochs of training")
    parser.add_argument("--training-images", type=int, default=25_000, help="at most this many")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser.parse_args()


def subject(kind: str, options: argparse.Namespace) -> Subject:
    """A model of `KINDS`, trained now or before."""
    device = torch.device(options.device)
    model = _trained(kind, options, device).to(device)
    data = load_dataset(options.data, split="test").take(options.images * 3, seed=0)
    images = _as_cifar(data.images(slice(None))).to(device)
    labels = torch.from_numpy(data.labels).to(device)
    with frozen(model), torch.no_grad():
        predicted = torch.cat([model(batch).argmax(dim=1) for batch in images.split(256)])
    right = (predicted == labels).nonzero()[: options.images, 0]
    accuracy = float((predicted == labels).float().mean())
    print(f"{kind} {KINDS[kind]} on {Path(options.data).name}: clean accuracy {accuracy:.3f}")
    print(f"  {len(right)} correctly classified images")
    return Subject(kind, model.eval(), images[right], labels[right])


def _trained(kind: str, options: argparse.Namespace, device: torch.device) -> nn.Module:
    network = build(KINDS[kind], channels=3, classes=10, input_size=(32, 32))
    model = Classifier(network, channels=3, classes=10, mean=(0.5,) * 3, std=(0.25,) * 3)
    key = f"{kind} {options.data} {options.epochs} {options.training_images}"
    if kind in DEFENSE:
        key += f" {DEFENSE[kind]}"
    stored = STORE / f"{kind}-{hashlib.sha256(key.encode()).hexdigest()[:12]}.pt"
    if stored.exists():
        model.load_state_dict(torch.load(stored, weights_only=True))
        return model
    data = load_dataset(options.data, split="train").take(options.training_images, seed=0)
    images = (_as_cifar(data.images(slice(None))) * 255).round().to(torch.uint8)
    labels = torch.from_numpy(data.labels)
    torch.manual_seed(0)
    epochs = train(
        model,
        images,
        labels,
        epochs=options.epochs,
        lr=LR[KINDS[kind]],
        warmup=0.3 * options.epochs if kind in DEFENSE else 0.0,
        device=device,
        defense=resolve(DEFENSE[kind]).defense if kind in DEFENSE else None,
    )
    for epoch in epochs:
        print(f"  training {kind}: epoch {epoch.number} of {epoch.epochs}, loss {epoch.loss:.3f}")
    STORE.mkdir(parents=True, exist_ok=True)
    torch.save(model.state_dict(), stored)
    return model


def _as_cifar(images: Tensor) -> Tensor:
    """Images of 32x32 with three channels."""
    padding = (32 - images.shape[-1]) // 2
    return F.pad(images, (padding,) * 4).expand(-1, 3, -1, -1).contiguous()
