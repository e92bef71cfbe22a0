"""`workbench stylizer`, and training with what it makes."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_case import Result, refused, workbench
from data_case import save
from safetensors import safe_open
from stylizer_case import FACTORY, WIDTHS, some, tiny_vgg, write_pictures
from torch import Tensor, nn

from defenses.adain import DEPTHS, Style
from workbench import stylizing
from workbench.datasets import load_dataset
from workbench.encoders import load_encoder
from workbench.stylizers import load_stylizer, read_paintings

ENCODER = "vgg.py:tiny_vgg"
QUICK = ("--steps", 6, "--batch-size", 4, "--lr", 0.01, "--device", "cpu")
MAKE = ("stylizer", "art", "--data", "task.npz", "--encoder", ENCODER, *QUICK)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Colour images of four classes, six pictures, and a VGG that a file returns."""
    monkeypatch.chdir(tmp_path)
    Path("vgg.py").write_text(FACTORY, encoding="utf-8")
    write_pictures(Path("art"))
    images = (255 * some(40)).byte().permute(0, 2, 3, 1).numpy()
    np.savez(
        "task.npz", train_images=images, train_labels=np.arange(40) % 4,
        test_images=images[:8], test_labels=np.arange(8) % 4,
    )  # fmt: skip


def reflecting(layer: nn.Module) -> nn.Module:
    """The layer, its padding no longer by zeros."""
    if isinstance(layer, nn.Conv2d):
        layer.padding_mode = "reflect"
    return layer


def said(file: str) -> dict[str, object]:
    """The metadata of a stylizer."""
    with safe_open(file, framework="pt") as opened:
        found: dict[str, object] = json.loads(opened.metadata()["workbench-stylizer"])
    return found


def test_a_stylizer_says_what_it_is_and_where_it_came_from() -> None:
    result = workbench(*MAKE, "--output", "sty", "--json")
    assert result.code == 0, result.err
    assert result.document["stylizer"] == "sty/stylizer.safetensors"
    assert sorted(os.listdir("sty")) == sorted(
        [".lock", "cells", "config.json", "results.json", "stylizer.safetensors"]
    )
    found = said("sty/stylizer.safetensors")
    data = load_dataset("task.npz", split="train")
    assert found["data"] == {"name": "task.npz", "split": "train", "digest": data.digest}
    paintings = read_paintings("art", data)
    assert found["paintings"] == {"count": 6, "digest": paintings.digest}
    assert found["training"] == {
        "steps": 6, "batch_size": 4, "lr": 0.01, "content_weight": 1, "style_weight": 10,
    }  # fmt: skip
    assert (found["seed"], found["channels"]) == (0, 3)
    assert tuple(map(tuple, found["widths"])) == ((6, 6), (8,), (10,))  # type: ignore[arg-type, call-overload]
    encoder = found["encoder"]
    assert isinstance(encoder, dict)
    assert (encoder["arch"], encoder["depth"]) == (ENCODER, "relu3_1")
    assert set(found["versions"]) == {"workbench", "torch", "torchvision"}  # type: ignore[call-overload]
    assert result.document["digest"] == load_stylizer(Path("sty/stylizer.safetensors")).digest
    assert result.document["style_loss"] == found["style_loss"]


