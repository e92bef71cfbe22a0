"""The view ``attributions``: heat maps of the pixels that answers depend on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.attention import logits_and_maps
from benchmarks.attributions import (
    CaptumMissingError,
    Integrated,
    half_mass_share,
    integrated_gradients,
    saliency,
)
from benchmarks.layers import SpatialLayer, spatial_layer
from workbench.drawing.maps import overlaid
from workbench.drawing.numbers import UNKNOWN, number_text
from workbench.errors import UsageError, unknown
from workbench.exhibits import Exhibit, Table
from workbench.explain.attribution_figure import Block, Figure, Said, attribution_drawing
from workbench.explain.images import (
    Answers,
    Condition,
    Shown,
    answers,
    conditions,
    short_name,
    shown_images,
    under,
)
from workbench.explain.viewed import Viewed, ViewedModel
from workbench.figures import as_picture
from workbench.run_directory import slug

METHODS: Mapping[str, str] = {
    "saliency": "saliency",
    "integrated-gradients": "integrated gradients",
    "grad-cam": "Grad-CAM",
}
"""What each method is called in figures."""
SALIENCY, INTEGRATED, GRAD_CAM = METHODS
EXPLAINED = ("guess", "label")

WIDE_GAP = 0.05  # of the difference: integrated gradients that miss more are warned of
FULL = 0.99  # quantile of a map that gets the strongest colour (Smilkov et al. 2017, section 3.2)


@dataclass(frozen=True)
class Explained:
    """What was found for one model's answers to N images under one condition.

    Attributes:
        images: float32 (N, C, H, W), as the model saw them.
        classes: int64 (N,), whose logits the maps follow.
        maps: by method, float32 (N, H, W), at least 0.
        integrated: with the gap, where integrated gradients were asked for.
    """

    images: Tensor
    answers: Answers
    classes: Tensor
    maps: Mapping[str, Tensor]
    integrated: Integrated | None


@dataclass(frozen=True)
class Column:
    """One column of a figure: an image of those shown under a condition."""

    image: int
    condition: Condition
    heading: tuple[str, str]


Found = Mapping[tuple[int, Condition], Explained]
"""By the model's number and the condition."""


def attributions(viewed: Viewed) -> list[Exhibit]:
    """Which pixels answers depend on: saliency, integrated gradients and Grad-CAM.

    Raises:
        UsageError: a method is unknown or cannot be had, or a model gives no gradient.
    """
    methods = _methods(viewed)
    shown = shown_images(viewed)
    groups = conditions(viewed)
    todo = list(dict.fromkeys(condition for group in groups for condition in group))
    found: dict[tuple[int, Condition], Explained] = {}
    left_out: list[str] = []
    total = len(viewed.models) * len(todo) * len(shown.rows)
    with viewed.console.progress(total, unit="images", description="attributions") as progress:
        for number, model in enumerate(viewed.models):
            mine, reason = _for_model(methods, model, shown.images[:1])
            left_out += [reason] if reason else []
            for condition in todo:
                images = under(viewed, shown, condition)
                try:
                    found[number, condition] = _explained(viewed, model, images, shown, mine)
                except ValueError as error:
                    raise UsageError(
                        f"{model.label}: {error}, so there is nothing to draw."
                    ) from error
                progress.advance(len(images))
    note = " ".join([_note(viewed, methods), *left_out])
    _warn_of_gaps(viewed, found)
    return [
        _exhibit(viewed, shown, name, title, columns, found, note)
        for name, title, columns in _figures(viewed, shown, groups)
    ]


def _methods(viewed: Viewed) -> tuple[str, ...]:
    asked = viewed.asked.methods
    for name in asked:
        if name not in METHODS:
            raise unknown("method", name, METHODS)
    if viewed.asked.explained not in EXPLAINED:
        raise unknown("class to explain", viewed.asked.explained, EXPLAINED)
    try:
        import captum.attr  # noqa: F401
    except ImportError:
        missing = str(CaptumMissingError())
        if INTEGRATED in asked:
            raise UsageError(missing) from None
        if not asked:
            viewed.console.note(f"{missing} They are left out.")
        return asked or (SALIENCY, GRAD_CAM)
    return asked or tuple(METHODS)


