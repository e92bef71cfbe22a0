"""What `workbench explain` shows of classes, on data and models whose answers are known."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_case import ARCH, refused, workbench, write_checkpoint, write_data
from PIL import Image
from torch import Tensor, nn

from benchmarks.intervals import wilson
from workbench.console import make_console
from workbench.datasets.dataset import Dataset, InMemory
from workbench.drawing.marks import Picture, Text
from workbench.errors import UsageError
from workbench.explain.class_summary import class_sums, data
from workbench.explain.mistakes import class_answers, mistakes
from workbench.explain.samples import samples
from workbench.explain.tiles import MOST_PIXELS, tile_pixels
from workbench.explain.viewed import Asked, Viewed, ViewedModel

NAMES = ("cat", "dog", "ship", "truck")


class Quadrants(nn.Module):
    """Its logits are the mean brightness of the four quadrants, times ten."""

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.adaptive_avg_pool2d(images.mean(1, keepdim=True), 2).flatten(1) * 10


def quadrants(*values: tuple[float, float, float, float]) -> np.ndarray:
    """Grey 8×8 images with four even quadrants: float32 (N, 8, 8, 1)."""
    four = np.array(values, dtype=np.float32).reshape(-1, 2, 2)
    return four.repeat(4, axis=1).repeat(4, axis=2)[..., None]


# Class and quadrants, and so the guess, which is the brightest:
CASES = [
    (0, (0.9, 0.1, 0.0, 0.0)),  # right
    (0, (0.1, 0.3, 0.0, 0.0)),  # dog
    (0, (0.1, 0.9, 0.0, 0.0)),  # dog, surely
    (0, (0.0, 0.1, 0.5, 0.2)),  # ship
    (1, (0.0, 0.9, 0.0, 0.0)),  # right
    (3, (0.4, 0.0, 0.0, 0.2)),  # cat
]


def viewed(*, models: int = 1, names: tuple[str, ...] = NAMES, **asked: object) -> Viewed:
    labels = np.array([label for label, _ in CASES])
    dataset = Dataset(
        "quadrants",
        InMemory(quadrants(*(values for _, values in CASES))),
        labels,
        len(names),
        class_names=names,
    )
    return Viewed(
        models=tuple(ViewedModel(k, f"net-{k}", Quadrants().eval()) for k in range(models)),
        dataset=dataset,
        class_names=names,
        asked=Asked(**asked),
        directory=Path(),
        console=make_console(json_output=False, quiet=True),
        device=torch.device("cpu"),
    )


def test_answers_are_those_of_the_quadrants():
    view = viewed()
    answers = class_answers(view, view.models[0])
    assert answers.guesses.tolist() == [0, 1, 1, 2, 1, 0]
    # Equal ones: the class with the smaller number comes first, as argmax has it.
    assert answers.ranks.tolist() == [0, 1, 1, 3, 0, 1]
    expected = torch.tensor(CASES[1][1]).mul(10).softmax(0)
    assert answers.confidences[1] == pytest.approx(float(expected[1]), rel=1e-6)
    assert answers.own[1] == pytest.approx(float(expected[0]), rel=1e-6)


def test_the_wrong_guesses_of_a_class_the_most_confident_first():
    (found,) = mistakes(viewed(of_class=0))
    told = found.numbers["models"][0]
    assert found.numbers["images"] == 4
    assert (told["wrong"], told["wrong_share"]) == (3, 0.75)
    assert told["wrong_interval"] == wilson(3, 4).tolist()
    assert [(each["name"], each["images"]) for each in told["guesses"]] == [("dog", 2), ("ship", 1)]
    assert [each["row"] for each in told["images"]] == [2, 3, 1]
    assert told["top5_misses"] == 0


def test_guesses_inside_the_superclass_are_counted():
    (found,) = mistakes(viewed(of_class=0))
    told = found.numbers["models"][0]
    assert found.numbers["superclass"] == "animal"
    assert (told["inside_superclass"], told["inside_superclass_share"]) == (2, 2 / 3)
    assert told["inside_superclass_interval"] == wilson(2, 3).tolist()
    assert found.table is not None
    assert found.table.lines[-1][:2] == ("of the wrong, inside", "animal")
    assert found.drawing is not None
    texts = [mark.text for mark in found.drawing.marks if isinstance(mark, Text)]
    # Three tiles: the guess, the class with its rank, the superclass of the guess. The softmax of
    # (0, 1, 5, 2) gives e^5 / (1 + e + e^5 + e^2) = 0.930 and 0.0063, that of (1, 3, 0, 0) 0.810
    # and 0.110; of (1, 9, 0, 0) 0.9994.
    assert [text.replace("\u00a0", " ") for text in texts[1:]] == [
        "dog >99 %", "cat <0.1 %, 2nd", "animal", "ship 93 %", "cat 0.6 %, 4th", "vehicle",
        "dog 81 %", "cat 11 %, 2nd", "animal",
    ]  # fmt: skip


def test_unknown_classes_have_no_superclass():
    (found,) = mistakes(viewed(names=("p", "q", "r", "s"), of_class=0))
    assert found.numbers["superclass"] is None
    assert "inside_superclass" not in found.numbers["models"][0]
    assert found.table is not None
    assert found.table.headings == ("guess", "net-0")


def test_superclasses_of_ones_own(tmp_path):
    (tmp_path / "own.csv").write_text("cat,pet\ndog,beast\nship,pet\ntruck,thing\n")
    (found,) = mistakes(viewed(of_class=0, superclasses=str(tmp_path / "own.csv")))
    assert found.numbers["models"][0]["inside_superclass"] == 1


def test_the_worst_classes_come_first():
    found = mistakes(viewed(models=2))
    assert [each["name"] for each in found[0].numbers["classes"]] == ["truck", "cat"]
    assert [exhibit.name for exhibit in found] == ["mistakes", "mistakes-3", "mistakes-0"]


def test_a_class_without_a_mistake_or_an_image():
    (found,) = mistakes(viewed(of_class=1))
    assert found.drawing is None
    assert found.numbers["models"][0]["wrong"] == 0
    assert found.numbers["models"][0]["inside_superclass_share"] is None
    with pytest.raises(UsageError, match="holds no image of ship"):
        mistakes(viewed(of_class=2))


class Ranked(nn.Module):
    """Puts seven classes in their own order, whatever it sees."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.arange(7.0, 0, -1).expand(len(images), 7) + 0 * images.mean()


