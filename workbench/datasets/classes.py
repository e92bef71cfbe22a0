"""Which classes, and which of a model's outputs they are.

Data and model may number their classes differently, or one may have more of them: 20 folders
shown to a 1000-class model, or 1000-class data to a model of 20. Everything here is a pure
function on names and numbers.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workbench.datasets.dataset import Dataset
from workbench.errors import UsageError, suggestion

Entries = Sequence[str | int]


@dataclass(frozen=True)
class ClassSet:
    """The classes of a data set or a model: how many, and what is known of their names.

    Attributes:
        count: number of classes.
        names: readable names; "tench, Tinca tinca" goes by either of its parts.
        keys: unambiguous keys such as WordNet ids.
        what: "the data" or "the model", for messages.

    """

    count: int
    names: tuple[str, ...] | None = None
    keys: tuple[str, ...] | None = None
    what: str = "the data"

    @cached_property
    def _known(self) -> tuple[Mapping[str, tuple[int, ...]], ...]:
        """Keys, full names and parts of names, each text with the classes it may mean."""
        names = self.names or ()
        return (
            _index((key, index) for index, key in enumerate(self.keys or ())),
            _index((name, index) for index, name in enumerate(names)),
            _index(
                (part, index) for index, name in enumerate(names) for part in set(name.split(","))
            ),
        )

    def matches(self, text: str) -> tuple[int, ...]:
        """Return the classes a name may mean: none, one, or several."""
        for table in self._known:
            found = table.get(_plain(text), ())
            if len(found) > 1 and self.names is not None:
                # ImageNet has a Cardigan, which is a dog, and a cardigan.
                same = tuple(index for index in found if self.names[index] == text)
                found = same if len(same) == 1 else found
            if found:
                return found
        return ()

    def find(self, entry: str | int) -> int:
        """Return the index of a class given by name, key or index; names win over indices.

        Raises:
            UsageError: no such class, or several.

        """
        matches = self.matches(entry) if isinstance(entry, str) else ()
        if len(matches) > 1:
            raise UsageError(
                f"The class name {entry!r} is shared by classes {_few(matches)} of {self.what}; "
                "use the index."
            )
        if matches:
            return matches[0]
        if str(entry).strip().isdecimal():
            if int(entry) < self.count:
                return int(entry)
            raise UsageError(f"There is no class {entry} in {self.what}: 0 … {self.count - 1}.")
        if self.names is None:
            raise UsageError(
                f"{self.what.capitalize()} has no class names; give {entry!r} as index."
            )
        known = [*(text for table in self._known for text in table), *self.names]
        hint = suggestion(_plain(str(entry)), known) or f" There are {_few(self.names)}"
        raise UsageError(f"There is no class {entry!r} in {self.what}.{hint}")


@dataclass(frozen=True)
class Alignment:
    """How the data's labels become indices of the (possibly cut) logits.

    Attributes:
        label_map: int64 (data classes,), the new label of each class, or -1: its images are left
            out.
        columns: the model outputs that are kept, in the order of the new labels; None keeps all.
        notices: what was inferred.

    """

    label_map: NDArray[np.int64]
    columns: tuple[int, ...] | None = None
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fitted:
    """A data set whose labels are a model's, and the model outputs to keep (None: all)."""

    dataset: Dataset
    columns: tuple[int, ...] | None = None
    notices: tuple[str, ...] = ()


def select(dataset: Dataset, classes: str | Entries) -> Dataset:
    """Keep the images of some classes, which become labels 0 … n-1 in the order given.

    Args:
        dataset: any data set.
        classes: names or indices: a list, a text `cat,dog,5`, or a file with one on each line.

    Returns:
        The subset; its ``columns`` say which classes of the whole they were.

    Raises:
        UsageError: unknown, ambiguous or repeated classes, or none of their images is here.

    """
    known = ClassSet(dataset.classes, dataset.class_names, dataset.class_keys)
    chosen = _chosen(known, parse_classes(classes))
    whole = dataset.columns or range(dataset.classes)
    label_map = np.full(dataset.classes, -1, dtype=np.int64)
    label_map[chosen] = np.arange(len(chosen))
    return replace(
        _relabelled(dataset, label_map, len(chosen)),
        columns=tuple(whole[index] for index in chosen),
        columns_of=_whole_count(dataset),
    )


