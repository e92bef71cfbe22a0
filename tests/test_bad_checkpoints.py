"""Damaged, dangerous and wrong checkpoints are refused in a line or two, and never run."""

import os
import pickle
import random
import zipfile

import numpy as np
import pytest
import torch
from checkpoint_case import batch, exported, metadata, network, refused
from safetensors.torch import save_file
from torch import nn

from workbench.datasets.dataset import DataFacts
from workbench.errors import UsageError
from workbench.models import ModelOptions, build, load_model, save_checkpoint

__all__ = ["batch", "network"]  # fixtures


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


class Getter:
    def __reduce__(self):
        return getattr, ("text", "upper")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_bomb_is_named_and_never_runs(network, tmp_path, zipped, protocol):
    ran = tmp_path / "ran"
    saved = {"state_dict": network.state_dict(), "args": Bomb(ran)}
    path = tmp_path / "bomb.pth"
    torch.save(saved, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    told = refused(path)
    assert "posix.system" in told or "nt.system" in told or "os.system" in told
    assert "refused" in told
    assert not ran.exists()


def test_a_plain_pickle_bomb(tmp_path):
    ran = tmp_path / "ran"
    (tmp_path / "bomb.pth").write_bytes(pickle.dumps(Bomb(ran)))
    assert "system" in refused(tmp_path / "bomb.pth")
    assert not ran.exists()


def test_getattr_is_not_harmless(tmp_path):
    torch.save({"state_dict": {"a": torch.ones(2, 2)}, "x": Getter()}, tmp_path / "g.pth")
    assert "getattr" in refused(tmp_path / "g.pth")


def test_whole_modules_are_refused_with_the_remedy(network, tmp_path):
    torch.save(network, tmp_path / "whole.pth")
    told = refused(tmp_path / "whole.pth")
    assert "whole pickled module" in told
    assert "workbench.models.residual.CifarResNet" in told
    assert "state_dict()" in told
    torch.save(nn.Sequential(nn.Linear(2, 2)), tmp_path / "sequential.pth")
    assert "torch.nn.modules.container.Sequential" in refused(tmp_path / "sequential.pth")


@pytest.mark.parametrize("ending", [".pt", ".pth", ".safetensors", ".pt2"])
def test_random_bytes_and_empty_files(tmp_path, ending):
    path = tmp_path / f"x{ending}"
    path.write_bytes(random.Random(0).randbytes(5000))
    trusting = ModelOptions(trust=True)
    assert str(path) in refused(path, trusting)
    path.write_bytes(b"")
    assert "is empty" in refused(path, trusting)


def test_truncated_files_of_every_kind(network, batch, tmp_path):
    files = [tmp_path / name for name in ("a.pth", "b.th", "c.safetensors", "d.pt", "e.pt2")]
    torch.save(network.state_dict(), files[0])
    torch.save(network.state_dict(), files[1], _use_new_zipfile_serialization=False)
    save_checkpoint(files[2], network, metadata())
    torch.jit.save(torch.jit.trace(network, batch), str(files[3]))
    exported(network, files[4], 2)
    for path in files:
        whole = path.read_bytes()
        for share in (0.05, 0.5, 0.95):
            path.write_bytes(whole[: int(share * len(whole))])
            assert str(path) in refused(path, ModelOptions(trust=True))


def test_flipped_bytes_are_an_error_of_the_user_s_or_harmless(tmp_path):
    network = build("mlp(width=2)", channels=1, classes=2, input_size=(2, 2))
    torch.save({"net": network.state_dict(), "acc": np.float64(3)}, tmp_path / "x.pth")
    torch.save(network.state_dict(), tmp_path / "y.pth", _use_new_zipfile_serialization=False)
    generator = random.Random(0)
    for name in ("x.pth", "y.pth"):
        whole = bytearray((tmp_path / name).read_bytes())
        for _ in range(150):
            damaged = bytearray(whole)
            for _ in range(4):
                damaged[generator.randrange(len(damaged))] = generator.randrange(256)
            (tmp_path / "z.pth").write_bytes(damaged)
            told = ""
            try:
                load_model(tmp_path / "z.pth", data=DataFacts(1, 2, 2, 2))
            except UsageError as error:
                told = str(error)
            assert len(told.splitlines()) <= 2
            assert all(letter.isprintable() for letter in told.replace("\n", ""))


def test_a_program_s_damaged_source_is_told(network, batch, tmp_path):
    path = tmp_path / "x.pt"
    torch.jit.save(torch.jit.trace(network, batch), str(path))
    with zipfile.ZipFile(path) as archive:
        source = max(
            (item for item in archive.infolist() if item.filename.endswith(".py")),
            key=lambda item: item.compress_size,
        )
    damaged = bytearray(path.read_bytes())
    start = source.header_offset + 30 + len(source.filename)
    for place in range(start, start + 300):
        damaged[place] ^= 0x55
    path.write_bytes(damaged)
    assert str(path) in refused(path)


def test_a_program_that_handles_files_needs_trust(tmp_path):
    class Saves(nn.Module):
        def forward(self, values):
            torch.ops.aten.save(values, "/dev/null")
            return values.flatten(1)

    torch.jit.save(torch.jit.script(Saves()), str(tmp_path / "x.pt"))
    assert "--trust" in refused(tmp_path / "x.pt")


def test_wrong_architecture_names_a_few_keys_and_shapes(network, tmp_path):
    torch.save(network.state_dict(), tmp_path / "x.pth")
    told = refused(tmp_path / "x.pth", ModelOptions(arch="resnet32(width=4)"))
    assert "missing: layer1.3.conv1.weight, layer1.3.bn1.weight, layer1.3.bn1.bias and" in told
    told = refused(tmp_path / "x.pth", ModelOptions(arch="resnet20"))
    assert "conv1.weight is 4x3x3x3 in the file, 16x3x3x3 in the network" in told
    told = refused(tmp_path / "x.pth", ModelOptions(arch="mlp"))
    assert "unexpected: conv1.weight" in told


def test_unknown_architecture_asks_for_it(tmp_path):
    torch.save({"foo.weight": torch.ones(3, 4), "foo.bias": torch.ones(3)}, tmp_path / "x.pth")
    assert "--arch" in refused(tmp_path / "x.pth")


@pytest.mark.parametrize(
    ("saved", "told"),
    [
        ([1, 2], "holds list, not a state dict"),
        ({"epoch": 3, "lr": 0.1}, "holds no weights; at its top there is: epoch, lr"),
        ({}, "holds no weights"),
        (torch.ones(3), "holds Tensor"),
    ],
)
def test_files_without_weights(tmp_path, saved, told):
    torch.save(saved, tmp_path / "x.pth")
    assert told in refused(tmp_path / "x.pth")


def test_missing_files_and_folders(tmp_path):
    assert "no checkpoint" in refused(tmp_path / "x.pth")
    assert "is a folder" in refused(tmp_path)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"mean": (0.5,)}, "belong together"),
        ({"mean": (0.5, 0.5), "std": (0.5, 0.5)}, "2 values, but the network takes 3"),
        ({"mean": (0.5,), "std": (0.0,)}, "above 0"),
        ({"mean": (123.0,) * 3, "std": (58.0,) * 3}, "--scale255"),
        ({"classes": 12}, "12"),
        ({"class_names": ("a", "b")}, "2 class names"),
        ({"arch": "resnet20("}, "Architecture"),
    ],
)
def test_wrong_flags(network, tmp_path, options, told):
    torch.save(network.state_dict(), tmp_path / "x.pth")
    assert told in refused(tmp_path / "x.pth", ModelOptions(**options))


def test_weights_with_nan(network, tmp_path):
    state = {**network.state_dict(), "linear.bias": torch.full((10,), float("nan"))}
    torch.save(state, tmp_path / "x.pth")
    assert "not finite" in refused(tmp_path / "x.pth")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "cannot be read"),
        ('{"format_version": 99}', "version 99"),
        ('{"format_version": 1, "arch": 3}', "arch is 3"),
        ('{"format_version": 1, "arch": "mlp"}', "metadata is wrong"),
    ],
)
def test_wrong_metadata(tmp_path, text, told):
    save_file({"a": torch.ones(2)}, tmp_path / "x.safetensors", metadata={"workbench": text})
    assert told in refused(tmp_path / "x.safetensors")
