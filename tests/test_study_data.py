"""The data of a study, and the values of names in its files and commands."""

import io
import tarfile
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from study_case import STUDY, toy

from workbench.console import Console
from workbench.errors import UsageError
from workbench.studies.definitions import read_study
from workbench.studies.filling import fill_command, fill_file
from workbench.studies.needs import find, unpack


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path / "nothing"))


# --- names -----------------------------------------------------------------------------------

VALUES = st.one_of(
    st.integers(-(2**40), 2**40),
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8", exclude_characters="\x7f", exclude_categories=["Cs"])),
    st.lists(st.integers(-9, 9)),
    st.lists(st.text("ab$\"'\\,{}")),
)


@given(VALUES)
def test_a_quoted_name_becomes_the_value_whatever_it_is(value: object) -> None:
    text = fill_file('a = "$name"\nb = "${name}"', {"name": value}, "")
    assert tomllib.loads(text) == {"a": value, "b": value}


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")))
def test_a_value_is_one_argument_whatever_is_in_it(value: str) -> None:
    assert fill_command("train $name --data '$name/x'", {"name": value}, "") == [
        "train",
        value,
        "--data",
        f"{value}/x",
    ]


def test_a_dollar_sign_is_doubled_and_an_unknown_name_is_refused() -> None:
    assert fill_file("a = '$$5 $b'", {"b": 1}, "") == "a = '$5 1'"
    with pytest.raises(UsageError, match="Did you mean '\\$epochs'"):
        fill_file('a = "$epoch"', {"epochs": 1}, "x.toml")
    with pytest.raises(UsageError, match="written as \\$\\$"):
        fill_file("a = '5 $'", {}, "x.toml")


# --- data ------------------------------------------------------------------------------------


def test_the_first_place_that_exists_meets_a_need() -> None:
    study = read_study(str(toy()))
    for folder in ("one", "two"):
        Path(folder).mkdir()
    Path("two/quadrants.zip").write_bytes(b"")
    folders = [Path("one"), Path("two")]
    assert find(study.needs, folders, download=False) == {"quadrants": "two/quadrants.zip"}
    Path("two/quadrants.npz").write_bytes(b"")
    assert find(study.needs, folders, download=False) == {"quadrants": "two/quadrants.npz"}


def test_a_named_data_set_is_taken_only_where_it_may_be_fetched() -> None:
    study = read_study(str(toy(STUDY.replace("what =", 'name = "mnist"\nwhat ='))))
    with pytest.raises(UsageError, match="--download fetches bright quadrants"):
        find(study.needs, [], download=False)
    assert find(study.needs, [], download=True) == {"quadrants": "mnist"}


def test_a_place_inside_a_package_is_found_without_importing_it() -> None:
    text = STUDY.replace('places = ["quadrants.npz", "quadrants.zip"]', 'places = ["data"]')
    study = read_study(str(toy(text.replace("what =", 'package = "foolbox"\nwhat ='))))
    found = Path(find(study.needs, [], download=False)["quadrants"])
    assert any(found.glob("imagenet_*"))
    study = read_study(
        str(toy(text.replace("what =", 'package = "no_such"\ninstall = "no-such"\nwhat =')))
    )
    with pytest.raises(UsageError, match=r"Python package no_such\)\.\nPip install no-such"):
        find(study.needs, [], download=False)


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_an_archive_is_unpacked_once(kind: str) -> None:
    archive = Path(f"set.{kind}")
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as made:
            made.writestr("set/a.txt", "a")
    else:
        with tarfile.open(archive, "w:gz") as made:
            entry = tarfile.TarInfo("set/a.txt")
            entry.size = 1
            made.addfile(entry, io.BytesIO(b"a"))
    quiet = Console("quiet", silent=True)
    folder = unpack(archive, Path("below"), quiet)
    assert (folder / "a.txt").read_text(encoding="utf-8") == "a"
    (folder / "a.txt").write_text("kept", encoding="utf-8")
    assert unpack(archive, Path("below"), quiet) == folder
    assert (folder / "a.txt").read_text(encoding="utf-8") == "kept"
    assert unpack(folder, Path("below"), quiet) == folder


def test_two_studies_may_unpack_an_archive_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile("set.zip", "w") as made:
        made.writestr("set/a.txt", "a")
    quiet = Console("quiet", silent=True)
    first = unpack(Path("set.zip"), Path("below"), quiet)
    exists = Path.exists
    monkeypatch.setattr(Path, "exists", lambda path: path != first.parent and exists(path))
    assert (
        unpack(Path("set.zip"), Path("below"), quiet) == first
    )  # it was not there when looked for
    assert [each.name for each in Path("below").iterdir()] == [first.parent.name]


def test_an_archive_that_is_damaged_or_writes_elsewhere_leaves_nothing() -> None:
    Path("cut.tar.gz").write_bytes(b"\x1f\x8b\x08")
    with tarfile.open("out.tar", "w") as made:
        made.addfile(tarfile.TarInfo("../../evil"))
    Path("no.zip").write_bytes(b"PK")
    Path("noise").write_bytes(np.random.default_rng(0).integers(0, 9, 100_000, np.uint8).tobytes())
    for kind in ("gz", "xz"):
        with tarfile.open(f"bad.tar.{kind}", f"w:{kind}") as made:
            made.add("noise")
        content = bytearray(Path(f"bad.tar.{kind}").read_bytes())
        content[20_000:21_000] = b"\xff" * 1000
        Path(f"bad.tar.{kind}").write_bytes(content)
    for name in ("cut.tar.gz", "out.tar", "no.zip", "bad.tar.gz", "bad.tar.xz"):
        with pytest.raises(UsageError, match="cannot be unpacked"):
            unpack(Path(name), Path("below"), Console("quiet", silent=True))
    assert not list(Path("below").iterdir())
    assert not Path("evil").exists()
