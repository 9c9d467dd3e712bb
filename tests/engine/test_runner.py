"""The runner: what is done is not done again, what is broken is, and every failure names its stage and unit."""

from __future__ import annotations

import importlib
import io
import json
import shutil
import subprocess
import sys
import textwrap

import pytest

from pipeline.engine import executor
from pipeline.engine.lock import exclusive
from pipeline.engine.progress import Progress
from pipeline.engine.runner import Runner, open_workdir
from pipeline.engine.store import TEMPORARY, Store
from pipeline.errors import ConfigError, IntegrityError, SourceError, TransientError

stages = importlib.import_module("engine_stages")


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(executor, "_BACKOFF_SECONDS", 0)


def numbers(runner, done) -> list[int]:
    return sorted(runner.table(done.ref("rows"))["number"].to_pylist())


def called(calls) -> list[str]:
    return sorted(calls.read_text().split())


def test_a_finished_stage_is_not_run_again(runner_at, calls):
    runner = runner_at()
    first = stages.made(calls)
    done = runner.run(stages.then(stages.double, runner.run(first), calls, factor=2))
    assert numbers(runner, done) == [2 * n for n in range(100)]
    assert runner.ran_units == 3 + 4
    calls.write_text("")
    again = runner_at()
    done = again.run(stages.then(stages.double, again.run(first), calls, factor=2))
    assert (again.ran_units, again.skipped_units, called(calls)) == (0, 7, [])
    assert numbers(again, done) == [2 * n for n in range(100)]


