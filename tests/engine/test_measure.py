"""Measurements: they add up, they are the unit's own, and nothing of them is in what is kept of a stage."""

from __future__ import annotations

import gzip
import importlib
import json
import subprocess
import sys
import time

import pyarrow as pa

from pipeline.engine.measure import ENGINE, Meter, StageFigures, asked, drawn, outside, phase, wrote

stages = importlib.import_module("engine_stages")


def burn(seconds: float) -> None:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_phases_are_told_apart_and_add_up():
    def tables():
        burn(0.05)
        yield pa.table({})

    with Meter() as meter, phase("function"):
        burn(0.02)
        with phase("write"):
            burn(0.02)
            assert len(list(drawn(tables()))) == 1  # what is drawn lazily is the function's
    found = meter.figures(written_bytes=0, written_objects=0)
    assert 0.07 <= found["function_cpu_seconds"] < 0.3
    assert 0.02 <= found["engine_cpu_seconds"]["write"] < 0.07  # 0.09 and more if all were put here
    assert (
        abs(found["cpu_seconds"] - found["function_cpu_seconds"] - sum(found["engine_cpu_seconds"].values()))
        < 1e-4
    )


_HOLD_AND_LET_GO = """
import time
from pipeline.engine.measure import Meter

with Meter() as small:
    pass
with Meter() as large:
    held = bytearray(b"\\1") * (96 << 20)
    time.sleep(1)  # many of the sampler's steps
    del held
print(large.peak_bytes - small.peak_bytes)
"""


def test_memory_that_is_given_back_before_the_end_counts():
    # In a process of its own: what other tests left behind is given back whenever it pleases.
    found = subprocess.run(
        [sys.executable, "-c", _HOLD_AND_LET_GO], capture_output=True, text=True, check=True
    )
    assert int(found.stdout) > 64 << 20


def test_bytes_read_and_objects_beside_the_outputs_are_counted(tmp_path):
    (tmp_path / "data").write_bytes(bytes(1 << 20))
    with Meter() as meter:
        (tmp_path / "data").read_bytes()
        wrote(10)
    found = meter.figures(written_bytes=5, written_objects=2)
    assert 1 << 20 <= found["read_bytes"] < 2 << 20
    assert (found["written_bytes"], found["written_objects"]) == (15, 3)
    wrote(10)  # outside of a unit: nobody's


def test_the_record_has_every_unit_and_the_sidecars_none_of_it(runner_at, calls):
    runner = runner_at()
    runner.run(stages.made(calls))
    stage = runner.progress.stages[-1]
    units = [json.loads(line) for line in gzip.decompress(runner.progress.units()).splitlines()]
    assert len(units) == stage["units"] == stage["measured_units"] == 3
    assert abs(sum(unit["cpu_seconds"] for unit in units) - stage["cpu_seconds"]) < 1e-3
    assert max(unit["peak_pss_bytes"] for unit in units) == stage["max_peak_pss_bytes"] > 10 << 20
    assert stage["written_objects"] == 6 and set(stage["engine_cpu_seconds"]) == set(ENGINE)
    kept = b"".join(
        runner.store.read(entry.key) for entry in runner.store.list("stages") if entry.key.endswith("json")
    )
    assert b"seconds" not in kept and b"pss" not in kept


def test_sums_maxima_and_units_of_a_stage():
    figures = StageFigures()
    for cpu, peak in ((1.0, 5), (3.0, 2)):
        figures.add({"cpu_seconds": cpu, "engine_cpu_seconds": {"read": 0.5}, "peak_pss_bytes": peak})
    assert figures.to_json() == {
        "cpu_seconds": 4.0, "engine_cpu_seconds": {"read": 1.0}, "measured_units": 2, "max_peak_pss_bytes": 5,
        "max_unit_cpu_seconds": 3.0,
    }  # fmt: skip


def test_requests_are_on_the_account_of_the_unit_or_of_the_process():
    before = outside()
    asked("get", received=5)
    with Meter() as meter:
        asked("get", received=7)
        asked("put", 3, sent=11)
    asked("list")
    here = outside().since(before)
    assert (dict(here.requests), here.received_bytes, here.sent_bytes) == ({"get": 1, "list": 1}, 5, 0)
    found = meter.figures(written_bytes=0, written_objects=0)
    assert found["requests"] == {"get": 1, "put": 3}
    assert (found["received_bytes"], found["sent_bytes"]) == (7, 11)
    summed = StageFigures()
    summed.add(found)
    summed.add(found)
    assert summed.to_json()["requests"] == {"get": 2, "put": 6} and summed.to_json()["received_bytes"] == 14
