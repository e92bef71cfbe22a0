"""Kept images as small pictures in the page: original, result and difference."""

import base64
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import Record
from workbench.figures import TIMES, amplified, as_picture, percent
from workbench.report.rows import Row
from workbench.tables import short_spec

LARGEST = 112  # pixels of a side; larger images are reduced to it
MOST_CASES = 160  # in the report: at 112 pixels, three pictures of 20 kB each, about 10 MB
MOST_EACH = 4  # of a model under an attack
PIXELATED = 64  # images up to so many pixels are shown with square pixels


@dataclass(frozen=True)
class Picture:
    """One image: a data URI, and what it shows."""

    source: str
    alt: str


@dataclass(frozen=True)
class Case:
    """One attacked image: three pictures, and what the model says of the first two."""

    original: Picture
    result: Picture
    difference: Picture
    before: str
    after: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Strip:
    """The cases of one model."""

    row: int
    model: str
    cases: tuple[Case, ...]


@dataclass(frozen=True)
class Gallery:
    """The strips of one attack."""

    attack: str
    strips: tuple[Strip, ...]
    pixelated: bool


def galleries(record: Record, rows: Sequence[Row]) -> list[Gallery]:
    """One gallery for each attack with kept images; the first model of replicates stands for them.

    Raises:
        OSError: the record cannot be read any more.
    """
    if not len(record.kept):
        return []
    each = max(1, min(MOST_EACH, MOST_CASES // max(1, len(rows) * len(record.attacks))))
    found = []
    for a, attack in enumerate(record.attacks):
        strips, side = [], 0
        for row in rows:
            kept = record.images(row.models[0], a)
            side = max(side, *kept.original.shape[2:], 0)
            cases = tuple(_cases(record, row.models[0], a, kept, each))
            if cases:
                strips.append(Strip(row.place, record.models[row.models[0]], cases))
        if strips:
            found.append(Gallery(short_spec(attack), tuple(strips), side <= PIXELATED))
    return found


def _cases(record: Record, m: int, a: int, kept: Any, most: int) -> Iterator[Case]:
    """The first that were fooled, then others."""
    success = record.attacked["success"][m, a, kept.rows] == 1
    order = np.argsort(~success, kind="stable")[:most]
    for place in order.tolist():
        row = int(kept.rows[place])
        clean, attacked = record.clean, record.attacked
        before = _said(record, clean["prediction"][m, row], clean["confidence"][m, row])
        after = _said(record, attacked["prediction"][m, a, row], attacked["confidence"][m, a, row])
        truth = _name(record, clean["label"][m, row])
        original, result = kept.original[place], kept.result[place]
        changed, factor = amplified(original, result)
        steps = int(attacked["steps"][m, a, row])
        amount = "unchanged" if math.isinf(factor) else f"{TIMES} {factor:.3g}"
        notes = [f"{amount}, {steps} step{'' if steps == 1 else 's'}"]
        notes += [] if clean["right"][m, row] == 1 else [f"is {truth}"]
        notes += [] if success[place] else ["goal not reached"]
        if record.judged and record.judged["prediction"][m, a, row] >= 0:
            read = (record.judged[each][m, a, row] for each in ("prediction", "confidence"))
            notes.append(f"judge: {_said(record, *read)}")
        yield Case(
            Picture(_uri(original), f"Original, {truth}; the model says {before}"),
            Picture(_uri(result), f"After the attack; the model says {after}"),
            Picture(_uri(changed), f"Difference around grey, {amount}"),
            before,
            after,
            tuple(notes),
        )


def _said(record: Record, prediction: Any, confidence: Any) -> str:
    return f"{_name(record, prediction)} {percent(float(confidence))}"


def _name(record: Record, index: Any) -> str:
    names: Any = record.config.get("class_names")
    known = isinstance(names, list) and 0 <= int(index) < len(names)
    return str(names[int(index)]).split(",", 1)[0] if known else f"class {int(index)}"


def _uri(image: NDArray[Any]) -> str:
    """The image as a PNG in a data URI; images of other than 1 or 3 channels by their mean."""
    from PIL import Image

    array = np.asarray(image, np.float64)
    if array.shape[0] not in (1, 3):
        array = array.mean(axis=0, keepdims=True)
    picture = Image.fromarray(as_picture(array))
    if max(picture.size) > LARGEST:
        picture.thumbnail((LARGEST, LARGEST), Image.Resampling.BOX)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
