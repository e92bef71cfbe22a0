"""Which layers stand for a network: one a block, in order, about as many as an axis can name."""

import itertools

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from benchmarks.layers import named_layers
from benchmarks.stages import LEAST, MOST, stages
from workbench.models import Classifier, build


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.conv, self.spare = nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1)

    def forward(self, maps: Tensor) -> Tensor:
        mixed: Tensor = maps + self.conv(self.norm(maps)).relu()
        return mixed


def deep(blocks: int) -> nn.Sequential:
    """A stem, blocks in a list, and a head; the stem has a normalisation and an activation."""
    stem = [nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.ReLU()]
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(), nn.Linear(2, 3))
    return nn.Sequential(*stem, nn.Sequential(*(Block() for _ in range(blocks))), head)


def test_blocks_and_the_weights_outside_of_them() -> None:
    found = stages(deep(7), torch.rand(2, 1, 4, 4))
    assert found == ["0", *[f"3.{block}" for block in range(7)], "4.3"]


def test_blocks_are_opened_where_they_are_few_without_what_does_not_run() -> None:
    assert stages(deep(2), torch.rand(2, 1, 4, 4)) == ["0", "3.0.conv", "3.1.conv", "4.3"]


@pytest.mark.parametrize("blocks", [24, 60])
def test_of_many_some_are_taken_evenly_the_first_and_the_last_among_them(blocks: int) -> None:
    found = stages(deep(blocks), torch.rand(2, 1, 4, 4))
    assert len(found) == len(set(found)) == MOST
    assert (found[0], found[-1]) == ("0", "4.3")
    places = [int(name.removeprefix("3.")) for name in found[1:-1]]
    steps = {after - before for before, after in itertools.pairwise(places)}
    assert max(steps) - min(steps) <= 1
    assert len(stages(deep(blocks), torch.rand(2, 1, 4, 4), most=5)) == 5


def test_what_puts_out_no_row_an_image_does_not_count() -> None:
    class Turned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 3)

        def forward(self, images: Tensor) -> Tensor:
            turned: Tensor = self.first(images.flatten(1)[None].expand(5, -1, -1))  # 5 first
            answer: Tensor = self.second(turned[0])
            return answer

    assert stages(Turned(), torch.rand(2, 1, 2, 2)) == ["second"]


def test_known_networks_have_their_published_blocks() -> None:
    images = torch.rand(2, 3, 32, 32)
    resnet = torchvision.models.resnet18()
    blocks = [f"layer{stage}.{block}" for stage in (1, 2, 3, 4) for block in (0, 1)]
    assert stages(resnet, images) == ["conv1", *blocks, "fc"]
    vit = timm.create_model("test_vit", img_size=32)
    blocks = [f"blocks.{block}" for block in range(6)]
    assert stages(vit, images) == ["patch_embed", *blocks, "head"]
    small = build("resnet20", channels=3, classes=10, input_size=(32, 32))
    wrapped = Classifier(small, channels=3, classes=10)
    blocks = [f"layer{stage}.{block}" for stage in (1, 2, 3) for block in (0, 1, 2)]
    assert stages(wrapped, images) == ["conv1", *blocks, "linear"]


@pytest.mark.parametrize("name", ["squeezenet1_1", "densenet121"])
def test_other_networks_have_a_readable_number_in_order(name: str) -> None:
    network = torchvision.models.get_model(name)
    found = stages(network, torch.rand(2, 3, 64, 64))
    assert LEAST <= len(found) <= MOST
    order = list(named_layers(network))
    assert found == sorted(found, key=order.index)  # these define layers as they run
    assert not any(one != other and other.startswith(f"{one}.") for one in found for other in found)