def test_the_rows_of_a_bucket_are_those_of_its_ids(runner_at, calls):
    for buckets in (1, 2, 16):
        runner = runner_at(f"work{buckets}", buckets=buckets)
        done = runner.run(stages.made(calls))
        parts = [runner.table(done.ref("rows"), bucket=b).to_pylist() for b in range(buckets)]
        assert sorted(row["number"] for part in parts for row in part) == list(range(100))
        for bucket, part in enumerate(parts):
            assert {int(row["id"][:3], 16) * buckets // 4096 for row in part} <= {bucket}
        assert done.rows("rows") == 100
        assert done.counts == {"made": 100}


def interrupted(runner, stage, *, after: int):
    """Run a stage and be interrupted when so many units are done."""

    class Stops(type(runner.executor)):  # type: ignore[misc]
        def run(self, payloads, *, heavy=None):
            for number, sidecar in enumerate(super().run(payloads, heavy=heavy), 1):
                yield sidecar
                if number == after:
                    raise KeyboardInterrupt

    runner.executor = Stops()
    with pytest.raises(KeyboardInterrupt):
        runner.run(stage)


def test_resuming_runs_only_the_units_that_are_left(runner_at, calls):
    stage = stages.made(calls, parts=5)
    interrupted(runner_at(), stage, after=2)
    assert called(calls) == ["000000", "000001"]
    calls.write_text("")
    log, runner = io.StringIO(), runner_at()
    runner.progress = Progress(log)
    done = runner.run(stage)
    assert called(calls) == ["000002", "000003", "000004"]
    assert (runner.ran_units, runner.skipped_units) == (3, 2)
    assert "(2 of 5 units were already done)" in log.getvalue()
    assert numbers(runner, done) == list(range(100))
    # One summary remains of the sidecars; a run that never stopped has the same files.
    other = runner_at("other")
    other.run(stage)
    assert files_of(runner.store) == files_of(other.store)


def files_of(store) -> dict[str, bytes]:
    return {entry.key: store.read(entry.key) for entry in store.list("stages")}


@pytest.mark.parametrize("damage", ["truncated", "gone", "sidecar"])
def test_a_unit_whose_files_are_not_whole_is_run_again(runner_at, calls, damage):
    runner = runner_at()
    stage = stages.made(calls, parts=5)
    interrupted(runner, stage, after=3)
    part = runner.store.path(f"{stage.folder}/rows-000001.segments")
    if damage == "truncated":
        part.write_bytes(part.read_bytes()[:-7])
    elif damage == "gone":
        part.unlink()
    else:
        runner.store.path(f"{stage.folder}/000001.json").write_text('{"unit": "0000')
    calls.write_text("")
    runner = runner_at()
    assert numbers(runner, runner.run(stage)) == list(range(100))
    assert called(calls) == ["000001", "000003", "000004"]


def test_a_sidecar_without_its_part_never_comes_first(runner_at, calls, monkeypatch):
    """The sidecar is what says that a unit is done: it is written after all that it describes."""
    order = []
    real = Store.writing

    def writing(self, key):
        order.append(key.rsplit("/", 1)[-1])
        return real(self, key)

    monkeypatch.setattr(Store, "writing", writing)
    runner_at().run(stages.made(calls, parts=1))
    assert order == ["rows-000000.segments", "000000.json", "stage.json"]


def test_units_of_another_split_do_not_count(runner_at, calls):
    """The number of parts is not in the key: what an interrupted run left of another cut must not be mixed in."""
    interrupted(runner_at(), named(calls, 5), after=3)
    runner = runner_at()
    done = runner.run(named(calls, 2))
    assert numbers(runner, done) == list(range(100))
    assert sorted(done.summary["units"]) == ["0-50", "50-100"]
    # The same cut as the file names say, another content: two parts of five are not parts of two.
    assert named(calls, 5).key == named(calls, 2).key


def named(calls, parts):
    stage = stages.made(calls, parts=parts)
    units = tuple({**item, "unit": f"{item['range'][0]}-{item['range'][1]}"} for item in stage.units)
    return stages.Stage(**{**{n: getattr(stage, n) for n in stage.__dataclass_fields__}, "units": units})


def test_transient_failures_are_tried_again(runner_at, calls):
    runner = runner_at(buckets=1)
    rows = runner.run(stages.made(calls))
    calls.write_text("")
    done = runner.run(stages.then(stages.flaky, rows, calls, failures=3))
    assert called(calls) == ["0000"] * 4
    assert numbers(runner, done) == list(range(100))


def test_transient_failures_are_reported_in_the_end(runner_at, calls):
    runner = runner_at(buckets=1)
    rows = runner.run(stages.made(calls))
    with pytest.raises(
        TransientError, match=r"the store is busy \(after 4 tries\) \[stage flaky, unit 0000\]"
    ):
        runner.run(stages.then(stages.flaky, rows, calls, failures=99))


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("refuse", r"access denied; check the credentials \[stage refuse, unit 0000\]"),
        ("absent", r"no/such/object.*: missing while absent ran; run the release again"),
        ("no_room", r"no space left for temporary files in .*; free some or set TMPDIR"),
        ("no_memory", r"out of memory; raise engine.task_memory.*\[stage no_memory, unit 0000\]"),
    ],
)
def test_what_a_user_can_act_on_names_stage_and_unit(runner_at, calls, function, words):
    runner = runner_at()
    rows = runner.run(stages.made(calls))
    calls.write_text("")
    with pytest.raises(SourceError, match=words):
        runner.run(stages.then(getattr(stages, function), rows, calls))
    assert called(calls) == ["0000"], "not tried again, and nothing else started"


def test_a_defect_is_a_traceback(runner_at, calls):
    runner = runner_at()
    with pytest.raises(RuntimeError, match="a defect"):
        runner.run(stages.then(stages.crash, runner.run(stages.made(calls)), calls))


def test_an_input_that_is_not_finished_is_said(runner_at, calls):
    runner = runner_at()
    rows = runner.run(stages.made(calls))
    runner.store.delete(f"{rows.stage.folder}/stage.json")
    importlib.import_module("pipeline.engine.stage").read_summary.cache_clear()
    with pytest.raises(
        IntegrityError, match=r"is not finished: its stage\.json is missing; run the release again"
    ):
        runner.run(stages.then(stages.double, rows, calls, factor=2))


def test_planning_runs_nothing(runner_at, calls, tmp_path):
    runner = runner_at()
    rows = runner.run(stages.made(calls))
    calls.write_text("")
    before = files_of(runner.store)
    dry = Runner(runner.store, runner.executor, runner.buckets, Progress(quiet=True), dry=True)
    planned = dry.run(stages.then(stages.double, dry.run(stages.made(calls)), calls, factor=2))
    assert planned.planned
    assert not dry.run(rows.stage).planned
    assert dry.plan[:2] == [("make", 3, True), ("double", 4, False)]
    assert (called(calls), files_of(runner.store)) == ([], before)


