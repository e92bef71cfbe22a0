"""What a record says of itself, checked for its form: a record may come from anyone."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.reading import Record

NONE = type(None)

# A form is a type, a tuple of forms of which one holds, a list (each entry has its form), or a
# mapping by keys, of which those with a ? may be missing. Other keys may hold anything.
TEXTS = [str]
TRAINING = {
    "arch?": (str, NONE),
    "seed?": (int, NONE),
    "defenses?": (TEXTS, NONE),
    "trained_on_corruptions?": (TEXTS, NONE),
    "data?": (Mapping, NONE),
    "training?": (Mapping, NONE),
    "versions?": (Mapping, NONE),
}
FACTS = {"height?": int, "width?": int}
DESCRIPTION = {
    "arch?": (str, NONE),
    "parameters?": (int, NONE),
    "training?": (TRAINING, NONE),
    "reload?": ({"data?": (FACTS, NONE), "options?": (Mapping, NONE)}, NONE),
}
MODEL = {"name": str, "digest": str, "description?": (DESCRIPTION, NONE)}
LAYER = {"name": str, "layout": str, "height": int, "width": int, "prefix": int}
CONFIG = {
    "models": [MODEL],
    "attacks": [{"name": str, "spec": str, "target": (int, str, NONE), "seed": int}],
    "corruptions?": (
        [{"corruption": str, "severity": int, "description": Mapping}],
        NONE,
    ),
    "judge?": (MODEL, NONE),
    "baseline?": ({"name": str, "measured": bool, "source": str}, NONE),
    "attention?": (Mapping, NONE),
    "class_names?": (TEXTS, NONE),
    "examples": {"count": int, "digest": str},
    "source?": (Mapping, NONE),
    "joined?": ([{"name": str, "created": str, "device": str, "digest": str}], NONE),
}
TROUBLE = {
    "model": str,
    "attack": (str, NONE),
    "corruption?": (str, NONE),
    "severity?": (int, NONE),
}
CAUTION = {**TROUBLE, "code": str, "message": str}
FAILURE = {**TROUBLE, "start": int, "stop": int, "reason": str}


def check_form(record: "Record") -> None:
    """Refuse a record whose configuration, cautions or failures are not of the form we write.

    Raises:
        ValueError: it says which.
    """
    config: Any = record.config
    for key, form in CONFIG.items():
        if not fits(config, {key: form}):
            raise ValueError(
                f"{record.path} is damaged: {key.rstrip('?')} is not what it should be"
            )
    for key, names in (("models", record.models), ("attacks", record.attacks)):
        if tuple(entry["name"] for entry in config[key]) != names:
            raise ValueError(f"{record.path} is damaged: its configuration has other {key}")
    layers = config.get("attention") or {}
    known = all(each in record.models and fits(layers[each], LAYER) for each in layers)
    if bool(layers) != bool(record.attention) or not known:
        raise ValueError(f"{record.path} is damaged: attention is not what it should be")
    if record.corrupted and config.get("corruptions") is None:
        raise ValueError(f"{record.path} is damaged: its configuration has no corruptions")
    if record.judged and config.get("judge") is None:
        raise ValueError(f"{record.path} is damaged: its configuration has no judge")
    if not fits(record.versions, Mapping):
        raise ValueError(f"{record.path} is damaged: versions is not what it should be")
    for what, form, entries in (
        ("cautions", CAUTION, record.cautions),
        ("failures", FAILURE, record.failures),
    ):
        if not all(fits(each, form) and _of_record(record, each) for each in entries):
            raise ValueError(f"{record.path} is damaged: {what} is not what it should be")


def fits(value: Any, form: Any) -> bool:
    """Whether a JSON value has a form.

    >>> fits([{"name": "a"}], [{"name": str, "seed?": (int, NONE)}])
    True
    >>> fits([{"name": "a", "seed": "0"}], [{"name": str, "seed?": (int, NONE)}])
    False
    """
    if isinstance(form, tuple):
        return any(fits(value, each) for each in form)
    if isinstance(form, list):
        return isinstance(value, list) and all(fits(each, form[0]) for each in value)
    if isinstance(form, dict):
        return isinstance(value, Mapping) and all(
            fits(value[name], each) if name in value else name != key
            for key, each in form.items()
            for name in [key.removesuffix("?")]
        )
    return isinstance(value, form)


def _of_record(record: "Record", trouble: Mapping[str, Any]) -> bool:
    """Whether a caution or a failure is of a model and a condition that the record has."""
    corruption, severity = trouble.get("corruption"), trouble.get("severity")
    return (
        trouble["model"] in record.models
        and (trouble["attack"] is None or trouble["attack"] in record.attacks)
        and (corruption is None or corruption in record.axes.corruptions)
        and (corruption is None or severity in record.axes.severities)
    )
