"""The wrong guesses of classes: which, how often, how far off, and the images they are made on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.evaluation import float32_logits
from benchmarks.intervals import wilson
from workbench.class_names import Groups, class_groups
from workbench.drawing.looks import MUTED
from workbench.drawing.numbers import share_text
from workbench.errors import UsageError
from workbench.exhibits import Exhibit, Table
from workbench.explain.images import short_name
from workbench.explain.tiles import Caption, Section, Tile, tile_pixels, tiles_drawing
from workbench.explain.viewed import Viewed, ViewedModel
from workbench.subjects import COUNTING_BATCH

TOP = 5
WORST, SHOWN_WORST = 10, 3  # classes in the table of the worst, and those that are looked into
MOST_GUESSES = 15  # lines of a table
COLUMNS = 5


@dataclass(frozen=True)
class ClassAnswers:
    """A model's answers to images, each (N,).

    Attributes:
        guesses: int64, its first class.
        confidences: float64, the probability it gives to that.
        own: float64, the probability it gives to the image's class.
        ranks: int64, how many classes it puts before the image's.
    """

    guesses: NDArray[np.int64]
    confidences: NDArray[np.float64]
    own: NDArray[np.float64]
    ranks: NDArray[np.int64]


@dataclass(frozen=True)
class Mistakes:
    """One model's mistakes on the images of a class.

    Attributes:
        images: how many there are.
        wrong: rows of the data, the most confident mistake first.
        top5_misses: those of them where the class is not among the first five.
        guesses: wrong classes with their counts, the most frequent first.
        inside: how many wrong guesses stay in the superclass; None where none are known.
    """

    images: int
    wrong: NDArray[np.int64]
    top5_misses: NDArray[np.int64]
    guesses: tuple[tuple[int, int], ...]
    inside: int | None


def mistakes(viewed: Viewed) -> list[Exhibit]:
    """Wrong guesses: of the class that is asked for, else of the three with the most errors.

    Raises:
        UsageError: there is no image of that class, or superclasses cannot be read.
    """
    dataset, wanted = viewed.dataset, viewed.asked.of_class
    if wanted is not None:
        rows = np.flatnonzero(dataset.labels == wanted)
        if not len(rows):
            raise UsageError(
                f"{dataset.name} holds no image of {viewed.class_names[wanted]} here; choose "
                "another --class, or more images with --limit."
            )
        viewed = replace(viewed, dataset=dataset.subset(rows))
    groups = class_groups(
        dataset.class_names,
        dataset.class_keys,
        dataset.classes,
        source=viewed.asked.superclasses,
    )
    answers = [class_answers(viewed, model) for model in viewed.models]
    if wanted is not None:
        return [_of_class(viewed, answers, groups, wanted)]
    ranking = worst_classes(dataset.labels, answers, dataset.classes)
    table = _worst(viewed, answers, groups, ranking[:WORST])
    return [table, *(_of_class(viewed, answers, groups, each) for each in ranking[:SHOWN_WORST])]


def class_answers(viewed: Viewed, model: ViewedModel) -> ClassAnswers:
    """A model's answers to every image, in float32."""
    dataset = viewed.dataset
    found: list[tuple[torch.Tensor, ...]] = []
    for start in range(0, len(dataset), COUNTING_BATCH):
        rows = slice(start, start + COUNTING_BATCH)
        images = dataset.images(rows).to(viewed.device)
        logits = float32_logits(model.classifier, images, viewed.batch_size).cpu().double()
        labels = torch.from_numpy(dataset.labels[rows])[:, None]
        own = logits.gather(1, labels)
        # Of equal ones the first is taken for larger, as argmax does it.
        earlier = (logits == own) & (torch.arange(logits.shape[1]) < labels)
        chances = logits.softmax(dim=1)
        guesses = logits.argmax(dim=1)
        found.append(
            (
                guesses,
                chances.gather(1, guesses[:, None])[:, 0],
                chances.gather(1, labels)[:, 0],
                ((logits > own) | earlier).sum(dim=1),
            )
        )
    return ClassAnswers(*(torch.cat(each).numpy() for each in zip(*found, strict=True)))


