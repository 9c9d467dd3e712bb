"""Fixtures: the release factory, one release per session, and a fresh copy of it for tests that break it."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest


def _load_factory() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "release_factory", Path(__file__).with_name("release_factory.py")
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def factory() -> ModuleType:
    return _load_factory()


@pytest.fixture(scope="session")
def pristine(factory: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A valid release; do not change it."""
    return factory.make_release(tmp_path_factory.mktemp("pristine"))


@pytest.fixture
def release(pristine: Path, tmp_path: Path) -> Path:
    """A copy of the valid release, free to be broken."""
    return Path(shutil.copytree(pristine, tmp_path / "2.1"))
