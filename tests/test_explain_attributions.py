"""The view `attributions`: which maps there are, of what, and what is told of them."""

import sys

import numpy as np
import pytest
import torch
from explain_case import NAMES, Quadrant, classifier, data, network, viewed
from torch import Tensor, nn

from benchmarks.evaluation import float32_logits
from workbench.corruptions import make_recipes
from workbench.drawing.marks import Picture, Text
from workbench.errors import UsageError
from workbench.explain import images as shown
from workbench.explain.attributions import Explained, _explained, _for_model, attributions
from workbench.explain.viewed import Viewed


def explained(looked: Viewed, *methods: str) -> Explained:
    """What is found for the first model on clean images."""
    chosen = shown.shown_images(looked)
    layers, reason = _for_model(methods, looked.models[0], chosen.images[:1])
    assert reason == ""
    return _explained(looked, looked.models[0], chosen.images, chosen, layers)


@pytest.mark.parametrize("method", ["saliency", "integrated-gradients", "grad-cam"])
def test_all_mass_is_in_the_quadrant_that_a_model_reads(method: str) -> None:
    found = explained(viewed(classifier(Quadrant())), method).maps[method]
    inside = found[:, :8, :8].sum() / found.sum()
    # Grad-CAM has the layer's resolution, which is that of the image here: nothing is smeared.
    assert float(found.sum()) > 0
    assert float(inside) == 1.0


@pytest.mark.parametrize("arch", ["resnet20", "resnet18", "timm:test_vit"])
def test_any_network_has_all_three(arch: str) -> None:
    size = (64, 64) if arch == "timm:test_vit" else (16, 16)
    looked = viewed(network(arch, input_size=size), show=2, steps=2)
    (exhibit,) = attributions(looked)
    answers = exhibit.numbers["answers"]
    assert len(answers) == 2
    for answer in answers:
        assert set(answer["half_mass_share"]) == {"saliency", "integrated-gradients", "grad-cam"}
    assert exhibit.drawing is not None
    pictures = [mark for mark in exhibit.drawing.marks if isinstance(mark, Picture)]
    assert len(pictures) == 2 * 4 + 1  # images and three methods, and the scale
    chosen = shown.shown_images(looked)
    logits = float32_logits(looked.models[0].classifier, chosen.images)
    assert [answer["guess"] for answer in answers] == logits.argmax(dim=1).tolist()


class Blind(Quadrant):
    """Hides its gradient, as some exported models do."""

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images)


@pytest.mark.parametrize("method", ["saliency", "integrated-gradients", "grad-cam"])
def test_a_model_that_gives_no_gradient_is_refused_by_name(method: str) -> None:
    with pytest.raises(UsageError, match="model-0: no gradient of the logits reaches"):
        attributions(viewed(classifier(Blind()), methods=(method,)))


def test_a_model_without_maps_has_no_grad_cam_and_the_note_says_why() -> None:
    looked = viewed(network("mlp"), classifier(Quadrant()))
    (exhibit,) = attributions(looked)
    assert "model-0 has no Grad-CAM: " in exhibit.note
    by_model = {each["model"]: each["half_mass_share"] for each in exhibit.numbers["answers"]}
    assert "grad-cam" not in by_model["model-0"]
    assert "grad-cam" in by_model["model-1"]


def test_grad_cam_alone_of_a_model_without_maps_is_refused() -> None:
    with pytest.raises(UsageError, match="model-0 has no Grad-CAM"):
        attributions(viewed(network("mlp"), methods=("grad-cam",)))


def test_the_images_are_those_of_the_benchmark() -> None:
    looked = viewed(classifier(Quadrant()), corruptions=("fog",), severities=(2, 5))
    clean, *others = shown.conditions(looked)[0]
    chosen = shown.shown_images(looked)
    assert torch.equal(shown.under(looked, chosen, clean), chosen.images)
    everything = data()
    for condition, severity in zip(others, (2, 5), strict=True):
        (recipe,) = make_recipes(["fog"], [severity], seed=0)
        whole = recipe.pixels(everything.images(slice(None)), everything.ids())
        ours = shown.under(looked, chosen, condition)
        assert torch.equal((ours * 255).round().to(torch.uint8), whole[torch.tensor(chosen.rows)])


