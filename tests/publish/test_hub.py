"""Publishing to the Hub: the branch is the release, byte for byte, in one commit; nothing goes twice, nothing is overwritten."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from manifests.names import CHECKSUMS, MANIFEST
from manifests.signing import new_key, sign
from pipeline import delivery_hub
from pipeline.cli.main import app
from pipeline.delivery import publish
from pipeline.errors import (
    ConfigError,
    DeniedError,
    IntegrityError,
    SourceError,
    ThrottledError,
    TransientError,
)

NAME = "owner/data"
TO = f"hf://datasets/{NAME}"
KEPT = {".gitattributes"}

# The client hands files to its HTTP library in a way that this one calls outdated.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

KILLED_AFTER_UPLOADS = """
import os, signal, sys
from huggingface_hub import HfApi
from pipeline import delivery_hub
delivery_hub._BATCH_FILES = 2
real, left = HfApi.preupload_lfs_files, [int(sys.argv.pop(1))]
def upload(self, *arguments, **options):
    real(self, *arguments, **options)
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
HfApi.preupload_lfs_files = upload
from pipeline.cli.main import run
run()
"""


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def tree(hub, revision: str = "main") -> dict[str, bytes]:
    repository = hub.repositories[NAME]
    found = repository.trees[repository.resolve(revision)]
    return {path: data for path, (_, data) in found.items() if path not in KEPT}


def shards(folder: Path) -> dict[str, str]:
    return {one["path"]: one["sha256"] for one in json.loads((folder / MANIFEST).read_bytes())["shards"]}


def test_the_branch_and_the_tag_are_the_release(hub, two, watch):
    done = publish(str(two["2.1"]), TO, watch=watch)
    repository = hub.repositories[NAME]
    assert tree(hub) == tree(hub, "2.1") == files(two["2.1"])
    assert done.state == "published" and done.commit == repository.branches["main"] == repository.tags["2.1"]
    assert repository.messages == ["initial commit", "Release 2.1"]  # one step: no reader sees half of it
    assert watch.moved == watch.totals and watch.totals["publish"] == sum(map(len, tree(hub).values()))


def test_a_second_time_nothing_is_uploaded(hub, two, watch):
    publish(str(two["2.1"]), TO, watch=watch)
    sent, messages = list(hub.uploaded), list(hub.repositories[NAME].messages)
    done = publish(str(two["2.1"]), TO, watch=watch)
    assert (done.state, done.upload, done.delete) == ("unchanged", [], [])
    assert hub.uploaded == sent and hub.repositories[NAME].messages == messages


def test_the_next_release_sends_what_changed_only(hub, two, watch):
    publish(str(two["2.1"]), TO, watch=watch)
    hub.uploaded.clear()
    done = publish(str(two["2.2"]), TO, watch=watch)
    new = set(shards(two["2.2"]).values()) - set(shards(two["2.1"]).values())
    ids = json.loads((two["2.2"] / MANIFEST).read_bytes())["files"]
    ids_digest = next(one["sha256"] for one in ids if one["path"] == "ids.parquet")
    assert set(hub.uploaded) == new | {ids_digest} and len(hub.uploaded) == len(set(hub.uploaded))
    assert done.delete == ["data/F-star/train-all.parquet"]
    assert tree(hub) == files(two["2.2"]) and tree(hub, "2.1") == files(
        two["2.1"]
    )  # the old one stays by its tag
    # Publishing the old one once more finds it at its tag, and does not take the branch back.
    assert publish(str(two["2.1"]), TO, watch=watch).state == "unchanged"
    assert tree(hub) == files(two["2.2"])


def test_a_killed_run_is_gone_on_with(hub, two, watch):
    command = [sys.executable, "-c", KILLED_AFTER_UPLOADS, "4", "publish", str(two["2.1"]), "--to", TO]
    killed = subprocess.run(command, env=os.environ, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    sent = list(hub.uploaded)
    assert sent and hub.repositories[NAME].messages == ["initial commit"] and not tree(hub)
    publish(str(two["2.1"]), TO, watch=watch)
    assert len(hub.uploaded) == len(set(hub.uploaded)) > len(sent)  # no file twice
    assert tree(hub, "2.1") == files(two["2.1"])


def test_killed_between_commit_and_tag(hub, two, watch):
    hub.failures["POST", "/tag/"] = 500
    with pytest.raises(TransientError, match="set the tag"):
        publish(str(two["2.1"]), TO, watch=watch)
    hub.failures.clear()
    hub.uploaded.clear()
    done = publish(str(two["2.1"]), TO, watch=watch)
    assert done.state == "published" and done.upload == [] and not hub.uploaded
    assert tree(hub, "2.1") == files(two["2.1"])


def test_more_files_than_one_commit_takes(hub, two, watch, monkeypatch):
    monkeypatch.setattr(delivery_hub, "MAX_OPERATIONS", 7)
    publish(str(two["2.1"]), TO, watch=watch)
    repository = hub.repositories[NAME]
    assert len(repository.messages) > 2 and repository.messages[-1] == "Release 2.1"
    for oid in list(repository.trees)[1:-1]:
        assert not {MANIFEST, "README.md"} & set(
            repository.trees[oid]
        )  # nothing that a reader takes for a release
    assert tree(hub) == files(two["2.1"])


def test_a_dry_run_writes_nothing_and_needs_no_token(hub, two, watch, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    done = publish(str(two["2.1"]), TO, watch=watch, dry_run=True)
    assert done.state == "planned" and done.to_json()["upload"]["bytes"] == sum(
        map(len, files(two["2.1"]).values())
    )
    assert {method for method, _ in hub.calls} == {"GET"}
    with pytest.raises(DeniedError, match="HF_TOKEN"):
        publish(str(two["2.1"]), TO, watch=watch)


def test_another_release_of_the_version_is_refused(hub, two, factory, tmp_path, watch):
    publish(str(two["2.1"]), TO, watch=watch)
    other = factory.make_release(tmp_path / "other", rows={"Python": 3})
    with pytest.raises(ConfigError, match="never overwritten"):
        publish(str(other), TO, watch=watch)
    with pytest.raises(ConfigError, match="another data set"):
        publish(
            str(factory.make_release(tmp_path / "x", rows={"Python": 3}, name="x", version="3.0")),
            TO,
            watch=watch,
        )
    assert tree(hub) == files(two["2.1"])


def test_an_older_release_does_not_take_the_branch_back(hub, two, watch):
    publish(str(two["2.2"]), TO, watch=watch)
    with pytest.raises(ConfigError, match="take readers back"):
        publish(str(two["2.1"]), TO, watch=watch)
    with pytest.raises(SourceError, match="no such branch"):
        publish(str(two["2.1"]), f"{TO}@old", watch=watch)
    hub.repositories[NAME].branches["old"] = next(iter(hub.repositories[NAME].trees))
    publish(str(two["2.1"]), f"{TO}@old", watch=watch)
    assert tree(hub, "old") == files(two["2.1"]) and tree(hub) == files(two["2.2"])


def test_files_of_somebody_else_are_not_deleted(hub, two, watch):
    repository = hub.repositories[NAME]
    repository.commit("main", {"notes/mine.txt": (False, b"mine")}, "mine")
    with pytest.raises(ConfigError, match=r"notes/mine\.txt"):
        publish(str(two["2.1"]), TO, watch=watch)
    assert tree(hub) == {"notes/mine.txt": b"mine"}


def test_a_repository_is_made_when_asked_for(hub, two, watch):
    with pytest.raises(SourceError, match="--create"):
        publish(str(two["2.1"]), "hf://datasets/owner/new", watch=watch)
    publish(str(two["2.1"]), "hf://datasets/owner/new", watch=watch, create=True)
    assert hub.repositories["owner/new"].private and "2.1" in hub.repositories["owner/new"].tags


def test_a_file_that_does_not_arrive_is_named_and_nothing_is_tagged(hub, two, watch):
    hub.lost.add("data/C#/train-all.parquet")
    with pytest.raises(IntegrityError, match=r"data/C#/train-all\.parquet is not there"):
        publish(str(two["2.1"]), TO, watch=watch)
    assert not hub.repositories[NAME].tags
    hub.lost.clear()
    assert len(publish(str(two["2.1"]), TO, watch=watch).upload) == 1
    assert tree(hub, "2.1") == files(two["2.1"])


def test_a_branch_that_moves_meanwhile(hub, two, watch, monkeypatch):
    real = delivery_hub._batches

    def moved(additions):
        hub.repositories[NAME].commit("main", {}, "somebody else")
        return real(additions)

    monkeypatch.setattr(delivery_hub, "_batches", moved)
    with pytest.raises(TransientError, match="somebody else"):
        publish(str(two["2.1"]), TO, watch=watch)
    assert hub.repositories[NAME].messages[-1] == "somebody else"


@pytest.mark.parametrize(
    ("call", "status", "kind", "words"),
    [
        (("GET", "/refs"), 429, ThrottledError, "fewer requests"),
        (("GET", "/refs"), 503, TransientError, "the Hub failed"),
        (("GET", "/tree/"), 403, DeniedError, "right to write"),
        (("POST", "/commit/"), 403, DeniedError, "right to write"),
        (("POST", "/commit/"), 413, SourceError, "refused"),
    ],
)
def test_what_the_hub_says_no_to(hub, two, call, status, kind, words):
    hub.failures[call] = status
    result = CliRunner().invoke(app, ["publish", str(two["2.1"]), "--to", TO])
    assert isinstance(result.exception, kind) and result.exception.exit_code == 5
    assert words in str(result.exception)
    assert os.environ["HF_TOKEN"] not in str(result.exception) + result.output


def test_tokens_that_do_not_do(hub, two, watch, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_" + "Nobody" * 5)
    with pytest.raises(DeniedError, match="not valid"):
        publish(str(two["2.1"]), TO, watch=watch)
    reader = "hf_" + "Reader" * 5
    hub.readers.add(reader)
    monkeypatch.setenv("HF_TOKEN", reader)
    with pytest.raises(DeniedError, match="right to write"):
        publish(str(two["2.1"]), TO, watch=watch)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(TransientError, match="HF_ENDPOINT"):
        publish(str(two["2.1"]), TO, watch=watch)


def test_a_damaged_release_is_not_published(hub, release, watch):
    shard = release / "data/Python/train-all.parquet"
    data = bytearray(shard.read_bytes())
    data[100] ^= 1
    shard.write_bytes(data)
    with pytest.raises(IntegrityError, match=r"data/Python/train-all\.parquet"):
        publish(str(release), TO, watch=watch)
    assert not hub.calls
    (release / CHECKSUMS).unlink()
    result = CliRunner().invoke(app, ["publish", str(release), "--to", TO])
    assert result.exception.exit_code == 4


@pytest.mark.parametrize(
    "to",
    [
        "hf://owner/data",
        "hf://datasets/data",
        "hf://datasets/a/b@",
        "hf://datasets/a/b/c",
        "gs://x/y",
        "x",
        "s3://",
        "hf://datasets/owner/a..b",
    ],
)
def test_addresses_that_are_none(two, watch, to):
    with pytest.raises(ConfigError):
        publish(str(two["2.1"]), to, watch=watch)


def test_a_signature_that_comes_later_is_added(hub, release, watch):
    publish(str(release), TO, watch=watch)
    signature = sign((release / MANIFEST).read_bytes(), {}, new_key())
    (release / "manifest.json.sig").write_bytes(signature)
    done = publish(str(release), TO, watch=watch)
    assert [file.path for file in done.upload] == ["manifest.json.sig"] and "stays at commit" in watch.lines[
        0
    ]
    assert tree(hub)["manifest.json.sig"] == signature and "manifest.json.sig" not in tree(hub, "2.1")
    (release / "manifest.json.sig").unlink()  # a copy without it takes nothing away
    assert publish(str(release), TO, watch=watch).state == "unchanged" and "manifest.json.sig" in tree(hub)


def test_the_command_line(hub, two, tmp_path):
    run = CliRunner().invoke(app, ["publish", str(two["2.1"]), "--to", TO, "--json"])
    assert run.exit_code == 0, run.exception
    value = json.loads(run.stdout)
    assert value["state"] == "published" and value["upload"]["files"] == len(files(two["2.1"]))
    run = CliRunner().invoke(app, ["publish", str(two["2.1"]), "--to", TO])
    assert "nothing was uploaded" in run.stdout
    shutil.copytree(two["2.1"], tmp_path / "copy")
    run = CliRunner().invoke(app, ["publish", "s3://bucket/2.1", "--to", TO])
    assert run.exception.exit_code == 2 and "folder" in str(run.exception)
