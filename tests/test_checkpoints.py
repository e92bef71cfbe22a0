"""Checkpoints of every kind load to the logits of the network that was saved."""

import argparse
import collections
import os
import pathlib
import zipfile

import numpy as np
import pytest
import torch
import torchvision
from checkpoint_case import (
    ARCH,
    DATA,
    QUIET,
    SMALL,
    batch,
    exported,
    metadata,
    network,
    refused,
)
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from workbench.datasets.dataset import DataFacts
from workbench.errors import UsageError
from workbench.models import (
    ModelOptions,
    build,
    load_model,
    require_gradient,
    save_checkpoint,
    select_columns,
)
from workbench.models import checkpoints as checkpoints_module

__all__ = ["batch", "network"]  # fixtures


def wrappings(state):
    yield "bare", state
    yield "state_dict", {"state_dict": state, "epoch": 3, "best_prec1": 91.7}
    yield "net", {"net": {f"module.{k}": v for k, v in state.items()}, "acc": 90.0, "epoch": 1}
    yield "compiled", {"model": {f"_orig_mod.{k}": v for k, v in state.items()}}
    yield "both", {"model_state_dict": {f"module._orig_mod.{k}": v for k, v in state.items()}}
    yield "inner", {"state_dict": {f"model.{k}": v for k, v in state.items()}, "loss": 0.1}
    yield "optimiser first", {"optimizer": {"state": {0: {"m": torch.ones(3)}}}, "x": state}
    yield "counted", {**state, "total_ops": torch.ones(1), "conv1.total_params": torch.ones(1)}
    yield "uncounted", {k: v for k, v in state.items() if "num_batches" not in k}
    yield (
        "half",
        {k: v.bfloat16().float() if v.is_floating_point() else v for k, v in state.items()},
    )


@pytest.mark.parametrize("ending", [".pt", ".pth", ".th"])
def test_wrapped_and_prefixed_state_dicts_give_the_network_s_logits(
    network, batch, tmp_path, ending
):
    for name, saved in wrappings(network.state_dict()):
        path = tmp_path / f"{name}{ending}"
        torch.save(saved, path)
        loaded = load_model(path, QUIET, data=DATA)
        close = {"rtol": 0.05, "atol": 0.2} if name == "half" else {"rtol": 1e-5, "atol": 1e-5}
        torch.testing.assert_close(loaded.model(batch), network(batch), **close)
        assert loaded.description["arch"] == ARCH
        assert any(ARCH in notice for notice in loaded.notices)


def test_old_format_of_torch_save(network, batch, tmp_path):
    torch.save(network.state_dict(), tmp_path / "old.th", _use_new_zipfile_serialization=False)
    loaded = load_model(tmp_path / "old.th", QUIET, data=DATA)
    torch.testing.assert_close(loaded.model(batch), network(batch))


