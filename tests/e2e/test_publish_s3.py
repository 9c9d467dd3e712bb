"""A release put on S3: the same bytes as on disk, its manifest last, one run at a time, and no trace of killed ones."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import e2e_runs as runs
import pytest
from typer.testing import CliRunner

from manifests.manifest import Manifest
from pipeline.cli.main import app
from pipeline.engine import lock
from pipeline.engine.store import Store
from pipeline.errors import ConfigError, IntegrityError, SourceError
from pipeline.explain import explain
from pipeline.local_copy import local_copy, manifest_of

KILLED_AFTER_COPIES = """
import os, signal, sys
from pipeline.engine.store import Store
copied, left = Store.copy_from, [int(sys.argv.pop(1))]
def copy_from(self, *arguments):
    copied(self, *arguments)
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
Store.copy_from = copy_from
from pipeline.cli.main import run
run()
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Nobody races for these locks but where a test says so."""
    monkeypatch.setattr(lock, "SETTLE_SECONDS", 0.0)


@pytest.fixture
def out(s3_bucket) -> Store:
    return Store(f"{s3_bucket}/some/releases")


@pytest.fixture
def work(made, tmp_path):
    """Makes work directories in which every stage of the made release is done: only publishing is left."""

    def make(name: str) -> Path:
        folder = tmp_path / name
        shutil.copytree(made[1] / "work", folder / "work")
        (folder / "work/releases").rename(folder / "old")
        path = folder / "work/workdir.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "id": name}))
        return folder

    return make


def objects(store: Store) -> dict[str, bytes]:
    return {entry.key: store.read(entry.key) for entry in store.list()}


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def check_made(out: Store, made) -> None:
    """Exactly the release as it is on disk, and nothing beside it."""
    assert objects(out.sub("1.0")) == files(made[0].directory)
    assert {entry.key.partition("/")[0] for entry in out.list()} == {"1.0"}


def test_the_same_bytes_as_on_disk_and_the_manifest_last(archive, made, work, out, monkeypatch):
    written: list[str] = []
    for name in ("put", "put_new", "copy_from"):
        real = getattr(Store, name)

        def spied(self, *arguments, real=real, name=name):
            if self.uri.endswith("/1.0"):
                written.append(arguments[2] if name == "copy_from" else arguments[0])
            return real(self, *arguments)

        monkeypatch.setattr(Store, name, spied)
    folder = work("a")
    outcome = runs.release(archive, folder, out=out.uri)
    assert (outcome.state, outcome.units_run, outcome.digest) == ("made", 0, made[0].digest)
    assert outcome.directory == f"{out.uri}/1.0"
    check_made(out, made)
    assert written[-1] == "manifest.json"
    assert written.count("manifest.json") == 1
    assert sorted(written) == sorted(objects(out.sub("1.0")))
    again = runs.release(archive, folder, out=f"{out.uri}/")
    assert (again.state, again.units_run) == ("unchanged", 0), (
        "an address with a slash at its end is the same"
    )
    other = runs.release(archive, work("b"), out=out.uri)
    assert (other.state, other.digest) == ("identical", made[0].digest)
    check_made(out, made)


def test_readers(archive, made, work, out, monkeypatch):
    """`verify`, `stats` and `explain` answer of S3 what they answer of the folder, and no temporary folder stays."""
    runs.release(archive, work("a"), out=out.uri)
    address, local = f"{out.uri}/1.0", str(made[0].directory)
    for command in ("verify", "stats"):
        told = [CliRunner().invoke(app, [command, "--json", where]) for where in (address, local)]
        assert [one.exit_code for one in told] == [0, 0], told[0].output
        assert told[0].stdout == told[1].stdout
    workdir = str(made[1] / "work")
    row = explain(local, "https://forge.example/alice/tool", path=None, workdir=workdir)["files"][0]
    for query in ("https://forge.example/alice/tool", row["swhid"]):
        one, other = (explain(place, query, path=None, workdir=workdir) for place in (address, local))
        assert one == other
    with local_copy(address) as folder:
        assert files(folder) == files(made[0].directory)
    assert not folder.exists()
    # Figures come from the manifest and stats.json; shards are asked for where rows are to be counted.
    shard = min(entry.key for entry in out.list("1.0/data"))
    out.delete(shard)
    assert CliRunner().invoke(app, ["stats", "--json", address]).stdout == told[1].stdout
    told = CliRunner().invoke(app, ["stats", "--recount", address])
    assert isinstance(told.exception, IntegrityError) and shard.removeprefix("1.0/") in str(told.exception)
    # A stranger's object is a fault, and a prefix without a manifest is no release.
    out.put("1.0/data/extra.txt", b"?")
    told = CliRunner().invoke(app, ["verify", address])
    assert isinstance(told.exception, IntegrityError)
    assert "data/extra.txt: extra" in told.stdout
    assert "/tmp" not in told.stdout + str(told.exception)
    out.delete("1.0/manifest.json")
    for reader in (local_copy, manifest_of):
        with pytest.raises(ConfigError, match=r"is not a release: it has no manifest\.json"), reader(address):
            pass


def test_a_release_in_place_is_never_overwritten(archive, made, work, out):
    out.put("1.0/manifest.json", b"{}")
    with pytest.raises(
        ConfigError, match=rf"{out.uri}/1.0 exists and is another release .*never overwritten"
    ):
        runs.release(archive, work("a"), out=out.uri)
    assert objects(out) == {"1.0/manifest.json": b"{}"}
    out.delete("1.0/manifest.json")
    out.put("1.0/notes.txt", b"mine")
    with pytest.raises(
        ConfigError, match=r"holds objects, but no release and no claim \(first: notes\.txt\)"
    ):
        runs.release(archive, work("b"), out=out.uri)
    assert out.read("1.0/notes.txt") == b"mine"


def test_a_release_that_lost_an_object_is_told(archive, made, work, out):
    folder = work("a")
    runs.release(archive, folder, out=out.uri)
    out.delete("1.0/README.md")
    with pytest.raises(IntegrityError, match=r"README\.md is missing or has another size .*pipeline verify"):
        runs.release(archive, folder, out=out.uri)


def killed(archive: Path, folder: Path, out: Store, copies: int) -> None:
    line = runs.command(archive, folder, "--in-process", out=out.uri)
    line = [line[0], "-c", KILLED_AFTER_COPIES, str(copies), *line[3:]]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == -9, done.stderr


def test_a_run_killed_while_it_publishes(archive, made, work, out, monkeypatch):
    """What it left is no release; another work directory is told whose it is; its own goes on where it stopped."""
    first = work("first")
    killed(archive, first, out, 3)
    left = objects(out.sub("1.0"))
    assert len(left) >= 3
    assert "manifest.json" not in left
    with pytest.raises(ConfigError) as refused:
        runs.release(archive, work("second"), out=out.uri)
    for words in ("was begun from another work directory", str(first / "work"), "--drop-unfinished"):
        assert words in str(refused.value)
    copies = []
    real = Store.copy_from
    monkeypatch.setattr(Store, "copy_from", lambda self, *a: (copies.append(a[2]), real(self, *a)))
    outcome = runs.release(archive, first, out=out.uri)
    assert (outcome.state, outcome.digest) == ("made", made[0].digest)
    assert copies
    assert not left.keys() & set(copies), "what was there already is not copied again"
    check_made(out, made)


def test_what_another_release_left_is_removed(archive, made, work, out):
    """Killed, then the configuration changes: nothing of the first try may stay among the second's objects."""
    folder = work("a")
    killed(archive, folder, out, 3)
    out.put("1.0/data/Python/train-of-the-first-try.parquet", b"PAR1")
    outcome = runs.release(archive, folder, out=out.uri, emit={"shard_bytes": 1_000_000})
    assert outcome.state == "made"
    listed = Manifest.parse(out.read("1.0/manifest.json")).listed()
    assert {e.key for e in out.sub("1.0").list()} == {*listed, "manifest.json", "SHA256SUMS"}
    assert not out.list("1.0.claim")


