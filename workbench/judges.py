"""The judge that was asked for: a model that reads what attacks make, and is not attacked."""

from collections.abc import Mapping, Sequence
from typing import Any

from workbench.errors import UsageError, unknown
from workbench.option_texts import between_commas
from workbench.subjects import MODEL_SETTINGS, Options, Wanted, model_options, unique_names

TRUTHS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def wanted_judge(
    options: Options, models: Sequence[tuple[str, str]], attacks: Sequence[str] | None
) -> Wanted | None:
    """The model of ``--judge``, where one was asked for.

    Args:
        options: the parsed command line. What it says of the models holds for the judge too, but
            where ``--judge-options`` says what holds for the judge alone.
        models: checkpoint and name of each model that is attacked.
        attacks: what they are attacked with.

    Raises:
        UsageError: there is nothing to judge, it is one of the models, or what is said of it cannot
            be read.
    """
    checkpoint, said = options["judge"], options["judge_options"]
    if checkpoint is None:
        if said is not None:
            raise UsageError("--judge-options says what the judge is: name it with --judge.")
        return None
    if not attacks:
        raise UsageError("--judge reads what attacks make, and there is none: give --attack.")
    checkpoints = [each for each, _ in models]
    if checkpoint in checkpoints:
        raise UsageError(
            f"--judge {checkpoint} is attacked itself, so it is no independent judge.\n"
            "Give a model that is not: of other weights, or best of another architecture too."
        )
    name = unique_names([*dict.fromkeys(checkpoints), checkpoint])[-1]
    if name in {each for _, each in models}:
        name = checkpoint
    alone = options if said is None else {**options, **_settings(said)}
    return Wanted(checkpoint, name, model_options(alone))


def _settings(text: str) -> Mapping[str, Any]:
    """What ``--judge-options`` says, by the parameters of the flags; all else is not said."""
    found: dict[str, Any] = {name: False if bool in MODEL_SETTINGS[name] else None
                             for name in MODEL_SETTINGS}  # fmt: skip
    found["probabilities"] = None
    for part in _parts(text):
        written, equals, value = (each.strip() for each in part.partition("="))
        name = written.replace("-", "_")
        if name not in MODEL_SETTINGS:
            raise UsageError(f"--judge-options: {unknown('setting', written, MODEL_SETTINGS)}")
        if not (equals and value):
            raise UsageError(f"--judge-options: write {written}=VALUE, not {part}.")
        found[name] = _value(name, value)
    return found


def _parts(text: str) -> list[str]:
    """``mean=0.5,0.4, std=0.2`` has two: what has no name goes with what is before it."""
    parts: list[str] = []
    for part in between_commas(text):
        if parts and "=" not in part.partition("(")[0]:
            parts[-1] += f",{part}"
        else:
            parts.append(part)
    return [part for part in parts if part]


def _value(name: str, text: str) -> Any:
    kinds = MODEL_SETTINGS[name]
    try:
        if bool in kinds:
            return TRUTHS[text.lower()]
        return int(text) if int in kinds else text
    except (KeyError, ValueError):
        what = "true or false" if bool in kinds else "a whole number"
        raise UsageError(f"--judge-options: {name} is {what}, not {text}.") from None
