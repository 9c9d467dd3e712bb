"""The same store on a real S3 server: the contract of disks holds there, and what an endpoint can do wrong is said."""

from __future__ import annotations

import uuid

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.engine.annotations import AnnotationStore
from pipeline.engine.store import Store
from pipeline.errors import SourceError, TransientError


@pytest.fixture
def store(s3_bucket) -> Store:
    return Store(f"{s3_bucket}/some/prefix")


def keys(store: Store, prefix: str = "") -> list[str]:
    return [entry.key for entry in store.list(prefix)]


def test_put_read_stat_list_delete(store, s3_bucket):
    assert keys(store) == []
    store.put("b/two", b"22")
    store.put("a/one", b"1")
    store.put("b/c/three", b"333")
    store.put("bb", b"4")
    assert [(e.key, e.size) for e in store.list()] == [
        ("a/one", 1),
        ("b/c/three", 3),
        ("b/two", 2),
        ("bb", 1),
    ]
    assert keys(store, "b") == ["b/c/three", "b/two"], "a folder, not a prefix of names"
    assert Store(s3_bucket).read("some/prefix/b/two") == b"22"
    assert store.sub("b").read("two") == b"22"
    store.put("b/two", b"other")
    assert store.read("b/two") == b"other"
    assert store.stat("b/two").size == 5
    assert store.stat("b/two").etag
    assert store.stat("b/none") is None
    with pytest.raises(FileNotFoundError):
        store.read("b/none")
    store.delete("b/two")
    store.delete("b/two")
    store.delete_all("b")
    assert keys(store) == ["a/one", "bb"]


def test_put_new_never_overwrites(store):
    assert store.put_new("k", b"first") is True
    assert store.put_new("k", b"second") is False
    assert store.read("k") == b"first"


def test_an_unfinished_write_leaves_nothing(store):
    with pytest.raises(RuntimeError), store.writing("k") as path:
        path.write_bytes(b"half")
        raise RuntimeError
    assert keys(store) == []


def test_parquet_by_row_group(store):
    with store.writing("t.parquet") as path:
        pq.write_table(
            pa.table({"x": list(range(1_000))}), path, row_group_size=100, write_page_checksum=True
        )
    with store.parquet("t.parquet") as file:
        assert file.num_row_groups == 10
        assert file.read_row_groups([3, 7])["x"].to_pylist() == [*range(300, 400), *range(700, 800)]
    with pytest.raises(FileNotFoundError), store.parquet("none.parquet"):
        pass


def test_annotations_live_there(store):
    schema = pa.schema([("sha256", pa.string()), ("value", pa.int64())])
    annotations = AnnotationStore(store, "test", "key", 0, ("sha256",), schema)
    annotations.append(pa.table([["a" * 64], [1]], schema=schema))
    wanted = pa.table([["a" * 64, "b" * 64], [1, 2]], schema=schema)
    assert annotations.missing(wanted)["value"].to_pylist() == [2]
    assert annotations.read(columns=["value"]).to_pylist() == [{"sha256": "a" * 64, "value": 1}]


def test_wrong_credentials_are_said(store, monkeypatch):
    store.put("k", b"1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-" + "key")
    stranger = Store(store.uri)
    for act in (lambda: stranger.read("k"), lambda: stranger.list(), lambda: stranger.put("k", b"2")):
        with pytest.raises(SourceError, match="access denied; check the credentials") as denied:
            act()
        assert denied.value.exit_code == 5
        assert "not-the-key" not in str(denied.value)
        assert not isinstance(denied.value, TransientError)
    assert Store(store.uri).uri in str(denied.value)


def test_a_missing_bucket_is_said(s3_bucket):
    nowhere = Store(f"s3://missing-{uuid.uuid4().hex[:12]}/x")
    with pytest.raises(SourceError, match="missing-") as failed:
        nowhere.put("k", b"1")
    assert "bucket" in str(failed.value)


def test_no_endpoint_is_transient(s3_bucket, monkeypatch):
    """Nobody listens there: worth another try, then reported."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("pipeline.engine.store._REQUEST_SECONDS", 1)
    with pytest.raises(TransientError, match=r"127\.0\.0\.1:9"):
        Store(s3_bucket).read("k")
