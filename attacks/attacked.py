"""What every attack returns, whoever wrote it."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from torch import Tensor, nn

from attacks.objectives import Goal


class Ended(IntEnum):
    """Why an image left the loop. Stored as these numbers in every record."""

    ALREADY_WRONG = 0
    REACHED = 1
    OUT_OF_STEPS = 2
    RANDOM_STATE = 3


@dataclass(frozen=True)
class Caution:
    """A reason to distrust a result: what set it off, what it means, what to do.

    Attributes:
        code: one of ``zero-gradient``, ``randomised``, ``probabilities``, ``earlier-iterate``,
            ``unbounded-short``, ``out-of-memory``, ``unconfirmed``, ``third-party``.
        wording: the message, ``{}`` for each of the counts.
        counts: numbers of images; those of several batches add up, see
            `attacks.cautions.add_up`.
    """

    code: str
    wording: str
    counts: tuple[int, ...] = ()

    @property
    def message(self) -> str:
        """The whole text."""
        return self.wording.format(*self.counts) if self.counts else self.wording


@dataclass(frozen=True)
class Attacked:
    """The outcome of one attack on N images.

    Attributes:
        images: float32 (N, C, H, W) in [0, 1]; an image that was already wrong is unchanged.
        steps: int64 (N,), gradient steps taken.
        forwards: int64 (N,), forward passes; padding rows are not counted.
        backwards: int64 (N,), backward passes.
        ended: int8 (N,), values of `Ended`.
        goal: what counts as a success for each image; the caller re-evaluates it in float32.
        cautions: reasons to distrust the result, at most one of each code.
        unshrunk: float32 (N, C, H, W), the images before `attacks.shrink` moved them back, or None.
    """

    images: Tensor
    steps: Tensor
    forwards: Tensor
    backwards: Tensor
    ended: Tensor
    goal: Goal
    cautions: tuple[Caution, ...] = ()
    unshrunk: Tensor | None = None


class Attack(Protocol):
    """An attack: a pure function of a model, images, labels and settings.

    ``images`` are float32 (N, C, H, W) in [0, 1]; ``labels`` int64 (N,); ``targets`` int64 (N,) or
    None for an untargeted attack; ``seeds`` int64 (N,), one per image, or None for zeros.
    """

    def __call__(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        *,
        targets: Tensor | None = None,
        seeds: Tensor | None = None,
    ) -> Attacked:
        """Move the images and return what became of each."""
        ...
