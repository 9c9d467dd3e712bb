"""The wheel holds the product, all of it, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES: list[str] = PROJECT["tool"]["setuptools"]["packages"]
TOP = sorted({name.partition(".")[0] for name in PACKAGES})


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> set[str]:
    """The names in a wheel built from a copy of the sources, as a stranger's pip would build it."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in [*TOP, "tests"]:  # the tests lie there, as in a checkout, and still must not be shipped
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", ".tmp-*"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = "import sys; from setuptools.build_meta import build_wheel; print(build_wheel(sys.argv[1]))"
    run = subprocess.run(
        [sys.executable, "-c", build, str(target)],
        cwd=source,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    (file,) = target.glob("*.whl")
    return set(zipfile.ZipFile(file).namelist())


def test_every_package_on_disk_is_listed():
    """Breach: a package works in a checkout and is missing once installed."""
    on_disk = {
        ".".join(init.parent.relative_to(ROOT).parts)
        for top in [*TOP, "pipeline", "licensing", "dedup", "pii", "manifests", "training"]
        for init in (ROOT / top).rglob("__init__.py")
    }
    assert on_disk == set(PACKAGES)


def test_the_wheel_holds_every_file_of_the_packages(wheel):
    """Breach: a data file or module is read in a checkout and missing once installed."""
    wanted = {
        file.relative_to(ROOT).as_posix()
        for name in TOP
        for file in (ROOT / name).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts and not file.name.startswith(".")
    }
    assert wanted - wheel == set()


def test_the_wheel_holds_nothing_but_the_packages_and_its_metadata(wheel):
    """Breach: an installed product brings top-level modules named tests, docs or scripts."""
    tops = {name.partition("/")[0] for name in wheel}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(TOP)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel)


def test_the_installed_command_is_the_command_line():
    """Breach: `pipeline` is not what README says it is."""
    assert PROJECT["project"]["scripts"] == {"pipeline": "pipeline.cli.main:run"}
