"""A private bucket with credentials, a public one without, a folder: the same bytes from each, on a real S3 server."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from faulty_proxy import Faults
from fetching import bodies_in, run_fetch, sha1, sha256, statuses_in, write_objects, write_rows

from pipeline.engine.store import Store
from pipeline.errors import SourceError
from pipeline.stages import fetch as fetch_stage


@pytest.fixture(autouse=True)
def fresh_pace():
    fetch_stage.pace_of.cache_clear()
    yield
    fetch_stage.pace_of.cache_clear()


def _upload(archive: Path, uri: str) -> None:
    store = Store(uri)
    with ThreadPoolExecutor(4) as pool:
        files = (archive / "content").iterdir()
        list(pool.map(lambda path: store.put(f"content/{path.name}", path.read_bytes()), files))


def test_private_public_and_folder(
    tmp_path: Path, s3_bucket: str, s3_server: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies = write_objects(tmp_path / "archive", 60)
    rows = write_rows(tmp_path / "rows.parquet", bodies)
    gone = tmp_path / "archive" / "content" / sha1(bodies[7])
    gone.unlink()
    _upload(tmp_path / "archive", s3_bucket)
    expected = {sha256(body): body for body in bodies if body != bodies[7]}

    folder = run_fetch(tmp_path / "folder", rows, str(tmp_path / "archive"))
    private = run_fetch(tmp_path / "private", rows, s3_bucket, anonymous=False)
    assert bodies_in(tmp_path / "folder") == bodies_in(tmp_path / "private") == expected
    assert folder.counts["dropped.missing"] == private.counts["dropped.missing"] == 1

    client = boto3.Session().client("s3", config=Config(s3={"addressing_style": "path"}))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    # Swift lets strangers in at the address of the account only.
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"{s3_server['endpoint']}/v1/AUTH_test")
    fetch_stage.pace_of.cache_clear()
    with pytest.raises(SourceError, match="access denied; check the credentials"):
        run_fetch(tmp_path / "uninvited", rows, s3_bucket, anonymous=True)
    assert not bodies_in(tmp_path / "uninvited")

    client.put_bucket_acl(Bucket=s3_bucket.removeprefix("s3://"), ACL="public-read")
    rows = write_rows(tmp_path / "present.parquet", [body for body in bodies if body != bodies[7]])
    run_fetch(tmp_path / "public", rows, s3_bucket, anonymous=True)
    assert bodies_in(tmp_path / "public") == expected


def test_wrong_credentials_are_told(tmp_path: Path, s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = write_rows(tmp_path / "rows.parquet", write_objects(tmp_path / "archive", 40))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not" + "this")
    with pytest.raises(
        SourceError, match=r"20 objects in a row .*access denied; check the credentials"
    ) as failed:
        run_fetch(tmp_path / "work", rows, s3_bucket, anonymous=False)
    assert failed.value.exit_code == 5
    with pytest.raises(SourceError, match=r"there is no such bucket|access denied"):
        run_fetch(tmp_path / "work", rows, "s3://no-such-bucket-at-all", anonymous=False)


@pytest.mark.slow
def test_a_real_server_behind_the_faulty_proxy(
    tmp_path: Path, s3_bucket: str, s3_server: dict[str, str], faulty_proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two thousand signed requests through 5% faults: every status as the rule says, every body as it is."""
    bodies = write_objects(tmp_path / "archive", 2_000)
    rows = write_rows(tmp_path / "rows.parquet", bodies)
    _upload(tmp_path / "archive", s3_bucket)
    rule = Faults(seed=11, transient={"slow_down": 0.01, "error": 0.01, "reset": 0.01, "truncate": 0.01, "corrupt": 0.01},
                  permanent={"missing": 0.005, "corrupt": 0.005})  # fmt: skip
    monkeypatch.setenv("AWS_ENDPOINT_URL", faulty_proxy(s3_server["endpoint"], rule).endpoint)
    done = run_fetch(tmp_path / "work", rows, s3_bucket, buckets=2, anonymous=False)
    bucket = s3_bucket.removeprefix("s3://")
    expected = {sha256(b): rule.forever(f"/{bucket}/content/{sha1(b)}") or "ok" for b in bodies}
    assert statuses_in(tmp_path / "work", done) == expected
    assert bodies_in(tmp_path / "work", 2) == {sha256(b): b for b in bodies if expected[sha256(b)] == "ok"}
    assert Counter(expected.values()).keys() == {"ok", "missing", "corrupt"}
