"""Makes the stage functions of these tests importable by name, as the engine imports them: here and in Ray's workers."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from pipeline.engine.executor import Executor, InProcess
from pipeline.engine.progress import Progress
from pipeline.engine.runner import Runner, open_workdir

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def runner_at(tmp_path):
    """A function that opens a work directory and returns a runner on it."""

    def make(name: str = "work", *, buckets: int = 4, executor: Executor | None = None) -> Runner:
        store, count = open_workdir(str(tmp_path / name), None, default_buckets=buckets)
        return Runner(store, executor or InProcess(), count, Progress(io.StringIO()))

    return make


@pytest.fixture
def calls(tmp_path) -> Path:
    """The file in which the stage functions of these tests write down that they were called."""
    path = tmp_path / "calls"
    path.touch()
    return path
