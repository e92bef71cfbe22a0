"""Names and superclasses of classes, against facts that are known without the files behind them."""

from collections import Counter
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from workbench.class_names import (
    SOURCES,
    class_groups,
    readable_names,
    superclass_sources,
    wordnet_superclass,
)
from workbench.data.make_wordnet_classes import above, read_nouns, table
from workbench.errors import UsageError

PHOTOGRAPHS = {  # foolbox's, by the label in the file's name, and what they show
    22: "bird", 99: "bird", 129: "bird", 243: "dog", 251: "dog", 305: "insect", 317: "insect",
    438: "container", 455: "covering", 471: "weapon", 541: "musical instrument",
    559: "furniture", 609: "motor vehicle", 630: "footwear", 741: "furniture",
    853: "covering", 915: "structure", 949: "fruit", 990: "fruit",
}  # fmt: skip


@pytest.fixture(scope="module")
def imagenet():
    groups = class_groups(None, None, 1000)
    assert groups is not None
    return groups


def test_every_imagenet_class_has_a_name_of_its_own_and_a_superclass(imagenet):
    assert len(set(imagenet.names)) == len(imagenet.superclasses) == 1000
    assert (imagenet.names[0], imagenet.names[160], imagenet.names[999]) == (
        "tench", "Afghan hound", "toilet tissue",
    )  # fmt: skip
    assert "Princeton" in imagenet.source


def test_dogs_are_classes_151_to_268(imagenet):
    dogs = [place for place, name in enumerate(imagenet.superclasses) if name == "dog"]
    assert dogs == list(range(151, 269))


def test_animals_lie_where_imagenet_has_them(imagenet):
    def of(first, last):
        return set(imagenet.superclasses[first : last + 1])

    assert of(0, 6) == {"fish"}
    assert of(7, 24) == {"bird"}
    assert of(25, 32) == {"amphibian"}
    assert of(52, 68) == {"snake"}
    assert of(80, 100) == {"bird"}
    assert of(281, 285) == {"domestic cat"}
    assert of(286, 293) == {"wild cat"}
    assert of(365, 384) == {"primate"}
    assert Counter(imagenet.superclasses)["bird"] == 59


def test_the_photographs_show_what_their_classes_are(imagenet):
    assert {place: imagenet.superclasses[place] for place in PHOTOGRAPHS} == PHOTOGRAPHS


def test_the_photographs_are_those_of_foolbox():
    spec = find_spec("foolbox")
    assert spec is not None
    assert spec.origin is not None
    names = Path(spec.origin).with_name("data").glob("imagenet_*")
    assert {int(path.stem.rpartition("_")[2]) for path in names} == set(PHOTOGRAPHS)


def test_wordnet_ids_give_names_and_superclasses_in_any_order():
    groups = class_groups(None, ["n02123045", "n01440764"], 2)
    assert groups is not None
    assert groups.names == ("tabby", "tench")
    assert groups.superclasses == ("domestic cat", "fish")
    by_names = class_groups(["n02123045", "n01440764"], None, 2)
    assert by_names == groups


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 999), min_size=1, max_size=20, unique=True), st.booleans())
def test_some_of_imagenets_classes_by_name_in_any_order(places, odd):
    assume(not odd or not {264, 474} & set(places))  # CARDIGAN may be the dog or the garment
    known = SOURCES["imagenet"]()
    names = [known.names[place] for place in places]
    spelt = [name.upper().replace(" ", "_") if odd else name for name in names]
    groups = class_groups(spelt, None, len(spelt), source="imagenet")
    assert groups is not None
    assert groups.superclasses == tuple(known.superclasses[place] for place in places)


def test_names_that_differ_in_their_case_alone_are_told_apart():
    groups = class_groups(["cardigan", "Cardigan"], None, 2)
    assert groups is not None
    assert groups.superclasses == ("clothing", "dog")
    with pytest.raises(UsageError, match="may mean several classes"):
        class_groups(["CARDIGAN"], None, 1, source="imagenet")


def test_lists_of_synonyms_go_by_their_parts():
    groups = class_groups(["tench, Tinca tinca", "Afghan hound, Afghan"], None, 2)
    assert groups is not None
    assert groups.names == ("tench", "Afghan hound")
    assert groups.superclasses == ("fish", "dog")


def test_a_thousand_names_in_the_usual_order_may_be_spelt_otherwise(imagenet):
    words = list(SOURCES["imagenet"]().words or ())  # two of them are "crane"
    words[25] = "a salamander"
    groups = class_groups(words, None, 1000)
    assert groups is not None
    assert groups.superclasses == imagenet.superclasses
    assert groups.names[25] == "a salamander"


def test_cifar100s_coarse_labels_are_twenty_of_five():
    known = SOURCES["cifar100"]()
    assert len(set(known.names)) == 100
    assert set(Counter(known.superclasses).values()) == {5}
    assert len(set(known.superclasses)) == 20
    # What foolbox's pictures show, by the label in each file's name.
    seen = {
        0: "apple", 14: "butterfly", 15: "camel", 33: "forest", 40: "lamp", 43: "lion",
        49: "mountain", 51: "mushroom", 53: "orange", 69: "rocket", 70: "rose", 71: "sea",
        72: "seal", 75: "skunk", 81: "streetcar", 92: "tulip", 97: "wolf",
    }  # fmt: skip
    assert {label: known.names[label] for label in seen} == seen


def test_classes_without_names_are_not_taken_for_numbers():
    """``5 8.1`` would be read as two numbers."""
    assert readable_names(None, None, 2) == ("class 0", "class 1")
    assert readable_names(None, ["cat", "dog"], 2) == ("cat", "dog")
    ids = ["n02088094", "n01443537"]
    assert readable_names(class_groups(None, ids, 2), ids, 2) == ("Afghan hound", "goldfish")


