"""A small network with a state of its own, and how its files are written and refused."""

import pytest
import torch
from torch import nn

from workbench.datasets.dataset import DataFacts
from workbench.errors import UsageError
from workbench.models import CheckpointMetadata, ModelOptions, build, load_model

SMALL = {"channels": 3, "classes": 10, "input_size": (32, 32)}
DATA = DataFacts(3, 32, 32, 10)
ARCH = "resnet20(width=4)"
QUIET = ModelOptions(mean=(0.0,), std=(1.0,))


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(1)
    network = build(ARCH, **SMALL)
    for module in network.modules():  # as after training: no two channels alike
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 2)
    return network.eval()


@pytest.fixture(scope="module")
def batch():
    return torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(2))


def metadata(**changes):
    facts = {
        "arch": ARCH,
        "channels": 3,
        "classes": 10,
        "input_size": (32, 32),
        "mean": (0.49, 0.48, 0.44),
        "std": (0.2, 0.21, 0.22),
        "class_names": tuple("abcdefghij"),
        "data": {"name": "made-up", "digest": "0" * 64},
        "seed": 7,
        "versions": {"torch": torch.__version__},
    }
    return CheckpointMetadata(**{**facts, **changes})


def refused(path, options=None, **facts):
    """The refusal, which must be a line or two."""
    with pytest.raises(UsageError) as error:
        load_model(path, options or ModelOptions(), data=facts.get("data", DATA))
    told = str(error.value)
    assert 1 <= len(told.splitlines()) <= 2, told
    return told


def exported(network, path, count, dynamic=False):
    shapes = ({0: torch.export.Dim("batch")},) if dynamic else None
    program = torch.export.export(network, (torch.rand(count, 3, 32, 32),), dynamic_shapes=shapes)
    torch.export.save(program, path)
    return path
