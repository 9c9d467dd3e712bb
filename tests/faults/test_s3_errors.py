"""What an S3 endpoint can refuse, or not answer: one message that names the object and the remedy, exit code 5, soon."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli.main import app
from pipeline.engine.store import Store
from pipeline.errors import (
    ConfigError,
    DeniedError,
    SourceError,
    StackmillError,
    ThrottledError,
    TransientError,
)

SOON = 30  # seconds until a user is told


class Endpoint(ThreadingHTTPServer):
    """Answers every request alike, as S3 words its errors; a HEAD has no words."""

    daemon_threads = True
    status, code = 403, "AccessDenied"
    requests: int = 0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Endpoint

    def _answer(self) -> None:
        self.server.requests += 1
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        if self.command != "HEAD" and self.server.code:
            body = (
                f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{self.server.code}</Code>'
                "<Message>as said by the endpoint</Message><RequestId>1</RequestId></Error>"
            ).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _answer

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def endpoint(monkeypatch) -> Iterator[Endpoint]:
    with Endpoint(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        credentials(monkeypatch, f"http://127.0.0.1:{server.server_port}")
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def credentials(monkeypatch, address: str) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "some",
        "AWS_SECRET_ACCESS_KEY": "one",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)


def operations(store: Store, folder: Path) -> list:
    return [
        lambda: store.read("dir/k"),
        lambda: store.stat("dir/k"),
        lambda: store.list("dir/k"),
        lambda: store.put("dir/k", b"1"),
        lambda: store.put_new("dir/k", b"1"),
        lambda: store.delete("dir/k"),
        lambda: store.delete("dir/k", "dir/l"),
        lambda: store.fetch("dir/k", folder / "k"),
        lambda: store.copy_from(store, "dir/k", "dir/k"),
        lambda: store.parquet("dir/k").__enter__(),
    ]


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (400, "ExpiredToken", "the credentials have expired; get new ones"),
        (403, "AccessDenied", "access denied; check the credentials and the bucket policy"),
        (403, "", "access denied; check the credentials and the bucket policy"),
        (403, "InvalidAccessKeyId", "access denied; check the credentials"),
        (403, "SignatureDoesNotMatch", "access denied; check the credentials"),
        (403, "RequestTimeTooSkewed", "the clock of this machine is wrong; set it"),
        (400, "AuthorizationHeaderMalformed", "the bucket is in another region; set AWS_REGION"),
        (301, "PermanentRedirect", "the bucket is in another region; set AWS_REGION"),
        (403, "QuotaExceeded", "no space left, or a quota is used up"),
        (507, "InsufficientStorage", "no space left, or a quota is used up"),
        (413, "", "no space left, or a quota is used up"),
        (400, "SomethingNew", "refused the request; check the endpoint, AWS_REGION and the credentials"),
    ],
)
def test_what_an_endpoint_refuses(endpoint, tmp_path, status, code, words):
    """Told at once, with a remedy, by every operation; never tried again, never taken for a missing object."""
    endpoint.status, endpoint.code = status, code
    store = Store("s3://bucket/prefix")
    for act in operations(store, tmp_path):
        endpoint.requests, started = 0, time.monotonic()
        with pytest.raises(SourceError) as refused:
            act()
        assert words in str(refused.value), str(refused.value)
        assert f"{store.uri}/dir/k" in str(refused.value)
        assert not isinstance(refused.value, TransientError)
        assert refused.value.exit_code == 5
        assert time.monotonic() - started < SOON
        # The client asks four times where a server error is told; `stat` asks a second time, for the words.
        assert endpoint.requests <= (8 if status >= 500 else 2)


@pytest.mark.parametrize(
    ("status", "code"), [(503, "SlowDown"), (500, "InternalError"), (429, "TooManyRequests")]
)
def test_what_passes_is_worth_another_try(endpoint, status, code):
    """Throttling and errors of the server: tried again here, then by the executor, then reported."""
    endpoint.status, endpoint.code = status, code
    started = time.monotonic()
    with pytest.raises(TransientError, match=rf"bucket/k: .*{code if status != 503 else ''}"):
        Store("s3://bucket").read("k")
    assert endpoint.requests > 1 or status == 429
    assert time.monotonic() - started < SOON


def test_a_denied_content_is_not_a_missing_one(endpoint):
    """A right that is lacking says nothing about the object: whoever fetches must be able to tell the two apart."""
    store = Store("s3://bucket/archive")
    for endpoint.status, endpoint.code, kind in (
        (403, "AccessDenied", DeniedError),
        (503, "SlowDown", ThrottledError),
        (404, "NoSuchBucket", SourceError),
    ):
        with pytest.raises(kind, match=r"content/1234"):
            store.read("content/1234")
    endpoint.status, endpoint.code = 404, "NoSuchKey"
    with pytest.raises(FileNotFoundError):
        store.read("content/1234")


@contextlib.contextmanager
def nobody() -> Iterator[int]:
    """A port that is taken but not listened on: connections are refused."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def refused(*arguments: str, code: int, words: list[str]) -> str:
    """The command is refused with this exit code and one message."""
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, StackmillError), done.exception
    assert done.exception.exit_code == code, done.exception
    said = str(done.exception)
    for word in words:
        assert word in said, said
    return said


