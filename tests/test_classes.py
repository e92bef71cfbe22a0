"""Labels mean the same class in the data and in the model, however each numbers them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from timm.data import ImageNetInfo
from torchvision.models import ResNet18_Weights

from workbench.datasets import Dataset, align, fit, select
from workbench.datasets.classes import ClassSet, parse_classes
from workbench.datasets.dataset import InMemory
from workbench.errors import UsageError

ANIMALS = ("ant", "bee", "cat", "dog", "elk")


def data_of(names: tuple[str, ...] | None, labels: list[int], **more: object) -> Dataset:
    """One image for each label; its grey value is the label, so a mapping can be followed."""
    pixels = np.array(labels, np.uint8).reshape(-1, 1, 1, 1)
    classes = len(names) if names else max(labels) + 1
    return Dataset("d", InMemory(pixels), np.array(labels), classes, names, **more)  # type: ignore[arg-type]  # by keyword


def grey(data: Dataset) -> list[int]:
    return [int(value) for value in data.pixels.read(slice(None)).ravel()]


def names_of(data: Dataset) -> list[str]:
    assert data.class_names is not None
    return [data.class_names[label] for label in data.labels]


# select -------------------------------------------------------------------------------------


def test_select_by_name_index_and_text() -> None:
    data = data_of(ANIMALS, [0, 1, 2, 3, 4, 3])
    for classes in (["dog", "ant"], [3, 0], "dog, ant", "3,0", ["dog", 0]):
        chosen = select(data, classes)
        assert grey(chosen) == [0, 3, 3]
        assert chosen.labels.tolist() == [1, 0, 0]
        assert chosen.class_names == ("dog", "ant")
        assert chosen.columns == (3, 0)


def test_select_twice_keeps_the_first_numbering() -> None:
    chosen = select(
        select(data_of(ANIMALS, [0, 1, 2, 3, 4]), ["elk", "cat", "bee"]), ["bee", "elk"]
    )
    assert chosen.columns == (1, 4)
    assert names_of(chosen) == ["bee", "elk"]


@given(st.permutations(range(5)), st.integers(1, 5))
def test_selection_keeps_every_name_with_its_images(order: list[int], count: int) -> None:
    data = data_of(ANIMALS, [4, 0, 3, 1, 2, 2])
    chosen = select(data, order[:count])
    assert names_of(chosen) == [ANIMALS[value] for value in grey(chosen)]
    assert sorted(set(grey(chosen))) == sorted(order[:count])


def test_classes_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_text("# two\ndog  # the third\n\ntench, Tinca tinca\n3\n")
    assert parse_classes(str(path)) == ["dog", "tench, Tinca tinca", "3"]


@pytest.mark.parametrize(
    ("classes", "pattern"),
    [
        ("ant,cta", "no class 'cta' in the data. Did you mean 'cat'"),
        ("ant,zzzzz", "There are ant, bee, cat, dog …"),
        ("5", "no class 5 in the data: 0 … 4"),
        ("ant,0", "names class 0 of the data twice"),
        (" , ", "names no class"),
        ("elk", "no image of the chosen classes"),
    ],
)
def test_select_refuses(classes: str, pattern: str) -> None:
    with pytest.raises(UsageError, match=pattern):
        select(data_of(ANIMALS, [0, 1, 2, 3]), classes)


def test_a_shared_name_needs_the_index() -> None:
    birds = ClassSet(3, ("crane", "heron", "crane, machine"))
    assert birds.find("heron") == 1
    assert birds.find("crane") == 0  # a full name wins over a part of one
    assert birds.find("Crane,  MACHINE") == 2
    with pytest.raises(UsageError, match="shared by classes 0, 2"):
        ClassSet(3, ("crane, bird", "heron", "crane, machine")).find("crane")


def test_without_names_an_index_is_needed() -> None:
    with pytest.raises(UsageError, match="give 'cat' as index"):
        ClassSet(3).find("cat")


# fit: the same number of classes -------------------------------------------------------------


def test_same_names_in_another_order_are_matched_by_name() -> None:
    data = data_of(ANIMALS, [0, 1, 2, 3, 4])
    fitted = fit(data, 5, ("elk", "dog", "cat", "bee", "ant"))
    assert fitted.dataset.labels.tolist() == [4, 3, 2, 1, 0]
    assert fitted.columns is None
    assert names_of(fitted.dataset) == list(ANIMALS)
    assert fitted.notices


def test_spelling_does_not_matter() -> None:
    assert fit(data_of(("T-shirt/top", "ankle_boot"), [0, 1]), 2, ("Ankle boot", "t shirt/top")) \
        .dataset.labels.tolist() == [1, 0]  # fmt: skip


@pytest.mark.parametrize("names", [None, ("a", "b", "c", "d", "e"), ANIMALS])
def test_unknown_or_equal_names_keep_the_order(names: tuple[str, ...] | None) -> None:
    fitted = fit(data_of(ANIMALS, [4, 0, 2]), 5, names)
    assert fitted.dataset.labels.tolist() == [4, 0, 2]
    assert fitted.columns is None
    assert fitted.notices == ()


def test_a_subset_of_equal_numberings_cuts_the_model_too() -> None:
    fitted = fit(data_of(None, [0, 1, 2, 3]), 4, None, "3,1")
    assert grey(fitted.dataset) == [1, 3]
    assert fitted.dataset.labels.tolist() == [1, 0]
    assert fitted.columns == (3, 1)


# fit: a larger model -------------------------------------------------------------------------


def cut_is_right(data: Dataset, model_names: tuple[str, ...], classes: object = None) -> None:
    """The column that a label picks out of the cut logits carries the image's own class name."""
    fitted = fit(data, len(model_names), model_names, classes)  # type: ignore[arg-type]  # any
    columns = fitted.columns or tuple(range(len(model_names)))
    logits = torch.arange(len(model_names))[list(columns)]
    assert fitted.dataset.classes == len(columns)
    picked = [model_names[int(logits[label])] for label in fitted.dataset.labels]
    assert picked == [(data.class_names or ())[value] for value in grey(fitted.dataset)]


