"""A Ray cluster as the executor sees it: its address, what its nodes can take, and what they must share with the driver.

Nothing here holds a connection: functions take the `ray` module where they ask it something, so that the arithmetic
is tested without one. What a unit needs of a node, in Ray's resources:

    CPU      1                      a unit works in one thread (a fetching one waits for the network in many)
    memory   PROCESS_BYTES          the process with its libraries, and the batches that it works on
             + engine.task_memory   what DuckDB may hold in joins before it spills to the node's TMPDIR
             + SCANCODE_BYTES       heavy units only: ScanCode's index

So a node takes min(CPU, memory / need) units at once, whatever its size. Ray reserves the memory, it does not enforce it.
"""

from __future__ import annotations

import os
import platform
import re
import socket
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from pipeline.engine.amounts import memory_bytes
from pipeline.engine.keys import library_version, source_digest
from pipeline.errors import ConfigError, SourceError

PROCESS_BYTES = 768 << 20
"""Measured: 300 MB PSS with every library of the stages loaded, 420 MB with one batch of 32 MB of bodies; the rest is for
the tables of a bucket outside DuckDB."""

SCANCODE_BYTES = 1_100_000_000  # measured: one process with the index loaded (docs/adr/0006-dependencies.md)

FORWARDED = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION")
"""Environment variables of the driver that every unit gets: where the object store is, never who we are."""

CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
"""Sent with `engine.forward_credentials` only; otherwise each node finds its own by boto3's chain."""

_CONNECT_SECONDS = 10
_HOST_PORT = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")


@dataclass(frozen=True)
class Node:
    """A living node that can run units: its Ray id, its address, its CPUs, and its memory resource in bytes."""

    id: str
    address: str
    cpus: float
    memory: float

    def slots(self, need: int) -> int:
        """How many units of `need` bytes it takes at once."""
        return int(min(self.cpus, self.memory // need if need else self.cpus))


def cluster_address(text: str | None) -> str | None:
    """The address of a cluster for `ray.init`: `auto` or host:port; None: start Ray on this machine.

    Raises ConfigError, naming the right form, for the other addresses that Ray users know.
    """
    if not text or text == "local":
        return None
    if text.startswith("ray://"):
        raise ConfigError(
            f"--address {text}: Ray Client addresses are not supported, because the driver must be a process of the"
            " cluster; submit the command with `ray job submit` (docs/cluster.md), or run it on a node with --address auto"
        )
    if text.startswith(("http://", "https://")):
        raise ConfigError(
            f"--address {text}: this is the address for `ray job submit`; `pipeline release` itself takes host:port or auto,"
            " and finds its cluster by itself when it runs as a submitted job (docs/cluster.md)"
        )
    found = _HOST_PORT.fullmatch(text)
    if text != "auto" and (found is None or not 0 < int(found[2]) < 65536):
        raise ConfigError(
            f"--address {text}: not an address of a Ray cluster; give auto or host:port (6379 is usual)"
        )
    return text


def check_reachable(address: str) -> None:
    """Raise SourceError when nothing listens at the host and port of a cluster's address."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        raise SourceError(
            f"no Ray cluster answers at {address} ({error}); is `ray start --head` running there, and is the port open?"
        ) from error


def needed_bytes(task_memory: str, *, heavy: bool) -> int:
    """The memory that a unit asks of its node; see the module's words."""
    return PROCESS_BYTES + memory_bytes(task_memory) + (SCANCODE_BYTES if heavy else 0)


def living_nodes(ray: Any) -> list[Node]:
    """The nodes that are alive and have CPUs for units: a head that was started without them is not one of these."""
    found = [
        Node(
            node["NodeID"],
            node["NodeManagerAddress"],
            node["Resources"].get("CPU", 0.0),
            node["Resources"].get("memory", 0.0),
        )
        for node in ray.nodes()
        if node["Alive"] and node["Resources"].get("CPU", 0.0) >= 1
    ]
    return sorted(found, key=lambda node: node.id)


def place(
    nodes: Sequence[Node],
    running: Counter[str | None],
    *,
    need: int,
    workers: int | None = None,
    heavy: int | None = None,
) -> tuple[bool, str | None]:
    """Whether one more unit may be handed to Ray, and on which node it must run (None: on any).

    `running` counts units in flight by the node that was asked for. Light units: twice what the cluster takes at once, so
    that no node waits for the driver; never less than 2, which is what makes an autoscaler start the first node. Heavy
    units: at most `heavy` on each node, on the node with the fewest. `workers` bounds all of them.
    """
    total = sum(running.values())
    if workers is not None and total >= workers:
        return False, None
    slots = {node.id: node.slots(need) for node in nodes}
    if heavy is None:
        return total < max(2 * sum(slots.values()), 2), None
    if not any(slots.values()):
        return total == 0, None  # one that waits for a node
    free = [node for node, most in slots.items() if running[node] < min(heavy, most)]
    return bool(free), min(free, key=lambda node: (running[node], node), default=None)


def forwarded_environment(*, credentials: bool) -> dict[str, str]:
    """What of this process's environment travels to units on a cluster."""
    names = (*FORWARDED, *(CREDENTIALS if credentials else ()))
    return {name: os.environ[name] for name in names if os.environ.get(name)}


@cache
def installed(libraries: tuple[str, ...]) -> dict[str, str]:
    """What must be the same wherever units run, or one release would be made by two programs."""
    versions = {name: library_version(name) for name in libraries}
    return {
        "python": platform.python_version(),
        "stackmill": source_digest("pipeline.release")[:16],
        **versions,
    }


def difference(expected: Mapping[str, str], libraries: tuple[str, ...]) -> str | None:
    """How this process's installation differs from the driver's, in words; None when it does not."""
    here = installed(libraries)
    differing = [
        f"{name} {here.get(name, 'absent')} instead of {version}"
        for name, version in expected.items()
        if here.get(name) != version
    ]
    if not differing:
        return None
    return (
        f"node {socket.gethostname()} has another installation than the driver: {', '.join(differing)};"
        " give all nodes and the driver the same image"
    )


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a node must have in common with the driver before it runs a unit; see `examine`."""

    versions: Mapping[str, str]  # `installed` of the driver
    libraries: tuple[str, ...]
    local: Mapping[str, str]  # folders on the driver's disk that units use, by the option that names them
    only_on: str | None  # the driver's node, where these folders are; None: they are said to be shared


def examine(terms: Terms, node: str) -> list[str]:
    """What is wrong with the node that this runs on. Each is asked before any work, each worker with its first unit."""
    problem = difference(terms.versions, terms.libraries)
    found = [problem] if problem else []
    if terms.local and terms.only_on not in (None, node):
        found.append(not_shared(terms.local, socket.gethostname()))
    if terms.only_on is None:
        unseen = [folder for folder in terms.local.values() if not os.path.isdir(folder)]  # noqa: PTH112
        found += [f"node {socket.gethostname()} does not see the folder {folder}" for folder in unseen]
    return found


def not_shared(local: Mapping[str, str], nodes: str) -> str:
    """Why folders on the driver's disk are refused, and what to do."""
    named = ", ".join(f"{name} {path}" for name, path in local.items())
    return (
        f"{named}: a folder on this machine, but units run on other nodes, too ({nodes}); give s3:// addresses, or set"
        " engine.shared_disk: true if all nodes see the same folder there"
    )