def command(*arguments: str, code: int, words: list[str]) -> str:
    """`refused` in a process of its own: no stack trace, nothing on stdout."""
    line = [sys.executable, "-m", "pipeline.cli.main", *arguments]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr, done.stderr
    return done.stderr


def test_nobody_answers(monkeypatch):
    """Refused connections: a few tries, some seconds, and what to look at."""
    with nobody() as port:
        credentials(monkeypatch, f"http://127.0.0.1:{port}")
        started = time.monotonic()
        with pytest.raises(
            TransientError, match=rf"s3://bucket/k: no answer; check AWS_ENDPOINT_URL.*127.0.0.1:{port}"
        ):
            Store("s3://bucket").read("k")
        assert time.monotonic() - started < SOON
        command(
            "release", "--version", "1.0", "--in-process", "--archive", "s3://bucket/archive", "--out", "s3://bucket/out",
            "--workdir", "s3://bucket/work", code=5, words=["s3://bucket/", "no answer; check AWS_ENDPOINT_URL"],
        )  # fmt: skip


def test_what_the_real_server_refuses(s3_bucket, monkeypatch):
    """Wrong secret, wrong region, no such bucket: the whole command, against Swift."""
    arguments = ["clean", "--workdir", f"{s3_bucket}/work"]
    refused(*arguments, code=2, words=["is not a work directory"])
    with monkeypatch.context() as patch:
        patch.setenv("AWS_REGION", "eu-west-7")
        refused(*arguments, code=5, words=[s3_bucket, "another region; set AWS_REGION"])
    with monkeypatch.context() as patch:
        patch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-" + "one")
        said = refused(*arguments, code=5, words=[s3_bucket, "access denied; check the credentials"])
        assert "not-the-one" not in said
    release = ["release", "--version", "1.0", "--in-process", "--archive", f"{s3_bucket}/none"]
    refused(
        *release, "--out", "s3://no-such-bucket-here/out", "--workdir", f"{s3_bucket}/work",
        code=5, words=["s3://no-such-bucket-here/out", "there is no such bucket; check the address"],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("s3://", "the bucket is missing"),
        ("s3:///prefix", "the bucket is missing"),
        ("s3:/bucket/prefix", "is written s3://bucket/prefix"),
        ("s3:bucket", "is written s3://bucket/prefix"),
        ("S3://bucket", "is written s3://bucket/prefix"),
        ("s3://user:word@bucket/x", "cannot be the name of a bucket"),
        ("s3://b/x", "cannot be the name of a bucket"),
        ("s3://bucket//x", "holds an empty name"),
        ("s3://bucket/a/../b", "holds an empty name, '.' or '..'"),
        ("s3://bucket/a?versionId=1", "may not hold ?"),
        ("s3://bucket/a#b", "may not hold ?"),
        ("s3://bucket/a\nb", "control characters"),
        ("gs://bucket/x", "only folders, file:// and s3:// addresses"),
    ],
)
def test_malformed_addresses(address, words):
    """Refused before anything is asked or written: an address cut short would be another place."""
    with pytest.raises(ConfigError, match=words.replace("?", r"\?")) as wrong:
        Store(address)
    assert wrong.value.exit_code == 2


def test_malformed_addresses_of_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for option in ("--out", "--workdir", "--archive"):
        places = {"--out": "out", "--workdir": "work", "--archive": str(tmp_path)} | {option: "s3://"}
        line = [part for pair in places.items() for part in pair]
        refused(
            "release", "--version", "1.0", "--in-process", "--config",
            str(Path(__file__).parents[2] / "configs/release-local.yaml"), *line, code=2, words=["the bucket is missing"],
        )  # fmt: skip
