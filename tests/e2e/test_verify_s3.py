"""`pipeline verify s3://...`: the faults of a folder, found without a copy of the release on this machine."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import pipeline.release_place as places
from manifests.verify import verify_release
from pipeline.cli.main import app
from pipeline.engine.store import Store
from pipeline.errors import IntegrityError, SourceError
from pipeline.release_place import release_place

FACTORY = Path(__file__).parents[1] / "manifests" / "release_factory.py"
CPP, CSHARP = "data/C++/train-all.parquet", "data/C#/train-all.parquet"


@pytest.fixture
def local(tmp_path):
    spec = importlib.util.spec_from_file_location("release_factory", FACTORY)
    factory = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = factory
    spec.loader.exec_module(factory)
    return factory.make_release(tmp_path / "releases", rows={"C++": 4, "C#": 3})


@pytest.fixture
def remote(local, s3_bucket):
    store = Store(f"{s3_bucket}/r/2.1")
    for file in local.rglob("*"):
        if file.is_file():
            store.put(file.relative_to(local).as_posix(), file.read_bytes())
    return store


def call(*arguments):
    return CliRunner().invoke(app, ["verify", *map(str, arguments)])


def faults(store):
    return {(fault.path, fault.code) for fault in verify_release(release_place(store.uri)).faults}


@pytest.mark.parametrize("in_memory", [100, 1 << 20])
def test_the_same_answer_as_of_the_folder(local, remote, in_memory, monkeypatch, tmp_path):
    monkeypatch.setattr(places, "_IN_MEMORY", in_memory)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    there, here = call(remote.uri, "--json"), call(local, "--json")
    assert there.exit_code == here.exit_code == 0 and there.stdout == here.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["releases"]
    sampled = json.loads(call(remote.uri + "/", "--sample", "1", "--json").stdout)
    assert sampled["ok"] and sampled["checked"]["shards_opened"] == 1


def test_faults_name_the_object(remote):
    whole = remote.read(CPP)
    for body, code in ((whole[::-1], "sha256"), (whole[:-1], "size"), (b"", "size")):
        remote.put(CPP, body)
        assert faults(remote) == {(CPP, code)}
    remote.delete(CPP)
    remote.put("data/evil.parquet", whole)
    assert faults(remote) == {(CPP, "missing"), ("data/evil.parquet", "extra")}
    remote.delete("manifest.json")
    done = call(remote.uri)
    assert isinstance(done.exception, IntegrityError) and "manifest.json: missing" in done.stdout


def test_a_row_needs_its_shard_only(local, remote):
    rows = {"C++": None, "C#": None}
    for row in json.loads(json.dumps(_ids(local))):
        rows["C++" if "C++" in row["shard"] else "C#"] = row
    remote.delete(CSHARP)
    done = call(remote.uri, "--row", rows["C++"]["row_id"], "--json")
    assert done.exit_code == 0 and json.loads(done.stdout)["present"] is True
    assert call(remote.uri, "--row", "nobody").exit_code == 0
    done = call(remote.uri, "--row", rows["C#"]["row_id"])
    assert isinstance(done.exception, IntegrityError)


def test_a_body_that_breaks_off_is_asked_for_again(remote, monkeypatch):
    real, left = places.no_shorter, [2]

    def cut(where, got, wanted):
        left[0] -= 1
        real(where, got - (left[0] >= 0), wanted)

    monkeypatch.setattr(places, "no_shorter", cut)
    assert verify_release(release_place(remote.uri), threads=1).ok
    left[0] = 3
    with pytest.raises(SourceError, match="cut off"):
        verify_release(release_place(remote.uri), threads=1)


def _ids(local):
    import pyarrow.parquet as pq

    return pq.read_table(local / "ids.parquet").to_pylist()


def test_an_endpoint_that_is_not_there_is_no_fault_of_the_release(remote, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    store = Store(remote.uri, retries=0)
    with pytest.raises(SourceError):
        verify_release(places.S3Place(store))
