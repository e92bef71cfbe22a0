"""A defense and its settings in one string, as `attacks.spec` has it for attacks."""

from collections.abc import Sequence
from dataclasses import dataclass

from attacks.spec import Spec, filled_in, parse, unknown
from defenses.defense import Defense, compose, cross_entropy


@dataclass(frozen=True)
class Bound:
    """A defense ready to train with.

    Attributes:
        spec: the canonical text, every setting filled in; equal texts mean equal defenses.
        defense: what the text names.
    """

    spec: str
    defense: Defense


def resolve(text: str) -> Bound:
    """Find the defense that a spec such as ``noisy(std=0.1)`` names.

    Raises:
        ValueError: for an unknown name or setting, with the nearest known one, or for a value
            that the defense cannot use.
    """
    from defenses import DEFENSES  # noqa: PLC0415  (that package imports this file)

    spec = parse(text)
    if spec.name not in DEFENSES:
        raise ValueError(unknown("defense", spec.name, DEFENSES))
    settings = filled_in(spec, DEFENSES[spec.name])
    return Bound(str(Spec(spec.name, settings)), DEFENSES[spec.name](**settings))


def composed(bound: Sequence[Bound]) -> Defense:
    """All of them as one, applied in order.

    Raises:
        ValueError: if two decide the loss; they are named.
    """
    owners = [each.spec for each in bound if each.defense.loss is not cross_entropy]
    if len(owners) > 1:
        raise ValueError(f"{' and '.join(owners[:2])} both decide the loss: choose one of them")
    return compose([each.defense for each in bound])