def test_misses_of_the_first_five():
    labels = np.arange(7)
    pixels = InMemory(np.zeros((7, 4, 4, 1), dtype=np.uint8))
    view = viewed(names=tuple("abcdefg"))
    view = Viewed(
        **{
            **vars(view),
            "dataset": Dataset("seven", pixels, labels, 7, class_names=tuple("abcdefg")),
            "models": (ViewedModel(0, "ranked", Ranked().eval()),),
        }
    )
    answers = class_answers(view, view.models[0])
    assert answers.ranks.tolist() == [0, 1, 2, 3, 4, 5, 6]
    found = mistakes(view)
    misses = {
        each["name"]: each["models"][0]["top5_misses"] for each in found[0].numbers["classes"]
    }
    assert misses == {"b": 0, "c": 0, "d": 0, "e": 0, "f": 1, "g": 1}


def test_samples_say_what_each_model_says():
    (found,) = samples(viewed(models=2, show=6))
    images = sorted(found.numbers["images"], key=lambda each: each["row"])
    assert [each["label"] for each in images] == [label for label, _ in CASES]
    for model in range(2):
        guesses = [each["answers"][model]["guess"] for each in images]
        assert guesses == [0, 1, 1, 2, 1, 0]
        right = [each["answers"][model]["right"] for each in images]
        assert right == [True, False, False, False, True, False]
    assert found.drawing is not None
    assert sum(isinstance(mark, Picture) for mark in found.drawing.marks) == 6


