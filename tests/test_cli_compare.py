"""`workbench compare` from the command line: tables, sorting, limits, and what is refused."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from cli_case import refused, workbench
from comparison_case import ATTACKS, record, recounted, trained, write

from benchmarks import compare, read_record
from workbench.errors import UsageError
from workbench.gates import parse_gate
from workbench.measure_names import find_measures
from workbench.record_views import view_results

MODELS = {"plain": 0.1, "other": 0.12, "worse": 0.45}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("run"), record(MODELS, baseline="plain"))


def test_the_document_is_the_comparison(path: Path) -> None:
    result = workbench("compare", path.parent, "--json")
    assert result.code == 0, result.err
    document = result.document
    assert document["records"] == [str(path)]
    expected = compare(read_record(path))
    assert {key: document[key] for key in expected} == expected
    assert document["baseline"] == "plain"


@pytest.mark.parametrize("width", [80, 100, 140])
def test_tables_fit_and_say_the_verdict_in_words(
    path: Path, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    result = workbench("compare", path)
    tables = [line for line in result.out.splitlines() if line and line[0] in "┏┃┡│├└"]
    assert tables
    assert max(map(len, tables)) <= width
    rows = compare(read_record(path))["rows"]
    told = [
        each["versus"]["verdict"]
        for row in rows  # type: ignore[attr-defined]
        for each in row["numbers"].values()
        if each["versus"]
    ]
    assert told.count("worse") > 3
    for verdict, mark in (("worse", "▼ worse"), ("no difference", "= no difference")):
        cells = sum(line.count(mark) for line in tables)
        assert cells == told.count(verdict)
    assert "▲ better, ▼ worse than plain; = no difference shown" in result.out
    assert f"all {len(told)} tests of this comparison" in result.out
    assert "…" not in result.out


def test_replicates_stand_in_one_row_with_their_spread(tmp_path: Path) -> None:
    descriptions = [trained(0), trained(1), trained(2)]
    noisy = [
        trained(seed, defenses=["noisy(std=0.1)"], trained_on_corruptions=["fog"])
        for seed in range(3)
    ]
    models = {name: 0.1 + i / 40 for i, name in enumerate("abcdef")}
    mine = record(models, descriptions=[*descriptions, *noisy], baseline="a")
    path = write(tmp_path, mine)
    out = workbench("compare", path, "--columns", "clean,mce").out
    errors = (mine.clean["right"] == 0).mean(axis=1)
    assert f"sd {100 * errors[:3].std(ddof=1):.1f}, 3 seeds" in out
    assert "resnet20(width=4), noisy †" in out
    assert "† resnet20(width=4), noisy: trained on test corruptions (fog)" in out
    assert "Welch's t-test" in out
    assert "robust" not in out
    apart = workbench("compare", path, "--no-fold", "--quiet").out
    assert apart.split() == list("abcdef")


def test_rows_are_sorted_best_first(path: Path) -> None:
    for measure in ("clean-error", "worst_case_robust_accuracy", "robust-accuracy:fgsm"):
        found = workbench("compare", path, "--sort", measure, "--json").document
        key = next(
            k
            for k in found["rows"][0]["numbers"]
            if k.startswith(measure.split(":")[0].replace("-", "_"))
        )
        values = [row["numbers"][key]["value"] for row in found["rows"]]
        assert values == sorted(values, reverse="error" not in key)
        assert found["rows"][-1]["name"] == "worse"
    assert workbench("compare", path, "--sort", "mce", "--quiet").out.split()[-1] == "worse"


def test_a_limit_that_is_kept_and_one_that_is_not(path: Path) -> None:
    kept = workbench("compare", path, "--fail-under", "clean-accuracy=30%", "--quiet")
    assert (kept.code, kept.out) == (0, "kept\n")
    missed = workbench("compare", path, "--fail-under", "clean-accuracy=0.7", "--json")
    assert missed.code == 1
    (worse,) = (gate for gate in missed.document["gates"] if not gate["passed"])
    assert worse["row"] == "worse"
    error = missed.document["rows"][2]["numbers"]["clean_error"]["value"]
    assert worse["value"] == pytest.approx(1 - error)
    gap = 100 * (0.7 - (1 - error))
    assert f"under the 70.00 % asked for by {gap:.2f} points" in missed.err
    assert len(re.findall("error:", missed.err)) == 1


def test_for_errors_and_mce_a_limit_is_a_most(path: Path) -> None:
    assert workbench("compare", path, "--fail-under", "mce=1.5").code == 1
    assert workbench("compare", path, "--fail-under", "mce=90%").code == 1
    assert workbench("compare", path, "--fail-under", "mce=9.5").code == 0
    result = workbench("compare", path, "--fail-under", "clean-error=0.2")
    assert result.code == 1
    assert "worse: clean error is" in result.err
    assert "over the 20.00 % asked for" in result.err


def test_a_limit_that_equals_the_number_is_kept(path: Path) -> None:
    worst = compare(read_record(path))["rows"][2]["numbers"]  # type: ignore[index]
    value = worst["worst_case_robust_accuracy"]["value"]
    assert workbench("compare", path, "--fail-under", f"robust-accuracy={value!r}").code == 0


def test_the_model_that_mce_is_relative_to_keeps_any_limit_on_it(path: Path) -> None:
    result = workbench("compare", path, "--fail-under", "mce=1%", "--json")
    assert result.code == 1
    passed = {gate["row"]: gate["passed"] for gate in result.document["gates"]}
    assert passed == {"plain": True, "other": False, "worse": False}


def test_what_was_not_measured_keeps_no_limit(tmp_path: Path) -> None:
    mine = record({"a": 0.1, "b": 0.1})
    for name in ("attacked", "success", "misclassified"):
        mine.attacked[name][1] = 255
    result = workbench(
        "compare", write(tmp_path, recounted(mine)), "--fail-under", "robust-accuracy=0"
    )
    assert result.code == 1
    assert "b: worst-case robust accuracy was not measured" in result.err


@pytest.mark.parametrize(
    ("limit", "parts"),
    [
        ("mse=1", ("Did you mean 'mce'?",)),
        ("mce", ("METRIC=VALUE",)),
        ("=0.3", ("METRIC=VALUE",)),
        ("mce=low", ("low is no number",)),
        ("mce=nan", ("nan is no number",)),
        ("clean-error=30", ("30%",)),
        ("success-rate=0.3", ("say which of", "success-rate:fgsm")),
        ("success-rate:fgms=0.3", ("Unknown attack", "fgms")),
        ("mean-pixel-change:fgsm=0.3", ("neither good nor bad",)),
    ],
)
def test_limits_that_say_nothing_are_refused(
    path: Path, limit: str, parts: tuple[str, ...]
) -> None:
    refused(workbench("compare", path, "--fail-under", limit), *parts)


def test_a_limit_may_hold_a_whole_spec(path: Path) -> None:
    measures = compare(read_record(path))["measures"]
    gate = parse_gate("robust-accuracy:fgsm(eps=0.1)=25%", measures)  # type: ignore[arg-type]
    assert (gate.key, gate.limit) == (f"robust_accuracy:{ATTACKS[0]}", 0.25)


def test_measures_are_found_by_section_name_and_threshold(path: Path) -> None:
    measures = compare(read_record(path))["measures"]

    def keys(text: str) -> list[str]:
        return [each["key"] for each in find_measures(text, measures, "--columns")]  # type: ignore[arg-type]

    assert keys("clean") == ["clean_error", "clean_top5_error"]
    assert keys("robust-accuracy") == [f"robust_accuracy:{attack}" for attack in ATTACKS]
    assert keys("pixels-over-threshold@0.1:fgsm") == [f"pixels_over_threshold@0.1:{ATTACKS[0]}"]
    assert keys("pixels-over-threshold@0.10:fgsm") == keys("pixels-over-threshold@0.1:fgsm")
    for threshold in ("0", "0.", "x"):  # the beginning of one is another
        with pytest.raises(UsageError):
            keys(f"pixels-over-threshold@{threshold}")
    with pytest.raises(UsageError, match=r"Known: [^,]*, [^,]*\.$"):  # the worst case is of none
        keys("robust:zzz")
    assert keys("family-mean-error:noise") == ["family_mean_error:noise"]
    assert len(keys("all")) == len(measures)
    with pytest.raises(UsageError, match="Did you mean 'corruptions'"):
        keys("corruption")


@pytest.mark.parametrize("written", ["fgsm(eps=0.10)", "fgsm(eps=1/10)", "fgsm(loss=ce, eps=0.1)"])
def test_an_attack_may_be_written_in_any_way_that_means_the_same(path: Path, written: str) -> None:
    measures = compare(read_record(path))["measures"]
    (found,) = find_measures(f"robust-accuracy:{written}", measures, "--columns")  # type: ignore[arg-type]
    assert found["key"] == f"robust_accuracy:{ATTACKS[0]}"
    with pytest.raises(UsageError):
        find_measures("robust-accuracy:fgsm(eps=0.2)", measures, "--columns")  # type: ignore[arg-type]


def test_what_is_no_better_is_shown_when_asked_for(path: Path) -> None:
    assert "mean change per pixel, fgsm" not in " ".join(workbench("compare", path).out.split())
    out = workbench("compare", path, "--columns", "mean-pixel-change:fgsm(eps=0.1),clean").out
    assert "mean change per pixel," in out
    assert "mCE" not in out.split("[low, high]")[0]


@pytest.mark.parametrize("columns", ["", " , "])
def test_tables_of_nothing_are_refused(path: Path, columns: str) -> None:
    refused(workbench("compare", path, "--columns", columns), "names no measure")


def test_a_baseline_of_another_name(path: Path) -> None:
    found = workbench("compare", path, "--baseline", "worse", "--json").document
    assert found["baseline"] == "worse"
    assert found["rows"][0]["numbers"]["clean_error"]["versus"]["verdict"] == "better"
    refused(workbench("compare", path, "--baseline", "plane"), "Did you mean 'plain'")
    refused(workbench("compare", path, "--baseline", "alexnet"), "one of its models")


def test_mce_is_relative_to_the_model_that_is_asked_for(path: Path) -> None:
    document = workbench("compare", path, "--baseline", "other", "--json").document
    numbers = {row["name"]: row["numbers"] for row in document["rows"]}
    assert numbers["other"]["mce"]["value"] == pytest.approx(1.0)
    kept = {row["name"]: row["numbers"] for row in compare(read_record(path))["rows"]}
    errors = {name: each["mean_corruption_error"]["value"] for name, each in numbers.items()}
    assert errors == {name: each["mean_corruption_error"]["value"] for name, each in kept.items()}
    assert numbers["worse"]["mce"]["value"] != kept["worse"]["mce"]["value"]


def test_records_of_the_same_data_are_compared_together(tmp_path: Path) -> None:
    one = write(tmp_path / "one", record(MODELS, corrupted=False))
    two = write(tmp_path / "two", record({"fourth": 0.3}, corrupted=False))
    found = workbench("compare", one, two, "--json")
    assert found.code == 0, found.err
    assert [row["name"] for row in found.document["rows"]] == [*MODELS, "fourth"]
    other = record({"fourth": 0.3}, count=60, corrupted=False)
    refused(workbench("compare", one, write(tmp_path / "three", other)), "same")


def test_what_one_row_lacks_is_told(tmp_path: Path) -> None:
    found = record(MODELS, baseline="plain")
    found.attacked["attacked"][1, 0] = 255
    path = write(tmp_path / "run", found)
    shown = workbench("compare", path).out
    (line,) = (line for line in shown.splitlines() if line.startswith("-: "))
    assert line.startswith("-: other was not measured on all of: ")
    assert "fgsm" in " ".join(shown[shown.index(line) :].split("\n")[:3])


@pytest.mark.parametrize("damage", ["cut", "flipped", "text", "older", "incomplete"])
def test_records_that_cannot_be_read_are_refused(path: Path, tmp_path: Path, damage: str) -> None:
    whole = path.read_bytes()
    middle = len(whole) // 2
    copy = tmp_path / "copy.h5"
    copy.write_bytes(whole)
    if damage == "cut":
        copy.write_bytes(whole[:middle])
    elif damage == "flipped":
        shutil.copy(path.with_name("record.h5.sha256"), tmp_path / "copy.h5.sha256")
        copy.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    elif damage == "text":
        copy.write_text("no record")
    else:
        with h5py.File(copy, "r+") as file:
            file.attrs["format_version" if damage == "older" else "complete"] = np.int64(0)
    refused(workbench("compare", copy), "copy.h5")


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    refused(workbench("compare", tmp_path / "none.h5"), "none.h5")
    refused(workbench("compare", tmp_path), "holds no record.h5")
    (tmp_path / "config.json").write_text("{}")
    refused(workbench("compare", tmp_path), "not finished")


def test_failed_cells_and_cautions_are_told(tmp_path: Path) -> None:
    caution = {"model": "a", "attack": ATTACKS[0], "code": "zero", "message": "no gradient here"}
    failure = {"model": "a", "attack": None, "start": 0, "stop": 9, "reason": "out of memory"}
    mine = replace(record({"a": 0.1, "b": 0.2}), cautions=(caution,), failures=(failure,))
    result = workbench("compare", write(tmp_path, mine))
    assert result.code == 0
    assert "no gradient here" in result.err
    assert "1 cell of the record failed" in result.err


@pytest.mark.parametrize(
    "options", [("--view", "classes", "--sort", "mce"), ("--class", "3"), ("--condition", "fog")]
)
def test_options_of_something_else_are_refused(path: Path, options: tuple[str, ...]) -> None:
    refused(workbench("compare", path, *options), "says nothing to --view")


@pytest.mark.parametrize("view", ["curves", "classes", "calibration"])
def test_views_are_those_of_the_record(path: Path, view: str) -> None:
    result = workbench("compare", path, "--view", view, "--json")
    assert result.code == 0, result.err
    assert result.document["view"] == view
    expected = view_results(read_record(path), view)
    assert [each["model"] for each in result.document["models"]] == list(MODELS)
    assert result.document.keys() >= expected.keys()
    shown = workbench("compare", path, "--view", view)
    assert shown.code == 0
    assert all(name in shown.out for name in MODELS)


def test_a_view_that_there_is_not_is_refused(path: Path) -> None:
    refused(workbench("compare", path, "--view", "curve"), "Did you mean 'curves'")
