"""Fixtures: small releases of two versions that share shards, a Hub on loopback, and how a run is watched."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hub_server import HubServer

from pipeline.delivery import Watch

NAME = "owner/data"
ROWS = {"Python": 12, "C++": 6, "C#": 4, "F*": 3}


def token() -> str:
    return "hf_" + "Writer" * 5  # not a token, only shaped like one


@pytest.fixture(scope="session")
def factory() -> ModuleType:
    file = Path(__file__).parents[1] / "manifests/release_factory.py"
    spec = importlib.util.spec_from_file_location("release_factory_of_publish", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def two(factory, tmp_path_factory) -> dict[str, Path]:
    """Version -> folder: 2.2 has other C++ rows, no F*, and one more language than 2.1."""
    folder = tmp_path_factory.mktemp("releases")
    tables = {language: factory.make_rows(language, count) for language, count in ROWS.items()}
    found = {}
    for version in ("2.1", "2.2"):
        if version == "2.2":
            tables["C++"] = factory.make_rows("C++", 5, seed=7)
            tables["Shell"] = factory.make_rows("Shell", 2)
            del tables["F*"]
        found[version] = folder / version
        found[version].mkdir()
        factory.finish(found[version], factory.write_shards(found[version], tables), version=version)
    return found


@pytest.fixture
def release(two, tmp_path) -> Path:
    """A copy of 2.1 that a test may change."""
    return Path(shutil.copytree(two["2.1"], tmp_path / "2.1"))


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A Hub with an empty repository, and a token that may write to it."""
    from huggingface_hub import constants

    server = HubServer()
    server.writers.add(token())
    server.make(NAME)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")  # for commands in processes of their own
    for name, value in {
        "HF_ENDPOINT": server.endpoint,
        "HF_TOKEN": token(),
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }.items():
        monkeypatch.setenv(name, value)
    yield server
    server.close()


class Seen(Watch):
    """Keeps what a run reports."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.totals: dict[str, int] = {}
        self.moved: dict[str, int] = {}
        super().__init__(note=self.lines.append, total=self._total, advance=self._advance)

    def _total(self, what: str, size: int) -> None:
        self.what = what
        self.totals[what], self.moved[what] = size, 0

    def _advance(self, count: int) -> None:
        self.moved[self.what] += count


@pytest.fixture
def watch() -> Seen:
    return Seen()