def fit(
    dataset: Dataset,
    model_classes: int,
    model_names: Sequence[str] | None = None,
    classes: str | Entries | None = None,
) -> Fitted:
    """Make the labels of a data set those of a model, leaving out images it has no class for.

    Args:
        dataset: any data set.
        model_classes: number of the model's outputs.
        model_names: their names, if known.
        classes: see `align`.

    Raises:
        UsageError: the two cannot be matched; the message says what to give.

    """
    names = tuple(model_names) if model_names is not None else None
    if dataset.open_ended and classes is None:
        if dataset.classes > model_classes:
            raise UsageError(
                f"{dataset.name} has the label {dataset.classes - 1}, but the model has only "
                f"{model_classes} classes."
            )
        return Fitted(replace(dataset, classes=model_classes, class_names=names, open_ended=False))
    data = ClassSet(dataset.classes, dataset.class_names, dataset.class_keys)
    model = ClassSet(model_classes, names, what="the model")
    columns = dataset.columns if dataset.columns_of in (None, model_classes) else None
    alignment = align(data, model, classes, columns=columns)
    count = len(alignment.columns) if alignment.columns is not None else model_classes
    if count < 2:
        raise UsageError(
            "A model cut to one class cannot be wrong; keep two or more classes with --classes."
        )
    fitted = _relabelled(dataset, alignment.label_map, count)
    if alignment.columns is None and names is not None and fitted.class_names is None:
        fitted = replace(fitted, class_names=names)
    return Fitted(fitted, alignment.columns, alignment.notices)


def align(
    data: ClassSet,
    model: ClassSet,
    classes: str | Entries | None = None,
    *,
    columns: Sequence[int] | None = None,
) -> Alignment:
    """Match the data's classes to the model's outputs.

    Without ``classes``: equal numbers match by name where both sides have the same names, else in
    order; unequal numbers match by name or WordNet id, else by ``columns``. With ``classes``:

    - names or indices of data classes keep those alone; the model's outputs are cut likewise,
      unless the model has just that many;
    - where the model has more classes than the data, as many indices or names as the data have
      classes are the model's, in the data's order;
    - entries `name=index` pair a data class with a model output.

    Args:
        data: classes of the data.
        model: classes of the model.
        classes: as above; a list, a text with commas, or a file with one entry on each line.
        columns: the model outputs of the data's classes where these were selected from a larger
            set of the model's own numbering (`Dataset.columns`).

    Raises:
        UsageError: no match, or a doubtful one.

    """
    if classes is None:
        outputs, notices = _outputs(data, model, range(data.count), columns)
        return _alignment(data, model, outputs, notices)
    entries = parse_classes(classes)
    pairs = [str(entry).rpartition("=") for entry in entries]
    if all(separator and index.strip().isdecimal() for _, separator, index in pairs):
        chosen = _chosen(data, [name for name, _, _ in pairs])
        paired = _chosen(model, [int(index) for _, _, index in pairs])
        return _alignment(data, model, dict(zip(chosen, paired, strict=True)), ())
    if model.count > data.count and len(entries) == data.count and _of_model(entries, data, model):
        return _alignment(data, model, dict(enumerate(_chosen(model, entries))), ())
    chosen = _chosen(data, entries)
    if len(chosen) == model.count:
        return _alignment(data, model, dict(zip(chosen, range(len(chosen)), strict=True)), ())
    outputs, notices = _outputs(data, model, chosen, columns)
    return _alignment(data, model, outputs, notices)


def parse_classes(classes: str | Entries) -> list[str | int]:
    """Split a list of classes: a list, a text with commas, or a file with one on each line."""
    if isinstance(classes, str):
        path = Path(classes).expanduser()
        if "," not in classes and path.is_file():
            lines = path.read_text(encoding="utf-8").splitlines()
            entries: list[str | int] = [line.partition("#")[0].strip() for line in lines]
        else:
            entries = [part.strip() for part in classes.split(",")]
    else:
        entries = list(classes)
    entries = [entry for entry in entries if entry != ""]
    if not entries:
        raise UsageError(
            f"{classes!r} names no class; write them with commas, or one on each line."
        )
    return entries


def _outputs(
    data: ClassSet, model: ClassSet, chosen: Sequence[int], columns: Sequence[int] | None
) -> tuple[dict[int, int], tuple[str, ...]]:
    """The model output of each chosen data class, found by names, else by number."""
    matched, notices = _by_name(data, model)
    wanted = {index: matched[index] for index in chosen if index in matched}
    everything = set(range(data.count))
    if data.count == model.count:
        if set(matched) != everything:
            return {index: index for index in chosen}, ()
        if any(index != output for index, output in matched.items()):
            notices = ("The model numbers the classes differently; they are matched by name.",)
        return wanted, notices
    if len(wanted) == len(chosen) or (data.count > model.count and len(matched) == model.count):
        return wanted, notices
    if columns is not None and max(columns) < model.count:
        return {index: columns[index] for index in chosen}, ()
    if data.count > model.count:
        raise UsageError(
            f"The data have {data.count} classes and the model {model.count}, and they cannot be "
            f"matched by name; give --classes with the {model.count} data classes in the model's "
            "order."
        )
    unmatched = [index for index in chosen if index not in matched]
    shown = [data.names[index] if data.names else index for index in unmatched]
    raise UsageError(
        f"The model has {model.count} classes and the data {data.count}, and {len(unmatched)} of "
        f"these cannot be matched by name ({_few(shown)}); give --classes with name=index for "
        f"each, or {data.count} indices of model outputs in the data's order."
    )


