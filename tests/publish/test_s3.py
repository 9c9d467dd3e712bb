"""Publishing to S3: the same bytes below PREFIX/VERSION, the manifest last, nothing twice, nothing overwritten."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from manifests.checksums import sha256_file
from manifests.names import MANIFEST
from manifests.signing import new_key, sign
from manifests.verify import verify_release
from pipeline.cli.main import app
from pipeline.delivery import publish
from pipeline.engine.store import Store
from pipeline.errors import ConfigError, IntegrityError
from pipeline.local_copy import local_copy

KILLED_AFTER_COPIES = """
import os, signal, sys
from pipeline.engine.store import Store
real, left = Store.copy_from, [int(sys.argv.pop(1))]
def copy_from(self, *arguments):
    real(self, *arguments)
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
Store.copy_from = copy_from
from pipeline.cli.main import run
run()
"""


@pytest.fixture
def to(s3_bucket) -> str:
    return f"{s3_bucket}/some/data"


@pytest.fixture
def written(monkeypatch) -> list[str]:
    """Keys in the order in which they were written; copies within the bucket marked."""
    keys: list[str] = []
    copy_from, put_new = Store.copy_from, Store.put_new

    def copied(self, source, key, target):
        copy_from(self, source, key, target)
        keys.append(target if source.root is not None else f"copy of {key}")

    def put(self, key, data):
        keys.append(key)
        return put_new(self, key, data)

    monkeypatch.setattr(Store, "copy_from", copied)
    monkeypatch.setattr(Store, "put_new", put)
    return keys


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def objects(address: str) -> dict[str, bytes]:
    store = Store(address)
    return {entry.key: store.read(entry.key) for entry in store.list()}


def test_the_same_bytes_and_the_manifest_last(two, to, written, watch):
    done = publish(str(two["2.1"]), to, watch=watch)
    assert done.state == "published" and objects(f"{to}/2.1") == files(two["2.1"])
    assert {key.split("/")[0] for key in objects(to)} == {"2.1"}  # the claim is gone
    assert written[0] == "2.1.publishing" and written[-1] == MANIFEST
    with local_copy(f"{to}/2.1") as folder:
        assert verify_release(folder).ok
    assert watch.moved == watch.totals


def test_a_second_time_nothing_is_written(two, to, written, watch):
    publish(str(two["2.1"]), to, watch=watch)
    written.clear()
    done = publish(str(two["2.1"]), to, watch=watch)
    assert (done.state, done.upload, written) == ("unchanged", [], [])


def test_the_next_release_sends_what_changed_and_copies_the_rest(two, to, written, watch):
    publish(str(two["2.1"]), to, watch=watch)
    written.clear()
    done = publish(str(two["2.2"]), to, watch=watch)
    assert objects(f"{to}/2.2") == files(two["2.2"]) and objects(f"{to}/2.1") == files(two["2.1"])
    assert set(done.copy.values()) == {
        "2.1/data/Python/train-all.parquet",
        "2.1/data/C#/train-all.parquet",
    }
    assert {key for key in written if key.startswith("copy of")} == {
        f"copy of {key}" for key in done.copy.values()
    }
    assert not [
        key for key in written if key in ("data/Python/train-all.parquet", "data/C#/train-all.parquet")
    ]


def test_a_killed_run_is_gone_on_with(two, to, written, watch):
    command = [
        sys.executable,
        "-c",
        KILLED_AFTER_COPIES,
        "3",
        "publish",
        str(two["2.1"]),
        "--to",
        to,
        "--threads",
        "1",
    ]
    killed = subprocess.run(command, env=os.environ, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    there = set(objects(f"{to}/2.1"))
    assert len(there) == 3 and MANIFEST not in there  # no release yet
    done = publish(str(two["2.1"]), to, watch=watch)
    assert objects(f"{to}/2.1") == files(two["2.1"]) and not there & set(written)
    assert {file.path for file in done.keep} == there
    assert {key.split("/")[0] for key in objects(to)} == {"2.1"}


def test_what_an_interrupted_run_left_damaged_is_sent_again(two, to, watch):
    key = "data/Python/train-all.parquet"
    wrong = bytearray((two["2.1"] / key).read_bytes())
    wrong[50] ^= 1
    Store(f"{to}/2.1").put(key, bytes(wrong))
    done = publish(str(two["2.1"]), to, watch=watch)
    assert key in {file.path for file in done.upload} and objects(f"{to}/2.1") == files(two["2.1"])


def test_what_does_not_read_back_is_not_made_visible(two, to, watch, monkeypatch):
    real = Store.fetch

    def damaged(self, key, target):
        real(self, key, target)
        if self.root is None and key.endswith("C#/train-all.parquet"):
            target.write_bytes(b"x")

    monkeypatch.setattr(Store, "fetch", damaged)
    with pytest.raises(IntegrityError, match=r"data/C#/train-all\.parquet does not read back"):
        publish(str(two["2.1"]), to, watch=watch)
    assert MANIFEST not in objects(f"{to}/2.1")


def test_another_release_of_the_version_is_refused(two, factory, tmp_path, to, watch):
    publish(str(two["2.1"]), to, watch=watch)
    other = factory.make_release(tmp_path, rows={"Python": 3})
    with pytest.raises(ConfigError, match="never overwritten"):
        publish(str(other), to, watch=watch)
    Store(to).put("3.0.publishing", b"ab" * 32)
    other = factory.make_release(tmp_path, rows={"Python": 3}, version="3.0")
    with pytest.raises(ConfigError, match="being published"):
        publish(str(other), to, watch=watch)
    Store(to).put("4.0/mine.txt", b"mine")
    other = factory.make_release(tmp_path, rows={"Python": 3}, version="4.0")
    with pytest.raises(ConfigError, match=r"mine\.txt"):
        publish(str(other), to, watch=watch)
    assert objects(f"{to}/2.1") == files(two["2.1"])


def test_an_object_that_was_lost_is_brought_again(two, to, watch):
    publish(str(two["2.1"]), to, watch=watch)
    Store(f"{to}/2.1").delete("ids.parquet")
    done = publish(str(two["2.1"]), to, watch=watch)
    assert [file.path for file in done.upload] == ["ids.parquet"]
    assert objects(f"{to}/2.1") == files(two["2.1"])


def test_a_signature_that_comes_later_is_added(release, to, watch):
    publish(str(release), to, watch=watch)
    for _ in range(2):  # the second one has the same size
        signature = sign((release / MANIFEST).read_bytes(), {}, new_key())
        (release / "manifest.json.sig").write_bytes(signature)
        assert [file.path for file in publish(str(release), to, watch=watch).upload] == ["manifest.json.sig"]
        assert objects(f"{to}/2.1")["manifest.json.sig"] == signature
    (release / "manifest.json.sig").unlink()  # a copy without it takes nothing away
    assert publish(str(release), to, watch=watch).state == "unchanged"
    assert "manifest.json.sig" in objects(f"{to}/2.1")


def test_a_dry_run_writes_nothing(two, to):
    run = CliRunner().invoke(app, ["publish", str(two["2.1"]), "--to", to, "--dry-run", "--json"])
    assert run.exit_code == 0, run.exception
    value = json.loads(run.stdout)
    size = sum(sha256_file(path)[1] for path in two["2.1"].rglob("*") if path.is_file())
    assert value["state"] == "planned" and value["upload"]["bytes"] == size and not objects(to)


def test_no_bucket_is_exit_5(two, s3_bucket):
    run = CliRunner().invoke(app, ["publish", str(two["2.1"]), "--to", "s3://no-such-bucket-at-all/x"])
    assert run.exception.exit_code == 5, run.exception
