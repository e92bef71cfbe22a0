"""The wheel works where nothing of the repository is: built, installed, used."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TOPS = ("attacks", "defenses", "benchmarks", "workbench")

pytestmark = pytest.mark.slow


def call(*command: object, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": "", "NO_COLOR": "1", **environment},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the sources alone, so that no earlier build can slip in."""
    place = tmp_path_factory.mktemp("wheel")
    source = place / "source"
    for name in TOPS:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    call(
        sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation",
        "--disable-pip-version-check", "--wheel-dir", place, source, cwd=place,
    )  # fmt: skip
    (built,) = place.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def clean(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts folder of a new environment with the wheel in it.

    The libraries are those of this environment, by a path file; our own packages are not, since a
    path file that a path file names is not followed, and an editable installation is just that.
    """
    place = tmp_path_factory.mktemp("clean")
    venv.create(place / "env", with_pip=False, symlinks=True)
    scripts = place / "env" / ("Scripts" if os.name == "nt" else "bin")
    python = scripts / "python"
    site = Path(
        call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=place)
        .strip()
    )  # fmt: skip
    libraries = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    call(
        sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index",
        "--disable-pip-version-check", wheel, cwd=place,
    )  # fmt: skip
    (site / "libraries.pth").write_text("\n".join(sorted(libraries)) + "\n", encoding="utf-8")
    return scripts


def test_it_holds_the_packages_and_their_data_and_no_tests(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(TOPS)
    for top in TOPS:
        here = {
            str(file.relative_to(ROOT))
            for file in (ROOT / top).rglob("*.py")
            if (file.parent / "__init__.py").exists()
        }
        assert here <= names
    assert not [name for name in names if "test" in Path(name).name.lower()]
    assert {f"{top}/py.typed" for top in TOPS} <= names
    assert {
        "workbench/data/fashion_mnist_mini.npz",
        "workbench/data/FASHION_MNIST_LICENSE.txt",
    } <= names
    here = {
        f"workbench/{kind}/{file.name}"
        for kind in ("recipes", "suites")
        for file in (ROOT / "workbench" / kind).glob("*.toml")
    }
    here |= {
        f"benchmarks/studies/{file.parent.name}/{file.name}"
        for file in (ROOT / "benchmarks/studies").glob("s?/*")
        if file.is_file()
    }
    assert len(here) >= 12 + 5
    assert here <= names
    assert {f"workbench/report/page.{suffix}" for suffix in ("html.jinja", "css", "js")} <= names
    assert any(name.endswith("/LICENSE") for name in names)


def test_every_module_comes_from_the_installed_wheel(clean: Path, tmp_path: Path) -> None:
    code = (
        "import importlib, json, sys\n"
        "found = {}\n"
        f"for name in {TOPS!r}: found[name] = importlib.import_module(name).__file__\n"
        "import torch\n"
        "print(json.dumps([found, sys.prefix]))"
    )
    found, prefix = json.loads(call(clean / "python", "-c", code, cwd=tmp_path))
    assert prefix == str(clean.parent)
    for name, file in found.items():
        assert Path(file).is_relative_to(clean.parent), name
        assert not Path(file).is_relative_to(ROOT), name


def test_the_script_answers(clean: Path, tmp_path: Path) -> None:
    assert "attack" in call(clean / "workbench", "--help", cwd=tmp_path)
    version = call(clean / "workbench", "--version", cwd=tmp_path)
    assert version.split()[1][0].isdigit()
    assert version.strip() != "workbench 0+unknown"
    listed = json.loads(call(clean / "workbench", "list", "attacks", "--json", cwd=tmp_path))
    assert {"fgsm", "pgd", "sign-ascent"} <= set(listed["names"])
    recipe = call(clean / "workbench", "list", "recipes", "s3", cwd=tmp_path)
    assert "cifar-stem = true" in recipe
    studies = json.loads(call(clean / "workbench", "list", "studies", "--json", cwd=tmp_path))
    assert list(studies["names"]) == ["s0", "s1", "s2", "s3", "s4"]
    assert "apgd" in call(clean / "workbench", "list", "suites", "standard", cwd=tmp_path)


def test_it_trains_attacks_and_reports_on_the_embedded_data(clean: Path, tmp_path: Path) -> None:
    data = ("--data", "fashion-mnist-mini", "--json")
    run = ("--epochs", 2, "--limit", 2000)
    trained = json.loads(call(clean / "workbench", "train", "mlp", *data, *run, cwd=tmp_path))
    assert trained["test_images"] == 2000
    assert trained["test_error"] < 0.4  # chance is 0.9
    model = (trained["checkpoint"], *data, "--limit", 20)
    attack = ("--attack", "fgsm(eps=32/255)")
    attacked = json.loads(call(clean / "workbench", "attack", *model, *attack, cwd=tmp_path))
    (result,) = attacked["results"]
    assert result["images"] == 20
    assert result["succeeded"] > 0
    assert (tmp_path / attacked["record"]).is_file()
    suite = ("--suite", "quick", "--corruptions", "fog", "--output", "run")
    call(clean / "workbench", "benchmark", *model, *suite, cwd=tmp_path)
    call(clean / "workbench", "report", "run", "--output", "report.html", cwd=tmp_path)
    assert "<h1>" in (tmp_path / "report.html").read_text(encoding="utf-8")
