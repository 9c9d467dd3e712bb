"""The proxy passes everything through as it is, and fails as it was told to; without that, no test behind it means much."""

from __future__ import annotations

import http.client
from collections import Counter
from urllib.parse import urlsplit

import boto3
import obstore
import pytest
from botocore.config import Config
from faulty_proxy import ERRORS, Faults, Request
from obstore.store import S3Store

BODY = b"0123456789" * 100


@pytest.fixture
def store(s3_bucket, s3_server, faulty_proxy):
    """(client through the proxy that repeats nothing, the proxy)."""
    proxy = faulty_proxy(s3_server["endpoint"])
    options = {"allow_http": True, "timeout": "2s"}
    retries = {"max_retries": 0}
    client = S3Store(
        s3_bucket.removeprefix("s3://"), endpoint=proxy.endpoint, virtual_hosted_style_request=False,
        client_options=options, retry_config=retries,
    )  # fmt: skip
    return client, proxy


def test_signed_requests_of_every_kind_pass(store, s3_bucket):
    """Through two clients: the server checks signatures, which cover the Host header."""
    client, proxy = store
    obstore.put(client, "a/b c%é", BODY)
    assert bytes(obstore.get(client, "a/b c%é").bytes()) == BODY
    assert bytes(obstore.get_range(client, "a/b c%é", start=10, length=5)) == b"01234"
    assert obstore.head(client, "a/b c%é")["size"] == len(BODY)
    big = bytes(range(256)) * 40_000
    obstore.put(client, "big", big, use_multipart=True, chunk_size=5 << 20)
    assert bytes(obstore.get(client, "big").bytes()) == big
    with pytest.raises(obstore.exceptions.AlreadyExistsError):
        obstore.put(client, "big", b"", mode="create")
    other = boto3.client("s3", endpoint_url=proxy.endpoint, config=Config(s3={"addressing_style": "path"}))
    bucket = s3_bucket.removeprefix("s3://")
    other.put_object(Bucket=bucket, Key="boto", Body=BODY)
    assert other.get_object(Bucket=bucket, Key="boto")["Body"].read() == BODY
    assert other.head_object(Bucket=bucket, Key="boto")["ContentLength"] == len(BODY)
    obstore.delete(client, "boto")
    assert {o["path"] for batch in obstore.list(client) for o in batch} == {"a/b c%é", "big"}
    assert proxy.asked(f"/{bucket}/")["a/b c%é"] == 2 and not proxy.faults


def test_every_fault_is_what_its_name_says(store):
    client, proxy = store
    obstore.put(client, "k", BODY)
    for kind, (status, code, _) in ERRORS.items():
        proxy.rule = lambda _, kind=kind: kind
        with pytest.raises((obstore.exceptions.BaseError, FileNotFoundError)) as failed:
            obstore.get(client, "k")
        assert code in str(failed.value) and (str(status) in str(failed.value) or status in (403, 404))
    for kind in ("stall", "reset", "lost", "truncate"):
        proxy.rule = lambda _, kind=kind: kind
        with pytest.raises(obstore.exceptions.BaseError):
            obstore.get(client, "k").bytes()
    proxy.rule = lambda _: "corrupt"
    wrong = bytes(obstore.get(client, "k").bytes())
    assert len(wrong) == len(BODY) and sum(a != b for a, b in zip(wrong, BODY, strict=True)) == 1
    proxy.rule = lambda _: "slow"
    assert bytes(obstore.get(client, "k").bytes()) == BODY
    proxy.rule = None
    assert bytes(obstore.get(client, "k").bytes()) == BODY


def test_a_lost_answer_to_a_put_has_its_effect_and_a_reset_one_has_not(store):
    client, proxy = store
    for kind in ("lost", "reset"):
        proxy.rule = lambda request, kind=kind: kind if request.method == "PUT" else None
        with pytest.raises(obstore.exceptions.BaseError):
            obstore.put(client, kind, BODY)
    assert [o["path"] for batch in obstore.list(client) for o in batch] == ["lost"]


def test_an_unsigned_http_client_passes_too(s3_server, faulty_proxy):
    proxy = faulty_proxy(s3_server["endpoint"])
    client = http.client.HTTPConnection(urlsplit(proxy.endpoint).netloc)
    for _ in range(2):
        client.request("GET", "/nothing/here?x=1")
        answer = client.getresponse()
        assert answer.status in (400, 403, 404) and answer.read()
    client.close()
    assert proxy.requests == {("GET", "/nothing/here"): 2}


def test_shares_are_kept_and_repeat():
    """The same seed gives the same faults; permanent ones hold for every attempt."""
    rule = Faults(seed=7, transient={"reset": 0.03, "slow_down": 0.02}, permanent={"missing": 0.01})
    drawn = [rule(Request("GET", f"/b/{n}", "", 1)) for n in range(20_000)]
    shares = Counter(drawn)
    assert 500 < shares["reset"] < 700 and 320 < shares["slow_down"] < 480 and 150 < shares["missing"] < 250
    assert drawn == [rule(Request("GET", f"/b/{n}", "", 1)) for n in range(20_000)]
    again = [rule(Request("GET", f"/b/{n}", "", 2)) for n in range(20_000)]
    assert [d == "missing" for d in drawn] == [d == "missing" for d in again] and drawn != again
    assert rule(Request("PUT", "/b/1", "", 1)) is None
    assert Faults(only="content/", transient={"reset": 1.0})(Request("GET", "/b/graph/x", "", 1)) is None
