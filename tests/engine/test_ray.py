"""The executor on Ray is the one in this process, but for workers that die. One Ray start for all of these tests."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path

import pytest

from pipeline.engine.on_ray import OnRay
from pipeline.errors import SourceError

stages = importlib.import_module("engine_stages")

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own: files and sockets that its processes share


@pytest.fixture(scope="module")
def ray_executor():
    executor = OnRay(workers=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)  # of the workers
        yield executor
        executor.close()


@pytest.fixture
def runner(runner_at, ray_executor):
    return runner_at(executor=ray_executor)


def files_of(store) -> dict[str, bytes]:
    return {entry.key: store.read(entry.key) for entry in store.list("stages")}


def test_every_byte_in_the_work_directory_is_that_of_the_other_executor(runner, runner_at, calls):
    here = runner_at("here")
    for one in (runner, here):
        one.run(stages.then(stages.double, one.run(stages.made(calls)), calls, factor=2))
    assert files_of(runner.store) == files_of(here.store)


def test_a_worker_killed_in_the_middle_of_a_unit(runner, calls):
    rows = runner.run(stages.made(calls))
    calls.write_text("")
    done = runner.run(stages.then(stages.die_once, rows, calls))
    assert sorted(runner.table(done.ref("rows"))["number"].to_pylist()) == list(range(100))
    counted = calls.read_text().split()
    assert all(counted.count(f"{bucket:04x}") >= 2 for bucket in range(4)), "each unit was started again"
    parts = [
        key for key in files_of(runner.store) if "die_once" in key and key.endswith((".parquet", ".segments"))
    ]
    assert len(parts) == 4, "what the killed ones left is not listed"


def test_a_unit_that_kills_its_worker_every_time_is_reported(runner, calls):
    rows = runner.run(stages.made(calls))
    with pytest.raises(
        SourceError, match=r"a worker died 4 times on stage die_always, unit 000\d \(out of memory\?\)"
    ):
        runner.run(stages.then(stages.die_always, rows, calls))


def test_a_users_error_arrives_with_stage_and_unit(runner, calls):
    rows = runner.run(stages.made(calls))
    with pytest.raises(
        SourceError, match=r"access denied; check the credentials \[stage refuse, unit 000\d\]"
    ):
        runner.run(stages.then(stages.refuse, rows, calls))


def test_a_defect_arrives_with_its_own_traceback(runner, calls):
    rows = runner.run(stages.made(calls))
    with pytest.raises(RuntimeError, match="a defect") as failed:
        runner.run(stages.then(stages.crash, rows, calls))
    assert "engine_stages.py" in str(failed.value)


def test_what_travels_is_small(runner, ray_executor, calls):
    """Payloads are keys, results are summaries; neither grows with the rows."""
    sizes = {}
    for rows in (100, 10_000):
        stage = stages.made(calls, rows=rows)
        payloads = [runner._payload(stage, *unit, "") for unit in runner._units(stage)]
        results = list(ray_executor.run(payloads))
        sizes[rows] = max(len(json.dumps(result)) for result in results)
        assert all(len(repr(payload)) < 10_000 for payload in payloads)
    assert sizes[10_000] < sizes[100] + 100
    assert max(sizes.values()) < 2_000
