"""The same store on a real S3 server: the contract of disks holds there, and what an endpoint can do wrong is said."""

from __future__ import annotations

import uuid

import obstore
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.engine.annotations import AnnotationStore
from pipeline.engine.measure import outside
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


@pytest.fixture
def requests(monkeypatch) -> list[str]:
    """The calls of the object client, in their order."""
    made: list[str] = []
    for name in ("get", "get_range", "head", "put", "copy", "delete", "list"):
        real = getattr(obstore, name)
        monkeypatch.setattr(
            obstore, name, lambda *a, real=real, name=name, **k: (made.append(name), real(*a, **k))[1]
        )
    return made


def test_a_small_parquet_file_is_one_request(store, requests):
    """Most parts of a stage are small: one GET brings footer and rows. Of a large one comes what is asked for."""
    for name, rows in (("small", 100), ("large", 200_000)):
        with store.writing(f"{name}.parquet") as path:
            pq.write_table(
                pa.table({"x": list(range(rows))}), path, row_group_size=rows // 4, use_dictionary=False,
                compression="none", write_page_checksum=True,
            )  # fmt: skip
        requests.clear()
        with store.parquet(f"{name}.parquet") as file:
            assert file.read_row_groups([0])["x"].to_pylist() == list(range(rows // 4))
        assert requests == (["get"] if name == "small" else ["get", "get_range"])
    store.put("empty.parquet", b"")
    with (
        pytest.raises(SourceError, match=r"empty\.parquet is not a readable Parquet file"),
        store.parquet("empty.parquet"),
    ):
        pass


def test_objects_go_in_one_request_or_in_parts(store, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.engine.store._WHOLE_BYTES", 6 << 20)
    monkeypatch.setattr("pipeline.engine.store._PART_BYTES", 5 << 20)
    for name, size in (("whole", 6 << 20), ("parts", 13 << 20)):
        data = bytes(range(256)) * (size // 256)
        store.put(name, data)
        tag = store.stat(name).etag
        assert ("-" in tag) == (name == "parts"), "the tag of an object in parts says so"
        store.fetch(name, tmp_path / name)
        assert (tmp_path / name).read_bytes() == data
    with pytest.raises(FileNotFoundError):
        store.fetch("none", tmp_path / "none")


def test_copies_stay_on_the_server(store, s3_bucket, tmp_path, requests):
    """Within a bucket no byte comes here; from elsewhere an object passes through, one at a time."""
    store.put("a b/ü", b"text")
    requests.clear()
    target = Store(f"{s3_bucket}/another")
    target.copy_from(store, "a b/ü", "x/y")
    assert requests == ["copy"]
    assert target.read("x/y") == b"text"
    local = Store(str(tmp_path / "local"))
    local.copy_from(store, "a b/ü", "k")
    target.copy_from(local, "k", "from disk")
    assert (local.read("k"), target.read("from disk")) == (b"text", b"text")
    for source in (store, local):
        with pytest.raises(FileNotFoundError):
            target.copy_from(source, "none", "z")


def test_many_are_removed_in_one_request(store, requests):
    for number in range(20):
        store.put(f"many/{number}", b"")
    store.put("other", b"")
    requests.clear()
    store.delete_all("many")
    assert requests == ["list", "delete"]
    store.delete()
    store.delete("none", "other", "none either")
    assert keys(store) == []


def test_an_upload_that_never_ended_is_no_object(store):
    """A process killed while it puts a large file: parts lie there, unseen by every reader, until they are aborted."""
    import boto3
    from botocore.config import Config

    client = boto3.Session().client("s3", config=Config(s3={"addressing_style": "path"}))
    upload = client.create_multipart_upload(Bucket=store.bucket, Key=f"{store.prefix}/dir/large")
    client.upload_part(
        Bucket=store.bucket,
        Key=f"{store.prefix}/dir/large",
        PartNumber=1,
        UploadId=upload["UploadId"],
        Body=b"x",
    )
    assert keys(store) == []
    assert store.stat("dir/large") is None
    assert store.pending_uploads() == [f"{store.prefix}/dir/large"]
    store.pending_uploads(abort=True)
    assert store.pending_uploads() == []


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


def test_requests_and_their_bytes_are_counted(store, tmp_path):
    table = pa.table({"number": list(range(50_000))})
    pq.write_table(table, tmp_path / "t.parquet")
    size = (tmp_path / "t.parquet").stat().st_size
    before = outside()
    store.put("a", b"12345")
    assert store.put_new("b", b"1") and not store.put_new("b", b"2")
    store.put("t.parquet", (tmp_path / "t.parquet").read_bytes())
    assert store.read("a") == b"12345" and store.stat("a").size == 5 and len(store.list()) == 3
    with pytest.raises(FileNotFoundError):
        store.read("none")
    store.fetch("a", tmp_path / "a")
    with store.parquet("t.parquet") as file:
        assert file.read().equals(table)
    store.copy_from(store, "a", "c")
    store.delete("a", "b", "c")
    found = outside().since(before)
    gets = found.requests.pop("get")
    assert found.requests == {"put": 4, "head": 1, "list": 1, "copy": 1, "delete": 1}
    assert gets >= 5 and found.received_bytes >= 10 + size and found.sent_bytes == 7 + size
    local = Store(str(tmp_path))
    before = outside()
    local.put("x", b"1")
    assert local.read("x") == b"1" and local.list("x") == []
    assert not outside().since(before).requests  # a folder has no requests
