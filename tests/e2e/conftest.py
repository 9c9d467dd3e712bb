"""Loads the generator of archives and the expectation beside it, and gives every test the small world."""

from __future__ import annotations

import importlib.util
import io
import sys
from pathlib import Path

import pytest


def _load(name: str) -> None:
    spec = importlib.util.spec_from_file_location(f"e2e_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # the tests' `import e2e_archives`
    spec.loader.exec_module(module)


for _name in ("archives", "expectation", "runs"):
    _load(_name)


@pytest.fixture(scope="session")
def world():
    import e2e_archives

    return e2e_archives.small_world()


@pytest.fixture(scope="session")
def archive(world, tmp_path_factory) -> Path:
    """The small world as an archive, with its opt-out registry beside it; do not change it."""
    import e2e_archives

    folder = tmp_path_factory.mktemp("small-world")
    (folder / "registry.yaml").write_text(world.registry())
    return e2e_archives.write(world, folder / "archive")


@pytest.fixture(scope="session")
def made(archive, tmp_path_factory):
    """A release made once: its outcome, the folder with `work` and `out`, and what stderr had; do not change it."""
    import e2e_runs

    folder, log = tmp_path_factory.mktemp("made"), io.StringIO()
    return e2e_runs.release(archive, folder, log=log), folder, log.getvalue()