def test_what_a_run_uses_is_known_whether_it_ran_or_not(runner_at, calls):
    """The record of a release is made of this: `clean` keeps it, and nothing else."""
    for _ in range(2):
        runner, begun = runner_at(), []
        runner.before_stage = lambda runner=runner, begun=begun: begun.append(set(runner.used))
        rows = runner.run(stages.made(calls))
        done = runner.run(stages.then(stages.double, rows, calls, factor=2))
        assert runner.used == {rows.stage.folder, done.stage.folder}
        calls.write_text("")
    assert begun == [], "nothing was left to do"


def test_a_run_that_lost_its_place_commits_no_stage(runner_at, calls):
    runner = runner_at()

    def lost():
        raise SourceError("another run has taken over")

    runner.before_commit = lost
    with pytest.raises(SourceError, match="taken over"):
        runner.run(stages.made(calls))
    assert not runner.is_done(stages.made(calls))
    assert runner.store.list("stages"), "its units stay for the next run"


def test_parts_and_sidecars_are_the_same_wherever_they_are_made(runner_at, calls, tmp_path):
    one, other = runner_at("one"), runner_at("a/longer path/other")
    for runner in (one, other):
        runner.run(stages.then(stages.double, runner.run(stages.made(calls)), calls, factor=3))
    assert files_of(one.store) == files_of(other.store)


# ------------------------------------------------------------------------------------------------ the work directory


def test_a_work_directory_keeps_its_bucket_count(tmp_path):
    assert open_workdir(str(tmp_path / "w"), None, default_buckets=8)[1] == 8
    assert open_workdir(str(tmp_path / "w"), None, default_buckets=64)[1] == 8
    with pytest.raises(
        ConfigError, match=r"made with 8 buckets, the configuration says 16; remove engine.buckets"
    ):
        open_workdir(str(tmp_path / "w"), 16, default_buckets=8)
    assert open_workdir(str(tmp_path / "none"), None, default_buckets=4, dry=True)[1] == 4
    assert not (tmp_path / "none").exists()


def test_a_work_directory_may_be_made_anew_in_the_same_place(runner_at, calls):
    for buckets in (4, 1):
        runner = runner_at(buckets=buckets)
        rows = runner_at().run(stages.made(calls))
        done = runner.run(stages.then(stages.double, rows, calls, factor=2))
        # What a stage summary says is kept in memory; it must not outlive the directory.
        assert numbers(runner, runner.run(done.stage)) == [2 * n for n in range(100)]
        shutil.rmtree(runner.store.root)


@pytest.mark.parametrize("text", ["", "[]", '{"format": 1}', '{"format": 1, "buckets": "many"}'])
def test_a_damaged_work_directory_is_said(tmp_path, text):
    (tmp_path / "workdir.json").write_text(text)
    with pytest.raises(IntegrityError, match=r"workdir.json is not readable"):
        open_workdir(str(tmp_path), None, default_buckets=8)


def test_a_work_directory_of_another_format_is_refused(tmp_path):
    (tmp_path / "workdir.json").write_text(json.dumps({"format": 99, "buckets": 8}))
    with pytest.raises(ConfigError, match=r"another version .*use a new --workdir"):
        open_workdir(str(tmp_path), None, default_buckets=8)


def test_one_run_at_a_time(tmp_path):
    store = Store(str(tmp_path / "w"))
    with (
        exclusive(store),
        pytest.raises(ConfigError, match=r"another run uses .*wait for it"),
        exclusive(store),
    ):
        pass
    with exclusive(store):
        pass
    left = store.path(f"stages/a/b/rows.parquet{TEMPORARY}0123")
    left.parent.mkdir(parents=True)
    left.touch()
    with exclusive(store):
        assert left.exists(), "the last run came to its end: nothing to look for"
    # A killed run leaves no lock behind, and what it left unfinished is swept up.
    script = textwrap.dedent(
        """
        import os, signal, sys
        from pipeline.engine.lock import exclusive
        from pipeline.engine.store import TEMPORARY, Store
        with exclusive(Store(sys.argv[1])):
            os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    assert subprocess.run([sys.executable, "-c", script, store.uri], check=False).returncode == -9
    with exclusive(store):
        assert not left.exists()
    left.touch()
    with pytest.raises(KeyboardInterrupt), exclusive(store):
        raise KeyboardInterrupt
    with exclusive(store):
        assert not left.exists()