@given(st.permutations([*ANIMALS, "fox", "gnu"]), st.permutations(ANIMALS))
def test_a_larger_model_is_cut_by_name(model: list[str], data: list[str]) -> None:
    cut_is_right(data_of(tuple(data), [0, 1, 2, 3, 4]), tuple(model))
    cut_is_right(data_of(tuple(data), [0, 1, 2, 3, 4]), tuple(model), data[1:4])


def test_a_larger_model_by_indices_in_the_datas_order() -> None:
    data = data_of(("x", "y", "z"), [0, 1, 2])
    fitted = fit(data, 9, None, [8, 2, 5])
    assert fitted.columns == (8, 2, 5)
    assert fitted.dataset.labels.tolist() == [0, 1, 2]
    assert fit(data, 9, ("a", "b", "c", *"defghi"), ["i", "c", "f"]).columns == (8, 2, 5)


def test_pairs_of_name_and_index() -> None:
    data = data_of(("x", "y", "z"), [0, 1, 2, 2])
    fitted = fit(data, 9, None, "z=4,x=7")
    assert fitted.columns == (4, 7)
    assert grey(fitted.dataset) == [0, 2, 2]
    assert fitted.dataset.labels.tolist() == [1, 0, 0]
    whole = fit(data, 3, None, "z=0,x=1,y=2")
    assert whole.columns is None
    assert whole.dataset.labels.tolist() == [1, 2, 0, 0]
    assert whole.dataset.class_names == ("z", "x", "y")