def test_loaded_models_are_frozen(network, tmp_path):
    torch.save(network.state_dict(), tmp_path / "x.pt")
    model = load_model(tmp_path / "x.pt", data=DATA).model
    assert not any(module.training for module in model.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_harmless_types_of_real_checkpoints_are_read(network, batch, tmp_path):
    saved = {
        "state_dict": network.state_dict(),
        "args": argparse.Namespace(lr=0.1, arch="nothing-known", out=pathlib.Path("runs") / "a"),
        "best_acc": np.float64(91.2),
        "epoch": np.int64(3),
        "losses": np.linspace(0, 1, 5, dtype=np.float32),
        "history": collections.defaultdict(list, train=[1.0, 2.0]),
        "recent": collections.deque([1, 2], maxlen=3),
        "counts": collections.Counter("aab"),
        "device": torch.device("cpu"),
        "version": torch.torch_version.TorchVersion("2.1.0"),
        "when": __import__("datetime").datetime(2024, 1, 2),
    }
    torch.save(saved, tmp_path / "rich.pth")
    loaded = load_model(tmp_path / "rich.pth", QUIET, data=DATA)
    torch.testing.assert_close(loaded.model(batch), network(batch))


def test_numpy_s_names_before_version_2_are_read(network, tmp_path):
    saved = {"net": network.state_dict(), "acc": np.float64(1.5), "curve": np.arange(3.0)}
    torch.save(saved, tmp_path / "new.pth")
    old = tmp_path / "old.pth"
    with zipfile.ZipFile(tmp_path / "new.pth") as source, zipfile.ZipFile(old, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith("data.pkl"):
                content = content.replace(b"numpy._core.", b"numpy.core.")
                assert b"numpy.core.multiarray" in content
            target.writestr(name, content)
    assert load_model(old, QUIET, data=DATA).model.classes == 10


def test_safetensors_of_others(network, batch, tmp_path):
    save_file(network.state_dict(), tmp_path / "m.safetensors", metadata={"format": "pt"})
    loaded = load_model(tmp_path / "m.safetensors", QUIET, data=DATA)
    torch.testing.assert_close(loaded.model(batch), network(batch))


def test_torchscript(network, batch, tmp_path):
    torch.jit.save(torch.jit.trace(network, batch), str(tmp_path / "script.pt"))
    loaded = load_model(tmp_path / "script.pt", QUIET, data=DATA)
    torch.testing.assert_close(loaded.model(batch), network(batch))
    assert loaded.differentiable
    assert loaded.model.channels == 3


@pytest.mark.parametrize("dynamic", [True, False])
def test_exported_programs_take_any_batch(network, batch, tmp_path, dynamic):
    path = exported(network, tmp_path / "p.pt2", 2, dynamic)
    loaded = load_model(path, ModelOptions(mean=(0.0,), std=(1.0,), trust=True), data=DATA)
    torch.testing.assert_close(loaded.model(batch), network(batch), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(loaded.model(batch[:1]), network(batch[:1]), rtol=1e-4, atol=1e-5)
    images = batch.clone().requires_grad_()
    again = batch.clone().requires_grad_()
    (ours,) = torch.autograd.grad(loaded.model(images).square().sum(), images)
    (theirs,) = torch.autograd.grad(network(again).square().sum(), again)
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)
    loaded.model.train()
    loaded.model.eval()
    require_gradient(loaded)


def test_exported_programs_need_trust(network, tmp_path):
    assert "--trust" in refused(exported(network, tmp_path / "p.pt2", 2))


def test_exported_program_without_a_gradient_is_told_before_an_attack(network, batch, tmp_path):
    class Cut(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = network

        def forward(self, values):
            return self.inner(values.detach())

    path = exported(Cut().eval(), tmp_path / "p.pt2", 2)
    loaded = load_model(path, ModelOptions(trust=True), data=DATA)
    assert not loaded.differentiable
    assert any("no gradient" in notice for notice in loaded.notices)
    with pytest.raises(UsageError, match="gives no gradient"):
        require_gradient(loaded)


def test_kuangliu_s_names_are_read_as_torchvision_s(tmp_path):
    torch.manual_seed(0)
    original = build("resnet18(cifar_stem=true)", **SMALL).eval()
    renamed = {
        name.replace("downsample", "shortcut").replace("fc.", "linear."): tensor
        for name, tensor in original.state_dict().items()
    }
    torch.save({"net": renamed, "acc": 95.0, "epoch": 199}, tmp_path / "ckpt.pth")
    loaded = load_model(tmp_path / "ckpt.pth", QUIET, data=DATA)
    images = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(loaded.model(images), original(images))
    assert loaded.description["arch"] == "resnet18(cifar_stem=True)"


def test_a_normalising_layer_in_the_checkpoint_is_used(network, batch, tmp_path):
    saved = {f"model.{name}": tensor for name, tensor in network.state_dict().items()}
    saved |= {"normalizer.mean": torch.tensor([0.5, 0.4, 0.3]).reshape(1, 3, 1, 1)}
    saved |= {"normalizer.std": torch.tensor([0.2, 0.25, 0.3]).reshape(1, 3, 1, 1)}
    torch.save(saved, tmp_path / "robust.pt")
    loaded = load_model(tmp_path / "robust.pt", data=DATA)
    by_hand = torchvision.transforms.functional.normalize(batch, [0.5, 0.4, 0.3], [0.2, 0.25, 0.3])
    torch.testing.assert_close(loaded.model(batch), network(by_hand), rtol=1e-4, atol=1e-5)
    assert any("normalising layer" in notice for notice in loaded.notices)


@pytest.mark.parametrize("arch", ["mlp(width=5, depth=2)", "densenet121(cifar_stem=True)"])
def test_other_architectures_are_told_by_their_tensors(arch, tmp_path):
    original = build(arch, **SMALL).eval()
    torch.save(original.state_dict(), tmp_path / "x.pt")
    loaded = load_model(tmp_path / "x.pt", QUIET, data=DATA)
    images = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(loaded.model(images), original(images), rtol=1e-4, atol=1e-4)
    assert loaded.description["arch"] == arch


def test_architecture_named_beside_the_weights(tmp_path):
    original = build("timm:test_resnet", **SMALL)
    torch.save({"arch": "test_resnet", "state_dict": original.state_dict()}, tmp_path / "t.pth")
    loaded = load_model(tmp_path / "t.pth", data=DATA)
    assert loaded.description["arch"] == "timm:test_resnet"


def test_a_thousand_classes_get_imagenet_s_preprocessing_with_a_notice(tmp_path):
    original = build("squeezenet1_1", channels=3, classes=1000, input_size=(224, 224))
    torch.save(original.state_dict(), tmp_path / "x.pth")
    loaded = load_model(tmp_path / "x.pth", ModelOptions(arch="squeezenet1_1"), data=DATA)
    assert loaded.model.mean == (0.485, 0.456, 0.406)  # as in torchvision's documentation
    assert loaded.model.std == (0.229, 0.224, 0.225)
    assert loaded.model.input_size == (224, 224)
    assert loaded.model.class_names[0] == "tench"
    assert sum("224" in n or "ImageNet" in n for n in loaded.notices) >= 2


def test_published_weights_by_name_from_the_cache(tmp_path, monkeypatch):
    original = build("squeezenet1_1", channels=3, classes=1000, input_size=(224, 224)).eval()
    url = torchvision.models.SqueezeNet1_1_Weights.DEFAULT.url
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(original.state_dict(), tmp_path / "hub/checkpoints" / url.rpartition("/")[2])
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    loaded = load_model("squeezenet1_1", data=DataFacts(3, 224, 224, 1000))
    images = torch.rand(1, 3, 224, 224)
    by_hand = torchvision.models.SqueezeNet1_1_Weights.DEFAULT.transforms()
    normalised = torchvision.transforms.functional.normalize(images, by_hand.mean, by_hand.std)
    torch.testing.assert_close(loaded.model(images), original(normalised), rtol=1e-3, atol=1e-4)


def test_names_without_published_weights():
    assert "no published weights" in refused("resnet20")
    assert "Did you mean" in refused("resnet19")
    assert "no checkpoint" in refused("absent.pth")


def test_probabilities_are_detected_and_said(network, batch, tmp_path):
    script = torch.jit.trace(nn.Sequential(network, nn.Softmax(dim=1)).eval(), batch)
    torch.jit.save(script, str(tmp_path / "p.pt"))
    loaded = load_model(tmp_path / "p.pt", QUIET, data=DATA)
    assert any("probabilities" in notice for notice in loaded.notices)
    torch.testing.assert_close(
        loaded.model(batch), network(batch).log_softmax(1), rtol=1e-4, atol=1e-4
    )


# ---------------------------------------------------------------- our own


def test_our_checkpoints_need_no_flags(network, batch, tmp_path):
    save_checkpoint(tmp_path / "m.safetensors", network, metadata())
    loaded = load_model(tmp_path / "m.safetensors")
    mean, std = torch.tensor([0.49, 0.48, 0.44]), torch.tensor([0.2, 0.21, 0.22])
    by_hand = (batch - mean.reshape(3, 1, 1)) / std.reshape(3, 1, 1)
    torch.testing.assert_close(loaded.model(batch), network(by_hand), rtol=1e-4, atol=1e-5)
    assert loaded.notices == ()
    assert loaded.model.class_names == tuple("abcdefghij")
    assert loaded.description["training"]["seed"] == 7


def test_every_field_of_the_metadata_comes_back(network, tmp_path):
    full = metadata(
        bgr=True,
        scale=255.0,
        defenses=("noisy(sigma=0.1)",),
        trained_on_corruptions=("fog",),
        training={"epochs": 3},
    )
    save_checkpoint(tmp_path / "m.safetensors", network, full)
    assert checkpoints_module.read_checkpoint(tmp_path / "m.safetensors").metadata == full


def test_saving_is_reproducible_and_has_one_key(network, tmp_path):
    for name in ("a", "b"):
        save_checkpoint(tmp_path / name, network, metadata())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with safe_open(tmp_path / "a", framework="pt") as file:
        assert list(file.metadata()) == ["workbench"]
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_tied_and_strided_tensors_are_saved(tmp_path):
    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    network[1].weight = network[0].weight
    network[0].bias = nn.Parameter(torch.arange(8.0)[::2])
    save_checkpoint(tmp_path / "t", network, metadata())
    tensors = checkpoints_module.read_checkpoint(tmp_path / "t").tensors
    assert torch.equal(tensors["0.weight"], tensors["1.weight"])
    assert tensors["0.bias"].tolist() == [0, 2, 4, 6]


def test_a_failed_save_leaves_the_old_file(network, tmp_path, monkeypatch):
    path = tmp_path / "m.safetensors"
    save_checkpoint(path, network, metadata())
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(path, network, metadata(seed=8))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["m.safetensors"]


def test_flags_win_over_metadata_and_say_so(network, tmp_path):
    save_checkpoint(tmp_path / "m.safetensors", network, metadata())
    options = ModelOptions(mean=(0.5,), std=(0.5,))
    loaded = load_model(tmp_path / "m.safetensors", options)
    assert loaded.model.mean == (0.5, 0.5, 0.5)
    assert any("flags are used instead" in notice for notice in loaded.notices)


def test_metadata_that_names_a_file_does_not_run_it(network, tmp_path):
    evil = tmp_path / "evil.py"
    evil.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\ndef make(): pass\n")
    save_checkpoint(tmp_path / "m.safetensors", network, metadata(arch=f"{evil}:make"))
    assert "--arch" in refused(tmp_path / "m.safetensors")
    assert not (tmp_path / "ran").exists()


# ---------------------------------------------------------------- digests


def digest(path, **options):
    return load_model(path, ModelOptions(**options), data=DATA).digest


def test_the_digest_changes_with_everything_that_changes_logits(network, tmp_path):
    state = network.state_dict()
    path = tmp_path / "a.pt"
    torch.save(state, path)
    torch.save({"net": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "b.pt")
    changed = {**state, "linear.bias": state["linear.bias"] + 1e-6}
    torch.save(changed, tmp_path / "c.pt")
    loaded = load_model(path, QUIET, data=DATA)
    assert digest(path) == digest(tmp_path / "b.pt") == loaded.digest
    digests = {
        digest(path),
        digest(tmp_path / "c.pt"),
        digest(path, mean=(0.5,), std=(1.0,)),
        digest(path, mean=(0.0,), std=(0.5,)),
        digest(path, bgr=True),
        digest(path, scale255=True),
        digest(path, input_size=64),
        digest(path, probabilities=True),
        select_columns(loaded, (0, 1)).digest,
        select_columns(loaded, (1, 0)).digest,
    }
    assert len(digests) == 10


def test_columns_of_columns(network, batch, tmp_path):
    torch.save(network.state_dict(), tmp_path / "a.pt")
    loaded = load_model(tmp_path / "a.pt", QUIET, data=DATA)
    twice = select_columns(select_columns(loaded, (7, 3, 5)), (2, 0))
    assert torch.equal(twice.model(batch), loaded.model(batch)[:, [5, 7]])
    with pytest.raises(UsageError, match="10 classes"):
        select_columns(loaded, (10,))