def _for_model(
    methods: Sequence[str], model: ViewedModel, sample: Tensor
) -> tuple[dict[str, SpatialLayer | None], str]:
    """The methods that a model can be asked by, with their layer, and why one is left out."""
    found: dict[str, SpatialLayer | None] = dict.fromkeys(methods)
    if GRAD_CAM not in methods:
        return found, ""
    try:
        # Two images: what is the same length as the batch is no batch by chance.
        found[GRAD_CAM] = spatial_layer(model.classifier, sample.expand(2, -1, -1, -1))
    except ValueError as error:
        reason = f"{model.label} has no Grad-CAM: {error}."
        del found[GRAD_CAM]
        if not found:
            raise UsageError(f"{reason}\nAsk for --methods saliency.") from None
        return found, reason
    return found, ""


def _explained(
    viewed: Viewed,
    model: ViewedModel,
    images: Tensor,
    shown: Shown,
    methods: Mapping[str, SpatialLayer | None],
) -> Explained:
    said = answers(viewed, model, images)
    labels = torch.from_numpy(shown.labels).to(images.device)
    classes = said.guesses if viewed.asked.explained == "guess" else labels
    maps: dict[str, Tensor] = {}
    integrated = None
    for method, layer in methods.items():
        if method == SALIENCY:
            found = saliency(model.classifier, images, classes, batch_size=viewed.batch_size)
        elif method == INTEGRATED:
            integrated = integrated_gradients(
                model.classifier,
                images,
                classes,
                steps=viewed.asked.steps,
                batch_size=viewed.batch_size,
            )
            found = integrated.attributions.sum(dim=1).abs()
        else:
            if layer is None:
                raise ValueError("Grad-CAM needs a layer")
            _, small = logits_and_maps(model.classifier, images, classes, layer, viewed.batch_size)
            found = F.interpolate(
                small.unsqueeze(1), images.shape[2:], mode="bilinear", align_corners=False
            ).squeeze(1)
        maps[method] = found.cpu()
    return Explained(images.cpu(), said, classes.cpu(), maps, integrated)


def _figures(
    viewed: Viewed, shown: Shown, groups: Sequence[Sequence[Condition]]
) -> list[tuple[str, str, list[Column]]]:
    """The name, the title and the columns of each figure.

    Without corruptions one figure shows all images; else each image has one for each corruption.
    """
    names = [
        (f"image {row}", short_name(viewed, int(label)))
        for row, label in zip(shown.rows, shown.labels, strict=True)
    ]
    if groups == [[Condition()]]:
        columns = [Column(number, Condition(), name) for number, name in enumerate(names)]
        return [("attributions", "Where models look", columns)]
    return [
        (
            f"attributions-{row}-{slug(str(group[-1].corruption)).replace('_', '-')}",
            f"Where models look: {text} ({truth}) under {group[-1].named}",
            [Column(number, each, _heading(each, truth)) for each in group],
        )
        for number, (row, (text, truth)) in enumerate(zip(shown.rows, names, strict=True))
        for group in groups
    ]


def _heading(condition: Condition, truth: str) -> tuple[str, str]:
    """Two lines above a column: the clean image is called by its class."""
    if condition.corruption is None:
        return condition.named, truth
    return condition.named, f"severity {condition.severity}"


