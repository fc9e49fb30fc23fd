"""What is installed from a wheel, far from any clone, brings its migrations along."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[3]


def _run(directory: Path, *words: str | Path, **environment: str) -> str:
    command = [sys.executable, "-m", *map(str, words)]
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("ASSAY_", "PYTHONPATH"))}
    done = subprocess.run(
        command, cwd=directory, env={**plain, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout


def test_a_database_is_made_by_an_installation_without_a_clone(tmp_path: Path) -> None:
    source, prefix = tmp_path / "source", tmp_path / "installed"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("service", "trainer", "evaluation", "alembic"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    wheel = ["pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps", "--no-index", "--wheel-dir", "."]
    _run(tmp_path, *wheel, source)
    (built,) = tmp_path.glob("*.whl")
    into = ["pip", "install", "--quiet", "--no-deps", "--no-index", "--ignore-installed", "--no-compile", "--prefix"]
    _run(tmp_path, *into, prefix, built)

    packages = sysconfig.get_path("purelib", vars={"base": str(prefix), "platbase": str(prefix)})
    here = {"PYTHONPATH": packages, "ASSAY_DATABASE_URL": "sqlite:///new.db"}
    assert _run(tmp_path, "service.cli", "--version", **here).startswith("assay ")
    assert "at this version's migration" in _run(tmp_path, "service.cli", "db", "upgrade", **here)
    assert (tmp_path / "new.db").exists()
