"""Images with what each model says of them."""

from typing import Any

from workbench.drawing.numbers import share_text
from workbench.exhibits import Exhibit, Table
from workbench.explain.images import answers, short_name, shown_images
from workbench.explain.tiles import Caption, Section, Tile, tile_pixels, tiles_drawing
from workbench.explain.viewed import Viewed

COLUMNS = 5


def samples(viewed: Viewed) -> list[Exhibit]:
    """Sample predictions: images with their class and each model's guess and confidence.

    The images are drawn evenly over the classes, by the seed.

    Raises:
        UsageError: there is no image of the class that is asked for.
    """
    shown = shown_images(viewed)
    said = [answers(viewed, model, shown.images) for model in viewed.models]
    several = len(viewed.models) > 1
    tiles, lines, numbers = [], [], []
    for place, label in enumerate(shown.labels.tolist()):
        captions = [Caption(short_name(viewed, label))]
        cells: list[str] = []
        told: list[dict[str, Any]] = []
        for model, answer in zip(viewed.models, said, strict=True):
            guess, confidence = int(answer.guesses[place]), float(answer.confidences[place])
            name = short_name(viewed, guess)
            captions.append(
                Caption(
                    name, share_text(confidence), guess == label, model.place if several else None
                )
            )
            cells.append(f"{'right' if guess == label else name} {share_text(confidence)}")
            told.append(
                {
                    "model": model.label,
                    "guess": guess,
                    "name": viewed.class_names[guess],
                    "confidence": confidence,
                    "right": guess == label,
                }
            )
        tiles.append(Tile((tile_pixels(shown.images[place]),), tuple(captions)))
        lines.append((str(shown.rows[place]), short_name(viewed, label), *cells))
        numbers.append(
            {
                "row": int(shown.rows[place]),
                "id": int(shown.ids[place]),
                "label": label,
                "class": viewed.class_names[label],
                "answers": told,
            }
        )
    legend = viewed.models if several else ()
    drawing = tiles_drawing([Section("", tuple(tiles))], COLUMNS, legend)
    counts = [
        f"{model.label} has {int((answer.guesses.cpu().numpy() == shown.labels).sum())} right"
        for model, answer in zip(viewed.models, said, strict=True)
    ]
    return [
        Exhibit(
            name="samples",
            title="Sample predictions",
            note="Below each image its class, then the guess with the probability that it is "
            "given; a tick where it is right, a cross where it is wrong.",
            drawing=drawing,
            words=f"{len(tiles)} images with guesses: {'; '.join(counts)}.",
            table=Table(
                ("image", "class", *(model.label for model in viewed.models)), tuple(lines)
            ),
            numbers={"images": numbers},
        )
    ]
