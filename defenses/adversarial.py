"""Adversarial training: every step is taken on images that are attacked first."""

from torch import Tensor, nn

from attacks import pgd
from attacks.checks import check_counts
from attacks.norms import check_eps, check_step_size, norm_named
from defenses.defense import Defense, cross_entropy


def adversarial(
    eps: float = 8 / 255, steps: int = 7, step_size: float | None = None, norm: str = "linf"
) -> Defense:
    """Train on the images that projected gradient ascent finds against the model as it is now.

    The attack starts at a random point of the ball and takes all its steps with every image. It
    sees the model in evaluation mode, batch normalisation with its running statistics and no
    dropout, as Pang et al. ("Bag of tricks for adversarial training", ICLR 2021) found better for
    clean accuracy at the same robustness, and leaves no trace in it. The step is then taken in
    training mode, so the statistics are those of adversarial images, and the training loss and
    error are too.

    Source: Madry et al., "Towards deep learning models resistant to adversarial attacks", ICLR
    2018. One step is the "fast" variant of Wong, Rice & Kolter, "Fast is better than free", ICLR
    2020, which may break down to a model that only that attack cannot fool: measure with more
    steps than one.

    Args:
        eps: radius of the ball, in units of the image range.
        steps: of the attack; 1 for the fast variant.
        step_size: length of a step in the same norm; None for eps / 4, Madry et al.'s 2/255 of
            8/255, and for 1.25 · eps if there is but one (Wong et al.).
        norm: linf or l2.

    Raises:
        ValueError: for settings that cannot be attacked with.
    """
    try:
        norm_named(norm)
        check_eps(eps, norm)
        check_counts(steps=steps)
        if step_size is not None:
            check_step_size(step_size, norm)
    except ValueError as error:
        raise ValueError(f"adversarial: {error}") from None
    if eps == 0:
        raise ValueError("adversarial: eps=0 moves nothing; it must be above 0")
    length = step_size if step_size is not None else eps / 4 if steps > 1 else 1.25 * eps

    def loss(
        model: nn.Module, images: Tensor, labels: Tensor, seeds: Tensor
    ) -> tuple[Tensor, Tensor]:
        attacked = pgd(
            model,
            images,
            labels,
            seeds=seeds,
            eps=eps,
            step_size=length,
            steps=steps,
            norm=norm,
            random_start=True,
            stop="never",
        )
        return cross_entropy(model, attacked.images, labels, seeds)

    return Defense(loss=loss)