def test_each_image_has_a_figure_for_each_corruption() -> None:
    looked = viewed(
        classifier(Quadrant()),
        corruptions=("fog", "jpeg_compression"),
        severities=(1, 5),
        methods=("saliency",),
    )
    found = attributions(looked)
    rows = shown.shown_images(looked).rows
    assert [each.name for each in found] == [
        f"attributions-{row}-{name}" for row in rows for name in ("fog", "jpeg-compression")
    ]
    for exhibit in found:
        conditions = [each["condition"] for each in exhibit.numbers["answers"]]
        assert conditions[0] == "clean"
        assert len(conditions) == 3
        assert exhibit.table is not None
        assert "gap" not in exhibit.table.headings


def test_the_guess_is_explained_or_the_label() -> None:
    for whose in ("guess", "label"):
        (exhibit,) = attributions(
            viewed(network("resnet20"), methods=("saliency",), explained=whose)
        )
        for answer in exhibit.numbers["answers"]:
            assert answer["explained"] == answer[whose]


def test_the_class_that_is_looked_into_is_shown_alone() -> None:
    looked = viewed(classifier(Quadrant()), of_class=2, show=9)
    assert shown.shown_images(looked).labels.tolist() == [2, 2, 2]
    none = viewed(classifier(Quadrant()), dataset=data(2), of_class=3)
    with pytest.raises(UsageError, match="no image of truck"):
        shown.shown_images(none)


def test_images_are_called_by_their_place_in_the_whole() -> None:
    part = data().subset(np.array([3, 7, 8]))
    assert shown.shown_images(viewed(network("mlp"), dataset=part, show=3)).rows.tolist() == [
        3,
        7,
        8,
    ]


def test_what_a_model_says_stands_below_its_maps() -> None:
    (exhibit,) = attributions(viewed(classifier(Quadrant()), methods=("saliency",)))
    assert exhibit.drawing is not None
    texts = [mark.text for mark in exhibit.drawing.marks if isinstance(mark, Text)]
    for answer in exhibit.numbers["answers"]:
        assert NAMES[answer["guess"]] in texts
        assert f"{100 * answer['confidence']:.1f}\u00a0%" in texts
    for mark in exhibit.drawing.marks:
        if isinstance(mark, Picture):
            assert mark.x >= 0
            assert mark.x + mark.width <= exhibit.drawing.width


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"methods": ("salience",)}, "Did you mean 'saliency'"),
        ({"explained": "gues"}, "Did you mean 'guess'"),
    ],
)
def test_unknown_names_are_refused(asked: dict[str, object], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        attributions(viewed(network("mlp"), **asked))


def test_without_captum_the_others_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    (exhibit,) = attributions(viewed(classifier(Quadrant())))
    assert set(exhibit.numbers["answers"][0]["half_mass_share"]) == {"saliency", "grad-cam"}
    with pytest.raises(UsageError, match=r"pip install 'adversarial-workbench\[explain\]'"):
        attributions(viewed(classifier(Quadrant()), methods=("integrated-gradients",)))


class Steep(nn.Module):
    """One point of the quadrature is far from the mean of its gradient."""

    def forward(self, images: Tensor) -> Tensor:
        return images.pow(4).flatten(1)[:, : len(NAMES)]


def test_a_wide_gap_is_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    looked = viewed(classifier(Steep()), show=4, steps=1, methods=("integrated-gradients",))
    (exhibit,) = attributions(looked)
    gaps = [each["integrated"]["relative_gap"] for each in exhibit.numbers["answers"]]
    assert gaps == pytest.approx([0.5] * 4)  # 1 - 4 (1/2)³, as in tests/test_attributions.py
    assert "on 4 of 4 images (up to 50%)" in capsys.readouterr().err
    for each in exhibit.numbers["answers"]:
        found = each["integrated"]
        missed = abs(found["sum"] - found["logit_difference"]) / abs(found["logit_difference"])
        assert found["relative_gap"] == pytest.approx(missed, rel=1e-3)
