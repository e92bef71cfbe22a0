"""Which models of a record are the same training with other seeds, and what rows are called."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.identity import canonical_json
from benchmarks.reading import Record

# What a checkpoint says of the epoch it is from, not of how it was trained.
_OUTCOMES = ("epoch", "error", "images", "loss", "validation_error", "validation_loss")
# Of `workbench.models.CheckpointMetadata`: what makes a training the same.
_SAME = (
    "arch",
    "channels",
    "classes",
    "input_size",
    "class_names",
    "bgr",
    "scale",
    "cifar_stem",
    "defenses",
    "trained_on_corruptions",
)
_LIBRARIES = ("torch", "torchvision", "workbench")  # other versions train alike


@dataclass(frozen=True)
class Row:
    """One line of a comparison: a model, or one training with several seeds.

    Attributes:
        name: unique in a comparison.
        models: the indices of its models in the record.
        seeds: of their trainings, where the checkpoints tell.
        architecture: or None where nothing tells it.
        defenses: the canonical specs of those it was trained with.
        parameters: how many numbers are trained, or None.
        trained_on: the test corruptions that it was trained on.
    """

    name: str
    models: tuple[int, ...]
    seeds: tuple[int, ...]
    architecture: str | None
    defenses: tuple[str, ...]
    parameters: int | None
    trained_on: tuple[str, ...]


def rows(record: Record, *, fold: bool = True) -> tuple[Row, ...]:
    """The models of a record in their order, replicates folded into one row at the first of them.

    Without ``fold`` each model is a row of its own.

    Replicates have the same architecture, defenses, settings and data of training (the whole of
    them: what is held out may depend on the seed), and all other seeds. Models that say nothing of
    their training are rows of their own.
    """
    described = _descriptions(record)
    groups: dict[str, list[int]] = {}
    for m, description in enumerate(described):
        identity = _identity(description) if fold else None
        groups.setdefault(identity or f"model {m}", []).append(m)
    folded: list[tuple[int, ...]] = []
    for group in groups.values():
        seeds = [_training(described[m]).get("seed") for m in group]
        together = len(set(seeds)) == len(group)  # twice the same seed: two epochs of one training
        folded += [tuple(group)] if together else [(m,) for m in group]
    folded.sort()
    names = _names(record.models, described, folded)
    return tuple(_row(name, group, described) for name, group in zip(names, folded, strict=True))


def _descriptions(record: Record) -> list[Mapping[str, Any]]:
    """What the record says of each of its models; nothing where it says it in another way."""
    entries = record.config.get("models")
    found: dict[str, Mapping[str, Any]] = {}
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, Mapping) and isinstance(entry.get("description"), Mapping):
            found[str(entry.get("name"))] = entry["description"]
    return [found.get(name, {}) for name in record.models]


def _training(description: Mapping[str, Any]) -> Mapping[str, Any]:
    """The metadata of one of our checkpoints; empty for any other."""
    training = description.get("training")
    return training if isinstance(training, Mapping) else {}


def _identity(description: Mapping[str, Any]) -> str | None:
    """The same text for replicates; None where the training is not known."""
    said = _training(description)
    data, settings = said.get("data"), said.get("training")
    if said.get("seed") is None or not isinstance(data, Mapping) or "whole_digest" not in data:
        return None
    settings = settings if isinstance(settings, Mapping) else {}
    versions = said.get("versions")
    versions = versions if isinstance(versions, Mapping) else {}
    return canonical_json(
        {
            **{key: said.get(key) for key in _SAME},
            "data": data["whole_digest"],
            "settings": {k: v for k, v in settings.items() if k not in _OUTCOMES},
            "packages": {k: v for k, v in versions.items() if k not in _LIBRARIES},
            "columns": description.get("columns"),
        }
    )


def _names(
    models: Sequence[str],
    described: Sequence[Mapping[str, Any]],
    folded: Sequence[tuple[int, ...]],
) -> list[str]:
    """Rows of one model go by its name, others by what they share, said as fully as it takes.

    Networks that a suite trains are called as it calls them, whether there is one seed or more.
    """
    names = [models[group[0]] for group in folded]
    several = [i for i, group in enumerate(folded) if len(group) > 1]
    for form in (_stem, _short, _full):
        for i in several:
            group = folded[i]
            names[i] = form([models[m] for m in group], [described[m] for m in group])
        counts = Counter(names)
        several = [i for i in several if not names[i] or counts[names[i]] > 1]
    for i in several:
        names[i] += f" [{models[folded[i][0]]} ...]"
    return names


def _stem(models: Sequence[str], described: Sequence[Mapping[str, Any]]) -> str:
    """What all are called before ", seed N", N being the seed of each; empty if they are not."""
    ends = [f", seed {_training(each).get('seed')}" for each in described]
    pairs = list(zip(models, ends, strict=True))
    stems = {model.removesuffix(end) for model, end in pairs}
    return stems.pop() if len(stems) == 1 and all(m.endswith(end) for m, end in pairs) else ""


def _short(models: Sequence[str], described: Sequence[Mapping[str, Any]]) -> str:
    defenses = [spec.partition("(")[0] for spec in _words(_training(described[0]), "defenses")]
    return ", ".join([str(_architecture(described[0])), *(defenses or ["plain"])])


def _full(models: Sequence[str], described: Sequence[Mapping[str, Any]]) -> str:
    defenses = _words(_training(described[0]), "defenses")
    return ", ".join([str(_architecture(described[0])), *(defenses or ["plain"])])


def _row(name: str, group: tuple[int, ...], described: Sequence[Mapping[str, Any]]) -> Row:
    first = described[group[0]]
    training = _training(first)
    parameters = first.get("parameters")
    seeds = [_training(described[m]).get("seed") for m in group]
    return Row(
        name=name,
        models=group,
        seeds=tuple(seed for seed in seeds if isinstance(seed, int)),
        architecture=_architecture(first),
        defenses=_words(training, "defenses"),
        parameters=parameters if isinstance(parameters, int) else None,
        trained_on=_words(training, "trained_on_corruptions"),
    )


def _architecture(description: Mapping[str, Any]) -> str | None:
    known = description.get("arch") or _training(description).get("arch")
    return str(known) if known else None


def _words(said: Mapping[str, Any], key: str) -> tuple[str, ...]:
    listed = said.get(key)
    return tuple(map(str, listed)) if isinstance(listed, list | tuple) else ()