def test_wordnet_folders_find_imagenets_outputs() -> None:
    info = ImageNetInfo("imagenet-1k")
    wnids = tuple(info.index_to_label_name(index) for index in (980, 3, 207))
    fitted = fit(data_of(wnids, [0, 1, 2]), 1000)
    assert fitted.columns == (980, 3, 207)
    assert "ImageNet" in fitted.notices[0]
    categories = tuple(ResNet18_Weights.DEFAULT.meta["categories"])
    named = fit(data_of(wnids, [0, 1, 2]), 1000, categories)
    assert named.columns == (980, 3, 207)
    assert named.notices == ()
    with pytest.raises(UsageError, match="cannot be matched by name"):
        fit(data_of(wnids, [0, 1, 2]), 1000, categories[::-1])
    keyed = data_of(("a", "b", "c"), [0, 1, 2], class_keys=wnids)
    assert fit(keyed, 1000).columns == (980, 3, 207)


def test_a_selected_data_set_remembers_the_models_numbering() -> None:
    whole = data_of(None, [*range(12), 7])
    fitted = fit(select(whole, [7, 2]), 12)
    assert fitted.columns == (7, 2)
    assert fitted.dataset.labels.tolist() == [1, 0, 0]
    assert fit(select(whole, [7, 2]), 2).columns is None


# fit: a smaller model ------------------------------------------------------------------------


def test_indices_of_another_numbering_are_not_taken_for_the_models() -> None:
    named = data_of(ANIMALS, [0, 1, 2, 3, 4])
    assert fit(select(named, "dog,ant"), 5).columns == (3, 0)
    with pytest.raises(UsageError, match="cannot be matched by name"):
        fit(select(named, "dog,ant"), 9)


def test_a_smaller_model_takes_its_classes_by_name() -> None:
    fitted = fit(data_of(ANIMALS, [0, 1, 2, 3, 4]), 2, ("dog", "ant"))
    assert fitted.columns is None
    assert grey(fitted.dataset) == [0, 3]
    assert fitted.dataset.labels.tolist() == [1, 0]
    assert fitted.dataset.classes == 2


def test_a_smaller_model_takes_the_classes_given() -> None:
    fitted = fit(data_of(None, [0, 1, 2, 3, 4]), 2, None, "4,1")
    assert fitted.columns is None
    assert grey(fitted.dataset) == [1, 4]
    assert fitted.dataset.labels.tolist() == [1, 0]


# fit: what cannot be matched -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "model_classes", "model_names", "classes", "pattern"),
    [
        (ANIMALS, 7, None, None, "5 of these cannot be matched by name.*name=index"),
        (ANIMALS, 7, (*"abcdefg",), None, "cannot be matched by name"),
        (ANIMALS, 3, None, None, "give --classes with the 3 data classes"),
        (ANIMALS, 7, None, [0, 1, 2, 3, 7], "no class 7 in the model: 0 … 6"),
        (ANIMALS, 7, None, [0, 1, 2, 3, 3], "names class 3 of the model twice"),
        (ANIMALS, 7, None, "cat=9", "no class 9 in the model"),
        (ANIMALS, 5, None, "cat", "cut to one class cannot be wrong; keep two or more"),
    ],
)
def test_fit_refuses(
    names: tuple[str, ...],
    model_classes: int,
    model_names: tuple[str, ...] | None,
    classes: object,
    pattern: str,
) -> None:
    with pytest.raises(UsageError, match=pattern):
        fit(data_of(names, [0, 1, 2, 3, 4]), model_classes, model_names, classes)  # type: ignore[arg-type]  # any


def test_open_ended_labels_are_the_models_own() -> None:
    data = data_of(None, [0, 3], open_ended=True)
    fitted = fit(data, 1000)
    assert (fitted.dataset.classes, fitted.columns) == (1000, None)
    assert fitted.dataset.labels.tolist() == [0, 3]
    with pytest.raises(UsageError, match="label 3, but the model has only 2"):
        fit(data, 2)


def test_align_is_a_pure_map_on_class_sets() -> None:
    alignment = align(ClassSet(3, ("a", "b", "c")), ClassSet(4, ("c", "x", "a", "b")))
    assert alignment.columns is not None
    assert [("c", "x", "a", "b")[alignment.columns[label]] for label in alignment.label_map] == [
        "a",
        "b",
        "c",
    ]
