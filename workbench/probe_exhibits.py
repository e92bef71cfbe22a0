"""What a sweep shows: tables and figures for people, and the same for a JSON document."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.columns import Array
from benchmarks.sweep_files import read_sweep
from benchmarks.sweep_numbers import Sweep, summary
from workbench.console import Console
from workbench.drawing.numbers import PERCENT, interval_text, number_text, share_text
from workbench.exhibits import Exhibit, Table, show_exhibits
from workbench.probe_figures import curve_drawing, strip_drawing

REDUCED = "Pictures of more than 191 pixels are reduced here; the record has them whole. "
BEHIND = (
    "The model got values that are not clipped; the pictures are these turned back into images, "
    "and clipped."
)


def sweep_exhibits(
    found: Sweep, numbers: Mapping[str, Array], *, draw: bool = True
) -> list[Exhibit]:
    """Of each shown image a strip and a table a model; then a curve and a table over all images.

    Args:
        found: the sweep.
        numbers: its `summary`.
        draw: whether figures are wanted besides the tables.
    """
    exhibits: list[Exhibit] = []
    for image in range(found.shown.shape[1]):
        exhibits += _of_image(found, image, draw=draw)
    drawing, words = curve_drawing(found, dict(numbers)) if draw else (None, "")
    exhibits.append(
        Exhibit(
            name="curve",
            title=f"{found.dial}, over {_counted(found)}",
            note=_note(found),
            drawing=drawing,
            words=words,
            numbers={"summary": list(_summary_documents(found, numbers))},
        )
    )
    for m, model in enumerate(found.models if found.resampled else ()):
        exhibits.append(
            Exhibit(
                name=f"summary-{m + 1}",
                title=f"{found.dial}, over {_counted(found)}; {model}",
                note=_note(found) if m + 1 == len(found.models) else "",
                table=_summary_table(found, numbers, m),
            )
        )
    return exhibits


def sweep_document(found: Sweep, numbers: Mapping[str, Array]) -> dict[str, Any]:
    """A sweep as JSON values: the dial, the shown images one by one, the numbers over all."""
    return {
        "dial": {"name": found.dial, "axis": found.axis, "values": found.values.tolist()},
        "models": list(found.models),
        "images": len(found.ids),
        "draws": found.true_rank.shape[2],
        "shown": list(_image_documents(found)),
        "summary": list(_summary_documents(found, numbers)),
    }


def show_sweep(path: Path, console: Console) -> None:
    """Say what a record of `workbench probe` holds, its sums checked.

    Raises:
        ValueError: it is damaged.
        OSError: it cannot be opened.
    """
    record = read_sweep(path)
    found = record.sweep
    numbers = summary(found, record.seed)
    console.show(
        f"made: {record.created}, on {record.device}, seed {record.seed}; complete",
        f"dial: {found.dial} ({found.axis}), at {', '.join(found.position_labels)}",
        f"models: {', '.join(found.models)}",
        f"images: {_counted(found)}",
    )
    show_exhibits(sweep_exhibits(found, numbers, draw=False), console)
    console.essential(str(path))
    console.document(
        {
            "record": str(path),
            "created": record.created,
            "device": record.device,
            "seed": record.seed,
            "versions": dict(record.versions),
            "config": dict(record.config),
            **sweep_document(found, numbers),
        }
    )


def _summary_documents(found: Sweep, numbers: Mapping[str, Array]) -> Iterator[dict[str, Any]]:
    """The numbers over all images, one for each model and position."""
    for m, model in enumerate(found.models):
        for p, value in enumerate(found.values):
            yield {
                "model": model,
                "value": float(value),
                **{name: values[m, p].tolist() for name, values in numbers.items()},
            }


def _image_documents(found: Sweep) -> Iterator[dict[str, Any]]:
    """What each model answered about the shown images, classes by number and name."""
    for n in range(found.shown.shape[1]):
        label = int(found.labels[n])
        yield {
            "id": int(found.ids[n]),
            "label": None if label < 0 else _class(found, label),
            "models": [
                {
                    "model": model,
                    "true_class": _class(found, int(found.true_class[m, n])),
                    "draws": [
                        [_answer(found, (m, n, d, p)) for p in range(len(found.values))]
                        for d in range(found.true_rank.shape[2])
                    ],
                }
                for m, model in enumerate(found.models)
            ],
        }


def _answer(found: Sweep, at: tuple[int, int, int, int]) -> dict[str, Any]:
    inside = int(found.inside[at])
    return {
        "value": float(found.values[at[3]]),
        "top": [
            {**_class(found, int(each)), "probability": float(probability)}
            for each, probability in zip(found.top[at], found.probability[at], strict=True)
        ],
        "true_confidence": float(found.true_confidence[at]),
        "true_rank": int(found.true_rank[at]),
        "right": bool(found.right[at]),
        "inside_superclass": bool(inside) if found.superclasses is not None else None,
    }


def _class(found: Sweep, number: int) -> dict[str, Any]:
    told: dict[str, Any] = {"index": number, "name": found.class_names[number]}
    if found.superclasses is not None:
        told["superclass"] = found.superclasses[number]
    return told


def _of_image(found: Sweep, image: int, *, draw: bool) -> Iterator[Exhibit]:
    about = f"{found.dial}, image {image + 1}"
    if draw:
        guesses = "; ".join(
            f"{model}: " + ", ".join(_guesses(found, m, image))
            for m, model in enumerate(found.models)
        )
        yield Exhibit(
            name=f"strip-{image + 1}",
            title=about,
            note=(REDUCED if max(found.shown.shape[3:5]) > 191 else "")
            + (BEHIND if found.normalised else ""),
            drawing=strip_drawing(found, image),
            words=f"A strip of pictures with the answers to each. {guesses}.",
        )
    for m, model in enumerate(found.models):
        yield Exhibit(
            name=f"answers-{image + 1}-{m + 1}",
            title=f"{about}: {_of_class(found, m, image)}; {model}",
            note="The class of the image is not known: what is followed is the answer to the "
            "untouched image."
            if found.labels[image] < 0
            else "",
            table=_answer_table(found, m, image),
        )


def _guesses(found: Sweep, model: int, image: int) -> Iterator[str]:
    for p, label in enumerate(found.position_labels):
        at = (model, image, 0, p)
        name = found.class_names[int(found.top[at][0])]
        yield f"{name} {share_text(float(found.probability[at][0]))} at {label}"


def _answer_table(found: Sweep, model: int, image: int) -> Table:
    true = "true class" if found.labels[image] >= 0 else "first answer"
    group = found.superclasses
    headings = [found.axis.partition(",")[0], "guess", true, "rank"]
    if group is not None:
        headings.append(f"in “{group[int(found.true_class[model, image])]}”")
    lines = []
    for p, label in enumerate(found.position_labels):
        at = (model, image, 0, p)
        told = [
            f"{found.class_names[int(each)]} {share_text(float(share))}"
            for each, share in zip(found.top[at], found.probability[at], strict=True)
        ]
        then = ", ".join(told[1:]).replace(PERCENT, "")  # a unit must not begin a line
        line = [label, told[0], share_text(float(found.true_confidence[at]))]
        line.append(str(int(found.true_rank[at]) + 1))
        if group is not None:
            line.append("yes" if found.inside[at] else "no")
        lines.append((*line, then))
    return Table((*headings, "then, %"), tuple(lines))


def _summary_table(found: Sweep, numbers: Mapping[str, Array], model: int) -> Table:
    columns = {"confidence": "confidence, %", "change": "change, points", "right": "right, %"}
    if found.superclasses is not None:
        columns["inside"] = "in superclass, %"
    several = len(found.ids) > 1
    lines = []
    for p, label in enumerate(found.position_labels):
        cells = [
            f"{number_text(float(numbers[name][model, p]), 'percent').removesuffix(PERCENT)} "
            f"{interval_text(numbers[f'{name}_interval'][model, p].tolist(), 'percent')}".rstrip()
            for name in columns
        ]
        peaks = [str(int(numbers["peaks"][model, p]))] if several else []
        lines.append((label, *cells, *peaks))
    last = ["highest here"] if several else []
    return Table((found.axis.partition(",")[0], *columns.values(), *last), tuple(lines))


def _note(found: Sweep) -> str:
    if not found.resampled:
        return "One image: no interval."
    over = {"images": "images", "draws": "draws of the one image"}[found.resampled]
    least = found.position_labels[int(abs(found.values).argmin())]
    return (
        f"Bands and brackets: 95 % intervals over the {over} (bootstrap; of shares Wilson, but "
        f"where the draws of an image differ). Change: since {least}, paired. {_highest(found)}"
    ).rstrip()


def _highest(found: Sweep) -> str:
    if len(found.ids) < 2:
        return ""
    return "“highest here” counts the images whose confidence is the highest at this position."


def _counted(found: Sweep) -> str:
    images, draws = len(found.ids), found.true_rank.shape[2]
    told = "1 image" if images == 1 else f"{images} images"
    return told if draws == 1 else f"{told} of {draws} draws each"


def _of_class(found: Sweep, model: int, image: int) -> str:
    name = found.class_names[int(found.true_class[model, image])]
    return name if found.labels[image] >= 0 else f"first taken for {name}"