def test_small_sets_are_told_by_their_names():
    cifar = class_groups(["truck", "cat", "airplane"], None, 3)
    assert cifar is not None
    assert cifar.superclasses == ("vehicle", "animal", "vehicle")
    clothes = class_groups(["Ankle boot", "T-shirt/top"], None, 2)
    assert clothes is not None
    assert clothes.superclasses == ("footwear", "top")


def test_tiny_imagenet_is_in_the_order_of_its_sorted_ids():
    tiny = SOURCES["tiny-imagenet"]()
    assert len(tiny.names) == 200
    assert list(tiny.keys or ()) == sorted(tiny.keys or ())
    assert tiny.names[0] == "goldfish"
    groups = class_groups(None, tiny.keys, 200)
    assert groups is not None
    assert groups.superclasses == tiny.superclasses


def test_nothing_is_made_up_of_classes_that_are_not_known():
    assert class_groups(None, None, 10) is None
    assert class_groups(None, None, 200) is None  # as many as Tiny ImageNet's, and birds' too
    assert class_groups(["0", "1"], None, 2) is None
    assert class_groups([f"thing {number}" for number in range(1000)], None, 1000) is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("mine.csv", "mouse,rodent\nbus,vehicle\nspare,thing\n"),
        ("mine.tsv", "Mouse\trodent\nbus\tvehicle\n\n"),
        ("mine.json", '{"mouse": "rodent", "bus": "vehicle"}'),
    ],
)
def test_a_file_of_ones_own(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    groups = class_groups(["bus", "mouse"], None, 2, source=str(tmp_path / name))
    assert groups is not None
    assert groups.names == ("bus", "mouse")
    assert groups.superclasses == ("vehicle", "rodent")


def test_a_file_may_go_by_numbers_or_ids(tmp_path):
    (tmp_path / "numbers.csv").write_text("0,even\n1,odd\n2,even\n")
    groups = class_groups(None, None, 3, source=str(tmp_path / "numbers.csv"))
    assert groups is not None
    assert groups.superclasses == ("even", "odd", "even")
    (tmp_path / "ids.csv").write_text("n01440764,wet\nn02123045,dry\n")
    ids = ["n02123045", "n01440764"]
    groups = class_groups(["tabby", "tench"], ids, 2, source=str(tmp_path / "ids.csv"))
    assert groups is not None
    assert groups.superclasses == ("dry", "wet")


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.csv", "bus\n", "line 1: not of the form class,superclass"),
        ("a.csv", "bus,vehicle\nmouse,\n", "line 2: not of the form"),
        ("a.csv", "", "is empty"),
        ("a.csv", "bus,vehicle\nbus,thing\nmouse,x\n", "two superclasses for 'bus'"),
        ("a.csv", "bus,vehicle\n", "no superclass for 'mouse'"),
        ("a.json", "{", "is not JSON"),
        ("a.json", '["bus"]', "not a JSON object"),
        ("a.json", '{"bus": 3}', "not a JSON object"),
    ],
)
def test_a_bad_file_is_refused_in_a_line(tmp_path, name, text, told):
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=told) as refused:
        class_groups(["bus", "mouse"], None, 2, source=str(tmp_path / name))
    assert "\n" not in str(refused.value)


def test_bad_sources_are_refused():
    with pytest.raises(UsageError, match="not a text file"):
        class_groups(
            ["a", "b"], None, 2, source=str(files("workbench.data") / "fashion_mnist_mini.npz")
        )
    with pytest.raises(UsageError, match="Did you mean"):
        class_groups(["a", "b"], None, 2, source="cifar01")
    with pytest.raises(UsageError, match="cifar10 has no class 'a' and 1 more"):
        class_groups(["a", "b"], None, 2, source="cifar10")
    with pytest.raises(UsageError, match="cifar10 has 10 classes, and these are 7"):
        class_groups(None, None, 7, source="cifar10")
    with pytest.raises(UsageError, match="mean the same class"):
        class_groups(["cat", "Cat"], None, 2, source="cifar10")


def test_sources_say_what_they_are():
    assert superclass_sources()["cifar100"].startswith("100 classes, 20 superclasses; ")


def test_the_nearest_cut_wins():
    assert wordnet_superclass("n02123394") == "domestic cat"  # not "wild cat", further up
    assert wordnet_superclass("n01698640") == "crocodilian"  # American alligator


def test_the_file_is_made_of_wordnets_nouns_as_they_are_written():
    text = (
        "  1 This software and database is being provided to you\n"
        "00000001 03 n 01 entity 0 000 | that which is\n"
        "00000002 05 n 02 house_cat 0 mouser 0 002 @ 00000001 n 0000 #m 00000003 n 0000 | a cat\n"
        "00000003 05 n 0a a 0 b 0 c 0 d 0 e 0 f 0 g 0 h 0 i 0 j 0 001 @i 00000001 n 0000 | ten\n"
    )
    nouns = read_nouns(text)
    assert nouns["n00000002"].words == ("house cat", "mouser")
    assert nouns["n00000002"].hypernyms == ("n00000001",)
    assert (len(nouns["n00000003"].words), nouns["n00000003"].hypernyms) == (10, ("n00000001",))
    assert above(nouns, ["n00000002"]) == ["n00000001", "n00000002"]
    lines = table(nouns, ["n00000002"], []).splitlines()
    assert lines[-1] == "n00000002\t0\t\tn00000001\thouse cat, mouser"
