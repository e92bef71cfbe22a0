"""What classes are called, and the superclass that each belongs to: a beagle is a dog.

Where the names and hierarchies come from, and their licences, is told in ``workbench/data``.
"""

import csv
import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from importlib.resources import files
from pathlib import Path
from typing import Any

from workbench.datasets.classes import ClassSet
from workbench.datasets.named import CLOTHES
from workbench.errors import UsageError, suggestion

WORDNET_TEXT = "WordNet 3.0 (Copyright 2006 by Princeton University), cut at nouns that we chose"
IMAGENET = 1000  # classes: no other known set is so usual that its size alone tells it
MOSTLY = 0.9  # of the names in their usual places: the rest are spelt otherwise


@dataclass(frozen=True)
class Groups:
    """Names and superclasses of a model's classes.

    Attributes:
        names: readable, one a class.
        superclasses: one a class.
        source: what they are from, with the licence where it is not ours.
    """

    names: tuple[str, ...]
    superclasses: tuple[str, ...]
    source: str


@dataclass(frozen=True)
class KnownClasses:
    """A set of classes whose superclasses are known, in its usual order.

    Attributes:
        names: readable, no two the same.
        superclasses: one a class.
        text: what the superclasses are from.
        keys: WordNet ids, or None.
        words: other names, with commas, or None.
    """

    names: tuple[str, ...]
    superclasses: tuple[str, ...]
    text: str
    keys: tuple[str, ...] | None = None
    words: tuple[str, ...] | None = None

    @cached_property
    def _sets(self) -> tuple[ClassSet, ...]:
        kinds = [self.names, self.words]
        return tuple(ClassSet(len(self.names), names, self.keys) for names in kinds if names)

    def places(self, text: str) -> tuple[int, ...]:
        """The classes that a text may mean: a key, a name, or names with commas."""
        for each in (text, text.partition(",")[0]):
            for known in self._sets:
                if found := known.matches(each):
                    return found
        return ()


def class_groups(
    class_names: Sequence[str] | None,
    class_keys: Sequence[str] | None,
    classes: int,
    *,
    source: str | None = None,
) -> Groups | None:
    """The names and superclasses of classes, or None where nothing is known of them.

    Classes are recognised by WordNet ids, else by names in any order (without regard to case,
    blanks and underscores; "tench, Tinca tinca" goes by its parts), also where they are some of a
    known set's; a thousand without names are ImageNet's in their usual order.

    Args:
        class_names: one a class, or None.
        class_keys: WordNet ids, or None.
        classes: how many there are.
        source: a name in `SOURCES`, or a file that gives each class its superclass: CSV or TSV with
            two columns, or a JSON object.

    Raises:
        UsageError: the source is not known, is damaged or lacks a class.
        OSError: the file cannot be read.
    """
    texts = [each for each in (class_keys, class_names) if each is not None]
    if source is not None and source not in SOURCES:
        return _from_file(source, class_names, class_keys, classes)
    for known in _candidates(classes, source):
        for each in texts:
            places = _recognised(each, known)
            if places is not None:
                return _groups(known, places, class_names)
        if not texts and len(known.names) == classes and (source or classes == IMAGENET):
            return _groups(known, range(classes), None)
    if source is None:
        return None
    known = SOURCES[source]()
    if not texts:
        raise UsageError(f"{source} has {len(known.names)} classes, and these are {classes}.")
    missing = [text for text in texts[-1] if not known.places(text)]
    raise UsageError(
        f"{source} has no class {missing[0]!r}{_more(missing)}; give a file of class,superclass."
        if missing
        else f"A class name may mean several classes of {source}, or several may mean the same "
        "class; give a file of class,superclass."
    )


def readable_names(
    groups: Groups | None, class_names: Sequence[str] | None, classes: int
) -> tuple[str, ...]:
    """One name a class: those of the groups, else its own, else ``class 7``."""
    if groups is not None:
        return groups.names
    return tuple(class_names or (f"class {index}" for index in range(classes)))


def superclass_sources() -> dict[str, str]:
    """The names of `SOURCES` with what they are."""
    told = {}
    for name, read in SOURCES.items():
        known = read()
        above = len(set(known.superclasses))
        told[name] = f"{len(known.names)} classes, {above} superclasses; {known.text}"
    return told


def _candidates(classes: int, source: str | None) -> list[KnownClasses]:
    """Sets of just so many classes first: names alone cannot tell a few of CIFAR's from others."""
    if source is not None:
        return [SOURCES[source]()]
    known = [read() for read in SOURCES.values()]
    return sorted(known, key=lambda each: len(each.names) != classes)


def _recognised(texts: Sequence[str], known: KnownClasses) -> Sequence[int] | None:
    """Which classes of a set they are, or None where they are not, or not surely."""
    found = [known.places(text) for text in texts]
    sure = [places[0] for places in found if len(places) == 1]
    if len(sure) == len(texts) == len(set(sure)):
        return sure
    if len(texts) == len(known.names):
        usual = sum(place in places for place, places in enumerate(found))
        if usual >= MOSTLY * len(texts):
            return range(len(texts))
    return None


def _groups(known: KnownClasses, places: Sequence[int], given: Sequence[str] | None) -> Groups:
    names = [known.names[place] for place in places]
    if given is not None:  # as they are, but for ids and lists of synonyms
        listed = set(known.keys or ())
        names = [
            ours if "," in theirs or theirs in listed else theirs
            for ours, theirs in zip(names, given, strict=True)
        ]
    superclasses = tuple(known.superclasses[place] for place in places)
    return Groups(tuple(names), superclasses, known.text)


