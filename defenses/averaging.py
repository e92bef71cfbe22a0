"""A running mean of a model's weights, which often errs less than the weights themselves."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class Average:
    """The exponential moving average of everything that floats in a model's state.

    After step t, counted from 0, it is ``decay`` of itself and the rest of the weights; at first
    it keeps less, (1 + t) / (10 + t), so that the weights before training are soon forgotten.
    Statistics of norms are averaged too, counters are taken as they are.

    Source: Polyak & Juditsky, "Acceleration of stochastic approximation by averaging", SIAM J.
    Control Optim. 1992; the first steps as TensorFlow's ``ExponentialMovingAverage``.

    Args:
        model: whose weights are followed; it is changed by `put_in` and `take_out` alone, and by
            ``start``.
        decay: in [0, 1); 0 for no averaging: then nothing here does anything.
        start: the weights to go on from; the model holds their average, and is given them. None
            at the start of a training.

    Raises:
        ValueError: a decay outside of [0, 1).
    """

    def __init__(
        self, model: nn.Module, decay: float, start: Mapping[str, Tensor] | None = None
    ) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"ema is {decay}; it must be in [0, 1)")
        self._model = model
        self._decay = decay
        self._mean = _copied(model) if decay else {}
        self.weights: dict[str, Tensor] | None = None
        """The model's own weights while it holds their average, else None."""
        if decay and start is not None:
            model.load_state_dict(dict(start))

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Take the weights after a step into the mean."""
        if not self._decay:
            return
        kept = min(self._decay, (1 + step) / (10 + step))
        for name, value in self._model.state_dict().items():
            if value.is_floating_point():
                self._mean[name].lerp_(value, 1 - kept)
            else:
                self._mean[name].copy_(value)

    def put_in(self) -> None:
        """Let the model hold the mean."""
        if self._decay:
            self.weights = _copied(self._model)
            self._model.load_state_dict(self._mean)

    def take_out(self) -> None:
        """Give the model its own weights back."""
        if self.weights is not None:
            self._model.load_state_dict(self.weights)
            self.weights = None


def _copied(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
