"""The images and networks that settings of defenses name, read from files."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from attacks.spec import filled_in, parse
from defenses import DEFENSES, Bound, FoolingImages, ImageNetwork, composed, resolve
from defenses.adain import Stylizer
from defenses.defense import Defense
from defenses.materials import Material, material_kinds
from defenses.stylized import Paintings
from workbench.datasets import Dataset
from workbench.errors import UsageError
from workbench.hard_negatives import fooling_images
from workbench.image_networks import read_image_network
from workbench.models.factories import factory_path, is_factory
from workbench.stylizers import read_paintings, read_stylizer

READERS: dict[type[Material], Callable[[str, Dataset], Material]] = {
    FoolingImages: fooling_images,
    ImageNetwork: read_image_network,
    Stylizer: read_stylizer,
    Paintings: read_paintings,
}
"""For each kind of material what reads it: from the name in the setting, for the training images.

They raise a `UsageError` where there is no such file, it holds something else, or it does not go
with the images.
"""


def bind(specs: Sequence[str], data: Dataset) -> tuple[Bound, ...]:
    """The defenses in order, with their settings filled in and their files read.

    Args:
        specs: as they were written.
        data: the images that are trained on.

    Raises:
        ValueError: a defense or a setting that there is not, or a file that cannot be used.
    """
    return tuple(resolve(spec, partial(_opened, data=data)) for spec in specs)


def check(specs: Sequence[str]) -> Defense:
    """See what can be seen of the defenses before any data are read; returns what could be bound.

    Raises:
        ValueError: a defense or a setting that there is not, or a file that is missing.
    """
    bound = []
    for text in specs:
        files = _files(text)
        for name in files:
            path = factory_path(name) if is_factory(name) else Path(name).expanduser()
            if not path.exists():
                raise UsageError(f"{parse(text).name}: there is no file or folder {path}.")
        if not files:
            bound.append(resolve(text))
    return composed(bound)


def _files(text: str) -> list[str]:
    spec = parse(text)
    if spec.name not in DEFENSES:
        return []
    settings = filled_in(spec, DEFENSES[spec.name])
    named = (settings[setting] for setting in material_kinds(DEFENSES[spec.name]))
    return [name for name in named if isinstance(name, str)]


def _opened(kind: type[Any], name: str, *, data: Dataset) -> Material:
    return READERS[kind](name, data)
