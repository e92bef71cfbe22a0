"""Imports run one way, and the lists of packages that we ship and check are whole."""

import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LINT = shutil.which("lint-imports", path=sysconfig.get_path("scripts")) or "lint-imports"


def lint(config: Path, where: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [LINT, "--config", str(config), "--no-cache"],
        cwd=where,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(where), "PATH": str(Path(sys.executable).parent)},
    )


def test_the_import_contracts_hold() -> None:
    done = lint(ROOT / "pyproject.toml", ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_forbidden_import_would_be_found(tmp_path: Path) -> None:
    """The same contracts, over packages with one import that goes the wrong way."""
    for name in SETTINGS["tool"]["importlinter"]["root_packages"]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    (tmp_path / "benchmarks" / "record.py").write_text("import h5py\n", encoding="utf-8")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    assert lint(tmp_path / "pyproject.toml", tmp_path).returncode == 0
    for line in ("import benchmarks", "import typer", "import h5py"):
        (tmp_path / "attacks" / "__init__.py").write_text(f"{line}\n", encoding="utf-8")
        assert lint(tmp_path / "pyproject.toml", tmp_path).returncode == 1, line


def test_every_package_is_shipped_typed_and_checked() -> None:
    tops = SETTINGS["tool"]["importlinter"]["root_packages"]
    found = {
        str(file.parent.relative_to(ROOT)).replace("/", ".")
        for top in tops
        for file in (ROOT / top).rglob("__init__.py")
    }
    assert set(SETTINGS["tool"]["setuptools"]["packages"]) == found
    assert set(SETTINGS["tool"]["mypy"]["files"]) == set(tops)
    assert all((ROOT / top / "py.typed").is_file() for top in tops)