def _from_file(
    source: str, class_names: Sequence[str] | None, class_keys: Sequence[str] | None, classes: int
) -> Groups:
    path = Path(source).expanduser()
    if not path.is_file():
        hint = suggestion(source, SOURCES) or f" Known: {', '.join(SOURCES)}."
        raise UsageError(f"{source!r} is neither a file nor a source of superclasses.{hint}")
    said = _read_file(path)
    names = tuple(class_names) if class_names is not None else tuple(map(str, range(classes)))
    lines = ClassSet(len(said), tuple(said), what=str(path))
    superclasses = list(said.values())
    found: list[str | None] = []
    for place, name in enumerate(names):
        texts = [name] if class_keys is None else [name, class_keys[place]]
        matches = next((each for each in map(lines.matches, texts) if each), ())
        found.append(superclasses[matches[0]] if len(matches) == 1 else None)
    missing = [name for name, each in zip(names, found, strict=True) if each is None]
    if missing:
        raise UsageError(f"{path} has no superclass for {missing[0]!r}{_more(missing)}.")
    return Groups(names, tuple(each for each in found if each is not None), str(path))


def _read_file(path: Path) -> dict[str, str]:
    """A file's superclass of each class."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not a text file in UTF-8.") from None
    if path.suffix.lower() == ".json":
        try:
            found = json.loads(text)
        except ValueError as error:
            raise UsageError(f"{path} is not JSON: {error}.") from None
        if not isinstance(found, dict) or not all(
            isinstance(each, str) and each.strip() for each in found.values()
        ):
            raise UsageError(f'{path} is not a JSON object of {{"class": "superclass"}}.')
        rows = [(key, value) for key, value in found.items()]
    else:
        separator = "\t" if "\t" in text else ","
        rows = []
        for number, row in enumerate(csv.reader(text.splitlines(), delimiter=separator), start=1):
            if not row or not any(cell.strip() for cell in row):
                continue
            if len(row) != 2 or not all(cell.strip() for cell in row):
                raise UsageError(f"{path}, line {number}: not of the form class,superclass.")
            rows.append((row[0], row[1]))
    said: dict[str, str] = {}
    for name, superclass in ((one.strip(), other.strip()) for one, other in rows):
        if said.setdefault(name, superclass) != superclass:
            raise UsageError(f"{path} has two superclasses for {name!r}.")
    if not said:
        raise UsageError(f"{path} is empty; it should have lines class,superclass.")
    return said


def _more(missing: Sequence[object]) -> str:
    return f" and {len(missing) - 1} more" if len(missing) > 1 else ""


@cache
def _cuts() -> Mapping[str, Any]:
    text = (files("workbench.data") / "superclasses.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


@dataclass(frozen=True)
class _Noun:
    """A line of ``wordnet_classes.tsv``."""

    key: str
    imagenet: int | None
    tiny: int | None
    hypernyms: tuple[str, ...]
    words: str


@cache
def _nouns() -> Mapping[str, _Noun]:
    text = (files("workbench.data") / "wordnet_classes.tsv").read_text(encoding="utf-8")
    nouns = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            key, *places, hypernyms, words = line.split("\t")
            imagenet, tiny = (int(place) if place else None for place in places)
            nouns[key] = _Noun(key, imagenet, tiny, tuple(hypernyms.split()), words)
    return nouns


def wordnet_superclass(key: str) -> str:
    """The superclass of a noun by its id: the nearest at which the hierarchy is cut.

    >>> wordnet_superclass("n02088094")  # Afghan hound
    'dog'
    """
    groups: Mapping[str, list[str]] = _cuts()["wordnet"]
    cuts = {each: name for name, keys in groups.items() for each in keys}
    level = [key]
    while level:
        for cut, name in cuts.items():
            if cut in level:
                return name
        level = [above for each in level for above in _nouns()[each].hypernyms]
    raise ValueError(f"No superclass is above the noun {key}")


@cache
def _imagenet() -> KnownClasses:
    from workbench.models.published import imagenet_names

    nouns = sorted((noun for noun in _nouns().values() if noun.imagenet is not None),
                   key=lambda noun: noun.imagenet or 0)  # fmt: skip
    keys = tuple(noun.key for noun in nouns)
    return KnownClasses(
        imagenet_names(),
        tuple(map(wordnet_superclass, keys)),
        WORDNET_TEXT,
        keys,
        tuple(noun.words for noun in nouns),
    )


@cache
def _tiny_imagenet() -> KnownClasses:
    whole = _imagenet()
    nouns = sorted((noun for noun in _nouns().values() if noun.tiny is not None),
                   key=lambda noun: noun.tiny or 0)  # fmt: skip
    places = [noun.imagenet for noun in nouns if noun.imagenet is not None]
    return KnownClasses(
        tuple(whole.names[place] for place in places),
        tuple(whole.superclasses[place] for place in places),
        whole.text,
        tuple(noun.key for noun in nouns),
        tuple(noun.words for noun in nouns),
    )


@cache
def _stated(name: str, text: str, order: tuple[str, ...] | None = None) -> KnownClasses:
    """A set that stands in ``superclasses.toml``; in alphabetical order if no other is given."""
    above = {each: group for group, members in _cuts()[name].items() for each in members}
    names = order or tuple(sorted(above))
    return KnownClasses(names, tuple(above[each] for each in names), text)


SOURCES: Mapping[str, Callable[[], KnownClasses]] = {
    "cifar10": partial(_stated, "cifar10", "animals and vehicles: our choice"),
    "cifar100": partial(
        _stated, "cifar100", "the data set's own 20 coarse labels (Krizhevsky 2009)"
    ),
    "fashion-mnist": partial(
        _stated, "fashion-mnist", "where it is worn or carried: our choice", CLOTHES
    ),
    "imagenet": _imagenet,
    "tiny-imagenet": _tiny_imagenet,
}
"""Sets of classes whose superclasses are known, by name; the first that fits is taken."""
