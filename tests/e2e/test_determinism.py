"""Same input, same bytes: any executor, number of workers and buckets, order of rows, place, and after any crash."""

from __future__ import annotations

import contextlib
import json
import locale
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import e2e_archives as archives
import e2e_runs as runs
import psutil
import pytest

from manifests.verify import verify_release
from pipeline.engine.store import Store
from pipeline.stages.reading import in_batches

LAST_SECONDS = 300  # a run that hangs is a failure, not a hung test


@pytest.fixture(scope="module")
def digest(made) -> str:
    """The digest that everything must have: in this process, 2 buckets."""
    return made[0].digest


def released(line: list[str], **environment: str) -> dict:
    """The result of a command with --json."""
    done = runs.run([*line, "--json"], **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# -------------------------------------------------------------------------------------- executors, buckets, places


def test_ray_makes_the_same_bytes(archive, tmp_path, digest):
    """Two workers, in another place, time zone and language, with another hash seed, in a work directory with spaces."""
    line = runs.command(archive, tmp_path / "a place/with spaces", "--workers", "2", buckets=1)
    found = released(line, TZ="Pacific/Auckland", LC_ALL="C", PYTHONHASHSEED="7")
    assert (found["digest"], found["state"]) == (digest, "made")
    assert found["peak_pss_bytes"] > found["driver_peak_pss_bytes"] > 0
    assert verify_release(found["directory"]).ok


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_any_number_of_ray_workers(archive, tmp_path, digest, workers):
    line = runs.command(archive, tmp_path, "--workers", str(workers), buckets=8)
    assert released(line)["digest"] == digest


@pytest.mark.parametrize(
    "buckets", [1, pytest.param(8, marks=pytest.mark.slow), pytest.param(32, marks=pytest.mark.slow)]
)
def test_any_number_of_buckets(archive, tmp_path, digest, buckets, monkeypatch):
    monkeypatch.setattr(
        "pipeline.engine.annotations.COMPACT_AT", 1
    )  # nor does folding segments change a byte, or how many texts are in memory at once
    for module in ("shard_files", "near_verify"):
        monkeypatch.setattr(f"pipeline.stages.{module}.in_batches", partial(in_batches, size=2_000))
    assert runs.release(archive, tmp_path, buckets=buckets).digest == digest


def test_any_order_of_input_rows(archive, tmp_path, digest):
    """Rows permuted, some twice, over several files of small row groups."""
    mixed = archives.shuffled(archive, tmp_path / "mixed/archive")
    (tmp_path / "mixed/registry.yaml").write_bytes((archive.parent / "registry.yaml").read_bytes())
    assert runs.release(mixed, tmp_path, buckets=1).digest == digest


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_many_orders_of_input_rows(archive, tmp_path, digest, seed):
    mixed = archives.shuffled(archive, tmp_path / "mixed/archive", seed=100 + seed)
    (tmp_path / "mixed/registry.yaml").write_bytes((archive.parent / "registry.yaml").read_bytes())
    assert runs.release(mixed, tmp_path, buckets=2 ** (1 + seed)).digest == digest


def a_locale_with_commas() -> str:
    """A locale that writes 0,5 for a half, if the system has one."""
    before = locale.setlocale(locale.LC_NUMERIC)
    try:
        for name in ("de_DE.UTF-8", "fr_FR.UTF-8", "pt_BR.UTF-8", "ru_RU.UTF-8", "tr_TR.UTF-8"):
            with contextlib.suppress(locale.Error):
                locale.setlocale(locale.LC_NUMERIC, name)
                return name
    finally:
        locale.setlocale(locale.LC_NUMERIC, before)
    return "C.UTF-8"


@pytest.mark.parametrize("environment", [
    {"TZ": "Asia/Kathmandu", "LC_ALL": "commas", "PYTHONHASHSEED": "1", "umask": "077"},
    *(pytest.param(environment, marks=pytest.mark.slow) for environment in (
        {"TZ": "America/St_Johns", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "2", "umask": "000"},
        {"TZ": "Pacific/Chatham", "LC_ALL": "POSIX", "PYTHONHASHSEED": "3", "PYTHONUTF8": "0", "umask": "027"},
        {"TZ": "UTC", "LC_ALL": "tr_TR.UTF-8", "PYTHONHASHSEED": "4", "umask": "022"},  # a locale that may not exist
    )),
])  # fmt: skip
def test_the_environment_is_not_in_the_bytes(archive, made, tmp_path, environment):
    """Time zone, locale, seed of hashes, rights of new files, and a work directory and temporary folder with odd names."""
    temporary = tmp_path / "tëmporary ünd ødd"
    temporary.mkdir()
    mask = environment.pop("umask")
    if environment["LC_ALL"] == "commas":
        environment["LC_ALL"] = a_locale_with_commas()
    line = runs.command(archive, tmp_path / "wörk dir with spaces/日本", "--in-process", "--json", buckets=4)
    line = ["sh", "-c", 'umask "$0" && exec "$@"', mask, *line]
    done = runs.run(line, TMPDIR=str(temporary), **environment)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["digest"] == made[0].digest
    assert files_of(Path(found["directory"])) == files_of(made[0].directory)


def files_of(release: Path) -> dict[str, bytes]:
    """Every file of a release: the digest is that of the manifest, which does not list itself and SHA256SUMS."""
    return {p.relative_to(release).as_posix(): p.read_bytes() for p in release.rglob("*") if p.is_file()}


# ------------------------------------------------------------------------------------------------------ after a crash


@contextlib.contextmanager
def started(line: list[str]) -> Iterator[subprocess.Popen[str]]:
    """The command in a process group of its own, as a terminal would start it; nothing of it is left behind."""
    with subprocess.Popen(
        line,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A test run in the background has Ctrl-C ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def wait_for(process: subprocess.Popen[str], stage: str) -> list[str]:
    """Read stderr until the line of a finished stage; returns the lines."""
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line.split()[:1] == [stage]:
            return lines
    raise AssertionError(f"the run ended before {stage}: {''.join(lines)}")


def check_resumed(line: list[str], folder: Path, digest: str) -> None:
    """Nothing half-done can be taken for done; the next run says what it skipped and makes the same bytes."""
    assert not (folder / "out/1.0").exists(), "a release appears whole or not at all"
    listed = Store(str(folder / "work")).list()
    assert listed
    assert not [entry.key for entry in listed if ".tmp-" in entry.key]
    done = runs.run([*line, "--json"])
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["digest"] == digest
    assert found["units_skipped"] > 0
    assert found["units_run"] > 0
    assert verify_release(found["directory"]).ok
    assert [path.name for path in (folder / "out").iterdir()] == ["1.0"]
    assert not list((folder / "work").rglob("*.tmp-*")), "what the killed run left was swept up"


KILLED_AT = ["shuffle.content", "walk.000", "licenses.detect", "fetch.bodies", "annotate.text", "elect", "near.pairs.000",
             "emit.rows", "emit.missing", "emit.texts", "emit.shards"]  # fmt: skip


@pytest.mark.parametrize(
    "stage", [s if s == "annotate.text" else pytest.param(s, marks=pytest.mark.slow) for s in KILLED_AT]
)
def test_a_killed_driver(archive, tmp_path, digest, stage):
    """SIGKILL right after a stage ended, in the middle of the next one."""
    line = runs.command(archive, tmp_path, "--in-process", buckets=2)
    with started(line) as process:
        wait_for(process, stage)
        process.kill()
        assert process.wait(LAST_SECONDS) == -signal.SIGKILL
    check_resumed(line, tmp_path, digest)


IN_ROUNDS = """
from pipeline.cli.main import run
from pipeline.stages import near
near.PAIRS_IN_ONE = 0
run()
"""
ROUNDS = ("near.pairs.000", "near.sides", "near.round.000", "near.round.001", "near.verify.001", "near.round.002",
          "near.settle")  # fmt: skip


def in_rounds(line: list[str]) -> list[str]:
    """The command, but near-duplicates are decided in rounds, however few candidate pairs there are."""
    assert line[1:3] == ["-m", "pipeline.cli.main"]
    return [line[0], "-c", IN_ROUNDS, *line[3:]]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_rounds_with_any_number_of_ray_workers(archive, tmp_path, digest, workers):
    line = in_rounds(runs.command(archive, tmp_path, "--workers", str(workers), buckets=8))
    assert released(line)["digest"] == digest


@pytest.mark.slow
@pytest.mark.parametrize("stage", ROUNDS)
def test_a_driver_killed_between_rounds(archive, tmp_path, digest, stage):
    line = in_rounds(runs.command(archive, tmp_path, "--in-process", buckets=2))
    with started(line) as process:
        wait_for(process, stage)
        process.kill()
        assert process.wait(LAST_SECONDS) == -signal.SIGKILL
    check_resumed(line, tmp_path, digest)


@pytest.mark.slow
def test_a_driver_killed_between_rounds_goes_on_with_one_task(archive, tmp_path, digest):
    """What rounds left behind is not taken for what one task needs."""
    line = runs.command(archive, tmp_path, "--in-process", buckets=2)
    with started(in_rounds(line)) as process:
        wait_for(process, "near.round.001")
        process.kill()
        process.wait(LAST_SECONDS)
    check_resumed(line, tmp_path, digest)


@pytest.mark.slow
def test_a_driver_killed_again_and_again(archive, tmp_path, digest):
    """A few stages, then SIGKILL, until a run gets through: every run goes on where the last one stopped."""
    line = runs.command(archive, tmp_path, "--in-process", buckets=4)
    kills = 0
    while not (tmp_path / "out/1.0").exists():
        with started(line) as process:
            for stages, _ in enumerate(process.stderr, start=1):
                if stages == 7:  # a stage has a line when it ends, if it ran at all
                    process.kill()
                    kills += 1
                    break
            process.wait(LAST_SECONDS)
        assert kills < 60
    assert kills > 4
    assert released(line)["digest"] == digest


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["files", "elect"])
def test_a_killed_driver_of_ray(archive, tmp_path, digest, stage):
    line = runs.command(archive, tmp_path, "--workers", "2", buckets=4)
    with started(line) as process:
        wait_for(process, stage)
        workers = running_units(process)
        process.kill()
        process.wait(LAST_SECONDS)
        # The processes that run units go with the driver that started them: nobody else writes to the work directory.
        # (Ray's agents, which run none, take their time.)
        _, alive = psutil.wait_procs(workers, timeout=60)
        assert workers
        assert not alive
    check_resumed(line, tmp_path, digest)


@pytest.mark.slow
def test_a_killed_ray_worker(archive, tmp_path, digest):
    """The unit is run again; the release has the same bytes, and the run does not end."""
    line = runs.command(archive, tmp_path, "--workers", "2", "--json", buckets=8)
    with started(line) as process:
        killed = 0
        for stage in ("graph.origin", "files", "annotate.text"):
            wait_for(process, stage)
            killed += _kill_a_worker(process)
        output, errors = process.communicate(timeout=LAST_SECONDS)
    assert process.returncode == 0, errors
    assert killed == 3
    assert output.startswith("{"), f"stdout is for the result alone: {output[:300]}"
    assert json.loads(output)["digest"] == digest


def running_units(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The worker processes of a run: those that Ray started for units, busy or waiting for the next one."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if (child.cmdline() or [""])[0].startswith(("ray::attempt", "ray::IDLE")):
                found.append(child)
    return found


def _kill_a_worker(process: subprocess.Popen[str]) -> int:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for child in running_units(process):
            with contextlib.suppress(psutil.Error):
                if child.cmdline()[0].startswith("ray::attempt"):
                    child.kill()
                    return 1
    return 0


# ------------------------------------------------------------------------------------------------------------- Ctrl-C


def check_interrupted(process: subprocess.Popen[str]) -> None:
    output, errors = process.communicate(timeout=LAST_SECONDS)
    assert process.returncode == 130, (process.returncode, errors)
    assert output == ""
    last = [line for line in errors.splitlines() if not re.match(r"\S+ +\d+/\d+ units", line)]
    assert last == ["error: interrupted; run the same command again to go on where it stopped"]


def test_ctrl_c(archive, tmp_path, digest):
    line = runs.command(archive, tmp_path, "--in-process", buckets=2)
    with started(line) as process:
        wait_for(process, "walk.000")
        process.send_signal(signal.SIGINT)
        check_interrupted(process)
    leftover = list((tmp_path / "work").rglob("*.tmp-*"))
    assert leftover == [], "an interrupted run cleans up behind itself"
    check_resumed(line, tmp_path, digest)


@pytest.mark.slow
def test_ctrl_c_in_a_terminal_with_ray(archive, tmp_path, digest):
    """A terminal sends it to the whole process group, Ray's processes too."""
    line = runs.command(archive, tmp_path, "--workers", "2", buckets=4)
    with started(line) as process:
        wait_for(process, "files")
        workers = running_units(process)
        os.killpg(process.pid, signal.SIGINT)
        check_interrupted(process)
        assert workers
        assert not psutil.wait_procs(workers, timeout=60)[1]
    check_resumed(line, tmp_path, digest)


# --------------------------------------------------------------------------------------------------- small summaries


def test_summaries_are_small(made):
    """What a unit gives back to the driver stays under 10 kB, whatever its rows: no row travels that way."""
    largest: dict[str, int] = {}
    for path in (made[1] / "work/stages").glob("*/*/stage.json"):
        for unit in json.loads(path.read_bytes())["units"].values():
            size = len(json.dumps(unit))
            largest[path.parts[-3]] = max(largest.get(path.parts[-3], 0), size)
    assert len(largest) > 30
    assert max(largest.values()) < 10_000, largest
