"""Claims about corruptions within a model: what they cost, and the shapes of curves."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from claims_case import COSTS, costly, decided, judged
from comparison_case import recounted, trained

from benchmarks.replicates import rows
from benchmarks.significance import holm, mcnemar, newcombe


def test_what_corruptions_cost_is_compared_image_by_image(tmp_path: Path) -> None:
    mine = costly([[[10, 20, 30], [10, 30, 50], [12, 40, 60]]])
    found = judged(tmp_path, mine, **COSTS, severity=5)
    assert found.verdict == "reproduced"
    assert [part["difference"] for part in found.parts] == pytest.approx([20 / 80, 30 / 80])
    assert [part["p_holm"] for part in found.parts] == pytest.approx(
        holm([mcnemar(20, 0), mcnemar(30, 0)])
    )
    assert {row["corruption"]: row["value"] for row in found.rows} == pytest.approx(
        {"fog": 42 / 80, "contrast": 52 / 80, "gaussian_noise": 22 / 80}
    )
    assert found.rows[0]["interval"] == newcombe(8, 42, 0, 30)
    swapped = {
        "rows": ["model 0"],
        "corruption_higher": "gaussian_noise",
        "corruption_lower": ["fog", "contrast"],
    }
    assert decided(tmp_path, **swapped, severity=5).verdict == "not reproduced"
    assert decided(tmp_path, **swapped, severity=1).verdict == "undecided"


def test_without_a_severity_it_is_the_mean_over_those_measured(tmp_path: Path) -> None:
    mine = costly([[[10, 20, 30], [40, 50, 60], [40, 50, 60]]])
    found = judged(tmp_path, mine, **COSTS)
    assert found.verdict == "reproduced"
    assert found.measure is not None
    assert found.measure["severities"] == [1, 3, 5]
    assert {row["corruption"]: row["value"] for row in found.rows} == pytest.approx(
        {"fog": 42 / 80, "contrast": 42 / 80, "gaussian_noise": 12 / 80}
    )
    by_image = np.array([(np.arange(80) < wrong) for wrong in (40, 50, 60, 10, 20, 30)])
    apart = by_image[:3].mean(axis=0) - by_image[3:].mean(axis=0)
    low, high = found.parts[0]["interval"]
    assert found.parts[0]["difference"] == pytest.approx(apart.mean())
    half = 1.96 * apart.std() / 80**0.5  # the normal approximation; BCa is skewed a little
    assert (low, high) == pytest.approx((apart.mean() - half, apart.mean() + half), abs=0.02)
    assert "bootstrap" in found.parts[0]["test"]


def test_only_images_that_were_measured_throughout_count(tmp_path: Path) -> None:
    mine = costly([[[10, 20, 30], [10, 30, 50], [12, 40, 60]]])
    mine.clean["right"][0, :10] = 255
    mine.corrupted["right"][0, 1, 2, 10:15] = 255  # fog
    found = judged(tmp_path, recounted(mine), **COSTS, severity=5)
    fog = next(part for part in found.parts if part["larger"] == "fog")
    assert fog["difference"] == pytest.approx(20 / 65)
    assert "65 images" in fog["test"]


def test_every_model_of_a_row_has_to_show_it(tmp_path: Path) -> None:
    mine = costly([[[10, 20, 30], [10, 30, 50], [12, 40, 60]]] * 2)
    mine.corrupted["right"][1, 1, 2] = mine.corrupted["right"][1, 0, 2]  # fog as noise
    described = [
        {"name": name, "digest": name, "description": trained(seed)}
        for seed, name in enumerate(mine.models)
    ]
    mine = recounted(replace(mine, config={**mine.config, "models": described}))
    assert [row.models for row in rows(mine)] == [(0, 1)]
    claim = {**COSTS, "rows": "resnet20(width=4)", "severity": 5}
    found = judged(tmp_path, mine, **claim)
    assert found.verdict == "undecided"
    assert [part["shown"] for part in found.parts] == [
        *("as claimed", "as claimed"),
        *("open", "as claimed"),
    ]
    assert {row["name"] for row in found.rows} == {"model 0", "model 1"}


def test_the_drop_under_a_corruption_has_bounds_too(tmp_path: Path) -> None:
    mine = costly([[[10, 20, 30], [10, 30, 50], [8, 8, 9]]])
    mild = {"rows": "model 0", "corruption": "contrast", "at_most": 0.1}
    assert judged(tmp_path, mine, **mild).verdict == "reproduced"
    severe = {"rows": "model 0", "corruption": "fog", "severity": 5}
    assert decided(tmp_path, **severe, at_least=0.4).verdict == "reproduced"
    assert decided(tmp_path, **severe, at_least=0.5).verdict == "undecided"
    assert decided(tmp_path, **severe, at_most=0.1).verdict == "not reproduced"


@pytest.mark.parametrize(
    ("corruption", "shape", "expected"),
    [
        ("fog", "threshold collapse", "reproduced"),
        ("fog", "near-linear", "not reproduced"),
        ("contrast", "near-linear", "reproduced"),
        ("contrast", "flat", "not reproduced"),
        (["fog", "contrast"], "threshold collapse", "not reproduced"),
    ],
)
def test_the_shape_of_a_curve_is_the_name_that_the_product_gives(
    tmp_path: Path, corruption: Any, shape: str, expected: str
) -> None:
    mine = costly([[[8, 8, 8], [8, 8, 60], [20, 40, 60]]])
    found = judged(tmp_path, mine, rows="model 0", corruption=corruption, shape=shape)
    assert found.verdict == expected
    assert ("collapse" if "fog" in corruption else "linear") in found.parts[0]["shape"]


def test_a_shape_that_some_resamples_have_is_not_refuted(tmp_path: Path) -> None:
    mine = costly([[[8, 8, 8], [8, 8, 8], [8, 9, 11]]])  # 3.75 points: nearly not flat
    claim = {"rows": "model 0", "corruption": "contrast"}
    found = judged(tmp_path, mine, **claim, shape="near-linear")
    assert found.parts[0]["shape"] == "flat"
    assert found.parts[0]["shares"]["near-linear"] > 0.05
    assert found.verdict == "undecided"
    assert decided(tmp_path, **claim, shape="early drop then flat").verdict == "not reproduced"


def test_a_severity_that_was_not_measured_is_told(tmp_path: Path) -> None:
    found = judged(tmp_path, costly([[[8] * 3] * 3]), **COSTS, severity=2)
    assert (found.verdict, found.reason) == (
        "not testable",
        "the record does not have severity 2",
    )
