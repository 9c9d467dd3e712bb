"""Units on a real Ray cluster of two separate nodes (tests/ray_nodes.py), which share an S3 server with the driver, no disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.engine.store import Store

WAIT_SECONDS = 300


@pytest.fixture(scope="module")
def cluster(ray_nodes):
    with ray_nodes(2) as cluster:
        yield cluster


@pytest.fixture
def start(cluster, s3_bucket, tmp_path):
    """A function that starts a driver on the cluster; what it leaves running is killed."""
    file = tmp_path / "policy.yaml"
    file.write_text("only on the driver's disk")
    drivers = []

    def begin(on=cluster, **asked: object) -> subprocess.Popen[str]:
        line = {"address": on.address, "workdir": f"{s3_bucket}/work", "file": str(file), **asked}
        command = [sys.executable, str(Path(__file__).with_name("cluster_driver.py")), json.dumps(line)]
        environment = {**os.environ, **on.environment}
        driver = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path
        )
        drivers.append(driver)
        return driver

    yield begin
    for driver in drivers:
        driver.kill()
        driver.communicate()


@pytest.fixture
def markers(s3_bucket):
    """A function that waits until units have written as many markers of that beginning, and returns the rest of them."""
    store = Store(f"{s3_bucket}/work")

    def wait(beginning: str, count: int) -> list[str]:
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            names = [entry.key.removeprefix("markers/") for entry in store.list("markers")]
            found = [name.removeprefix(beginning) for name in names if name.startswith(beginning)]
            if len(found) >= count:
                return found
            time.sleep(0.1)
        raise AssertionError(f"no {count} markers {beginning!r} came")

    return wait


def ended(driver: subprocess.Popen[str], code: int = 0) -> tuple[str, str]:
    out, err = driver.communicate(timeout=WAIT_SECONDS)
    assert driver.returncode == code, err
    return out, err


def test_two_units_on_two_nodes_that_share_no_disk(start, cluster):
    """A unit that needs a file, a folder, a variable or a credential of the driver's machine fails here."""
    out, _ = ended(start(stage="meet"))
    done = json.loads(out)
    assert done["rows"] == ["only on the driver's disk"] * 2, (
        "the user's file travelled through the work directory"
    )
    facts = done["facts"]
    assert {fact["node"] for fact in facts} == {node.address for node in cluster.nodes}
    assert all(fact["endpoint"] for fact in facts), "where the object store is was sent along"
    assert not any(fact["secret"] for fact in facts), (
        "who we are was not: the nodes have their own credentials"
    )
    assert len({fact["cwd"] for fact in facts}) == 2
    if cluster.isolated:
        assert not any(fact["driver_sees"] for fact in facts), "the driver's disk is hidden from the nodes"


def test_a_local_folder_is_refused_before_any_work(start, tmp_path):
    out, err = ended(start(stage="meet", local={"--workdir": str(tmp_path)}), code=2)
    assert out == ""
    assert f"--workdir {tmp_path}: a folder on this machine, but units run on other nodes" in err
    assert "engine.shared_disk" in err


@pytest.mark.slow
def test_credentials_travel_when_that_is_asked_for_and_heavy_units_spread(start, cluster):
    out, _ = ended(start(stage="meet", round=1, heavy=True, forward_credentials=True))
    facts = json.loads(out)["facts"]
    assert all(fact["secret"] for fact in facts)
    assert {fact["node"] for fact in facts} == {node.address for node in cluster.nodes}


@pytest.mark.slow
def test_another_installation_is_refused_before_any_work(start):
    out, err = ended(start(stage="meet", claim_python="3.9.0"), code=2)
    assert out == ""
    assert f"python {sys.version.split()[0]} instead of 3.9.0" in err
    assert "same image" in err


@pytest.mark.slow
def test_a_folder_said_to_be_shared_that_is_not(start, cluster, tmp_path):
    """Breach: `engine.shared_disk` is believed, and units fail one by one for want of files."""
    if not cluster.isolated:
        pytest.skip("the nodes see the driver's disk here: namespaces need root on Linux")
    _, err = ended(start(stage="meet", shared_disk=True, local={"--workdir": str(tmp_path)}), code=2)
    assert f"does not see the folder {tmp_path}" in err


@pytest.mark.slow
def test_an_interrupted_driver_leaves_no_unit_running(start, markers):
    driver = start(stage="wait_for_ever")
    assert sorted(markers("started-", 2)) == ["000000", "000001"]
    driver.send_signal(signal.SIGINT)
    assert sorted(markers("ended-", 2)) == ["000000", "000001"]
    ended(driver, code=130)


@pytest.mark.slow
def test_a_unit_lost_with_its_node_runs_again_on_another(start, cluster, markers, s3_bucket):
    """The last test of this file: it takes a node away."""
    driver = start(stage="outlive")
    where = dict(name.split("-", 1) for name in markers("started-", 2))
    assert set(where.values()) == {node.address for node in cluster.nodes}
    cluster.nodes.pop().kill()
    Store(f"{s3_bucket}/work").put("markers/go", b"")
    out, err = ended(driver)
    assert json.loads(out)["rows"] == ["000000", "000001"]
    ran = [name.split("-", 1) for name in markers("started-", 3)]
    again = [unit for unit, address in ran if address == cluster.nodes[0].address]
    assert sorted(again) == ["000000", "000001"], "both have run on the node that is left"
    assert "was lost with its node; it runs again" in err


@pytest.mark.slow
def test_a_run_waits_for_nodes_and_says_so_then_follows_the_cluster(start, ray_nodes):
    """Breach: on a cluster that scales from nothing a run hangs without a word, or goes on with the size of its start."""
    with ray_nodes(0) as growing:
        driver = start(growing, stage="meet")
        for line in driver.stderr:
            if line.startswith("waiting: none of the 0 nodes with CPUs can take a unit of stage meet"):
                break
        growing.add_node()
        growing.add_node()
        out, err = ended(driver)
        assert {fact["node"] for fact in json.loads(out)["facts"]} == {"127.0.0.2", "127.0.0.3"}
        assert "nodes with CPUs in the cluster: " in err
