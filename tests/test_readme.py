"""A newcomer follows the README: every command in it is run, in its order, and every script."""

import re
import shlex
from pathlib import Path

import pytest
import torch
from cli_case import workbench
from torch import nn

from defenses import train
from workbench.datasets import load_dataset

README = Path(__file__).resolve().parent.parent / "README.md"
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def save_their_checkpoint(factory: Path) -> None:
    """What the README's training script did: `net.pt`, trained with a mean and std of 0.5."""
    names: dict[str, object] = {}
    exec(compile(factory.read_text(encoding="utf-8"), str(factory), "exec"), names)
    data = load_dataset("fashion-mnist-mini", split="train").take(2000)
    torch.manual_seed(0)
    network = names["small_net"]()  # type: ignore[operator]  # a function of the README
    assert isinstance(network, nn.Module)
    images = (data.images(slice(None)) - 0.5) / 0.5
    list(train(network, images, torch.from_numpy(data.labels), epochs=3, lr=0.02))
    torch.save(network.state_dict(), "net.pt")


@pytest.mark.slow
def test_every_command_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ran = []
    for language, text in BLOCK.findall(README.read_text(encoding="utf-8")):
        if language == "python":
            if text.startswith("# my_net.py"):
                Path("my_net.py").write_text(text, encoding="utf-8")
                save_their_checkpoint(Path("my_net.py"))
            else:
                exec(compile(text, "README.md", "exec"), {})
            continue
        for line in text.splitlines():
            words = shlex.split(line, comments=True)
            if words[0] == "make":  # what these run has tests of its own
                continue
            assert words[0] == "workbench"
            if words[1] == "train" and "--limit" not in words:
                words += ["--limit", "3000"]  # enough for what follows, in a fifth of the time
            result = workbench(*words[1:])
            assert result.code == 0, f"{line}\n{result.out}{result.err}"
            ran.append((words[1], result))
    assert [verb for verb, _ in ran].count("attack") == 6
    (recommended,) = (result.out for verb, result in ran if verb == "check")
    assert "--mean 0.5 --std 0.5" in recommended
