"""What augmentations of torchvision need to be defenses: draws of ours, and labels that fit.

Their classes draw from torch's global generator on the CPU. Here that generator is set from the
seeds of the images and put back afterwards, so that training can be repeated and resumed.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attacks.draws import Stream, derived_seeds
from defenses.defense import Defense, Transform

OVERLAPPING = ("brightness", "contrast", "saturate", "gaussian_blur", "defocus_blur")
"""Test corruptions that the operations of RandAugment and TrivialAugment show a model.

Brightness, Contrast and Color change what the first three of them do. Sharpness below 1 mixes an
image with one that a 3x3 bell has smoothed: on CIFAR-10 its full effect is a gaussian_blur of
severity 2 or 3, or a defocus_blur of severity 3, but for 0.30 and 0.38 of the change (root mean
square). AugMix leaves out these four operations for that reason (Hendrycks et al., ICLR 2020,
section 3). No test corruption turns, shears, shifts, posterises, solarises or equalises.
"""


def mixing(mix: Callable[..., Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]]) -> Defense:
    """A defense from a class that mixes the images of a batch, and their labels as much.

    Mixed labels are shares of classes, and how many classes there are is known by the model alone.
    So the batch is mixed as if each image were a class of its own; the shares of images that come
    back become shares of classes once there are logits. The loss is the cross-entropy with those.

    The logits are in the order of the images, those of the mixed image that shows most of each:
    the training error says how often that image's class is not the answer.

    Args:
        mix: ``mix(num_classes=n)`` gives a function from images (n, C, H, W) and labels (n,) to
            mixed images and float32 labels (n, n), such as `torchvision.transforms.v2.MixUp`.
    """

    def loss(
        model: nn.Module, images: Tensor, labels: Tensor, seeds: Tensor
    ) -> tuple[Tensor, Tensor]:
        count = len(images)
        with _generator_kept():
            torch.default_generator.manual_seed(_own(seeds[:1])[0])
            mixed, shares = mix(num_classes=count)(
                images, torch.arange(count, device=images.device)
            )
        logits = model(mixed)
        classes = labels if labels.ndim == 2 else F.one_hot(labels, logits.shape[1])
        soft = shares @ classes.to(shares.dtype)
        return F.cross_entropy(logits, soft), logits[shares.argmax(dim=0)]

    return Defense(loss=loss)


def image_by_image(augment: Callable[[Tensor], Tensor]) -> Transform:
    """A transform that gives each image draws of its own.

    Given a batch, torchvision would change all its images alike. One by one they take ten times as
    long: on one core 0.2 ms for RandAugment of a 3x32x32 image, 0.1 ms for TrivialAugment, 1.4 ms
    for RandAugment of 3x224x224.

    Args:
        augment: from uint8 (C, H, W) to the same, drawing from torch's global generator. Images are
            rounded to 8 bits for it.
    """

    def transform(images: Tensor, labels: Tensor, seeds: Tensor) -> tuple[Tensor, Tensor]:
        pixels = images.mul(255).round_().clamp_(0, 255).to(torch.uint8)
        changed = torch.empty_like(images)
        with _generator_kept():
            for row, seed in enumerate(_own(seeds)):
                torch.default_generator.manual_seed(seed)
                changed[row] = augment(pixels[row])
        return changed.div_(255), labels

    return transform


@contextmanager
def _generator_kept() -> Iterator[None]:
    """Torch's generator on the CPU is as it was after the block."""
    with torch.random.fork_rng(devices=[]):
        yield


def _own(seeds: Tensor) -> list[int]:
    drawn: list[int] = derived_seeds(seeds, stream=Stream.DEFENSE, step=0).tolist()
    return drawn
