"""The S3 server that other tests rely on behaves as S3 does where it matters to the store."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

import boto3
import obstore
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from obstore.store import S3Store

LARGE = bytes(range(256)) * (11 << 12)  # 11 MiB: three parts of 5 MiB at most


def client():
    """A boto3 client for the server in the environment."""
    return boto3.Session().client("s3", config=Config(s3={"addressing_style": "path"}))


def store(bucket: str) -> S3Store:
    """An obstore client for the server in the environment."""
    options = {"allow_http": True}
    return S3Store(
        urlsplit(bucket).netloc,
        endpoint=os.environ["AWS_ENDPOINT_URL"],
        virtual_hosted_style_request=False,
        client_options=options,
    )


def test_a_wrong_secret_key_is_refused(s3_bucket, monkeypatch):
    """Breach: tests would pass although the product signs wrongly, or not at all."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        client().put_object(Bucket=urlsplit(s3_bucket).netloc, Key="x", Body=b"x")


def test_a_conditional_put_never_overwrites(s3_bucket):
    """Breach: two runs that commit at once would both believe that they won."""
    one = store(s3_bucket)
    obstore.put(one, "marker", b"first", mode="create")
    with pytest.raises(obstore.exceptions.AlreadyExistsError):
        obstore.put(one, "marker", b"second", mode="create")
    assert bytes(obstore.get(one, "marker").bytes()) == b"first"


def test_multipart_uploads_and_ranges_keep_every_byte(s3_bucket):
    """Breach: large shards arrive framed or torn."""
    one = store(s3_bucket)
    obstore.put(one, "large", LARGE, use_multipart=True, chunk_size=5 << 20)
    assert bytes(obstore.get(one, "large").bytes()) == LARGE
    start = (5 << 20) - 3
    assert bytes(obstore.get_range(one, "large", start=start, length=7)) == LARGE[start : start + 7]


def test_a_missing_object_and_a_listing_are_told_as_s3_tells_them(s3_bucket):
    """Breach: a missing object looks like a failed request, or a listing stops at a page."""
    one = store(s3_bucket)
    with pytest.raises(FileNotFoundError):
        obstore.get(one, "nothing")
    for number in range(12):
        obstore.put(one, f"list/{number:02d}", b"x")
    pages = (
        client()
        .get_paginator("list_objects_v2")
        .paginate(Bucket=urlsplit(s3_bucket).netloc, Prefix="list/", PaginationConfig={"PageSize": 5})
    )
    assert [len(page.get("Contents", [])) for page in pages] == [5, 5, 2]
