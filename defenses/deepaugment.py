"""DeepAugment: training images as a perturbed image-to-image network shows them."""

from torch import Tensor

from defenses.defense import Defense
from defenses.perturbed import ImageNetwork, distorted
from defenses.shares import check_share, chosen


def deepaugment(
    network: ImageNetwork | None = None, strength: float = 0.2, share: float = 0.5
) -> Defense:
    """Pass images through an image-to-image network that is perturbed anew for each of them.

    At every convolution but the last one of six changes is drawn for the image, and it befalls
    some of the channels; see `defenses.perturbed`. Nothing stays changed in the network.

    A model is marked as having seen the test corruptions that the network was trained with: a
    network that undoes them, once it is negated or cut, brings them on.

    Source: Hendrycks et al., "The many faces of robustness", ICCV 2021, section 4, with networks
    for compression and super-resolution, and the perturbed images beside the clean ones. Of their
    perturbations, those are here that can be made on activations, image by image in a batch.

    Args:
        network: a file: a checkpoint with a restorer, for that; a TorchScript program; or
            ``my_net.py:function``, a function that returns the network with its weights.
        strength: chance of a channel to be changed, from 0 to 1.
        share: chance of an image to be passed through; the others stay as they are.

    Raises:
        ValueError: no network, or a setting out of range.
    """
    if network is None:
        raise ValueError(
            "deepaugment needs a network: deepaugment(network='FILE') with a checkpoint that has "
            "a restorer, a TorchScript program, or my_net.py:function"
        )
    if type(strength) not in (int, float) or not 0 <= strength <= 1:
        raise ValueError(f"deepaugment: strength={strength} must be from 0 to 1")
    check_share("deepaugment", share)

    def transform(images: Tensor, labels: Tensor, seeds: Tensor) -> tuple[Tensor, Tensor]:
        rows = chosen(seeds, share).nonzero().flatten()
        if not len(rows):
            return images, labels
        made = distorted(network.network, images[rows], seeds[rows], strength)
        return images.index_copy(0, rows, made), labels

    return Defense(transform, corruptions=network.corruptions)