def class_mistakes(
    labels: NDArray[np.int64],
    answers: ClassAnswers,
    index: int,
    superclasses: Sequence[str] | None = None,
) -> Mistakes:
    """A model's mistakes on the images of a class.

    Args:
        labels: int64 (N,).
        answers: to the same images.
        index: the class.
        superclasses: one a class, or None.
    """
    rows = np.flatnonzero(labels == index)
    wrong = rows[answers.guesses[rows] != index]
    wrong = wrong[np.argsort(-answers.confidences[wrong], kind="stable")]
    counts = np.bincount(answers.guesses[wrong])
    order = [int(each) for each in np.argsort(-counts, kind="stable") if counts[each]]
    guesses = tuple((each, int(counts[each])) for each in order)
    inside = None
    if superclasses is not None:
        inside = sum(n for each, n in guesses if superclasses[each] == superclasses[index])
    return Mistakes(len(rows), wrong, wrong[answers.ranks[wrong] >= TOP], guesses, inside)


def worst_classes(
    labels: NDArray[np.int64], answers: Sequence[ClassAnswers], classes: int
) -> list[int]:
    """Classes with mistakes, those with the highest error first, as a mean over the models."""
    images = np.bincount(labels, minlength=classes)
    wrong = sum(
        np.bincount(labels[each.guesses != labels], minlength=classes) for each in answers
    ) / np.maximum(images, 1)
    return [int(each) for each in np.argsort(-wrong, kind="stable") if wrong[each]]


def _worst(
    viewed: Viewed, answers: Sequence[ClassAnswers], groups: Groups | None, ranking: Sequence[int]
) -> Exhibit:
    lines, numbers = [], []
    for index in ranking:
        found = [class_mistakes(viewed.dataset.labels, each, index) for each in answers]
        cells = [
            _rate(count, each.images)
            for each in found
            for count in (len(each.wrong), len(each.top5_misses))
        ]
        above = () if groups is None else (groups.superclasses[index],)
        lines.append((short_name(viewed, index), *above, str(found[0].images), *cells))
        numbers.append(
            {
                "class": index,
                "name": viewed.class_names[index],
                "images": found[0].images,
                "models": [
                    {
                        "model": model.label,
                        **_counted("wrong", len(each.wrong), each.images),
                        **_counted("top5_misses", len(each.top5_misses), each.images),
                    }
                    for model, each in zip(viewed.models, found, strict=True)
                ],
            }
        )
    headings = [
        f"{model.label}: {what}" if len(viewed.models) > 1 else what
        for model in viewed.models
        for what in ("wrong", "not in the first five")
    ]
    above = () if groups is None else ("superclass",)
    return Exhibit(
        name="mistakes",
        title="Classes with the most errors",
        note="Of the images of a class, with 95 % intervals (Wilson)."
        if lines
        else "There is no wrong guess.",
        table=Table(("class", *above, "images", *headings), tuple(lines)) if lines else None,
        numbers={"classes": numbers},
    )


def _of_class(
    viewed: Viewed, answers: Sequence[ClassAnswers], groups: Groups | None, index: int
) -> Exhibit:
    superclasses = None if groups is None else groups.superclasses
    found = [class_mistakes(viewed.dataset.labels, each, index, superclasses) for each in answers]
    name = short_name(viewed, index)
    sections = [
        section
        for model, answer, each in zip(viewed.models, answers, found, strict=True)
        for section in _sections(viewed, model, answer, each, index, superclasses)
    ]
    counted = f"{found[0].images} image{'' if found[0].images == 1 else 's'}"
    note = f"{counted} of {name}; shares of them with 95 % intervals (Wilson)."
    if superclasses is not None:
        note += f" Superclasses: {groups.source if groups else ''}."
        note += " In the figure that of the guess has a tick where it is the class's too."
    told = "; ".join(
        f"{model.label} is wrong on {len(each.wrong)} of {each.images}"
        for model, each in zip(viewed.models, found, strict=True)
    )
    return Exhibit(
        name=f"mistakes-{index}",
        title=f"Wrong guesses on {name}",
        note=note,
        drawing=tiles_drawing(sections, COLUMNS) if sections else None,
        words=f"Images of {name} with wrong guesses, the most confident first: {told}.",
        table=_guess_table(viewed, found, index, superclasses),
        numbers=_numbers(viewed, answers, found, index, groups),
    )


