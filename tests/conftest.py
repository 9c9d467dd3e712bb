"""Fixtures for every test folder: a real S3 server, started once and only when a test asks; a faulty proxy; Ray clusters."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))  # the tests have no packages
from faulty_proxy import FaultyProxy, Rule

# Kernels compile on first use and machines are busy: neither is a fault of the code. Here, once: a profile is the whole
# process's, so that one of a folder would be another folder's too, or not its own, as the files happen to be collected.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest file first (minutes in one test): last, it would run alone while the other process waits."""
    items.sort(key=lambda item: item.path.name != "test_guide.py")


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Bytes name no test: packed ones hold the time, keys are random, and all processes must collect the same names."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(scope="session")
def s3_server() -> Iterator[dict[str, str]]:
    """The S3 server of `s3_server.py`: its `endpoint`, `access_key`, `secret_key` and `region`."""
    if importlib.util.find_spec("swift") is None:
        pytest.skip("NO S3 SERVER: `make setup` installs OpenStack Swift on Linux; S3 stays untested here")
    program = [sys.executable, str(Path(__file__).with_name("s3_server.py"))]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None and server.stdout is not None
        line = server.stdout.readline()
        if not line:
            raise RuntimeError("the S3 server did not start; its message is on standard error")
        yield json.loads(line)
        server.stdin.close()


@pytest.fixture
def s3_bucket(s3_server: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """A new empty bucket as `s3://name`, with what boto3 and the store need in the environment."""
    import boto3
    from botocore.config import Config

    for name, value in {
        "AWS_ENDPOINT_URL": s3_server["endpoint"],
        "AWS_ACCESS_KEY_ID": s3_server["access_key"],
        "AWS_SECRET_ACCESS_KEY": s3_server["secret_key"],
        "AWS_REGION": s3_server["region"],
        "AWS_DEFAULT_REGION": s3_server["region"],
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    name = f"test-{uuid.uuid4().hex[:12]}"
    boto3.Session().client("s3", config=Config(s3={"addressing_style": "path"})).create_bucket(Bucket=name)
    return f"s3://{name}"


@pytest.fixture
def faulty_proxy() -> Iterator[Callable[..., FaultyProxy]]:
    """Makes faulty proxies, `faulty_proxy(upstream, rule)`, and closes them at the end of the test."""
    made: list[FaultyProxy] = []

    def make(upstream: str, rule: Rule | None = None) -> FaultyProxy:
        made.append(FaultyProxy(upstream, rule))
        return made[-1]

    yield make
    for proxy in made:
        proxy.close()


@pytest.fixture(scope="session")
def ray_nodes(
    s3_server: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[int], AbstractContextManager[Any]]:
    """`ray_nodes(count)`: a Ray cluster of that many separate nodes (ray_nodes.py), which have S3 credentials of their own."""
    from ray_nodes import ray_nodes as start

    keys = (
        f"aws_access_key_id = {s3_server['access_key']}\naws_secret_access_key = {s3_server['secret_key']}\n"
    )
    return lambda count: start(count, tmp_path_factory.getbasetemp(), f"[default]\n{keys}")
