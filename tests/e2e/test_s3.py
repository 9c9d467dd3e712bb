"""The archive, the work directory and the release on a real S3 server: the same bytes, also after any number of kills."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import e2e_runs as runs
import pytest

from manifests.verify import verify_release
from pipeline.clean import clean
from pipeline.engine import lock
from pipeline.engine.store import Store
from pipeline.estimate import records
from pipeline.explain import explain
from pipeline.release_place import release_place
from pipeline.run_stats import run_stats

KILLED = """
import os, signal, sys
from pipeline.engine.store import Store
left = [int(os.environ["KILL_AT"])]
def counted(name):
    real = getattr(Store, name)
    def operation(self, *arguments, **more):
        left[0] -= 1
        if left[0] == 0 and left[0] % 2 == int(os.environ["KILL_AT"]) % 2:
            os.kill(os.getpid(), signal.SIGKILL)  # before it is done
        result = real(self, *arguments, **more)
        if left[0] <= 0:
            os.kill(os.getpid(), signal.SIGKILL)  # after it is done
        return result
    setattr(Store, name, operation)
for name in ("put_new", "_put_file", "copy_from", "delete"):
    counted(name)
from pipeline.cli.main import run
run()
"""
"""A driver that dies, without a word, at its n-th change of a store: even numbers right before it, odd ones right after."""


def upload(archive: Path, store: Store) -> None:
    for path in archive.rglob("*"):
        if path.is_file() and path.name != ".lock":
            store.put(path.relative_to(archive).as_posix(), path.read_bytes())


@pytest.fixture
def line(archive, s3_bucket, tmp_path) -> list[str]:
    """The command of a release that has everything on S3."""
    store = Store(f"{s3_bucket}/swh")
    upload(archive, store)
    return runs.command(
        archive, tmp_path, "--in-process", "--json", buckets=1, archive={"uri": store.uri, "anonymous": False},
        out=f"{s3_bucket}/out", workdir=f"{s3_bucket}/work",
    )  # fmt: skip


def killed(line: list[str], at: int) -> bool:
    """Run until the change number `at`, or to the end; whether it was killed."""
    done = subprocess.run(
        [line[0], "-c", KILLED, *line[3:]],
        env={**os.environ, "KILL_AT": str(at)},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode in (0, -9), done.stderr
    return done.returncode != 0


def check_no_trace(bucket: str, line: list[str], made, *, killed_before: bool) -> None:
    """After the run that came to its end: the same bytes, nothing but the release, nothing that clean would find."""
    done = runs.run(line)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["digest"] == made[0].digest
    if killed_before:
        assert told["units_skipped"] > 0
    out, work = Store(f"{bucket}/out"), Store(f"{bucket}/work")
    here = made[0].directory
    wanted = {f"1.0/{p.relative_to(here).as_posix()}": p.read_bytes() for p in here.rglob("*") if p.is_file()}
    assert {entry.key: out.read(entry.key) for entry in out.list()} == wanted
    assert verify_release(release_place(f"{out.uri}/1.0")).ok
    before = {entry.key for entry in work.list()}
    cleaned = clean(work.uri, [out.uri])
    kinds = {kind: found["objects"] for kind, found in cleaned.removed.items() if found["objects"]}
    assert set(kinds) <= {"orphans"}, "what killed units left, and nothing else"
    left = before - {entry.key for entry in work.list() if not entry.key.startswith("lock/")}
    assert {key.partition("/")[0] for key in left} <= {"stages", "lock"}
    assert not clean(work.uri, [out.uri], dry_run=True).notes
    again = json.loads(runs.run(line).stdout)
    assert (again["state"], again["units_run"]) == ("unchanged", 0)
    story = explain(f"{out.uri}/1.0", "https://forge.example/alice/tool", path=None, workdir=work.uri)
    assert story["found"] > 0


def test_a_release_on_s3_killed_and_resumed(line, made, s3_bucket, monkeypatch):
    """SIGKILL in the middle of the stages, and again later; then a rerun."""
    monkeypatch.setattr(lock, "SETTLE_SECONDS", 0.0)
    assert killed(line, 90)
    assert not Store(f"{s3_bucket}/out").list()
    assert killed(line, 91)
    check_no_trace(s3_bucket, line, made, killed_before=True)
    check_the_account(s3_bucket)


def check_the_account(bucket: str) -> None:
    """What the run asked the object stores for is in its record, unit by unit and for the driver."""
    unchanged, finished = records(Store(f"{bucket}/work"))
    assert (finished["state"], unchanged["state"]) == ("made", "unchanged")
    told = run_stats(finished)
    asked = told["totals"]["requests"]
    assert min(asked[kind] for kind in ("get", "head", "list", "put", "copy")) > 0
    assert sum(asked.values()) > sum(sum(one["requests"].values()) for one in told["stages"]) > 100
    assert told["totals"]["sent_bytes"] > sum(one["sent_bytes"] for one in told["stages"]) > 100_000
    estimated = told["estimate"]["requests"]
    wanted = sum(one["counts"].get("objects.requested", 0) for one in told["stages"])
    assert wanted <= estimated["actual"] and wanted <= estimated["estimate"]
    few = run_stats(unchanged)["totals"]["requests"]
    assert few.get("copy", 0) == 0 and sum(few.values()) < sum(asked.values()) / 2


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_ten_kills_at_random_points(line, made, s3_bucket, seed):
    """Ten reruns are killed, each somewhere else; the eleventh comes to the same end as a run that was never killed."""
    dice = random.Random(seed)
    assert [killed(line, dice.randint(8, 40)) for _ in range(10)] == [True] * 10
    assert Store(f"{s3_bucket}/out").stat("1.0/manifest.json") is None
    check_no_trace(s3_bucket, line, made, killed_before=True)


@pytest.mark.slow
def test_kills_near_the_end(line, made, s3_bucket):
    """Every change from the last stages to the record of the release is a point to die at."""
    whole = runs.run(line)
    assert json.loads(whole.stdout)["digest"] == made[0].digest
    out, work = Store(f"{s3_bucket}/out"), Store(f"{s3_bucket}/work")
    for at in range(1, 60, 3):
        out.delete_all("1.0")
        work.delete_all("releases")
        work.delete_all("stages/emit.shards")
        work.delete_all("shards")
        if not killed(line, at):
            break
        if out.stat("1.0/manifest.json") is not None:
            assert verify_release(release_place(f"{out.uri}/1.0")).ok, (
                "a manifest comes after all that it lists"
            )
    assert at > 30
    check_no_trace(s3_bucket, line, made, killed_before=False)


@pytest.mark.slow
def test_a_lost_stage(line, made, s3_bucket):
    """One stage is lost: its units, and nothing else, are run again, and the release that they make is the same."""
    first = json.loads(runs.run(line).stdout)
    assert (first["digest"], first["state"]) == (made[0].digest, "made")
    Store(f"{s3_bucket}/work").delete_all("stages/elect")
    again = json.loads(runs.run(line).stdout)
    assert (again["digest"], again["units_run"]) == (made[0].digest, 1)


@pytest.mark.slow
def test_ray_workers_that_share_nothing_but_s3(line, made, s3_bucket):
    line = [part for part in line if part != "--in-process"]
    told = json.loads(runs.run([*line, "--workers", "2"]).stdout)
    assert (told["digest"], told["directory"]) == (made[0].digest, f"{s3_bucket}/out/1.0")


def test_an_archive_on_s3(line, made, tmp_path):
    local = [
        *line[: line.index("--out")],
        "--out",
        str(tmp_path / "out"),
        "--workdir",
        str(tmp_path / "work"),
    ]
    done = subprocess.run(
        [sys.executable, *local[1:], "--in-process", "--json"], capture_output=True, check=True
    )
    assert json.loads(done.stdout)["digest"] == made[0].digest
    assert json.loads(done.stdout)["totals"] == made[0].totals