def _sections(
    viewed: Viewed,
    model: ViewedModel,
    answers: ClassAnswers,
    found: Mistakes,
    index: int,
    superclasses: Sequence[str] | None,
) -> list[Section]:
    kinds = (
        (found.wrong, f"{len(found.wrong)} of {found.images} wrong"),
        (found.top5_misses, f"{len(found.top5_misses)} not in the first five"),
    )
    sections = []
    for rows, what in kinds:
        if not len(rows):
            continue
        chosen = rows[: viewed.asked.show]
        images = viewed.dataset.images(chosen)
        tiles = []
        for row, image in zip(chosen.tolist(), images, strict=True):
            guess = int(answers.guesses[row])
            captions = [
                Caption(
                    short_name(viewed, guess), share_text(answers.confidences[row]), right=False
                ),
                Caption(
                    short_name(viewed, index),
                    f"{share_text(answers.own[row])}, {_ordinal(int(answers.ranks[row]) + 1)}",
                    colour=MUTED,
                ),
            ]
            if superclasses is not None:
                other = superclasses[guess]
                inside = other == superclasses[index]
                captions.append(Caption(other, right=inside, colour=MUTED))
            tiles.append(Tile((tile_pixels(image),), tuple(captions)))
        title = f"{model.label}: {what}, the most confident first"
        sections.append(Section(title, tuple(tiles), model.place))
    return sections


def _guess_table(
    viewed: Viewed, found: Sequence[Mistakes], index: int, superclasses: Sequence[str] | None
) -> Table:
    total: dict[int, int] = {}
    for each in found:
        for guess, count in each.guesses:
            total[guess] = total.get(guess, 0) + count
    order = sorted(total, key=lambda guess: (-total[guess], guess))
    blank = () if superclasses is None else ("",)
    lines = [
        (
            short_name(viewed, guess),
            *(() if superclasses is None else (superclasses[guess],)),
            *(_rate(dict(each.guesses).get(guess, 0), each.images) for each in found),
        )
        for guess in order[:MOST_GUESSES]
    ]
    if len(order) > MOST_GUESSES:
        rest = [sum(dict(each.guesses).get(g, 0) for g in order[MOST_GUESSES:]) for each in found]
        cells = [_rate(count, each.images) for count, each in zip(rest, found, strict=True)]
        lines.append((f"{len(order) - MOST_GUESSES} other classes", *blank, *cells))
    lines.append(("all wrong", *blank, *(_rate(len(each.wrong), each.images) for each in found)))
    misses = (_rate(len(each.top5_misses), each.images) for each in found)
    lines.append(("not in the first five", *blank, *misses))
    if superclasses is not None:
        cells = [_rate(each.inside or 0, len(each.wrong)) for each in found]
        lines.append(("of the wrong, inside", superclasses[index], *cells))
    above = () if superclasses is None else ("superclass",)
    return Table(("guess", *above, *(model.label for model in viewed.models)), tuple(lines))


def _numbers(
    viewed: Viewed,
    answers: Sequence[ClassAnswers],
    found: Sequence[Mistakes],
    index: int,
    groups: Groups | None,
) -> dict[str, Any]:
    names, origin = viewed.class_names, viewed.dataset.origin
    superclasses = None if groups is None else groups.superclasses
    models = []
    for model, answer, each in zip(viewed.models, answers, found, strict=True):
        misses = set(each.top5_misses.tolist())
        models.append(
            {
                "model": model.label,
                **_counted("wrong", len(each.wrong), each.images),
                **_counted("top5_misses", len(each.top5_misses), each.images),
                **(
                    {}
                    if each.inside is None
                    else _counted("inside_superclass", each.inside, len(each.wrong))
                ),
                "guesses": [
                    {
                        "class": guess,
                        "name": names[guess],
                        **({} if superclasses is None else {"superclass": superclasses[guess]}),
                        **_counted("images", count, each.images),
                    }
                    for guess, count in each.guesses
                ],
                "images": [
                    {
                        "row": row if origin is None else int(origin[row]),
                        "guess": int(answer.guesses[row]),
                        "confidence": float(answer.confidences[row]),
                        "confidence_of_class": float(answer.own[row]),
                        "rank_of_class": int(answer.ranks[row]),
                        "top5_miss": row in misses,
                    }
                    for row in each.wrong.tolist()
                ],
            }
        )
    return {
        "class": index,
        "name": names[index],
        "images": found[0].images,
        "superclass": None if superclasses is None else superclasses[index],
        "superclasses_from": None if groups is None else groups.source,
        "models": models,
    }


def _counted(name: str, count: int, whole: int) -> dict[str, Any]:
    """A count, its share and the interval of that; both None where nothing was counted."""
    interval = wilson(count, whole).tolist() if whole else None
    return {
        name: count,
        f"{name}_share": count / whole if whole else None,
        f"{name}_interval": interval,
    }


def _rate(count: int, whole: int) -> str:
    if not whole:
        return "-"
    low, high = wilson(count, whole)
    return f"{count} = {count / whole:.1%} [{100 * low:.1f}, {100 * high:.1f}]"


def _ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, 11th, 21st."""
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{'th' if number % 100 in (11, 12, 13) else ending}"
