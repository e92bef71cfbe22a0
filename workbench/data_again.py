"""The data that a record was measured on, loaded again from what it says of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks import Again, Corrupted
from workbench.corruptions import make_recipes
from workbench.datasets import Dataset, fit, load_dataset
from workbench.errors import UsageError
from workbench.models import LoadedModel
from workbench.stored_corruptions import stored_corruptions
from workbench.subjects import located, reload_model


def data_again(
    config: Mapping[str, Any], device: torch.device, *, trust: bool, look_in: Path | None
) -> Again:
    """Load the data of a record and prepare to corrupt them as it did. Nothing is downloaded.

    Args:
        config: the record's configuration.
        device: where to corrupt.
        trust: a model that needs code to be run may be loaded, to number the labels as it does.
        look_in: a folder to look for moved data and checkpoints in.

    Raises:
        ValueError: the record does not say what they are, or they are not there.
        OSError: a file cannot be read.
    """
    source = config.get("source")
    if not isinstance(source, Mapping):
        raise UsageError("the record does not say where they are")
    dataset = load_dataset(
        located(str(source["data"]), look_in),
        split=source["split"],
        download=False,
        label=source["label"],
    )
    loaded = _first_model(config, trust=trust, look_in=look_in)
    if loaded.model.input_size is not None:
        dataset = dataset.at_size(loaded.model.input_size[0])
    fitted = fit(dataset, loaded.model.classes, loaded.model.class_names, source["classes"])
    chosen = fitted.dataset.take(source["limit"])

    def corruption(name: str, severity: int) -> Corrupted:
        described = next(
            each["description"]
            for each in config["corruptions"]
            if (each["corruption"], each["severity"]) == (name, severity)
        )
        return _corruption(name, severity, described, source, chosen, device, look_in)

    return Again(chosen, corruption)


def _first_model(config: Mapping[str, Any], *, trust: bool, look_in: Path | None) -> LoadedModel:
    """A model of the record, with all its outputs: labels are numbered as they are."""
    why = "the record has no model"
    for entry in config["models"]:
        try:
            return reload_model(entry["description"], trust=trust, look_in=look_in)[0]
        except (ValueError, OSError) as error:
            why = f"{entry['name']}: {error}"
    raise UsageError(f"they need a model that numbers their labels; {why}")


def _corruption(
    name: str,
    severity: int,
    described: Mapping[str, Any],
    source: Mapping[str, Any],
    data: Dataset,
    device: torch.device,
    look_in: Path | None,
) -> Corrupted:
    if "stored" in described:
        if source.get("corrupted") is None:
            raise UsageError("the record does not say where the corrupted images are")
        folder = Path(located(str(source["corrupted"]), look_in))
        (made,) = stored_corruptions(folder, [name], [severity], data)
    else:
        try:
            (recipe,) = make_recipes(
                [name],
                [severity],
                seed=described["seed"],
                strengths=described["strengths"]
                if described["strengths"] in (32, 64, 224)
                else None,
                exact=described["exact"],
                jpeg85=described["jpeg85"],
                device=device,
            )
        except KeyError as error:
            raise UsageError(f"this release cannot corrupt so: {error}") from None
        made = recipe.corrupted
    if dict(made.description) != dict(described):
        raise UsageError("it was corrupted otherwise than can be done here, such as with textures")
    return made
