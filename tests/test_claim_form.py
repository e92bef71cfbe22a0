"""Claims of a study: how they are written, and which are refused."""

from typing import Any

import pytest
from claims_case import COSTS, ORDERING

from workbench.errors import UsageError
from workbench.studies.claims import read_claims


@pytest.mark.parametrize(
    ("claim", "parts"),
    [
        ({}, ["does not say what is tested", "untestable"]),
        ({"says": None, "untestable": "x"}, ["says is a text"]),
        ({"says": " ", "untestable": "x"}, ["says is a text"]),
        ({"untestable": ""}, ["untestable is a text"]),
        ({**ORDERING, "higer": "x"}, ["Unknown setting 'higer'", "'higher'"]),
        ({**ORDERING, "rows": "x"}, ["rows says nothing to a claim with higher"]),
        ({"untestable": "x", "measure": "mce"}, ["measure says nothing"]),
        ({**ORDERING, "lower": []}, ["lower is a list of texts"]),
        ({**ORDERING, "lower": [3]}, ["lower is a list of texts"]),
        ({"measure": "mce", "higher": "a"}, ["lower is a list of texts, and missing"]),
        ({"higher": "a", "lower": "b"}, ["measure is a text, and missing"]),
        ({**ORDERING, "higher": ["good", "bad"]}, ["good stands in both higher and lower"]),
        ({**ORDERING, "measure": "moved-mean:fgsm"}, ["Unknown measure 'moved-mean'"]),
        ({**ORDERING, "measure": "clean-eror"}, ["Did you mean 'clean-error'"]),
        ({**ORDERING, "measure": "moved"}, ["several measures", "mean-pixel-change"]),
        ({**ORDERING, "measure": "robust-accuracy:fgms"}, ["fgms", "fgsm"]),
        ({**ORDERING, "measure": "robust-accuracy:fgsm(epps=1)"}, ["epps", "eps"]),
        ({**ORDERING, "measure": "family-mean-error:nois"}, ["family", "'noise'"]),
        ({**ORDERING, "measure": "probe-error:rotaton"}, ["rotaton", "rotation"]),
        ({**ORDERING, "measure": "mce:fgsm"}, ["mce is of no attack"]),
        ({**ORDERING, "measure": "success-rate@0.1:fgsm"}, ["threshold"]),
        ({**ORDERING, "measure": "pixels-over-threshold@x:fgsm"}, ["threshold"]),
        ({**ORDERING, "record": "../other"}, ["below the study's output"]),
        ({**ORDERING, "record": "/other"}, ["below the study's output"]),
        ({**ORDERING, "scales": []}, ["scales is a list"]),
        ({"measure": "mce", "best": "a", "among": ["a"]}, ["among names no other"]),
        ({"measure": "mce", "best": ["a"], "among": ["b"]}, ["best is a text"]),
        ({"rows": "a", "at_least": 0.1}, ["on a measure or on the drop"]),
        (
            {"rows": "a", "at_least": 0.1, "measure": "mce", "corruption": "fog"},
            ["on a measure or on the drop"],
        ),
        ({"rows": "a", "at_least": "1", "measure": "mce"}, ["at_least is a number"]),
        ({"rows": "a", "at_least": True, "measure": "mce"}, ["at_least is a number"]),
        ({"rows": "a", "at_least": float("nan"), "measure": "mce"}, ["at_least is a number"]),
        ({"rows": "a", "at_least": 50, "measure": "clean-error"}, ["share of images", "50"]),
        (
            {"rows": "a", "at_least": 0.5, "at_most": 0.4, "measure": "mce"},
            ["nothing is at least 0.5"],
        ),
        (
            {"rows": "a", "at_least": 0.5, "measure": "mce", "severity": 3},
            ["severity says nothing"],
        ),
        ({"rows": "a", "corruption": "fogg", "shape": "flat"}, ["corruption", "'fog'"]),
        ({"rows": "a", "corruption": "fog", "shape": "linear"}, ["shape", "near-linear"]),
        ({**COSTS, "severity": 6}, ["severity is 1, 2, 3, 4 or 5"]),
        ({**COSTS, "corruption_higher": "gaussian_noise"}, ["stands in both"]),
    ],
)
def test_a_claim_that_cannot_be_meant_is_refused(claim: dict[str, Any], parts: list[str]) -> None:
    good = {"says": "so", "untestable": "x"}
    given = {"says": "so", **claim}
    given = {key: value for key, value in given.items() if value is not None}
    with pytest.raises(UsageError) as refused:
        read_claims([good, given], "s2/study.toml")
    message = str(refused.value)
    assert message.startswith("s2/study.toml, claim 2")
    assert len(message.splitlines()) <= 2
    for part in parts:
        assert part in message


def test_a_scale_is_one_of_the_study() -> None:
    table = {"says": "so", **ORDERING, "scales": ["smal"]}
    assert read_claims([table], "study.toml")[0].scales == ("smal",)
    with pytest.raises(UsageError, match=r"claim 1: Unknown scale 'smal'\. Did you mean 'small'"):
        read_claims([table], "study.toml", ["small", "gpu"])


@pytest.mark.parametrize("tables", [{"says": "so"}, ["so"]])
def test_claims_are_tables(tables: Any) -> None:
    with pytest.raises(UsageError, match=r"\[\[claims\]\]"):
        read_claims(tables, "study.toml")


@pytest.mark.parametrize(
    "measure",
    [
        *("clean-error", "Clean-Top5-Accuracy", "worst-case-robust-accuracy", "mce", "success"),
        *("mean-pixel-change:sign-ascent", "success-rate:fgsm(eps=8/255) target=next seed=3"),
        *("pixels-over-threshold@0.10:foolbox:LinfPGD", "family-mean-error:extra"),
        *("probe-error:rotation(angle=10)", "judge-keeps-rate"),
    ],
)
def test_measures_that_some_record_can_have_are_taken(measure: str) -> None:
    (claim,) = read_claims([{"says": "so", **ORDERING, "measure": measure}], "study.toml")
    assert claim.asks is not None
