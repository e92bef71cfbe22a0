"""A defense and its settings in one string, as `attacks.spec` has it for attacks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from attacks.spec import Spec, filled_in, parse, unknown
from defenses.defense import Defense, compose, cross_entropy
from defenses.materials import Open, material_kinds


@dataclass(frozen=True)
class Bound:
    """A defense ready to train with.

    Attributes:
        spec: the canonical text, every setting filled in.
        defense: what the text names.
        materials: digests of the images and networks it uses, by what the text calls them. Equal
            texts with equal digests mean equal defenses.
    """

    spec: str
    defense: Defense
    materials: Mapping[str, str] = field(default_factory=dict)


def resolve(text: str, open_material: Open | None = None) -> Bound:
    """Find the defense that a spec such as ``noisy(std=0.1)`` names.

    Args:
        text: the spec. Settings that stand for images or networks hold their names.
        open_material: what finds these; without it such settings are refused.

    Raises:
        ValueError: for an unknown name or setting, with the nearest known one, or for a value
            that the defense cannot use.
    """
    from defenses import DEFENSES  # noqa: PLC0415  (that package imports this file)

    spec = parse(text)
    if spec.name not in DEFENSES:
        raise ValueError(unknown("defense", spec.name, DEFENSES))
    function = DEFENSES[spec.name]
    settings = filled_in(spec, function)
    opened: dict[str, object] = dict(settings)
    digests: dict[str, str] = {}
    for setting, kind in material_kinds(function).items():
        name = settings.get(setting)
        if name is None:
            continue
        if not isinstance(name, str):
            raise ValueError(f"{spec.name}: {setting}={name} must be a file in quotes")
        if open_material is None:
            raise ValueError(f"{spec.name}: nothing here can open {setting}={name!r}")
        found = open_material(kind, name)
        opened[setting] = found
        digests[name] = found.digest
    return Bound(str(Spec(spec.name, settings)), function(**opened), digests)


def composed(bound: Sequence[Bound]) -> Defense:
    """All of them as one, applied in order.

    Raises:
        ValueError: if two decide the loss; they are named.
    """
    owners = [each.spec for each in bound if each.defense.loss is not cross_entropy]
    if len(owners) > 1:
        names = [parse(spec).name for spec in owners[:2]]
        raise ValueError(f"{' and '.join(names)} both decide the loss: choose one of them")
    return compose([each.defense for each in bound])
