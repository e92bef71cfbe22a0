"""What the tests of studies share: a small study, and data for it."""

from pathlib import Path

import numpy as np
from cli_case import task

STUDY = """
# Does noise help a small net?
page = "docs/toy.md"
[data.quadrants]
what = "bright quadrants"
places = ["quadrants.npz", "quadrants.zip"]
[scales.small]
about = "seconds"
images = 8
seeds = [0]
[scales.large]
about = "more seconds"
images = 12
seeds = [0, 1]
[[steps]]
name = "nets"
run = "benchmark --suite $out/nets.toml --output $out/nets --threads 1"
[[steps]]
name = "tables"
run = "compare $out/nets"
[[steps]]
name = "page"
run = "report $out/nets --title '$title' --output $out/report.html"
scales = ["large"]
"""
NETS = """
data = "$quadrants"
limit = "$images"
attack = ["fgsm(eps=0.1)"]
[[models]]
architectures = ["mlp(width=8)"]
defenses = ["none", "noisy"]
seeds = "$seeds"
train = { epochs = 1, batch-size = 16, lr = 0.01, hold-out = 0.2 }
"""


def toy(text: str = STUDY, nets: str = NETS) -> Path:
    folder = Path("toy")
    folder.mkdir(exist_ok=True)
    (folder / "study.toml").write_text(text.lstrip(), encoding="utf-8")
    (folder / "nets.toml").write_text(nets, encoding="utf-8")
    return folder


def quadrants(folder: str = "data") -> None:
    Path(folder).mkdir(exist_ok=True)
    images, labels = task(80, seed=2)
    images = images.repeat(2, 1).repeat(2, 2)
    np.savez(Path(folder) / "quadrants.npz", images=images, labels=labels)