def _exhibit(
    viewed: Viewed,
    shown: Shown,
    name: str,
    title: str,
    columns: Sequence[Column],
    found: Found,
    note: str,
) -> Exhibit:
    blocks, lines, told, spoken = [], [], [], []
    many = any(column.condition.corruption for column in columns)
    methods = [each for each in METHODS if any(each in one.maps for one in found.values())]
    for number, model in enumerate(viewed.models):
        mine = [found[number, column.condition] for column in columns]
        measured = [
            _measured(one, column.image, shown) for one, column in zip(mine, columns, strict=True)
        ]
        said = [_said(viewed, each) for each in measured]
        rows = tuple(
            (METHODS[method], tuple(map(_heat, mine, [method] * len(mine), columns)))
            for method in methods
            if method in mine[0].maps
        )
        blocks.append(Block(model.place, model.label, rows, tuple(said)))
        for column, numbers, words in zip(columns, measured, said, strict=True):
            where = column.condition.text if many else " ".join(column.heading)
            lines.append(_line(model.label, where, words, numbers, methods))
            told.append({"model": model.label, "condition": column.condition.text, **numbers})
            spoken.append(f"{model.label}, {where}: {words.name} {words.confidence}")
    images = [found[0, column.condition].images[column.image] for column in columns]
    figure = Figure(
        tuple(column.heading for column in columns),
        tuple(as_picture(image.numpy()) for image in images),
        tuple(blocks),
    )
    halves = [f"half of {METHODS[method]} in" for method in methods]
    headings = ("model", "under" if many else "image", "says", "confidence", *halves, "gap")
    gaps = INTEGRATED in methods
    return Exhibit(
        name=name,
        title=title,
        note=note,
        drawing=attribution_drawing(figure),
        words=f"Heat maps of {', '.join(METHODS[each] for each in methods)}. {'; '.join(spoken)}.",
        table=Table(
            headings[: None if gaps else -1], tuple(x[: None if gaps else -1] for x in lines)
        ),
        numbers={
            "explained": viewed.asked.explained,
            "baseline": "black" if gaps else None,
            "steps": viewed.asked.steps if gaps else None,
            "answers": told,
        },
    )


def _measured(one: Explained, image: int, shown: Shown) -> dict[str, Any]:
    """The numbers of one image under one condition."""
    integrated = one.integrated
    return {
        "row": int(shown.rows[image]),
        "label": int(shown.labels[image]),
        "guess": int(one.answers.guesses[image]),
        "confidence": float(one.answers.confidences[image]),
        "explained": int(one.classes[image]),
        "half_mass_share": {
            method: float(half_mass_share(maps[image : image + 1]))
            for method, maps in one.maps.items()
        },
        "integrated": None
        if integrated is None
        else {
            "logit_difference": float(integrated.difference[image]),
            "sum": float(integrated.attributions[image].sum()),
            "relative_gap": float(integrated.relative_gap[image]),
        },
    }


def _said(viewed: Viewed, numbers: Mapping[str, Any]) -> Said:
    return Said(
        short_name(viewed, numbers["guess"]),
        number_text(numbers["confidence"], "percent"),
        numbers["guess"] == numbers["label"],
    )


def _line(
    label: str, where: str, said: Said, numbers: Mapping[str, Any], methods: Sequence[str]
) -> tuple[str, ...]:
    shares, integrated = numbers["half_mass_share"], numbers["integrated"]
    halves = [number_text(shares.get(method), "percent") for method in methods]
    gap = UNKNOWN if integrated is None else number_text(integrated["relative_gap"], "percent")
    says = said.name if said.right else f"{said.name} (wrong)"
    return (label, where, says, said.confidence, *halves, gap)


def _heat(one: Explained, method: str, column: Column) -> NDArray[np.uint8]:
    heat = one.maps[method][column.image].double().numpy()
    full = float(np.quantile(heat, FULL)) or float(heat.max()) or 1.0
    return overlaid(one.images[column.image].double().numpy(), heat / full)


def _note(viewed: Viewed, methods: Sequence[str]) -> str:
    whose = "the model's guess" if viewed.asked.explained == "guess" else "the true class"
    note = (
        f"Each map follows the logit of {whose}; below each column, what the model says (orange "
        "where it is wrong). Colours of a map go up to its 99th percentile."
    )
    if INTEGRATED in methods:
        note += (
            f" Integrated gradients start from black, in {viewed.asked.steps} steps; the gap is "
            "how far their sum is from the difference of the logits, of that difference."
        )
    return f"{note} “Half in”: the smallest share of the pixels that holds half of a map."


def _warn_of_gaps(viewed: Viewed, found: Found) -> None:
    for number, model in enumerate(viewed.models):
        gaps = torch.cat(
            [
                one.integrated.relative_gap.cpu()
                for (place, _), one in found.items()
                if place == number and one.integrated is not None
            ]
            or [torch.zeros(0)]
        )
        wide = int((gaps > WIDE_GAP).sum())
        if wide:
            viewed.console.warn(
                f"integrated gradients of {model.label} miss more than {WIDE_GAP:.0%} of the "
                f"logit's difference on {wide} of {len(gaps)} images (up to "
                f"{float(gaps.max()):.0%}); take more --ig-steps."
            )