def test_two_runs_at_once(archive, made, work, out):
    """Two work directories, one place, started together: one makes it; the other says who does, or finds it there."""
    lines = [runs.command(archive, work(name), "--in-process", "--json", out=out.uri) for name in ("a", "b")]
    both = [
        subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for line in lines
    ]
    ended = [(one.communicate(timeout=300), one.returncode) for one in both]
    states = []
    for (output, errors), code in ended:
        if code == 2:
            assert f"another run uses {out.uri}/1.0 (process " in errors
        else:
            assert code == 0, errors
            assert json.loads(output)["digest"] == made[0].digest
            states.append(json.loads(output)["state"])
    assert sorted(states) in (["made"], ["identical", "made"])
    check_made(out, made)


def test_two_runs_at_once_on_disk(archive, made, work, tmp_path):
    """A staging folder that a living run writes is not a leftover of a killed one."""
    from pipeline.publish import _alive

    folder = work("a")
    staging = folder / "out/1.0.tmp-of-another"
    staging.mkdir(parents=True)
    with _alive(staging), pytest.raises(ConfigError, match=r"another run, .*, is writing .*/out/1\.0; wait"):
        runs.release(archive, folder)
    assert staging.exists()
    assert runs.release(archive, folder).state == "made"
    assert not staging.exists()


def test_a_run_that_lost_its_claim_does_not_commit(archive, made, work, out, monkeypatch):
    """Suspended while it copied: whoever came meanwhile holds the claim, and the manifest is not put."""
    real = Store.copy_from

    def copy_from(self, *arguments):
        out.put("1.0.claim/000002.json", b'{"pid": 1}')
        real(self, *arguments)

    monkeypatch.setattr(Store, "copy_from", copy_from)
    with pytest.raises(SourceError, match=rf"{out.uri}/1.0: another run has taken over"):
        runs.release(archive, work("a"), out=out.uri)
    assert out.stat("1.0/manifest.json") is None


def test_a_store_without_conditional_puts_is_refused(archive, work, out, monkeypatch):
    """Two runs could not be told apart there: said before any work is done."""
    monkeypatch.setattr(Store, "put_new", lambda self, key, data: (self.put(key, data), True)[1])
    with pytest.raises(SourceError, match=r"does not heed `If-None-Match"):
        runs.release(archive, work("a"), out=out.uri)
    assert out.list() == []
