"""A release on a Ray cluster of separate nodes (tests/ray_nodes.py), one of which dies in the middle: the same bytes.

Archive, work directory and release are on S3, so a unit that leans on a disk shared with the driver or another node fails.
The opt-out registry and the policy are files of the driver alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import e2e_runs as runs
import pytest
import yaml

from pipeline.engine.store import Store
from pipeline.stages.licenses import groups

ROOT = Path(__file__).parent.parent.parent
WAIT_SECONDS = 900
MIDDLE = "stages/annotate.text"  # about half of the stages come before it, and it takes a while


def upload(archive: Path, store: Store) -> None:
    for path in archive.rglob("*"):
        if path.is_file() and path.name != ".lock":
            store.put(path.relative_to(archive).as_posix(), path.read_bytes())


def policy_file(folder: Path) -> Path:
    """A policy that permits what the list of the product permits, as a file that tasks have to be given."""
    path = folder / "policy.yaml"
    path.write_text("add: []\n")
    return path


def command(archive: Path, uri: str, folder: Path) -> list[str]:
    """The command line; the configuration of the reference, but for addresses."""
    data = runs.settings(archive, licenses={"policy": str(policy_file(folder))})
    data["archive"] = {"uri": f"{uri}/swh", "anonymous": False}
    data["engine"] = {"buckets": 2, "task_memory": "512MB"}
    config = folder / "release.yaml"
    config.write_text(yaml.safe_dump(data))
    return [
        sys.executable, "-m", "pipeline.cli.main", "release", "--config", str(config), "--version", "1.0",
        "--out", f"{uri}/releases", "--workdir", f"{uri}/work", "--json",
    ]  # fmt: skip


def wait_for(store: Store, prefix: str, driver: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not store.list(prefix):
        if driver.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"{prefix} never came: {driver.communicate()[1]}")
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("buckets", "processes", "units"), [(8, 2, 2), (4096, 2, 256), (64, 8, 8), (1, 2, 1)]
)
def test_license_units_are_many_enough_for_a_cluster(buckets, processes, units):
    """Breach: two units of 2,048 buckets each, which two nodes of a hundred work at for days."""
    found = groups(dict.fromkeys(range(buckets), 1_000), processes)
    assert len(found) == units
    assert [bucket for group in found for bucket in group] == list(range(buckets))


def test_the_index_is_not_loaded_for_a_few_files():
    """Buckets with nothing left are in no unit, and few files make one unit, whatever the processes."""
    assert groups({0: 0, 1: 0}, 4) == []
    assert groups({0: 3, 1: 0, 2: 5, 3: 1}, 4) == [[0, 2, 3]]
    assert groups({0: 91, 1: 98}, 2) == [[0], [1]], (
        "a group need not be as large as its share to the last file"
    )


@pytest.mark.slow
def test_a_release_on_a_cluster_that_loses_a_node(archive, made, ray_nodes, s3_bucket, tmp_path):
    """Same digest as in this process; then the same command finds everything done."""
    upload(archive, Store(f"{s3_bucket}/swh"))
    line = command(archive, s3_bucket, tmp_path)
    with ray_nodes(2) as cluster:
        environment = {**os.environ, **cluster.environment, "PYTHONPATH": str(ROOT)}
        line += ["--address", cluster.address]
        driver = subprocess.Popen(
            line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path
        )
        try:
            wait_for(Store(f"{s3_bucket}/work"), MIDDLE, driver)
            cluster.nodes.pop().kill()
            out, err = driver.communicate(timeout=WAIT_SECONDS)
        finally:
            driver.kill()
            driver.communicate()
        assert driver.returncode == 0, err
        outcome = json.loads(out)
        assert outcome["state"] == "made"
        assert outcome["totals"] == made[0].totals
        assert outcome["digest"] == made[0].digest
        assert "has left the cluster" in err or "was lost with its node" in err
        again = subprocess.run(
            line, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False
        )
        assert again.returncode == 0, again.stderr
        assert (json.loads(again.stdout)["state"], json.loads(again.stdout)["units_run"]) == ("unchanged", 0)
    if not cluster.isolated:
        pytest.skip(
            "PASSED WITHOUT ISOLATION: namespaces need root on Linux; the nodes saw the driver's disk"
        )
