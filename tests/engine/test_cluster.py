"""What the executor knows of a cluster, without one: addresses, memory, placement, environment, versions."""

from __future__ import annotations

import socket
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine import cluster
from pipeline.engine.amounts import memory_bytes
from pipeline.engine.cluster import Node, Terms, cluster_address, needed_bytes, place
from pipeline.errors import ConfigError, SourceError

GB = 10**9
NODES = st.lists(
    st.builds(
        Node,
        id=st.uuids().map(str),
        address=st.just("10.0.0.1"),
        cpus=st.integers(1, 8).map(float),
        memory=st.integers(0, 40).map(lambda gigabytes: float(gigabytes * GB)),
    ),
    max_size=5,
    unique_by=lambda node: node.id,
)


def filled(nodes: list[Node], **limits: int | None) -> Counter[str | None]:
    """Place units until no more may be handed to Ray."""
    running: Counter[str | None] = Counter()
    for _ in range(1_000):
        more, node = place(nodes, running, **limits)
        if not more:
            return running
        running[node] += 1
    raise AssertionError("there was no end")


@given(NODES, st.integers(1, 4), st.integers(1, 3))
def test_heavy_units_are_few_on_each_node_and_even(nodes, heavy, gigabytes):
    """Breach: ten ScanCode processes of 1.1 GB on one node, and none on the others."""
    need = gigabytes * GB
    running = filled(nodes, need=need, heavy=heavy)
    room = {node.id: min(heavy, node.slots(need)) for node in nodes}
    if any(room.values()):
        assert running == Counter({node: most for node, most in room.items() if most})
    else:
        assert running == Counter({None: 1}), "one unit waits for a node, so that an autoscaler sees it"


@given(NODES, st.integers(1, 3), st.integers(1, 6))
def test_the_next_heavy_unit_goes_where_the_fewest_are(nodes, gigabytes, steps):
    running: Counter[str | None] = Counter()
    for _ in range(steps):
        more, node = place(nodes, running, need=gigabytes * GB, heavy=4)
        if not more or node is None:
            return
        able = [one.id for one in nodes if running[one.id] < min(4, one.slots(gigabytes * GB))]
        assert running[node] == min(running[one] for one in able)
        running[node] += 1


@given(NODES, st.integers(1, 3))
def test_light_units_in_flight_follow_what_the_cluster_takes(nodes, gigabytes):
    """Breach: a cluster that has grown is fed at the rate of its first minute, or one without nodes not at all."""
    need = gigabytes * GB
    running = filled(nodes, need=need)
    assert running == Counter({None: max(2, 2 * sum(node.slots(need) for node in nodes))})


@given(NODES, st.integers(1, 5), st.none() | st.integers(1, 4))
def test_workers_bound_what_is_in_flight(nodes, workers, heavy):
    assert sum(filled(nodes, need=GB, workers=workers, heavy=heavy).values()) <= workers


def test_a_node_takes_what_its_memory_bears_not_its_cores():
    """Breach: 64 units of 2 GB on a machine with 64 cores and 64 GB."""
    assert Node("n", "a", 64.0, 64e9).slots(2 * GB) == 32
    assert Node("n", "a", 16.0, 64e9).slots(2 * GB) == 16


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("1GB", 10**9), ("1GiB", 2**30), ("1.5 GB", 1_500_000_000), ("512MB", 512_000_000), ("2TiB", 2**41)],
)
def test_amounts_are_what_duckdb_takes_them_for(text, wanted):
    assert memory_bytes(text) == wanted


def test_the_memory_of_a_unit():
    assert needed_bytes("1GB", heavy=False) == (768 << 20) + 10**9
    assert needed_bytes("1GB", heavy=True) - needed_bytes("1GB", heavy=False) == 1_100_000_000


@pytest.mark.parametrize("text", [None, "", "local"])
def test_no_address_is_this_machine(text):
    assert cluster_address(text) is None


@pytest.mark.parametrize("text", ["auto", "10.0.0.5:6379", "head.example.org:6379", "[::1]:6379"])
def test_addresses_that_ray_joins(text):
    assert cluster_address(text) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ray://head:10001", "Ray Client addresses are not supported"),
        ("http://127.0.0.1:8265", "the address for `ray job submit`"),
        ("10.0.0.5", "give auto or host:port"),
        ("10.0.0.5:99999", "give auto or host:port"),
        ("head:6379/x", "give auto or host:port"),
    ],
)
def test_other_addresses_are_told_what_to_be(text, words):
    """Breach: Ray's own errors, or a wait of half a minute, for an address of another kind."""
    with pytest.raises(ConfigError, match=words):
        cluster_address(text)


def test_only_the_place_of_the_object_store_travels(monkeypatch):
    """Breach: credentials of the driver in Ray's tables and logs, where nobody asked for that."""
    for name in (*cluster.FORWARDED, *cluster.CREDENTIALS, "AWS_PROFILE"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AWS_REGION", "")
    places = {"AWS_ENDPOINT_URL_S3": "x", "AWS_ENDPOINT_URL": "x", "AWS_DEFAULT_REGION": "x"}
    assert cluster.forwarded_environment(credentials=False) == places
    assert cluster.forwarded_environment(credentials=True) == places | dict.fromkeys(cluster.CREDENTIALS, "x")


def test_another_installation_is_told_in_full():
    libraries = ("numpy", "no-such-distribution")
    here = cluster.installed(libraries)
    assert here["no-such-distribution"] == "absent"
    assert cluster.difference(here, libraries) is None
    other = {**here, "numpy": "0.1", "stackmill": "0" * 16}
    said = cluster.difference(other, libraries)
    assert f"numpy {here['numpy']} instead of 0.1" in said
    assert f"stackmill {here['stackmill']} instead of" in said


def terms(**other: object) -> Terms:
    return Terms(
        **{"versions": cluster.installed(()), "libraries": (), "local": {}, "only_on": None, **other}
    )


def test_a_node_with_another_installation_is_refused():
    """Breach: a node that joins in the middle writes bytes of another program under this one's key."""
    assert cluster.examine(terms(), "n") == []
    (wrong,) = cluster.examine(terms(versions={"python": "3.0"}), "n")
    assert "instead of 3.0" in wrong


def test_folders_of_the_driver_on_another_node(tmp_path):
    """Breach: a node that joins in the middle writes to a folder of its own, of the same name."""
    local = {"--workdir": str(tmp_path)}
    assert cluster.examine(terms(local=local, only_on="driver"), "driver") == []
    (wrong,) = cluster.examine(terms(local=local, only_on="driver"), "other")
    assert wrong.startswith(f"--workdir {tmp_path}: a folder on this machine")
    assert cluster.examine(terms(local=local), "other") == []
    (wrong,) = cluster.examine(terms(local={**local, "archive.uri": str(tmp_path / "absent")}), "other")
    assert wrong.endswith(f"does not see the folder {tmp_path / 'absent'}")


def test_a_port_where_nobody_listens_is_told_at_once():
    """Breach: Ray's client tries for two minutes before it says anything that a user can use."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        cluster.check_reachable(address)
    with pytest.raises(SourceError, match=f"no Ray cluster answers at {address}"):
        cluster.check_reachable(address)
