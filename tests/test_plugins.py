"""Entry points: packages that add attacks, defenses and corruptions, and packages that break."""

import json
import os
import re
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attack_case import linear_case
from cli_case import ARCH, refused, workbench, write_checkpoint, write_data

from attacks import ATTACKS
from attacks.corruptions import CORRUPTIONS, GROUPS, corrupt
from attacks.draws import image_seeds
from benchmarks.corruption_axes import family
from benchmarks.identity import added_packages
from defenses import DEFENSES, resolve
from workbench.console import make_console
from workbench.plugins import KINDS, add_plugins

PAGE = Path(__file__).resolve().parent.parent / "CONTRIBUTING.md"

REGISTRIES: dict[str, dict[str, Any]] = {
    "attacks": ATTACKS,
    "defenses": DEFENSES,
    "corruptions": CORRUPTIONS,
}
GOOD = """
    from attacks import Attacked, pgd
    from attacks.corruptions import Corruption
    from defenses import Defense

    def upwards(model, images, labels, *, targets=None, seeds=None, eps=0.25):
        "Climb in one step."
        return pgd(model, images, labels, targets=targets, seeds=seeds, eps=eps, steps=1)

    def inverted(share=1.0):
        '''Show negatives.

        Args:
            share: how far each value goes to its opposite.
        '''
        def transform(images, labels, seeds):
            return (1 - images) * share + images * (1 - share), labels
        return Defense(transform)

    darkness = Corruption(
        "darkness", "noise", {size: (1, 2, 3, 4, 5) for size in (32, 64, 224)},
        lambda pixels, strength, draws, dtype: pixels // (strength + 1),
    )
"""
ENTRIES = {
    "attacks": {"upwards": "demo:upwards"},
    "defenses": {"inverted": "demo:inverted"},
    "corruptions": {"darkness": "demo:darkness"},
}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path to install packages in; the registries are as before afterwards."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    entries = {kind: dict(registry) for kind, registry in REGISTRIES.items()}
    modules = set(sys.modules)
    yield folder
    for kind, registry in REGISTRIES.items():
        registry.clear()
        registry.update(entries[kind])
    for name in set(sys.modules) - modules:
        if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def install(
    site: Path, name: str, code: str, entries: Mapping[str, Mapping[str, str]], version: str = "1.0"
) -> None:
    """What an installer leaves behind: a module, and a dist-info folder with its entry points."""
    (site / f"{name}.py").write_text(textwrap.dedent(code), encoding="utf-8")
    info = site / f"{name}-{version}.dist-info"
    info.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    (info / "METADATA").write_text(metadata, encoding="utf-8")
    lines = []
    for group, named in entries.items():
        lines += [f"[workbench.{group}]", *(f"{key} = {value}" for key, value in named.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def warnings(err: str) -> list[str]:
    return [line.removeprefix("warning: ") for line in err.splitlines() if "warning" in line]


def test_what_a_package_adds_is_listed_with_its_settings(site: Path) -> None:
    install(site, "demo", GOOD, ENTRIES)
    for kind, name, summary in (
        ("attacks", "upwards", "Climb in one step."),
        ("defenses", "inverted", "Show negatives."),
    ):
        listed = workbench("list", kind, "--json")
        assert listed.document["names"][name] == summary
        assert listed.err == ""
    assert "darkness" in workbench("list", "corruptions", "--json").document["names"]
    shown = workbench("list", "defenses", "inverted")
    assert "how far each value goes to its opposite" in " ".join(shown.out.split())
    assert workbench("list", "attacks", "upwards", "--json").document["settings"] == {"eps": 0.25}


def test_a_command_loads_what_it_looks_up_and_nothing_else(site: Path) -> None:
    install(site, "demo", GOOD, {"attacks": ENTRIES["attacks"]})
    install(site, "loud", "raise RuntimeError('imported')", {"defenses": {"loud": "loud:defense"}})
    assert workbench("list", "attacks").err == ""
    assert "loud" not in sys.modules
    assert "demo" in sys.modules
    assert workbench("list", "datasets").err == ""


def test_a_corruption_is_applied_by_its_name_and_changes_no_group(
    site: Path, tmp_path: Path
) -> None:
    groups = dict(GROUPS)
    install(site, "demo", GOOD, ENTRIES)
    data = tmp_path / "data.npz"
    images = torch.randint(256, (4, 16, 16), dtype=torch.uint8).numpy()
    np.savez(data, images=images, labels=np.arange(4))
    done = workbench(
        "corrupt", data, "--corruptions", "darkness,noise", "--output", tmp_path / "run",
        "--layout", "cifar-c",
    )  # fmt: skip
    assert done.code == 0, done.err
    written = np.load(tmp_path / "run" / "darkness.npy")
    darker = [images // (severity + 1) for severity in (1, 2, 3, 4, 5)]
    np.testing.assert_array_equal(written.reshape(20, 16, 16), np.concatenate(darker))
    assert groups == GROUPS
    # The package says noise; that family is the published three, with the package and without.
    assert family("darkness") == "other"


def test_broken_packages_are_told_in_a_line_and_the_rest_goes_on(site: Path) -> None:
    install(
        site,
        "broken",
        "def needs(model, images, labels, *, targets=None, seeds=None, eps): ...\n"
        "def stranger(image): ...\nnumber = 3\n",
        {
            "attacks": {
                "gone": "nowhere:attack",
                "missing": "broken:attack",
                "number": "broken:number",
                "stranger": "broken:stranger",
                "needs": "broken:needs",
                "two words": "broken:number",
            },
            "corruptions": {"number": "broken:number"},
        },
        version="0.3",
    )
    install(site, "quitter", "import sys; sys.exit(1)", {"attacks": {"quits": "quitter:x"}})
    install(site, "demo", GOOD, ENTRIES)
    listed = workbench("list", "attacks", "--json")
    assert listed.code == 0
    assert {"pgd", "upwards"} <= set(listed.document["names"])
    assert not {"gone", "missing", "number", "stranger", "quits"} & set(listed.document["names"])
    assert warnings(listed.err) == [
        "attack 'gone' of broken 0.3 is left out: ModuleNotFoundError: No module named 'nowhere'.",
        "attack 'missing' of broken 0.3 is left out: AttributeError: module 'broken' has no "
        "attribute 'attack'.",
        "attack 'needs' of broken 0.3 is left out: its setting 'eps' has no default.",
        "attack 'number' of broken 0.3 is left out: it is no function.",
        "attack 'quits' of quitter 1.0 is left out: SystemExit: 1.",
        "attack 'stranger' of broken 0.3 is left out: it is no attack: it does not take images, "
        "labels, model, seeds, targets.",
        "attack 'two words' of broken 0.3 is left out: a name is a letter, then letters, digits, "
        "and any of . _ -.",
    ]
    assert warnings(workbench("list", "corruptions").err) == [
        "corruption 'number' of broken 0.3 is left out: it is no attacks.corruptions.Corruption."
    ]
    refused(workbench("list", "attacks", "gone"), "Unknown attack 'gone'")


def test_a_name_belongs_to_us_or_to_one_package(site: Path) -> None:
    install(site, "first", GOOD, {"attacks": {"same": "first:upwards", "pgd": "first:upwards"}})
    install(site, "second", GOOD, {"attacks": {"same": "second:upwards"}}, version="2.0")
    ours = ATTACKS["pgd"]
    for _ in range(2):  # asked again in the same process, the answer is the same
        assert warnings(workbench("list", "attacks").err) == [
            "attack 'pgd' of first 1.0 is left out: the name is taken by one of our own.",
            "first 1.0 and second 2.0 both add attack 'same': neither is taken.",
        ]
    assert ATTACKS["pgd"] is ours
    assert "same" not in ATTACKS


def test_another_version_or_edited_code_is_another_identity(site: Path) -> None:
    assert added_packages(["attacks"]) == {}
    install(site, "demo", GOOD, ENTRIES)
    install(site, "broken", "", {"attacks": {"x": "nowhere:y", "odd": "not a reference"}})
    (first, digest) = added_packages(["attacks"])["package demo"].split()
    assert first == "1.0"
    assert added_packages(["attacks"])["package broken"] == "1.0"
    assert set(added_packages(["defenses"])) == {"package demo"}
    with (site / "demo.py").open("a") as file:
        file.write("# edited")
    assert added_packages(["corruptions"])["package demo"].split()[1] != digest


def test_the_example_in_the_contributing_page_works(site: Path) -> None:
    section = PAGE.read_text(encoding="utf-8").split("## Add from a package of your own")[1]
    toml, code = (
        re.search(rf"^```{language}\n(.*?)^```", section, re.M | re.S)
        for language in ("toml", "python")
    )
    assert toml is not None
    assert code is not None
    groups = tomllib.loads(toml[1])["project"]["entry-points"]
    entries = {group.removeprefix("workbench."): named for group, named in groups.items()}
    install(site, "my_package", code[1], entries)
    console = make_console(json_output=False, quiet=True)
    add_plugins(KINDS, console)
    assert {kind: set(named) for kind, named in entries.items()} == {
        "attacks": {"half-fgsm"},
        "defenses": {"dimmed"},
        "corruptions": {"inverted"},
    }
    model, images, labels, _ = linear_case()
    half = ATTACKS["half-fgsm"](model, images, labels, eps=0.2)
    assert torch.equal(half.images, ATTACKS["fgsm"](model, images, labels, eps=0.1).images)
    seeds = image_seeds(0, torch.arange(16))
    darker, _ = resolve("dimmed(least=0.25)").defense.transform(images, labels, seeds)
    factors = (darker / images).flatten(1)
    torch.testing.assert_close(factors, factors[:, :1].expand_as(factors))
    assert 0.25 <= factors.min() < 0.5 < factors.max() <= 1
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    assert torch.equal(corrupt(pixels, CORRUPTIONS["inverted"], 5), 255 - pixels)


@pytest.mark.slow
def test_installed_packages_attack_and_train_from_the_command_line(
    site: Path, tmp_path: Path
) -> None:
    """In processes of their own, which find the package as any installed one is found."""
    install(site, "demo", GOOD, ENTRIES)

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "workbench", *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(site), *sys.path])},
        )

    checkpoint, data = write_checkpoint(tmp_path / "net.pt"), write_data(tmp_path / "data.npz")
    attacked = run(
        "attack", checkpoint, "--data", data, "--attack", "upwards(eps=0.3)", *ARCH, "--json",
        "--output", "attacked", "--force",
    )  # fmt: skip
    assert attacked.returncode == 0, attacked.stderr
    (result,) = json.loads(attacked.stdout)["results"]
    assert result["attack"] == "upwards(eps=0.3)"
    config = json.loads((tmp_path / "attacked" / "config.json").read_text(encoding="utf-8"))
    assert "package demo" in json.dumps(config)
    trained = run(
        "train", "mlp(width=4)", "--data", data, "--defense", "inverted(share=0.5)", "--epochs",
        "1", "--output", "trained", "--lr", "0.01",
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    install(site, "loud", "raise RuntimeError('imported')", {"defenses": {"loud": "loud:x"}})
    helped = run("train", "--help")
    assert (helped.returncode, helped.stderr) == (0, "")
    warned = run("list", "defenses", "--quiet")
    assert warned.returncode == 0
    assert warnings(warned.stderr) == [
        "defense 'loud' of loud 1.0 is left out: RuntimeError: imported."
    ]
