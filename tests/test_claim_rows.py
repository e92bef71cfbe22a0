"""Claims of a study: which rows of a record their names stand for."""

from pathlib import Path

import pytest
from claims_case import decided, judged
from comparison_case import record, trained

from benchmarks.reading import Record


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("a-1", "a-1"),
        ("mlp, plain", "a-1"),
        ("mlp", "a-1"),
        ("mlp(width=50)", "a-1"),
        ("mlp(depth=1, width=50), none", "a-1"),
        ("mlp, noisy", "b-1"),
        ("mlp, noisy(std=1/10)", "b-1"),
        ("mlp, noisy(std=0.3)", "c-1"),
        ("study-resnet123, crop-flip", "d-1"),  # the only one, whatever its width
        ("study-resnet123(width=8), crop-flip(padding=2)", "d-1"),
    ],
)
def test_rows_are_named_with_or_without_what_is_the_default(
    tmp_path: Path, text: str, model: str
) -> None:
    found = judged(tmp_path, of_four(), measure="clean-error", rows=text, at_least=0)
    assert [row["name"] for row in found.rows] == [model], found.reason


@pytest.mark.parametrize(
    "text",
    [
        "mlp(width=51)",
        "mlp, noisy(std=0.2)",
        "mlp, crop-flip",
        "study-resnet123",
        "study-resnet123, crop-flip(padding=4)",
        "resnet20",
        "no such model",
    ],
)
def test_a_row_that_is_not_there_makes_a_claim_untestable(tmp_path: Path, text: str) -> None:
    claim = {"measure": "clean-error", "higher": ["a-1", text], "lower": "b-1"}
    found = judged(tmp_path, of_four(), **claim)
    assert found.verdict == "not testable"
    assert f"'{text}' is not in the record (it has a-1, b-1, c-1, d-1)" in found.reason
    assert found.parts == ()


def of_four() -> Record:
    described = [
        trained(1, arch="mlp"),
        trained(1, arch="mlp", defenses=["noisy(std=0.1)"]),
        trained(1, arch="mlp", defenses=["noisy(std=0.3)"]),
        trained(1, arch="study-resnet123(width=8)", defenses=["crop-flip(padding=2, flip=True)"]),
    ]
    return record(["a-1", "b-1", "c-1", "d-1"], descriptions=described, corrupted=False)


def test_a_name_that_fits_several_rows_tests_none(tmp_path: Path) -> None:
    described = [trained(1, arch=f"mlp(width={width})") for width in (8, 9)]
    mine = record(["a", "b"], descriptions=described, corrupted=False)
    found = judged(tmp_path, mine, measure="clean-error", rows="mlp, plain", at_least=0.1)
    assert found.verdict == "not testable"
    assert "'mlp, plain' can be several rows of the record: 'a', 'b'" in found.reason
    claim = {"measure": "clean-error", "higher": "a", "lower": "mlp(width=8)"}
    assert "on both sides" in decided(tmp_path, **claim).reason