def test_samples_are_as_many_as_asked_for_and_spread_over_classes():
    (found,) = samples(viewed(show=3))
    assert sorted(each["label"] for each in found.numbers["images"]) == [0, 1, 3]


def test_sums_of_classes_are_numpys():
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (11, 6, 5, 3), dtype=np.uint8)
    labels = generator.permutation(np.arange(11) % 3)
    found = class_sums(Dataset("noise", InMemory(pixels), labels, 4), batch=4)
    values = pixels / 255.0
    grey = values @ np.array([0.299, 0.587, 0.114])
    for index in range(3):
        own = labels == index
        np.testing.assert_allclose(found.mean[index], values[own].mean((0, 1, 2)), rtol=1e-6)
        np.testing.assert_allclose(found.std[index], values[own].std((0, 1, 2)), rtol=1e-6)
        np.testing.assert_allclose(found.brightness[index], grey[own].mean(), rtol=1e-6)
        np.testing.assert_allclose(found.contrast[index], grey[own].std((1, 2)).mean(), rtol=1e-6)
        expected = values[own].mean(0).transpose(2, 0, 1)
        np.testing.assert_allclose(found.mean_images[index], expected, rtol=1e-6)
        assert found.first[index] == np.flatnonzero(own)[0]
    assert (found.images[3], found.first[3]) == (0, -1)
    assert np.isnan(found.mean[3]).all()


def test_the_data_view_leaves_out_classes_without_images():
    (found,) = data(viewed())
    assert [each["name"] for each in found.numbers["classes"]] == ["cat", "dog", "truck"]
    assert [each["images"] for each in found.numbers["classes"]] == [4, 1, 1]
    assert found.drawing is not None
    pictures = [mark for mark in found.drawing.marks if isinstance(mark, Picture)]
    assert len(pictures) == 6
    mean = np.array(Image.open(io.BytesIO(pictures[1].png)))
    assert mean[0, 0] == round(255 * (0.9 + 0.1 + 0.1) / 4)


def test_two_hundred_classes_go_on_pages():
    pixels = InMemory(np.zeros((200, 2, 2, 1), dtype=np.uint8))
    names = tuple(f"class {index}" for index in range(200))
    view = Viewed(
        **{
            **vars(viewed()),
            "dataset": Dataset("many", pixels, np.arange(200), 200, class_names=names),
            "class_names": names,
        }
    )
    found = data(view)
    assert [exhibit.name for exhibit in found] == ["data", "data-2", "data-3", "data-4"]
    assert found[0].table is not None
    assert len(found[0].table.lines) == 200


def test_large_images_are_made_smaller_in_their_shape():
    assert tile_pixels(torch.rand(3, 320, 160)).shape == (MOST_PIXELS, MOST_PIXELS // 2, 3)
    image = torch.arange(256).reshape(1, 16, 16) / 255
    assert (tile_pixels(image) == np.arange(256).reshape(16, 16)).all()


def test_the_views_at_the_command_line(tmp_path):
    checkpoint = write_checkpoint(tmp_path / "net.pt")
    own = tmp_path / "own.csv"
    own.write_text("0,top\n1,top\n2,bottom\n3,bottom\n")
    arguments = (
        "explain", checkpoint, *ARCH, "--data", write_data(tmp_path / "data.npz"), "--view",
        "samples,mistakes,data", "--class", 0, "--json",
    )  # fmt: skip
    done = workbench(*arguments, "--superclasses", own, "--output", tmp_path / "run")
    assert done.code == 0, done.err
    exhibits = {each["name"]: each for each in done.document["exhibits"]}
    assert set(exhibits) == {"samples", "mistakes-0", "data"}
    assert exhibits["mistakes-0"]["numbers"]["superclass"] == "top"
    assert [each["images"] for each in exhibits["data"]["numbers"]["classes"]] == [6] * 4
    assert all(Path(file).is_file() for file in exhibits["samples"]["figures"])
    refused(workbench(*arguments, "--superclasses", "owm.csv", "--output", tmp_path / "b"), "owm")