def _by_name(data: ClassSet, model: ClassSet) -> tuple[dict[int, int], tuple[str, ...]]:
    """Match one to one by names and keys: {data class: model output}, and notices."""
    if data.names is not None and data.names == model.names:
        return {index: index for index in range(data.count)}, ()
    notices: tuple[str, ...] = ()
    if model.count == 1000 and model.keys is None:
        wnids, names = _imagenet()
        known = set(wnids)
        if any(text in known for text in [*(data.keys or ()), *(data.names or ())]):
            if model.names is None:
                model = replace(model, names=names, keys=wnids)
                notices = (
                    "The model's 1000 outputs are taken to be ImageNet's, in its usual order.",
                )
            elif _same_ends(model.names, names):
                model = replace(model, keys=wnids)
    found: dict[int, int] = {}
    for index in range(data.count):
        texts = [names[index] for names in (data.keys, data.names) if names is not None]
        for text in texts:
            matches = model.matches(text)
            if len(matches) == 1:
                found[index] = matches[0]
                break
    outputs = list(found.values())
    return {index: out for index, out in found.items() if outputs.count(out) == 1}, notices


def _alignment(
    data: ClassSet, model: ClassSet, outputs: Mapping[int, int], notices: tuple[str, ...]
) -> Alignment:
    label_map = np.full(data.count, -1, dtype=np.int64)
    if sorted(outputs.values()) == list(range(model.count)):
        for index, output in outputs.items():
            label_map[index] = output
        return Alignment(label_map, None, notices)
    label_map[list(outputs)] = np.arange(len(outputs))
    return Alignment(label_map, tuple(outputs.values()), notices)


def _relabelled(dataset: Dataset, label_map: NDArray[np.int64], count: int) -> Dataset:
    """Map the labels, dropping images whose class maps to -1."""
    labels = label_map[dataset.labels]
    rows = np.flatnonzero(labels >= 0)
    if not len(rows):
        raise UsageError(f"{dataset.name} has no image of the chosen classes.")
    kept = dataset if len(rows) == len(dataset) else dataset.subset(rows)
    return replace(
        kept,
        labels=labels[rows],
        classes=count,
        class_names=_permuted(dataset.class_names, label_map, count),
        class_keys=_permuted(dataset.class_keys, label_map, count),
        columns=None,
        columns_of=None,
        open_ended=False,
    )


def _whole_count(dataset: Dataset) -> int | None:
    if dataset.columns is not None:
        return dataset.columns_of
    return None if dataset.open_ended else dataset.classes


def _permuted(
    names: tuple[str, ...] | None, label_map: NDArray[np.int64], count: int
) -> tuple[str, ...] | None:
    if names is None:
        return None
    new = {int(label): name for name, label in zip(names, label_map, strict=True) if label >= 0}
    return tuple(new.get(label, str(label)) for label in range(count))


def _of_model(entries: Entries, data: ClassSet, model: ClassSet) -> bool:
    """Whether entries are the model's classes rather than names of the data's."""
    texts = [entry for entry in entries if isinstance(entry, str) and not entry.isdecimal()]
    return not any(data.matches(text) for text in texts) and (
        len(texts) < len(entries) or all(model.matches(text) for text in texts)
    )


def _chosen(known: ClassSet, entries: Entries) -> list[int]:
    chosen = [known.find(entry) for entry in entries]
    repeated = {index for index in chosen if chosen.count(index) > 1}
    if repeated:
        raise UsageError(f"--classes names class {_few(sorted(repeated))} of {known.what} twice.")
    return chosen


def _imagenet() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """WordNet ids and names of ImageNet's 1000 classes, from timm's tables."""
    from timm.data import ImageNetInfo

    info = ImageNetInfo("imagenet-1k")
    wnids = tuple(str(wnid) for wnid in info.label_names())
    return wnids, tuple(str(info.index_to_description(index)) for index in range(len(wnids)))


def _same_ends(names: Sequence[str], imagenet: Sequence[str]) -> bool:
    """Whether names are ImageNet's in its order, told by the first and the last of them."""
    firsts = [
        [_plain(text.split(",", 1)[0]) for text in (of[0], of[-1])] for of in (names, imagenet)
    ]
    return firsts[0] == firsts[1]


def _index(pairs: Iterable[tuple[str, int]]) -> Mapping[str, tuple[int, ...]]:
    table: dict[str, tuple[int, ...]] = {}
    for text, index in pairs:
        if index not in table.get(_plain(text), ()):
            table[_plain(text)] = (*table.get(_plain(text), ()), index)
    return table


def _plain(text: str) -> str:
    """Compare names without case, underscores, hyphens and outer blanks."""
    return " ".join(text.casefold().replace("_", " ").replace("-", " ").split())


def _few(items: Sequence[object]) -> str:
    return ", ".join(str(item) for item in items[:4]) + (" …" if len(items) > 4 else "")