@pytest.mark.parametrize("batch_norm", [False, True], ids=["plain", "batch norm"])
@pytest.mark.parametrize("depth", DEPTHS)
def test_an_encoder_sees_what_the_vgg_sees(depth: str, batch_norm: bool) -> None:
    facts = load_dataset("task.npz").facts
    source = "vgg.py:tiny_vgg_bn" if batch_norm else ENCODER
    found = load_encoder(source, depth, facts)
    x, expected, blocks, first = some(3), [], 0, True
    mean, std = (torch.tensor(found.description[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    x = (x - mean) / std
    with torch.no_grad():
        for layer in tiny_vgg(batch_norm=batch_norm).get_submodule("features"):
            x = reflecting(layer)(x)
            if isinstance(layer, nn.ReLU) and first:
                expected.append(x)
                blocks, first = blocks + 1, False
            first = first or isinstance(layer, nn.MaxPool2d)
        seen = found.encoder(some(3))
    assert len(seen) == DEPTHS.index(depth) + 1
    for mine, other in zip(seen, expected, strict=False):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)


def test_an_encoder_takes_its_images_as_the_checkpoint_does() -> None:
    facts = load_dataset("task.npz").facts
    torch.save(tiny_vgg().state_dict(), "vgg.pth")
    options = stylizing.ModelOptions(arch=ENCODER, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    encoder = load_encoder("vgg.pth", "relu1_1", facts, options).encoder
    x = (some(2) - torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1)) / torch.tensor(
        [0.5, 0.6, 0.7]
    ).view(1, 3, 1, 1)
    with torch.no_grad():
        first = reflecting(tiny_vgg().get_submodule("features.0"))
        torch.testing.assert_close(encoder(some(2))[0], first(x).relu())


def published() -> tuple[nn.Sequential, nn.Sequential]:
    """An encoder and a decoder as the usual PyTorch program lays them out, of fewer channels."""

    def convolution(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.ReflectionPad2d(1), nn.Conv2d(inputs, outputs, 3), nn.ReLU()]

    torch.manual_seed(7)
    encoder: list[nn.Module] = [nn.Conv2d(3, 3, 1)]
    decoder: list[nn.Module] = []
    inputs = 3
    for block, sizes in enumerate(WIDTHS):
        for position, outputs in enumerate(sizes):
            if block and not position:
                encoder.append(nn.MaxPool2d(2, ceil_mode=True))
                decoder = [nn.Upsample(scale_factor=2), *decoder]
            encoder += convolution(inputs, outputs)
            decoder = [*convolution(outputs, inputs), *decoder]
            inputs = outputs
    encoder += convolution(12, 12)  # the published file goes on after relu4_1
    return nn.Sequential(*encoder), nn.Sequential(*decoder[:-1])


def test_a_published_pair_is_taken_over_as_it_is() -> None:
    encoder, decoder = published()
    torch.save(encoder.state_dict(), "vgg_normalised.pth")
    torch.save(decoder.state_dict(), "decoder.pth")
    names = list(decoder.state_dict())
    assert (names[0], names[2]) == ("1.weight", "5.weight")
    result = workbench(
        "stylizer", "--encoder", "vgg_normalised.pth", "--decoder", "decoder.pth",
        "--output", "sty", "--quiet",
    )  # fmt: skip
    assert result.code == 0, result.err
    found = load_stylizer(Path(result.out.strip()))
    assert found.depth == "relu4_1"
    content, lent = some(3), some(3, seed=4)
    with torch.no_grad():
        own, other = (encoder[:-3](images) for images in (content, lent))

        def moments(x: Tensor) -> tuple[Tensor, Tensor]:
            # their deviation divides by one less, which is gone where both images are as large
            flat = x.flatten(2)
            return flat.mean(2)[..., None, None], (flat.var(2) + 1e-5).sqrt()[..., None, None]

        (mean, std), (to_mean, to_std) = moments(own), moments(other)
        expected = decoder((own - mean) / std * to_std + to_mean).clamp(0, 1)
        variance, average = torch.var_mean(other, dim=(2, 3), correction=0)
    styles = Style(average, (variance + 1e-5).sqrt())
    moved = found.restyled(content, styles, torch.ones(3))
    torch.testing.assert_close(moved, expected, rtol=0, atol=2e-3)
    assert (moved - content).abs().mean() > 0.05


def test_a_published_encoder_gets_a_decoder_of_our_own() -> None:
    torch.save(published()[0].state_dict(), "vgg_normalised.pth")
    result = workbench(
        *MAKE[:4], "--encoder", "vgg_normalised.pth", *QUICK, "--depth", "relu2_1", "--output", "s"
    )
    assert result.code == 0, result.err
    assert load_stylizer(Path("s/stylizer.safetensors")).depth == "relu2_1"


def train(*more: object) -> Result:
    spec = "stylized(stylizer='sty/stylizer.safetensors', paintings='art', share=0.7)"
    return workbench(
        "train", "resnet20(width=2)", "--data", "task.npz", "--epochs", 1, "--batch-size", 16,
        "--device", "cpu", "--defense", spec, *more,
    )  # fmt: skip


def test_a_checkpoint_knows_what_it_was_stylised_with() -> None:
    assert workbench(*MAKE, "--output", "sty").code == 0
    result = train("--defense", "augmix", "--output", "run")
    assert result.code == 0, result.err
    with safe_open("run/model.safetensors", framework="pt") as opened:
        found = json.loads(opened.metadata()["workbench"])
    first, second = found["defenses"]
    assert first.startswith(
        "stylized(stylizer='sty/stylizer.safetensors', paintings='art', alpha=1"
    )
    assert second.startswith("augmix(")
    assert found["trained_on_corruptions"] == []
    data = load_dataset("task.npz", split="train")
    assert found["training"]["materials"] == {
        "sty/stylizer.safetensors": load_stylizer(Path("sty/stylizer.safetensors")).digest,
        "art": read_paintings("art", data).digest,
    }
    save(Path("art/another.png"), np.full((20, 20, 3), 80, dtype=np.uint8))
    refused(train("--defense", "augmix", "--output", "run"), "another configuration", "art")


def test_an_interrupted_training_ends_as_if_it_never_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stylizing, "SECONDS_BETWEEN_STATES", 0)
    assert workbench(*MAKE, "--output", "whole").code == 0
    keep = stylizing._keep

    def keep_two(*given: object) -> None:
        keep(*given)  # type: ignore[arg-type]  # passed on as they came
        if len(given[3]) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(stylizing, "_keep", keep_two)
    stopped = workbench(*MAKE, "--output", "cut")
    assert stopped.code == 130
    assert "steps are kept" in stopped.err
    assert "--output cut" in stopped.err
    shutil.copytree("cut", "damaged")
    monkeypatch.setattr(stylizing, "_keep", keep)
    assert workbench(*MAKE, "--output", "cut").code == 0
    for name in ("stylizer.safetensors", "results.json"):
        assert Path("cut", name).read_bytes() == Path("whole", name).read_bytes()
    assert sorted(os.listdir("cut")) == sorted(os.listdir("whole"))
    state = Path("damaged/state.pt")
    state.write_bytes(state.read_bytes()[:100])
    refused(workbench(*MAKE, "--output", "damaged"), "state.pt is damaged", "delete it")


def test_a_finished_run_is_shown_again_and_another_configuration_refused() -> None:
    first = workbench(*MAKE, "--output", "sty", "--json").document
    before = Path("sty/stylizer.safetensors").stat().st_mtime_ns
    assert workbench(*MAKE, "--output", "sty", "--json").document == first
    assert Path("sty/stylizer.safetensors").stat().st_mtime_ns == before
    refused(workbench(*MAKE, "--seed", 1, "--output", "sty"), "seed: 0 there, 1 here")
    refused(workbench(*MAKE, "--depth", "relu2_1", "--output", "sty"), "encoder.depth")


def test_what_is_printed() -> None:
    human = workbench(*MAKE)
    assert "Stylizer: runs/stylizer-vgg-1/stylizer.safetensors" in human.out
    assert "stylized(stylizer='runs/stylizer-vgg-1/stylizer.safetensors'" in human.out
    assert "6 of 6 steps, content loss" in human.err
    quiet = workbench(*MAKE, "--quiet")
    assert quiet.out == "runs/stylizer-vgg-2/stylizer.safetensors\n"


def test_a_dry_run_leaves_nothing() -> None:
    result = workbench(*MAKE, "--dry-run", "--json")
    sizes = ((10, 8), (8, 6), (6, 6), (6, 3))
    assert result.document["weights"] == sum(9 * a * b + b for a, b in sizes)
    assert not Path("runs").exists()


def no_pictures() -> None:
    Path("empty").mkdir()


def a_damaged_picture() -> None:
    Path("art/zzz.png").write_bytes(b"no picture")


@pytest.mark.parametrize(
    ("prepare", "arguments", "parts"),
    [
        (None, ("nowhere", "--data", "task.npz"), ("nowhere is no folder",)),
        (no_pictures, ("empty", "--data", "task.npz"), ("empty holds no pictures",)),
        (a_damaged_picture, ("art", "--data", "task.npz"), ("zzz.png cannot be decoded",)),
        (None, ("art",), ("PAINTINGS", "--data")),
        (None, ("--data", "task.npz"), ("PAINTINGS", "--data")),
        (None, ("art", "--data", "task.np"), ("task.np",)),
        (None, ("art", "--data", "task.npz", "--lr", "0"), ("--lr 0",)),
        (None, ("art", "--data", "task.npz", "--decoder", "x.pth"), ("nothing is trained",)),
        (None, ("art", "--data", "task.npz", "--depth", "relu5_1"), ("relu5_1",)),
        (None, ("art", "--data", "task.npz", "--encoder", "vgg.py:no_vgg"), ("no plain VGG",)),
        (None, ("art", "--data", "task.npz", "--encoder", "x.pth"), ("x.pth", "VGG of your own")),
        (None, ("art", "--data", "task.npz", "--encoder", "resnet20"), ("VGG of your own",)),
    ],
)
def test_wrong_use_is_two_lines(
    prepare: Callable[[], None] | None, arguments: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    if prepare is not None:
        prepare()
    refused(workbench("stylizer", "--encoder", ENCODER, *arguments), *parts)
    assert not Path("runs").exists()


def test_weights_that_cannot_be_fetched_are_told_with_what_does_instead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("no connection")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", offline)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    result = workbench(*MAKE[:4], "--encoder", "vgg11", *QUICK)
    refused(result, "vgg11 cannot be fetched", "A VGG of your own will do", "workbench train vgg11")


def test_pairs_that_are_none_are_refused() -> None:
    encoder, decoder = (network.state_dict() for network in published())
    pair = ("stylizer", "--encoder", "e.pth", "--decoder", "d.pth")
    torch.save(encoder, "e.pth")
    torch.save(encoder, "d.pth")
    refused(workbench(*pair), "d.pth is no decoder in the layout", "1.weight")
    torch.save({**decoder, "1.weight": decoder["1.weight"][:, :5]}, "d.pth")
    refused(workbench(*pair), "no pair")
    torch.save({**decoder, "1.weight": decoder["1.weight"][..., :1]}, "d.pth")
    refused(workbench(*pair), "d.pth", "does not fit")
    torch.save({name: each for name, each in decoder.items() if name != "5.weight"}, "d.pth")
    refused(workbench(*pair), "d.pth", "5.weight")
    torch.save(tiny_vgg().state_dict(), "e.pth")
    torch.save(decoder, "d.pth")
    refused(workbench(*pair), "e.pth is no encoder in the layout", "0.weight")


@pytest.mark.parametrize("layers", [[nn.Conv2d(3, 3, 1)], [nn.Linear(48, 9), nn.Linear(9, 4)]])
def test_other_sequences_are_no_encoders(layers: list[nn.Module]) -> None:
    torch.save(nn.Sequential(*layers).state_dict(), "e.pth")
    refused(workbench(*MAKE[:4], "--encoder", "e.pth", *QUICK), "e.pth")


def test_other_files_are_no_stylizers() -> None:
    assert workbench(*MAKE, "--output", "made").code == 0
    whole = Path("made/stylizer.safetensors").read_bytes()
    Path("sty").mkdir()
    file = Path("sty/stylizer.safetensors")
    refused(train(), "stylized: there is no file or folder sty/stylizer.safetensors")
    for content in (b"", b"no stylizer", whole[:-8]):
        file.write_bytes(content)
        refused(train(), "sty/stylizer.safetensors is no stylizer, or is damaged")
    file.write_bytes(whole.replace(b'\\"format_version\\": 1', b'\\"format_version\\": 2'))
    refused(train(), "of version 2", "newer workbench")
    result = workbench("train", "mlp", "--data", "task.npz", "--defense", "stylized", *QUICK[4:])
    refused(result, "needs stylizer='FILE' and paintings='FOLDER'", "workbench stylizer FOLDER")


def test_images_too_small_for_a_stylizer_are_told_before_training() -> None:
    assert workbench(*MAKE, "--depth", "relu4_1", "--output", "sty").code == 0
    small = np.zeros((8, 8, 8, 3), dtype=np.uint8)
    np.savez("task.npz", images=small, labels=np.arange(8) % 4)
    refused(train(), "relu4_1 and takes images of 9 pixels", "have 8", "lesser --depth")
